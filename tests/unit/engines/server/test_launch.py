"""Servers that a job starts: what they are told, which GPUs they get, and that nothing of them stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from arbitrage.config.models import Model
from arbitrage.config.pipeline import Generation
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
    found = launch.environment("target", model(device=device, tensor_parallel=cut), threads=1)
    assert found["CUDA_VISIBLE_DEVICES"] == given


def test_too_few_gpus_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    with pytest.raises(EngineError, match=r"models\.target: its server needs the GPUs cuda:0, cuda:1.*sees 1;"):
        launch.environment("target", model(device="cuda", tensor_parallel=2), threads=1)


def test_without_vllm_a_server_cannot_be_started_and_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with (
        pytest.raises(EngineError, match=r"models\.draft: .*vLLM is not installed here.*or give the URL"),
        launch.serve("draft", "m", model(), Generation(), 0.9, 1, tmp_path),
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
    path = str(build_causal(tmp_path / "draft"))
    settings = model(path, ready_s=ready_s)
    with launch.serve("draft", path, settings, Generation(), 0.9, 1, tmp_path / "logs") as server:
        private = server.socket.parent
        assert private.stat().st_mode & 0o077 == 0
        with pytest.raises(EngineError, match=rf"(?s)models\.draft: {message}"):
            OpenAiGenerator("draft", path, settings, Generation(), server)
    assert server.process.poll() is not None and not private.exists()


# A command with a child that has left its session, as a server's own processes may; both say their names.
FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(os.getpid(), child.pid, flush=True)
time.sleep(600)
"""
JOB = """
import os, subprocess, sys
supervisor = [sys.executable, "-m", "arbitrage.runtime.child_supervisor", str(os.getpid())]
sys.exit(subprocess.call([*supervisor, sys.executable, "-c", sys.argv[1]], start_new_session=True))
"""


@pytest.mark.parametrize("end", ["the job is killed", "the supervisor is asked to stop", "the command dies"])
def test_nothing_of_a_supervised_command_outlives_it(end: str) -> None:
    job = subprocess.Popen([sys.executable, "-c", JOB, FAMILY], stdout=subprocess.PIPE, text=True)
    assert job.stdout is not None
    family = [psutil.Process(int(pid)) for pid in job.stdout.readline().split()]
    supervisor = family[0].parent()
    assert supervisor is not None
    if end == "the job is killed":
        os.kill(job.pid, signal.SIGKILL)
    elif end == "the command dies":
        family[0].kill()
    else:
        supervisor.terminate()
    _, alive = psutil.wait_procs([*family, supervisor], timeout=10)
    assert not alive
    job.wait()
    job.stdout.close()


def test_a_supervisor_hands_on_the_commands_status() -> None:
    start = time.monotonic()
    command = [sys.executable, "-m", "arbitrage.runtime.child_supervisor", str(os.getpid()), "sh", "-c", "exit 3"]
    assert subprocess.run(command).returncode == 3 and time.monotonic() - start < 10
