"""Can every table of a study be read, and has it the columns its stage promises?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from arbitrage.io.tables import TableError, read_batches
from arbitrage.publishing.mismatches import Finding
from arbitrage.runtime.outputs import Result
from arbitrage.runtime.paths import TRAIN, VALIDATION


def schema_findings(folder: Path, results: Iterable[Result]) -> Iterator[Finding]:
    """Findings on the Parquet tables among `results`; every page of them is read, so that its checksum is compared."""
    for result in results:
        for name, table in tables_in(result):
            try:
                for _ in read_batches(folder / name, table):
                    pass
            except TableError as error:
                yield Finding("broken", result.path, str(error).removeprefix(f"{folder / result.path}: "))


def tables_in(result: Result) -> list[tuple[str, str]]:
    """The Parquet tables that a result is or holds: path in the study's folder, and schema."""
    if result.path.endswith("/dataset"):
        return [(f"{result.path}/{name}", "examples") for name in (TRAIN, VALIDATION)]
    return [(result.path, result.table)] if result.table else []
