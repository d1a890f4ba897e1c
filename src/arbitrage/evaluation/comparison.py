"""Policies side by side at the same acceptance: the numbers that Fig. 4 is read for.

`comparison.csv` holds, per pair and benchmark, `value` with a paired interval for each `metric`:

- `accuracy`: of `policy` at acceptance `level`
- `accuracy_gain`: of `policy` over `against` at acceptance `level`
- `mean_gain`: of `policy` over `against`, mean over the whole range of acceptance both cover (area between the curves)
- `share_not_below`: share of that range on which `policy` is not below `against`
- `acceptance`: the highest at which `policy` is still as accurate as the draft plus `level` of the draft-to-target gap
- `wasted`: wasted deferrals of `policy` as a share of all steps, at deferral rate `level`
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from arbitrage.config.pipeline import Curves
from arbitrage.config.policies import THRESHOLD_POLICIES
from arbitrage.evaluation.bootstrap import Floats, interval, resampled_means
from arbitrage.evaluation.curve_matching import at_acceptance, cheapest
from arbitrage.evaluation.curves import Panel, panels
from arbitrage.io.csv_tables import write_csv

ACCEPTANCES = np.array([0.6, 0.7, 0.8, 0.9])
DEFERRALS = np.array([0.7])
RECOVERED = np.array([0.25, 0.5, 0.75, 0.9, 1.0])  # of the accuracy gap between draft and target
VERSUS = (
    ("router", "rsd"),
    ("oracle", "router"),
    ("oracle", "rsd"),
    ("router", "random"),
    ("rsd", "random"),
    ("router", "confidence"),
)
STEPS_OF_RANGE = 101
COLUMNS = ["pair", "benchmark", "metric", "policy", "against", "level", "value", "low", "high"]


def compare(panel: Panel, confidence: float) -> pd.DataFrame:
    """The panel's rows of `comparison.csv` (COLUMNS); none where no policy with a threshold was run."""
    resampled: dict[str, tuple[Floats, Floats]] = {}
    wasted: dict[str, Floats] = {}
    for policy in sorted(set(panel.curves) & set(THRESHOLD_POLICIES)):
        # Row 0 is the data itself, the others its resamples: one computation serves value and interval.
        weights = np.vstack([np.ones(panel.weights.shape[1]), panel.weights])
        curve = panel.curves[policy]
        resampled[policy] = (
            resampled_means(weights, curve.values("acceptance")),
            resampled_means(weights, curve.values("correct")),
        )
        in_vain = (curve.values("equal") + curve.values("worse")) / curve.values("steps")
        wasted[policy] = resampled_means(weights, in_vain)
    rows: list[dict[str, Any]] = []

    def add(metric: str, policy: str, against: str | None, levels: Floats, samples: Floats) -> None:
        low, high = interval(samples[1:], confidence)
        for number, level in enumerate(levels):
            head = {
                "pair": panel.pair,
                "benchmark": panel.benchmark,
                "metric": metric,
                "policy": policy,
                "against": against,
            }
            rows.append(head | {"level": level, "value": samples[0, number], "low": low[number], "high": high[number]})

    at_levels = {policy: at_acceptance(*both, ACCEPTANCES) for policy, both in resampled.items()}
    for policy, samples in at_levels.items():
        add("accuracy", policy, None, ACCEPTANCES, samples)
        acceptance = resampled[policy][0]
        add("wasted", policy, None, DEFERRALS, at_acceptance(acceptance, wasted[policy], 1 - DEFERRALS))
    for policy, against in VERSUS:
        if policy in resampled and against in resampled:
            add("accuracy_gain", policy, against, ACCEPTANCES, at_levels[policy] - at_levels[against])
            gains = _gains_over_range(resampled[policy], resampled[against])
            nowhere = np.full(1, np.nan)
            not_below = np.where(np.isnan(gains), np.nan, gains >= -1e-12)
            add("mean_gain", policy, against, nowhere, _means_where_known(gains))
            add("share_not_below", policy, against, nowhere, _means_where_known(not_below))
    if {"draft_only", "target_only"} <= set(panel.curves):
        draft, target = (panel.curves[name].mean("correct")[0] for name in ("draft_only", "target_only"))
        for policy, (acceptance, accuracy) in resampled.items():
            add(
                "acceptance",
                policy,
                None,
                RECOVERED,
                -cheapest(-acceptance, accuracy, draft + RECOVERED * (target - draft)),
            )
    return pd.DataFrame(rows, columns=COLUMNS)


def _gains_over_range(one: tuple[Floats, Floats], other: tuple[Floats, Floats]) -> Floats:
    """(B, STEPS_OF_RANGE): accuracy of one minus the other's, evenly over the acceptance both cover in the data."""
    low = max(one[0][0].min(), other[0][0].min())
    high = min(one[0][0].max(), other[0][0].max())
    levels = np.linspace(low, high, STEPS_OF_RANGE)
    return at_acceptance(*one, levels) - at_acceptance(*other, levels)


def _means_where_known(values: Floats) -> Floats:
    """(B, 1): means of (B, L) over what is known; a resample's curve may not reach the ends of the data's range."""
    known = ~np.isnan(values)
    counts = known.sum(axis=1, keepdims=True)
    totals = np.where(known, values, 0.0).sum(axis=1, keepdims=True)
    means: Floats = np.divide(totals, counts, out=np.full(totals.shape, np.nan), where=counts > 0)
    return means


def write_comparison(trajectories: Sequence[Path], settings: Curves, seed: int, out: Path) -> None:
    """Write `comparison.csv` from the trajectory tables of all pairs and benchmarks."""
    frames = [compare(panel, settings.confidence) for panel in panels(trajectories, settings, seed)]
    write_csv(out, pd.concat(frames, ignore_index=True))
