"""Thresholds to sweep: at quantiles of each policy's own scores on labelled steps, even in acceptance.

A fixed grid 0, 0.1 ... 1 gives a policy whose scores crowd together a few far-apart operating points, and what a
comparison then sees is where the grid fell (docs/statistics.md). Quantiles of the policy's own scores are spaced alike
for all; the paper's eleven thresholds are swept besides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from arbitrage.config.policies import POLICIES
from arbitrage.evaluation.bootstrap import Floats
from arbitrage.evaluation.curves import PAPER_GRID
from arbitrage.evaluation.router_quality import trainings_of
from arbitrage.io.tables import TableError, read_frame
from arbitrage.runtime.provenance import write_json

FEWEST = 10  # quantiles of the oracle, whose range above 0 holds a small part of the steps


def even_thresholds(scores: Floats, weights: Floats, count: int, least: float = -np.inf) -> list[float]:
    """Thresholds >= `least` that accept evenly spaced shares of the steps, between neighbouring scores; ascending.

    scores, weights: (N,), a step's score and how much it counts. count: of thresholds over the whole range; fewer come
    out where many steps score alike. Raises TableError where there is no score.
    """
    if not len(scores):
        raise TableError("no labelled step to take thresholds from; raise questions.sample")
    values, owner = np.unique(scores, return_inverse=True)
    below = np.cumsum(np.bincount(owner, weights=weights)) / weights.sum()  # share of steps at or below each value
    between = np.append((values[1:] + values[:-1]) / 2, values[-1])
    usable = np.flatnonzero(between >= least)
    if not len(usable):
        return [float(f"{least:.9g}")]
    span = below[usable[-1]] - below[usable[0]]
    points = max(FEWEST, round(count * span))
    targets = np.linspace(below[usable[0]], below[usable[-1]], points)
    chosen = usable[np.abs(below[usable] - targets[:, None]).argmin(axis=1)]
    return sorted({float(f"{between[index]:.9g}") for index in chosen})


def quantile_thresholds(
    steps: pd.DataFrame, heldout: pd.DataFrame, variants: Mapping[str, str | None], count: int
) -> dict[str, list[list[float]]]:
    """By policy with a threshold, a list of thresholds for each of its trainings (one, where it is not trained).

    steps: the pair's table `steps`; heldout: the table `heldout` of all variants that route, and all their trainings;
    variants: by policy, the variant that decides for it.
    """
    results: dict[str, list[list[float]]] = {}
    for policy, variant in variants.items():
        entry = POLICIES[policy]
        if entry.column == "uniform":
            results[policy] = [sorted({*np.linspace(0, 1, count).round(9).tolist(), *PAPER_GRID})]
        elif entry.column:
            results[policy] = [
                sorted(
                    {*even_thresholds(rows[entry.column].to_numpy(), _weights(rows), count, entry.lowest), *PAPER_GRID}
                )
                for rows in (trainings_of(heldout[heldout["variant"] == variant]) if variant else [steps])
            ]
    return results


def _weights(rows: pd.DataFrame) -> Floats:
    """Every question counts once, as in the acceptance."""
    weights: Floats = 1 / rows.groupby("question_id")["question_id"].transform("count").to_numpy(np.float64)
    return weights


def write_quantiles(
    steps: Path, heldout: Sequence[Path], variants: Mapping[str, str | None], count: int, out: Path
) -> None:
    """Write `quantile_thresholds` of a pair as JSON, for the sweep."""
    tables = [read_frame(path, "heldout") for path in heldout]
    scored = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    write_json(out, quantile_thresholds(read_frame(steps, "steps"), scored, variants, count))
