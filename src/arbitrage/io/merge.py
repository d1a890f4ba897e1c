"""The shards of a table joined into one, piece by piece."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from arbitrage.io.tables import BATCH, TableError, read_batches, table_writer


def merge_tables(paths: Sequence[Path], name: str, out: Path) -> None:
    """Join tables `name`, each in the order of its `question_id`s, into one that is too, without holding them whole.

    Rows of one question keep their order. Raises TableError where a table is not in that order.
    """
    waiting: list[pa.RecordBatch] = []
    rows = 0
    with table_writer(out, name) as write:
        for _, run in heapq.merge(*(_runs(path, name) for path in paths), key=lambda each: each[0]):
            waiting.append(run)
            rows += run.num_rows
            if rows >= BATCH:
                write(pa.Table.from_batches(waiting))
                waiting, rows = [], 0
        if waiting:
            write(pa.Table.from_batches(waiting))


def _runs(path: Path, name: str) -> Iterator[tuple[str, pa.RecordBatch]]:
    """The rows of a table question by question; in two runs where a batch ends inside a question."""
    last = ""
    for batch in read_batches(path, name):
        runs = pc.run_end_encode(batch.column("question_id"))
        start = 0
        for question, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
            if question < last:
                raise TableError(
                    f"{path}: question {question} comes after {last}, but shards are in order; delete it and run again"
                )
            yield question, batch.slice(start, end - start)
            last, start = question, end
