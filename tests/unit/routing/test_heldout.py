"""Held-out steps of a question are read together, and scored as each alone."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from arbitrage.config.router import Dataset, Router, Variant
from arbitrage.engines.checkpoints import resolve
from arbitrage.engines.scoring.scorers import RouterScorer
from arbitrage.io.tables import read_table, write_table
from arbitrage.routing import heldout
from arbitrage.routing.dataset import build_dataset
from arbitrage.routing.heldout import heldout_rows, packed_scores
from arbitrage.routing.inputs import TextEncoding
from arbitrage.runtime.paths import VALIDATION
from arbitrage.speculation.protocols import ScoreError
from tests.support.tiny_models import TokenizerKind, build_classifier
from tests.unit.routing.conftest import path_rows

PATHS = [[False, True, False, False, True, True], [True, False], [False, False, True], [True] * 5]


def router_of(directory: Path, kind: TokenizerKind = "char", ordinal: bool = False) -> RouterScorer:
    """A router with random weights."""
    build_classifier(directory, kind, labels=3 if ordinal else 2)
    form = {"classes": 4 if ordinal else 2, "boundary": 1, "ordinal": ordinal, "annotate": True, "separator": "\n\n"}
    (directory / "router.json").write_text(json.dumps(form))
    return RouterScorer(resolve(directory), Router())


def dataset_of(directory: Path, router: RouterScorer) -> Path:
    """A data set of a few questions, half of them held out."""
    rows = [row for number in range(8) for row in path_rows(f"q{number}", PATHS[number % len(PATHS)])]
    write_table(directory / "steps.parquet", "steps", rows)
    encoding = TextEncoding(router.tokenizer, "\n\n", annotate=True)
    build_dataset(directory / "steps.parquet", Variant(), Dataset(validation=0.5), encoding, 42, directory / "data")
    return directory / "data"


@pytest.mark.parametrize("ordinal", [False, True])
@pytest.mark.parametrize("kind", ["char", "bpe"])
@pytest.mark.parametrize("columns", [1, 150, 4096])
def test_each_step_is_scored_as_the_classifier_scores_it_alone(
    kind: TokenizerKind, ordinal: bool, columns: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heldout, "COLUMNS", columns)
    router = router_of(tmp_path / "router", kind, ordinal)
    dataset = dataset_of(tmp_path, router)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "router", dtype=torch.float32).eval()
    rows, examples = heldout_rows(dataset, router, "default"), read_table(dataset / VALIDATION, "examples")
    assert len(rows) == len(examples) > 6
    for row, example in zip(rows, examples, strict=True):
        assert (row["question_id"], row["step_index"]) == (example["question_id"], example["step_index"])
        logits = model(input_ids=torch.tensor([example["input_ids"]])).logits.detach().double()
        assert row["router_score"] == pytest.approx(float(router.scalars(logits)), abs=1e-5)


def test_a_questions_path_is_read_once(tmp_path: Path) -> None:
    router = router_of(tmp_path / "router")
    read = []
    router.model.base_model.register_forward_pre_hook(
        lambda _, __, given: read.append(given["input_ids"].numel()), with_kwargs=True
    )
    path = np.arange(5, 60)
    scores = packed_scores(router, [path[:20], path[:40], path], ["q", "q", "q"])
    assert read == [len(path)]
    assert len(set(scores)) == 3


def test_a_score_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    router_of(tmp_path / "router")
    weights = load_file(tmp_path / "router" / "model.safetensors")
    weights["score.weight"][0] = float("nan")
    save_file(weights, tmp_path / "router" / "model.safetensors", {"format": "pt"})
    router = RouterScorer(resolve(tmp_path / "router"), Router())
    with pytest.raises(ScoreError, match="the score of input 0 "):
        packed_scores(router, [np.arange(5, 20)], ["q"])
