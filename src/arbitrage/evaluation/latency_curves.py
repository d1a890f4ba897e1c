"""Accuracy against latency (Fig. 5): measured points, and curves by the cost model.

A measured point is the mean wall time of the timed questions at one setting; a modelled curve is the cost model applied
to all questions' trajectories, with its own error, from resamples of the timed questions, in the interval. The accuracy
of both is the sweep's, over all questions at that threshold, never that of the timed few.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from arbitrage.config.pipeline import Curves
from arbitrage.config.policies import POLICIES, TIMED_POLICIES
from arbitrage.evaluation.bootstrap import Floats, interval, resample_weights, resampled_means, with_data
from arbitrage.evaluation.cost_model import ResampledModel, resampled_model
from arbitrage.evaluation.curves import Curve, Panel, panels
from arbitrage.evaluation.decoder_work import features, swept_work
from arbitrage.evaluation.trajectory_counts import trajectory_counts
from arbitrage.io.csv_tables import write_csv
from arbitrage.io.tables import TableError, read_frame

COLUMNS = [
    *("pair", "benchmark", "policy", "router_seed", "threshold", "measured", "uninterrupted", "speculative_tokens"),
    *("latency_s", "latency_low", "latency_high", "accuracy", "accuracy_low", "accuracy_high", "acceptance"),
    *("questions", "timed_questions"),
]
TimedPanel = tuple[Panel, ResampledModel, pd.DataFrame]
"""A panel of a timed pair, the pair's resampled cost model, and the panel's rows of the table `latency`."""


def seconds(curve: Curve, weights: Floats, model: ResampledModel, benchmark: str) -> Floats:
    """(1 + B, T): mean seconds of a solution at each threshold, by resamples of questions and of the model together.

    weights: (1 + B, Q), the data's own first.
    """
    policy = str(curve.rows["policy"].iloc[0])
    counts = features(swept_work(curve.rows))
    work = np.zeros((len(weights), counts.shape[1], len(curve.thresholds)))
    for feature in np.flatnonzero(counts.any(axis=0)):
        work[:, feature] = resampled_means(weights, counts[:, feature][curve.index])
    return model.predict(work, benchmark, policy)


def timed_panels(
    trajectories: Sequence[Path], latency: Sequence[Path], settings: Curves, seed: int, listed: Sequence[float] = ()
) -> Iterator[TimedPanel]:
    """The panels of the timed pairs, each with its resampled cost model and its rows of the table `latency`.

    trajectories, latency: the tables of these pairs; listed: as for `panels`.
    """
    timed = {str(table["pair"].iloc[0]): table for table in (read_frame(path, "latency") for path in latency)}
    if not timed:
        return
    counts = trajectory_counts(trajectories)
    models = {pair: resampled_model(table, counts, settings.resamples, seed) for pair, table in timed.items()}
    for panel in panels(trajectories, settings, seed, listed):
        if panel.pair in models:
            own = timed[panel.pair]
            yield panel, models[panel.pair], own[own["benchmark"] == panel.benchmark]


def accuracy_latency(
    panel: Panel, model: ResampledModel, timed: pd.DataFrame, settings: Curves, seed: int
) -> pd.DataFrame:
    """The panel's rows of `accuracy_latency.csv`; `timed` are its rows of the table `latency`.

    Raises TableError where a measured threshold lies in a gap of the sweep.
    """
    weights = with_data(panel.weights)
    frames = [
        _modelled(curve, weights, model, panel.benchmark, settings.confidence).assign(
            policy=policy, router_seed=number if POLICIES[policy].trained else np.nan
        )
        for policy in sorted(set(panel.curves) & set(TIMED_POLICIES))
        for number, curve in enumerate(panel.curves[policy])
    ]
    settings_of = ["policy", "threshold", "uninterrupted", "speculative_tokens"]
    measured = [
        _measured(panel, str(key[0]), key[1], group["wall_s"].to_numpy(), settings, seed)
        | {"uninterrupted": bool(key[2]), "speculative_tokens": int(key[3])}
        for key, group in timed.groupby(settings_of, dropna=False, sort=True)
        if key[0] in panel.curves
    ]
    table = pd.concat([*frames, pd.DataFrame(measured)], ignore_index=True)
    questions = timed["question_id"].nunique()
    return table.assign(
        pair=panel.pair, benchmark=panel.benchmark, questions=panel.questions, timed_questions=questions
    ).reindex(columns=COLUMNS)


def _modelled(curve: Curve, weights: Floats, model: ResampledModel, benchmark: str, confidence: float) -> pd.DataFrame:
    latency = seconds(curve, weights, model, benchmark)
    accuracy = resampled_means(weights, curve.values("correct"))
    low, high = interval(latency[1:], confidence)
    accuracy_low, accuracy_high = interval(accuracy[1:], confidence)
    columns = {
        "threshold": curve.thresholds,
        "measured": False,
        "uninterrupted": False,
        "speculative_tokens": 0,
        "latency_s": latency[0],
        "latency_low": low,
        "latency_high": high,
        "accuracy": accuracy[0],
        "accuracy_low": accuracy_low,
        "accuracy_high": accuracy_high,
        "acceptance": curve.mean("acceptance"),
    }
    return pd.DataFrame(columns)


def _measured(panel: Panel, policy: str, threshold: float, wall: Floats, settings: Curves, seed: int) -> dict[str, Any]:
    curve = panel.curves[policy][0]  # a router's first training is the one that is timed
    times = resample_weights(len(wall), settings.resamples, seed, f"timed {panel.benchmark}")
    low, high = map(float, interval(resampled_means(times, wall), settings.confidence))
    at = _at_threshold(curve.rows, threshold)
    if len(at) != len(curve.questions):
        raise TableError(
            f"pair {panel.pair}, benchmark {panel.benchmark}: {policy} was timed at threshold {threshold:g}, which the "
            f"sweep does not cover for every question; run the stages `trajectories` and `latency` again"
        )
    accuracy = resampled_means(with_data(panel.weights), at["correct"].to_numpy())
    accuracy_low, accuracy_high = map(float, interval(accuracy[1:], settings.confidence))
    return {
        "policy": policy,
        "router_seed": 0 if POLICIES[policy].trained else np.nan,
        "threshold": threshold,
        "measured": True,
        "latency_s": wall.mean(),
        "latency_low": low,
        "latency_high": high,
        "accuracy": accuracy[0],
        "accuracy_low": accuracy_low,
        "accuracy_high": accuracy_high,
        "acceptance": at["acceptance"].mean(),
    }


def _at_threshold(rows: pd.DataFrame, threshold: float) -> pd.DataFrame:
    if np.isnan(threshold):
        return rows
    return rows[(rows["threshold_low"] <= threshold) & (threshold < rows["threshold_high"])]


def write_accuracy_latency(timed: Iterable[TimedPanel], settings: Curves, seed: int, out: Path) -> None:
    """Write `accuracy_latency.csv` for the pairs that were timed (if any); timed: from `timed_panels`."""
    frames = [accuracy_latency(panel, model, rows, settings, seed) for panel, model, rows in timed]
    write_csv(out, pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=COLUMNS))
