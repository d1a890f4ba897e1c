"""Real vLLM servers, started by a job: a stage through them, a job that is killed, a server that is."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import arbitrage.lab
from arbitrage.config.load import write_resolved
from arbitrage.config.study import Study
from arbitrage.engines.factory import open_pair
from arbitrage.engines.server import launch
from arbitrage.io.tables import read_table, write_table
from arbitrage.lab.register import register_sources
from arbitrage.quantisation.rounding import quantise_directory
from arbitrage.questions.sampling import benchmark_questions
from arbitrage.speculation.protocols import EngineError
from arbitrage.stages.label import label
from arbitrage.stages.solve import open_decoder, solve

pytestmark = [pytest.mark.extra, pytest.mark.models, pytest.mark.timeout(900)]
ZOO = Path(arbitrage.lab.__file__).parent / "zoo"
JOB = """
import sys
from pathlib import Path
from arbitrage.engines.factory import open_pair
from arbitrage.config.load import read_resolved
with open_pair(read_resolved(Path(sys.argv[1])), "small") as (draft, target):
    print("open", flush=True)
    while True:
        target.generate([target.prompt_ids("What is 3 + 4?")], [50])
"""


Leftover = Callable[[], list[psutil.Process]]


@pytest.fixture(autouse=True)
def _needs_vllm() -> None:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("needs vLLM (docs/engines.md)")


@pytest.fixture
def leftover() -> Leftover:
    """Server processes of this user that have come up since the test began, their supervisors first."""
    before = _servers()
    return lambda: [process for process in _servers() if process not in before]


def _servers() -> list[psutil.Process]:
    mine = (each for each in psutil.process_iter(["cmdline", "uids"]) if each.info["uids"].real == os.getuid())
    return [process for process in mine if launch.MODULE in (process.info["cmdline"] or ())]


def study(results: Path, engine: str) -> Study:
    """The lab's draft with its weights rounded, and itself as target: on CPUs vLLM knows no heads as wide as those of
    the lab's target."""
    rounded = results / "rounded"
    if not rounded.exists():
        quantise_directory(ZOO / "draft", rounded, bits=4, group_size=32)

    def model(path: Path) -> dict[str, Any]:
        return {"path": str(path), "engine": engine, "vllm": {"cache_gib": 0.0625, "eager": True}}

    return Study.model_validate(
        {
            "results": str(results / engine),
            "study": "lab",
            "models": {"draft": model(rounded), "target": model(ZOO / "draft")},
            "pairs": {"small": {"draft": "draft", "target": "target"}},
            "prm": {"path": str(ZOO / "prm")},
            "benchmarks": {"lab500": {"source": "lab500", "limit": 6}},
            "steps": {"questions_per_job": 6, "chunk": 6},
            "questions": {"sample": 6, "pool": 60},
        }
    )


def test_a_stage_through_servers_writes_the_table_that_it_writes_in_process(tmp_path: Path, leftover: Leftover) -> None:
    register_sources()
    tables, solutions = {}, {}
    for engine in ("transformers", "openai"):
        here = study(tmp_path, engine)
        questions, out = tmp_path / f"{engine}-questions.parquet", tmp_path / f"{engine}.parquet"
        write_table(questions, "questions", benchmark_questions(here.study, "lab500", here.benchmarks["lab500"], 42))
        label(here, "small", 0, questions, out)
        tables[engine] = read_table(out, "steps")
        with open_decoder(here, "small", routers=()) as decoder:
            solutions[engine] = solve(decoder, tables[engine][0]["problem"], policy="rsd", threshold=0.9)
    for served, plain in zip(tables["openai"], tables["transformers"], strict=True):
        confidence = plain.pop("draft_confidence")
        assert served.pop("draft_confidence") == pytest.approx(confidence, abs=1e-4)
        assert served == plain
    assert len({row["question_id"] for row in tables["transformers"]}) == 6
    assert solutions["openai"].text == solutions["transformers"].text
    costs, plain_costs = solutions["openai"].costs, solutions["transformers"].costs
    assert (costs.draft_tokens, costs.target_tokens) == (plain_costs.draft_tokens, plain_costs.target_tokens)
    assert 0 < costs.catch_up_s < solutions["openai"].wall_s
    assert not leftover()


def test_a_killed_job_leaves_no_server(tmp_path: Path, leftover: Leftover) -> None:
    resolved = write_resolved(study(tmp_path, "openai"))
    job = subprocess.Popen([sys.executable, "-c", JOB, str(resolved)], stdout=subprocess.PIPE, text=True)
    assert job.stdout is not None and job.stdout.readline() == "open\n"
    family = psutil.Process(job.pid).children(recursive=True)
    assert sum(launch.MODULE in process.cmdline() for process in family) >= 2
    os.kill(job.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(family, timeout=15)
    assert not alive and not leftover()
    job.wait()
    job.stdout.close()


def test_a_server_killed_in_mid_run_is_an_error_that_shows_its_log(tmp_path: Path, leftover: Leftover) -> None:
    with open_pair(study(tmp_path, "openai"), "small") as (draft, _):
        victims = [process for process in leftover() if str(tmp_path / "rounded") in process.cmdline()]
        death = threading.Timer(1.0, victims[-1].kill)
        death.start()
        with pytest.raises(EngineError, match=r"(?s)models\.draft: its vLLM server ended with status.*draft-\d+\.log"):
            for length in range(1, 10_000):
                draft.generate([draft.prompt_ids("What is 3 + 4?" + " " * (length % 200))] * 64, [900] * 64)
    assert not leftover()
