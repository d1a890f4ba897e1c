from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from arbitrage.config.prm import Prm
from arbitrage.config.router import Router
from arbitrage.engines.checkpoints import resolve
from arbitrage.engines.hf.incremental import LiveScorer
from arbitrage.engines.scoring.scorers import PrmScorer, RouterScorer
from arbitrage.speculation.protocols import EngineError, ScoreError
from arbitrage.speculation.steps import AuthoredStep, Ids
from tests.support.tiny_models import build_classifier
from tests.unit.engines.conftest import load_prm

STEPS = [AuthoredStep("draft", "First 3 + 4 = 7.\n\n"), AuthoredStep("target", "So the answer is {7}\n\n")]
FORMAT: dict[str, Any] = {"classes": 4, "boundary": 2, "ordinal": False, "annotate": True, "separator": "\n\n"}


def inputs_of(scorer: PrmScorer | RouterScorer, count: int) -> list[Ids]:
    draw = random.Random(0)
    return [
        scorer.input_ids(
            "".join(draw.choices("abc 12+", k=draw.randrange(50))), draw.choices(STEPS, k=index % 4), STEPS[0]
        )
        for index in range(count)
    ]


def logits_of(directory: Path, ids: Ids, head: Literal["sequence", "token"]) -> torch.Tensor:
    """What transformers' own class gives at the last id."""
    from transformers import LlamaForSequenceClassification, LlamaForTokenClassification

    kind = LlamaForSequenceClassification if head == "sequence" else LlamaForTokenClassification
    logits: torch.Tensor = kind.from_pretrained(directory)(torch.tensor([ids])).logits.detach().double()
    return logits[0] if head == "sequence" else logits[0, -1]


@pytest.mark.parametrize("head", ["sequence", "token"])
@pytest.mark.parametrize("labels", [1, 2])
def test_a_prm_of_either_head_gives_the_probability_that_the_step_is_right(
    tmp_path: Path, head: Literal["sequence", "token"], labels: int
) -> None:
    prm = load_prm(build_classifier(tmp_path / "prm", head=head, labels=labels))
    inputs = inputs_of(prm, 5)
    for ids, score in zip(inputs, prm.score(inputs), strict=True):
        logits = logits_of(tmp_path / "prm", ids, head)
        assert score == pytest.approx(float(logits[0].sigmoid() if labels == 1 else logits.softmax(-1)[1]), abs=1e-5)


def test_scores_of_a_batch_are_those_of_single_inputs_and_of_the_live_scorer(prm: PrmScorer) -> None:
    inputs = inputs_of(prm, 30)
    together, live = prm.score(inputs), LiveScorer(prm)
    prm.forget()
    assert together == pytest.approx([prm.score([ids])[0] for ids in inputs], abs=1e-5)
    assert together == pytest.approx([live.score_one(ids) for ids in inputs], abs=1e-5)
    assert len(set(together)) > 20


def test_a_padding_id_inside_the_input_is_read_like_any_other(prm: PrmScorer) -> None:
    ids = prm.input_ids("ab", [], STEPS[0])
    odd = (*ids[:-1], prm.tokenizer.pad_token_id)
    assert prm.score([ids, odd])[1] == pytest.approx(prm.score([odd])[0], abs=1e-6)
    assert abs(prm.score([ids])[0] - prm.score([odd])[0]) > 1e-4


@pytest.mark.parametrize(
    ("changes", "labels"),
    [({"classes": 2, "boundary": 1}, 2), ({}, 4), ({"ordinal": True}, 3), ({"classes": 10, "boundary": 6}, 10)],
)
def test_a_router_gives_the_probability_of_the_classes_from_the_boundary_on(
    tmp_path: Path, changes: dict[str, Any], labels: int
) -> None:
    form = FORMAT | changes
    directory = build_classifier(tmp_path / "router", labels=labels, router=form)
    router = RouterScorer(resolve(directory), Router())
    ids = inputs_of(router, 3)[2]
    logits = logits_of(directory, ids, "sequence")
    if form["ordinal"]:
        expected = float(logits[form["boundary"] - 1].sigmoid())
    else:
        expected = float(logits.softmax(-1)[form["boundary"] :].sum())
    assert router.score([ids]) == [pytest.approx(expected, abs=1e-5)]
    assert LiveScorer(router).score_one(ids) == pytest.approx(expected, abs=1e-5)


def test_a_router_reads_tags_where_its_format_says_so(tmp_path: Path) -> None:
    plain, tagged = (
        RouterScorer(
            resolve(build_classifier(tmp_path / str(annotate), labels=4, router=FORMAT | {"annotate": annotate})),
            Router(),
        )
        for annotate in (False, True)
    )
    assert "Model 1: So" in tagged.tokenizer.decode(tagged.input_ids("a", STEPS[:1], STEPS[1]))
    assert "Model" not in plain.tokenizer.decode(plain.input_ids("a", STEPS[:1], STEPS[1]))
    assert plain.identity != tagged.identity


@pytest.mark.parametrize("weight", ["norm", "score"])
def test_a_score_that_is_not_finite_names_the_model_and_the_input(tmp_path: Path, weight: str) -> None:
    prm = load_prm(build_classifier(tmp_path / "prm"))
    inputs = inputs_of(prm, 4)
    expected = prm.score(inputs)
    prm.forget()
    damaged = prm._backbone.norm.weight if weight == "norm" else prm._head.weight
    kept = damaged.clone()
    damaged.fill_(float("nan"))
    with pytest.raises(ScoreError, match=r"prm: the score of input \d \(\d+ ids.*is nan"):
        prm.score(inputs)
    with pytest.raises(ScoreError, match="input 0"):
        LiveScorer(prm).score_one(inputs[0])
    damaged.copy_(kept)
    assert prm.score(inputs) == expected


def test_a_head_with_a_wrong_number_of_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="3 labels; a PRM has 1"):
        load_prm(build_classifier(tmp_path / "prm", labels=3))
    with pytest.raises(EngineError, match=r"3 labels, but router\.json asks for 4"):
        RouterScorer(resolve(build_classifier(tmp_path / "router", labels=3, router=FORMAT)), Router())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "missing"),
        (FORMAT | {"boundary": 4}, "boundary 4 is not between 1 and classes - 1 = 3"),
        ({key: FORMAT[key] for key in FORMAT if key != "annotate"}, "annotate: Field required"),
    ],
)
def test_a_router_without_a_right_format_file_is_refused(
    tmp_path: Path, content: dict[str, Any] | None, message: str
) -> None:
    directory = build_classifier(tmp_path / "router", labels=4)
    if content is not None:
        (directory / "router.json").write_text(json.dumps(content))
    with pytest.raises(EngineError, match=message):
        RouterScorer(resolve(directory), Router())


def test_of_an_input_beyond_the_models_positions_the_oldest_steps_are_not_read(tmp_path: Path) -> None:
    """At positions it was never trained on, scores mean nothing; what a step follows from stands right before it."""
    prm = load_prm(build_classifier(tmp_path / "prm"))
    history = [AuthoredStep("draft", f"Then {n} + 4 = {n + 4}.\n\n") for n in range(9)]
    whole = prm.input_ids("What is 3 + 4?", history, STEPS[0])
    assert prm.shortened == 0 and len(whole) <= prm.max_context
    prm.max_context = len(whole) - 1
    assert prm.input_ids("What is 3 + 4?", history, STEPS[0]) == prm.reader.input_ids(
        "What is 3 + 4?", history[1:], STEPS[0]
    )
    prm.max_context = len(prm.reader.input_ids("What is 3 + 4?", history[7:], STEPS[0]))
    assert prm.input_ids("What is 3 + 4?", history, STEPS[0]) == prm.reader.input_ids(
        "What is 3 + 4?", history[7:], STEPS[0]
    )
    prm.max_context = 7  # the step alone is longer
    assert prm.input_ids("What is 3 + 4?", history, STEPS[0]) == whole[-7:]
    assert prm.shortened == 3


@pytest.mark.parametrize("labels", [1, 2])
def test_heads_of_half_precision_models_are_float32(tmp_path: Path, labels: int) -> None:
    path = build_classifier(tmp_path / "prm", labels=labels)
    wide = PrmScorer(resolve(path), Prm(path=str(path)), "\n\n")
    half = PrmScorer(resolve(path), Prm(path=str(path), dtype="bfloat16"), "\n\n")
    assert wide._head.weight.dtype == half._head.weight.dtype == torch.float32
    assert half.model.base_model.dtype == torch.bfloat16
    state = torch.randn(1, 200, 32, generator=torch.Generator().manual_seed(1)).bfloat16() * 0.01 + 1
    logits = half._head(state.to(half._head_dtype))[0]
    narrow = torch.nn.functional.linear(state, half._head.weight.bfloat16())[0]
    told_apart, tied = len(logits.unique(dim=0)), len(narrow.unique(dim=0))
    assert told_apart >= 199 and tied < 150  # the states differ, all 200 of them
