"""How much faster a policy is at the same accuracy (the paper's headline: 1.62x and 1.97x).

At accuracy a, a policy's latency is the cheapest on its curve's running maximum of accuracy. `speedup.csv` holds, per
pair, benchmark and comparison (`policy` against `baseline`), by the cost model over all questions:

- `at_accuracy`: the ratio of the baseline's latency to the policy's at a few accuracies (the draft's plus a share of
  the gap to the target's)
- `typical`: the geometric mean of that ratio over the accuracies that both curves cover
- `maximal`: its largest value there, at the accuracy where it is largest; the interval is that ratio's at that accuracy

Every row has a plain `statement`; where curves do not overlap, it says so and the numbers are empty.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from arbitrage.config.pipeline import Curves
from arbitrage.evaluation.bootstrap import Floats, interval, resampled_means
from arbitrage.evaluation.comparison import RECOVERED
from arbitrage.evaluation.cost_model import CostModel
from arbitrage.evaluation.curve_matching import cheapest, common_range
from arbitrage.evaluation.curves import Panel
from arbitrage.evaluation.latency_curves import seconds, timed_panels
from arbitrage.io.csv_tables import write_csv

COMPARISONS = (("router", "rsd"), ("router", "target_only"), ("rsd", "target_only"))
STEPS_OF_RANGE = 41
MOST_UNDEFINED = 0.5  # an interval is not given where more than this share of the resamples has no ratio


def speedups(panel: Panel, model: CostModel, confidence: float) -> pd.DataFrame:
    """The panel's rows of `speedup.csv` (COLUMNS): speed-up at matched accuracy (paper, section 5).

    recovered: share of the accuracy gap between draft and target, where the row is about one.
    """
    weights = np.vstack([np.ones(panel.weights.shape[1]), panel.weights])  # row 0: the data itself
    resampled: dict[str, tuple[Floats, Floats]] = {}
    for policy, curve in panel.curves.items():
        latency, accuracy = seconds(curve, model), curve.values("correct")
        resampled[policy] = (resampled_means(weights, latency), resampled_means(weights, accuracy))
    rows: list[dict[str, Any]] = []
    for policy, baseline in COMPARISONS:
        if policy in resampled and baseline in resampled:
            head = {"pair": panel.pair, "benchmark": panel.benchmark, "policy": policy, "baseline": baseline}
            rows += [head | row for row in _over_range(policy, baseline, resampled, confidence)]
            if {"draft_only", "target_only"} <= set(resampled):
                draft, target = resampled["draft_only"][1][0, 0], resampled["target_only"][1][0, 0]
                levels = draft + RECOVERED * (target - draft)
                rows += [head | row for row in _at_levels(policy, baseline, resampled, levels, confidence)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _ratios(policy: str, baseline: str, resampled: dict[str, tuple[Floats, Floats]], levels: Floats) -> Floats:
    """(1 + resamples, levels): baseline's latency over the policy's."""
    return cheapest(*resampled[baseline], levels) / cheapest(*resampled[policy], levels)


def _over_range(
    policy: str, baseline: str, resampled: dict[str, tuple[Floats, Floats]], confidence: float
) -> list[dict[str, Any]]:
    ours, theirs = ([part[0] for part in resampled[name]] for name in (policy, baseline))
    low, high = common_range(*ours, *theirs)
    if low > high:
        statement = (
            f"the curves of {policy} and {baseline} do not overlap: the accuracies reached by one start at {low:.1%}, "
            f"the other ends at {high:.1%}"
        )
        return [{"kind": kind, "statement": statement} for kind in ("typical", "maximal")]
    levels = np.linspace(low, high, STEPS_OF_RANGE) if low < high else np.array([low])
    ratios = _ratios(policy, baseline, resampled, levels)
    best = int(ratios[0].argmax())
    where = f"accuracies {low:.1%} to {high:.1%}" if low < high else f"accuracy {low:.1%}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a resample that reaches no level has no mean
        typical = np.exp(np.nanmean(np.log(ratios), axis=1))
    return [
        {"kind": "typical", **_summary(policy, baseline, typical, confidence, f"on average over {where}")},
        {
            "kind": "maximal",
            "accuracy": levels[best],
            **_summary(
                policy,
                baseline,
                ratios[:, best],
                confidence,
                f"where the ratio is largest, accuracy {levels[best]:.1%}",
            ),
        },
    ]


def _at_levels(
    policy: str, baseline: str, resampled: dict[str, tuple[Floats, Floats]], levels: Floats, confidence: float
) -> list[dict[str, Any]]:
    ratios = _ratios(policy, baseline, resampled, levels)
    rows = []
    for place, (recovered, level) in enumerate(zip(RECOVERED, levels, strict=True)):
        row: dict[str, Any] = {"kind": "at_accuracy", "recovered": recovered, "accuracy": level}
        if np.isnan(ratios[0, place]):
            short = [name for name in (policy, baseline) if resampled[name][1][0].max() < level - 1e-12]
            rows.append(row | {"statement": f"no curve of {' or '.join(short)} reaches accuracy {level:.1%}"})
        else:
            rows.append(row | _summary(policy, baseline, ratios[:, place], confidence, f"at accuracy {level:.1%}"))
    return rows


def _summary(policy: str, baseline: str, ratios: Floats, confidence: float, where: str) -> dict[str, Any]:
    """Point and interval of a ratio whose element 0 is the data's own and the rest its resamples'."""
    low, high = (float(end) for end in interval(ratios[1:], confidence))
    if np.isnan(ratios[1:]).mean() > MOST_UNDEFINED:
        low = high = float("nan")
    verdict = "faster" if low > 1 else "slower" if high < 1 else "not told apart from"
    tail = f"{verdict} than {baseline}" if verdict != "not told apart from" else f"{verdict} {baseline} in speed"
    range_ = f"{low:.2f} to {high:.2f}" if low == low else "too few resamples reach this accuracy for an interval"
    statement = f"{policy} is {tail} {where}: {ratios[0]:.2f}x ({range_})"
    return {"speedup": ratios[0], "low": low, "high": high, "statement": statement}


def write_speedup(trajectories: Sequence[Path], models: Sequence[Path], settings: Curves, seed: int, out: Path) -> None:
    """Write `speedup.csv` for the pairs that have a cost model (`models`: one JSON a pair), if any."""
    frames = [
        speedups(panel, model, settings.confidence)
        for panel, model in timed_panels(trajectories, models, settings, seed)
    ]
    write_csv(out, pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=COLUMNS))


COLUMNS = [
    "pair",
    "benchmark",
    "policy",
    "baseline",
    "kind",
    "recovered",
    "accuracy",
    "speedup",
    "low",
    "high",
    "statement",
]
