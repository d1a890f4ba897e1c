"""Rows of question files, whatever their format, each with the words by which a message names it."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from arbitrage.questions.normal_form import QuestionError

Row = dict[str, Any]

FORMATS = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
_FOREIGN = {b"PK\x03\x04": "a ZIP archive", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def file_rows(path: str) -> Iterator[tuple[str, Row]]:
    """(where the row stands, for messages; its columns) of every row of a local file, in order.

    The format is told by the name (`FORMATS`, then `.gz` or not; anything else is taken for JSON lines), the
    packing by the first bytes. Raises QuestionError, with file and line, for what cannot be read.
    """
    if not Path(path).is_file():
        raise QuestionError(f"{path}: no such file; give `path` a file of questions ({', '.join(FORMATS)})")
    with Path(path).open("rb") as stream:
        start = stream.read(8)
    for magic, name in _FOREIGN.items():
        if start.startswith(magic):
            raise QuestionError(f"{path}: it is {name}; unpack it, or pack it with gzip")
    if start.startswith(_UTF16):
        raise QuestionError(f"{path}: it is UTF-16, expected UTF-8; convert it (iconv -f UTF-16 -t UTF-8)")
    kind = Path(path.lower().removesuffix(".gz")).suffix
    if kind == ".parquet" or start.startswith(_PARQUET):
        return _parquet_rows(path)
    read = {".csv": _csv_rows, ".tsv": _tsv_rows, ".json": _json_rows}.get(kind, _jsonl_rows)
    return _unpacked(path, read, start.startswith(_GZIP))


def _unpacked(path: str, read: Any, packed: bool) -> Iterator[tuple[str, Row]]:
    try:
        with gzip.open(path) if packed else Path(path).open("rb") as stream:
            yield from read(path, stream)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise QuestionError(f"{path}: it is packed with gzip, and damaged ({error}); get it again") from error


def _lines(path: str, stream: IO[bytes]) -> Iterator[str]:
    """The lines of a UTF-8 file. A byte order mark at its start is passed over."""
    for number, line in enumerate(stream, start=1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise QuestionError(
                f"{path}, line {number}: byte {error.start + 1} (0x{line[error.start]:02x}) is not UTF-8; convert the "
                "file (from Latin-1: iconv -f LATIN1 -t UTF-8)"
            ) from error


def _jsonl_rows(path: str, stream: IO[bytes]) -> Iterator[tuple[str, Row]]:
    for number, line in enumerate(_lines(path, stream), start=1):
        if line.strip():
            where = f"{path}, line {number}"
            yield where, _object(_parsed(where, line, "give one object a line"), where)


def _json_rows(path: str, stream: IO[bytes]) -> Iterator[tuple[str, Row]]:
    """A list of objects; or, as many write it under this name too, an object a line."""
    text = "".join(_lines(path, stream))
    if not text.lstrip().startswith("["):
        yield from _jsonl_rows(path, io.BytesIO(text.encode("utf-8", "surrogatepass")))
        return
    for number, row in enumerate(_parsed(path, text, "correct it"), start=1):
        where = f"{path}, entry {number}"
        yield where, _object(row, where)


def _parsed(where: str, text: str, remedy: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise QuestionError(f"{where}: not JSON ({error}); {remedy}") from error


def _once(pairs: list[tuple[str, Any]]) -> Row:
    """An object of JSON, whose names have to differ: Python would take the last of two."""
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is given twice in one object")
    return dict(pairs)


def _object(row: Any, where: str) -> Row:
    if not isinstance(row, dict):
        raise QuestionError(
            f"{where}: a {type(row).__name__}, expected an object with columns; a list of objects is read from `.json`"
        )
    return row


def _tsv_rows(path: str, stream: IO[bytes]) -> Iterator[tuple[str, Row]]:
    return _csv_rows(path, stream, "\t")


def _csv_rows(path: str, stream: IO[bytes], delimiter: str = ",") -> Iterator[tuple[str, Row]]:
    """Rows of a table with a header; every value is a text, and an empty one is absent."""
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader(_lines(path, stream), delimiter=delimiter, strict=True)
    try:
        header = next(reader, [])
        twice = sorted({name for name in header if header.count(name) > 1})
        if twice:
            raise QuestionError(f"{path}: its header names the column {twice[0]!r} twice; rename one")
        for values in reader:
            if not values:
                continue
            where = f"{path}, line {reader.line_num}"
            if len(values) != len(header):
                raise QuestionError(
                    f"{where}: {len(values)} values under a header of {len(header)}; put values with commas in quotes"
                )
            yield where, dict(zip(header, values, strict=True))
    except csv.Error as error:
        raise QuestionError(f"{path}, line {reader.line_num}: not CSV ({error}); correct it") from error


def _parquet_rows(path: str) -> Iterator[tuple[str, Row]]:
    number = 0
    try:
        file = pq.ParquetFile(path)
        for batch in file.iter_batches(batch_size=10_000):
            for row in batch.to_pylist():
                yield f"{path}, row {number}", row
                number += 1
    except UnicodeDecodeError as error:
        raise QuestionError(f"{path}, after row {number}: text that is not UTF-8 ({error}); write it anew") from error
    except (pa.ArrowException, OSError) as error:
        raise QuestionError(f"{path}: not a readable Parquet file ({error}); get it again") from error


def hub_rows(dataset: str, subset: str | None, split: str, revision: str) -> Iterable[tuple[str, Row]]:
    """(where the row stands, its columns) of a data set of the hub. Raises QuestionError where it cannot be loaded."""
    import datasets  # slow to import, and needed for hub data sets alone

    try:
        table = datasets.load_dataset(dataset, subset, split=split, revision=revision)
    except Exception as error:  # the hub's client raises dozens of kinds: offline, unknown revision, no such subset
        raise QuestionError(
            f"{dataset} (revision {revision}): cannot be loaded ({' '.join(str(error).split())}); check the name, the "
            "subset, the split, the revision and the network (`arbitrage fetch` gets it where there is one), or give a "
            "local `path`"
        ) from error
    return ((f"{dataset}, row {number}", row) for number, row in enumerate(table))
