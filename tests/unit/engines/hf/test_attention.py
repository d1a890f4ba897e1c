"""Models that cap their attention scores (transformers PR #32865): torch's fused kernel would leave the cap out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma2Config, Gemma2ForCausalLM

from arbitrage.config.models import Model
from arbitrage.config.pipeline import Generation
from arbitrage.engines.checkpoints import resolve
from arbitrage.engines.hf.generator import TransformersGenerator
from arbitrage.engines.hf.incremental import LiveGenerator
from tests.support.tiny_models import _shape
from tests.support.tokenizer_kinds import tokenizer_of

PROBLEMS = ["What is 3 + 4?", "Let x = 2. Then what is x + x + x?", "a"]


def build_gemma(directory: Path, seed: int, cap: float | None) -> Path:
    tokenizer = tokenizer_of("gemma-2")
    torch.manual_seed(seed)
    shape = _shape(tokenizer, 2, 64) | {"head_dim": 16, "query_pre_attn_scalar": 1, "sliding_window": 512}
    Gemma2ForCausalLM(Gemma2Config(**shape, attn_logit_softcapping=cap)).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def greedy(directory: Path, attention: str, context: tuple[int, ...], length: int) -> list[int]:
    """`length` ids after `context`, from whole forward passes."""
    model = AutoModelForCausalLM.from_pretrained(directory, attn_implementation=attention).eval()
    ids = list(context)
    with torch.inference_mode():
        for _ in range(length):
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(context) :]


@pytest.mark.parametrize("seed", [0, 1])
def test_capped_attention_scores_stay_capped_in_a_batch_and_live(tmp_path: Path, seed: int) -> None:
    path = build_gemma(tmp_path, seed, cap=5.0)
    generator = TransformersGenerator(resolve(path), Model(path=str(path)), Generation(separator="@@@"))
    contexts = [generator.prompt_ids(problem) for problem in PROBLEMS]
    expected = [greedy(path, "eager", context, 12) for context in contexts]
    assert expected != [greedy(path, "sdpa", context, 12) for context in contexts]  # or nothing is tested
    texts = [generator.stop.decode(ids) for ids in expected]
    assert [step.text for step in generator.generate(contexts, [12] * 3)] == texts
    live = LiveGenerator(generator)
    assert [live.generate_one(context, 12).text for context in contexts] == texts


def test_only_a_cap_takes_the_fused_kernel_away(tmp_path: Path) -> None:
    capped, plain = (build_gemma(tmp_path / str(cap), 0, cap) for cap in (5.0, None))
    loaded = {
        path: TransformersGenerator(resolve(path), Model(path=str(path)), Generation()) for path in (capped, plain)
    }
    assert loaded[capped].model.config._attn_implementation == "eager"
    assert loaded[plain].model.config._attn_implementation == "sdpa"
