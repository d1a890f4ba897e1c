"""Where questions come from: a name in the configuration, and the loader behind it.

A loader reads its section of the configuration and gives rows of the `questions` table (without `study`). NuminaMath,
MATH-500 and OlympiadBench are here; the command line registers the lab's own (`lab`, `lab500`, `labolympiad`).
"""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from arbitrage.config.questions import Benchmark, Questions
from arbitrage.questions.answers import split_answers
from arbitrage.questions.normal_form import QuestionError, digest, normalise

Row = dict[str, Any]
Settings = Questions | Benchmark
Loader = Callable[[Any, int], Iterable[Row]]  # (its section: Questions or Benchmark, the study's seed) -> rows

OLYMPIADBENCH_CONFIG = "OE_TO_maths_en_COMP"  # open-ended, text-only, mathematics, English, competition

_LOADERS: dict[str, Loader] = {}


def register(name: str, loader: Loader) -> None:
    """Make `source: name` known. The loader gives `questions` rows without `study`; `question_id` may be left out."""
    _LOADERS[name] = loader


def load(study_name: str, settings: Settings, seed: int) -> list[Row]:
    """All rows of a source, complete `questions` rows in the source's order.

    Raises QuestionError where the source is not registered, cannot be read, or lacks a column or an answer.
    """
    if settings.source not in _LOADERS:
        raise QuestionError(f"source {settings.source!r} is not registered; known: {', '.join(sorted(_LOADERS))}")
    return [_complete(study_name, row) for row in _LOADERS[settings.source](settings, seed)]


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


def numina(settings: Questions, seed: int) -> Iterator[Row]:
    """NuminaMath-CoT (columns source, problem, solution). Labelling never grades, and it has no answer column."""
    for where, raw in _rows(settings.path, settings.dataset, settings.revision, "train"):
        yield {
            "source": _text(raw, "source", where),
            "problem": _text(raw, "problem", where, blank=True),  # sampling drops and counts blank problems
            "solution": _text(raw, "solution", where, blank=True),
            "answers": [],
        }


def math500(settings: Benchmark, seed: int) -> Iterator[Row]:
    """MATH-500 (columns problem, solution, answer, subject, unique_id)."""
    for where, raw in _rows(settings.path, settings.hub, settings.revision, "test"):
        yield {
            "question_id": _text(raw, "unique_id", where),
            "source": _text(raw, "subject", where),
            "problem": _text(raw, "problem", where),
            "solution": _text(raw, "solution", where),
            "answers": [_text(raw, "answer", where)],
        }


def olympiadbench(settings: Benchmark, seed: int) -> Iterator[Row]:
    """OlympiadBench (its own columns; `context`, `unit` and `error` may be absent or null).

    `grading` holds tolerance (the column `error`, absolute) and unit where there are any (an answer in another unit
    is wrong); answer_type is for the reader.
    """
    for where, raw in _rows(settings.path, settings.hub, settings.revision, "train", OLYMPIADBENCH_CONFIG):
        multiple = bool(_column(raw, "is_multiple_answer", where))
        answers = [
            part
            for text in _texts(raw, "final_answer", where)
            for part in (split_answers(text) if multiple else [text])
        ]
        grading: Row = {"answer_type": _text(raw, "answer_type", where)}
        if raw.get("unit"):
            grading["unit"] = _text(raw, "unit", where)
        if raw.get("error"):
            grading["tolerance"] = _tolerance(raw["error"], where)
        context = raw.get("context")
        question = _text(raw, "question", where)
        yield {
            "question_id": str(_column(raw, "id", where)),
            "source": _text(raw, "subfield", where),
            "problem": f"{context}\n{question}" if context else question,
            "solution": "\n\n".join(_texts(raw, "solution", where)),
            "answers": answers,
            "grading": json.dumps(grading, sort_keys=True),
        }


register("numina", numina)
register("math500", math500)
register("olympiadbench", olympiadbench)


def _rows(
    path: str | None, dataset: str | None, revision: str | None, split: str, config: str | None = None
) -> Iterator[tuple[str, Row]]:
    """(where the row is, for messages; its columns), from the local file if there is one, else from the hub."""
    if path is None:
        yield from _hub_rows(dataset, revision, split, config)
    elif not Path(path).is_file():
        raise QuestionError(f"{path}: no such file; give `path` a JSONL or Parquet file with the columns of {dataset}")
    elif path.endswith(".parquet"):
        yield from _parquet_rows(path)
    else:
        yield from _jsonl_rows(path)


def _hub_rows(dataset: str | None, revision: str | None, split: str, config: str | None) -> Iterator[tuple[str, Row]]:
    if dataset is None or revision is None:
        raise QuestionError(f"{dataset}: a hub data set needs its `revision` (a commit), or give a local `path`")
    import datasets  # slow to import, and needed for hub data sets alone

    try:
        table = datasets.load_dataset(dataset, config, split=split, revision=revision)
    except Exception as error:  # the hub's client raises dozens of kinds: offline, unknown revision, no such config
        raise QuestionError(
            f"{dataset} (revision {revision}): cannot be loaded ({error}); check the name, the revision and the "
            "network, or download it and give a local `path`"
        ) from error
    for number, row in enumerate(table):
        yield f"{dataset}, row {number}", row


def _parquet_rows(path: str) -> Iterator[tuple[str, Row]]:
    try:
        file = pq.ParquetFile(path)
        number = 0
        for batch in file.iter_batches(batch_size=10_000):
            for row in batch.to_pylist():
                yield f"{path}, row {number}", row
                number += 1
    except (pa.ArrowInvalid, OSError) as error:
        raise QuestionError(f"{path}: not a readable Parquet file ({error}); get it again") from error


def _jsonl_rows(path: str) -> Iterator[tuple[str, Row]]:
    with Path(path).open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise QuestionError(f"{path}, line {number}: not JSON ({error}); give one object a line") from error
            if not isinstance(row, dict):
                raise QuestionError(f"{path}, line {number}: {type(row).__name__} instead of an object with columns")
            yield f"{path}, line {number}", row


def _column(raw: Row, column: str, where: str) -> Any:
    if column not in raw:
        raise QuestionError(f"{where}: no column {column!r} among {sorted(raw)}; rename the column that holds it")
    return raw[column]


def _text(raw: Row, column: str, where: str, blank: bool = False) -> str:
    value = _column(raw, column, where)
    if not isinstance(value, str) or not (blank or value.strip()):
        raise QuestionError(f"{where}: column {column!r} is {value!r}, expected text; correct or remove the row")
    return value


def _tolerance(value: Any, where: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise QuestionError(f"{where}: column 'error' is {value!r}, expected a number such as 1e-1") from error


def _texts(raw: Row, column: str, where: str) -> list[str]:
    values = _column(raw, column, where)
    if not isinstance(values, list) or not values or not all(isinstance(v, str) and v.strip() for v in values):
        raise QuestionError(
            f"{where}: column {column!r} is {values!r}, expected a list of texts, none empty; correct or remove the row"
        )
    return values
