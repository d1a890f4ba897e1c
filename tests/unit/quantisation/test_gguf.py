"""llama.cpp: what is missing is named; with its tools and the package gguf a model comes back rounded."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from arbitrage.cli import app
from arbitrage.quantisation import gguf
from arbitrage.speculation.protocols import EngineError
from tests.support.smollm2 import smollm2_gguf


def test_a_missing_tool_is_named_with_where_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf, "find_spec", lambda name: name)  # the package is not what is missing
    monkeypatch.delenv(gguf.LLAMA_CPP, raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EngineError, match=r"convert_hf_to_gguf\.py.*LLAMA_CPP"):
        gguf.quantise_gguf(tmp_path, tmp_path / "out", "Q3_K_L")


def test_a_tool_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf, "find_spec", lambda name: name)
    (tmp_path / "convert_hf_to_gguf.py").write_text("import sys; sys.exit('unknown architecture')")
    (tmp_path / "llama-quantize").write_text("")
    monkeypatch.setenv(gguf.LLAMA_CPP, str(tmp_path))
    with pytest.raises(EngineError, match="unknown architecture"):
        gguf.quantise_gguf(tmp_path, tmp_path / "out", "Q3_K_L")


def test_a_gguf_file_that_is_not_there_is_a_line_not_a_traceback(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["unpack-gguf", "--gguf", str(tmp_path / "no.gguf"), "--out", str(tmp_path / "o")])
    assert isinstance(result.exception, EngineError) and "no such GGUF file" in str(result.exception)


@pytest.mark.extra
@pytest.mark.timeout(600)
def test_a_real_model_goes_through_llama_cpp_and_comes_back_rounded(tmp_path: Path) -> None:
    file = smollm2_gguf()
    if not (os.environ.get(gguf.LLAMA_CPP) or shutil.which("llama-quantize")):
        pytest.skip("needs llama.cpp's tools: set LLAMA_CPP")
    from transformers import AutoModelForCausalLM

    gguf.unpack(file, tmp_path / "source", dtype="float32")
    gguf.quantise_gguf(tmp_path / "source", tmp_path / "low", "Q3_K_L")
    assert (tmp_path / "low" / gguf.FILE).is_file()
    before, after = (
        AutoModelForCausalLM.from_pretrained(path, dtype="float32").model.layers[0].mlp.up_proj.weight.detach()
        for path in (tmp_path / "source", tmp_path / "low")
    )
    assert 0.01 < float((before - after).norm() / before.norm()) < 0.3
