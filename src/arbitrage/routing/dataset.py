"""From labelled steps to what a router variant is trained on (paper: section 4.2, Tables 1-3).

One example a step: the draft step in its history, as the router will see it (`routing.inputs`), and the class of its
advantage. Questions, not steps, are held out. Every choice follows a hash of (seed, question, step), so it
depends neither on the order of the rows nor on the variant: all variants have the same held-out questions.
"""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from arbitrage.config.router import Dataset, Variant
from arbitrage.io.atomic import whole_directory
from arbitrage.io.tables import SCHEMAS, read_batches, table_writer
from arbitrage.questions.normal_form import digest
from arbitrage.routing.inputs import ORDER, Encoding
from arbitrage.routing.label_classes import Classes, RoutingError, fit_classes

TRAIN, VALIDATION, REPORT = "train.parquet", "validation.parquet", "report.json"
KEPT = ("study", "pair", *ORDER, "advantage", "draft_score", "draft_confidence")  # of a step, in its example


def build_dataset(
    steps: Path, variant: Variant, dataset: Dataset, encoding: Encoding, seed: int, out_dir: str | Path
) -> dict[str, Any]:
    """Write `train.parquet`, `validation.parquet` (tables `examples`) and `report.json` to `out_dir`, all or nothing.

    steps: the table `steps` of one pair; it is read piece by piece, for inputs take more room than memory may have.
    encoding: what the router reads of a step (`routing.inputs`).
    The training part is balanced and capped; the held-out part keeps its natural shares. Texts longer than
    `dataset.max_length` are left out of both and counted. Returns the report. Raises RoutingError where a part would be
    empty, or where the training part has only one kind of step.
    """
    with whole_directory(Path(out_dir)) as directory:
        everything = directory / "everything.parquet"
        examples = _encode(steps, everything, encoding)
        held_out = examples["question_id"].isin(
            validation_questions(examples["question_id"].unique(), dataset.validation, seed)
        )
        fits = examples["tokens"] <= dataset.max_length
        parts = {TRAIN: examples[~held_out & fits], VALIDATION: examples[held_out & fits]}
        too_long = {TRAIN: int((~held_out & ~fits).sum()), VALIDATION: int((held_out & ~fits).sum())}
        for part, members in parts.items():
            if members.empty:
                raise RoutingError(
                    f"{part}: none of {too_long[part]} inputs is within {dataset.max_length} tokens; "
                    "raise dataset.max_length, or label more questions (questions.sample)"
                )
        classes = fit_classes(parts[TRAIN]["advantage"].to_numpy(), variant.classes)
        parts = {part: members.assign(label=classes.labels(members["advantage"])) for part, members in parts.items()}
        natural = parts[TRAIN]
        most = dataset.max_examples if variant.kind == "classifier" else None
        if variant.balanced:
            parts[TRAIN] = balanced(parts[TRAIN], classes, seed, most)
        elif most is not None:
            parts[TRAIN] = _draw(parts[TRAIN], most, seed)
        report = {
            "kind": variant.kind,
            "loss": variant.objective,
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


def _encode(steps: Path, out: Path, encoding: Encoding) -> pd.DataFrame:
    """Write every step's example to `out`, unlabelled, by question and step; return what is chosen by.

    That is question_id, step_index, advantage, and `tokens`, the length of the input; the row number is the index.
    """
    columns = [*ORDER, "advantage"]
    frames = [pd.DataFrame(columns=[*columns, "tokens"])]
    schema = SCHEMAS["examples"]
    with table_writer(out, "examples") as write:
        for batch in encoding.batches(steps, KEPT):
            inputs = encoding.inputs(batch)
            lengths = inputs.value_lengths().to_numpy() if encoding.column == "input_ids" else 0
            parts = {name: batch.column(name) for name in KEPT} | {
                encoding.column: inputs,
                "label": pa.array(np.zeros(len(batch), dtype=np.int8)),
            }
            write(
                pa.table([parts.get(field.name, pa.nulls(len(batch), field.type)) for field in schema], schema=schema)
            )
            frames.append(batch.select(columns).to_pandas().assign(tokens=lengths))
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
