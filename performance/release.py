"""The procedure of the paper's released script, as a baseline: written by us from what it does, without its code.

A run has one policy and one threshold. All open questions advance in lock-step rounds; at every step both models
write, whatever the policy will decide, and the scorer is asked; nothing is remembered between runs. One thing is left
out on purpose: the release gives up after 20 rounds without a finished solution, which would only make it cheaper by
leaving questions unsolved.
"""

from __future__ import annotations

from collections.abc import Sequence

from performance.plain import scores_of, steps_of

from arbitrage.speculation.decision import decide
from arbitrage.speculation.pair import PairModels
from arbitrage.speculation.policies import POLICIES
from arbitrage.speculation.steps import AuthoredStep
from arbitrage.speculation.tree import Node, Question

GRID = tuple(tenth / 10 for tenth in range(11))  # thresholds, paper section 5


def run_at(models: PairModels, questions: Sequence[Question], policy: str, threshold: float) -> list[Node]:
    """The final node of every question, in their order. policy: `rsd`, `oracle` or `router`."""
    ends: dict[str, Node] = {}
    nodes = [Node(question) for question in questions]
    while nodes:
        by_draft, by_target = steps_of(models, "draft", nodes), steps_of(models, "target", nodes)
        drafts = [AuthoredStep("draft", step.text) for step in by_draft]
        targets = [AuthoredStep("target", step.text) for step in by_target]
        if policy == "oracle":
            both = scores_of(models, "prm", [*nodes, *nodes], [*drafts, *targets])
            scores = [both[len(nodes) + index] - both[index] for index in range(len(nodes))]
        else:
            scores = scores_of(models, "prm" if policy == "rsd" else "router", nodes, drafts)
        following = []
        for index, node in enumerate(nodes):
            if decide(POLICIES[policy], scores[index], threshold):
                after = node.child(targets[index], by_target[index].finish_reason)
            else:
                after = node.child(drafts[index], by_draft[index].finish_reason)
            if models.bounds.finished(after):
                ends[node.question.question_id] = after
            else:
                following.append(after)
        nodes = following
    return [ends[question.question_id] for question in questions]


def run_grid(
    models: PairModels, questions: Sequence[Question], policies: Sequence[str]
) -> dict[tuple[str, float], list[Node]]:
    """Every policy at every threshold of the grid, one run after the other."""
    ends = {}
    for policy in policies:
        for threshold in GRID:
            models.forget()
            ends[policy, threshold] = run_at(models, questions, policy, threshold)
    return ends
