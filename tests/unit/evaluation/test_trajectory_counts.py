"""What a trajectory amounts to, held against counting step by step."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arbitrage.config.pipeline import Generation
from arbitrage.evaluation.trajectory_counts import ending_counts, trajectory_counts
from arbitrage.io.tables import TableError, write_table
from tests.conftest import World
from tests.support import synthetic


def _by_hand(steps: list[dict[str, Any]]) -> dict[str, float]:
    """The same numbers, the slow way."""
    found = dict.fromkeys(
        ["better", "equal", "worse", "catch_up_tokens", "judged_tokens", "escalations_before_end"], 0.0
    )
    unseen = 0
    for place, step in enumerate(steps):
        found["judged_tokens"] += step["draft_tokens"]
        if step["model"] == "draft":
            unseen += step["draft_tokens"]
            continue
        found["catch_up_tokens"] += unseen
        unseen = 0
        if place + 1 < len(steps):
            found["judged_tokens"] += step["target_tokens"]
            found["escalations_before_end"] += 1
        if step["draft_step"] is not None:
            gain = step["target_score"] - step["draft_score"]
            found["better" if gain > 0 else "equal" if gain == 0 else "worse"] += 1
    chosen = [step[f"{step['model']}_tokens"] for step in steps]
    return found | {
        "steps": len(steps),
        "escalations": sum(step["model"] == "target" for step in steps),
        "acceptance": sum(step["model"] == "draft" for step in steps) / len(steps),
        "chosen_tokens": sum(chosen),
        "chosen_draft_tokens": sum(step["draft_tokens"] for step in steps if step["model"] == "draft"),
        "draft_tokens": sum(step["draft_tokens"] for step in steps),
        "target_tokens": sum(step["target_tokens"] for step in steps if step["model"] == "target"),
    }


def test_counts_are_those_of_counting_step_by_step(tmp_path: Path) -> None:
    rows = synthetic.trajectories("small", "labolympiad", 6)
    write_table(tmp_path / "t.parquet", "trajectories", rows)
    counts = trajectory_counts([tmp_path / "t.parquet"])
    keyed = {(row["policy"], row["question_id"], row["threshold_low"]): row for row in rows}
    assert len(counts) == len(rows)
    for found in counts.to_dict("records"):
        row = keyed[found["policy"], found["question_id"], found["threshold_low"]]
        assert {name: found[name] for name in _by_hand(row["steps"])} == pytest.approx(_by_hand(row["steps"]))
        assert found["correct"] == row["correct"]
        assert found["answered"] == (row["answer"] is not None)


def test_the_order_of_the_files_does_not_matter(world: World) -> None:
    paths = world.tables["trajectories"]
    assert trajectory_counts(paths).equals(trajectory_counts(paths[::-1]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: row.update(steps=[]), "without steps"),
        (lambda row: [step.update(target_score=None) for step in row["steps"]], "no draft or target score"),
    ],
)
def test_a_trajectory_that_cannot_be_counted_is_named(tmp_path: Path, change: Any, message: str) -> None:
    rows = synthetic.trajectories("small", "lab500", 2, ("rsd",))
    change(rows[-1])  # the highest thresholds: all steps escalated
    write_table(tmp_path / "t.parquet", "trajectories", rows)
    with pytest.raises(TableError, match=f"{rows[-1]['question_id']}.*{message}"):
        trajectory_counts([tmp_path / "t.parquet"])


def test_no_trajectories_are_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "t.parquet", "trajectories", [])
    with pytest.raises(TableError, match="no trajectories"):
        trajectory_counts([tmp_path / "t.parquet"])


def test_draft_alone_accepts_everything_and_target_alone_nothing(world: World) -> None:
    counts = trajectory_counts(world.tables["trajectories"])
    assert set(counts.loc[counts["policy"] == "draft_only", "acceptance"]) == {1.0}
    alone = counts[counts["policy"] == "target_only"]
    assert set(alone["acceptance"]) == {0.0}
    assert np.all(alone[["draft_tokens", "catch_up_tokens", "better", "equal", "worse"]] == 0)


def test_solutions_are_told_apart_by_what_ended_them(tmp_path: Path) -> None:
    rows = synthetic.trajectories("small", "lab500", 5, ("draft_only",))
    limits = Generation(max_steps=3, max_tokens=900, max_step_tokens=64)
    ends = [("eos", 5, 1), ("length", 64, 2), ("length", 63, 2), ("separator", 5, 3), ("separator", 5, 2)]
    for row, (reason, tokens, count) in zip(rows, ends, strict=True):
        row["steps"] = [row["steps"][0] | {"finish_reason": "separator"} for _ in range(count)]
        row["steps"][-1] |= {"finish_reason": reason, "draft_tokens": tokens}
        row["answer"] = "1" if reason == "eos" else None
    write_table(tmp_path / "t.parquet", "trajectories", rows)
    counts = ending_counts([tmp_path / "t.parquet"], limits).set_index("ending")
    assert counts["solutions"].to_dict() == {"eos": 1, "max_step_tokens": 1, "max_steps": 1, "max_tokens": 2}
    assert counts["unanswered"].to_dict() == {"eos": 0, "max_step_tokens": 1, "max_steps": 1, "max_tokens": 2}
