"""Classes of the advantage."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.routing.label_classes import Classes, RoutingError, fit_classes

advantages = st.lists(st.floats(-0.99, 0.99, allow_subnormal=False) | st.sampled_from([0.0, 0.25, -0.5]), min_size=1)


@given(advantages, advantages, st.sampled_from([2, 4, 10]))
def test_zero_is_always_a_boundary_and_no_class_is_empty(low: list[float], high: list[float], classes: int) -> None:
    values = [-abs(value) for value in low] + [abs(value) or 0.5 for value in high]
    fitted = fit_classes(values, classes)
    labels = [fitted.label(value) for value in values]
    assert list(fitted.edges) == sorted(set(fitted.edges))
    assert fitted.count <= classes
    assert set(labels) == set(range(fitted.count))
    assert all((label >= fitted.boundary) == (value > 0) for value, label in zip(values, labels, strict=True))


@given(advantages, advantages, st.sampled_from([4, 10]))
def test_a_side_has_all_its_classes_if_it_has_the_values(low: list[float], high: list[float], classes: int) -> None:
    below, above = [-abs(value) for value in low], [abs(value) or 0.5 for value in high]
    fitted = fit_classes(below + above, classes)
    assert fitted.boundary == min(classes // 2, len(set(below)))
    assert fitted.count - fitted.boundary == min(classes // 2, len(set(above)))


def test_two_classes_are_the_sign_and_a_tie_is_not_positive() -> None:
    fitted = fit_classes([-0.3, 0.0, 0.2], 2)
    assert fitted == Classes((0.0,))
    assert (fitted.boundary, [fitted.label(value) for value in (-0.9, 0.0, 1e-12)]) == (1, [0, 0, 1])


def test_without_ties_the_classes_of_a_side_are_equal() -> None:
    values = [-step / 100 for step in range(1, 41)] + [step / 100 for step in range(1, 21)]
    labels = [fit_classes(values, 4).label(value) for value in values]
    assert [labels.count(label) for label in range(4)] == [20, 20, 10, 10]


def test_a_run_of_ties_at_zero_becomes_a_class_of_its_own() -> None:
    values = [0.0] * 90 + [-0.2] * 5 + [-0.4] * 5 + [0.1, 0.2, 0.3, 0.4]
    fitted = fit_classes(values, 4)
    assert fitted.edges == (-0.2, 0.0, 0.2)
    assert [fitted.label(value) for value in (-0.4, -0.2, 0.0, 0.1, 0.4)] == [0, 0, 1, 2, 3]


def test_too_few_distinct_values_give_fewer_classes() -> None:
    fitted = fit_classes([0.0] * 10 + [0.1, 0.3], 10)
    assert (fitted.edges, fitted.boundary, fitted.count) == ((0.0, 0.1), 1, 3)


@pytest.mark.parametrize("values", [[-0.1, 0.0], [0.2, 0.3]])
def test_one_kind_of_step_is_refused(values: list[float]) -> None:
    with pytest.raises(RoutingError, match="needs both kinds: label more questions"):
        fit_classes(values, 2)


def test_a_tie_larger_than_a_class_leaves_the_others_equal_shares_of_the_rest():
    """As in practice: most steps are the same from both models, so that their advantage is exactly 0."""
    advantages = (
        [0.0] * 850 + [-number / 1000 for number in range(1, 151)] + [number / 1000 for number in range(1, 101)]
    )
    classes = fit_classes(advantages, 10)
    counts = [sum(classes.label(advantage) == label for advantage in advantages) for label in range(classes.count)]
    assert classes.count == 10 and classes.boundary == 5
    assert counts[4] == 850
    assert all(36 <= count <= 39 for count in counts[:4]) and counts[5:] == [20] * 5
