"""Numbers with their resamples, made rows of a result table: value, interval, p values, and why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np

from arbitrage.evaluation.bootstrap import Floats, interval, over_seeds, p_values
from arbitrage.evaluation.paper_claims import REGIONS

ALL = "all"  # pair and benchmark of what is pooled over panels
NOWHERE = float("nan")
BOUNDS = dict.fromkeys(("accuracy", "mean_accuracy", "acceptance", "wasted", "better"), (0.0, 1.0))  # of metrics
BOUNDS |= dict.fromkeys(("accuracy_gain", "mean_accuracy_gain", "mean_gain"), (-1.0, 1.0))
COLUMNS = [
    *("pair", "benchmark", "metric", "policy", "against", "level", "value", "low", "high"),
    *("covered", "unreached", "trainings", "questions", "panels", "p_inside", "p_outside", "reason"),
]


@dataclass(frozen=True)
class Statistic:
    """One number on one panel.

    samples: (K, 1 + resamples), of each training of the router (K = 1 where none takes part), the data's own first.
    less: (L, 1 + resamples), subtracted: of another router, trained apart.
    trainings: K, or 0 where no router takes part. covered: share of the common range in which there is a value.
    unreached: share of the resamples that never get there, and count as the worst value. reason: why there is no value.
    ratio: pooled as a geometric mean.
    """

    pair: str
    benchmark: str
    metric: str
    policy: str
    against: str | None
    level: float
    samples: Floats
    trainings: int
    questions: int
    covered: float = NOWHERE
    unreached: float = NOWHERE
    reason: str = ""
    ratio: bool = False
    panels: int = 1
    less: Floats | None = None

    def row(self, confidence: float, seed: int) -> dict[str, Any]:
        """A row with COLUMNS."""
        folded = over_seeds(np.log(self.samples) if self.ratio else self.samples, seed, self.less)
        folded = np.exp(folded) if self.ratio else folded
        folded = np.clip(folded, *BOUNDS.get(self.metric, (-np.inf, np.inf)))
        value = float(folded[0])
        finite = np.isfinite(value)
        low, high = map(float, interval(folded[1:], confidence)) if finite else (NOWHERE, NOWHERE)
        region = REGIONS.get((self.metric, self.policy, self.against))
        inside, outside = p_values(folded, region) if finite and region else (NOWHERE, NOWHERE)
        reason = self.reason
        if finite and not reason and np.isnan(low):
            reason = "no interval: no variance in the resamples, or too many of them without a value"
        return {
            "pair": self.pair,
            "benchmark": self.benchmark,
            "metric": self.metric,
            "policy": self.policy,
            "against": self.against,
            "level": self.level,
            "value": value if finite else NOWHERE,
            "low": low,
            "high": high,
            "covered": self.covered,
            "unreached": self.unreached,
            "trainings": self.trainings,
            "questions": self.questions,
            "panels": self.panels,
            "p_inside": inside,
            "p_outside": outside,
            "reason": reason,
        }


def pooled(statistics: Sequence[Statistic]) -> list[Statistic]:
    """The mean over panels of every number that a claim is about, panels without a value left out.

    Samples are averaged resample by resample and training by training, so that what panels share stays shared. The
    questions of a benchmark count once, whatever the number of pairs.
    """

    def key(one: Statistic) -> tuple[str, str, str]:
        return one.metric, one.policy, one.against or ""

    claimed = [one for one in statistics if (one.metric, one.policy, one.against) in REGIONS]
    results = []
    for _, group in groupby(sorted(claimed, key=key), key=key):
        panels = list(group)
        measured = [one for one in panels if np.isfinite(one.samples[:, 0]).all()]
        used = measured or panels
        trainings = min(len(one.samples) for one in used)
        stack = np.stack([one.samples[:trainings] for one in used])
        mean = np.exp(np.log(stack).mean(axis=0)) if used[0].ratio else stack.mean(axis=0)
        results.append(
            replace(
                used[0],
                pair=ALL,
                benchmark=ALL,
                samples=mean,
                trainings=trainings if used[0].trainings else 0,
                questions=distinct_questions(used),
                covered=float(np.mean([one.covered for one in used])),
                unreached=float(np.mean([one.unreached for one in used])),
                reason="" if measured else used[0].reason,
                panels=len(measured),
            )
        )
    return results


def distinct_questions(panels: Sequence[Any]) -> int:
    """Questions of all benchmarks among `panels` (anything with benchmark and questions), each benchmark once."""
    return sum({one.benchmark: one.questions for one in panels}.values())
