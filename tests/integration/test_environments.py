"""Every environment can be installed: pip resolves its pins, against the package index, without installing anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
LOCK = ["--requirement", str(ROOT / "requirements.lock")]
OTHER_PYTHON = ["--python-version", "3.12", "--only-binary", ":all:"]


def pins(name: str) -> list[str]:
    pip: list[str] = yaml.safe_load((ROOT / "envs" / f"{name}.yaml").read_text())["dependencies"][-1]["pip"]
    return pip


SETS = {
    **{name: pins(name) for name in ("analysis", "training", "vllm", "gptq")},
    "lock": LOCK,
    "Slurm's plugin": ["--no-deps", "--requirement", str(ROOT / "envs" / "slurm.txt")],
    "image with vLLM": ["--constraint", LOCK[1], *LOCK, "vllm>=0.32,<0.33"],  # envs/Dockerfile, EXTRAS=vllm
    "vllm on Python 3.12": [*OTHER_PYTHON, *pins("vllm")],  # of other versions pip reads wheels alone
}


@pytest.mark.extra
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", SETS)
def test_an_environment_resolves(name: str, tmp_path: Path) -> None:
    target = ["--target", str(tmp_path / "target")] if OTHER_PYTHON[0] in SETS[name] else []
    options = ["--dry-run", "--ignore-installed", "--quiet", "--disable-pip-version-check", *target]
    command = [sys.executable, "-m", "pip", "install", *options, *SETS[name]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    if done.returncode and any("Could not find a version" in line or "connection" in line.lower() for line in errors):
        reach = subprocess.run(
            [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(tmp_path), "idna"],
            capture_output=True,
            check=False,
        )
        if reach.returncode:
            pytest.skip("needs a package index")
    assert done.returncode == 0, "\n".join(errors) or done.stderr
