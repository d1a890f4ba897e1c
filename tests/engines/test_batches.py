from __future__ import annotations

from pathlib import Path

import pytest
from transformers import LlamaConfig, MistralConfig, Qwen2Config

from arbitrage.engines.batches import context_limit
from arbitrage.engines.kv_cache import BLOCK
from arbitrage.engines.protocols import EngineError
from arbitrage.engines.transformers import TransformersGenerator
from tests.engines.conftest import load, never_stop
from tests.engines.test_transformers import contexts_of
from tests.tiny_models import build_causal


def read_columns(generator: TransformersGenerator, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The shapes [rows, columns] of all forward passes from here on, as they come."""
    shapes: list[tuple[int, int]] = []
    forward = generator._runner._forward

    def watched(ids: object, *others: object) -> object:
        shapes.append(tuple(ids.shape))  # type: ignore[attr-defined]
        return forward(ids, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(generator._runner, "_forward", watched)
    return shapes


def test_a_context_that_continues_an_earlier_one_is_read_from_where_that_ended(
    causal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = load(causal)
    contexts = contexts_of(generator, 8)
    steps = generator.generate(contexts, [20] * 8)
    shapes = read_columns(generator, monkeypatch)
    longer = [ids + generator.step_ids(step.text) for ids, step in zip(contexts, steps, strict=True)]
    generator.generate(longer, [1] * 8)
    assert sum(rows for rows, _ in shapes) == 8
    step = max(len(new) - len(old) for new, old in zip(longer, contexts, strict=True))
    assert max(columns for _, columns in shapes) <= step + BLOCK
    del shapes[:]
    generator.forget()
    generator.generate(longer, [1] * 8)
    assert max(columns for _, columns in shapes) == max(map(len, longer))


def test_rows_that_have_ended_leave_the_batch(causal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = load(causal)
    never_stop(generator)
    shapes = read_columns(generator, monkeypatch)
    generator.generate(contexts_of(generator, 8), [2, 3, 5, 6, 9, 9, 12, 12])
    fed = [rows for rows, columns in shapes if columns == 1]
    assert len(fed) == 11 and fed[0] == 8 and fed[-1] == 2 and sum(fed) <= 1.4 * (58 - 8)


def test_batches_are_of_the_size_asked_for_whatever_the_lengths(causal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = load(causal, batch_size=3)
    shapes = read_columns(generator, monkeypatch)
    generator.generate(contexts_of(generator, 8), [1] * 8)
    assert [rows for rows, _ in shapes] == [3, 3, 2]


def test_a_model_whose_output_layer_is_its_embedding_is_loaded_whole(tmp_path: Path) -> None:
    import json

    from safetensors.torch import load_file, save_file

    directory = build_causal(tmp_path / "tied")
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    weights = load_file(directory / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, directory / "model.safetensors", {"format": "pt"})
    model = load(directory).model
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()


def test_the_longest_context_is_the_models_positions_or_its_attention_window() -> None:
    assert context_limit(LlamaConfig(max_position_embeddings=2048)) == 2048
    assert context_limit(MistralConfig(max_position_embeddings=32768, sliding_window=4096)) == 4096
    windowed = Qwen2Config(use_sliding_window=True, sliding_window=64, max_window_layers=0, max_position_embeddings=512)
    assert context_limit(windowed) == 64


def test_a_model_with_layers_that_cannot_be_rolled_back_is_refused() -> None:
    config = LlamaConfig()
    config.layer_types = ["full_attention", "linear_attention"]
    with pytest.raises(EngineError, match=r"linear_attention.*not supported"):
        context_limit(config)
