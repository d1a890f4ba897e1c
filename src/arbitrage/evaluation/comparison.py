"""Policies side by side at the same acceptance: the numbers that Fig. 4 is read for.

`comparison.csv` holds, per pair and benchmark, `value` with a paired interval for each `metric`:

- `accuracy`: of `policy` at acceptance `level`
- `mean_accuracy`: of `policy`, mean over the acceptance rates 50, 55 ... 95 %
- `mean_accuracy_gain`: the same of `policy` less that of `against`, the draft's confidence or the paper's router
- `accuracy_gain`: of `policy` over `against` at acceptance `level`
- `mean_gain`: of `policy` over `against`, mean over the acceptance at which both have operating points
- `lowest_gain`: the smallest such gain at any acceptance; `low` and `high` are the lowest ends of a band that holds
  the whole curve of gains, empty where that band is wider than any gain could be
- `acceptance`: the highest at which `policy` is still as accurate as the draft plus `level` of the draft-to-target gap
- `wasted`: wasted deferrals of `policy` as a share of all steps, at deferral rate `level`
- `better`: the share of RSD's rejections on which the target is better, median over the thresholds 0.1 ... 0.9

Rows with pair and benchmark `all` pool a claim's panels. Ranges and levels that depend on the data are taken from each
resample; a policy has no value where it has no operating point within `curve_matching.GAP` of acceptance.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from arbitrage.config.pipeline import Curves
from arbitrage.config.policies import POLICIES, THRESHOLD_POLICIES
from arbitrage.evaluation.bootstrap import Floats, resampled_means, with_data
from arbitrage.evaluation.curve_matching import NO_POINT, at_acceptance, cheapest, evenly
from arbitrage.evaluation.curves import PAPER_GRID, Curve, Panel, panels
from arbitrage.evaluation.estimates import COLUMNS, NOWHERE, Statistic, pooled
from arbitrage.evaluation.lowest_gain import Gains, lowest_gains
from arbitrage.evaluation.paper_claims import DEFERRAL
from arbitrage.io.csv_tables import write_csv

ACCEPTANCES = np.array([0.6, 0.7, 0.8, 0.9])
MEAN_OVER = np.linspace(0.5, 0.95, 10)  # acceptance rates: where a cheap draft is worth having
MEAN_VERSUS = ("confidence", "router")
RECOVERED = np.array([0.25, 0.5, 0.75, 0.9])  # of the accuracy gap between draft and target
VERSUS = (
    ("router", "rsd"),
    ("oracle", "router"),
    ("oracle", "rsd"),
    ("router", "random"),
    ("rsd", "random"),
    ("router", "confidence"),
)
NO_GAP = "the target is no more accurate than the draft"
STEPS_OF_RANGE = 101


@dataclass(frozen=True)
class Resampled:
    """A curve's means in the data (row 0) and in each resample: acceptance, accuracy and wasted, (1 + B, T) each."""

    acceptance: Floats
    accuracy: Floats
    wasted: Floats


def resampled(curve: Curve, weights: Floats) -> Resampled:
    """What `weights`, (1 + B, Q), make of a curve."""
    in_vain = (curve.values("equal") + curve.values("worse")) / curve.values("steps")
    values = (curve.values("acceptance"), curve.values("correct"), in_vain)
    return Resampled(*(resampled_means(weights, value) for value in values))


def compare(panel: Panel) -> tuple[list[Statistic], list[Gains]]:
    """The panel's numbers, and the gains that `lowest_gain` is made of; none where no policy has a threshold."""
    weights = with_data(panel.weights)
    runs: dict[str, list[Resampled]] = {
        policy: [resampled(curve, weights) for curve in curves]
        for policy, curves in sorted(panel.curves.items())
        if policy in THRESHOLD_POLICIES
    }
    results: list[Statistic] = []

    def add(metric: str, policy: str, level: float, each: list[Floats], **further: Any) -> None:
        against = further.get("against")
        samples = np.stack(each)
        runs_used = (samples, further.get("less", samples))
        routed = [name for name in (policy, against) if name and POLICIES[name].trained]
        trained = max(map(len, runs_used)) if routed else 0
        why = further.pop("why", NO_POINT)
        results.append(
            Statistic(
                pair=panel.pair,
                benchmark=panel.benchmark,
                metric=metric,
                policy=policy,
                level=level,
                samples=samples,
                trainings=trained,
                questions=panel.questions,
                reason=why if any(np.isnan(used[:, 0]).any() for used in runs_used) else "",
                **({"against": None} | further),
            )
        )

    at_levels = {
        name: [at_acceptance(r.acceptance, r.accuracy, ACCEPTANCES) for r in own] for name, own in runs.items()
    }
    means = {
        name: [at_acceptance(r.acceptance, r.accuracy, MEAN_OVER).mean(axis=1) for r in own]
        for name, own in runs.items()
    }
    for policy, own in runs.items():
        for column, level in enumerate(ACCEPTANCES):
            add("accuracy", policy, level, [at[:, column] for at in at_levels[policy]])
        add("mean_accuracy", policy, NOWHERE, means[policy])
        for against in MEAN_VERSUS:
            if against in runs and against != policy:
                less = np.stack(means[against])
                add("mean_accuracy_gain", policy, NOWHERE, means[policy], against=against, less=less)
        in_vain = [at_acceptance(r.acceptance, r.wasted, np.array([1 - DEFERRAL]))[:, 0] for r in own]
        add("wasted", policy, DEFERRAL, in_vain)
    all_gains = []
    for policy, against in VERSUS:
        if policy in runs and against in runs:
            both = _trainings(at_levels[policy], at_levels[against])
            for column, level in enumerate(ACCEPTANCES):
                add("accuracy_gain", policy, level, [a[:, column] - b[:, column] for a, b in both], against=against)
            gains = [_gains(one, other) for one, other in _trainings(runs[policy], runs[against])]
            covered = float(np.mean([~np.isnan(gain[0]) for gain in gains]))
            add("mean_gain", policy, NOWHERE, [_mean(gain) for gain in gains], against=against, covered=covered)
            all_gains.append(Gains(panel, policy, against, np.stack(gains), results[-1].trainings))
    if {"draft_only", "target_only"} <= set(panel.curves):
        levels = levels_of(panel, weights)
        for policy, own in runs.items():
            kept = [-cheapest(-r.acceptance, r.accuracy, levels, r.acceptance) for r in own]
            for column, level in enumerate(RECOVERED):
                _add_kept(add, policy, level, [one[:, column] for one in kept], levels[0, column])
    if "rsd" in runs:
        add("better", "rsd", NOWHERE, [_better(panel.curves["rsd"][0], weights)], why="fewer than 5 of 0.1 ... 0.9")
    return results, all_gains


def levels_of(panel: Panel, weights: Floats) -> Floats:
    """(1 + B, RECOVERED): the accuracies that recover shares of the gap between draft and target, in each resample.

    All NaN where the data have no such gap: the target is no more accurate than the draft.
    """
    draft, target = (
        resampled_means(weights, panel.curves[name][0].values("correct")) for name in ("draft_only", "target_only")
    )
    levels: Floats = draft + RECOVERED * (target - draft)
    return levels if target[0, 0] > draft[0, 0] else np.full_like(levels, np.nan)


def _add_kept(add: Any, policy: str, level: float, each: list[Floats], accuracy: float) -> None:
    """Resamples that never reach the accuracy accept nothing: they would have to be left to the target."""
    reached = not any(np.isinf(one[0]) for one in each)
    unreached = NOWHERE if np.isnan(accuracy) else float(np.mean([np.isinf(one[1:]) for one in each]))
    why = NO_GAP if np.isnan(accuracy) else "not as accurate at any threshold"
    each = [np.where(np.isinf(one), 0.0 if reached else np.nan, one) for one in each]
    add("acceptance", policy, level, each, unreached=unreached, why=why)


def _trainings(one: list[Any], other: list[Any]) -> list[tuple[Any, Any]]:
    """Two policies' runs side by side: each training of the router against the other policy's only run."""
    count = max(len(one), len(other))
    return list(zip(one * (count // len(one)), other * (count // len(other)), strict=True))


def _gains(one: Resampled, other: Resampled) -> Floats:
    """(1 + B, STEPS_OF_RANGE): accuracy of one minus the other's, evenly over the acceptance both cover."""
    low = np.maximum(one.acceptance.min(axis=1), other.acceptance.min(axis=1))
    high = np.minimum(one.acceptance.max(axis=1), other.acceptance.max(axis=1))
    levels = evenly(low, high, STEPS_OF_RANGE)
    gains = at_acceptance(one.acceptance, one.accuracy, levels) - at_acceptance(
        other.acceptance, other.accuracy, levels
    )
    gains[low > high] = np.nan
    return gains


def _mean(values: Floats) -> Floats:
    """(B,): means of (B, L) over the values there are."""
    present = ~np.isnan(values)
    counts = present.sum(axis=1)
    totals = np.where(present, values, 0.0).sum(axis=1)
    means: Floats = np.divide(totals, counts, out=np.full(len(totals), np.nan), where=counts > 0)
    return means


def _better(curve: Curve, weights: Floats) -> Floats:
    """(1 + B,): the median over the paper's inner thresholds of P(target better | rejected)."""
    inner = np.isin(np.round(curve.thresholds, 9), PAPER_GRID[1:-1])
    if 2 * inner.sum() <= len(PAPER_GRID[1:-1]):
        return np.full(len(weights), np.nan)
    better, rejected = (
        resampled_means(weights, sum(curve.values(name)[inner] for name in names) / curve.values("steps")[inner])
        for names in (("better",), ("better", "equal", "worse"))
    )
    shares = np.divide(better, rejected, out=np.full(better.shape, np.nan), where=rejected > 0)
    empty = np.isnan(shares).all(axis=1)
    shares[empty] = 0.0
    medians: Floats = np.where(empty, np.nan, np.nanmedian(shares, axis=1))
    return medians


def comparison(all_panels: Iterable[Panel], confidence: float, seed: int) -> pd.DataFrame:
    """`comparison.csv`: the rows of every panel, then what is pooled over them."""
    numbers: list[Statistic] = []
    gains: list[Gains] = []
    for panel in all_panels:
        own, own_gains = compare(panel)
        numbers += own
        gains += own_gains
    rows = [one.row(confidence, seed) for one in (*numbers, *pooled(numbers))]
    rows += lowest_gains(gains, confidence, seed)
    return pd.DataFrame(rows, columns=COLUMNS)


def write_comparison(
    trajectories: Sequence[Path], settings: Curves, seed: int, out: Path, listed: Sequence[float] = ()
) -> None:
    """Write `comparison.csv` from the trajectory tables of all pairs and benchmarks. listed: see `panels`."""
    write_csv(out, comparison(panels(trajectories, settings, seed, listed), settings.confidence, seed))
