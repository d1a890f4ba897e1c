"""Digests of a study's canonical tables: proof that a change of structure changed no result.

    python -m tests.support.digests results/smoke

writes down those of a finished smoke study in tests/integration/study/smoke_digests.json, under this kind of machine:
sums in float32 come out otherwise on another processor or with another release of torch, so digests hold for one kind
only, and `test_smoke_study` compares them where there are some for its own. Write them anew, and say why in the commit,
where a change is meant to change results.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from importlib.metadata import version
from pathlib import Path

FILE = Path(__file__).parents[1] / "integration" / "study" / "smoke_digests.json"
TABLES = ("questions/*.parquet", "steps/*.parquet", "trajectories/*/*.parquet", "router/*.csv", "curves/*.csv")
TIMED = ("latency", "speedup")  # what a clock decides
PACKAGES = ("torch", "transformers", "numpy", "scipy", "pandas", "pyarrow")


def kind_of_machine() -> str:
    """Processor, its instructions as torch uses them, and the versions of what computes and writes."""
    import torch
    from performance.conditions import processor

    versions = " ".join(f"{package} {version(package)}" for package in PACKAGES)
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{processor()}, {capability}, Python {platform.python_version()}, {versions}"


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each table of a finished study that repeats byte for byte, by its path in `folder`."""
    files = sorted({*(file for pattern in (*TABLES, "tables/*.csv") for file in folder.glob(pattern))})
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
        if not any(word in file.name for word in TIMED)
    }


def known() -> dict[str, dict[str, str]]:
    """Digests that were written down, by kind of machine."""
    return dict(json.loads(FILE.read_text())) if FILE.exists() else {}


if __name__ == "__main__":
    found = {**known(), kind_of_machine(): digests(Path(sys.argv[1]))}
    FILE.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    print(f"{FILE}: {len(found[kind_of_machine()])} tables")
