"""Models and data before GPUs are taken: fetched into the hub's cache where they are not, checked, and sized.

A job then finds everything on disk. What is local is only checked; a study of local models needs no network.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from arbitrage.config.questions import Benchmark, Questions, is_generated
from arbitrage.config.revisions import HubEntry, hub_entries
from arbitrage.config.study import Study
from arbitrage.engines.checkpoints import resolve
from arbitrage.engines.weight_files import weight_files
from arbitrage.io.hashes import named_by_hash, read_sha256
from arbitrage.preflight.check_data import LOOKED_AT
from arbitrage.questions.sampling import benchmark_questions
from arbitrage.questions.sources import rows_of
from arbitrage.speculation.protocols import EngineError


@dataclass(frozen=True)
class Fetched:
    """subject: the study's key; source: path or hub id; location: folder or file, None for a data set of the hub;
    bytes: its size on disk, 0 where unknown; detail: what was checked."""

    subject: str
    source: str
    location: Path | None
    bytes: int
    detail: str


def fetch(study: Study, only: HubEntry | None = None, verify: bool = False) -> Iterator[Fetched]:
    """Fetch and check the models and data of a study, one by one; with `only`, what it takes from that repository.

    verify: whether to read every byte of fetched weights and compare it with the hub's hash; else sizes, headers and
    indices are looked at. Raises EngineError or QuestionError for what cannot be had, or is not what it should be.
    """
    for key, path, revision, weights, pickled in _checkpoints(study):
        if only is None or (only.kind, only.name, only.revision) == ("model", path, revision):
            yield _checkpoint(key, path, revision, weights, pickled, verify)
    sources: list[tuple[str, Questions | Benchmark]] = [("questions", study.questions)]
    sources += [(f"benchmarks.{name}", benchmark) for name, benchmark in study.benchmarks.items()]
    for key, source in sources:
        if not is_generated(source.source) and (
            only is None or (only.kind, only.name, only.revision) == ("dataset", source.hub, source.revision)
        ):
            yield _questions(study, key, source)


def entry_of(study: Study, name: str) -> HubEntry | None:
    """The repository of a study whose marker (`HubEntry.file_name`) is called `name`; None where it has none."""
    return next((entry for entry in hub_entries(study) if entry.file_name == name), None)


def _checkpoints(study: Study) -> Iterator[tuple[str, str, str | None, bool, bool]]:
    """(key, path, revision, are its weights needed here, will `.bin` weights do?), each checkpoint once."""
    seen: set[tuple[str, str | None, bool, bool]] = set()
    entries: list[tuple[str, str | None, str | None, bool, bool]] = [
        *(
            (f"models.{name}", each.path, each.revision, each.server.url is None, False)
            for name, each in study.models.items()
        ),
        ("prm", study.prm.path, study.prm.revision, True, study.prm.kind == "value-head"),
        ("router.init", study.router.init, study.router.revision, True, False),
    ]
    for key, path, revision, weights, pickled in entries:
        if path is not None and (path, revision, weights, pickled) not in seen:
            seen.add((path, revision, weights, pickled))
            yield key, path, revision, weights, pickled


def _checkpoint(key: str, path: str, revision: str | None, weights: bool, pickled: bool, verify: bool) -> Fetched:
    directory = resolve(path, revision, key, weights=weights, pickled=pickled).directory
    files = weight_files(directory, pickled) if weights else []
    detail = f"{len(files)} weight files, as their index says" if files else "its weights are a server's"
    if verify:
        hashed = [file for file in files if named_by_hash(file)]
        _verify(path, hashed)
        detail += f"; {len(hashed)} hashes verified"
    every = [file for file in directory.rglob("*") if file.is_file()]
    return Fetched(key, path, directory, sum(file.stat().st_size for file in every), detail)


def _verify(path: str, files: Iterable[Path]) -> None:
    """Raise EngineError where a file of the hub's cache is not what its name says."""
    for file in files:
        if read_sha256(file) != named_by_hash(file):
            raise EngineError(
                f"{path}: {file.name} is damaged: its bytes have another hash than the hub says. Delete "
                f"{file.resolve()} and fetch again"
            )


def _questions(study: Study, key: str, source: Questions | Benchmark) -> Fetched:
    if isinstance(source, Benchmark):
        rows = len(benchmark_questions(study.study, key.partition(".")[2], source, study.seed))
        detail = f"{rows} questions with answers"
    else:
        for _ in islice(rows_of(source, study.seed), LOOKED_AT):
            pass
        detail = "has the columns"
    location = Path(source.path) if source.path else None
    return Fetched(key, source.hub or str(source.path), location, location.stat().st_size if location else 0, detail)
