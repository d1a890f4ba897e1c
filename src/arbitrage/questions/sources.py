"""Where questions come from: an entry in the configuration, read by the names it gives to columns; or a generator.

What is generated (the lab's questions) is registered by the command line, under its name in `question_sources.yaml`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from arbitrage.config.questions import Benchmark, Columns, Questions, is_generated
from arbitrage.grading.extract import extract_answer
from arbitrage.questions.answers import CHOICES, choice, integer, listed, split_answers
from arbitrage.questions.columns import Reader, checked
from arbitrage.questions.corrections import corrected
from arbitrage.questions.files import Row, file_rows, hub_rows
from arbitrage.questions.normal_form import QuestionError, digest, normalise

GRADED = ("answer", "choices", "several", "unit", "tolerance", "answer_type")  # columns that labelling does not read

Settings = Questions | Benchmark
Generator = Callable[[Any, int], Iterable[Row]]  # (its section: Questions or Benchmark, the study's seed) -> rows

_GENERATORS: dict[str, Generator] = {}


def register(name: str, generator: Generator) -> None:
    """Make the generated `source: name` known. It gives `questions` rows; `study` and `question_id` may be missing."""
    _GENERATORS[name] = generator


def load(study_name: str, settings: Settings, seed: int) -> list[Row]:
    """All rows of a source, complete `questions` rows in the source's order.

    Raises QuestionError where a generator is not registered, or a source cannot be read, lacks a column or an answer.
    """
    return [_complete(study_name, row) for row in rows_of(settings, seed)]


def rows_of(settings: Settings, seed: int) -> Iterator[Row]:
    """The rows of a source, one by one, without `study`. Raises QuestionError as `load` does."""
    if is_generated(settings.source):
        if settings.source not in _GENERATORS:
            raise QuestionError(f"source {settings.source!r} is generated, and no generator of that name is registered")
        yield from _GENERATORS[settings.source](settings, seed)
        return
    if isinstance(settings, Questions):
        columns = settings.columns.model_copy(update=dict.fromkeys(GRADED))
        for where, raw in checked(_raw_rows(settings), columns, settings.is_ready):
            yield _labelled(Reader(raw, where), settings)
    else:
        for where, raw in checked(_raw_rows(settings), settings.columns, settings.is_ready):
            yield _graded(Reader(raw, where), settings)


def _raw_rows(settings: Settings) -> Iterable[tuple[str, Row]]:
    if settings.path is not None:
        return file_rows(settings.path)
    if settings.dataset is None:
        raise QuestionError(f"source {settings.source!r} has neither a `path` nor a `dataset`; give one of them")
    if settings.revision is None:
        raise QuestionError(f"{settings.dataset}: a hub data set needs its `revision` (a commit), or a local `path`")
    return hub_rows(settings.dataset, settings.subset, settings.split, settings.revision)


def _complete(study_name: str, row: Row) -> Row:
    return {
        "study": study_name,
        "question_id": row.get("question_id") or digest(normalise(row["problem"]))[:16],
        "source": row["source"],
        "problem": row["problem"],
        "solution": row["solution"],
        "answers": list(row["answers"]),
        "grading": row.get("grading", "{}"),
    }


def _labelled(reader: Reader, settings: Questions) -> Row:
    """A question to label: nobody grades it, and sampling drops and counts blank problems."""
    columns = settings.columns
    problem = reader.text(columns.problem, blank=True)
    row = _common(reader, settings, problem)
    return row | {"answers": []}


def _graded(reader: Reader, settings: Benchmark) -> Row:
    columns = settings.columns
    problem = reader.text(columns.problem)
    choices = [] if columns.choices is None else [text.strip() for text in reader.texts(columns.choices, numbers=True)]
    if choices:
        problem += "".join(f"\n({letter}) {text}" for letter, text in zip(CHOICES, choices, strict=False))
    grading: Row = {}
    for key, value in (
        ("answer_type", reader.optional_text(columns.answer_type)),
        ("unit", reader.optional_text(columns.unit)),
        ("tolerance", reader.tolerance(columns.tolerance)),
    ):
        if value:
            grading[key] = value
    if settings.kind == "choice":
        grading["choices"] = choices
    row = _common(reader, settings, problem) | {
        "answers": _answers(reader, settings, choices),
        "grading": json.dumps(grading, sort_keys=True, ensure_ascii=False),
    }
    if settings.prompt_suffix:
        row["problem"] += f"\n{settings.prompt_suffix}"
    return row


def _common(reader: Reader, settings: Settings, problem: str) -> Row:
    """What all questions have: id, stratum, problem with its context, solution."""
    columns = settings.columns
    context = reader.optional_text(columns.context)
    problem = f"{context}\n{problem}" if context else problem
    row: Row = {
        "source": reader.name(columns.stratum) if columns.stratum else settings.source,
        "problem": problem,
        "solution": "" if columns.solution is None else _solution(reader, columns),
        "question_id": reader.name(columns.id) if columns.id else digest(normalise(problem))[:16],
    }
    return row


def _solution(reader: Reader, columns: Columns) -> str:
    column = str(columns.solution)
    return "" if reader.absent(column) else "\n\n".join(reader.texts(column))


def _answers(reader: Reader, settings: Benchmark, choices: list[str]) -> list[str]:
    """The gold answers, one by one. Raises QuestionError where the column holds none of the kind that is expected."""
    column = str(settings.columns.answer)
    texts = [_part(reader, column, text, settings) for text in reader.texts(column, numbers=True)]
    if settings.kind == "integer":
        return [_require(integer(text), reader, column, "an integer; or set `kind: expression`") for text in texts]
    if settings.kind == "choice":
        expected = f"one of {len(choices)} choices: letter, position from 0, or text" if choices else "a letter"
        return [_require(choice(text, choices), reader, column, expected) for text in texts]
    if settings.kind == "list":
        return [part for text in texts for part in listed(text)]
    if reader.truth(settings.columns.several):
        return [part for text in texts for part in split_answers(text)]
    return texts


def _part(reader: Reader, column: str, text: str, settings: Benchmark) -> str:
    """What of the column's text is the answer, with known slips of the data put right."""
    text = corrected(settings.source, reader.name(settings.columns.id) if settings.columns.id else None, text)
    if settings.answer_after is not None:
        _, mark, text = text.rpartition(settings.answer_after)
        _require(mark and text.strip(), reader, column, f"an answer after {settings.answer_after!r}")
        text = text.strip()
    if settings.answer_boxed:
        text = _require(extract_answer(text), reader, column, "a solution with its answer in a last \\boxed{}")
    return text


def _require(value: str | None, reader: Reader, column: str, expected: str) -> str:
    if not value:
        raise reader.fault(column, expected)
    return value
