"""Thresholds: the one comparison that decides, and what it makes of an interval of thresholds.

The comparison is strict everywhere (paper, section 3), and `decide` is the one place that makes it.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

from arbitrage.speculation.policies.base import Policy
from arbitrage.speculation.protocols import ScoreError


@dataclass(frozen=True, slots=True)
class Interval:
    """Thresholds `low <= tau < high`; half open, so that a strict comparison splits it without overlap or gap."""

    low: float = -math.inf
    high: float = math.inf

    @classmethod
    def at(cls, threshold: float | None) -> Interval:
        """The interval of one threshold, which no score splits; None, for a policy without one, counts 0."""
        low = min(threshold or 0.0, sys.float_info.max)
        return cls(low, math.nextafter(low, math.inf))

    def __contains__(self, threshold: float) -> bool:
        return self.low <= threshold < self.high

    def split(self, score: float) -> tuple[Interval | None, Interval | None]:
        """The thresholds below `score` (where score > tau holds) and the rest; None for an empty side."""
        below = Interval(self.low, min(self.high, score)) if score > self.low else None
        above = Interval(max(self.low, score), self.high) if score < self.high else None
        return below, above


def decide(policy: Policy, score: float | None, threshold: float) -> bool:
    """Whether `policy` escalates a node with this score at this threshold (paper, section 4, eq. 4.4).

    Policies without a threshold ignore both.
    Raises ScoreError for a score that is not finite: NaN would quietly accept everything.
    """
    if not policy.has_threshold:
        return policy.always == "target"
    if score is None or not math.isfinite(score):
        raise ScoreError(f"policy {policy.name!r} got the score {score}; expected a finite number")
    return (score > threshold) != policy.accept_above


def branches(policy: Policy, score: float | None, interval: Interval) -> list[tuple[bool, Interval]]:
    """The decisions of `policy` over an interval of thresholds: [(escalate, sub-interval)], in threshold order.

    It asks `decide` at a member of each side, so it cannot disagree with a plain run at one threshold.
    """
    if not policy.has_threshold:
        return [(decide(policy, None, interval.low), interval)]
    decide(policy, score, interval.low)  # refuses a score that is not finite
    assert score is not None
    return [(decide(policy, score, side.low), side) for side in interval.split(score) if side is not None]
