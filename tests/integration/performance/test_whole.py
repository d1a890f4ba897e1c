from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SIZES = {
    "sweep": ["--questions", "2", "--timed", "1", "--runs", "1"],
    "engine": ["--questions", "6", "--steps", "2", "--runs", "1"],
    "live": ["--questions", "1", "--runs", "1"],
}


@pytest.mark.extra  # for its time alone
@pytest.mark.models
@pytest.mark.parametrize("name", SIZES)
def test_a_benchmark_runs_on_the_shipped_models_whole(name: str, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    command = [sys.executable, "-m", f"performance.{name}", *SIZES[name], "--out", str(out)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    whole = json.loads(out.read_text())
    same = [each for each in whole["findings"] if "text" in each["measure"]]
    assert same and all(each["met"] for each in same)  # what they compare must be the same text
