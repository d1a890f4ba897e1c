"""Is a router's output what it estimates? On held-out steps, in bins of about as many steps each.

What it estimates depends on what it was trained on (docs/routers.md#training): the probability that escalating gains
(loss `label`), the share of what is at stake that escalating wins (`weighted`), or (1 + what escalating gains) / 2
(`regression`). Each is held against the same quantity as observed in a bin, with intervals over questions and
trainings. The expected calibration error is the mean distance of the two, each bin weighted by what its steps count
(Naeini, Cooper and Hauskrecht, AAAI 2015; bins of equal size as in Nixon et al., 2019).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from arbitrage.config.pipeline import Curves
from arbitrage.config.router import IN_VAIN, Loss
from arbitrage.config.study import Study
from arbitrage.evaluation.bootstrap import Floats, interval, over_seeds, resample_weights, with_data
from arbitrage.evaluation.estimates import ALL
from arbitrage.evaluation.router_quality import STEP, trainings_of
from arbitrage.io.csv_tables import write_csv
from arbitrage.io.tables import read_batches, read_frame
from arbitrage.runtime.paths import VALIDATION, StudyPaths

MOST_BINS = 10
FEWEST_STEPS = 30  # of a bin
ESTIMATES: dict[Loss, str] = {
    "label": "P(escalating gains)",
    "weighted": "share of what is at stake that escalating wins",
    "regression": "(1 + what escalating gains) / 2",
}


def calibration(heldout: pd.DataFrame, losses: Mapping[str, Loss], settings: Curves, seed: int) -> pd.DataFrame:
    """A row a pair, variant and bin, and one for all bins together, which has the expected calibration error.

    heldout: rows of the table `heldout` with `gain`, what escalating a step gains by the variant's own labels. losses:
    by variant. Columns: pair, variant, loss, bin (1 the lowest, or `all`), steps (of a training, on average),
    trainings, predicted (mean output), observed with `_low` and `_high`, ece with `_low` and `_high`.
    """
    rows: list[dict[str, Any]] = []
    for (pair, variant), own in heldout.groupby(["pair", "variant"], sort=False):
        trainings = trainings_of(own)
        bins = min(MOST_BINS, max(1, len(trainings[0]) // FEWEST_STEPS))
        parts = [_binned(steps, losses[str(variant)], bins, settings.resamples, seed) for steps in trainings]
        samples = np.stack([numbers for numbers, _ in parts])
        sizes = np.mean([counts for _, counts in parts], axis=0)
        folded = np.clip(over_seeds(samples, seed), 0.0, 1.0)  # (1 + B, 3, bins + 1)
        low, high = interval(folded[1:], settings.confidence)
        for index, name in enumerate([*map(str, range(1, bins + 1)), ALL]):
            if not sizes[index]:
                continue  # ties of a whole bin's size and more
            row = {"pair": pair, "variant": variant, "loss": losses[str(variant)], "bin": name, "steps": sizes[index]}
            row |= {"trainings": len(trainings), "predicted": folded[0, 0, index]}
            for place, column in ((1, "observed"), (2, "ece")):
                ends = (folded[0, place, index], low[place, index], high[place, index])
                row |= dict(zip((column, f"{column}_low", f"{column}_high"), ends, strict=True))
            rows.append(row)
    return pd.DataFrame(rows)


def _binned(steps: pd.DataFrame, loss: Loss, bins: int, resamples: int, seed: int) -> tuple[Floats, Floats]:
    """(1 + resamples, 3, bins + 1): predicted, observed and error of each bin and of all, and the steps in each.

    The error of a single bin is left out (NaN). Steps of one score are in one bin.
    """
    score, gain = (steps[column].to_numpy(np.float64) for column in ("router_score", "gain"))
    weight = np.where(gain == 0, IN_VAIN, np.abs(gain)) if loss == "weighted" else np.ones(len(gain))
    truth = (1 + gain) / 2 if loss == "regression" else (gain > 0).astype(np.float64)
    place = (bins * (steps["router_score"].rank().to_numpy() - 0.5) / len(score)).astype(int)
    member = np.eye(bins)[place]
    _, owner = np.unique(steps["question_id"].to_numpy(str), return_inverse=True)
    per_question = np.zeros((3, int(owner.max()) + 1, bins))
    for sums, values in zip(per_question, (weight, weight * score, weight * truth), strict=True):
        np.add.at(sums, owner, values[:, None] * member)
    times = with_data(resample_weights(per_question.shape[1], resamples, seed, "heldout"))
    whole, predicted, observed = (_with_total(times @ sums) for sums in per_question)
    shares = [
        np.divide(each, whole, out=np.full(whole.shape, np.nan), where=whole > 0) for each in (predicted, observed)
    ]
    error = np.full(whole.shape, np.nan)
    error[:, -1] = np.abs(predicted - observed)[:, :-1].sum(axis=1) / whole[:, -1]
    return np.stack([*shares, error], axis=1), _with_total(member.sum(axis=0))


def _with_total(values: Floats) -> Floats:
    together: Floats = np.concatenate([values, values.sum(axis=-1, keepdims=True)], axis=-1)
    return together


def write_calibration(study: Study, out: Path) -> None:
    """Write `calibration.csv` of a study. Raises TableError."""
    paths = StudyPaths.of(study)
    frames = []
    for pair in study.pairs:
        for variant in study.variants_of(pair):
            frames.append(_with_gain(paths.heldout(pair, variant), paths.dataset(pair, variant) / VALIDATION))
    losses = {name: variant.objective for name, variant in study.router.variants.items()}
    write_csv(out, calibration(pd.concat(frames, ignore_index=True), losses, study.curves, study.seed))


def _with_gain(heldout: Path, examples: Path) -> pd.DataFrame:
    """A variant's table `heldout`, with the `gain` that its data set has for each step."""
    batches = read_batches(examples, "examples", [*STEP, "gain"])
    gains = pd.concat([batch.to_pandas() for batch in batches], ignore_index=True)
    return read_frame(heldout, "heldout").merge(gains, on=STEP, validate="many_to_one")
