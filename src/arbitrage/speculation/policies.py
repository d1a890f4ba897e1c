"""Policies: a score on a node of the step tree, and which side of the threshold escalates.

| policy     | score                                     | decision at threshold tau  |
|------------|-------------------------------------------|----------------------------|
| draft_only | none                                      | never escalate             |
| target_only| none                                      | always escalate            |
| rsd        | draft score sd                            | accept iff sd > tau        |
| oracle     | advantage st - sd                         | escalate iff it is > tau   |
| router     | router's probability of an advantage      | escalate iff it is > tau   |
| random     | uniform number hashed from (seed, node)   | escalate iff it is > tau   |
| confidence | 1 - exp(mean token log-prob of the draft) | escalate iff it is > tau   |

The comparison is strict everywhere (paper section 3), and `decide` is the one place that makes it: the sweep, the plain
grid and the live decoder all ask it.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

from arbitrage.config.pipeline import PolicyName
from arbitrage.speculation.protocols import GeneratedStep, ScoreError
from arbitrage.speculation.tree import Node


@dataclass(frozen=True, slots=True)
class Policy:
    """What decides at a node. `accept_above`: a score above the threshold accepts (RSD) instead of escalating."""

    name: PolicyName
    accept_above: bool = False
    asks_draft: bool = True
    asks_target_always: bool = False
    has_threshold: bool = True


POLICIES: dict[str, Policy] = {
    "draft_only": Policy("draft_only", has_threshold=False),
    "target_only": Policy("target_only", asks_draft=False, asks_target_always=True, has_threshold=False),
    "rsd": Policy("rsd", accept_above=True),
    "oracle": Policy("oracle", asks_target_always=True),
    "router": Policy("router"),
    "random": Policy("random"),
    "confidence": Policy("confidence"),
}


@dataclass(frozen=True, slots=True)
class Interval:
    """Thresholds `low <= tau < high`; half open, so that a strict comparison splits it without overlap or gap."""

    low: float = -math.inf
    high: float = math.inf

    def __contains__(self, threshold: float) -> bool:
        return self.low <= threshold < self.high

    def split(self, score: float) -> tuple[Interval | None, Interval | None]:
        """The thresholds below `score` (where score > tau holds) and the rest; None for an empty side."""
        below = Interval(self.low, min(self.high, score)) if score > self.low else None
        above = Interval(max(self.low, score), self.high) if score < self.high else None
        return below, above


def decide(policy: Policy, score: float | None, threshold: float) -> bool:
    """Whether `policy` escalates a node with this score at this threshold. Policies without a threshold ignore both.

    Raises ScoreError for a score that is not finite: NaN would quietly accept everything.
    """
    if not policy.has_threshold:
        return policy.name == "target_only"
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


def random_score(seed: int, node: Node) -> float:
    """Uniform number in [0, 1) hashed from the seed and the node (question, texts and authors of its steps)."""
    digest = hashlib.sha256(repr((seed, node.question.question_id, node.path)).encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def confidence_score(draft: GeneratedStep) -> float:
    """1 - exp(mean token log-probability) of the draft step, in [0, 1): high where the draft was unsure."""
    return 1.0 - math.exp(min(0.0, draft.mean_logprob))
