"""From steps to training data: split, annotation, balance, limits, and what the report says."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.config.router import Dataset, Variant
from arbitrage.io.tables import read_table, write_table
from arbitrage.routing.dataset import balanced, build_dataset, validation_questions
from arbitrage.routing.heldout import ExampleScorer, heldout_rows
from arbitrage.routing.inputs import TextEncoding
from arbitrage.routing.label_classes import Classes, RoutingError
from tests.support.tiny_models import build_tokenizer
from tests.unit.routing.conftest import step_row

TOKENIZER = build_tokenizer("char")
ADVANTAGES = (-0.5, -0.2, 0.0, 0.0, -0.1, 0.3, -0.4, 0.6)


def steps(questions: int = 20) -> list[dict[str, Any]]:
    return [
        step_row(f"q{question}", index, ADVANTAGES[(3 * question + index) % 8])
        for question in range(questions)
        for index in range(1 + question % 3)
    ]


def build(out: Path, rows: list[dict[str, Any]], variant: Variant | None = None, **settings: Any) -> dict[str, Any]:
    steps = out.with_suffix(".steps.parquet")
    write_table(steps, "steps", rows)
    variant = variant or Variant()
    return build_dataset(
        steps, variant, Dataset(**settings), TextEncoding(TOKENIZER, "\n\n", variant.annotate), 42, out
    )


def parts(out: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    return read_table(out / "train.parquet", "examples"), read_table(out / "validation.parquet", "examples")


@given(st.sets(st.text("abc0", min_size=1), min_size=2), st.floats(0.01, 0.99), st.integers(0, 9), st.randoms())
def test_the_split_has_its_share_whatever_the_order(
    questions: set[str], share: float, seed: int, shuffler: random.Random
) -> None:
    shuffled = list(questions)
    shuffler.shuffle(shuffled)
    held_out = validation_questions(shuffled, share, seed)
    assert held_out == validation_questions(questions, share, seed)
    assert held_out < questions
    assert abs(len(held_out) - share * len(questions)) <= 1


@given(st.lists(st.integers(1, 30), min_size=2, max_size=8), st.integers(1, 7), st.none() | st.integers(20, 60))
def test_balance_makes_sides_and_classes_equal(counts: list[int], boundary: int, cap: int | None) -> None:
    boundary = min(boundary, len(counts) - 1)
    classes = Classes(tuple((edge - boundary + 1) / 10 for edge in range(len(counts) - 1)))
    assert classes.boundary == boundary
    examples = pd.DataFrame(
        {"question_id": f"{label}-{i}", "step_index": 0, "label": label}
        for label, count in enumerate(counts)
        for i in range(count)
    )
    sides = (boundary, len(counts) - boundary)
    size = min(sides[0] * min(counts[:boundary]), sides[1] * min(counts[boundary:]), (cap or 1000) // 2)
    if size < max(sides):
        with pytest.raises(RoutingError, match="balancing leaves"):
            balanced(examples, classes, 1, cap)
        return
    drawn = balanced(examples, classes, 1, cap)
    found = Counter(drawn["label"])
    assert all(found[label] == size // sides[label >= boundary] for label in range(len(counts)))
    assert drawn["question_id"].is_unique
    assert cap is None or len(drawn) <= cap


def test_no_question_is_on_both_sides_of_the_split(tmp_path: Path) -> None:
    build(tmp_path / "data", steps())
    train, validation = ({row["question_id"] for row in part} for part in parts(tmp_path / "data"))
    assert train
    assert len(validation) == 4
    assert not train & validation


def test_all_variants_hold_out_the_same_steps(tmp_path: Path) -> None:
    held_out = []
    for number, variant in enumerate([Variant(), Variant(classes=4), Variant(balance=False), Variant(annotate=False)]):
        build(tmp_path / str(number), steps(60), variant)
        held_out.append([(row["question_id"], row["step_index"]) for row in parts(tmp_path / str(number))[1]])
    assert held_out[0]
    assert all(other == held_out[0] for other in held_out)


def test_the_order_of_the_steps_makes_no_difference(tmp_path: Path) -> None:
    build(tmp_path / "one", steps())
    build(tmp_path / "two", steps()[::-1])
    for name in ("train.parquet", "validation.parquet", "report.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_training_part_is_balanced_and_the_held_out_part_natural(tmp_path: Path) -> None:
    rows = steps(60)
    report = build(tmp_path / "data", rows)
    train, validation = parts(tmp_path / "data")
    assert Counter(row["label"] for row in train)[0] == Counter(row["label"] for row in train)[1] > 0
    held_out = {row["question_id"] for row in validation}
    assert len(validation) == sum(row["question_id"] in held_out for row in rows)
    assert report["train"]["shares"] == [0.5, 0.5]
    assert report["train"]["shares_before"][0] > 0.6
    assert report["left_out"]["balance_or_cap"] == len(rows) - len(train) - len(validation)


def test_without_balance_all_training_steps_stay(tmp_path: Path) -> None:
    rows = steps(60)
    report = build(tmp_path / "data", rows, Variant(balance=False))
    train, validation = parts(tmp_path / "data")
    assert len(train) + len(validation) == len(rows)
    assert report["train"]["shares"] == report["train"]["shares_before"]


@pytest.mark.parametrize("balance", [True, False])
def test_the_cap_holds(tmp_path: Path, balance: bool) -> None:
    build(tmp_path / "data", steps(60), Variant(balance=balance), max_examples=10)
    assert len(parts(tmp_path / "data")[0]) == 10


def test_annotation_names_the_author_of_every_step(tmp_path: Path) -> None:
    rows = steps()
    texts: dict[bool, set[str]] = {}
    for annotate in (True, False):
        build(tmp_path / str(annotate), rows, Variant(annotate=annotate, balance=False))
        train, validation = parts(tmp_path / str(annotate))
        texts[annotate] = {TOKENIZER.decode(row["input_ids"]) for row in [*train, *validation]}
    tagged = "<s>Find x of q2.\nModel 0: line 0\n\nModel 1: line 1\n\nModel 0: So x = 3\n\n"
    assert tagged in texts[True]
    assert tagged.replace("Model 0: ", "").replace("Model 1: ", "") in texts[False]
    assert not any("Model" in text for text in texts[False])


def test_inputs_that_are_too_long_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [*steps(), step_row("long", 0, 0.5, "x" * 500 + "\n\n")]
    report = build(tmp_path / "data", rows, max_length=400)
    assert report["left_out"]["too_long_train"] + report["left_out"]["too_long_validation"] == 1
    assert report["train"]["tokens"]["max"] <= 400


def test_a_limit_that_leaves_nothing_is_refused_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(RoutingError, match=r"within 5 tokens; raise dataset\.max_length"):
        build(tmp_path / "data", steps(), max_length=5)
    assert [path.name for path in tmp_path.iterdir()] == ["data.steps.parquet"]


def test_steps_of_one_question_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RoutingError, match="at least 2 are needed"):
        build(tmp_path / "data", [step_row("q", 0, 0.1), step_row("q", 1, -0.1)])


def test_the_report_tells_the_router_how_to_read_its_logits(tmp_path: Path) -> None:
    report = build(tmp_path / "data", steps(60), Variant(classes=4, ordinal=True))
    assert report == json.loads((tmp_path / "data" / "report.json").read_text())
    assert (report["classes"], report["boundary"], report["ordinal"], report["separator"]) == (4, 2, True, "\n\n")
    assert report["edges"][1] == 0.0
    assert sum(report["validation"]["shares"]) == pytest.approx(1)


def test_heldout_rows_carry_the_sign_of_the_advantage_and_the_routers_score(tmp_path: Path) -> None:
    class Lengths(ExampleScorer):
        column = "input_ids"

        def score(self, inputs: Any) -> list[float]:
            return [1 / len(ids) for ids in inputs]

    build(tmp_path / "data", steps(), Variant(classes=4))
    validation = parts(tmp_path / "data")[1]
    rows = heldout_rows(tmp_path / "data", Lengths(), "four-class")
    write_table(tmp_path / "heldout.parquet", "heldout", rows)
    assert [row["router_score"] for row in rows] == [1 / len(row["input_ids"]) for row in validation]
    assert [row["label"] for row in rows] == [int(row["advantage"] > 0) for row in validation]
    assert {row["variant"] for row in rows} == {"four-class"}
