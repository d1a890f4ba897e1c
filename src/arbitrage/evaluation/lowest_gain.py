"""The smallest gain at any acceptance, with the lowest ends of a band that holds the whole curve of gains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from arbitrage.evaluation.bootstrap import Floats, band, over_seeds
from arbitrage.evaluation.curve_matching import NO_POINT
from arbitrage.evaluation.curves import Panel
from arbitrage.evaluation.estimates import ALL, COLUMNS, NOWHERE, distinct_questions
from arbitrage.evaluation.paper_claims import MARGIN

LOWEST = "lowest_gain"
TOO_WIDE = "no band: it would be wider than any gain could be, for want of questions or trainings"


@dataclass(frozen=True)
class Gains:
    """The gain of `policy` over `against` on a panel, (K, 1 + B, L), at acceptances evenly over their common range."""

    panel: Panel
    policy: str
    against: str
    samples: Floats
    trainings: int


def lowest_gains(gains: Sequence[Gains], confidence: float, seed: int) -> list[dict[str, Any]]:
    """Rows of `lowest_gain`: for each panel, and for the router over RSD over the curves of all panels together.

    Over the points that `band` has: not where the gain is the same in all resamples, as where both accept every step.
    Without `low` and `high`, and with a reason, where the band is wider than any gain could be (TOO_WIDE).
    """
    groups: list[tuple[str, str, list[Gains]]] = [(one.panel.pair, one.panel.benchmark, [one]) for one in gains]
    claimed = [one for one in gains if (one.policy, one.against) == ("router", "rsd")]
    if claimed:
        groups.append((ALL, ALL, claimed))
    rows = []
    for pair, benchmark, group in groups:
        trainings = min(len(one.samples) for one in group)
        samples = over_seeds(np.concatenate([one.samples[:trainings] for one in group], axis=2), seed)
        low, high, above, below = band(samples, confidence, MARGIN)
        known = not np.isnan(low).all()
        ends = (float(np.nanmin(low)), float(np.nanmin(high))) if known else (NOWHERE, NOWHERE)
        useless = max(map(abs, ends)) > 1  # no gain is more than 100 points; False for NaN
        if useless:
            ends = (NOWHERE, NOWHERE)
        rows.append(
            dict.fromkeys(COLUMNS)
            | {
                "pair": pair,
                "benchmark": benchmark,
                "metric": LOWEST,
                "policy": group[0].policy,
                "against": group[0].against,
                "value": samples[0][~np.isnan(low)].min() if known else NOWHERE,
                "low": ends[0],
                "high": ends[1],
                "covered": float((~np.isnan(samples[0])).mean()),
                "trainings": trainings if group[0].trainings else 0,
                "questions": distinct_questions([one.panel for one in group]),
                "panels": len(group) if known else 0,
                "p_inside": above,
                "p_outside": below,
                "reason": (TOO_WIDE if useless else "") if known else NO_POINT,
            }
        )
    return rows
