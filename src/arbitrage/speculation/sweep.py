"""The exact sweep: every distinct trajectory of a policy, with the interval of thresholds that yields it.

Start at the root with all thresholds. A node's score splits the interval in two: the thresholds that accept the draft
step and those that escalate. Follow both. What comes out is the whole curve, not a grid of points. The step store
behind the engines makes sure that nothing is generated or scored twice.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any

from arbitrage.speculation.algorithm1 import Trajectory, algorithm1
from arbitrage.speculation.decision import Interval
from arbitrage.speculation.here import ScheduledHere
from arbitrage.speculation.pair import PairModels
from arbitrage.speculation.policies import POLICIES
from arbitrage.speculation.scheduling import Lockstep, MakeScheduler, Progress, Scheduler
from arbitrage.speculation.tree import Node, Question

Thresholds = Mapping[str, Sequence[float]]  # by policy


class Sweep:
    """The course (`scheduling.Course`) that follows all policies at all thresholds; its result: trajectories.

    thresholds: of each policy; where given, an interval that holds none of its own is dropped as soon as it appears.
    """

    def __init__(self, policies: Sequence[str], seed: int, thresholds: Thresholds | None = None) -> None:
        self._policies = [POLICIES[name] for name in policies]
        self._seed, self._thresholds = seed, thresholds

    def begin(self, number: int, question: Question, scheduler: Scheduler) -> Iterable[Coroutine[Any, Any, Trajectory]]:
        """One trajectory a policy, from the root, for all thresholds. Raises EngineError for lack of a model."""
        for index, policy in enumerate(self._policies):
            scheduler.models.require(policy)
            yield self._follow(Trajectory(policy, Interval(), Node(question), order=(number, index)), scheduler)

    async def _follow(self, trajectory: Trajectory, scheduler: Scheduler) -> Trajectory:
        def at(reached: Trajectory) -> ScheduledHere:
            return ScheduledHere(reached, scheduler, self._seed)

        def fork(other: Trajectory) -> None:
            scheduler.spawn(other.node.question.question_id, self._follow(other, scheduler))

        bounds = scheduler.models.bounds
        kept = None if self._thresholds is None else self._thresholds.get(trajectory.policy.name)
        async for reached in algorithm1(trajectory, bounds, at, fork, kept):
            trajectory = reached
        return trajectory

    async def conclude(
        self, number: int, question: Question, parts: list[Trajectory], scheduler: Scheduler
    ) -> list[Trajectory]:
        """All trajectories of a question, sorted by policy and threshold."""
        return sorted(parts, key=lambda each: (self._policies.index(each.policy), each.interval.low))


def sweep(
    models: PairModels,
    questions: Sequence[Question],
    policies: Sequence[str],
    seed: int,
    thresholds: Thresholds | None = None,
    scheduler: MakeScheduler = Lockstep,
    progress: Progress = lambda finished, alive: None,
) -> list[Trajectory]:
    """All trajectories of the policies over the questions, sorted by (question, policy, threshold).

    thresholds: as of `Sweep`. progress: told the number of finished and of open trajectories. Raises EngineError.
    """
    solved: list[tuple[str, list[Trajectory]]] = []

    def finished(question: Question, trajectories: list[Trajectory]) -> None:
        solved.append((question.question_id, trajectories))

    scheduler(models).run(questions, Sweep(policies, seed, thresholds), finished, progress)
    return [trajectory for _, each in sorted(solved, key=lambda pair: pair[0]) for trajectory in each]
