"""Where a checkpoint or data set is: here, in the hub's cache, on the hub, behind a licence, or nowhere.

Nothing large is fetched: of a checkpoint only configuration and tokenizer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from arbitrage.engines.checkpoints import resolve
from arbitrage.speculation.protocols import EngineError

SMALL_FILES = ["*.json", "*.jinja", "*.txt", "*.model"]


class UnreachableError(Exception):
    """A checkpoint or data set that a job could not get; the message says why and what to do."""


@dataclass(frozen=True)
class Checkpoint:
    """directory: configuration and tokenizer; weights: bytes of its weights, None where unknown; place: in words."""

    directory: Path
    weights: int | None
    place: str


def checkpoint(path: str, revision: str | None, weights: bool = True) -> Checkpoint:
    """Find a checkpoint; without `weights` one whose weights are not needed here. Raises UnreachableError."""
    if Path(path).is_dir():
        try:
            return Checkpoint(resolve(path, weights=weights), weight_bytes(Path(path)), "local directory")
        except EngineError as error:
            raise UnreachableError(str(error)) from error
    try:
        cached = Path(snapshot_download(path, revision=revision, local_files_only=True))
        if weight_bytes(cached) is not None or not weights:
            return Checkpoint(cached, weight_bytes(cached), "in the hub's cache")
    except (LocalEntryNotFoundError, OSError, ValueError):
        pass
    try:
        info = HfApi().model_info(path, revision=revision, files_metadata=True)
        directory = Path(snapshot_download(path, revision=revision, allow_patterns=SMALL_FILES))
    except Exception as error:
        raise UnreachableError(_reason(f"{path}@{revision}", error)) from error
    sizes = [file.size or 0 for file in info.siblings or [] if file.rfilename.endswith(".safetensors")]
    if weights and not sizes:
        raise UnreachableError(
            f"{path}@{revision} has no *.safetensors, the only weights that are loaded: convert it, and give the "
            "directory"
        )
    return Checkpoint(directory, sum(sizes) or None, f"on the hub, {sum(sizes) / 2**30:.1f} GiB of weights to fetch")


def dataset(name: str, revision: str | None) -> str:
    """Where a hub data set is, in words. Raises UnreachableError."""
    try:
        snapshot_download(name, revision=revision, repo_type="dataset", local_files_only=True)
        return "in the hub's cache"
    except (LocalEntryNotFoundError, OSError, ValueError):
        pass
    try:
        HfApi().dataset_info(name, revision=revision)
    except Exception as error:
        raise UnreachableError(_reason(f"{name}@{revision}", error)) from error
    return "on the hub"


def weight_bytes(directory: Path) -> int | None:
    """Bytes of the weight files of a directory; None where it has none, or its index names one that is missing."""
    index = directory / "model.safetensors.index.json"
    names: set[str] = set(json.loads(index.read_text())["weight_map"].values()) if index.is_file() else set()
    files = [directory / name for name in names] or [*directory.glob("*.safetensors")]
    if not files or not all(file.is_file() for file in files):
        return None
    return sum(file.stat().st_size for file in files)


def _reason(what: str, fault: Any) -> str:
    if isinstance(fault, GatedRepoError):
        return f"{what} is gated: accept its licence on the hub and log in (`hf auth login`, or HF_TOKEN)"
    if isinstance(fault, RevisionNotFoundError):
        return f"{what}: the hub has no such revision; correct it"
    if isinstance(fault, RepositoryNotFoundError):
        return f"{what}: the hub has no such repository, or it is private: correct the id, or log in"
    if isinstance(fault, OfflineModeIsEnabled):
        return f"{what} is not in the cache, and HF_HUB_OFFLINE forbids to fetch it: download it once, or unset that"
    if isinstance(fault, HfHubHTTPError):
        return f"{what}: the hub answers {fault.response.status_code}; try again later"
    return (
        f"{what} is neither here nor in the cache, and the hub cannot be reached ({type(fault).__name__}: {fault}): "
        "download it where there is a network, or give a local path"
    )
