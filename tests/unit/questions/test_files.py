"""Question files of every format, packed or not, and damaged in the ways that people report."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from arbitrage.config.questions import Benchmark
from arbitrage.questions.files import file_rows
from arbitrage.questions.normal_form import QuestionError
from arbitrage.questions.sources import load

ROWS: list[dict[str, Any]] = [{"problem": "a,\n“b”", "answer": "1"}, {"problem": "c", "answer": "None"}]


def read(path: Path) -> list[dict[str, Any]]:
    return [row for _, row in file_rows(str(path))]


def written(path: Path) -> Path:
    """ROWS in the format of the name."""
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(ROWS), path)
        return path
    if name.endswith((".csv", ".tsv")):
        mark = "," if name.endswith(".csv") else "\t"
        lines = [mark.join(ROWS[0]), *(mark.join(f'"{value}"' for value in row.values()) for row in ROWS)]
        text = "\r\n".join(lines) + "\r\n"
    elif name.endswith(".json"):
        text = json.dumps(ROWS, indent=1, ensure_ascii=False)
    else:
        text = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS)
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return path


@pytest.mark.parametrize(
    "name", ["q.jsonl", "q.json", "q.csv", "q.tsv", "q.parquet", "q.jsonl.gz", "q.json.gz", "q.csv.gz", "Q.JSONL", "q"]
)
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    assert read(written(tmp_path / name)) == ROWS  # a text `None` or `NA` stays one
    assert Benchmark(path=str(tmp_path / name)).size == 2  # so it is cut into jobs by what it has


def test_a_name_may_lie_about_packing_and_format(tmp_path: Path) -> None:
    plain = tmp_path / "q.jsonl.gz"
    plain.write_bytes(written(tmp_path / "q.jsonl").read_bytes())
    lines = tmp_path / "q.json"
    lines.write_bytes(b"\xef\xbb\xbf" + plain.read_bytes())  # a byte order mark, and an object a line
    assert read(plain) == read(lines) == ROWS


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        (
            "q.jsonl",
            '{"a": 1}\n{"a": "\xe9"}\n'.encode("latin-1"),
            r"line 2: byte 8 \(0xe9\) is not UTF-8.*iconv -f LATIN1",
        ),
        ("q.csv", "a,b\n1,\xe9\n".encode("latin-1"), r"line 2: byte 3 \(0xe9\) is not UTF-8"),
        ("q.json", '[{"a": "\xe9"}]'.encode("latin-1"), r"line 1: byte 9 \(0xe9\) is not UTF-8"),
        ("q.jsonl", '{"a": 1}'.encode("utf-16"), "UTF-16, expected UTF-8; convert it"),
        ("q.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 1000, mtime=0)[:-20], "packed with gzip, and damaged"),
        ("q.jsonl.gz", gzip.compress('{"a": "\xe9"}'.encode("latin-1"), mtime=0), r"line 1: byte 8 \(0xe9\)"),
        ("q.jsonl.zst", b"\x28\xb5\x2f\xfd1234", "it is zstd; unpack it, or pack it with gzip"),
        ("q.jsonl", b"PK\x03\x04....", "it is a ZIP archive"),
        ("q.jsonl", b'{"a": 1}\n{"a": 1, "a": 2}\n', r"line 2: not JSON \('a' is given twice in one object\)"),
        ("q.jsonl", b'[{"a": 1}]\n', "line 1: a list, expected an object.*read from `.json`"),
        ("q.json", b'[{"a": 1}, 2]', "entry 2: a int, expected an object"),
        ("q.json", b'[{"a": 1},', "not JSON"),
        ("q.csv", b"a,b\n1,2,3\n", "line 2: 3 values under a header of 2; put values with commas in quotes"),
        ("q.csv", b"a,a\n1,2\n", "names the column 'a' twice"),
        ("q.csv", b'a,b\n1,"2\n', "line 2: not CSV"),
        ("q.parquet", b"PAR1 cut", "not a readable Parquet file"),
    ],
)
def test_what_cannot_be_read_is_named_with_file_line_and_remedy(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(QuestionError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))


def test_rows_need_not_be_of_one_type(tmp_path: Path) -> None:
    """Libraries that infer a schema refuse such files; here each row is read for itself."""
    rows = [{"id": 1, "problem": "a", "answer": 2}, {"id": "x-2", "problem": "b", "answer": ["3"], "unit": "km"}]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    first, second = load("s", Benchmark(path=str(tmp_path / "q.jsonl"), columns={"id": "id", "unit": "unit"}), 1)
    assert (first["question_id"], first["answers"], first["grading"]) == ("1", ["2"], "{}")
    assert (second["question_id"], second["answers"], second["grading"]) == ("x-2", ["3"], '{"unit": "km"}')


def test_a_file_that_cannot_be_counted_is_cut_as_most_benchmarks_are(tmp_path: Path) -> None:
    (tmp_path / "q.parquet").write_bytes(b"PAR1 cut")
    assert Benchmark(path=str(tmp_path / "q.parquet")).size == Benchmark(path=str(tmp_path / "none")).size == 500
    assert Benchmark(source="gsm8k").size == 1319 and Benchmark(source="aime24", limit=7).size == 7


def test_a_long_value_of_a_table_is_read(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text("problem,answer\n" + "x" * 200_000 + ",1\n")
    assert len(read(tmp_path / "q.csv")[0]["problem"]) == 200_000
