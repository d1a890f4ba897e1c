"""One question on which RSD and the router, at the same overall acceptance rate, choose differently (Fig. 6).

The question is picked by rule and seed, never by hand, and whether an answer is right plays no part in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from arbitrage.evaluation.operating_points import operating_points
from arbitrage.io.tables import TableError, read_table

POLICIES = ("rsd", "router")
MOST_STEPS = 12  # longer solutions do not fit on a page
TOLERANCES = (0.1, 0.2, 0.3, 1.0)  # of a solution's own acceptance; the next is tried where no question is left


@dataclass(frozen=True)
class Example:
    """question: a row of `questions`. rows, thresholds: by policy, the row of `trajectories` and its threshold.

    eligible: the question was drawn from so many, whose solutions' own acceptance is within `tolerance` of the level.
    """

    pair: str
    benchmark: str
    level: float
    question: dict[str, Any]
    rows: dict[str, dict[str, Any]]
    thresholds: dict[str, float]
    tolerance: float
    eligible: int


def pick_example(trajectories: Path, questions: Path, level: float, seed: int) -> Example:
    """Draw a question on which the policies choose differently, both with an acceptance near `level`, in few steps.

    trajectories: of one pair and benchmark. level: mean acceptance at which both policies' thresholds are set.
    Raises TableError where a policy was not run, or where no question shows a difference.
    """
    table = read_table(trajectories, "trajectories")
    rows, thresholds = {}, {}
    for policy in POLICIES:
        own = [row for row in table if row["policy"] == policy and not row["router_seed"]]  # its first training
        if not own:
            raise TableError(f"{trajectories}: no {policy} trajectories for fig6; add {policy} to sweep.policies")
        (point,) = operating_points(own, [level])
        threshold = thresholds[policy] = point.threshold
        rows[policy] = {
            row["question_id"]: row for row in own if row["threshold_low"] <= threshold < row["threshold_high"]
        }
    for tolerance in TOLERANCES:
        eligible = [
            question
            for question in sorted(rows["rsd"])
            if _shows_a_difference([rows[policy][question] for policy in POLICIES], level, tolerance)
        ]
        if eligible:
            chosen = eligible[int(np.random.default_rng(seed).integers(len(eligible)))]
            question = next(row for row in read_table(questions, "questions") if row["question_id"] == chosen)
            pair, benchmark = table[0]["pair"], table[0]["benchmark"]
            solutions = {policy: rows[policy][chosen] for policy in POLICIES}
            return Example(pair, benchmark, level, question, solutions, thresholds, tolerance, len(eligible))
    raise TableError(
        f"{trajectories}: on no question with at most {MOST_STEPS} steps do RSD and the router choose differently at "
        f"acceptance {level:g}; set figures.example_acceptance to another rate"
    )


def _shows_a_difference(rows: Sequence[dict[str, Any]], level: float, tolerance: float) -> bool:
    authors = [[step["model"] for step in row["steps"]] for row in rows]
    near = all(abs(each.count("draft") / len(each) - level) <= tolerance + 1e-9 for each in authors)
    return near and authors[0] != authors[1] and max(map(len, authors)) <= MOST_STEPS
