"""Algorithm 1 of the paper, written once: what a policy does from a node on, for every threshold of an interval.

At one threshold it is the live decoder (`decoder`). With an interval that splits at every score it is the exact sweep
(`sweep`). Along the oracle's path at threshold 0, with both steps kept, it is labelling (`labelling`).
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from arbitrage.speculation.decision import Interval, branches
from arbitrage.speculation.policies.base import Here, Policy
from arbitrage.speculation.scalars import Earlier
from arbitrage.speculation.steps import Author, AuthoredStep, GeneratedStep
from arbitrage.speculation.tree import Bounds, Node

Seen = TypeVar("Seen", bound=Here)


@dataclass(frozen=True, slots=True)
class Visit:
    """One decision of a trajectory: the node, what was written there, and the policy's score."""

    node: Node
    draft: GeneratedStep | None
    target: GeneratedStep | None  # None where the policy did not ask the target
    policy_score: float | None
    escalated: bool

    @property
    def author(self) -> Author:
        """Whose step joins the solution."""
        return "target" if self.escalated else "draft"

    @property
    def chosen(self) -> GeneratedStep:
        """The step that joins the solution."""
        step = self.target if self.escalated else self.draft
        assert step is not None
        return step

    @property
    def after(self) -> Node:
        """The node that follows."""
        return self.node.child(AuthoredStep(self.author, self.chosen.text), self.chosen.finish_reason)


@dataclass(frozen=True, slots=True)
class Trajectory:
    """A sequence of decisions of `policy`, the same for every threshold in `interval`, and the node it has reached.

    order: where it stands among those followed beside it: its question, its policy, and the side taken at each split.
    """

    policy: Policy
    interval: Interval
    node: Node
    visits: tuple[Visit, ...] = ()
    order: tuple[int, ...] = field(default=(), compare=False)

    @property
    def earlier(self) -> list[Earlier]:
        """The steps so far, as a router that reads scalars sees them; its policy has the draft write every one."""
        return [Earlier(visit.author, min(visit.draft.logprobs)) for visit in self.visits if visit.draft]

    def extended(self, interval: Interval, visit: Visit, side: int) -> Trajectory:
        """One decision further, for the thresholds in `interval`; side: their place among the node's, by threshold."""
        return Trajectory(self.policy, interval, visit.after, (*self.visits, visit), (*self.order, side))


async def algorithm1(
    trajectory: Trajectory,
    bounds: Bounds,
    at: Callable[[Trajectory], Here],
    fork: Callable[[Trajectory], None],
    thresholds: Sequence[float] | None = None,
) -> AsyncGenerator[Trajectory, None]:
    """Follow `trajectory` to its end; yields it after every step, one step longer.

    Draft step, score (eq. 4.4 of the oracle; the router's estimate of it), accept, or the target writes the step again
    from the same prefix; append; until it ends. Where the score lies within the interval the thresholds part: `fork`
    is given the trajectory of those that accept, and this one goes on with those that escalate.

    at: the node that a trajectory has reached, as its policy sees it. thresholds: where given, sides that hold none of
    them are dropped as soon as they appear.
    """
    policy = trajectory.policy
    while not bounds.finished(trajectory.node):
        here = at(trajectory)
        draft = await here.draft() if "draft" in policy.needs else None
        score = await policy.score(here)
        sides = enumerate(_kept(branches(policy, score, trajectory.interval), thresholds))
        grown: list[Trajectory] = []
        for side, (escalate, interval) in sorted(sides, key=lambda each: each[1][0]):  # acceptance waits for nobody
            for accepting in grown:
                fork(accepting)
            target = await here.target() if escalate or "target" in policy.needs else None
            grown = [trajectory.extended(interval, Visit(trajectory.node, draft, target, score, escalate), side)]
        (trajectory,) = grown
        yield trajectory


def _kept(sides: list[tuple[bool, Interval]], thresholds: Sequence[float] | None) -> list[tuple[bool, Interval]]:
    if thresholds is None:
        return sides
    whole = Interval(-math.inf, math.inf)
    return [
        (escalate, interval)
        for escalate, interval in sides
        if interval == whole or any(threshold in interval for threshold in thresholds)
    ]
