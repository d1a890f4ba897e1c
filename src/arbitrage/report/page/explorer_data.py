"""What the report's explorer walks through: every question's step tree, and each policy's way through it at any τ.

A path is a string with a letter a step, `d` where the draft wrote it and `t` where the target did; the node reached by
a path is where the next step is decided. A trajectory holds for an interval of thresholds, so a slider over τ needs no
model: it looks up, for each question, the trajectory whose interval holds τ.
"""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import Any

import pandas as pd

from arbitrage.config.policies import POLICIES
from arbitrage.config.study import Study
from arbitrage.io.tables import read_table
from arbitrage.runtime.paths import StudyPaths

DIGITS = 4  # of scores: the page shows three


def run_name(policy: str, router_seed: int | None) -> str:
    """The name of a policy's run, of the router with its training: `rsd`, `router 0`."""
    return policy if router_seed is None or pd.isna(router_seed) else f"{policy} {int(router_seed)}"


def explorer_data(study: Study) -> dict[str, Any]:
    """Everything the explorer shows, as JSON-ready values; panels whose tables are missing or empty are left out.

    `panels` maps "<pair> <benchmark>" to {runs, questions}; for the form of a question see `_Tree.as_json`. `policies`
    holds each policy's label, colour, whether it has a threshold, and the side of it that accepts.
    """
    paths = StudyPaths.of(study)
    panels: dict[str, Any] = {}
    for pair in study.pairs:
        for benchmark in study.benchmarks:
            trajectories, questions = paths.trajectories(pair, benchmark), paths.questions(benchmark)
            if trajectories.is_file() and questions.is_file():
                panel = panel_data(trajectories, questions)
                panels |= {f"{pair} {benchmark}": panel} if panel["questions"] else {}
    swept = {run.split(" ")[0] for panel in panels.values() for run in panel["runs"]}
    policies = {
        name: {
            "label": entry.label,
            "colour": entry.colour,
            "threshold": entry.has_threshold,
            "acceptsAbove": entry.accept_above,
        }
        for name, entry in POLICIES.items()
        if name in swept
    }
    return {"study": study.study, "policies": policies, "panels": panels}


def panel_data(trajectories: Path, questions: Path) -> dict[str, Any]:
    """One pair on one benchmark: {runs: names of the runs, questions: their trees}. Raises TableError.

    Of a trained policy the first training alone, which is also the one that is timed: each would add as much.
    """
    rows = [row for row in read_table(trajectories, "trajectories") if not row["router_seed"]]
    runs = list(dict.fromkeys(run_name(row["policy"], row["router_seed"]) for row in rows))
    trees = {row["question_id"]: _Tree(row) for row in read_table(questions, "questions")}
    for row in rows:
        trees[row["question_id"]].add(runs.index(run_name(row["policy"], row["router_seed"])), row)
    return {"runs": runs, "questions": [tree.as_json() for tree in trees.values() if tree.ways]}


class _Tree:
    """A question's nodes, the texts written at them, and the ways that runs take through them."""

    def __init__(self, question: dict[str, Any]) -> None:
        self.question = question
        self.texts: dict[str, int] = {}
        self.nodes: dict[str, list[Any]] = {}  # path -> [draft's text, target's text, sd, st, {run: its score}]
        self.ways: list[list[Any]] = []

    def add(self, run: int, row: dict[str, Any]) -> None:
        path = ""
        for step in row["steps"]:
            node = self.nodes.setdefault(path, [None, None, None, None, {}])
            if step["draft_step"] is not None:
                node[0], node[2] = self._text(step["draft_step"]), _rounded(step["draft_score"])
            if step["model"] == "target":
                node[1] = self._text(step["text"])
            if step["target_score"] is not None:
                node[3] = _rounded(step["target_score"])
            if step["policy_score"] is not None:
                node[4][run] = _rounded(step["policy_score"])
            path += step["model"][0]
        ends = [_bound(row["threshold_low"]), _bound(row["threshold_high"])]
        tokens = [sum(step[f"{author}_tokens"] for step in row["steps"]) for author in ("draft", "target")]
        self.ways.append([run, *ends, path, row["answer"], row["correct"], *tokens])

    def as_json(self) -> dict[str, Any]:
        """id, source, problem, gold, texts; nodes: path -> [draft's text, target's text, sd, st, scores by run];
        ways: [run, low, high, path, answer, correct, draft's tokens, target's tokens], texts and runs by their number;
        a bound is null where the interval is open, correct where the answer is ungraded."""
        return {
            "id": self.question["question_id"],
            "source": self.question["source"],
            "problem": self.question["problem"],
            "gold": list(self.question["answers"]),
            "texts": list(self.texts),
            "nodes": self.nodes,
            "ways": self.ways,
        }

    def _text(self, text: str) -> int:
        return self.texts.setdefault(text, len(self.texts))


def _rounded(score: float | None) -> float | None:
    return None if score is None or pd.isna(score) else round(float(score), DIGITS)


def _bound(threshold: float) -> float | None:
    """To the digits with which the curves' files write thresholds, so that a point's own threshold finds its ways."""
    return float(f"{threshold:.9g}") if isfinite(threshold) else None
