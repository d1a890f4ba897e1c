"""The smoke study, run once for all tests of this folder, with the very command a user gives."""

import fcntl
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class SmokeStudy:
    """A run of the smoke study in a results folder of its own."""

    results: Path

    @property
    def folder(self) -> Path:
        return self.results / "smoke"

    def command(self, *arguments: str, config: tuple[str, ...] = ()) -> list[str]:
        snakemake = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "studies/smoke.yaml"]
        return [*snakemake, *arguments, "--config", f"results={self.results}", *config]

    def run(self, *arguments: str, config: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments, config=config),
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=900,
        )

    def tables(self) -> dict[str, bytes]:
        """Everything that must repeat byte for byte: curves, tables and summary, but for what was timed."""
        timed = ("latency", "latencies", "speedup", "summary", "routers")  # the last tells the time of a decision
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for pattern in ("curves/*.csv", "tables/*.csv")
            for path in sorted(self.folder.glob(pattern))
            if not any(word in path.name for word in timed)
        }


def environment() -> dict[str, str]:
    """The tests' own interpreter first on the PATH; not inside another run."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ARBITRAGE_RUN")}
    return kept | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> SmokeStudy:
    """One run for all of pytest-xdist's workers: the first to ask runs it, the others wait for it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    study = SmokeStudy(shared / "smoke" / "results")
    with (shared / "smoke.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (study.folder / "summary.md").exists():
            done = study.run()
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return study
