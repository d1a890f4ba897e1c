"""Accuracy against acceptance (Fig. 4, E.1): `accuracy_acceptance.csv`, a row for each policy and threshold.

How much was accepted is counted in four ways, means over questions first:

- `acceptance`: the share of a question's steps that the draft wrote (the paper's; what the figures plot, because every
  escalation costs a target step, whether or not its text is new)
- `text_acceptance`: the same, where an escalated step whose text is the draft's own counts as accepted
- `token_acceptance`: tokens of accepted draft steps as a share of the tokens of all solutions
- `drafted_acceptance`: the same tokens as a share of all tokens the draft wrote (the release's own count)

A router trained more than once has a curve for each training (`router_seed`) and, without seed and threshold, their
mean at evenly spaced acceptance, whose interval is over questions and trainings.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from arbitrage.config.pipeline import Curves
from arbitrage.config.policies import POLICIES
from arbitrage.evaluation.bootstrap import Floats, interval, over_seeds, resampled_means, with_data
from arbitrage.evaluation.curve_matching import at_acceptance
from arbitrage.evaluation.curves import Curve, Panel, panels
from arbitrage.io.csv_tables import write_csv

MEAN_LEVELS = np.linspace(0, 1, 101)
COLUMNS = [
    *("pair", "benchmark", "policy", "router_seed", "trainings", "threshold"),
    *("acceptance", "acceptance_low", "acceptance_high", "text_acceptance", "token_acceptance", "drafted_acceptance"),
    *("accuracy", "accuracy_low", "accuracy_high", "answered", "ungraded", "questions", "steps"),
]


def accuracy_acceptance(panel: Panel, confidence: float, seed: int) -> pd.DataFrame:
    """The panel's rows of Fig. 4 (COLUMNS).

    answered: share of the solutions. steps: of all of them together. questions: those graded; ungraded: those left out.
    trainings: of the router behind the row, 0 for the other policies.
    """
    frames = []
    for policy, runs in sorted(panel.curves.items()):
        trained = POLICIES[policy].trained
        for number, curve in enumerate(runs):
            own = _of_curve(curve, panel.weights, confidence)
            frames.append(own.assign(policy=policy, router_seed=number if trained else np.nan, trainings=int(trained)))
        if trained and len(runs) > 1:
            frames.append(_mean_of(runs, panel.weights, confidence, seed).assign(policy=policy, trainings=len(runs)))
    table = pd.concat(frames, ignore_index=True).assign(pair=panel.pair, benchmark=panel.benchmark)
    return table.reindex(columns=COLUMNS)


def _of_curve(curve: Curve, weights: Floats, confidence: float) -> pd.DataFrame:
    acceptance, correct = curve.values("acceptance"), curve.values("correct")
    acceptance_low, acceptance_high = interval(resampled_means(weights, acceptance), confidence)
    accuracy_low, accuracy_high = interval(resampled_means(weights, correct), confidence)
    accepted, drafted = curve.mean("chosen_draft_tokens"), curve.mean("draft_tokens")
    columns = {
        "threshold": curve.thresholds,
        "acceptance": acceptance.mean(axis=1),
        "acceptance_low": acceptance_low,
        "acceptance_high": acceptance_high,
        "text_acceptance": curve.mean("text_acceptance"),
        "token_acceptance": accepted / curve.mean("chosen_tokens"),
        "drafted_acceptance": np.divide(accepted, drafted, out=np.full(len(drafted), np.nan), where=drafted > 0),
        "accuracy": curve.mean("correct"),
        "accuracy_low": accuracy_low,
        "accuracy_high": accuracy_high,
        "answered": curve.mean("answered"),
        "ungraded": int(curve.rows["ungraded"].iloc[0]) if "ungraded" in curve.rows else 0,
        "questions": len(curve.questions),
        "steps": curve.values("steps").sum(axis=1).astype(int),
    }
    return pd.DataFrame(columns)


def _mean_of(runs: Sequence[Curve], weights: Floats, confidence: float, seed: int) -> pd.DataFrame:
    """The mean over trainings at MEAN_LEVELS of acceptance, where every training has operating points."""
    weights = with_data(weights)
    each = [
        at_acceptance(
            resampled_means(weights, curve.values("acceptance")),
            resampled_means(weights, curve.values("correct")),
            MEAN_LEVELS,
        )
        for curve in runs
    ]
    samples = np.clip(over_seeds(np.stack(each), seed), 0.0, 1.0)
    low, high = interval(samples[1:], confidence)
    columns = {"acceptance": MEAN_LEVELS, "accuracy": samples[0], "accuracy_low": low, "accuracy_high": high}
    return pd.DataFrame(columns)[~np.isnan(samples[0])].assign(questions=weights.shape[1])


def write_accuracy_acceptance(
    trajectories: Sequence[Path], settings: Curves, seed: int, out: Path, listed: Sequence[float] = ()
) -> None:
    """Write `accuracy_acceptance.csv` of all pairs and benchmarks from their trajectories; listed: see `panels`."""
    frames = [
        accuracy_acceptance(panel, settings.confidence, seed) for panel in panels(trajectories, settings, seed, listed)
    ]
    write_csv(out, pd.concat(frames, ignore_index=True))
