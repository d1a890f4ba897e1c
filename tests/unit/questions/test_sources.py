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


def test_a_generator_that_is_not_registered_is_named() -> None:
    with pytest.raises(QuestionError, match=r"'lab500' is generated, and no generator"):
        load("s", Benchmark(source="lab500"), 1)


@pytest.mark.parametrize(
    ("source", "row", "message"),
    [
        ("math500", without(MATH, "answer"), r"line 1: no column 'answer' among .*'problem'.*columns: \{answer"),
        ("math500", MATH | {"answer": "  "}, r"line 1: column 'answer' is '  ', expected a text or a list of texts"),
        ("math500", MATH | {"problem": None}, r"line 1: column 'problem' is None"),
        ("olympiadbench", OLYMPIAD | {"final_answer": []}, r"column 'final_answer' is \[\], expected a text or a list"),
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
    with pytest.raises(QuestionError, match=r"realtreetune/college_math: .* needs its `revision`"):
        load("s", Benchmark(source="college_math"), 1)
    with pytest.raises(QuestionError, match=r"my/questions: .* needs its `revision`"):
        load("s", Benchmark(source="math500", dataset="my/questions"), 1)


# What people report of real files (own inputs; each right value is one that the release before got wrong)


@pytest.mark.parametrize("nothing", [None, float("nan"), "", "  ", []], ids=["null", "NaN", "empty", "blank", "list"])
def test_absent_values_are_the_same_however_they_are_written(tmp_path: Path, nothing: Any) -> None:
    row = OLYMPIAD | dict.fromkeys(("context", "unit", "error", "is_multiple_answer"), nothing)
    lacking = {key: value for key, value in row.items() if value is not nothing}
    first, second = load("s", Benchmark(source="olympiadbench", path=jsonl(tmp_path / "o.jsonl", row, lacking)), 1)
    assert first == second
    assert (first["problem"], first["answers"], json.loads(first["grading"])) == (
        "Find both.",
        ["$1,2$"],
        {"answer_type": "Numerical"},
    )


def test_absent_values_of_parquet_are_the_same_too(tmp_path: Path) -> None:
    rows = [OLYMPIAD | {"error": float("nan"), "unit": None}, OLYMPIAD | {"error": 0.1, "unit": None, "id": 8}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "o.parquet")
    first, second = load("s", Benchmark(source="olympiadbench", path=str(tmp_path / "o.parquet")), 1)
    assert "tolerance" not in json.loads(first["grading"]) and json.loads(second["grading"])["tolerance"] == 0.1


@pytest.mark.parametrize(
    ("value", "several"), [("False", False), ("true", True), (0, False), (1.0, True), (None, False)]
)
def test_a_truth_is_read_in_its_usual_spellings(tmp_path: Path, value: Any, several: bool) -> None:
    path = jsonl(tmp_path / "o.jsonl", OLYMPIAD | {"is_multiple_answer": value, "final_answer": ["$f(x)=2x, x>0$"]})
    (row,) = load("s", Benchmark(source="olympiadbench", path=path), 1)
    assert len(row["answers"]) == (2 if several else 1)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("is_multiple_answer", "maybe", "expected true or false"),
        ("is_multiple_answer", 2, "expected true or false"),
        ("is_multiple_answer", [False], "expected true or false"),
        ("error", "nan", "expected a number such as 1e-1"),
        ("error", float("inf"), "expected a number such as 1e-1"),
        ("error", -0.1, "expected a number such as 1e-1"),
        ("error", True, "expected a number such as 1e-1"),
        ("context", "nan", "expected a text, or nothing"),
        ("unit", "None", "expected a text, or nothing"),
        ("unit", 3, "expected a text, or nothing"),
        ("question", "nan", "expected a text"),
        ("final_answer", ["NaN"], "expected an answer"),
    ],
)
def test_a_value_that_is_none_of_its_kind_is_refused_with_its_place(
    tmp_path: Path, column: str, value: Any, message: str
) -> None:
    path = jsonl(tmp_path / "o.jsonl", OLYMPIAD, OLYMPIAD | {"id": 8, column: value})
    with pytest.raises(QuestionError, match=message) as caught:
        load("s", Benchmark(source="olympiadbench", path=path), 1)
    assert f"{path}, line 2: column {column!r}" in str(caught.value)


def test_half_a_character_is_named_with_its_row(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(json.dumps(NUMINA) + "\n" + json.dumps(NUMINA | {"problem": "x \ud835"}) + "\n")
    with pytest.raises(QuestionError, match=r"line 2: column 'problem' holds '\\ud835', half a character"):
        load("s", Questions(source="numina", path=str(path)), 1)
    path.write_text(json.dumps(NUMINA | {"problem": "x \U0001d465"}) + "\n")
    assert load("s", Questions(source="numina", path=str(path)), 1)[0]["problem"] == "x \U0001d465"


# A benchmark of one's own


def own(path: str, **settings: Any) -> list[dict[str, Any]]:
    return load("s", Benchmark(path=path, **settings), 1)


def test_gsm8k_is_read_as_it_is(tmp_path: Path) -> None:
    raw = {"question": "How many?", "answer": "48/2 = <<48/2=24>>24 clips.\n#### 1,072"}
    (row,) = load("s", Benchmark(source="gsm8k", path=jsonl(tmp_path / "g.jsonl", raw)), 1)
    assert (row["problem"], row["answers"]) == ("How many?", ["1,072"])
    assert row["solution"].startswith("48/2") and row["source"] == "gsm8k"
    with pytest.raises(QuestionError, match=r"line 1: column 'answer' is 'no mark', expected an answer after '####'"):
        load("s", Benchmark(source="gsm8k", path=jsonl(tmp_path / "h.jsonl", raw | {"answer": "no mark"})), 1)


def test_all_missing_columns_are_named_at_once_with_what_to_write(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "g.jsonl", {"question": "How many?", "gold": "4"})
    with pytest.raises(QuestionError) as caught:
        own(path)
    assert "no columns 'problem', 'answer' among ['gold', 'question']" in str(caught.value)
    assert "columns: {problem: question, answer: gold}" in str(caught.value)


def test_an_optional_column_that_no_row_has_is_a_slip_in_its_name(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "g.jsonl", {"problem": "a", "answer": "4"}, {"problem": "b", "answer": "4", "unit": "km"})
    assert [json.loads(row["grading"]) for row in own(path, columns={"unit": "unit"})] == [{}, {"unit": "km"}]
    with pytest.raises(QuestionError, match="no row up to here has the column 'units'"):
        own(path, columns={"unit": "units"})


@pytest.mark.parametrize(
    ("kind", "value", "answers"),
    [
        ("expression", 27.0, ["27"]),
        ("expression", 0.5, ["0.5"]),
        ("expression", 10**22, ["1" + "0" * 22]),
        ("expression", ["1", 2], ["1", "2"]),
        ("expression", "None", ["None"]),  # an answer that people give
        ("integer", "025", ["25"]),
        ("integer", "$-1,024$", ["-1024"]),
        ("integer", 33.0, ["33"]),
        ("list", "$1, (2,3)$", ["1", "(2,3)"]),
        ("list", "['2', '3']", ["2", "3"]),
        ("list", '["\\\\frac12", 3]', ["\\frac12", "3"]),
        ("choice", "(b)", ["B"]),
    ],
)
def test_answers_are_read_by_their_kind(tmp_path: Path, kind: Any, value: Any, answers: list[str]) -> None:
    (row,) = own(jsonl(tmp_path / "b.jsonl", {"problem": "p", "answer": value}), kind=kind)
    assert row["answers"] == answers


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("integer", "2.5", "expected an integer; or set `kind: expression`"),
        ("choice", "12", "expected a letter"),
        ("expression", True, "expected a text or a list of texts"),
        ("expression", float("nan"), "expected a text or a list of texts"),
    ],
)
def test_an_answer_of_another_kind_is_refused(tmp_path: Path, kind: Any, value: Any, message: str) -> None:
    with pytest.raises(QuestionError, match=message):
        own(jsonl(tmp_path / "b.jsonl", {"problem": "p", "answer": value}), kind=kind)


@pytest.mark.parametrize("answer", ["C", 2, " 7 "])
def test_choices_are_asked_below_the_question_and_the_right_one_is_a_letter(tmp_path: Path, answer: Any) -> None:
    raw = {"problem": "3 + 4?", "options": [" 5", "6", 7], "answer": answer}
    (row,) = own(jsonl(tmp_path / "b.jsonl", raw), kind="choice", columns={"choices": "options"})
    assert row["problem"] == "3 + 4?\n(A) 5\n(B) 6\n(C) 7"
    assert (row["answers"], json.loads(row["grading"])) == (["C"], {"choices": ["5", "6", "7"]})
    with pytest.raises(QuestionError, match="expected one of 3 choices"):
        own(jsonl(tmp_path / "c.jsonl", raw | {"answer": "D"}), kind="choice", columns={"choices": "options"})


def test_the_answer_may_be_the_last_box_of_a_solution(tmp_path: Path) -> None:
    raw = {"problem": "p", "worked": "First \\boxed{3}, no: \\boxed{\\frac{1}{2}}."}
    columns = {"answer": "worked", "solution": "worked"}
    (row,) = own(jsonl(tmp_path / "b.jsonl", raw), answer_boxed=True, columns=columns)
    assert (row["answers"], row["solution"]) == (["\\frac{1}{2}"], raw["worked"])
    with pytest.raises(QuestionError, match="a solution with its answer in a last"):
        own(jsonl(tmp_path / "c.jsonl", raw | {"worked": "So 4."}), answer_boxed=True, columns=columns)


def test_a_suffix_is_asked_and_is_no_part_of_what_the_question_is_known_by(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "b.jsonl", {"problem": "p", "answer": "1"})
    (plain,), (asked,) = own(path), own(path, prompt_suffix="Answer with a number.")
    assert asked["problem"] == "p\nAnswer with a number."
    assert asked["question_id"] == plain["question_id"]
