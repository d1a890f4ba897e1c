"""What verify looks for is what the rules make."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from arbitrage.config.load import load_study
from arbitrage.runtime.outputs import results

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("name", ["lab-full", "llama3-4bit-8b-8b"])  # the second: GPTQ, a value head, many shards
def test_the_results_of_a_study_are_the_outputs_of_its_rules(name: str, tmp_path: Path) -> None:
    files = ["config.yaml", f"studies/{name}.yaml"]
    listing = [sys.executable, "-m", "snakemake", "--cores", "1", "--summary"]
    done = subprocess.run(
        [*listing, "--configfile", files[1], "--config", f"results={tmp_path}"],
        cwd=ROOT,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    made = {line.split("\t")[0] for line in done.stdout.splitlines()[1:]}
    study = load_study([ROOT / file for file in files], {"results": str(tmp_path)})
    assert made == {f"{study.folder}/{result.path}" for result in results(study)}
