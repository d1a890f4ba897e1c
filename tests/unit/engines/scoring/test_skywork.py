"""Skywork's value head: the converted classifier scores as the original head does, whatever way it was saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

from arbitrage.cli import app
from arbitrage.config.prm import Prm
from arbitrage.engines.checkpoints import TOKENIZER_FILES, resolve
from arbitrage.engines.hf.incremental import LiveScorer
from arbitrage.engines.scoring.scorers import PrmScorer
from arbitrage.engines.scoring.skywork import convert_value_head
from arbitrage.engines.scoring.step_format import encode
from arbitrage.speculation.protocols import EngineError
from tests.support.tiny_prms import PROBLEM, STEPS, TEXTS, build_answering, build_value_head, prm_tokenizer


class ValueHead(torch.nn.Module):
    """As Skywork's code has it: a linear layer on the last hidden states, without dropout in evaluation."""

    def __init__(self, tensors: dict[str, torch.Tensor]) -> None:
        super().__init__()
        weight, bias = tensors["v_head.summary.weight"], tensors.get("v_head.summary.bias")
        self.summary = torch.nn.Linear(weight.shape[1], 1, bias=bias is not None)
        self.summary.load_state_dict({"weight": weight} | ({"bias": bias} if bias is not None else {}))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return self.summary(states).squeeze(-1)


def original_scores(directory: Path, prefix: str) -> list[float]:
    """Sigmoid of the head at each step's last token, the whole solution read at once by a causal model."""
    tensors = {
        name.removeprefix(prefix): tensor
        for file in directory.glob("*.safetensors")
        for name, tensor in load_file(file).items()
    }
    config = json.loads((directory / "config.json").read_text()) | {"architectures": ["Qwen2ForCausalLM"]}
    plain = directory.parent / "plain"
    plain.mkdir()
    (plain / "config.json").write_text(json.dumps(config))
    backbone = {name: tensor for name, tensor in tensors.items() if not name.startswith("v_head.")}
    save_file(backbone, plain / "model.safetensors", metadata={"format": "pt"})
    model = AutoModelForCausalLM.from_pretrained(plain, dtype=torch.float32)
    tokenizer: Any = AutoTokenizer.from_pretrained(directory)
    ids, ends = list(encode(tokenizer, PROBLEM + "\n")), []
    for text in TEXTS:
        ids += [*encode(tokenizer, text), encode(tokenizer, "\n\n")[-1]]
        ends.append(len(ids) - 1)
    with torch.no_grad():
        states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states[-1]
        return ValueHead(tensors)(states)[0, ends].sigmoid().tolist()


@pytest.mark.parametrize("prefix", ["", "pretrained_model."])
@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_the_converted_classifier_scores_as_the_original_head(
    bias: bool, sharded: bool, prefix: str, tmp_path: Path
) -> None:
    tokenizer = prm_tokenizer(chat_template=None)
    original = build_value_head(tmp_path / "prm", tokenizer, bias=bias, sharded=sharded, prefix=prefix)
    convert_value_head(resolve(original), tmp_path / "out")
    prm = PrmScorer(resolve(tmp_path / "out"), Prm(path="prm", kind="value-head", batch_size=2), "\n\n")
    inputs = [prm.input_ids(PROBLEM, STEPS[:number], STEPS[number]) for number in range(3)]
    expected = original_scores(original, prefix)
    assert len(set(expected)) == 3
    assert prm.score(inputs) == pytest.approx(expected, abs=1e-5)
    live = LiveScorer(prm)
    assert [live.score_one(ids) for ids in inputs] == pytest.approx(expected, abs=1e-5)


def test_the_output_is_a_standard_directory_that_needs_no_code_of_the_checkpoint(tmp_path: Path) -> None:
    original = build_value_head(tmp_path / "prm", prm_tokenizer(chat_template=None))
    convert_value_head(resolve(original), tmp_path / "out")
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config["architectures"] == ["Qwen2ForTokenClassification"] and "auto_map" not in config
    names = set(load_file(tmp_path / "out/model.safetensors"))
    assert {"score.weight", "score.bias"} <= names and not [name for name in names if "head" in name]
    kept = [name for name in TOKENIZER_FILES if (original / name).is_file()]
    assert kept and all((tmp_path / "out" / name).read_bytes() == (original / name).read_bytes() for name in kept)


def test_a_checkpoint_without_the_head_or_with_a_wider_one_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    causal = build_answering(tmp_path / "causal", prm_tokenizer(), "qwen2")
    with pytest.raises(EngineError, match=r"no v_head\.summary\.weight.*set it to what the model is"):
        convert_value_head(resolve(causal), tmp_path / "out")
    wide = build_value_head(tmp_path / "wide", prm_tokenizer())
    tensors = load_file(wide / "model.safetensors") | {"v_head.summary.weight": torch.zeros(2, 32)}
    save_file(tensors, wide / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EngineError, match=r"shape \[2, 32\]; expected \[1, 32\]"):
        convert_value_head(resolve(wide), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    odd = build_value_head(tmp_path / "odd", prm_tokenizer())
    config = json.loads((odd / "config.json").read_text()) | {"model_type": "gpt_neox"}
    (odd / "config.json").write_text(json.dumps(config))
    with pytest.raises(EngineError, match="a value head is converted for qwen2, llama"):
        convert_value_head(resolve(odd), tmp_path / "out")


def test_the_command_converts_what_it_is_given(tmp_path: Path) -> None:
    original = build_value_head(tmp_path / "prm", prm_tokenizer(chat_template=None))
    out = tmp_path / "out"
    arguments = ["convert-prm", "--study", "config.yaml", "--path", str(original), "--out", str(out)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert (out / "model.safetensors").is_file() and out.with_name("out.provenance.json").is_file()


def pickled(directory: Path, sharded: bool = False, wrap: bool = False) -> Path:
    """The same checkpoint with `.bin` weights, as most of its kind are published."""
    listed: dict[str, str] = {}
    files = sorted(directory.glob("*.safetensors"))
    for number, file in enumerate(files, start=1):
        name = f"pytorch_model-{number:05}-of-{len(files):05}.bin" if sharded else "pytorch_model.bin"
        tensors = load_file(file)
        torch.save({"state_dict": tensors} if wrap else tensors, directory / name)
        listed |= dict.fromkeys(tensors, name)
        file.unlink()
    if sharded:
        (directory / "model.safetensors.index.json").unlink()
        (directory / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": listed}))
    return directory


@pytest.mark.parametrize(("sharded", "wrap"), [(False, False), (True, False), (False, True)])
def test_bin_weights_are_converted_to_the_same(sharded: bool, wrap: bool, tmp_path: Path) -> None:
    tokenizer = prm_tokenizer(chat_template=None)
    for name in ("safe", "bin"):
        build_value_head(tmp_path / name, tokenizer, bias=True, sharded=sharded, prefix="pretrained_model.")
    convert_value_head(resolve(tmp_path / "safe"), tmp_path / "out-safe")
    convert_value_head(resolve(pickled(tmp_path / "bin", sharded, wrap), pickled=True), tmp_path / "out-bin")
    files = [sorted((tmp_path / out).glob("*.safetensors")) for out in ("out-safe", "out-bin")]
    for one, other in zip(*files, strict=True):
        expected, tensors = load_file(one), load_file(other)
        assert expected.keys() == tensors.keys() and all(torch.equal(expected[key], tensors[key]) for key in expected)


class Payload:
    """What runs when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


def test_code_in_a_bin_file_is_refused_and_not_run(tmp_path: Path) -> None:
    original = pickled(build_value_head(tmp_path / "prm", prm_tokenizer()))
    torch.save(
        {"v_head.summary.weight": torch.zeros(1, 32), "x": Payload(tmp_path / "ran")}, original / "pytorch_model.bin"
    )
    with pytest.raises(EngineError, match="cannot be read as tensors alone"):
        convert_value_head(resolve(original, pickled=True), tmp_path / "out")
    assert not (tmp_path / "ran").exists() and not (tmp_path / "out").exists()
    torch.save({"a": 1}, original / "pytorch_model.bin")
    with pytest.raises(EngineError, match="expected tensors by name"):
        convert_value_head(resolve(original, pickled=True), tmp_path / "out")
