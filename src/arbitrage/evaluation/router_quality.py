"""How well a ranking of draft steps agrees with the advantage, on held-out questions (Tables 1-3 of the paper).

Spearman's rho between score and advantage; the area under the ROC curve for label 1 (`auroc`); accuracy on label 0 and
on label 1 when escalating above 0.5. Every variant
is trained several times: its numbers are means over trainings, `_spread` is the standard deviation between them, and
intervals are over trainings and questions (the steps of one question are not independent). Beside the router's variants
stand two rankings that need no training: RSD's own (-sd) and the draft's confidence. Row `all` pools the default's
over pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from arbitrage.config.pipeline import Curves
from arbitrage.config.study import Study
from arbitrage.evaluation.bootstrap import Floats, interval, over_seeds, p_values, resample_weights, with_data
from arbitrage.evaluation.estimates import ALL
from arbitrage.io.csv_tables import write_csv
from arbitrage.io.tables import TableError, read_frame
from arbitrage.runtime.paths import StudyPaths

ESCALATE_ABOVE = 0.5
UNTRAINED = {"rsd (-sd)": "draft_score", "draft confidence": "draft_confidence"}  # columns of the table `heldout`
BATCH = 2_000_000  # resamples times steps whose ranks are computed at once
METRICS = ("rho", "auroc", "accuracy_0", "accuracy_1")
DEFAULT = "default"
STEP = ["question_id", "step_index"]


def quality(heldout: pd.DataFrame, resamples: int, confidence: float, seed: int) -> pd.DataFrame:
    """The figures of Tables 1 to 3, and those of rankings that need no training: one row a pair and ranking.

    Columns: each of METRICS with `_low`, `_high` and `_spread`; trainings, steps and questions.

    heldout: rows of the table `heldout`. Rankings: its variants (trained: True) and UNTRAINED (no accuracies: they are
    no probabilities, so 0.5 means nothing to them). `<metric>_gain`: the variant `default`'s minus this variant's, on
    the steps both were tested on, with a paired interval and the one-sided p values `_p_above` (that it is above 0)
    and `_p_below`. Raises TableError where there is no held-out step.
    """
    if heldout.empty:
        raise TableError("no held-out step; raise dataset.validation or questions.sample")
    rows: list[dict[str, Any]] = []
    defaults: list[Floats] = []
    for pair, own in heldout.groupby("pair", sort=True):
        variants = {str(name): trainings_of(steps) for name, steps in own.groupby("variant", sort=True)}
        first = variants.get(DEFAULT, next(iter(variants.values())))
        for name, trainings in variants.items():
            samples = np.stack([step_metrics(steps, "router_score", resamples, seed) for steps in trainings])
            rows.append({"pair": pair, "ranking": name, "trained": True, **_summary(samples, "", confidence, seed)})
            if name != DEFAULT and DEFAULT in variants:
                rows[-1] |= _gains(first, trainings, resamples, confidence, seed)
            rows[-1] |= {"trainings": len(trainings), **_sizes(trainings[0])}
        if DEFAULT in variants:
            defaults.append(np.stack([step_metrics(steps, "router_score", resamples, seed) for steps in first]))
        for name, ranked in untrained(first[0]):
            samples = step_metrics(ranked, "score", resamples, seed)[None]
            samples[:, :, METRICS.index("accuracy_0") :] = np.nan
            rows.append({"pair": pair, "ranking": name, "trained": False, **_summary(samples, "", confidence, seed)})
            rows[-1] |= {"trainings": 0, **_sizes(first[0])}
    if defaults:
        least = min(map(len, defaults))
        together = np.mean([samples[:least] for samples in defaults], axis=0)
        sizes = heldout[heldout["variant"] == DEFAULT].drop_duplicates(["pair", *STEP])
        rows.append({"pair": ALL, "ranking": DEFAULT, "trained": True, **_summary(together, "", confidence, seed)})
        rows[-1] |= {"trainings": least, "steps": len(sizes), "questions": sizes["question_id"].nunique()}
    return pd.DataFrame(rows)


def trainings_of(steps: pd.DataFrame) -> list[pd.DataFrame]:
    """The steps as each training of a variant scored them."""
    return [own.reset_index(drop=True) for _, own in steps.groupby("router_seed", sort=True, dropna=False)]


def untrained(steps: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each ranking that needs no training (UNTRAINED), with the steps and what it makes of them, the column `score`."""
    for name, column in UNTRAINED.items():
        yield name, steps.assign(score=steps[column] * (-1 if column == "draft_score" else 1))


def heldout_of(study: Study) -> pd.DataFrame:
    """The table `heldout` of all pairs, variants and trainings of a study. Raises TableError."""
    paths = StudyPaths.of(study)
    tables = [paths.heldout(pair, variant) for pair in study.pairs for variant in study.variants_of(pair)]
    return pd.concat([read_frame(table, "heldout") for table in tables], ignore_index=True)


def _sizes(steps: pd.DataFrame) -> dict[str, int]:
    return {"steps": len(steps), "questions": steps["question_id"].nunique()}


def _gains(
    default: Sequence[pd.DataFrame], variant: Sequence[pd.DataFrame], resamples: int, confidence: float, seed: int
) -> dict[str, float]:
    """Columns `<metric>_gain` of the variant, on the steps both were tested on; none where there is none."""
    shared = default[0][STEP].merge(variant[0][STEP])
    if shared.empty:
        return {}
    first, second = (
        np.stack([step_metrics(shared.merge(steps), "router_score", resamples, seed) for steps in trainings])
        for trainings in (default, variant)
    )
    return _summary(first, "_gain", confidence, seed, less=second)


def step_metrics(steps: pd.DataFrame, score: str, resamples: int, seed: int) -> Floats:
    """(1 + resamples, METRICS): of all steps, then of each resample of their questions."""
    scores, label = steps[score].to_numpy(), steps["label"].to_numpy()
    right = (scores > ESCALATE_ABOVE) == (label == 1)
    _, owner = np.unique(steps["question_id"].to_numpy(str), return_inverse=True)
    times = with_data(resample_weights(int(owner.max()) + 1, resamples, seed, "heldout"))
    events = np.stack([part & (label == value) for value in (0, 1) for part in (right, np.ones_like(right))], axis=1)
    results = []
    for some in np.array_split(times, 1 + times.shape[0] * len(owner) // BATCH):
        weight = some[:, owner]
        ranks = _weighted_ranks(scores, weight)
        rho = _correlation(ranks, _weighted_ranks(steps["advantage"].to_numpy(), weight), weight)
        auroc = _area(ranks, label == 1, weight)
        counts = weight @ events.astype(np.float64)
        shares = [
            np.divide(counts[:, at], counts[:, at + 1], out=np.full(len(some), np.nan), where=counts[:, at + 1] > 0)
            for at in (0, 2)
        ]
        results.append(np.stack([rho, auroc, *shares], axis=1))
    return np.concatenate(results)


def _correlation(one: Floats, other: Floats, weight: Floats) -> Floats:
    """(B,): Spearman's rho from ranks, (B, N) each, where item i occurs weight[b, i] times.

    NaN where one of the two is constant.
    """
    squares = (weight * one**2).sum(axis=1) * (weight * other**2).sum(axis=1)
    products = (weight * one * other).sum(axis=1)
    rho: Floats = np.divide(products, np.sqrt(squares), out=np.full(len(weight), np.nan), where=squares > 0)
    return rho


def _area(ranks: Floats, positive: np.ndarray, weight: Floats) -> Floats:
    """(B,): the area under the ROC curve, from ranks (B, N) of the score and what is positive (N,).

    The share of pairs of a positive and a negative item that the score tells apart, ties by half: how far their mean
    ranks are from each other, over the number of items (Mann and Whitney). NaN without one of either kind.
    """
    counts = [(weight * part).sum(axis=1) for part in (positive, ~positive)]
    sums = [(weight * ranks * part).sum(axis=1) for part in (positive, ~positive)]
    above, below = (
        np.divide(total, count, out=np.full(len(weight), np.nan), where=count > 0)
        for total, count in zip(sums, counts, strict=True)
    )
    area: Floats = 0.5 + (above - below) / weight.sum(axis=1)
    return area


def _weighted_ranks(values: np.ndarray, weight: Floats) -> Floats:
    """(B, N): ranks of the values (N,) where item i occurs weight[b, i] times, less their mean; ties have one rank."""
    distinct, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    ends = np.cumsum(np.bincount(group, minlength=len(distinct))) - 1
    below = np.cumsum(weight[:, order], axis=1)[:, ends]
    count = np.diff(below, axis=1, prepend=0.0)
    rank = (below - (count - 1) / 2)[:, group]
    centred: Floats = rank - (weight * rank).sum(axis=1, keepdims=True) / weight.sum(axis=1, keepdims=True)
    return centred


def _summary(
    samples: Floats, suffix: str, confidence: float, seed: int, less: Floats | None = None
) -> dict[str, float]:
    """Columns of each metric from samples (K, 1 + resamples, METRICS), less those of another variant."""
    lowest = np.where([metric == "rho" or suffix != "" for metric in METRICS], -1.0, 0.0)
    folded = np.clip(over_seeds(samples, seed, less), lowest, 1.0)
    low, high = interval(folded[1:], confidence)
    trained = [own for own in (samples, less) if own is not None and len(own) > 1]
    columns: dict[str, float] = {}
    for column, metric in enumerate(METRICS):
        name = f"{metric}{suffix}"
        above, below = (p_values(folded[:, column], region)[0] for region in ((0.0, inf), (-inf, 0.0)))
        spread = float(np.sqrt(sum(own[:, 0, column].var(ddof=1) for own in trained))) if trained else float("nan")
        measured = not np.isnan(folded[0, column])
        columns |= {
            name: folded[0, column],
            f"{name}_low": low[column] if measured else float("nan"),
            f"{name}_high": high[column] if measured else float("nan"),
            f"{name}_spread": spread,
            f"{name}_p_above": above,
            f"{name}_p_below": below,
        }
    return columns


def write_quality(heldout: Sequence[Path], settings: Curves, seed: int, out: Path) -> None:
    """Write `quality.csv` from the `heldout` tables of all trainings, variants and pairs."""
    frames = [read_frame(path, "heldout") for path in heldout]
    write_csv(out, quality(pd.concat(frames, ignore_index=True), settings.resamples, settings.confidence, seed))
