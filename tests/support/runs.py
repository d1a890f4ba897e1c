"""Runs of the small study in `study.yaml`: started as a user starts them, ended by signals, looked at from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
WANTED = ("summary.md", "tables/table1.csv", "figures/fig3.png")  # they need every rule but `quantise`
TIMED = ("latency", "latencies", "speedup", "routers")  # the last tells the time of a decision


@dataclass(frozen=True)
class Runs:
    """The study in a results folder of its own."""

    results: Path

    @property
    def folder(self) -> Path:
        return self.results / "faults"

    def start(self) -> subprocess.Popen[bytes]:
        """Start it in a session of its own, so that Ctrl-C can be sent to all of it; its words go to `said`."""
        self.results.mkdir(parents=True, exist_ok=True)
        study = "tests/integration/faults/study.yaml"
        snakemake = [sys.executable, "-m", "snakemake", "--cores", "1", "--configfile", study]
        with self.said.open("w") as said:
            return subprocess.Popen(
                [
                    *snakemake,
                    "--config",
                    f"results={self.results}",
                    "--",
                    *(f"{self.folder}/{name}" for name in WANTED),
                ],
                cwd=ROOT,
                env=_environment(),
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # a shell starts what it puts into the background with SIGINT ignored, and children inherit that
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
            )

    @property
    def said(self) -> Path:
        """What the last run printed."""
        return self.results / "said.txt"

    def finish(self) -> None:
        """Run to the end."""
        assert self.start().wait(timeout=600) == 0, self.said.read_text()[-6000:]

    def logs(self) -> list[Path]:
        """The jobs' logs, in the order the jobs ended."""
        return sorted((self.folder / "logs").rglob("*.log"), key=lambda log: log.stat().st_mtime)

    def durable(self) -> dict[Path, float]:
        """Everything finished: outputs with their records, chunks of the step store, sealed checkpoints; and when."""
        records = [
            path.with_name(path.name.removesuffix(".provenance.json")) for path in self._glob("*.provenance.json")
        ]
        kept = [*records, *self._glob("*.parquet"), *self._glob(".checkpoint-*.sha256")]
        return {path: path.stat().st_mtime for path in kept if path.exists() and not path.name.endswith(".tmp")}

    def tables(self) -> dict[str, bytes]:
        """The final results that repeat byte for byte: all but what was timed."""
        patterns = ("curves/*.csv", "tables/*.csv", "router/*.csv", "steps/*.parquet", "trajectories/*/*.parquet")
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for pattern in (*patterns, "router/*/*/*/model/model.safetensors")
            for path in sorted(self.folder.glob(pattern))
            if not any(word in path.name for word in TIMED)
        }

    def leftovers(self) -> list[Path]:
        """What only an unfinished run has."""
        return [*self._glob("*.tmp"), *self._glob("*.training"), *self._glob("*.corrupt")]

    def processes(self) -> list[psutil.Process]:
        """Processes of a run of this study, whoever their parent is now."""
        return [each for each in psutil.process_iter() if str(self.results) in _command(each)]

    def jobs_at_work(self) -> list[psutil.Process]:
        """The `arbitrage` commands among them."""
        return [each for each in self.processes() if "/arbitrage " in _command(each) and "tee" not in _command(each)]

    def _glob(self, pattern: str) -> list[Path]:
        return list(self.results.rglob(pattern))


def _command(process: psutil.Process) -> str:
    try:
        return "" if process.status() == psutil.STATUS_ZOMBIE else " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _environment() -> dict[str, str]:
    """The tests' own interpreter first on the PATH; not inside another run; one thread."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ARBITRAGE_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return kept | {"PATH": path, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def wait_until_gone(runs: Runs, seconds: float) -> list[str]:
    """Commands of processes still there after so many seconds."""
    deadline = time.monotonic() + seconds
    while (left := runs.processes()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return [_command(process) for process in left]
