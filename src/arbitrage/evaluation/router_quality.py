"""How well a ranking of draft steps agrees with the advantage, on held-out questions (Tables 1-3 of the paper).

Spearman's rho between score and advantage; accuracy on label 0 and on label 1 when escalating above 0.5. Intervals by
bootstrap over questions, since the steps of one question are not independent. Beside the router's variants stand two
rankings that need no training: RSD's own (-sd) and the draft's confidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from arbitrage.config.pipeline import Curves
from arbitrage.evaluation.bootstrap import Floats, interval, resample_weights
from arbitrage.io.csv_tables import write_csv
from arbitrage.io.tables import TableError, read_frame

ESCALATE_ABOVE = 0.5
UNTRAINED = {"rsd (-sd)": "draft_score", "draft confidence": "draft_confidence"}
METRICS = ("rho", "accuracy_0", "accuracy_1")


def quality(heldout: pd.DataFrame, resamples: int, confidence: float, seed: int) -> pd.DataFrame:
    """One row a pair and ranking: rho, accuracy_0, accuracy_1, each with `_low` and `_high`; steps and questions.

    heldout: rows of the table `heldout`. Rankings: its variants (trained: True) and UNTRAINED (no accuracies: they are
    no probabilities, so 0.5 means nothing to them). `<metric>_gain`: the variant `default`'s minus this variant's, on
    the steps both were tested on, with a paired interval. Raises TableError where there is no held-out step.
    """
    if heldout.empty:
        raise TableError("no held-out step; raise dataset.validation or questions.sample")
    rows: list[dict[str, Any]] = []
    for pair, own in heldout.groupby("pair", sort=True):
        variants = {str(name): steps.reset_index(drop=True) for name, steps in own.groupby("variant", sort=True)}
        first = variants.get("default", next(iter(variants.values())))
        for name, steps in variants.items():
            samples = _metrics(steps, "router_score", resamples, seed)
            rows.append({"pair": pair, "ranking": name, "trained": True, **_with_interval(samples, "", confidence)})
            both = first.merge(steps, on=["question_id", "step_index"], suffixes=("_default", ""))
            if name != "default" and "default" in variants and len(both):
                gains = _metrics(both, "router_score_default", resamples, seed)
                gains -= _metrics(both, "router_score", resamples, seed)
                rows[-1] |= _with_interval(gains, "_gain", confidence)
            rows[-1] |= {"steps": len(steps), "questions": steps["question_id"].nunique()}
        for name, column in UNTRAINED.items():
            ranked = first.assign(score=first[column] * (-1 if column == "draft_score" else 1))
            samples = _metrics(ranked, "score", resamples, seed)
            samples[:, 1:] = np.nan
            rows.append({"pair": pair, "ranking": name, "trained": False, **_with_interval(samples, "", confidence)})
            rows[-1] |= {"steps": len(first), "questions": first["question_id"].nunique()}
    return pd.DataFrame(rows)


def _metrics(steps: pd.DataFrame, score: str, resamples: int, seed: int) -> Floats:
    """(1 + resamples, METRICS): of all steps, then of each resample of their questions."""
    scores, label = steps[score].to_numpy(), steps["label"].to_numpy()
    right = (scores > ESCALATE_ABOVE) == (label == 1)
    _, owner = np.unique(steps["question_id"].to_numpy(str), return_inverse=True)
    questions = int(owner.max()) + 1
    times = np.vstack([np.ones(questions), resample_weights(questions, resamples, seed)])
    ranks = [np.unique(values, return_inverse=True)[1] for values in (scores, steps["advantage"].to_numpy())]
    found = np.full((len(times), len(METRICS)), np.nan)
    for row, of_question in zip(found, times, strict=True):
        weight = of_question[owner]
        row[0] = _weighted_spearman(ranks[0], ranks[1], weight)
        for value in (0, 1):
            total = weight[label == value].sum()
            row[1 + value] = (weight * right)[label == value].sum() / total if total else np.nan
    return found


def _weighted_spearman(first: np.ndarray, second: np.ndarray, weight: Floats) -> float:
    """Spearman's rho of two orders (dense ranks from 0) where item i occurs weight[i] times; ties get their mean rank.

    NaN where one of the two is constant.
    """
    centred = []
    for order in (first, second):
        count = np.bincount(order, weights=weight)
        rank = (np.cumsum(count) - (count - 1) / 2)[order]
        centred.append(rank - np.average(rank, weights=weight))
    spread = np.sqrt((weight * centred[0] ** 2).sum() * (weight * centred[1] ** 2).sum())
    return float((weight * centred[0] * centred[1]).sum() / spread) if spread else float("nan")


def _with_interval(samples: Floats, suffix: str, confidence: float) -> dict[str, float]:
    low, high = interval(samples[1:], confidence)
    found: dict[str, float] = {}
    for place, metric in enumerate(METRICS):
        name = f"{metric}{suffix}"
        found |= {name: samples[0, place], f"{name}_low": low[place], f"{name}_high": high[place]}
    return found


def write_quality(heldout: Sequence[Path], settings: Curves, seed: int, out: Path) -> None:
    """Write `quality.csv` from the `heldout` tables of all variants and pairs."""
    frames = [read_frame(path, "heldout") for path in heldout]
    write_csv(out, quality(pd.concat(frames, ignore_index=True), settings.resamples, settings.confidence, seed))
