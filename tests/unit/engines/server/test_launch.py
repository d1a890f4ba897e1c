"""Servers that a job starts: what they are told, which GPUs they get, and that nothing of them stays."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from arbitrage.config.models import Model
from arbitrage.config.pipeline import Generation
from arbitrage.engines.checkpoints import Checkpoint, resolve
from arbitrage.engines.server import launch
from arbitrage.engines.server.generator import OpenAiGenerator
from arbitrage.speculation.protocols import EngineError
from tests.support.tiny_models import build_causal


def model(path: str = "m", device: str = "cpu", tensor_parallel: int = 1, ready_s: float = 900.0) -> Model:
    settings: dict[str, Any] = {"path": path, "device": device, "engine": "openai"}
    return Model.model_validate(
        settings | {"vllm": {"tensor_parallel": tensor_parallel}, "server": {"ready_s": ready_s}}
    )


@pytest.mark.parametrize(
    ("visible", "device", "cut", "given"),
    [
        ("3,5,7", "cuda", 1, "3"),
        ("3,5,7", "cuda:1", 2, "5,7"),
        ("GPU-a,GPU-b", "cuda:1", 1, "GPU-b"),
        ("3", "cpu", 1, ""),
    ],
)
def test_a_server_sees_its_own_gpus_among_the_jobs(
    visible: str, device: str, cut: int, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = launch.environment("models.target", model(device=device, tensor_parallel=cut))
    assert found["CUDA_VISIBLE_DEVICES"] == given


def test_too_few_gpus_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    with pytest.raises(EngineError, match=r"models\.target: its server needs the GPUs cuda:0, cuda:1.*sees 1;"):
        launch.environment("models.target", model(device="cuda", tensor_parallel=2))


def test_without_vllm_a_server_cannot_be_started_and_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with (
        pytest.raises(EngineError, match=r"models\.draft: .*vLLM is not installed here.*or give the URL"),
        launch.serve(Checkpoint("m", tmp_path, key="models.draft"), model(), Generation(), 0.9, tmp_path),
    ):
        pass


@pytest.mark.parametrize(
    ("program", "ready_s", "message"),
    [
        (
            "raise SystemExit('too little memory')",
            60.0,
            r"its vLLM server ended with status 1.*\.log.*too little memory",
        ),
        (
            "import time; print('loading', flush=True); time.sleep(60)",
            3.0,
            r"no server answers.*after 3 s.*\.log.*loading",
        ),
    ],
)
def test_a_server_that_does_not_come_up_is_an_error_with_the_end_of_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, ready_s: float, message: str
) -> None:
    (tmp_path / "broken_server.py").write_text(program)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setattr(launch, "MODULE", "broken_server")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    checkpoint = resolve(build_causal(tmp_path / "draft"), key="models.draft")
    settings = model(checkpoint.path, ready_s=ready_s)
    with launch.serve(checkpoint, settings, Generation(), 0.9, tmp_path / "logs") as server:
        private = server.socket.parent
        assert private.stat().st_mode & 0o077 == 0
        with pytest.raises(EngineError, match=rf"(?s)models\.draft: {message}"):
            OpenAiGenerator(checkpoint, settings, Generation(), server)
    assert server.process.poll() is not None and not private.exists()
