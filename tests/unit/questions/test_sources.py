"""Reading questions: columns, files, and messages that say what to do."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from arbitrage.config.questions import Benchmark, Questions
from arbitrage.io.tables import read_table, write_table
from arbitrage.questions.normal_form import QuestionError
from arbitrage.questions.sources import load, register

NUMINA = {"source": "olympiads", "problem": "Find  $x$.", "solution": "\\boxed{1}", "messages": []}
MATH = {"problem": "2+2?", "solution": "4", "answer": "4", "subject": "Algebra", "level": 1, "unique_id": "test/1.json"}
OLYMPIAD: dict[str, Any] = {
    "id": 7,
    "subfield": "Geometry",
    "context": None,
    "question": "Find both.",
    "solution": ["First.", "Second."],
    "final_answer": ["$1,2$"],
    "is_multiple_answer": True,
    "unit": "%",
    "answer_type": "Numerical",
    "error": "1e-1",
}


def jsonl(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def without(row: dict[str, Any], column: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != column}


def test_numina_rows_fit_the_table(tmp_path: Path) -> None:
    rows = load("lab", Questions(source="numina", path=jsonl(tmp_path / "q.jsonl", NUMINA)), 42)
    write_table(tmp_path / "questions.parquet", "questions", rows)
    assert read_table(tmp_path / "questions.parquet", "questions") == rows
    assert rows[0]["source"] == "olympiads"
    assert rows[0]["answers"] == []


def test_the_id_of_a_question_depends_on_its_normal_form_alone(tmp_path: Path) -> None:
    same, other = NUMINA | {"problem": "find $X$."}, NUMINA | {"problem": "Find $y$."}
    path = jsonl(tmp_path / "q.jsonl", other, NUMINA, same)
    first, second, third = (row["question_id"] for row in load("s", Questions(source="numina", path=path), 1))
    assert second == third != first


def test_parquet_and_jsonl_give_the_same_rows(tmp_path: Path) -> None:
    lines = jsonl(tmp_path / "q.jsonl", NUMINA, NUMINA | {"problem": "Other"})
    pq.write_table(
        pa.Table.from_pylist([without(NUMINA, "messages"), NUMINA | {"problem": "Other"}]), tmp_path / "q.parquet"
    )
    by_lines, by_columns = (
        load("s", Questions(source="numina", path=path), 1) for path in (lines, str(tmp_path / "q.parquet"))
    )
    assert by_lines == by_columns


def test_math500_keeps_the_benchmarks_id_and_subject(tmp_path: Path) -> None:
    (row,) = load("s", Benchmark(source="math500", path=jsonl(tmp_path / "m.jsonl", MATH)), 1)
    assert (row["question_id"], row["source"], row["answers"]) == ("test/1.json", "Algebra", ["4"])


def test_olympiadbench_gives_answers_one_by_one_and_the_tolerance(tmp_path: Path) -> None:
    (row,) = load("s", Benchmark(source="olympiadbench", path=jsonl(tmp_path / "o.jsonl", OLYMPIAD)), 1)
    assert row["answers"] == ["1", "2"]
    assert json.loads(row["grading"]) == {"answer_type": "Numerical", "tolerance": 0.1, "unit": "%"}
    assert (row["question_id"], row["solution"]) == ("7", "First.\n\nSecond.")


def test_a_single_olympiad_answer_is_never_cut(tmp_path: Path) -> None:
    row = OLYMPIAD | {"final_answer": ["$(1,2), 3$"], "is_multiple_answer": False}
    (loaded,) = load("s", Benchmark(source="olympiadbench", path=jsonl(tmp_path / "o.jsonl", row)), 1)
    assert loaded["answers"] == ["$(1,2), 3$"]


def test_a_registered_source_gets_its_section_and_the_seed() -> None:
    asked: list[Any] = []

    def loader(settings: Questions, seed: int) -> Iterator[dict[str, Any]]:
        asked.append((settings, seed))
        yield {"source": "gcd", "problem": "gcd(4, 6)?", "solution": "\\boxed{2}", "answers": ["2"]}

    register("lab", loader)
    settings = Questions(source="lab")
    (row,) = load("mine", settings, 7)
    assert asked == [(settings, 7)]
    assert (row["study"], row["answers"], row["grading"]) == ("mine", ["2"], "{}")


def test_an_unregistered_source_is_named_with_the_known_ones() -> None:
    with pytest.raises(QuestionError, match=r"'lab500' is not registered.*math500"):
        load("s", Benchmark(source="lab500"), 1)


@pytest.mark.parametrize(
    ("source", "row", "message"),
    [
        ("math500", without(MATH, "answer"), r"line 1: no column 'answer' among .*'problem'"),
        ("math500", MATH | {"answer": "  "}, r"line 1: column 'answer' is '  ', expected text; correct or remove"),
        ("math500", MATH | {"problem": None}, r"line 1: column 'problem' is None"),
        ("olympiadbench", OLYMPIAD | {"final_answer": []}, r"column 'final_answer' is \[\], expected a list of texts"),
        ("olympiadbench", OLYMPIAD | {"error": "much"}, r"column 'error' is 'much', expected a number"),
        ("olympiadbench", without(OLYMPIAD, "id"), r"no column 'id'"),
    ],
)
def test_a_faulty_row_is_named_with_file_line_and_column(
    tmp_path: Path, source: Any, row: dict[str, Any], message: str
) -> None:
    path = jsonl(tmp_path / "b.jsonl", row)
    with pytest.raises(QuestionError, match=message) as caught:
        load("s", Benchmark(source=source, path=path), 1)
    assert path in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(QuestionError, match=r"nowhere\.jsonl: no such file; give `path`"):
        load("s", Questions(source="numina", path=str(tmp_path / "nowhere.jsonl")), 1)


def test_a_line_that_is_not_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text(json.dumps(NUMINA) + "\n{oops\n", encoding="utf-8")
    with pytest.raises(QuestionError, match="line 2: not JSON"):
        load("s", Questions(source="numina", path=str(tmp_path / "q.jsonl")), 1)


def test_a_truncated_parquet_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "q.parquet").write_bytes(b"PAR1 cut off")
    with pytest.raises(QuestionError, match=r"q\.parquet: not a readable Parquet file"):
        load("s", Questions(source="numina", path=str(tmp_path / "q.parquet")), 1)


def test_a_hub_data_set_needs_a_revision() -> None:
    with pytest.raises(QuestionError, match=r"AI-MO/NuminaMath-CoT: .* needs its `revision`"):
        load("s", Questions(source="numina"), 1)
