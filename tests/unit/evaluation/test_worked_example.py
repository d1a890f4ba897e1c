"""The question of Fig. 6 is picked by rule and seed."""

from pathlib import Path

import pytest

from arbitrage.evaluation.worked_example import MOST_STEPS, pick_example
from arbitrage.io.tables import TableError, write_table
from tests.conftest import World
from tests.support import synthetic


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    rows = [
        {"study": "s", "question_id": question, "source": "x", "problem": f"What is {question}?", "solution": ""}
        | {"answers": ["1"], "grading": "{}"}
        for question in synthetic.questions_of("lab500", 40)
    ]
    write_table(tmp_path / "questions.parquet", "questions", rows)
    return tmp_path / "questions.parquet"


def test_the_example_shows_a_difference_near_the_level(world: World, questions: Path) -> None:
    for seed in range(5):
        example = pick_example(world.tables["trajectories"][0], questions, 0.8, seed)
        authors = {name: [step["model"] for step in row["steps"]] for name, row in example.rows.items()}
        assert authors["rsd"] != authors["router"]
        for name, row in example.rows.items():
            assert abs(authors[name].count("draft") / len(authors[name]) - 0.8) <= example.tolerance + 1e-9
            assert row["threshold_low"] <= example.thresholds[name] < row["threshold_high"]
            assert len(row["steps"]) <= MOST_STEPS
            assert row["question_id"] == example.question["question_id"]


def test_the_seed_alone_decides(world: World, questions: Path) -> None:
    picks = [pick_example(world.tables["trajectories"][0], questions, 0.7, seed) for seed in (3, 3, 4, 5, 6, 7)]
    assert picks[0] == picks[1]
    assert len({pick.question["question_id"] for pick in picks}) > 1


def test_a_policy_that_was_not_run_is_named(tmp_path: Path, questions: Path) -> None:
    write_table(tmp_path / "t.parquet", "trajectories", synthetic.trajectories("small", "lab500", 4, ("rsd",)))
    with pytest.raises(TableError, match=r"no router trajectories for fig6; add router to sweep\.policies"):
        pick_example(tmp_path / "t.parquet", questions, 0.8, 0)


def test_policies_that_never_differ_are_said_not_to(tmp_path: Path, questions: Path) -> None:
    rows = synthetic.trajectories("small", "lab500", 4, ("rsd",))
    rows += [row | {"policy": "router"} for row in rows]
    write_table(tmp_path / "t.parquet", "trajectories", rows)
    with pytest.raises(TableError, match="choose differently"):
        pick_example(tmp_path / "t.parquet", questions, 0.8, 0)
