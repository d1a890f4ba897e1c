"""From what a user wants (so much accepted, so accurate, so fast) to a threshold, and what it really reaches.

The threshold is chosen on a seeded half of a benchmark's questions; what it reaches is measured on the other half, with
intervals, so that the choice cannot flatter the report.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from arbitrage.config.pipeline import Curves
from arbitrage.errors import UserError
from arbitrage.evaluation.bootstrap import Floats, interval, resample_weights, resampled_means, with_data
from arbitrage.evaluation.cost_model import ResampledModel, resampled_model
from arbitrage.evaluation.curve_matching import GAP, NO_POINT
from arbitrage.evaluation.curves import Curve, make_curve
from arbitrage.evaluation.latency_curves import seconds
from arbitrage.evaluation.trajectory_counts import trajectory_counts
from arbitrage.io.tables import TableError, read_frame

Aim = Literal["acceptance", "accuracy", "latency"]
FEWEST_CHOSEN_ON = 10


class CalibrationError(UserError, ValueError):
    """An aim that no threshold reaches, or that the study has no data for."""


@dataclass(frozen=True)
class Target:
    """aim: what is asked for; value: a share, or where `relative` a multiple of what the target alone has."""

    aim: Aim
    value: float
    relative: bool = False

    @property
    def words(self) -> str:
        """As a user would write it."""
        return f"{self.aim} {self.value:g}{'x' if self.relative else ''}"


@dataclass(frozen=True)
class Calibrated:
    """A threshold, how many questions it was chosen and measured on, and by name what it reaches on the latter.

    reached: value, low, high (NaN where there is no interval) of acceptance, accuracy, target_tokens (the target's
    share of the solution's tokens), target_accuracy (of the target alone, there), and speedup over target alone where
    the pair is timed.
    """

    threshold: float
    chosen_on: int
    measured_on: int
    reached: dict[str, tuple[float, float, float]]

    def as_json(self) -> dict[str, Any]:
        """For threshold.json."""
        names = ("value", "low", "high")
        numbers = {
            name: {end: None if np.isnan(number) else round(number, 6) for end, number in zip(names, each, strict=True)}
            for name, each in self.reached.items()
        }
        return {
            "threshold": self.threshold,
            "chosen_on": self.chosen_on,
            "measured_on": self.measured_on,
            "reached": numbers,
        }


def calibrate(
    trajectories: Path, latency: Path | None, policy: str, target: Target, settings: Curves, seed: int
) -> Calibrated:
    """The threshold of `policy` (a router's first training) that reaches `target`, by the tables of a pair.

    acceptance: the nearest, where one is within GAP; accuracy: the highest acceptance that is as accurate; latency: the
    most accurate that is that many times as fast as the target alone, by the cost model. Raises CalibrationError where
    there is none, or where too few questions are there; TableError where the policy was not swept.
    """
    counts = trajectory_counts([trajectories])
    counts = counts[counts["router_seed"] <= 0]
    curves = {}
    for name in (policy, "target_only"):
        rows = counts[counts["policy"] == name]
        if len(rows):
            curves[name] = make_curve(rows.reset_index(drop=True), settings.points, f"{trajectories}, policy {name}")
    if policy not in curves:
        there = ", ".join(sorted(set(counts["policy"])))
        raise TableError(f"{trajectories} has no {policy}, only {there}; add {policy} to sweep.policies and run again")
    needs = target.relative or target.aim == "latency"
    if needs and "target_only" not in curves:
        raise CalibrationError(f"{target.words} is relative to the target alone; add target_only to sweep.policies")
    model = None
    if latency is not None and latency.exists():
        model = resampled_model(read_frame(latency, "latency"), counts, settings.resamples, seed)
    if target.aim == "latency" and model is None:
        raise CalibrationError(f"latency {target.value:g}x: this pair is not timed; its `latency` is false, or not run")
    questions = len(curves[policy].questions)
    if questions < 2 * FEWEST_CHOSEN_ON:
        raise CalibrationError(
            f"{trajectories}: {questions} questions; half of them would choose the threshold, expected at least "
            f"{2 * FEWEST_CHOSEN_ON}. Raise the benchmark's `limit`, or choose another benchmark"
        )
    order = np.random.default_rng(seed).permutation(questions)
    halves = [np.sort(part) for part in np.array_split(order, 2)]
    chosen, measured = ({name: _part(curve, half) for name, curve in curves.items()} for half in halves)
    index = _choose(chosen, policy, target, model)
    threshold = float(curves[policy].thresholds[index])
    reached = _reached(measured, policy, index, model, settings, seed)
    return Calibrated(threshold, len(halves[0]), len(halves[1]), reached)


def _part(curve: Curve, half: np.ndarray) -> Curve:
    names = tuple(curve.questions[index] for index in half)
    return Curve(curve.rows, names, curve.thresholds, curve.index[:, half])


def _choose(curves: dict[str, Curve], policy: str, target: Target, model: ResampledModel | None) -> int:
    """The place of the threshold among the curve's."""
    acceptance, accuracy = (curves[policy].mean(name) for name in ("acceptance", "correct"))
    if target.aim == "acceptance":
        distance = np.abs(acceptance - target.value)
        able, best = distance <= GAP, -distance
        reachable = (
            f"{NO_POINT}; they span {acceptance.min():.2f} to {acceptance.max():.2f}, the nearest accepts "
            f"{acceptance[distance.argmin()]:.2f}: ask for one of these"
        )
    elif target.aim == "accuracy":
        level = target.value * (curves["target_only"].mean("correct")[0] if target.relative else 1.0)
        able, best = accuracy >= level - 1e-12, acceptance
        reachable = f"the most accurate has {accuracy.max():.1%}, {level:.1%} was asked for"
    else:
        assert model is not None
        speedup = _latency(curves["target_only"], model)[0] / _latency(curves[policy], model)
        able, best = speedup >= target.value - 1e-12, accuracy
        reachable = f"the fastest is {speedup.max():.2f}x as fast as the target alone"
    if not able.any():
        raise CalibrationError(
            f"no threshold of {policy} reaches {target.words} on the questions to choose on: {reachable}"
        )
    return int(np.flatnonzero(able)[best[able].argmax()])


def _latency(curve: Curve, model: ResampledModel) -> Floats:
    """(T,): mean seconds by the model fitted to all timed questions."""
    first = ResampledModel(
        model.seconds[:1],
        {name: factor[:1] for name, factor in model.factors.items()},
        {name: ratio[:1] for name, ratio in model.alone.items()},
    )
    latency: Floats = seconds(curve, np.ones((1, len(curve.questions))), first, str(curve.rows["benchmark"].iloc[0]))[0]
    return latency


def _reached(
    curves: dict[str, Curve], policy: str, index: int, model: ResampledModel | None, settings: Curves, seed: int
) -> dict[str, tuple[float, float, float]]:
    full = curves[policy]
    at = Curve(full.rows, full.questions, full.thresholds[[index]], full.index[[index]])
    weights = with_data(resample_weights(len(at.questions), settings.resamples, seed, "calibration"))

    def means(curve: Curve, column: str) -> Floats:
        return resampled_means(weights, curve.values(column))[:, 0]

    samples = {"acceptance": means(at, "acceptance"), "accuracy": means(at, "correct")}
    samples["target_tokens"] = 1 - means(at, "chosen_draft_tokens") / means(at, "chosen_tokens")
    if "target_only" in curves:
        alone = curves["target_only"]
        samples["target_accuracy"] = means(alone, "correct")
        if model is not None:
            benchmark = str(at.rows["benchmark"].iloc[0])
            both = [seconds(curve, weights, model, benchmark)[:, 0] for curve in (alone, at)]
            samples["speedup"] = both[0] / both[1]
    reached = {}
    for name, own in samples.items():
        low, high = interval(own[1:], settings.confidence)
        reached[name] = (float(own[0]), float(low), float(high))
    return reached
