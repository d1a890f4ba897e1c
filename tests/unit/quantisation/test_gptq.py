"""GPTQ by llm-compressor: said plainly where it is missing; where it is there, a packed checkpoint comes out."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from arbitrage.config.models import Quantise
from arbitrage.quantisation.gptq import quantise_gptq
from arbitrage.speculation.protocols import EngineError
from tests.support.tiny_models import build_causal

HERE = importlib.util.find_spec("llmcompressor") is not None
TEXTS = ["What is 3 + 4?\nWe add 3 and 4.\n\nSo it is 7.\n\n", "Let x = 2.\nThen x + x = 4.\n\n"]


@pytest.mark.skipif(HERE, reason="llm-compressor is installed")
def test_without_llm_compressor_the_remedy_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"envs/gptq\.yaml"):
        quantise_gptq(tmp_path, tmp_path / "out", 4, 16, TEXTS, seed=0)


@pytest.mark.extra
@pytest.mark.skipif(not HERE, reason="needs llm-compressor, in an environment of its own (envs/gptq.yaml)")
def test_the_linear_layers_are_packed_and_the_output_layer_is_not(tmp_path: Path) -> None:
    source = build_causal(tmp_path / "source", "bpe")
    quantise_gptq(source, tmp_path / "low", 4, 16, TEXTS, seed=0)
    settings = json.loads((tmp_path / "low" / "config.json").read_text())["quantization_config"]
    assert settings["format"] == "pack-quantized" and settings["ignore"] == ["lm_head"]
    with pytest.raises(EngineError, match="does not divide"):
        quantise_gptq(source, tmp_path / "odd", 4, 24, TEXTS, seed=0)


@pytest.mark.parametrize(
    ("recipe", "fault"),
    [({"method": "gptq"}, "needs `bits`"), ({}, "needs `bits`"), ({"method": "gguf"}, "needs `gguf_type`")],
)
def test_a_method_without_its_size_is_refused(recipe: dict[str, str], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        Quantise.model_validate({"model": "target", **recipe})
