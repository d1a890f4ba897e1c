"""How many rows a local file of questions has, to cut a benchmark into jobs before anything has read it."""

from __future__ import annotations

import csv
import gzip
import io
import json
from functools import lru_cache
from pathlib import Path

LARGEST = 2**26  # bytes; what is larger is not counted


def count_rows(path: str) -> int | None:
    """Rows of a file as `questions.files` reads it; None where it is not here, too large, or cannot be read."""
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        return None
    return None if status.st_size > LARGEST else _count(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _count(path: str, size: int, mtime_ns: int) -> int | None:
    """Of a file of this size and time; what is wrong with it, whoever reads it for good will say."""
    name = path.lower().removesuffix(".gz")
    try:
        if name.endswith(".parquet"):
            from pyarrow.parquet import read_metadata  # not needed for most studies

            return int(read_metadata(path).num_rows)
        data = Path(path).read_bytes()
        text = (gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data).decode("utf-8-sig", "replace")
        if name.endswith((".csv", ".tsv")):
            rows = csv.reader(io.StringIO(text, newline=""), delimiter="\t" if name.endswith(".tsv") else ",")
            return max(sum(bool(row) for row in rows) - 1, 0)
        if name.endswith(".json") and text.lstrip().startswith("["):
            return len(json.loads(text))
        return sum(bool(line.strip()) for line in text.split("\n"))
    except Exception:
        return None
