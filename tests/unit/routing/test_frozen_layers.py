"""Layers that are not trained are run once a training, not once an epoch, and the router is the same."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from arbitrage.config.router import Dataset, RouterTraining, Variant
from arbitrage.engines.checkpoints import resolve
from arbitrage.engines.hf.packed import last_states
from arbitrage.io.tables import write_table
from arbitrage.routing import frozen_layers
from arbitrage.routing.dataset import build_dataset
from arbitrage.routing.frozen_layers import computed_once
from arbitrage.routing.hf_trainer import micro_batches
from arbitrage.routing.inputs import TextEncoding
from arbitrage.routing.router_model import freeze_below
from arbitrage.routing.train import judged_rows, train_router
from tests.support.tiny_models import build_tokenizer
from tests.unit.routing.conftest import path_rows

COLUMNS = 300
TRAINING = RouterTraining(epochs=3.0, batch_size=8, micro_batch_tokens=COLUMNS, learning_rate=1e-3, top_layers=1)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frozen")
    rows = [row for number in range(12) for row in path_rows(f"q{number}", [number % 2 == 0, True, False, True])]
    write_table(folder / "steps.parquet", "steps", rows)
    encoding = TextEncoding(build_tokenizer("char"), "\n\n", annotate=True)
    build_dataset(folder / "steps.parquet", Variant(balance=False), Dataset(), encoding, 42, folder / "data")
    return folder / "data"


def frozen_model(checkpoint: Path) -> Any:
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint, dtype=torch.float32)
    freeze_below(model, 1)
    return model


def test_states_read_from_the_first_trained_layer_on_are_those_of_the_whole_model(
    dataset: Path, checkpoint: Path
) -> None:
    model = frozen_model(checkpoint)
    rows, _ = judged_rows(dataset, "label", model.config, COLUMNS)
    layers = list(model.base_model.layers)
    with computed_once(model, rows, COLUMNS) as kept:
        assert layers[0] not in list(model.base_model.layers)
        got = [last_states(model, batch) for batch in micro_batches(kept, COLUMNS)]
    assert list(model.base_model.layers) == layers
    assert all(row.states is not None and len(row.states) == len(row.tree) for row in kept)
    expected = [last_states(model, batch) for batch in micro_batches(rows, COLUMNS)]
    assert len(got) == len(expected) > 1
    for ours, whole in zip(got, expected, strict=True):
        assert torch.allclose(ours, whole, atol=1e-5)


@pytest.mark.parametrize("reason", ["memory", "dropout", "nothing frozen"])
def test_nothing_is_kept_where_it_would_not_fit_or_not_repeat(
    reason: str, dataset: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = frozen_model(checkpoint)
    rows, _ = judged_rows(dataset, "label", model.config, COLUMNS)
    if reason == "memory":
        tokens = sum(len(row.tree) for row in rows)
        monkeypatch.setattr(frozen_layers, "MOST_BYTES", 4 * model.config.hidden_size * tokens - 1)
    elif reason == "dropout":
        model.config.attention_dropout = 0.1
    else:
        model.requires_grad_(True)
    layers = list(model.base_model.layers)
    with computed_once(model, rows, COLUMNS) as kept:
        assert kept == rows
        assert list(model.base_model.layers) == layers


@pytest.mark.parametrize("recompute", [False, True])
def test_the_router_is_the_one_of_frozen_layers_run_in_every_epoch(
    recompute: bool, dataset: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = TRAINING.model_copy(update={"recompute": recompute})
    passes: dict[str, list[int]] = {"once": [], "every": []}
    forward = LlamaDecoderLayer.forward
    for name, most in {"once": 2**31, "every": 0}.items():

        def counted(layer: Any, states: torch.Tensor, *given: Any, seen: Any = passes[name], **options: Any) -> Any:
            seen.append(layer.self_attn.layer_idx)
            return forward(layer, states, *given, **options)

        with monkeypatch.context() as patched:
            patched.setattr(frozen_layers, "MOST_BYTES", most)
            patched.setattr(LlamaDecoderLayer, "forward", counted)
            train_router(dataset, resolve(checkpoint), training, seed=1, device="cpu", out_dir=tmp_path / name)
    once, every = (load_file(tmp_path / name / "model.safetensors") for name in passes)
    assert once.keys() == every.keys()
    for name, weight in once.items():
        assert torch.allclose(weight, every[name], atol=1e-4), name
    assert 4 * passes["once"].count(0) < 1.5 * passes["every"].count(0)  # of three epochs and the head's fit
