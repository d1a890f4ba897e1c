"""From trajectories with their threshold intervals to curves: what a policy does at each of its thresholds.

A policy's result on a question is a step function of the threshold, so a curve over all questions changes only at
the ends of the intervals. It is evaluated between neighbouring ends, where no rounding can change a decision.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from arbitrage.config.pipeline import Curves
from arbitrage.config.policies import POLICIES, THRESHOLD_POLICIES
from arbitrage.evaluation.bootstrap import Floats, resample_weights
from arbitrage.evaluation.trajectory_counts import trajectory_counts
from arbitrage.io.tables import TableError

PAPER_GRID = tuple(tenth / 10 for tenth in range(11))
BEYOND = 0.1  # how far outside the first and the last interval end the two outermost thresholds lie


@dataclass(frozen=True)
class Curve:
    """One policy on one panel: which trajectory each question follows at each threshold.

    rows: as `trajectory_counts` gives them, of this policy and panel only. questions: (Q,) sorted.
    thresholds: (T,) ascending; a single NaN for the policies without a threshold. index: (T, Q) positions in `rows`.
    """

    rows: pd.DataFrame
    questions: tuple[str, ...]
    thresholds: Floats
    index: np.ndarray

    def values(self, column: str) -> Floats:
        """(T, Q): a column of `rows` at each threshold and question."""
        values: Floats = self.rows[column].to_numpy(np.float64)[self.index]
        return values

    def mean(self, column: str) -> Floats:
        """(T,): mean over the questions that have a value; NaN where none has."""
        values = self.values(column)
        present = ~np.isnan(values)
        totals, counts = np.where(present, values, 0.0).sum(axis=1), present.sum(axis=1)
        mean: Floats = np.divide(totals, counts, out=np.full(len(totals), np.nan), where=counts > 0)
        return mean


@dataclass(frozen=True)
class Panel:
    """All policies of one pair on one benchmark, over the same questions, with the resamples they share.

    curves: of the router one for each of its trainings, in the order of their seeds; of every other policy one.
    weights: (resamples, questions).
    """

    pair: str
    benchmark: str
    curves: dict[str, tuple[Curve, ...]]
    weights: Floats

    @property
    def questions(self) -> int:
        """How many questions all curves are over."""
        return int(self.weights.shape[1])


def panels(paths: Sequence[Path], settings: Curves, seed: int, listed: Sequence[float] = ()) -> Iterator[Panel]:
    """The panels of the trajectory tables at `paths`, by pair and benchmark in alphabetical order.

    listed: the thresholds of a study that lists them: its curves have these and no others.

    Raises TableError where the policies of a panel were run on different questions, or where intervals overlap.
    """
    for (pair, benchmark), rows in trajectory_counts(paths).groupby(["pair", "benchmark"], sort=True):
        where = f"pair {pair}, benchmark {benchmark}"
        curves: dict[str, tuple[Curve, ...]] = {}
        for (policy, _), own in rows.groupby(["policy", "router_seed"], sort=True):
            curve = make_curve(own.reset_index(drop=True), settings.points, f"{where}, policy {policy}", listed)
            curves[str(policy)] = (*curves.get(str(policy), ()), curve)
        everything = {question for runs in curves.values() for curve in runs for question in curve.questions}
        for policy, missing in ((name, everything - set(c.questions)) for name, runs in curves.items() for c in runs):
            if missing:
                raise TableError(
                    f"{where}: policy {policy} lacks {len(missing)} of {len(everything)} questions, such as "
                    f"{min(missing)}; curves are compared over the same questions. Run the stage `trajectories` again"
                )
        weights = resample_weights(len(everything), settings.resamples, seed, str(benchmark))
        yield Panel(str(pair), str(benchmark), curves, weights)


def make_curve(rows: pd.DataFrame, points: int, where: str = "", listed: Sequence[float] = ()) -> Curve:
    """The curve of one policy's rows (sorted by question and interval) at the paper's grid and at most `points` more.

    listed: instead of these, where the study lists its thresholds. A sweep of some thresholds leaves holes between its
    intervals: only thresholds that hold for every question are kept. They begin at the policy's `lowest`.
    Raises TableError where intervals overlap, or where no threshold is left.
    """
    questions, owner = np.unique(rows["question_id"].to_numpy(str), return_inverse=True)
    low, high = rows["threshold_low"].to_numpy(), rows["threshold_high"].to_numpy()
    clash = np.append((owner[1:] == owner[:-1]) & (low[1:] < high[:-1]), False) | (low >= high)
    if clash.any():
        question = questions[owner[int(np.argmax(clash))]]
        raise TableError(
            f"{where}: threshold intervals of question {question} overlap or are empty; run `trajectories` again"
        )
    policy = rows["policy"].iloc[0]
    by_threshold = policy in THRESHOLD_POLICIES
    # Without a threshold every number yields the question's only trajectory.
    if not by_threshold:
        thresholds = np.zeros(1)
    elif listed:
        thresholds = np.array([threshold for threshold in listed if threshold >= POLICIES[policy].lowest])
    else:
        thresholds = _candidates(rows, len(questions), points, POLICIES[policy].lowest)
    begins = np.searchsorted(owner, np.arange(len(questions) + 1))
    index = np.stack(
        [
            begin + np.maximum(np.searchsorted(low[begin:end], thresholds, side="right") - 1, 0)
            for begin, end in pairwise(begins)
        ],
        axis=1,
    )
    held = ((low[index] <= thresholds[:, None]) & (thresholds[:, None] < high[index])).all(axis=1)
    if not held.any():
        raise TableError(
            f"{where}: no threshold is covered by all {len(questions)} questions; run `trajectories` again"
        )
    names = tuple(str(question) for question in questions)
    return Curve(rows, names, thresholds[held] if by_threshold else np.full(1, np.nan), index[held])


def _candidates(rows: pd.DataFrame, questions: int, points: int, least: float) -> Floats:
    """The paper's grid and up to `points` thresholds spread evenly over acceptance, rounded as the CSV prints them.

    All are `least` or more.
    """
    low, high = rows["threshold_low"].to_numpy(), rows["threshold_high"].to_numpy()
    ends = np.concatenate([low, high])
    breaks = np.unique(ends[np.isfinite(ends)])
    if not len(breaks):
        return np.array(PAPER_GRID)  # no question has a decision that depends on the threshold
    # Region 0 lies below the first break, region k between breaks k - 1 and k, the last above all.
    first, last = np.searchsorted(breaks, low, side="right"), np.searchsorted(breaks, high, side="left") + 1
    middles = np.concatenate([[breaks[0] - BEYOND], (breaks[1:] + breaks[:-1]) / 2, [breaks[-1] + BEYOND]])
    trajectories = np.round(_sum_over_regions(np.ones(len(rows)), first, last, len(breaks) + 1))
    covered = np.flatnonzero((trajectories == questions) & (middles >= least))
    if not len(covered):
        return np.array(PAPER_GRID)
    acceptance = _sum_over_regions(rows["acceptance"].to_numpy(), first, last, len(breaks) + 1)[covered] / questions
    targets = np.linspace(acceptance.min(), acceptance.max(), min(points, len(covered)))
    chosen = covered[np.unique(np.abs(acceptance - targets[:, None]).argmin(axis=1))]
    return np.unique([float(f"{tau:.9g}") for tau in [*middles[chosen], *PAPER_GRID]])


def _sum_over_regions(values: Floats, first: np.ndarray, last: np.ndarray, regions: int) -> Floats:
    """(regions,): the sum of `values` over the rows that hold in each region (first <= region < last)."""
    change = np.zeros(regions + 1)
    np.add.at(change, first, values)
    np.add.at(change, last, -values)
    total: Floats = np.cumsum(change)[:-1]
    return total
