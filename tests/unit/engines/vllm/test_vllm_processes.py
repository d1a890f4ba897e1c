"""vLLM in processes of its own, as on GPUs, tried with its CPU build: they end with the job, however it ends."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from arbitrage.speculation.protocols import EngineError
from tests.unit.engines.conftest import load
from tests.unit.engines.hf.test_generator import contexts_of
from tests.unit.engines.vllm.test_generator import start, unlike

pytestmark = [pytest.mark.extra, pytest.mark.timeout(300)]

JOB = """
import sys, time, psutil
from pathlib import Path
import arbitrage.engines.vllm.generator
from tests.unit.engines.vllm.test_generator import start
arbitrage.engines.vllm.generator.runs_here = lambda model: False
vllm = start(Path(sys.argv[1]))
print("family", *(each.pid for each in psutil.Process().children(recursive=True)), flush=True)
time.sleep(600)
"""


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM in processes of its own, as on GPUs."""
    monkeypatch.setattr("arbitrage.engines.vllm.generator.runs_here", lambda model: False)


@pytest.mark.usefixtures("apart")
def test_an_engine_process_writes_the_same_and_is_gone_after_closing_or_an_error_when_it_dies(wide_root: Path) -> None:
    directory = wide_root / "llama-bpe"
    reference = load(directory)
    contexts = contexts_of(reference, 20)
    with closing(start(directory)) as vllm:
        assert unlike(vllm.generate(contexts, [30] * 20), reference.generate(contexts, [30] * 20)) == []
        children = psutil.Process().children(recursive=True)
        (core,) = (each for each in children if "EngineCore" in each.name())
        core.kill()
        with pytest.raises(EngineError, match=r"models\.test: vLLM failed \(EngineDeadError"):
            vllm.generate(contexts, [30] * 20)
    assert not core.is_running() or core.status() == psutil.STATUS_ZOMBIE


def test_a_killed_job_leaves_no_engine_process_behind(wide_root: Path) -> None:
    pytest.importorskip("vllm", reason="needs vLLM's CPU build (make test-all)")
    job = subprocess.Popen([sys.executable, "-c", JOB, str(wide_root / "llama-bpe")], stdout=subprocess.PIPE, text=True)
    assert job.stdout is not None
    told = next(line for line in job.stdout if line.startswith("family"))  # vLLM prints its warnings there too
    family = [psutil.Process(int(pid)) for pid in told.split()[1:]]
    assert any("EngineCore" in each.name() for each in family)
    job.kill()
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not alive
    job.wait()
    job.stdout.close()
