"""The exact sweep: every distinct trajectory of a policy, with the interval of thresholds that yields it.

Start at the root with all thresholds. A node's score splits the interval in two: the thresholds that accept the draft
step and those that escalate. Follow both. What comes out is the whole curve, not a grid of points. Nodes of all
questions, intervals and policies advance together, one step a round, so that the engines see large batches; the step
store behind the engines makes sure that nothing is generated or scored twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from arbitrage.speculation.pair import Cast
from arbitrage.speculation.policies import POLICIES, Interval, Policy, branches, confidence_score, random_score
from arbitrage.speculation.protocols import Author, AuthoredStep, GeneratedStep
from arbitrage.speculation.tree import Node, Question


@dataclass(frozen=True, slots=True)
class Visit:
    """One decision of a trajectory: the node, what was written there, and the policy's score."""

    node: Node
    draft: GeneratedStep | None
    target: GeneratedStep | None  # None where the policy did not ask the target
    policy_score: float | None
    escalated: bool

    @property
    def chosen(self) -> GeneratedStep:
        """The step that joins the solution."""
        step = self.target if self.escalated else self.draft
        assert step is not None
        return step

    @property
    def after(self) -> Node:
        """The node that follows."""
        author: Author = "target" if self.escalated else "draft"
        return self.node.child(AuthoredStep(author, self.chosen.text), self.chosen.finish_reason)


@dataclass(frozen=True, slots=True)
class Trajectory:
    """A sequence of decisions of `policy`, the same for every threshold in `interval`, and the node it has reached."""

    policy: Policy
    interval: Interval
    node: Node
    visits: tuple[Visit, ...] = ()

    def extended(self, interval: Interval, visit: Visit) -> Trajectory:
        """One decision further, for the thresholds in `interval`."""
        return Trajectory(self.policy, interval, visit.after, (*self.visits, visit))


def sweep(
    cast: Cast,
    questions: Sequence[Question],
    policies: Sequence[str],
    seed: int,
    thresholds: Sequence[float] | None = None,
    on_round: Callable[[int, int], None] = lambda finished, open_: None,
) -> list[Trajectory]:
    """All trajectories of the policies over the questions, sorted by (question, policy, threshold).

    thresholds: where given, an interval that holds none of them is dropped as soon as it appears.
    on_round: told the number of finished and of open trajectories after every round.
    """
    chosen = [POLICIES[name] for name in policies]
    frontier = [Trajectory(policy, Interval(), Node(question)) for question in questions for policy in chosen]
    finished: list[Trajectory] = []
    while frontier:
        grown = _advance(cast, frontier, seed, thresholds)
        frontier = []
        for trajectory in grown:
            (finished if cast.bounds.finished(trajectory.node) else frontier).append(trajectory)
        on_round(len(finished), len(frontier))
    order = {name: place for place, name in enumerate(policies)}
    return sorted(finished, key=lambda t: (t.node.question.question_id, order[t.policy.name], t.interval.low))


def _advance(cast: Cast, frontier: list[Trajectory], seed: int, thresholds: Sequence[float] | None) -> list[Trajectory]:
    """One step further along every open trajectory; those a score splits become two."""
    drafts = _ask(cast.draft_steps, frontier, [t.policy.asks_draft for t in frontier])
    scores = _scores_without_target(cast, frontier, drafts, seed)
    decisions = [
        [] if t.policy.name == "oracle" else _kept(branches(t.policy, score, t.interval), thresholds)
        for t, score in zip(frontier, scores, strict=True)
    ]
    wants_target = [
        t.policy.asks_target_always or any(escalate for escalate, _ in decision)
        for t, decision in zip(frontier, decisions, strict=True)
    ]
    targets = _ask(cast.target_steps, frontier, wants_target)
    advantages = _advantages(cast, frontier, drafts, targets)
    grown = []
    for place, trajectory in enumerate(frontier):
        score, decision = scores[place], decisions[place]
        if place in advantages:
            score = advantages[place]
            decision = _kept(branches(trajectory.policy, score, trajectory.interval), thresholds)
        for escalate, interval in decision:
            asked = trajectory.policy.asks_target_always or escalate
            target = targets[place] if asked else None
            visit = Visit(trajectory.node, drafts[place], target, score, escalate)
            grown.append(trajectory.extended(interval, visit))
    return grown


def _ask(
    write: Callable[[Sequence[Node]], list[GeneratedStep]], frontier: list[Trajectory], wanted: list[bool]
) -> list[GeneratedStep | None]:
    steps = iter(write([t.node for t, want in zip(frontier, wanted, strict=True) if want]))
    return [next(steps) if want else None for want in wanted]


def _scores_without_target(
    cast: Cast, frontier: list[Trajectory], drafts: list[GeneratedStep | None], seed: int
) -> list[float | None]:
    """The score of every policy that does not look at the target's step; None for the others."""
    scores: list[float | None] = [None] * len(frontier)
    for name, ask in (("rsd", cast.prm_scores), ("router", cast.router_scores)):
        places = [place for place, t in enumerate(frontier) if t.policy.name == name]
        if places:
            nodes, steps = _authored(frontier, drafts, places, "draft")
            for place, score in zip(places, ask(nodes, steps), strict=True):
                scores[place] = score
    for place, (trajectory, draft) in enumerate(zip(frontier, drafts, strict=True)):
        if trajectory.policy.name == "random":
            scores[place] = random_score(seed, trajectory.node)
        elif trajectory.policy.name == "confidence":
            assert draft is not None
            scores[place] = confidence_score(draft)
    return scores


def _advantages(
    cast: Cast,
    frontier: list[Trajectory],
    drafts: list[GeneratedStep | None],
    targets: list[GeneratedStep | None],
) -> dict[int, float]:
    """Place in the frontier -> st - sd, for the oracle's trajectories. Identical steps share one score: exactly 0."""
    places = [place for place, t in enumerate(frontier) if t.policy.name == "oracle"]
    if not places:
        return {}
    nodes, draft_steps = _authored(frontier, drafts, places, "draft")
    _, target_steps = _authored(frontier, targets, places, "target")
    scores = cast.prm_scores([*nodes, *nodes], [*draft_steps, *target_steps])
    return {place: scores[len(places) + i] - scores[i] for i, place in enumerate(places)}


def _authored(
    frontier: list[Trajectory], steps: list[GeneratedStep | None], places: list[int], author: Author
) -> tuple[list[Node], list[AuthoredStep]]:
    nodes, authored = [], []
    for place in places:
        step = steps[place]
        assert step is not None
        nodes.append(frontier[place].node)
        authored.append(AuthoredStep(author, step.text))
    return nodes, authored


def _kept(decision: list[tuple[bool, Interval]], thresholds: Sequence[float] | None) -> list[tuple[bool, Interval]]:
    if thresholds is None:
        return decision
    return [
        (escalate, interval)
        for escalate, interval in decision
        if interval == Interval(-math.inf, math.inf) or any(threshold in interval for threshold in thresholds)
    ]
