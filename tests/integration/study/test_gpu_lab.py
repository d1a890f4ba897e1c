"""`scripts/gpu_lab.sh`, tiny and on the CPU: stopped by its time limit, and given again until it has finished."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.study.conftest import ROOT, environment
from tests.integration.study.test_zoo_rules import ZOO

pytestmark = [pytest.mark.study, pytest.mark.extra]
SECONDS = (30, 90, 270, 810)  # of one call after the other, until one finishes


def overlay(results: Path) -> dict[str, Any]:
    """What makes `studies/lab-gpu.yaml` a toy on the CPU.

    The zoo it trains has learned too little for its models to differ, so the study has the committed one.
    """
    zoo, cpu = Path("src/arbitrage/lab/zoo"), {"device": "cpu", "batch_size": 16}
    return {
        "study": "toy",
        "results": str(results),
        "models": {name: {"path": str(zoo / name), "dtype": "float32", **cpu} for name in ("draft", "target")},
        "prm": {"path": str(zoo / "prm"), **cpu},
        "questions": {"pool": 100, "sample": 24},
        "benchmarks": {"lab500": {"limit": 3}, "labolympiad": {"limit": 3}},
        "steps": {"shards": 1},
        "router": {"init": str(zoo / "router_start"), "seeds": 1, "training": {"epochs": 1.0}, **cpu},
        "sweep": {"shards": 1},
        "latency": {"questions": 1, "acceptances": [0.5], "warmup": 0, "heldout": 0.5},
        "curves": {"resamples": 20, "points": 10},
        "figures": {"dpi": 50},
        "zoo": {**ZOO, "device": "cpu", "threads": 1},
    }


@pytest.mark.timeout(1500)
def test_a_run_that_is_stopped_by_its_time_limit_goes_on_when_it_is_given_again(tmp_path: Path) -> None:
    results, toy = tmp_path / "results", tmp_path / "toy.yaml"
    toy.write_text(yaml.safe_dump(overlay(results)))

    def call(seconds: int) -> subprocess.CompletedProcess[str]:
        limited = environment() | {"GPU_LAB_SECONDS": str(seconds)}
        command = ["scripts/gpu_lab.sh", str(toy)]
        return subprocess.run(command, cwd=ROOT, env=limited, capture_output=True, text=True, timeout=seconds + 60)

    def records() -> dict[Path, float]:
        return {path: path.stat().st_mtime for path in (results / "toy").rglob("*.provenance.json")}

    done, finished = call(SECONDS[0]), records()
    assert done.returncode == 124 and "give the same command again" in done.stdout, done.stderr[-4000:]
    for seconds in SECONDS[1:]:
        done = call(seconds)
        if done.returncode != 124:
            break
        finished = records() | finished
    assert done.returncode == 0 and "finished" in done.stdout, done.stdout[-2000:] + done.stderr[-6000:]
    assert finished and finished.items() <= records().items()  # what a call had finished, no later one made again
    with tarfile.open(results / "toy-small.tar.gz") as kept:
        names = kept.getnames()
    assert {"./summary.md", "./figures/fig4.png", "./tables/table1.md", "./zoo/prm/training.json"} <= set(names)
    assert all((results / "toy" / name).stat().st_size <= 2**19 for name in names)
