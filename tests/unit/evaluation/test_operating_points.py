"""Thresholds for wanted acceptance rates."""

import numpy as np
import pytest

from arbitrage.evaluation.operating_points import operating_points
from arbitrage.io.tables import TableError
from tests.support import synthetic

QUESTIONS = 30
WANTED = [0.1, 0.3, 0.5, 0.7, 0.9]


def _decoded(policy: str, threshold: float) -> float:
    """Mean acceptance of decoding every question at the threshold."""
    found = []
    for question in synthetic.questions_of("lab500", QUESTIONS):
        decide = lambda score: (score > threshold) != (policy == "rsd")  # noqa: E731
        steps = synthetic.solve("small", "lab500", question, policy, decide)[0]["steps"]
        found.append(np.mean([step["model"] == "draft" for step in steps]))
    return float(np.mean(found))


@pytest.mark.parametrize("policy", ["rsd", "router", "random"])
def test_decoding_at_the_threshold_accepts_what_was_wanted(policy: str) -> None:
    points = operating_points(synthetic.trajectories("small", "lab500", QUESTIONS, (policy,)), WANTED)
    assert len({point.threshold for point in points}) == len(WANTED)
    for wanted, point in zip(WANTED, points, strict=True):
        assert point.acceptance == pytest.approx(_decoded(policy, point.threshold), abs=1e-9)
        assert point.acceptance == pytest.approx(wanted, abs=0.05)


def test_a_threshold_is_not_a_score_that_was_seen() -> None:
    rows = synthetic.trajectories("small", "lab500", QUESTIONS, ("router",))
    edges = np.array([row["threshold_low"] for row in rows])
    for point in operating_points(rows, WANTED):
        assert np.abs(edges - point.threshold).min() > 1e-7


def test_of_a_listed_sweep_only_what_every_question_was_swept_at_is_chosen() -> None:
    listed = (0.2, 0.4, 0.6, 0.8)
    rows = [
        row
        for row in synthetic.trajectories("small", "lab500", QUESTIONS, ("router",))
        if any(row["threshold_low"] <= tau < row["threshold_high"] for tau in listed)
    ]
    for point in operating_points(rows, WANTED):
        held = [row["question_id"] for row in rows if row["threshold_low"] <= point.threshold < row["threshold_high"]]
        assert sorted(held) == synthetic.questions_of("lab500", QUESTIONS)


def test_a_policy_without_a_threshold_is_refused() -> None:
    with pytest.raises(TableError, match="no finite threshold"):
        operating_points(synthetic.trajectories("small", "lab500", 2, ("draft_only",)), [0.5])
