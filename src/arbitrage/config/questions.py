"""Sources of questions: those that are labelled, and the benchmarks.

What a data set calls its columns and where its answer stands is configuration, not code: `question_sources.yaml` has
the ready entries, and a study may write one of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from arbitrage.config.row_counts import count_rows
from arbitrage.config.section import Count, Section

OWN = "own"  # a source that the study describes itself
USUAL_ROWS = 500  # of a benchmark of the hub that does not say, to cut it into jobs


@cache
def ready_sources() -> dict[str, dict[str, Any]]:
    """The ready entries by name, as in `question_sources.yaml`: the one place that names data sets."""
    text = files("arbitrage.config").joinpath("question_sources.yaml").read_text(encoding="utf-8")
    entries: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return entries


def is_generated(source: Any) -> bool:
    """Whether the questions of `source` are generated (the lab's) and not read."""
    return isinstance(source, str) and bool(ready_sources().get(source, {}).get("generated"))


def _for_labelling(entry: Mapping[str, Any]) -> bool:
    """Generated benchmarks have a number of rows; the lab's pool has as many as it is asked for."""
    return not entry.get("generated") or entry["rows"] is None


def _for_grading(entry: Mapping[str, Any]) -> bool:
    return entry.get("columns", {}).get("answer", "") is not None and not (
        entry.get("generated") and _for_labelling(entry)
    )


def _names(use: Callable[[Mapping[str, Any]], bool]) -> tuple[str, ...]:
    return (*(name for name, entry in ready_sources().items() if use(entry)), OWN)


def _one_of(names: tuple[str, ...]) -> Any:
    """A text that is one of `names`; the JSON schema, and with it the documentation and messages, lists them."""

    def check(value: str) -> str:
        if value not in names:
            raise PydanticCustomError("literal_error", "not a known source")
        return value

    return Annotated[str, AfterValidator(check), Field(json_schema_extra={"enum": list(names)})]


class Columns(Section):
    """What the columns of a data set are called; `null` for one that it does not have."""

    problem: str = Field("problem", description="The question as it is asked")
    context: str | None = Field(None, description="What stands before the question, on lines of its own")
    choices: str | None = Field(
        None, description="A list of texts to choose from; they are asked as (A), (B) ... below the question"
    )
    answer: str | None = Field(
        "answer", description="The right answer: a text, a number, or a list of them where several are right together"
    )
    several: str | None = Field(
        None, description="True where the text of the answer is several answers, apart by commas; false if absent"
    )
    unit: str | None = Field(None, description="Unit of the answer: one in another unit is wrong")
    tolerance: str | None = Field(None, description="How far a number may be off, absolute")
    answer_type: str | None = Field(None, description="What kind of thing the answer is, for the reader alone")
    solution: str | None = Field(None, description="A worked solution, for the reader and for quantisation by GPTQ")
    stratum: str | None = Field(None, description="What kind of question it is: labelling is stratified by it")
    id: str | None = Field(None, description="A name of the question; a hash of its text if absent")


class QuestionSource(Section):
    """Where questions are read from: a local file or a data set of the hub, and what its columns are called."""

    source: str = OWN
    path: str | None = Field(
        None,
        description="Local file instead of the hub: `.jsonl`, `.json`, `.csv`, `.tsv` or `.parquet`; with `.gz` packed",
    )
    dataset: str | None = Field(None, description="Data set of the hub (owner/name)")
    subset: str | None = Field(None, description="Its subset (the hub's `config`), where it has several")
    split: str = Field("test", description="Its split")
    revision: str | None = Field(None, description="Its commit")
    columns: Columns = Columns()

    @model_validator(mode="before")
    @classmethod
    def _on_top_of_the_ready_entry(cls, keys: Any) -> Any:
        """What the study leaves out of a ready source is as in `question_sources.yaml`."""
        if not isinstance(keys, Mapping):
            return keys
        source = keys.get("source", cls.model_fields["source"].default)
        entry = ready_sources().get(source, {}) if isinstance(source, str) else {}
        ready = {key: value for key, value in entry.items() if key in cls.model_fields}
        if keys.get("dataset") not in (None, ready.get("dataset")):
            ready.pop("revision", None)  # a commit of another data set
        merged = {**ready, **keys}
        columns = keys.get("columns")
        if isinstance(columns, Mapping):
            merged["columns"] = {**ready.get("columns", {}), **columns}
        return merged

    @property
    def hub(self) -> str | None:
        """The data set of the hub that it is read from; None where it is a local file, or generated."""
        return None if self.path is not None or is_generated(self.source) else self.dataset

    @property
    def store_name(self) -> str:
        """What its steps are stored under: studies may name a benchmark as they like, and several may be their own."""
        location = f"{self.path or self.dataset}/{self.subset}/{self.split}"
        return self.source if self.source != OWN else f"{OWN}-{hashlib.sha256(location.encode()).hexdigest()[:12]}"

    @property
    def is_ready(self) -> bool:
        """Whether it is read as a ready entry says, whatever else the study gives."""
        return self.source != OWN and not is_generated(self.source)


class Questions(QuestionSource):
    """The questions whose steps are labelled for the router (paper: 30,000 of NuminaMath-CoT, stratified by source)."""

    source: _one_of(_names(_for_labelling)) = Field(  # type: ignore[valid-type]
        "lab", description="A ready source (`lab` generates questions), or `own`: then say `path` or `dataset`"
    )
    pool: Count = Field(6000, description="Rows the lab generates to sample from; unused by other sources")
    sample: Count = Field(2000, description="Questions to sample, by largest remainder over `columns.stratum`")
    overlap_ngram: Count = Field(
        13, description="A question sharing a word n-gram of this length with a benchmark goes"
    )


class Benchmark(QuestionSource):
    """Evaluation questions: a ready source, or what the study says of its own (docs/benchmarks-of-your-own.md)."""

    aside: ClassVar[frozenset[str]] = frozenset({"rows"})

    source: _one_of(_names(_for_grading)) = Field(  # type: ignore[valid-type]
        OWN, description="A ready benchmark, whose keys need not be given; or `own`: then say `path` or `dataset`"
    )
    kind: Literal["expression", "integer", "choice", "list"] = Field(
        "expression",
        description="What answers are: an `expression` (numbers too); an `integer`, in any notation (`025`, `1,024`); "
        "a `choice`, whose column is a letter, a position from 0, or the text chosen; a `list`, apart by commas",
    )
    answer_boxed: bool = Field(
        False, description="The answer is the last `\\boxed{}` of its column, which is a worked solution"
    )
    answer_after: str | None = Field(
        None, min_length=1, description="The answer is what follows the last such text in its column, as GSM8K's `####`"
    )
    prompt_suffix: str | None = Field(
        None, min_length=1, description="A line to ask below each question, as `Answer with one letter.`"
    )
    rows: Count | list[Count] | None = Field(
        None,
        description="How many questions it has (of several editions, each): checked, and to cut it into jobs",
    )
    limit: Count | None = Field(None, description="Use a seeded sample of this many questions; all if absent")

    @property
    def whole(self) -> Benchmark:
        """All its questions as the source has them, whatever the study asks of it: no `limit`, no `prompt_suffix`."""
        return self.model_copy(update={"limit": None, "prompt_suffix": None})

    @property
    def size(self) -> int:
        """How many questions there are to be expected: `limit`, or all of the benchmark."""
        counted = count_rows(self.path) if self.path is not None else None
        rows = counted or next(iter(self.known_rows), USUAL_ROWS)
        return min(self.limit or rows, rows)

    @property
    def known_rows(self) -> list[int]:
        """The numbers of rows that the whole benchmark may have; empty where nobody says."""
        return self.rows if isinstance(self.rows, list) else [self.rows] if self.rows else []
