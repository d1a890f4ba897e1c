"""What escalations are worth: wasted deferrals (Fig. 3) and the outcomes of rejected steps (Fig. A.1).

All rates are weighted as the acceptance is: shares of a question's steps, averaged over questions. The outcome shares
among rejected steps are ratios of these, so that P(better) x reject rate is the rate of useful escalations.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from arbitrage.config.pipeline import Curves
from arbitrage.config.policies import POLICIES, THRESHOLD_POLICIES
from arbitrage.evaluation.bootstrap import Floats, interval, resampled_means
from arbitrage.evaluation.curves import Panel, panels
from arbitrage.io.csv_tables import write_csv

RATES = ("deferral", "wasted", "useful", "better", "equal", "worse")
COLUMNS = [
    *("pair", "benchmark", "policy", "router_seed", "threshold"),
    *(f"{rate}{end}" for rate in RATES for end in ("", "_low", "_high")),
    *("questions", "steps", "rejected_steps"),
]


def outcomes(panel: Panel, confidence: float) -> pd.DataFrame:
    """The panel's rows of `outcomes.csv` (Fig. 3, Fig. A.1), per policy and threshold; rates with `_low` and `_high`.

    deferral: escalated steps; wasted: escalated steps with st <= sd; useful: those with st > sd (all three as shares
    of all steps); better, equal, worse: shares of the escalated steps with st >, =, < sd, empty where none is. A router
    has rows for each of its trainings.
    """
    frames = []
    curves = [
        (policy, number, curve)
        for policy in sorted(set(panel.curves) & set(THRESHOLD_POLICIES))
        for number, curve in enumerate(panel.curves[policy])
    ]
    for policy, number, curve in curves:
        shares = {name: curve.values(name) / curve.values("steps") for name in ("better", "equal", "worse")}
        deferral = shares["better"] + shares["equal"] + shares["worse"]
        rates = {"deferral": deferral, "wasted": shares["equal"] + shares["worse"], "useful": shares["better"]}
        columns: dict[str, object] = {
            "pair": panel.pair,
            "benchmark": panel.benchmark,
            "policy": policy,
            "router_seed": number if POLICIES[policy].trained else np.nan,
            "threshold": curve.thresholds,
        }
        for name, rate in rates.items():
            columns[name] = rate.mean(axis=1)
            columns[f"{name}_low"], columns[f"{name}_high"] = interval(resampled_means(panel.weights, rate), confidence)
        rejected = resampled_means(panel.weights, deferral)
        for name, share in shares.items():
            columns[name] = _ratio(share.mean(axis=1), deferral.mean(axis=1))
            samples = _ratio(resampled_means(panel.weights, share), rejected)
            columns[f"{name}_low"], columns[f"{name}_high"] = interval(samples, confidence)
        columns["questions"] = len(curve.questions)
        columns["steps"] = curve.values("steps").sum(axis=1).astype(int)
        columns["rejected_steps"] = curve.values("escalations").sum(axis=1).astype(int)
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=COLUMNS)


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)


def write_outcomes(
    trajectories: Sequence[Path], settings: Curves, seed: int, out: Path, listed: Sequence[float] = ()
) -> None:
    """Write `outcomes.csv` from the trajectory tables of all pairs and benchmarks. listed: see `panels`."""
    frames = [outcomes(panel, settings.confidence) for panel in panels(trajectories, settings, seed, listed)]
    write_csv(out, pd.concat(frames, ignore_index=True))
