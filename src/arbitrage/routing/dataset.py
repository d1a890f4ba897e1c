"""From labelled steps to what a router variant is trained on (paper: section 4.2, Tables 1-3).

One example a step: the draft step in its history, as the router will see it (`routing.inputs`), and the class of what
escalating it gains: its advantage, or by looking ahead -1, 0 or 1. Questions, not steps, are held out. Every choice
follows a hash of (seed, question, step), so it depends neither on the order of the rows nor on the variant: all
variants have the same held-out questions.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from arbitrage.config.router import Dataset, Variant
from arbitrage.io.atomic import whole_directory
from arbitrage.io.tables import SCHEMAS, read_batches, read_table, table_writer
from arbitrage.questions.normal_form import digest
from arbitrage.routing.inputs import ORDER, Encoding
from arbitrage.routing.label_classes import Classes, RoutingError, fit_classes
from arbitrage.runtime.paths import REPORT, TRAIN, VALIDATION

KEPT = ("study", "pair", *ORDER, "advantage", "draft_score", "draft_confidence")  # of a step, in its example


Gains = Mapping[tuple[str, int], float | None]  # by question id and step index


def build_dataset(
    steps: Path,
    variant: Variant,
    dataset: Dataset,
    encoding: Encoding,
    seed: int,
    out_dir: str | Path,
    lookahead: Sequence[Path] = (),
) -> dict[str, Any]:
    """Write `train.parquet`, `validation.parquet` (tables `examples`) and `report.json` to `out_dir`, all or nothing.

    steps: the table `steps` of one pair; it is read piece by piece, for inputs take more room than memory may have.
    encoding: what the router reads of a step (`routing.inputs`). lookahead: the tables of that name, of all shards,
    where the variant's labels are of that kind; steps whose answers are ungraded are left out and counted.
    The training part is balanced and capped; the held-out part keeps its natural shares. Texts longer than
    `dataset.max_length` are left out of both and counted. Returns the report. Raises RoutingError where a part would be
    empty, where the training part has only one kind of step, or where a step has no look-ahead label.
    """
    with whole_directory(Path(out_dir)) as directory:
        everything = directory / "everything.parquet"
        gains = lookahead_gains(lookahead) if variant.labels == "lookahead" else None
        examples = _encode(steps, everything, encoding, gains)
        held_out = examples["question_id"].isin(
            validation_questions(examples["question_id"].unique(), dataset.validation, seed)
        )
        fits, known = examples["tokens"] <= dataset.max_length, examples["gain"].notna()
        parts = {TRAIN: examples[~held_out & fits & known], VALIDATION: examples[held_out & fits & known]}
        too_long = {TRAIN: int((~held_out & ~fits).sum()), VALIDATION: int((held_out & ~fits).sum())}
        for part, members in parts.items():
            if members.empty:
                raise RoutingError(
                    f"{part}: no input that has a label is within {dataset.max_length} tokens; "
                    "raise dataset.max_length, or label more questions (questions.sample)"
                )
        classes = fit_classes(parts[TRAIN]["gain"].to_numpy(), variant.classes)
        parts = {part: members.assign(label=classes.labels(members["gain"])) for part, members in parts.items()}
        natural = parts[TRAIN]
        most = dataset.max_examples if variant.kind == "classifier" else None
        if variant.balanced:
            parts[TRAIN] = balanced(parts[TRAIN], classes, seed, most)
        elif most is not None:
            parts[TRAIN] = _draw(parts[TRAIN], most, seed)
        report = {
            "kind": variant.kind,
            "loss": variant.objective,
            "labels": variant.labels,
            "classes": classes.count,
            "boundary": classes.boundary,
            "edges": list(classes.edges),
            "ordinal": variant.ordinal,
            "annotate": variant.annotate,
            "balance": variant.balanced,
            **encoding.report,
            "train": _summary(parts[TRAIN], classes) | {"shares_before": _shares(natural, classes)},
            "validation": _summary(parts[VALIDATION], classes),
            "left_out": {
                "too_long_train": too_long[TRAIN],
                "too_long_validation": too_long[VALIDATION],
                "ungraded": int((~known).sum()),
                "balance_or_cap": len(natural) - len(parts[TRAIN]),
            },
        }
        for part, members in parts.items():
            _pick(everything, members, directory / part)
        everything.unlink()
        (directory / REPORT).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return report


def validation_questions(question_ids: Iterable[str], share: float, seed: int) -> set[str]:
    """The held-out questions: the first `share` of all (rounded; at least one, never all) in the seed's hash order.

    Raises RoutingError where there are fewer than two questions.
    """
    ordered = sorted(set(question_ids), key=lambda question_id: digest(str(seed), "validation", question_id))
    if len(ordered) < 2:
        raise RoutingError(f"steps of {len(ordered)} questions; at least 2 are needed to hold one out: label more")
    return set(ordered[: min(max(round(share * len(ordered)), 1), len(ordered) - 1)])


def balanced(examples: pd.DataFrame, classes: Classes, seed: int, max_examples: int | None = None) -> pd.DataFrame:
    """A random part of `examples` in which all classes on a side of zero are equal, and both sides too (Table 3).

    examples: with a column `label`, in which every class occurs. With as many classes below zero as above, the default,
    every class is as large as the smallest; where ties left one side with fewer classes, its classes are larger, so
    that P(advantage > 0) still starts from one half. `max_examples` caps the result. Sorted by question and step.
    """
    members = dict(list(examples.groupby("label")))
    sides = [range(classes.boundary), range(classes.boundary, classes.count)]
    size = min(len(side) * min(len(members[label]) for label in side) for side in sides)
    if max_examples is not None:
        size = min(size, max_examples // 2)
    largest = max(len(side) for side in sides)
    if size < largest:
        raise RoutingError(
            f"balancing leaves {size} steps for the {largest} classes of a side; "
            "label more questions (questions.sample), raise dataset.max_examples, or use fewer classes"
        )
    drawn = [_draw(members[label], size // len(side), seed) for side in sides for label in side]
    return pd.concat(drawn).sort_values(ORDER)


def _draw(examples: pd.DataFrame, size: int, seed: int) -> pd.DataFrame:
    """At most `size` examples, the first in the seed's hash order, in the order they were in."""
    if size >= len(examples):
        return examples
    keys = zip(examples["question_id"], examples["step_index"], strict=True)
    # The first 64 bits of each hash order a million rows as all 256 would, in an eighth of the room
    ranks = [int(digest(str(seed), "example", question, str(step))[:16], 16) for question, step in keys]
    return examples.iloc[np.sort(np.argsort(np.array(ranks, dtype=np.uint64), kind="stable")[:size])]


def lookahead_gains(tables: Sequence[Path]) -> Gains:
    """What escalating each step gains by looking ahead: 1 where only that ends right, -1 where only accepting does.

    0 where both do or neither, and where both models wrote the same step; None where an answer is ungraded. tables:
    `lookahead`, of all shards. Raises TableError.
    """
    gains: dict[tuple[str, int], float | None] = {}
    for row in (row for table in tables for row in read_table(table, "lookahead")):
        accepted, escalated = row["right_after_draft"], row["right_after_target"]
        graded = accepted is not None and escalated is not None
        gain = 0.0 if row["same_text"] else float(escalated) - float(accepted) if graded else None
        gains[row["question_id"], row["step_index"]] = gain
    return gains


def _gains(batch: pa.RecordBatch, lookahead: Gains | None) -> pa.Array:
    """What escalating each row of `steps` gains, float64: the advantage, or what looking ahead found."""
    if lookahead is None:
        return batch.column("advantage")
    keys = list(zip(*(batch.column(name).to_pylist() for name in ORDER), strict=True))
    missing = [key for key in keys if key not in lookahead]
    if missing:
        question, step = missing[0]
        raise RoutingError(
            f"{len(missing)} labelled steps have no look-ahead label (question {question}, step {step} among them); "
            "give the `lookahead` tables of all shards, made from these steps (--lookahead)"
        )
    return pa.array([lookahead[key] for key in keys], pa.float64())


def _encode(steps: Path, out: Path, encoding: Encoding, lookahead: Gains | None) -> pd.DataFrame:
    """Write every step's example to `out`, unlabelled, by question and step; return what is chosen by.

    That is question_id, step_index, gain (NaN where unknown), and `tokens`, the length of the input; the row number is
    the index.
    """
    frames = [pd.DataFrame(columns=[*ORDER, "gain", "tokens"])]
    schema = SCHEMAS["examples"]
    with table_writer(out, "examples") as write:
        for batch in encoding.batches(steps, KEPT):
            inputs = encoding.inputs(batch)
            gains = _gains(batch, lookahead)
            lengths = inputs.value_lengths().to_numpy() if encoding.column == "input_ids" else 0
            parts = {name: batch.column(name) for name in KEPT} | {
                encoding.column: inputs,
                "gain": gains,
                "label": pa.array(np.zeros(len(batch), dtype=np.int8)),
            }
            write(
                pa.table([parts.get(field.name, pa.nulls(len(batch), field.type)) for field in schema], schema=schema)
            )
            frames.append(batch.select(ORDER).to_pandas().assign(gain=gains.to_pandas(), tokens=lengths))
    return pd.concat(frames[1:] or frames, ignore_index=True)


def _pick(everything: Path, members: pd.DataFrame, out: Path) -> None:
    """Write the rows of `everything` whose numbers are `members`' index, with their labels, in order."""
    numbers, labels = members.index.to_numpy(), members["label"].to_numpy(dtype=np.int8)
    label_column = SCHEMAS["examples"].get_field_index("label")
    seen = 0
    with table_writer(out, "examples") as write:
        for batch in read_batches(everything, "examples"):
            first, last = np.searchsorted(numbers, [seen, seen + len(batch)])
            if first < last:
                table = pa.Table.from_batches([batch]).take(pa.array(numbers[first:last] - seen))
                write(
                    table.set_column(
                        label_column, SCHEMAS["examples"].field(label_column), pa.array(labels[first:last])
                    )
                )
            seen += len(batch)


def _shares(examples: pd.DataFrame, classes: Classes) -> list[float]:
    """Share of each class, 0 the lowest; they sum to 1."""
    counts = Counter(examples["label"].tolist())
    return [counts[label] / len(examples) for label in range(classes.count)]


def _summary(examples: pd.DataFrame, classes: Classes) -> dict[str, Any]:
    lengths = examples["tokens"].to_numpy()
    percentiles = {f"p{p}": int(np.percentile(lengths, p, method="higher")) for p in (5, 50, 95)}
    return {
        "questions": int(examples["question_id"].nunique()),
        "examples": len(examples),
        "shares": _shares(examples, classes),
        "tokens": percentiles | {"max": int(lengths.max()), "total": int(lengths.sum())},
    }
