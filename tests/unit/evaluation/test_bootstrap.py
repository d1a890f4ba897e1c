"""The bootstrap: weights, pairing, and intervals that cover what they say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.evaluation.bootstrap import interval, resample_weights, resampled_means


@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 2**31 - 1))
def test_every_resample_has_as_many_questions_as_the_data(items: int, resamples: int, seed: int) -> None:
    weights = resample_weights(items, resamples, seed)
    assert weights.shape == (resamples, items)
    assert (weights.sum(axis=1) == items).all()


def test_the_seed_alone_decides_the_resamples() -> None:
    assert (resample_weights(30, 50, 3) == resample_weights(30, 50, 3)).all()
    assert (resample_weights(30, 50, 3) != resample_weights(30, 50, 4)).any()


def test_resampled_means_are_the_means_of_the_drawn_items() -> None:
    weights = np.array([[2.0, 0.0, 1.0], [0.0, 3.0, 0.0]])
    values = np.array([[1.0, 5.0, 4.0], [0.0, 1.0, 0.0]])
    assert resampled_means(weights, values).tolist() == [[2.0, 0.0], [5.0, 1.0]]


def test_unit_weights_give_the_plain_mean() -> None:
    values = np.random.default_rng(0).random((4, 9))
    assert np.allclose(resampled_means(np.ones((1, 9)), values)[0], values.mean(axis=1))


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_95_percent_interval_covers_the_true_mean_about_95_percent_of_the_time(share: float) -> None:
    generator = np.random.default_rng(11)
    covered = 0
    for trial in range(300):
        answers = (generator.random((1, 120)) < share).astype(float)
        low, high = interval(resampled_means(resample_weights(120, 300, trial), answers), 0.95)
        covered += bool(low[0] <= share <= high[0])
    assert 0.91 <= covered / 300 <= 0.99


def test_a_constant_has_an_interval_of_no_width() -> None:
    low, high = interval(resampled_means(resample_weights(20, 50, 0), np.full((1, 20), 0.25)), 0.95)
    assert low[0] == pytest.approx(0.25)
    assert high[0] == pytest.approx(0.25)


def test_numbers_that_are_missing_are_left_out_and_all_missing_is_missing() -> None:
    low, high = interval(np.array([[1.0, np.nan], [3.0, np.nan], [np.nan, np.nan]]), 0.5)
    assert low[0] == 1.5
    assert high[0] == 2.5
    assert np.isnan([low[1], high[1]]).all()


def test_no_question_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one question"):
        resample_weights(0, 10, 0)
