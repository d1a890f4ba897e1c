"""Reading curves at the same accuracy and at the same acceptance, on curves small enough to work out by hand."""

import numpy as np
import pytest

from arbitrage.evaluation.curve_matching import at_acceptance, cheapest, common_range

COST = np.array([[4.0, 1.0, 2.0, 3.0]])
ACCURACY = np.array([[0.8, 0.5, 0.7, 0.6]])


@pytest.mark.parametrize(("level", "cost"), [(0.4, 1.0), (0.5, 1.0), (0.55, 2.0), (0.6, 2.0), (0.7, 2.0), (0.75, 4.0)])
def test_the_cheapest_way_to_an_accuracy_is_on_the_running_maximum(level: float, cost: float) -> None:
    assert cheapest(COST, ACCURACY, np.array([level]))[0, 0] == cost


def test_an_accuracy_never_reached_has_no_cost() -> None:
    assert np.isnan(cheapest(COST, ACCURACY, np.array([0.81]))[0, 0])


def test_each_resample_is_read_on_its_own() -> None:
    cost, accuracy = np.repeat(COST, 2, axis=0), np.vstack([ACCURACY[0], ACCURACY[0] - 0.2])
    assert cheapest(cost, accuracy, np.array([0.6])).tolist() == [[2.0], [4.0]]


def test_between_two_points_a_curve_is_straight_and_beyond_them_it_is_not_known() -> None:
    acceptance, accuracy = np.array([[1.0, 0.2, 0.6]]), np.array([[0.5, 0.9, 0.8]])
    found = at_acceptance(acceptance, accuracy, np.array([0.1, 0.2, 0.4, 0.8, 1.0]))[0]
    assert np.isnan(found[0])
    assert found[1:] == pytest.approx([0.9, 0.85, 0.65, 0.5])


def test_the_common_range_runs_from_the_better_start_to_the_worse_end() -> None:
    assert common_range(COST[0], ACCURACY[0], np.array([1.0, 5.0]), np.array([0.6, 0.7])) == (0.6, 0.7)


def test_curves_that_do_not_overlap_have_an_empty_range() -> None:
    low, high = common_range(np.array([1.0]), np.array([0.9]), np.array([1.0, 2.0]), np.array([0.2, 0.5]))
    assert low > high
