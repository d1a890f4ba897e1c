"""Paired steps for the router's labels: draft and target continue the same context, the PRM scores both.

The path that continues is the oracle's own at threshold 0 (as in the authors' release): the better-scored step, the
draft's on ties. Further target samples refine the label only: sample 0 is the greedy one, and the only one that may
continue.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

from arbitrage.speculation.pair import Cast
from arbitrage.speculation.policies import POLICIES, confidence_score, decide
from arbitrage.speculation.protocols import GREEDY, AuthoredStep, GeneratedStep, Sampling
from arbitrage.speculation.tree import Node, Question


def paired_steps(
    cast: Cast,
    questions: Sequence[Question],
    samples: int,
    temperature: float,
    seed: int,
    on_round: Callable[[int, int], None] = lambda finished, open_: None,
) -> list[dict[str, Any]]:
    """Rows of the `steps` table (without study and pair), sorted by (question_id, step_index).

    samples: target steps a context, >= 1; the advantage is mean(st) - sd over them, the label 1 where it is > 0.
    on_round: told the number of finished and of open questions after every round.
    """
    samplings = [GREEDY] + [Sampling(temperature, seed, sample) for sample in range(1, samples)]
    nodes = [Node(question) for question in questions]
    rows: list[dict[str, Any]] = []
    while nodes:
        drafts = cast.draft_steps(nodes)
        targets = [cast.target_steps(nodes, sampling) for sampling in samplings]  # samples x nodes
        scores = _scores(cast, nodes, [drafts, *targets])
        following = []
        for place, node in enumerate(nodes):
            draft_score, *target_scores = [column[place] for column in scores]
            rows.append(_row(node, drafts[place], [column[place] for column in targets], draft_score, target_scores))
            escalate = decide(POLICIES["oracle"], target_scores[0] - draft_score, 0.0)
            chosen = targets[0][place] if escalate else drafts[place]
            step = AuthoredStep("target" if escalate else "draft", chosen.text)
            following.append(node.child(step, chosen.finish_reason))
        nodes = [node for node in following if not cast.bounds.finished(node)]
        on_round(len(questions) - len(nodes), len(nodes))
    return sorted(rows, key=lambda row: (row["question_id"], row["step_index"]))


def _scores(cast: Cast, nodes: list[Node], columns: list[list[GeneratedStep]]) -> list[list[float]]:
    """PRM scores, one list a column of steps, asked for in one call."""
    authors = ["draft"] + ["target"] * (len(columns) - 1)
    steps = [
        AuthoredStep("draft" if author == "draft" else "target", step.text)
        for author, column in zip(authors, columns, strict=True)
        for step in column
    ]
    flat = cast.prm_scores(nodes * len(columns), steps)
    return [flat[start : start + len(nodes)] for start in range(0, len(flat), len(nodes))]


def _row(
    node: Node,
    draft: GeneratedStep,
    targets: list[GeneratedStep],
    draft_score: float,
    target_scores: list[float],
) -> dict[str, Any]:
    advantage = fmean(target_scores) - draft_score
    return {
        "question_id": node.question.question_id,
        "problem": node.question.problem,
        "step_index": len(node.steps),
        "history": [{"model": step.model, "text": step.text} for step in node.steps],
        "draft_step": draft.text,
        "target_steps": [step.text for step in targets],
        "draft_score": draft_score,
        "target_scores": target_scores,
        "advantage": advantage,
        "label": int(advantage > 0),
        "draft_confidence": confidence_score(draft),
    }
