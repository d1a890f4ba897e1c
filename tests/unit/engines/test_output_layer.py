"""A model whose output layer is not stored as its configuration says is told before it is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from arbitrage.engines.checkpoints import Checkpoint
from arbitrage.engines.output_layer import require_output_layer
from arbitrage.speculation.protocols import EngineError
from tests.support.tiny_models import build_causal

HEAD, EMBEDDINGS = "lm_head.weight", "model.embed_tokens.weight"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return build_causal(tmp_path / "model")


def stored(directory: Path, tie: bool | None, **tensors: torch.Tensor | None) -> None:
    """Say `tie_word_embeddings` (None: nothing) in a model's configuration, and store or drop its output layer."""
    config = json.loads((directory / "config.json").read_text())
    config.pop("tie_word_embeddings", None)
    (directory / "config.json").write_text(json.dumps(config | ({} if tie is None else {"tie_word_embeddings": tie})))
    weights = load_file(directory / "model.safetensors")
    if "head" in tensors:
        weights.pop(HEAD)
    if (head := tensors.get("head")) is not None:
        weights[HEAD] = head
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})


def required(directory: Path) -> None:
    require_output_layer("some/model", directory, Checkpoint("some/model", directory).configs()[0])


@pytest.mark.parametrize("tie", [False, None])  # Llama's default is not to tie
def test_an_output_layer_that_is_neither_stored_nor_tied_is_refused(model: Path, tie: bool | None) -> None:
    stored(model, tie)
    required(model)
    stored(model, tie, head=None)
    with pytest.raises(EngineError, match=r"^some/model: .* no output layer \(lm_head\): it would be random; fetch"):
        required(model)


def test_one_that_is_tied_need_not_be_stored(model: Path) -> None:
    stored(model, True, head=None)
    required(model)


def test_one_that_is_tied_and_stored_otherwise_is_refused(model: Path) -> None:
    embeddings = load_file(model / "model.safetensors")[EMBEDDINGS]
    stored(model, True, head=embeddings.clone())
    required(model)
    stored(model, True, head=embeddings + 0.01)
    with pytest.raises(EngineError, match=r"other than the embeddings: transformers would use it, vLLM would not"):
        required(model)
    stored(model, True, head=embeddings[:-1].clone())
    with pytest.raises(EngineError, match="other than the embeddings"):
        required(model)


def test_the_index_alone_will_do_before_the_files_are_fetched(model: Path) -> None:
    file = model / "model.safetensors"
    names = list(load_file(file))
    file.unlink()
    required(model)  # nothing is known
    index = {"weight_map": dict.fromkeys(names, "model-00001-of-00001.safetensors")}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    required(model)
    del index["weight_map"][HEAD]
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(EngineError, match="no output layer"):
        required(model)
