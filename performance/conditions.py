"""What every benchmark here tells beside its numbers: machine, versions, threads, models; and how it reports.

A benchmark ends with `report`: conditions and findings go to the screen and to JSON, from which `python -m performance`
makes its one table.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from arbitrage.io.atomic import write_text

FOLDER = Path("results/benchmarks")
PACKAGES = ("torch", "transformers", "vllm", "pyarrow", "pandas", "numpy")


@dataclass(frozen=True)
class Finding:
    """One measured number. goal: what was asked for, such as ">= 15", and whether it is met; None where nothing was."""

    measure: str
    value: float
    unit: str
    goal: str | None = None
    met: bool | None = None

    @classmethod
    def at_least(cls, measure: str, value: float, unit: str, goal: float) -> Finding:
        """A number that should be `goal` or more."""
        return cls(measure, value, unit, f">= {goal:g}", value >= goal)

    @classmethod
    def at_most(cls, measure: str, value: float, unit: str, goal: float) -> Finding:
        """A number that should be `goal` or less."""
        return cls(measure, value, unit, f"<= {goal:g}", value <= goal)

    def __str__(self) -> str:
        goal = "" if self.goal is None else f" (goal {self.goal}: {'met' if self.met else 'MISSED'})"
        return f"{self.measure}: {self.value:.4g} {self.unit}{goal}"


def conditions(models: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Machine, versions, threads and load at this moment. models: name -> path or identity of each model that runs."""
    return {
        "machine": f"{platform.machine()}, {processor()}, {len(os.sched_getaffinity(0))} cores",
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "threads": os.environ.get("OMP_NUM_THREADS", "not set"),
        "load": round(os.getloadavg()[0], 2),  # of the last minute: above 1 the machine was busy with something else
        "commit": commit(),
        "models": dict(models or {}),
    }


def processor() -> str:
    """Name of the processor, where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "unknown processor")


def commit() -> str:
    """Commit of the working tree, "+" after it where files differ; "unknown" outside a repository."""
    run = ["git", "describe", "--always", "--dirty=+", "--abbrev=10"]
    described = subprocess.run(run, capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
    return described.stdout.strip() or "unknown"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def report(
    name: str, surroundings: Mapping[str, Any], findings: Sequence[Finding], detail: Any, out: Path | None = None
) -> None:
    """Print conditions and findings; write them with `detail` as JSON to `out`, or results/benchmarks/<name>.json."""
    for key, value in surroundings.items():
        print(f"# {key}: {value}")
    for finding in findings:
        print(finding)
    whole = {
        "benchmark": name,
        "conditions": dict(surroundings),
        "findings": [asdict(finding) for finding in findings],
        "detail": detail,
    }
    write_text(out or FOLDER / f"{name}.json", json.dumps(whole, indent=1) + "\n")
