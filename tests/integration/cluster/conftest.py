"""A real Slurm on this machine, and a small study run without it and through it, once for all tests of this folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
CONFIG = ["--configfile", "tests/integration/cluster/study.yaml"]
# One machine, no accounting daemon, and no wish to wait: all else is the profile's.
SUBMIT = ["--workflow-profile", "profiles/slurm", "--slurm-status-command", "squeue", "--latency-wait", "5"]
SUBMIT += ["--slurm-init-seconds-before-status-checks", "5", "--seconds-between-status-checks", "1"]


def environment() -> dict[str, str]:
    """The tests' own interpreter and package first; not inside another run; one thread a process."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ARBITRAGE_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return kept | {"PATH": path, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}


def command(results: Path, *arguments: str, config: tuple[str, ...] = ()) -> list[str]:
    """Snakemake on the cluster study, with its results below `results`."""
    snakemake = [sys.executable, "-m", "snakemake", *CONFIG, *arguments]
    return [*snakemake, "--config", f"results={results}", *config]


def run(results: Path, *arguments: str, config: tuple[str, ...] = ()) -> Path:
    """Run the cluster study; the folder of its results."""
    done = subprocess.run(
        command(results, *arguments, config=config),
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return results / "cluster"


@dataclass(frozen=True)
class Slurm:
    """A running Slurm; `folder` holds its logs."""

    folder: Path

    def ask(self, *words: str) -> str:
        """What a Slurm command prints."""
        return subprocess.run(words, capture_output=True, text=True, timeout=30, check=True).stdout

    def running(self, rule: str) -> list[str]:
        """Ids of running jobs of `rule`."""
        lines = self.ask("squeue", "--noheader", "--states=R", "--format=%A %k").splitlines()
        return [line.split()[0] for line in lines if line.split()[1].startswith(f"rule_{rule}_")]

    def job(self, number: str) -> dict[str, str]:
        """Everything Slurm knows of a job, running or finished."""
        return dict(re.findall(r"(\w+)=(\S*)", self.ask("scontrol", "show", "job", number, "--oneliner")))


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    missing = [name for name in ("slurmctld", "slurmd", "sbatch", "munged") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} missing: install slurmctld, slurmd, slurm-client and munge")
    if find_spec("snakemake_executor_plugin_slurm") is None:
        pytest.skip("snakemake-executor-plugin-slurm missing: make test-cluster installs it")
    if os.geteuid() != 0:
        pytest.skip("Slurm's daemons and device nodes need root")
    folder = tmp_path_factory.mktemp("slurm")
    try:
        subprocess.run([HERE / "slurm_up.sh", folder], check=True, timeout=60)
        yield Slurm(folder)
    finally:
        subprocess.run([HERE / "slurm_down.sh", folder], check=True, timeout=60)


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory, slurm: Slurm) -> Path:
    """The cluster study without a cluster. Asks for `slurm` only to be skipped where there is none."""
    return run(tmp_path_factory.mktemp("local"), "--cores", "2")


@pytest.fixture(scope="session")
def submitted(tmp_path_factory: pytest.TempPathFactory, slurm: Slurm) -> Path:
    """The same study with the Slurm profile."""
    return run(tmp_path_factory.mktemp("submitted"), *SUBMIT)
