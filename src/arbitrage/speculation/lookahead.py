"""Looking ahead: where a labelled step leads if the target writes all that follows.

From the node after the draft's step, and from the one after the target's, it is Algorithm 1 by the policy
`target_only`. What labelling has already written on the way is in the step store.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any

from arbitrage.speculation.algorithm1 import Trajectory
from arbitrage.speculation.decision import Interval
from arbitrage.speculation.scheduling import Scheduler
from arbitrage.speculation.steps import AuthoredStep
from arbitrage.speculation.sweep import Sweep
from arbitrage.speculation.tree import Node, Question


class LookAhead(Sweep):
    """The course (`scheduling.Course`) that goes on from nodes; its result: whole solutions, in the nodes' order.

    starts: the nodes to go on from, by question id.
    """

    def __init__(self, starts: Mapping[str, Sequence[Node]], seed: int) -> None:
        super().__init__(["target_only"], seed)
        self._starts = starts

    def begin(self, number: int, question: Question, scheduler: Scheduler) -> Iterable[Coroutine[Any, Any, Trajectory]]:
        """One trajectory a node."""
        (target_only,) = self._policies
        for index, node in enumerate(self._starts[question.question_id]):
            yield self._follow(Trajectory(target_only, Interval(), node, order=(number, index)), scheduler)

    async def conclude(  # type: ignore[override]  # a course of its own, with another result
        self, number: int, question: Question, parts: list[Trajectory], scheduler: Scheduler
    ) -> list[str]:
        """The solution from each node, its steps before the node included."""
        in_order = sorted(parts, key=lambda part: part.order)
        return ["".join(step.text for step in part.node.steps) for part in in_order]


def both_sides(row: Mapping[str, Any], separator: str) -> tuple[Node, Node]:
    """The nodes after accepting, and after escalating to the greedy target step, of a row of the table `steps`.

    separator: `generation.separator`; a step that does not end in it has ended the solution.
    """
    steps = tuple(AuthoredStep(step["model"], step["text"]) for step in row["history"])
    node = Node(Question(row["question_id"], row["problem"]), steps)
    written = AuthoredStep("draft", row["draft_step"]), AuthoredStep("target", row["target_steps"][0])
    draft, target = (node.child(step, "separator" if step.text.endswith(separator) else "eos") for step in written)
    return draft, target
