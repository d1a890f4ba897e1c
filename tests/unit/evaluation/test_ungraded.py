"""Questions that nobody could grade are left out for all policies of their panel, and counted."""

from pathlib import Path

import pandas as pd
import pytest

from arbitrage.evaluation.trajectory_counts import trajectory_counts
from arbitrage.evaluation.ungraded import without_ungraded
from arbitrage.io.tables import TableError, write_table
from tests.support import synthetic


def test_a_question_with_an_ungraded_trajectory_goes_for_all_policies(tmp_path: Path) -> None:
    rows = synthetic.trajectories("small", "labolympiad", 6)
    questions = sorted({row["question_id"] for row in rows})
    next(row for row in rows if row["question_id"] == questions[2] and row["policy"] == "rsd")["correct"] = None
    write_table(tmp_path / "t.parquet", "trajectories", rows)
    counts = trajectory_counts([tmp_path / "t.parquet"])
    assert sorted(set(counts["question_id"])) == [*questions[:2], *questions[3:]]
    assert set(counts["ungraded"]) == {1}
    assert set(counts["correct"]) <= {0.0, 1.0}
    others = [row for row in rows if row["question_id"] != questions[2]]
    assert len(counts) == len(others)


def test_other_panels_keep_the_question() -> None:
    frame = pd.DataFrame(
        {
            "pair": ["a", "a", "b", "b"],
            "benchmark": "m",
            "question_id": ["q1", "q2", "q1", "q2"],
            "correct": [None, 1.0, 0.0, 1.0],
        }
    )
    kept = without_ungraded(frame)
    assert kept[["pair", "question_id", "ungraded"]].to_numpy().tolist() == [
        ["a", "q2", 1],
        ["b", "q1", 0],
        ["b", "q2", 0],
    ]


def test_a_panel_without_any_graded_question_is_refused() -> None:
    frame = pd.DataFrame({"pair": "a", "benchmark": "m", "question_id": ["q1"], "correct": [float("nan")]})
    with pytest.raises(TableError, match="pair a, benchmark m: all 1 questions are ungraded"):
        without_ungraded(frame)
