"""Trajectories as rows of the `trajectories` table, with the PRM scores that only analysis needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from arbitrage.speculation.pair import Cast
from arbitrage.speculation.protocols import Author, AuthoredStep, GeneratedStep
from arbitrage.speculation.sweep import Trajectory, Visit
from arbitrage.speculation.tree import Node

Grade = Callable[[str, str], tuple[str | None, bool]]  # (question_id, solution) -> (answer, correct)


def trajectory_rows(cast: Cast, trajectories: Sequence[Trajectory], grade: Grade) -> list[dict[str, Any]]:
    """Rows of the `trajectories` table, without the columns study, pair and benchmark.

    Every draft step gets its sd and every target step its st, whatever the policy looked at: wasted deferrals
    (Fig. 3) and outcomes of rejections (Fig. A.1) are read off these.
    """
    scores = _analysis_scores(cast, trajectories)
    rows = []
    for trajectory in trajectories:
        question_id = trajectory.node.question.question_id
        solution = "".join(step.text for step in trajectory.node.steps)
        answer, correct = grade(question_id, solution)
        rows.append(
            {
                "question_id": question_id,
                "policy": trajectory.policy.name,
                "threshold_low": trajectory.interval.low,
                "threshold_high": trajectory.interval.high,
                "prompt_tokens": len(cast.draft.prompt_ids(trajectory.node.question.problem)),
                "steps": [_step(visit, scores) for visit in trajectory.visits],
                "answer": answer,
                "correct": correct,
            }
        )
    return rows


def _step(visit: Visit, scores: dict[tuple[Node, Author], float]) -> dict[str, Any]:
    return {
        "model": "target" if visit.escalated else "draft",
        "text": visit.chosen.text,
        "draft_step": visit.draft.text if visit.draft else None,
        "draft_score": scores.get((visit.node, "draft")) if visit.draft else None,
        "target_score": scores.get((visit.node, "target")) if visit.target else None,
        "policy_score": visit.policy_score,
        "draft_tokens": visit.draft.tokens if visit.draft else 0,
        "target_tokens": visit.target.tokens if visit.target else 0,
        "finish_reason": visit.chosen.finish_reason,
    }


def _analysis_scores(cast: Cast, trajectories: Sequence[Trajectory]) -> dict[tuple[Node, Author], float]:
    """PRM score of every step written in the trajectories, by node and author."""
    written: dict[tuple[Node, Author], GeneratedStep] = {}
    for trajectory in trajectories:
        for visit in trajectory.visits:
            if visit.draft:
                written[visit.node, "draft"] = visit.draft
            if visit.target:
                written[visit.node, "target"] = visit.target
    nodes = [node for node, _ in written]
    steps = [AuthoredStep(author, step.text) for (_, author), step in written.items()]
    return dict(zip(written, cast.prm_scores(nodes, steps), strict=True))
