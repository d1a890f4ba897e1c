from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import FalconConfig, LlamaConfig, MistralConfig, Phi3Config, Qwen2Config

from arbitrage.engines.hf.attention import logits_after
from arbitrage.engines.hf.batching import Batch
from arbitrage.engines.hf.generator import TransformersGenerator
from arbitrage.engines.hf.kv_cache import BLOCK
from arbitrage.engines.hf.limits import PASS_POSITIONS, context_limit, of_about_one_width
from arbitrage.speculation.protocols import EngineError
from arbitrage.speculation.steps import Ids
from tests.support.tiny_models import build_causal
from tests.unit.engines.conftest import load, never_stop
from tests.unit.engines.hf.test_generator import contexts_of, same


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


def test_places_of_ended_steps_are_filled_with_waiting_ones(causal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = load(causal, batch_size=4)
    generator.refilled_columns = 100
    never_stop(generator)
    shapes = read_columns(generator, monkeypatch)
    contexts, limits = contexts_of(generator, 16), [3, 3, 3, 21] * 4
    generator.generate(contexts, limits)
    fed = [rows for rows, columns in shapes if columns == 1]
    assert sum(fed) <= 1.2 * (sum(limits) - len(limits))  # waiting for the slowest of four would feed 4 x 20 a batch
    assert len(fed) < 2 * 20  # four batches, each waited for, would take 4 x 20 passes


def test_a_refilled_place_continues_from_the_pool_and_gives_its_blocks_to_it(
    causal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = load(causal, batch_size=3)
    generator.refilled_columns = 100
    contexts = contexts_of(generator, 12)
    shapes = read_columns(generator, monkeypatch)
    for _ in range(3):
        steps = generator.generate(contexts, [2 + 5 * (place % 4) for place in range(12)])
        assert len([columns for _, columns in shapes if columns > 1]) > 4  # more readings than batches: refilled
        longer = [ids + generator.step_ids(step.text) for ids, step in zip(contexts, steps, strict=True)]
        grown = max(len(new) - len(old) for new, old in zip(longer, contexts, strict=True))
        del shapes[:]
        generator.generate(longer, [1] * 12)
        assert max(columns for _, columns in shapes) <= grown + BLOCK
        contexts = longer
        del shapes[:]


def test_a_context_longer_than_the_batch_so_far_waits_for_the_next(
    causal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator, alone = load(causal, batch_size=2), load(causal, batch_size=1)
    generator.refilled_columns = 100
    never_stop(generator)
    never_stop(alone)
    first, second, third = (generator.prompt_ids("1 + 2 " * count) for count in (9, 8, 7))
    long = generator.prompt_ids("7 * 8 " * 60)
    generator.generate([long], [1])  # so that it has least to read, and comes last
    batches: list[list[Ids]] = []
    read = generator._runner.read

    def watched(contexts: list[Ids], room: int) -> Batch:
        batches.append(contexts)
        return read(contexts, room)

    monkeypatch.setattr(generator._runner, "read", watched)
    contexts, limits = [long, first, second, third], [4, 30, 2, 30]
    steps = generator.generate(contexts, limits)
    assert batches == [[first, second], [long]]
    for context, limit, step in zip(contexts, limits, steps, strict=True):
        assert same(alone.generate([context], [limit])[0], step)


def test_batches_are_of_the_size_asked_for_whatever_the_lengths(causal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = load(causal, batch_size=3)
    shapes = read_columns(generator, monkeypatch)
    generator.generate(contexts_of(generator, 8), [1] * 8)
    assert [rows for rows, _ in shapes] == [3, 3, 2]


def test_contexts_of_very_different_widths_are_not_read_in_one_pass() -> None:
    cpu = torch.device("cpu")
    assert of_about_one_width([200, *[70] * 20, *[10] * 43], cpu) == 1
    assert of_about_one_width([70] * 20 + [10] * 43, cpu) == 20
    assert of_about_one_width([9, 8, 8, 7], cpu) == 4  # another pass would cost more than this padding
    assert of_about_one_width([PASS_POSITIONS["cpu"] + 1, 0], cpu) == 1
    assert of_about_one_width([PASS_POSITIONS["cpu"], 0], cpu) == 2
    assert of_about_one_width([200, *[70] * 20, *[10] * 43], torch.device("cuda")) == 64
    assert of_about_one_width([5], cpu) == 1


def test_what_is_read_of_short_contexts_beside_long_ones_is_hardly_padded(
    causal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = load(causal)
    short, long = contexts_of(generator, 12)[0], (*contexts_of(generator, 12)[1], *range(5, 105))
    contexts = [(*short, 5 + number) if number % 4 else (*long, 5 + number) for number in range(32)]
    apart = [generator.read([ids], [len(ids) - 3])[0] for ids in contexts]
    generator.forget()
    shapes = read_columns(generator, monkeypatch)
    monkeypatch.setattr(
        "arbitrage.engines.hf.generator.logits_after",
        lambda model, ids, *others: shapes.append(tuple(ids.shape)) or logits_after(model, ids, *others),
    )
    assert [pytest.approx(row, abs=1e-4) for row in apart] == generator.read(
        contexts, [len(ids) - 3 for ids in contexts]
    )
    assert sum(rows * columns for rows, columns in shapes) <= 1.1 * sum(map(len, contexts))


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
    factors = {"rope_type": "longrope", "long_factor": [4.0] * 48, "short_factor": [1.0] * 48}
    longer = {"max_position_embeddings": 131072, "original_max_position_embeddings": 4096}
    assert context_limit(Phi3Config(**longer, rope_scaling=factors)) == 4096
    assert context_limit(Phi3Config(**longer)) == 131072
    with pytest.raises(EngineError, match="falcon: ALiBi is not supported"):
        context_limit(FalconConfig(alibi=True))
    windowed = Qwen2Config(use_sliding_window=True, sliding_window=64, max_window_layers=0, max_position_embeddings=512)
    assert context_limit(windowed) == 64


def test_a_model_with_layers_that_cannot_be_rolled_back_is_refused() -> None:
    config = LlamaConfig()
    config.layer_types = ["full_attention", "linear_attention"]
    with pytest.raises(EngineError, match=r"linear_attention.*not supported"):
        context_limit(config)
