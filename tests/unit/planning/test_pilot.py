"""The pilot runs the real stages on the lab's models, leaves the study's results alone, and ends with its process."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from arbitrage.cli.stages import register_lab
from arbitrage.config.load import load_study
from arbitrage.config.study import Study
from arbitrage.io.tables import read_table
from arbitrage.planning import pilot
from arbitrage.planning.pilot import PlanError, _finished
from arbitrage.planning.plan import Plan
from tests.support.quick import serve


def study_of(folder: Path) -> Study:
    """The lab's pair `small` on two questions of labelling and two of labolympiad, without a router."""
    register_lab()
    overrides = {
        "results": str(folder / "results"),
        "questions": {"sample": 2, "pool": 60},
        "benchmarks": {"labolympiad": {"limit": 2}},
        "sweep": {"thresholds": [0.5]},
        "router": {"variants": {"ahead": {"kind": "scalars", "labels": "lookahead"}, "probe": {"kind": "probe"}}},
    }
    study = load_study([Path("config.yaml")], overrides)
    pair = study.pairs["small"].model_copy(update={"latency": False})
    benchmarks = {"labolympiad": study.benchmarks["labolympiad"]}
    sweep = study.sweep.model_copy(update={"policies": ["draft_only", "rsd"]})
    return study.model_copy(update={"pairs": {"small": pair}, "benchmarks": benchmarks, "sweep": sweep})


@pytest.mark.models
@pytest.mark.timeout(600)
def test_with_every_question_in_the_pilot_the_plan_is_what_the_stages_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve() as quick:
        monkeypatch.setattr(pilot, "ARBITRAGE", (str(quick / "arbitrage"),))
        check_plan(tmp_path)


def check_plan(tmp_path: Path) -> None:
    plan = Plan(study_of(tmp_path), 2, tmp_path / "pilot", lambda text: None)
    rounds = plan.rounds()
    bound = next(rounds)
    assert "bound" in bound and {cost.questions for cost in plan.costs()} == {0}
    limits = {cost.stage: cost.units for cost in plan.costs()}
    titles = list(rounds)
    assert titles[-1] == "estimate from 2 questions of each set"
    costs = {cost.stage: cost for cost in plan.costs()}
    steps, swept = costs["label small"], costs["sweep labolympiad small"]
    assert (steps.questions, swept.questions) == (2, 2) and steps.error == swept.error == 0.0
    ahead = costs["lookahead small"]
    assert ahead.jobs == steps.jobs and ahead.questions == 2 and ahead.units["draft"] == ahead.units["prm"] == 0
    read = costs["states small"]
    assert read.jobs == steps.jobs and read.questions == 2 and read.units["draft"] == 0 and read.disk > 0
    folders = sorted((tmp_path / "pilot" / "small").glob("to-*/lab"))
    rows = [row for folder in folders for row in read_table(folder / "steps" / "small.parquet", "steps")]
    assert steps.units["prm"] <= 2 * len(rows)  # a text both models write in one context is scored once
    assert 0 < steps.low_s <= steps.high_s and steps.disk > 0 and steps.memory > 0
    for stage, most in limits.items():
        assert all(0 < costs[stage].units[model] < value for model, value in most.items()), stage
    assert not (tmp_path / "results").exists()


def test_a_command_that_fails_is_told_by_its_own_last_line(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; print('some'); sys.exit('arbitrage: no such pair')"]
    with pytest.raises(PlanError, match=r"the pilot failed: no such pair"):
        _finished(command, tmp_path / "steps.parquet")


def test_a_command_tells_its_memory_and_is_ended_with_all_it_started(tmp_path: Path) -> None:
    assert _finished([sys.executable, "-c", "held = b'x' * 200_000_000"], tmp_path / "out") > 200_000_000
    child = "import subprocess, time; subprocess.Popen(['sleep', '987']); time.sleep(987)"
    source = (
        "import signal, sys; from pathlib import Path; from arbitrage.planning.pilot import _finished\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs ignore it
        f"_finished([sys.executable, '-c', {child!r}], Path({str(tmp_path / 'job')!r}))"
    )
    runner = subprocess.Popen([sys.executable, "-c", source], stderr=subprocess.DEVNULL)
    family: list[psutil.Process] = []
    deadline = time.monotonic() + 60
    while len(family) < 2 and time.monotonic() < deadline:
        family = psutil.Process(runner.pid).children(recursive=True)
        time.sleep(0.1)
    os.kill(runner.pid, signal.SIGINT)
    assert len(family) == 2 and runner.wait(60) != 0
    assert not [each for each in psutil.wait_procs(family, timeout=10)[1] if each.is_running()]
