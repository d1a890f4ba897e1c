"""Reading curves at the same accuracy and at the same acceptance, on curves small enough to work out by hand."""

import numpy as np
import pytest

from arbitrage.evaluation.curve_matching import at_acceptance, cheapest, common_range

COST = np.array([[4.0, 1.0, 2.0, 3.0]])
ACCURACY = np.array([[0.8, 0.5, 0.7, 0.6]])


@pytest.mark.parametrize(("level", "cost"), [(0.4, 1.0), (0.5, 1.0), (0.55, 1.25), (0.6, 1.5), (0.7, 2.0), (0.75, 3.5)])
def test_the_cheapest_way_to_an_accuracy_is_on_the_running_maximum(level: float, cost: float) -> None:
    assert cheapest(COST, ACCURACY, np.array([level]))[0, 0] == pytest.approx(cost)


def test_an_accuracy_never_reached_costs_infinitely_much() -> None:
    assert np.isinf(cheapest(COST, ACCURACY, np.array([0.81]))[0, 0])


def test_an_accuracy_reached_across_a_gap_of_acceptance_has_no_cost() -> None:
    acceptance = np.array([[0.10, 0.50, 0.47, 0.45]])
    found = cheapest(COST, ACCURACY, np.array([0.6, 0.7, 0.75, 0.8]), acceptance)[0]
    assert found[:2].tolist() == pytest.approx([1.5, 2.0])
    assert np.isnan(found[2])
    assert found[3] == 4.0  # the point itself is there


def test_each_resample_is_read_on_its_own() -> None:
    cost, accuracy = np.repeat(COST, 2, axis=0), np.vstack([ACCURACY[0], ACCURACY[0] - 0.2])
    assert cheapest(cost, accuracy, np.array([0.6])).ravel().tolist() == pytest.approx([1.5, 4.0])


def test_levels_may_be_each_curves_own() -> None:
    cost, accuracy = np.repeat(COST, 2, axis=0), np.repeat(ACCURACY, 2, axis=0)
    assert cheapest(cost, accuracy, np.array([[0.5], [0.7]])).ravel().tolist() == pytest.approx([1.0, 2.0])


def test_between_near_points_a_curve_is_straight_and_beyond_them_it_is_not_known() -> None:
    acceptance, accuracy = np.array([[0.64, 0.62, 0.60]]), np.array([[0.5, 0.8, 0.9]])
    found = at_acceptance(acceptance, accuracy, np.array([0.59, 0.60, 0.61, 0.63, 0.64]))[0]
    assert np.isnan(found[0])
    assert found[1:] == pytest.approx([0.9, 0.85, 0.65, 0.5])


@pytest.mark.parametrize("direction", [1, -1])
def test_where_a_looser_threshold_accepts_less_the_strictest_of_equal_ones_counts(direction: int) -> None:
    """A wrong step that is let pass has all later ones escalated: less is accepted, and the answer is wrong."""
    acceptance = np.array([[0.60, 0.64, 0.62, 0.58, 0.61, 0.66]])[:, ::direction]
    accuracy = np.array([[0.90, 0.86, 0.70, 0.50, 0.45, 0.40]])[:, ::direction]
    found = at_acceptance(acceptance, accuracy, np.array([0.60, 0.62, 0.64, 0.65]))[0]
    assert found.tolist() == pytest.approx([0.90, 0.88, 0.86, 0.63])


def test_there_is_no_value_across_a_gap_of_more_than_five_points() -> None:
    acceptance, accuracy = np.array([[0.10, 0.149, 0.80, 0.851]]), np.array([[0.9, 0.8, 0.4, 0.3]])
    found = at_acceptance(acceptance, accuracy, np.array([0.12, 0.149, 0.5, 0.8, 0.82]))[0]
    assert found[[0, 1, 3]].tolist() == pytest.approx([0.9 - 0.1 * 0.02 / 0.049, 0.8, 0.4])
    assert np.isnan(found[[2, 4]]).all()


def test_the_common_range_runs_from_the_better_start_to_the_worse_end() -> None:
    (low,), (high,) = common_range(COST, ACCURACY, np.array([[1.0, 5.0]]), np.array([[0.6, 0.7]]))
    assert (low, high) == (0.6, 0.7)


def test_curves_that_do_not_overlap_have_an_empty_range() -> None:
    low, high = common_range(*(np.array([row]) for row in ([1.0], [0.9], [1.0, 2.0], [0.2, 0.5])))
    assert low > high
