"""How much faster a policy is at the same accuracy (the paper's headline: 1.62x and 1.97x).

At accuracy a, a policy's latency is the cheapest on its curve's running maximum of accuracy, linear between operating
points. `speedup.csv` holds, per pair, benchmark and comparison (`policy` against `against`), by the cost model over
all questions, the ratio of the other's latency to the policy's as these metrics:

- `typical`: the geometric mean over the accuracies that both curves cover, from BOTTOM to TOP of that range, which is
  the headline
- `at_accuracy`: at the draft's accuracy plus `level` of the gap to the target's
- `token_level`: of the target alone over itself, by token-level speculative decoding with `level` draft tokens a round
  (the same text): the ratio of the measured times, over the timed questions
- `largest`: its largest value over the common accuracies from LARGEST_FROM of that gap on, less what picking the
  largest of noisy ratios adds (estimated by the bootstrap): no headline

Rows with pair and benchmark `all` pool `typical` over panels. Ranges and levels are each resample's own, and the cost
model is fitted again in each: its error is part of every interval. A resample in which a curve never reaches a level
counts as the worst value: a speed-up of 0, or an infinite one where it is the other's curve.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from arbitrage.config.pipeline import Curves
from arbitrage.config.policies import DEFAULT_POLICIES, POLICIES, TIMED_POLICIES
from arbitrage.evaluation.bootstrap import Floats, resample_weights, resampled_means, with_data, without_bias
from arbitrage.evaluation.comparison import NO_GAP, RECOVERED, levels_of
from arbitrage.evaluation.cost_model import ResampledModel
from arbitrage.evaluation.curve_matching import NO_POINT, cheapest, common_range, evenly
from arbitrage.evaluation.curves import Panel
from arbitrage.evaluation.estimates import COLUMNS, NOWHERE, Statistic, pooled
from arbitrage.evaluation.latency_curves import TimedPanel, seconds
from arbitrage.io.csv_tables import write_csv

PAPERS = (("router", "rsd"), ("router", "target_only"), ("rsd", "target_only"))
BEYOND = tuple(name for name in TIMED_POLICIES if name not in DEFAULT_POLICIES)
COMPARISONS = (*PAPERS, *((policy, against) for policy in BEYOND for against in ("router", "target_only")))
STEPS_OF_RANGE = 41
LARGEST_FROM = 0.25  # of the gap between draft and target: below it few questions decide
BOTTOM, TOP = 0.05, 0.9  # `typical` is read there of the common range, where both curves are sampled well


@dataclass(frozen=True)
class _Run:
    """A policy's curve in the data and in each resample, (1 + B, T) each."""

    latency: Floats
    accuracy: Floats
    acceptance: Floats

    def reach(self, levels: Floats) -> Floats:
        """(1 + B, L): latency at accuracies; infinite where never reached."""
        return cheapest(self.latency, self.accuracy, levels, self.acceptance)


def speedups(panel: Panel, model: ResampledModel) -> list[Statistic]:
    """The panel's speed-ups at matched accuracy (section 5, Fig. 5); none where its policies cannot be compared."""
    weights = with_data(panel.weights)
    runs = {
        policy: [
            _Run(
                seconds(curve, weights, model, panel.benchmark),
                resampled_means(weights, curve.values("correct")),
                resampled_means(weights, curve.values("acceptance")),
            )
            for curve in panel.curves[policy]
        ]
        for policy in sorted({name for pair in COMPARISONS for name in pair} & set(panel.curves))
    }
    results = []
    for policy, against in COMPARISONS:
        if policy not in runs or against not in runs:
            continue
        trained = POLICIES[policy].trained or POLICIES[against].trained
        pairs = _by_training(runs[policy], runs[against])
        head = {
            "pair": panel.pair,
            "benchmark": panel.benchmark,
            "policy": policy,
            "against": against,
            "trainings": len(pairs) if trained else 0,
            "questions": panel.questions,
            "ratio": True,
        }
        levels = levels_of(panel, weights) if {"draft_only", "target_only"} <= set(panel.curves) else None
        over = [_over_range(own, other, levels) for own, other in pairs]
        typical, largest = ([each[column] for each in over] for column in range(2))
        results.append(_statistic(head, "typical", NOWHERE, typical, "no common accuracy"))
        results.append(_statistic(head, "largest", NOWHERE, largest, _why_no_largest(typical, levels)))
        if levels is not None:
            ratios = [_ratios(own, other, levels) for own, other in pairs]
            for column, level in enumerate(RECOVERED):
                why = _why(policy, against, pairs, levels[:, column])
                results.append(_statistic(head, "at_accuracy", level, [each[:, column] for each in ratios], why))
    return results


def _by_training(own: Sequence[_Run], other: Sequence[_Run]) -> list[tuple[_Run, _Run]]:
    """Each training of one beside the same of the other; what is not trained beside each."""
    count = max(len(own), len(other))
    return [(own[number % len(own)], other[number % len(other)]) for number in range(count)]


def token_level(panel: Panel, timed: pd.DataFrame, seed: int) -> list[Statistic]:
    """How much faster the target alone is by token-level speculative decoding, on the timed questions of a panel.

    timed: the panel's rows of the table `latency`. Resampled by question, from `seed`; nothing is modelled.
    """
    target = timed[(timed["policy"] == "target_only") & timed["uninterrupted"].astype(bool)]
    times = target.pivot_table(index="question_id", columns="speculative_tokens", values="wall_s", aggfunc="mean")
    times = times.dropna()
    if 0 not in times or times.shape[1] < 2:
        return []
    weights = with_data(resample_weights(len(times), len(panel.weights), seed, f"timed {panel.benchmark}"))
    means = resampled_means(weights, times.to_numpy().T)
    head: dict[str, Any] = {"pair": panel.pair, "benchmark": panel.benchmark, "trainings": 0, "questions": len(times)}
    head |= {"policy": "target_only", "against": "target_only", "ratio": True}
    alone = means[:, list(times).index(0)]
    return [
        _statistic(head, "token_level", float(tokens), [alone / means[:, column]], "")
        for column, tokens in enumerate(times)
        if tokens
    ]


def _statistic(head: dict[str, Any], metric: str, level: float, each: list[Floats], why: str) -> Statistic:
    samples = np.stack(each)
    measured = np.isfinite(samples[:, 0]).all() and (samples[:, 0] > 0).all()
    if not measured:
        samples = np.full_like(samples, np.nan)
    unreached = float(np.mean(~np.isfinite(samples[:, 1:]) | (samples[:, 1:] == 0))) if measured else NOWHERE
    return Statistic(
        metric=metric, level=level, samples=samples, unreached=unreached, reason="" if measured else why, **head
    )


def _ratios(own: _Run, other: _Run, levels: Floats) -> Floats:
    """(1 + B, L): the other's latency over one's own; 0 or infinite where one of the two never reaches the accuracy."""
    with np.errstate(invalid="ignore"):
        ratios: Floats = other.reach(levels) / own.reach(levels)
    return ratios


def _over_range(own: _Run, other: _Run, recovered: Floats | None) -> tuple[Floats, Floats]:
    """(1 + B,) each: the mean ratio over the common accuracies, and the largest from LARGEST_FROM of the gap on."""
    low, high = common_range(own.latency, own.accuracy, other.latency, other.accuracy)
    span = np.maximum(high - low, 0)
    bottom, top = low + BOTTOM * span, low + TOP * span
    if low[0] > high[0]:
        nothing = np.full(len(low), np.nan)
        return nothing, nothing
    levels = evenly(bottom, top, STEPS_OF_RANGE)
    ratios = _ratios(own, other, levels)
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # a resample that reaches no level has no mean
        logs = np.log(ratios)
        typical = np.exp(np.nanmean(logs, axis=1))
        if recovered is not None:
            logs = np.where(levels >= recovered[:, [list(RECOVERED).index(LARGEST_FROM)]], logs, np.nan)
        largest = np.nanmax(logs, axis=1)
    return typical, np.exp(without_bias(largest)) if np.isfinite(largest).all() else np.full(len(low), np.nan)


def _why_no_largest(typical: list[Floats], levels: Floats | None) -> str:
    """Why there is no largest ratio, from the averages over the common accuracies."""
    if not all(np.isfinite(one[0]) for one in typical):
        return "no common accuracy"
    if levels is not None and np.isnan(levels[0, 0]):
        return NO_GAP
    return "in some resamples there is none: picking the largest cannot be corrected for"


def _why(policy: str, against: str, runs: Sequence[tuple[_Run, _Run]], levels: Floats) -> str:
    """Why the data has no ratio at an accuracy (levels[0])."""
    if np.isnan(levels[0]):
        return NO_GAP
    best = {
        name: min(run.accuracy[0].max() for run in each)
        for name, each in zip((policy, against), zip(*runs, strict=True), strict=True)
    }
    short = [name for name, accuracy in best.items() if accuracy < levels[0] - 1e-12]
    return f"{' and '.join(short)}: no threshold is as accurate" if short else NO_POINT


def speedup(timed: Iterable[TimedPanel], confidence: float, seed: int) -> pd.DataFrame:
    """`speedup.csv`: the rows of every timed panel, then what is pooled over them."""
    numbers = [
        one for panel, model, rows in timed for one in (*speedups(panel, model), *token_level(panel, rows, seed))
    ]
    rows = [one.row(confidence, seed) for one in (*numbers, *pooled(numbers))]
    return pd.DataFrame(rows, columns=COLUMNS)


def write_speedup(timed: Iterable[TimedPanel], settings: Curves, seed: int, out: Path) -> None:
    """Write `speedup.csv` for the pairs that were timed, if any; timed: from `latency_curves.timed_panels`."""
    write_csv(out, speedup(timed, settings.confidence, seed))
