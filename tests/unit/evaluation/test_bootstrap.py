"""The bootstrap: weights, pairing, and intervals that cover what they say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.evaluation.bootstrap import (
    band,
    interval,
    over_seeds,
    p_values,
    resample_weights,
    resampled_means,
    with_data,
    without_bias,
)


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


def test_no_variance_is_no_certainty() -> None:
    """Twenty wrong answers of twenty: the resamples are all 0, which does not make 0 the only possible share."""
    low, high = interval(resampled_means(resample_weights(20, 50, 0), np.zeros((1, 20))), 0.95)
    assert np.isnan([low[0], high[0]]).all()


def test_where_too_many_resamples_have_no_value_there_is_no_interval() -> None:
    samples = np.random.default_rng(0).random((200, 3))
    samples[:9, 1] = np.nan  # few enough
    samples[:11, 2] = np.nan
    low, high = interval(samples, 0.95)
    assert np.isfinite([low[:2], high[:2]]).all()
    assert np.isnan([low[2], high[2]]).all()


def test_a_resample_that_is_infinitely_bad_counts() -> None:
    samples = np.append(np.random.default_rng(0).random(95), [np.inf] * 5)
    low, high = interval(samples, 0.95)
    assert low < 0.1
    assert high == np.inf


def test_an_ungraded_answer_is_left_out_of_each_resample() -> None:
    weights = np.array([[1.0, 1.0, 1.0], [2.0, 0.0, 1.0], [0.0, 3.0, 0.0]])
    means = resampled_means(weights, np.array([[1.0, np.nan, 0.0]]))
    assert means[:2, 0].tolist() == pytest.approx([0.5, 2 / 3])
    assert np.isnan(means[2, 0])


def test_two_benchmarks_of_one_size_are_resampled_apart() -> None:
    assert (resample_weights(30, 50, 3, "a") != resample_weights(30, 50, 3, "b")).any()
    assert (resample_weights(30, 50, 3, "a") == resample_weights(30, 50, 3, "a")).all()


@pytest.mark.parametrize(("trainings", "spread"), [(3, 0.05), (5, 0.02), (3, 0.0)])
def test_an_interval_over_trainings_and_questions_covers_another_training(trainings: int, spread: float) -> None:
    """Known truth: the mean over all possible trainings. Questions alone would miss it most of the time."""
    generator = np.random.default_rng(5)
    covered = questions_alone = 0
    for trial in range(250):
        answers = generator.normal(0.6 + spread * generator.standard_normal(trainings)[:, None], 0.3, (trainings, 150))
        weights = with_data(resample_weights(150, 200, trial))
        each = np.stack([resampled_means(weights, own[None])[:, 0] for own in answers])
        low, high = interval(over_seeds(each, trial)[1:], 0.95)
        covered += bool(low <= 0.6 <= high)
        low, high = interval(each[0][1:], 0.95)
        questions_alone += bool(low <= 0.6 <= high)
    assert 0.91 <= covered / 250 <= 0.99
    if spread >= 0.05:
        assert questions_alone / 250 < 0.75


def test_trainings_that_differ_little_widen_an_interval_little() -> None:
    """Three trainings alone would tell little (t of 2 degrees of freedom); beside many questions they need not."""
    generator = np.random.default_rng(9)
    ratios = []
    for trial in range(60):
        questions = generator.normal(0, 0.3, 300)  # what all trainings find hard
        answers = 0.6 + questions + generator.normal(0.02 * generator.standard_normal((3, 1)), 0.02, (3, 300))
        weights = with_data(resample_weights(300, 400, trial))
        each = np.stack([resampled_means(weights, own[None])[:, 0] for own in answers])
        (low, high), (first, last) = (interval(one[1:], 0.95) for one in (over_seeds(each, trial), each[0]))
        truth = np.sqrt(0.3**2 / 300 + 0.02**2 / 3) / np.sqrt(0.3**2 / 300)
        ratios.append((high - low) / (last - first) / truth)
    assert 0.95 <= float(np.mean(ratios)) <= 1.2


def test_two_sets_of_trainings_of_one_configuration_do_not_differ() -> None:
    """The audit's finding: one training beside another, on the same questions, "differs" most of the time."""
    generator = np.random.default_rng(6)
    differ = {1: 0, 3: 0}
    for trial in range(200):
        questions = generator.normal(0, 0.3, 300)  # hard for one training, hard for all
        weights = with_data(resample_weights(300, 200, trial))
        for trainings in differ:
            levels = 0.6 + 0.04 * generator.standard_normal((2, trainings, 1))
            one, other = (own + questions + generator.normal(0, 0.1, (trainings, 300)) for own in levels)
            each = np.stack([resampled_means(weights, (a - b)[None])[:, 0] for a, b in zip(one, other, strict=True)])
            inside, _ = p_values(over_seeds(each, trial), (0.0, np.inf))
            outside, _ = p_values(over_seeds(each, trial), (-np.inf, 0.0))
            differ[trainings] += min(inside, outside) <= 0.025
    assert differ[1] / 200 > 0.5
    assert differ[3] / 200 <= 0.08


def test_two_routers_trained_apart_have_the_degrees_of_both() -> None:
    """Paired, first training with first, three trainings have two degrees, and Welch's formula holds too rarely."""
    generator = np.random.default_rng(11)
    held, widths = {"apart": 0, "paired": 0}, {"apart": 0.0, "paired": 0.0}
    for trial in range(400):
        questions = generator.normal(0, 0.3, 200)
        weights = with_data(resample_weights(200, 119, trial))
        one, other = (
            np.stack([resampled_means(weights, (questions * sign + level)[None])[:, 0] for level in levels])
            for sign, levels in zip((1, 0.2), 0.06 * generator.standard_normal((2, 3)), strict=True)
        )
        for name, samples in {"apart": over_seeds(one, trial, other), "paired": over_seeds(one - other, trial)}.items():
            low, high = interval(samples[1:], 0.95)
            held[name] += bool(low <= 0 <= high)
            widths[name] += float(high - low)
    assert 0.93 <= held["apart"] / 400 <= 0.985
    assert held["apart"] > held["paired"] and widths["apart"] < widths["paired"]


def test_a_band_holds_a_whole_curve_as_often_as_it_says_and_judges_by_it() -> None:
    generator = np.random.default_rng(7)
    truth = np.linspace(0.0, 0.05, 30)  # nowhere below 0, at its lower end just not above
    held = below = 0
    for trial in range(200):
        noise = np.cumsum(generator.normal(0, 0.08, (200, 30)), axis=1) / np.sqrt(np.arange(1, 31))
        weights = with_data(resample_weights(200, 300, trial))
        samples = resampled_means(weights, (truth + noise).T)
        low, high, above, deepest = band(samples, 0.95, margin=0.02)
        held += bool(((low <= truth) & (truth <= high)).all())
        below += deepest <= 0.025
        assert 0 < above <= 1
    assert 0.91 <= held / 200 <= 0.995
    assert below / 200 <= 0.05  # what is nowhere below 0 hardly ever "differs", where 21 % did


def test_what_is_picked_as_the_largest_is_corrected_for_picking() -> None:
    """Forty equal things: the largest of noisy means is above their common truth, corrected it is not on average."""
    generator = np.random.default_rng(9)
    raw, corrected = [], []
    for trial in range(80):
        values = generator.normal(0, 1, (40, 100)) + generator.normal(0, 1, 100)
        largest = resampled_means(with_data(resample_weights(100, 200, trial)), values).max(axis=1)
        raw.append(largest[0])
        corrected.append(without_bias(largest)[0])
    assert np.mean(raw) > 0.18
    assert np.mean(corrected) < 0.72 * np.mean(raw)


def test_no_question_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one question"):
        resample_weights(0, 10, 0)
