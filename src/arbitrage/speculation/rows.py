"""Trajectories as rows of the `trajectories` table, with the PRM scores that only analysis needs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from arbitrage.speculation.algorithm1 import Trajectory, Visit
from arbitrage.speculation.pair import PairModels
from arbitrage.speculation.scheduling import AT_THE_END, PRM, Lockstep, MakeScheduler, Progress, Request, Scheduler
from arbitrage.speculation.steps import Author, AuthoredStep
from arbitrage.speculation.sweep import Sweep
from arbitrage.speculation.tree import Node, Question

# (question_id, solution) -> (answer, correct); correct is None where the answer is ungraded
Grade = Callable[[str, str], tuple[str | None, bool | None]]
Scores = dict[tuple[Node, Author], float]


class Scored(NamedTuple):
    """A question's trajectories, and the PRM's score of every step written in them, by node and author.

    prompt_tokens: of the draft's prompt.
    """

    trajectories: list[Trajectory]
    scores: Scores
    prompt_tokens: int


class ScoredSweep(Sweep):
    """The sweep, and then a PRM score for every step it wrote, whatever the policy looked at; its result: `Scored`.

    Wasted deferrals (Fig. 3) and outcomes of rejections (Fig. A.1) are read off these.
    """

    async def conclude(  # type: ignore[override]  # a course of its own, with another result
        self, number: int, question: Question, parts: list[Trajectory], scheduler: Scheduler
    ) -> Scored:
        """All trajectories of a question, sorted by policy and threshold, with their scores."""
        trajectories = await super().conclude(number, question, parts, scheduler)
        written: dict[tuple[Node, Author], str] = {}
        for trajectory in trajectories:
            for visit in trajectory.visits:
                if visit.draft:
                    written[visit.node, "draft"] = visit.draft.text
                if visit.target:
                    written[visit.node, "target"] = visit.target.text
        pending: dict[tuple[Node, Author], Awaitable[float]] = {}
        for index, ((node, author), text) in enumerate(written.items()):
            request = scheduler.models.score_request("prm", node, AuthoredStep(author, text))
            turn = (AT_THE_END, PRM, 0)
            pending[node, author] = scheduler.submit(
                Request("prm", request, question.question_id, turn, 0, (number, index))
            )
        prompt = scheduler.models.contexts["draft"].ids(Node(question))
        return Scored(trajectories, {key: await score for key, score in pending.items()}, len(prompt))


def trajectory_rows(scored: Scored, grade: Grade) -> list[dict[str, Any]]:
    """Rows of the `trajectories` table of one question, without the columns study, pair and benchmark.

    Every draft step has its sd and every target step its st.
    """
    rows = []
    for trajectory in scored.trajectories:
        question_id = trajectory.node.question.question_id
        solution = "".join(step.text for step in trajectory.node.steps)
        answer, correct = grade(question_id, solution)
        rows.append(
            {
                "question_id": question_id,
                "policy": trajectory.policy.name,
                "threshold_low": trajectory.interval.low,
                "threshold_high": trajectory.interval.high,
                "prompt_tokens": scored.prompt_tokens,
                "steps": [_step(visit, scored.scores) for visit in trajectory.visits],
                "answer": answer,
                "correct": correct,
            }
        )
    return rows


def sweep_rows(
    models: PairModels,
    questions: Sequence[Question],
    course: ScoredSweep,
    grade: Grade,
    scheduler: MakeScheduler = Lockstep,
    progress: Progress = lambda finished, alive: None,
) -> list[dict[str, Any]]:
    """`trajectory_rows` of all questions, sorted by (question, policy, threshold). Raises EngineError."""
    rows: list[dict[str, Any]] = []

    def finished(question: Question, scored: Scored) -> None:
        rows.extend(trajectory_rows(scored, grade))

    scheduler(models).run(questions, course, finished, progress)
    return sorted(rows, key=lambda row: str(row["question_id"]))  # stable: policies and thresholds stay in order


def _step(visit: Visit, scores: Scores) -> dict[str, Any]:
    return {
        "model": visit.author,
        "text": visit.chosen.text,
        "draft_step": visit.draft.text if visit.draft else None,
        "draft_score": scores.get((visit.node, "draft")) if visit.draft else None,
        "target_score": scores.get((visit.node, "target")) if visit.target else None,
        "policy_score": visit.policy_score,
        "draft_tokens": visit.draft.tokens if visit.draft else 0,
        "target_tokens": visit.target.tokens if visit.target else 0,
        "finish_reason": visit.chosen.finish_reason,
    }
