"""From a wanted acceptance rate to a threshold (RouteLLM calls it calibration: "escalate x % of the steps")."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from arbitrage.config.policies import THRESHOLD_POLICIES
from arbitrage.io.tables import TableError


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold, and the acceptance rate that it reaches (0 to 1)."""

    threshold: float
    acceptance: float


def operating_points(rows: Iterable[dict[str, Any]], acceptances: Sequence[float]) -> list[OperatingPoint]:
    """The nearest to each wanted acceptance rate, from the `trajectories` rows of one pair, benchmark and policy.

    Where many steps score the same, or few thresholds were swept, the nearest may be far off: `acceptance` says so.

    A threshold lies midway between two neighbouring scores seen in the sweep, so that rounding in a live run cannot
    tip a decision. Different wanted rates get different thresholds wherever there are enough. Result in the order of
    `acceptances`. Raises TableError where the rows hold no finite threshold (a policy without one), or none that every
    question was swept at.
    """
    rows = list(rows)
    edges = {row[side] for row in rows for side in ("threshold_low", "threshold_high") if math.isfinite(row[side])}
    if not edges:
        expected = f"expected those of a policy that has one ({', '.join(THRESHOLD_POLICIES)}) and was swept"
        raise TableError(f"these trajectories hold no finite threshold; {expected}")
    breaks = np.array(sorted(edges))
    middles = np.concatenate([[breaks[0] - 0.05], (breaks[1:] + breaks[:-1]) / 2, [breaks[-1] + 0.05]])
    gaps = np.concatenate([[0.1], np.diff(breaks), [0.1]])
    reached = _acceptance(rows, middles)
    swept = np.isfinite(reached)
    if not swept.any():
        raise TableError("no threshold was swept on every question; run the stage `trajectories` again")
    wide = swept & (gaps >= min(1e-6, float(np.median(gaps[swept]))))
    candidates, reached = middles[wide], reached[wide]
    free = np.ones(len(candidates), dtype=bool)
    chosen = []
    for target in acceptances:
        distance = np.abs(reached - target) + (0.0 if not free.any() else np.where(free, 0.0, 2.0))
        nearest = int(np.argmin(distance))
        free[nearest] = False
        chosen.append(OperatingPoint(float(candidates[nearest]), float(reached[nearest])))
    return chosen


def _acceptance(rows: Sequence[dict[str, Any]], thresholds: np.ndarray) -> np.ndarray:
    """Mean over questions of the share of accepted steps at each threshold (paper, section 4); shape of `thresholds`.

    NaN where a question has no trajectory: a sweep of listed thresholds has holes between its intervals.
    """
    total, met = np.zeros(len(thresholds)), np.zeros(len(thresholds))
    for row in rows:
        inside = (thresholds >= row["threshold_low"]) & (thresholds < row["threshold_high"])
        total += inside * np.mean([step["model"] == "draft" for step in row["steps"]])
        met += inside
    questions = len({row["question_id"] for row in rows})
    return np.where(met == questions, total / questions, np.nan)
