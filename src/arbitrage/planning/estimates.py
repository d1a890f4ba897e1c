"""From what a few questions took to what all of them will: sums, their uncertainty, and seconds at other batch sizes.

Units (tokens, scores) grow with the number of questions. Seconds do not: a chunk of the real stage fills batches that a
few questions leave half empty, but of more questions the longest is longer. So each call's seconds are taken apart, a
part for every pass through the model and a part for every unit, and put together again for a chunk of the real size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls
from scipy.stats import t as student

from arbitrage.planning.recording import Call

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Amount:
    """An estimate, and half the width of its 95 % interval."""

    value: float = 0.0
    error: float = 0.0

    def __add__(self, other: Amount) -> Amount:
        """Errors add up as they stand: stages share their questions, so they do not cancel."""
        return Amount(self.value + other.value, self.error + other.error)

    def times(self, factor: float) -> Amount:
        """So many of it."""
        return Amount(self.value * factor, self.error * factor)

    @property
    def share(self) -> float:
        """The error as a share of the value."""
        return self.error / self.value if self.value else 0.0


def total(values: Sequence[float], population: int) -> Amount:
    """The sum over `population` questions, of which `values` are a sample of at least two."""
    count = len(values)
    spread = float(np.std(values, ddof=1)) / math.sqrt(count) * math.sqrt(max(1 - count / population, 0.0))
    quantile = float(student.ppf((1 + CONFIDENCE) / 2, count - 1))
    return Amount(float(np.mean(values)) * population, quantile * spread * population)


def units_by_problem(calls: Sequence[Call], problems: Sequence[str]) -> list[float]:
    """Units of each of `problems` in all calls together."""
    found = dict.fromkeys(problems, 0.0)
    for call in calls:
        for problem, units in zip(call.problems, call.units, strict=True):
            found[problem] += units
    return list(found.values())


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds of a model: for each pass over a batch, and for each unit in it."""

    batch_size: int
    pass_s: float
    unit_s: float

    @classmethod
    def fitted(cls, calls: Sequence[Call], batch_size: int) -> Speed:
        """Least squares over `calls`; both parts are 0 or more."""
        if not calls:
            return cls(batch_size, 0.0, 0.0)
        features = [[_passes(call, batch_size), sum(call.units)] for call in calls]
        (pass_s, unit_s), _ = nnls(np.array(features, dtype=float), np.array([call.seconds for call in calls]))
        return cls(batch_size, float(pass_s), float(unit_s))

    def seconds(self, calls: Sequence[Call], times: float) -> float:
        """Seconds of `calls` had they been for so many times the questions."""
        longer = _growth(calls) ** math.log2(times)
        passes = sum(_passes(call, self.batch_size, times, longer) for call in calls)
        return self.pass_s * passes + self.unit_s * times * sum(sum(call.units) for call in calls)


def _passes(call: Call, batch_size: int, times: float = 1.0, longer: float = 1.0) -> float:
    """Passes over a batch: as many as the longest input has units, more where all do not fit into one batch."""
    return max(longer * max(call.units), times * sum(call.units) / batch_size)


def _growth(calls: Sequence[Call]) -> float:
    """By what the longest inputs of all calls grow where the questions double: as from half of these to all."""
    problems = sorted({problem for call in calls for problem in call.problems})
    if len(problems) < 2:
        return 1.0
    halves = [_longest(calls, set(problems[first::2])) for first in (0, 1)]
    return 2 * _longest(calls, set(problems)) / sum(halves)


def _longest(calls: Sequence[Call], problems: set[str]) -> int:
    """Units of the longest input of each call that is for one of `problems`, summed."""
    return sum(
        max((units for problem, units in zip(call.problems, call.units, strict=True) if problem in problems), default=0)
        for call in calls
    )
