"""Where a checkpoint or data set is: here, in the hub's cache, on the hub, behind a licence, or nowhere.

Nothing large is fetched: of a checkpoint only configuration and tokenizer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from arbitrage.config.messages import shown
from arbitrage.config.revisions import HUB_ID
from arbitrage.engines.checkpoints import PICKLED_FILES, SMALL_FILES, resolve
from arbitrage.engines.checkpoints import Checkpoint as Files
from arbitrage.engines.weight_files import weight_bytes
from arbitrage.speculation.protocols import EngineError


class UnreachableError(Exception):
    """A checkpoint or data set that a job could not get; the message says why and what to do."""


@dataclass(frozen=True)
class Checkpoint:
    """directory: configuration and tokenizer; weights: bytes of its weights, None where unknown; location: in words."""

    directory: Path
    weights: int | None
    location: str

    @cached_property
    def read(self) -> tuple[Any, Any]:
        """Configuration and tokenizer, which need no weights. Raises EngineError."""
        files = Files(str(self.directory), self.directory)
        return files.configs()[0], files.tokenizer()


def checkpoint(path: str, revision: str | None, weights: bool = True, pickled: bool = False) -> Checkpoint:
    """Find a checkpoint; without `weights` one whose weights are not needed here; with `pickled` `.bin` ones will do.

    Raises UnreachableError.
    """
    if Path(path).is_dir():
        try:
            directory = resolve(path, weights=weights, pickled=pickled).directory
        except EngineError as error:
            raise UnreachableError(str(error)) from error
        return Checkpoint(directory, weight_bytes(directory, pickled), "local directory")
    if not HUB_ID.fullmatch(path):
        raise UnreachableError(f"expected a directory, or a hub id (owner/name); {shown(path)} is neither")
    cached = _cached(path, revision, weights, pickled)
    if cached is not None:
        return Checkpoint(cached, weight_bytes(cached, pickled), "in the hub's cache")
    try:
        info = HfApi().model_info(path, revision=revision, files_metadata=True)
        directory = Path(snapshot_download(path, revision=revision, allow_patterns=SMALL_FILES))
    except Exception as error:
        raise UnreachableError(_reason(f"{path}@{revision}", error)) from error
    files = {file.rfilename: file.size or 0 for file in info.siblings or []}
    sizes = _sizes(files, "model*.safetensors") or (_sizes(files, PICKLED_FILES) if pickled else [])
    if weights and not sizes:
        raise UnreachableError(
            f"{path}@{revision} has no model*.safetensors, the only weights that are loaded: convert it, and give the "
            "directory"
        )
    return Checkpoint(directory, sum(sizes) or None, f"on the hub, {sum(sizes) / 2**30:.1f} GiB of weights to fetch")


def _sizes(files: Mapping[str, int], pattern: str) -> list[int]:
    return [size for name, size in files.items() if fnmatchcase(name, pattern)]


def _cached(path: str, revision: str | None, weights: bool, pickled: bool) -> Path | None:
    """Where a checkpoint is in the hub's cache, with all that a job needs; None where something is missing.

    Only what is needed is asked for: the cache knows which files of a repository it lacks, and minds.
    """
    for patterns in ([*SMALL_FILES, "model*.safetensors"], [*SMALL_FILES, PICKLED_FILES] if pickled else None):
        patterns_needed = SMALL_FILES if not weights else patterns
        try:
            directory = patterns_needed and Path(
                snapshot_download(path, revision=revision, allow_patterns=patterns_needed, local_files_only=True)
            )
        except (OSError, ValueError):
            continue
        if directory and (not weights or weight_bytes(directory, pickled) is not None):
            return directory
    return None


def dataset(name: str, revision: str | None) -> str:
    """Where a hub data set is, in words. Raises UnreachableError."""
    from datasets.config import HF_DATASETS_CACHE

    if revision and any(Path(HF_DATASETS_CACHE).glob(f"*/*/*/{revision}")):
        return "prepared in the cache"
    try:
        snapshot_download(name, revision=revision, repo_type="dataset", local_files_only=True)
        return "in the hub's cache"
    except (OSError, ValueError):
        pass
    try:
        HfApi().dataset_info(name, revision=revision)
    except Exception as error:
        raise UnreachableError(_reason(f"{name}@{revision}", error)) from error
    return "on the hub"


def _reason(subject: str, error: Any) -> str:
    if isinstance(error, GatedRepoError):
        return f"{subject} is gated: accept its licence on the hub and log in (`hf auth login`, or HF_TOKEN)"
    if isinstance(error, RevisionNotFoundError):
        return f"{subject}: the hub has no such revision; correct it"
    if isinstance(error, RepositoryNotFoundError):
        return f"{subject}: the hub has no such repository, or it is private: correct the id, or log in"
    if isinstance(error, OfflineModeIsEnabled):
        return f"{subject} is not in the cache, and HF_HUB_OFFLINE forbids to fetch it: download it once, or unset that"
    if isinstance(error, HfHubHTTPError):
        return f"{subject}: the hub answers {error.response.status_code}; try again later"
    return (
        f"{subject} is neither here nor in the cache, and the hub cannot be reached ({type(error).__name__}: {error}): "
        "download it where there is a network, or give a local path"
    )
