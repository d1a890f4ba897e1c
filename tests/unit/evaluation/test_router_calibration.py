"""Calibration on simulated steps whose truth is known."""

import numpy as np
import pandas as pd
import pytest

from arbitrage.config.pipeline import Curves
from arbitrage.config.router import Loss
from arbitrage.evaluation.estimates import ALL
from arbitrage.evaluation.router_calibration import calibration

SETTINGS = Curves(resamples=200)


def steps_of(scores: np.ndarray, gains: np.ndarray, variant: str = "default", training: int = 0) -> pd.DataFrame:
    """Held-out steps, ten a question."""
    rows = {"pair": "p", "variant": variant, "router_seed": training, "router_score": scores, "gain": gains}
    numbers = np.arange(len(scores))
    return pd.DataFrame(rows | {"question_id": [f"q{n // 10:04}" for n in numbers], "step_index": numbers % 10})


def whole(table: pd.DataFrame) -> pd.Series:
    row: pd.Series = table[table["bin"] == ALL].iloc[0]
    return row


def drawn(generator: np.random.Generator, truth: np.ndarray, gain: float = 0.4, loss: float = 0.2) -> np.ndarray:
    """Gains that are positive with probability `truth`."""
    return np.where(generator.random(len(truth)) < truth, gain, -loss)


def test_outputs_that_are_the_probability_lie_on_the_line() -> None:
    generator = np.random.default_rng(1)
    truth = generator.random(20_000)
    table = calibration(steps_of(truth, drawn(generator, truth)), {"default": "label"}, SETTINGS, 3)
    bins = table[table["bin"] != ALL]
    assert list(bins["bin"]) == [str(number) for number in range(1, 11)]
    assert bins["steps"].to_list() == [2000] * 10
    assert np.abs(bins["predicted"] - (np.arange(10) + 0.5) / 10).max() < 0.01
    assert np.abs(bins["observed"] - bins["predicted"]).max() < 0.04
    assert whole(table)["ece"] < 0.02 and whole(table)["steps"] == 20_000


def test_the_error_of_outputs_that_are_the_square_of_the_probability_is_a_sixth() -> None:
    generator = np.random.default_rng(2)
    truth = generator.random(20_000)
    table = calibration(steps_of(truth**2, drawn(generator, truth)), {"default": "label"}, SETTINGS, 3)
    assert whole(table)["ece"] == pytest.approx(1 / 6, abs=0.01)  # the mean of p - p ** 2
    assert whole(table)["ece_low"] < 1 / 6 < whole(table)["ece_high"]


@pytest.mark.parametrize("loss", ["label", "weighted", "regression"])
def test_each_loss_is_held_against_what_it_estimates(loss: Loss) -> None:
    generator = np.random.default_rng(3)
    truth = generator.random(20_000)
    # With gains of 0.3 and losses of 0.6 the stake is won to a share of s where P(gain) is 2 s / (1 + s).
    gains = {
        "label": drawn(generator, truth),
        "weighted": drawn(generator, 2 * truth / (1 + truth), 0.3, 0.6),
        "regression": np.clip(2 * truth - 1 + 0.1 * generator.standard_normal(20_000), -1, 1),
    }
    errors = {
        name: whole(calibration(steps_of(truth, own), {"default": loss}, SETTINGS, 3))["ece"]
        for name, own in gains.items()
    }
    assert errors[loss] < 0.02
    assert all(error > 0.08 for name, error in errors.items() if name != loss)


def test_a_tie_counts_as_a_small_loss_where_steps_are_weighted() -> None:
    table = calibration(
        steps_of(np.array([0.5, 0.5, 0.5]), np.array([0.3, 0.0, -0.1])), {"default": "weighted"}, SETTINGS, 0
    )
    assert whole(table)["observed"] == pytest.approx(0.3 / 0.45)
    assert np.isnan(whole(table)["observed_low"])  # one question tells nothing of another


def test_steps_of_one_score_are_in_one_bin_and_few_steps_in_few_bins() -> None:
    generator = np.random.default_rng(4)
    scores = np.concatenate([np.full(200, 0.1), np.linspace(0.2, 0.9, 100)])
    table = calibration(steps_of(scores, drawn(generator, scores)), {"default": "label"}, SETTINGS, 3)
    bins = table[table["bin"] != ALL]
    assert bins["steps"].max() == 200 and bins["steps"].sum() == 300 and len(bins) == 5
    few = calibration(steps_of(scores[:70], drawn(generator, scores[:70])), {"default": "label"}, SETTINGS, 3)
    assert len(few) == 2


def test_numbers_are_means_over_trainings_and_intervals_hold_another_training() -> None:
    generator = np.random.default_rng(5)
    truth = generator.random(6_000)
    gains = drawn(generator, truth)
    trainings = [steps_of(np.clip(truth + shift, 0, 1), gains, training=at) for at, shift in enumerate((-0.1, 0, 0.1))]
    table = whole(calibration(pd.concat(trainings), {"default": "label"}, SETTINGS, 3))
    alone = [whole(calibration(own, {"default": "label"}, SETTINGS, 3))["ece"] for own in trainings]
    assert table["trainings"] == 3
    assert table["ece"] == pytest.approx(np.mean(alone))
    assert table["ece_high"] - table["ece_low"] > 0.1  # the trainings differ far more than the questions


def test_intervals_cover_what_would_be_observed_with_endless_questions() -> None:
    """Steps of a question share their luck, so that counting steps as independent would be far too sure."""
    covered = []
    for repeat in range(150):
        generator = np.random.default_rng([6, repeat])
        luck = np.repeat(generator.uniform(0.1, 0.7, 60), 10)
        own = steps_of(generator.random(600), drawn(generator, luck))
        row = whole(calibration(own, {"default": "label"}, SETTINGS, repeat))
        covered.append(row["observed_low"] <= 0.4 <= row["observed_high"])
    assert np.mean(covered) > 0.88
