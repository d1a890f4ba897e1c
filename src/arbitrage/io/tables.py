"""The Parquet tables of a study: their schemas, and reading and writing that checks them.

Every stage hands its result on as one of these tables; `docs/data.md` shows each with an example. A table is checked
against its schema when written and again when read, is written to a temporary name and renamed, and never holds a time
stamp: where a table came from is told by the provenance record beside it (`arbitrage.runtime.provenance`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from arbitrage.errors import UserError
from arbitrage.io.atomic import whole_file
from arbitrage.io.finite import not_finite

BATCH = 20_000  # rows held at a time where a table is read or written piece by piece

HISTORY_STEP = pa.struct([("model", pa.string()), ("text", pa.string())])  # model: "draft" or "target"

TRAJECTORY_STEP = pa.struct(
    [
        ("model", pa.string()),  # who wrote the chosen step: "draft" or "target"
        ("text", pa.string()),  # the chosen step
        ("draft_step", pa.string()),  # null for the target-only policy, which never asks the draft
        ("draft_score", pa.float64()),  # sd, in (0, 1); null only where there is no draft step
        ("target_score", pa.float64()),  # st of the target step; null where the target was not asked
        ("policy_score", pa.float64()),  # the policy's own number on this node; null for the two that have none
        ("draft_tokens", pa.int32()),  # tokens the draft generated for this step; 0 if not asked
        ("target_tokens", pa.int32()),  # tokens the target generated for this step; 0 if not asked
        ("finish_reason", pa.string()),  # of the chosen step: "separator", "eos" or "length"
    ]
)

SCHEMAS: dict[str, pa.Schema] = {
    "questions": pa.schema(
        [
            ("study", pa.string()),  # whose results these are
            ("question_id", pa.string()),  # unique in its benchmark, or among the labelling questions
            ("source", pa.string()),  # the stratum: NuminaMath's `source`, the lab's family, the benchmark's subject
            ("problem", pa.string()),  # the question as it is asked
            ("solution", pa.string()),  # a worked solution, as the source has it
            ("answers", pa.list_(pa.string())),  # one or several gold answers, in no order
            ("grading", pa.string()),  # JSON: what the grader needs besides (tolerance, unit, answer type), or "{}"
        ]
    ),
    "steps": pa.schema(
        [
            ("study", pa.string()),
            ("pair", pa.string()),  # the draft and the target, by the name of both in the study
            ("question_id", pa.string()),
            ("problem", pa.string()),
            ("step_index", pa.int32()),  # 0 for the first step
            ("history", pa.list_(HISTORY_STEP)),  # the chosen steps so far
            ("draft_step", pa.string()),  # what the draft writes next
            ("target_steps", pa.list_(pa.string())),  # what the target writes there; sample 0 is the greedy one
            ("draft_score", pa.float64()),  # sd, in (0, 1)
            ("target_scores", pa.list_(pa.float64())),  # st of each target step, in (0, 1)
            ("advantage", pa.float64()),  # mean(st) - sd, in (-1, 1)
            ("label", pa.int8()),  # 1 where advantage > 0
            ("draft_confidence", pa.float64()),  # 1 - exp(mean token log-probability) of the draft step, in [0, 1)
            ("draft_logprobs", pa.list_(pa.float32())),  # of the draft step's tokens: natural, <= 0
            ("draft_entropies", pa.list_(pa.float32())),  # in nats, of each; null where the engine reports none
            ("target_logprobs", pa.list_(pa.float32())),  # the target's, of the draft step; null where it read none
            ("tokens_so_far", pa.int32()),  # of the history, in the draft's tokenizer
        ]
    ),
    "lookahead": pa.schema(  # where labelled steps lead if the target writes all that follows
        [
            ("study", pa.string()),
            ("pair", pa.string()),
            ("question_id", pa.string()),
            ("step_index", pa.int32()),
            ("same_text", pa.bool_()),  # both wrote the same step: a tie, from which nothing is continued
            ("right_after_draft", pa.bool_()),  # accepting ends in a right answer; null for ties and where ungraded
            ("right_after_target", pa.bool_()),  # escalating does, to the greedy target step; null likewise
        ]
    ),
    "states": pa.schema(  # the draft's hidden states after its labelled steps
        [
            ("study", pa.string()),
            ("pair", pa.string()),
            ("question_id", pa.string()),
            ("step_index", pa.int32()),
            ("state", pa.list_(pa.float32())),  # the last layer's, at the last token of the draft step
        ]
    ),
    "trajectories": pa.schema(
        [
            ("study", pa.string()),
            ("pair", pa.string()),
            ("benchmark", pa.string()),  # by its name in the study
            ("question_id", pa.string()),
            ("policy", pa.string()),  # what decided which steps are escalated to the target
            ("router_seed", pa.int32()),  # which training of the router decided; null for the other policies
            ("threshold_low", pa.float64()),  # the trajectory holds for threshold_low <= tau < threshold_high
            ("threshold_high", pa.float64()),  # itself not included
            ("prompt_tokens", pa.int32()),  # length of the draft's prompt, for the cost model
            ("steps", pa.list_(TRAJECTORY_STEP)),  # the chosen steps in their order
            ("answer", pa.string()),  # as extracted; null where none was found
            ("correct", pa.bool_()),  # null where ungraded: comparing took too much time or memory
        ]
    ),
    "latency": pa.schema(
        [
            ("study", pa.string()),
            ("pair", pa.string()),
            ("benchmark", pa.string()),
            ("question_id", pa.string()),
            ("policy", pa.string()),
            ("threshold", pa.float64()),  # null for draft_only and target_only
            ("uninterrupted", pa.bool_()),  # draft or target alone in one generation, not step by step
            ("speculative_tokens", pa.int32()),  # a round, where the target writes by token-level speculation
            ("wall_s", pa.float64()),  # the whole solution, seconds
            ("draft_s", pa.float64()),  # draft decoding
            ("score_s", pa.float64()),  # PRM (RSD), router, or a target that judges
            ("target_s", pa.float64()),  # target decoding, without the catch-up
            ("catch_up_s", pa.float64()),  # target reading prompt and accepted steps it has not seen
            ("other_s", pa.float64()),  # the rest: the five add up to wall_s
            ("draft_tokens", pa.int32()),  # tokens the draft generated
            ("target_tokens", pa.int32()),  # tokens the target generated
            ("catch_up_tokens", pa.int32()),  # tokens the target read without generating them
            ("score_calls", pa.int32()),  # how often PRM, router or judging target was asked
            ("score_tokens", pa.int32()),  # tokens that model read
            ("steps", pa.int32()),  # of the solution
            ("escalations", pa.int32()),  # how many of them are the target's
        ]
    ),
    "examples": pa.schema(  # what a router variant is trained on, or held out: one draft step in its context
        [
            ("study", pa.string()),
            ("pair", pa.string()),
            ("question_id", pa.string()),
            ("step_index", pa.int32()),
            ("input_ids", pa.list_(pa.int32())),  # a classifier's whole input, not padded; null for other kinds
            ("scalars", pa.list_(pa.float64())),  # what other kinds read: numbers (report.json), then a state; or null
            ("advantage", pa.float64()),
            ("gain", pa.float64()),  # what is learnt: the advantage, or -1, 0 or 1 by looking ahead
            ("label", pa.int8()),  # the class, of the variant's own
            ("draft_score", pa.float64()),
            ("draft_confidence", pa.float64()),
        ]
    ),
    "heldout": pa.schema(
        [
            ("study", pa.string()),
            ("pair", pa.string()),
            ("variant", pa.string()),  # of the router, by its name in the study
            ("router_seed", pa.int32()),  # which training of the variant, from 0
            ("question_id", pa.string()),
            ("step_index", pa.int32()),
            ("advantage", pa.float64()),
            ("label", pa.int8()),
            ("router_score", pa.float64()),  # the scalar the variant routes by
            ("draft_score", pa.float64()),
            ("draft_confidence", pa.float64()),
        ]
    ),
}


class TableError(UserError, ValueError):
    """A table that cannot be read, or does not have the columns its stage promises."""


def write_table(path: str | Path, name: str, rows: list[dict[str, Any]] | pd.DataFrame) -> None:
    """Write `rows` as table `name`, all or nothing: to a temporary name, then renamed.

    Raises TableError where a row does not fit the schema; an existing file at `path` is then left as it was.
    """
    path = Path(path)
    try:
        if isinstance(rows, pd.DataFrame):
            table = pa.Table.from_pandas(rows, schema=SCHEMAS[name], preserve_index=False)
        else:
            table = pa.Table.from_pylist(rows, schema=SCHEMAS[name])
    except (pa.ArrowInvalid, pa.ArrowTypeError, KeyError) as error:
        raise TableError(f"{path}: the rows do not fit the table {name!r}: {error}") from error
    with table_writer(path, name) as write:
        write(table)


@contextmanager
def table_writer(path: str | Path, name: str) -> Iterator[Callable[[pa.Table], None]]:
    """A function that appends rows to table `name`, which is at `path` once the block ends without an error.

    It raises TableError where a number is not finite.
    """
    path = Path(path)
    with (
        whole_file(path) as temporary,
        pq.ParquetWriter(temporary, SCHEMAS[name], compression="zstd", write_page_checksum=True) as writer,
    ):
        yield partial(_write, writer, path)


def _write(writer: pq.ParquetWriter, path: Path, table: pa.Table) -> None:
    if problem := not_finite(table):
        raise TableError(f"{path}: {problem}. A model or its data is damaged; the table is not written")
    writer.write_table(table)


def read_table(path: str | Path, name: str) -> list[dict[str, Any]]:
    """Read table `name` as a list of rows. Raises TableError, naming the file and the remedy, where it is not one."""
    rows: list[dict[str, Any]] = read_arrow(path, name).to_pylist()
    return rows


def read_frame(path: str | Path, name: str) -> pd.DataFrame:
    """Read table `name` as a data frame (lists and structs become Python objects). Raises TableError."""
    return read_arrow(path, name).to_pandas()


def read_arrow(path: str | Path, name: str) -> pa.Table:
    """Read table `name` as Arrow, to compute on nested columns without making Python objects. Raises TableError."""
    with _reading(path, name):
        table = pq.read_table(path, page_checksum_verification=True)
    return _checked(table, path, name)


def read_batches(path: str | Path, name: str, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Read table `name` piece by piece (at most BATCH rows), all of it or some columns. Raises TableError."""
    with _reading(path, name), pq.ParquetFile(path, page_checksum_verification=True) as file:
        _checked(file.schema_arrow.empty_table(), path, name)
        yield from file.iter_batches(BATCH, columns=columns)


@contextmanager
def _reading(path: str | Path, name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise TableError(
            f"{path}: no such table; run the study that writes it (snakemake --cores all --configfile <its files>)"
        ) from error
    except (pa.ArrowInvalid, OSError) as error:
        raise TableError(
            f"{path}: not a readable Parquet file ({error}); it was cut off or changed. "
            f"Delete it and run snakemake again: the stage that writes {name!r} will make it anew"
        ) from error


def _checked(table: pa.Table, path: str | Path, name: str) -> pa.Table:
    expected = SCHEMAS[name]
    if not table.schema.equals(expected):
        missing = [field.name for field in expected if field.name not in table.column_names]
        detail = f"missing columns {missing}" if missing else f"columns {table.schema.names} with other types"
        raise TableError(f"{path}: not a table {name!r} ({detail}); expected {expected.names}")
    return table
