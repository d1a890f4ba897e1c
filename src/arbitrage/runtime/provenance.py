"""Where a result came from: a record beside each output, `<output>.provenance.json`, never inside it.

The outputs stay equal, byte for byte, from run to run; what differs (times, machine, versions) is recorded here.
Nothing heavy is imported: package versions come from their metadata, GPU names from nvidia-smi.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

import arbitrage
from arbitrage.config.load import study_hash
from arbitrage.config.revisions import hub_entries
from arbitrage.config.study import Study
from arbitrage.io.atomic import write_text
from arbitrage.io.hashes import sha256_of
from arbitrage.runtime.memory import peak_gb

SUFFIX = ".provenance.json"
CARD = "README.md"  # tells of a directory, and is no part of what it is
PACKAGES = (
    "accelerate",
    "compressed-tensors",
    "datasets",
    "gguf",
    "latex2sympy2_extended",
    "llmcompressor",
    "math-verify",
    "matplotlib",
    "numpy",
    "pandas",
    "pyarrow",
    "pydantic",
    "safetensors",
    "scipy",
    "snakemake",
    "tokenizers",
    "torch",
    "transformers",
    "vllm",
)


def record(
    outputs: Sequence[Path],
    stage: str,
    study: Study,
    inputs: Sequence[Path],
    models: Mapping[str, str],
    settings: Mapping[str, Any],
    started: float,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write `<output>.provenance.json` beside each finished output (a file or a directory).

    inputs: tables, and directories of checkpoints; models: name to identity (hash of weights, tokenizer and settings)
    of what ran; settings: what the stage read of the study, with the revisions of models and data among it; started:
    `time.time()` when the stage began; extra: whatever else the stage wants to tell, as JSON values. Paths in the
    study's folder are told from there. Raises OSError where an input or an output is missing.
    """
    ended = time.time()
    folder = Path(study.folder)
    common = {
        "stage": stage,
        "study": study.study,
        "study_hash": study_hash(study),
        "seed": study.seed,
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "code": code_version(),
        "inputs": {_relative(path, folder): _input_digest(path) for path in inputs if path.exists()},
        "models": dict(models),
        "hub": {".".join(entry.key[:-1]): str(entry) for entry in hub_entries(study)},
        "settings": dict(settings),
        "packages": _packages(),
        "hardware": _hardware(),
        "job": os.environ.get("SLURM_JOB_ID"),
        "started": _utc(started),
        "ended": _utc(ended),
        "wall_s": round(ended - started, 3),
        "peak_memory_gb": round(peak_gb(), 3),
        **(extra or {}),
    }
    for output in outputs:
        own = {"output": _relative(output, folder), "sha256": digest(output)}
        write_json(record_of(output), {**own, **common})


def record_of(output: Path) -> Path:
    """Where the record of `output` is."""
    return output.with_name(output.name + SUFFIX)


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def _input_digest(path: Path) -> str:
    """What its own record says was written, where it has one: `arbitrage verify` compares that with the bytes."""
    try:
        return str(json.loads(record_of(path).read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return digest(path, reread=False)


def write_json(path: Path, content: Any) -> None:
    """Write `content` as readable JSON, whole or not at all."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def digest(path: Path, reread: bool = True) -> str:
    """sha256 of a file's bytes; of a directory: of the relative names and digests of its files (`files_of`).

    reread: whether to look at every byte, as it takes to find damage; else what is known of large files will do.
    """
    if path.is_dir():
        listing = "".join(f"{digest(file, reread)}  {file.relative_to(path).as_posix()}\n" for file in files_of(path))
        return hashlib.sha256(listing.encode()).hexdigest()
    if not reread:
        return sha256_of(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_of(directory: Path) -> list[Path]:
    """The files that count in a directory, sorted: not a model card, which may be written later, nor hidden files.

    (Snakemake leaves a hidden time stamp in a directory when its rule has ended.)
    """
    inside = ((file, file.relative_to(directory).parts) for file in directory.rglob("*") if file.is_file())
    return sorted(file for file, parts in inside if parts[-1] != CARD and not any(part[0] == "." for part in parts))


@cache
def code_version() -> dict[str, Any]:
    """Version and hash of the package's sources; in a checkout also the commit, and whether tracked files differ."""
    package = Path(arbitrage.__file__).resolve().parent
    checkout = package.parents[1]
    version: dict[str, Any] = {"version": arbitrage.__version__, "commit": None, "modified": None}
    listing = "".join(f"{digest(file)}  {file.relative_to(package)}\n" for file in sorted(package.rglob("*.py")))
    version["sources"] = hashlib.sha256(listing.encode()).hexdigest()
    if not (package.parent.name == "src" and (checkout / ".git").exists()):
        return version  # installed: a repository further up, around the environment, is somebody else's
    status = _output("git", "-C", str(checkout), "status", "--porcelain=v2", "--branch", "--untracked-files=no")
    for line in status:
        if line.startswith("# branch.oid "):
            version["commit"] = line.split()[2]
    if version["commit"]:
        version["modified"] = any(not line.startswith("#") for line in status)
    return version


@cache
def _packages() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


@cache
def _hardware() -> dict[str, Any]:
    """Host, processor, cores of the machine, memory (GiB), and GPUs by name."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return {
        "host": platform.node(),
        "system": platform.platform(),
        "cpu": model or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader"),
    }


def _output(*command: str) -> list[str]:
    """Lines a command prints; none where it is not installed, fails, or takes longer than ten seconds."""
    program = shutil.which(command[0])
    if program is None:
        return []
    try:
        done = subprocess.run([program, *command[1:]], capture_output=True, text=True, timeout=10, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.splitlines()


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
