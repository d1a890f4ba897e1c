"""Accuracy against latency (Fig. 5): measured points, and curves by the cost model.

A measured point is the mean wall time of the timed questions at one setting; a modelled curve is the cost model applied
to all questions' trajectories. The accuracy of both is the sweep's, over all questions at that threshold, never that of
the timed few.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from arbitrage.config.pipeline import Curves
from arbitrage.config.policies import TIMED_POLICIES
from arbitrage.evaluation.bootstrap import Floats, interval, resample_weights, resampled_means
from arbitrage.evaluation.cost_model import CostModel, read_cost_model, swept_work
from arbitrage.evaluation.curves import Curve, Panel, panels
from arbitrage.io.csv_tables import write_csv
from arbitrage.io.tables import TableError, read_frame


def seconds(curve: Curve, model: CostModel) -> Floats:
    """(T, Q): the cost model's seconds of each question's trajectory at each threshold of a curve."""
    by_question: Floats = model.predict(swept_work(curve.rows))[curve.index]
    return by_question


def timed_panels(
    trajectories: Sequence[Path], models: Sequence[Path], settings: Curves, seed: int
) -> Iterator[tuple[Panel, CostModel]]:
    """The panels of the pairs that have a cost model, each with its model."""
    by_pair = {model.pair: model for model in map(read_cost_model, models)}
    if not by_pair:
        return
    for panel in panels(trajectories, settings, seed):
        if panel.pair in by_pair:
            yield panel, by_pair[panel.pair]


def accuracy_latency(panel: Panel, timed: pd.DataFrame, model: CostModel, settings: Curves, seed: int) -> pd.DataFrame:
    """The panel's rows of `accuracy_latency.csv`; `timed` are its rows of the table `latency`.

    Raises TableError where a measured threshold lies in a gap of the sweep.
    """
    rows: list[dict[str, Any]] = []
    for policy in sorted(set(panel.curves) & set(TIMED_POLICIES)):
        curve = panel.curves[policy]
        modelled = seconds(curve, model)
        accuracy = curve.values("correct")
        low, high = interval(resampled_means(panel.weights, modelled), settings.confidence)
        accuracy_low, accuracy_high = interval(resampled_means(panel.weights, accuracy), settings.confidence)
        acceptance = curve.mean("acceptance")
        rows += [
            {
                **_keys(panel, policy, threshold, measured=False),
                "latency_s": modelled[place].mean(),
                "latency_low": low[place],
                "latency_high": high[place],
                "accuracy": accuracy[place].mean(),
                "accuracy_low": accuracy_low[place],
                "accuracy_high": accuracy_high[place],
                "acceptance": acceptance[place],
                "questions": len(curve.questions),
            }
            for place, threshold in enumerate(curve.thresholds)
        ]
    for (policy, threshold), group in timed.groupby(["policy", "threshold"], dropna=False, sort=True):
        if policy in panel.curves:
            rows.append(_measured(panel, str(policy), float(threshold), group["wall_s"].to_numpy(), settings, seed))
    return pd.DataFrame(rows)


def _measured(panel: Panel, policy: str, threshold: float, wall: Floats, settings: Curves, seed: int) -> dict[str, Any]:
    weights = resample_weights(len(wall), settings.resamples, seed)
    (low,), (high,) = interval(resampled_means(weights, wall[None]), settings.confidence)
    at = _at_threshold(panel.curves[policy].rows, threshold)
    if len(at) != len(panel.curves[policy].questions):
        raise TableError(
            f"pair {panel.pair}, benchmark {panel.benchmark}: {policy} was timed at threshold {threshold:g}, which the "
            f"sweep does not cover for every question; run the stages `trajectories` and `latency` again"
        )
    (accuracy_low,), (accuracy_high,) = interval(
        resampled_means(panel.weights, at["correct"].to_numpy()[None]), settings.confidence
    )
    return {
        **_keys(panel, policy, threshold, measured=True),
        "latency_s": wall.mean(),
        "latency_low": low,
        "latency_high": high,
        "accuracy": at["correct"].mean(),
        "accuracy_low": accuracy_low,
        "accuracy_high": accuracy_high,
        "acceptance": at["acceptance"].mean(),
        "questions": len(wall),
    }


def _at_threshold(rows: pd.DataFrame, threshold: float) -> pd.DataFrame:
    if np.isnan(threshold):
        return rows
    return rows[(rows["threshold_low"] <= threshold) & (threshold < rows["threshold_high"])]


def _keys(panel: Panel, policy: str, threshold: float, measured: bool) -> dict[str, Any]:
    return {
        "pair": panel.pair,
        "benchmark": panel.benchmark,
        "policy": policy,
        "threshold": threshold,
        "measured": measured,
    }


def write_accuracy_latency(
    trajectories: Sequence[Path],
    latency: Sequence[Path],
    models: Sequence[Path],
    settings: Curves,
    seed: int,
    out: Path,
) -> None:
    """Write `accuracy_latency.csv` for the pairs that were timed (if any); `latency`, `models`: one file a pair."""
    timed = {str(table["pair"].iloc[0]): table for table in (read_frame(path, "latency") for path in latency)}
    frames = []
    for panel, model in timed_panels(trajectories, models, settings, seed):
        own = timed[panel.pair]
        frames.append(accuracy_latency(panel, own[own["benchmark"] == panel.benchmark], model, settings, seed))
    write_csv(out, pd.concat(frames, ignore_index=True)[COLUMNS] if frames else pd.DataFrame(columns=COLUMNS))


COLUMNS = [
    "pair",
    "benchmark",
    "policy",
    "threshold",
    "latency_s",
    "latency_low",
    "latency_high",
    "accuracy",
    "accuracy_low",
    "accuracy_high",
    "acceptance",
    "measured",
    "questions",
]
