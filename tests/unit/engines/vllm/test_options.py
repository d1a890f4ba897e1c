"""What vLLM is told of a model, and what it is told apart by: no vLLM is needed for that."""

from __future__ import annotations

import builtins
import importlib.util
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from arbitrage.config.backends import Vllm
from arbitrage.config.models import Model
from arbitrage.config.pipeline import Generation
from arbitrage.config.prm import Prm
from arbitrage.config.router import Router
from arbitrage.config.study import Study
from arbitrage.engines.checkpoints import resolve
from arbitrage.engines.server.launch import serve
from arbitrage.engines.vllm import start
from arbitrage.engines.vllm.generator import VllmGenerator
from arbitrage.engines.vllm.options import GGUF, engine_arguments, scorer_arguments, speculative_config
from arbitrage.engines.vllm.start import SERIES, other_series
from arbitrage.runtime.gpu_memory import shares as memory_shares
from arbitrage.speculation.protocols import EngineError
from tests.support.tiny_models import build_classifier
from tests.unit.engines.conftest import CAUSAL

ROOT = Path(__file__).resolve().parents[4]


def arguments(directory: Path, max_tokens: int = 4096, **settings: Any) -> dict[str, Any]:
    model = Model.model_validate({"path": str(directory), **settings})
    return engine_arguments(resolve(directory, key="models.m"), model, Generation(max_tokens=max_tokens), 0.3, 7)


def test_a_model_is_on_the_gpus_it_names_and_takes_its_share(causal: Path) -> None:
    found = arguments(causal, device="cuda:2", dtype="bfloat16", vllm={"tensor_parallel": 2, "quantisation": "gptq"})
    assert (found["device_ids"], found["tensor_parallel_size"]) == ([2, 3], 2)
    assert found["gpu_memory_utilization"] == 0.3 and "kv_cache_memory_bytes" not in found
    assert (found["dtype"], found["quantization"], found["max_num_seqs"]) == ("bfloat16", "gptq", 7)
    assert found["load_format"] == "safetensors" and not found["enforce_eager"]


def test_on_a_cpu_the_cache_has_a_size_and_nothing_is_compiled(causal: Path) -> None:
    found = arguments(causal)
    assert found["kv_cache_memory_bytes"] == 2**30 and found["enforce_eager"]
    assert not {"device_ids", "gpu_memory_utilization"} & set(found)
    assert arguments(causal, vllm={"cache_gib": 0.5, "eager": False})["kv_cache_memory_bytes"] == 2**29


@pytest.mark.parametrize(("max_tokens", "asked", "longest"), [(4096, None, 1024), (10, 300, 300), (10, 5000, 1024)])
def test_the_longest_context_is_as_asked_and_never_beyond_the_models_own(
    causal: Path, max_tokens: int, asked: int | None, longest: int
) -> None:
    assert arguments(causal, max_tokens, vllm={"max_context": asked})["max_model_len"] == longest


def test_a_gguf_file_is_what_vllm_reads_where_it_can(causal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gguf = {"device": "cuda", "vllm": {"quantisation": "gguf"}}
    monkeypatch.setattr("arbitrage.engines.vllm.options.find_spec", lambda name: None)
    with pytest.raises(EngineError, match=r"models\.m: .* needs vllm-gguf-plugin, which is not installed"):
        arguments(causal, **gguf)
    monkeypatch.setattr("arbitrage.engines.vllm.options.find_spec", importlib.util.find_spec)
    monkeypatch.setattr("arbitrage.engines.vllm.options.GGUF_PLUGIN", "json")
    with pytest.raises(EngineError, match=r"needs .*model\.gguf, which is not there"):
        arguments(causal, **gguf)
    file = causal / GGUF
    file.touch()
    try:
        found = arguments(causal, **gguf)
        assert (found["model"], found["tokenizer"], found["load_format"]) == (str(file), str(causal), "auto")
    finally:
        file.unlink()


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("prm", {}, "its head is LlamaForSequenceClassification; expected one of .ForCausalLM"),
        (next(iter(CAUSAL)), {"device": "mps"}, "runs on cpu and cuda, got device 'mps'"),
    ],
)
def test_what_vllm_cannot_run_is_named(
    checkpoints_root: Path, name: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(EngineError, match=message):
        arguments(checkpoints_root / name, **settings)


@pytest.mark.parametrize(
    ("head", "settings"),
    [("sequence", Prm(path="p", batch_size=5)), ("token", Router(batch_size=5, device="cuda:1", dtype="bfloat16"))],
)
def test_a_head_for_every_token_is_run_as_one_for_sequences(head: Any, settings: Prm | Router, tmp_path: Path) -> None:
    checkpoint = resolve(build_classifier(tmp_path / "classifier", head=head), key="prm")
    found = scorer_arguments(checkpoint, settings, Generation(max_tokens=100), 0.3)
    assert found["hf_overrides"] == {"architectures": ["LlamaForSequenceClassification"], "head_dtype": "float32"}
    assert (found["runner"], found["convert"], found["max_num_seqs"]) == ("pooling", "classify", 5)
    assert found["enable_prefix_caching"] and found["max_model_len"] == 1024
    on_gpu = (found.get("device_ids"), found.get("gpu_memory_utilization"))
    assert on_gpu == (([1], 0.3) if settings.device == "cuda:1" else (None, None))


def test_a_draft_is_told_with_the_targets_gpus_and_its_own_packing(causal: Path) -> None:
    found = speculative_config(resolve(causal), Vllm(quantisation="gptq"), Vllm(tensor_parallel=4), 8)
    assert (found["method"], found["model"], found["num_speculative_tokens"]) == ("draft_model", str(causal), 8)
    assert (found["draft_tensor_parallel_size"], found["quantization"]) == (4, "gptq")


def test_a_model_without_such_a_head_is_no_scorer(causal: Path) -> None:
    with pytest.raises(EngineError, match=r"ForCausalLM; expected one of \*ForSequenceClassification"):
        scorer_arguments(resolve(causal), Prm(path="p"), Generation(), 0.3)


def test_without_vllm_the_remedy_is_named(causal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import_ = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "vllm":
            raise ImportError("No module named 'vllm'")
        return import_(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(EngineError, match=r"models\.m: engine vllm needs the package vllm.*pip install"):
        VllmGenerator(resolve(causal, key="models.m"), Model(path=str(causal)), Generation())


def test_vllm_of_another_series_is_refused_by_name_and_the_extras_is_not(
    causal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (extra,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["vllm"]
    major, minor = map(int, SERIES.split("."))
    accepted = Requirement(extra).specifier
    assert accepted.contains(f"{SERIES}.4") and not accepted.contains(f"{major}.{minor + 1}.0")
    assert other_series("vllm", f"{SERIES}.4+cu130") is None
    installed = {"vllm": "0.26.0"}
    monkeypatch.setattr(start, "build_version", installed.get)
    message = r"^models\.m: vllm 0\.26\.0 is installed, and this works with vLLM 0\.32 alone: pip install"
    with pytest.raises(EngineError, match=message):
        VllmGenerator(resolve(causal, key="models.m"), Model(path=str(causal)), Generation())
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    with pytest.raises(EngineError, match=message):
        serve(resolve(causal, key="models.m"), Model(path=str(causal)), Generation(), 0.9, tmp_path).__enter__()


@pytest.mark.parametrize(
    ("draft", "target", "prm", "shares"),
    [
        ({"device": "cuda:0"}, {"device": "cuda:1"}, "cpu", (0.9, 0.9)),
        ({"device": "cuda"}, {"device": "cuda:0"}, "cpu", (0.45, 0.45)),
        ({"device": "cuda:0"}, {"device": "cuda:1", "vllm": {"tensor_parallel": 2}}, "cuda:2", (0.9, 0.45)),
        ({"device": "cuda:0", "vllm": {"memory_share": 0.2}}, {"device": "cuda:0"}, "cuda:0", (0.2, 0.3)),
    ],
)
def test_models_of_unknown_size_on_one_gpu_share_its_memory_in_equal_parts(
    draft: dict[str, Any], target: dict[str, Any], prm: str, shares: tuple[float, float]
) -> None:
    study = Study.model_validate(
        {
            "study": "lab",
            "models": {"d": {"path": "d", "engine": "vllm"} | draft, "t": {"path": "t", "engine": "vllm"} | target},
            "pairs": {"p": {"draft": "d", "target": "t"}},
            "prm": {"path": "prm", "device": prm},
            "latency": {"speculative_tokens": []},
            "benchmarks": {"b": {"source": "math500"}},
        }
    )
    assert tuple(memory_shares(study, "latency", "p").values()) == pytest.approx(shares)
