"""Routers that learn from what looking ahead found: their data, what they learn, and what they are compared by."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arbitrage.config.load import ConfigError, validate_config
from arbitrage.config.router import Dataset, Loss, RouterKind, Variant
from arbitrage.engines.scoring.scalar_router import ScalarRouter
from arbitrage.io.tables import read_table, write_table
from arbitrage.routing.dataset import build_dataset
from arbitrage.routing.heldout import heldout_rows
from arbitrage.routing.inputs import Encoding, ScalarEncoding, TextEncoding
from arbitrage.routing.label_classes import RoutingError
from arbitrage.routing.scalars import fit_scalars
from arbitrage.runtime.outputs import results
from tests.support.tiny_models import build_tokenizer
from tests.unit.routing.conftest import step_row

QUESTIONS = 60
GAINS = (1, 0, -1)  # of the steps of a question
STUDY: dict[str, Any] = {
    "study": "ahead",
    "models": {"d": {"path": "d"}, "t": {"path": "t"}},
    "pairs": {"p": {"draft": "d", "target": "t"}, "q": {"draft": "d", "target": "t"}},
    "prm": {"path": "prm"},
    "benchmarks": {"b": {"source": "lab500"}},
    "router": {"variants": {"default": {}, "ahead": {"kind": "scalars", "labels": "lookahead"}}},
}


def steps() -> list[dict[str, Any]]:
    """The less likely the draft's step, the more escalating gains; the PRM says the opposite."""
    return [
        step_row(f"q{question}", index, -0.5 * gain) | {"draft_logprobs": [-1.5 - gain - question / 1000]}
        for question in range(QUESTIONS)
        for index, gain in enumerate(GAINS)
    ]


def looked_ahead(gain: int, **changed: Any) -> dict[str, Any]:
    """What a row of the table `lookahead` says of a step; of a gain of 0, that both wrote the same."""
    right = (None, None) if gain == 0 else (gain < 0, gain > 0)
    return {"same_text": gain == 0, "right_after_draft": right[0], "right_after_target": right[1], **changed}


def build(folder: Path, variant: Variant, changes: dict[tuple[str, int], dict[str, Any]] | None = None) -> Any:
    """The variant's data set in `folder`/data; changes: rows of the table `lookahead` that say otherwise."""
    rows = steps()
    write_table(folder / "steps.parquet", "steps", rows)
    tables = []
    for shard in (0, 1):
        ahead = [
            {name: row[name] for name in ("study", "pair", "question_id", "step_index")}
            | looked_ahead(GAINS[row["step_index"]], **(changes or {}).get((row["question_id"], row["step_index"]), {}))
            for row in rows[shard::2]
        ]
        tables.append(folder / f"ahead-{shard}.parquet")
        write_table(tables[-1], "lookahead", ahead)
    encoding: Encoding = TextEncoding(build_tokenizer("char"), "\n\n", variant.annotate)
    if variant.kind != "classifier":
        encoding = ScalarEncoding(variant.kind, folder / "steps.parquet")
    return build_dataset(folder / "steps.parquet", variant, Dataset(), encoding, 42, folder / "data", tables)


def parts(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    train, validation = (
        read_table(folder / "data" / f"{name}.parquet", "examples") for name in ("train", "validation")
    )
    return train, validation


@pytest.mark.parametrize("kind", ["classifier", "scalars"])
def test_the_examples_have_the_gain_and_its_class_and_the_prms_advantage_beside(
    kind: RouterKind, tmp_path: Path
) -> None:
    report = build(tmp_path, Variant(kind=kind, labels="lookahead", loss="label"))
    assert report["labels"] == "lookahead" and report["classes"] == 2
    train, validation = parts(tmp_path)
    assert train and validation
    for row in (*train, *validation):
        assert row["gain"] == GAINS[row["step_index"]] == -2 * row["advantage"]
        assert row["label"] == int(row["gain"] > 0)
    assert report["train"]["shares"] == [0.5, 0.5] and report["left_out"]["ungraded"] == 0


def test_a_step_counts_as_both_answers_say_and_is_left_out_where_one_is_ungraded(tmp_path: Path) -> None:
    changes: dict[tuple[str, int], dict[str, Any]] = {
        ("q1", 0): {"right_after_draft": True},  # both end right
        ("q2", 0): {"right_after_target": False},  # neither does
        ("q3", 0): {"right_after_draft": None},
        ("q4", 2): {"right_after_target": None},
    }
    report = build(tmp_path, Variant(kind="scalars", labels="lookahead"), changes)
    train, validation = parts(tmp_path)
    gains = {(row["question_id"], row["step_index"]): row["gain"] for row in (*train, *validation)}
    assert gains["q1", 0] == gains["q2", 0] == 0.0
    assert report["left_out"]["ungraded"] == 2 and len(gains) == QUESTIONS * len(GAINS) - 2
    assert ("q3", 0) not in gains and ("q4", 2) not in gains
    held_out = {row["question_id"] for row in validation}
    build(tmp_path / "as-ever", Variant(kind="scalars"))
    assert {row["question_id"] for row in parts(tmp_path / "as-ever")[1]} == held_out


@pytest.mark.parametrize("loss", ["label", "weighted", "regression"])
def test_a_router_learns_the_gain_and_is_compared_by_the_advantage(loss: Loss, tmp_path: Path) -> None:
    build(tmp_path, Variant(kind="scalars", labels="lookahead", loss=loss))
    fit_scalars(tmp_path / "data", "mlp", 0, tmp_path / "router")
    rows = heldout_rows(tmp_path / "data", ScalarRouter(tmp_path / "router"), "ahead")
    scores = [[row["router_score"] for row in rows if row["step_index"] == index] for index in range(len(GAINS))]
    assert min(scores[0]) > 0.6 and max(scores[2]) < 0.4
    assert [row["advantage"] for row in rows] == [-0.5 * GAINS[row["step_index"]] for row in rows]
    assert [row["label"] for row in rows] == [int(row["advantage"] > 0) for row in rows]
    assert np.corrcoef([row["router_score"] for row in rows], [row["advantage"] for row in rows])[0, 1] < -0.5


def test_a_step_without_a_label_is_refused(tmp_path: Path) -> None:
    variant = Variant(kind="scalars", labels="lookahead")
    build(tmp_path, variant)
    encoding = ScalarEncoding("scalars", tmp_path / "steps.parquet")
    with pytest.raises(RoutingError, match=r"90 labelled steps have no look-ahead label.*all shards.*--lookahead"):
        build_dataset(
            *(tmp_path / "steps.parquet", variant, Dataset(), encoding, 42, tmp_path / "half"),
            [tmp_path / "ahead-0.parquet"],
        )


def test_the_stage_is_of_studies_and_pairs_with_such_a_variant_alone() -> None:
    study = validate_config(STUDY)
    assert (study.looks_ahead("p"), study.looks_ahead("q")) == (True, False)  # ablations are trained on the first pair
    tables = [result.path for result in results(study) if result.table == "lookahead"]
    assert tables == ["lookahead/p/shard-0.parquet", "lookahead/p/shard-1.parquet"]
    plain = validate_config({**STUDY, "router": {}})
    assert not plain.looks_ahead("p") and all(result.table != "lookahead" for result in results(plain))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"router": {"variants": {"default": {"labels": "lookahead", "classes": 4}}}}, "classes 4 needs labels"),
        (
            {"questions": {"source": "own", "path": __file__}},
            r"questions\.columns\.solution: expected the column.*router\.variants\.ahead has labels `lookahead`",
        ),
    ],
)
def test_what_cannot_be_labelled_so_is_refused_with_the_key(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate_config(STUDY | changes)
