"""From labelled steps to what a router variant is trained on (paper: section 4.2, Tables 1-3).

One example a step: the draft step in its history, as the router will see it (`engines.formats.step_input_ids`), and the
class of its advantage. Questions, not steps, are held out. Every choice follows a hash of (seed, question, step), so it
depends neither on the order of the rows nor on the variant: all variants have the same held-out questions.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from arbitrage.engines.formats import step_input_ids
from arbitrage.engines.protocols import AuthoredStep
from arbitrage.questions.text import digest
from arbitrage.routing.labels import Classes, RoutingError, fit_classes
from arbitrage.routing.output import whole_directory
from arbitrage.sections.routing import Dataset, Variant
from arbitrage.tables import write_table

Row = dict[str, Any]
TRAIN, VALIDATION, REPORT = "train.parquet", "validation.parquet", "report.json"


def build_dataset(
    steps_rows: list[Row],
    variant: Variant,
    dataset: Dataset,
    tokenizer: Any,
    separator: str,
    seed: int,
    out_dir: str | Path,
) -> dict[str, Any]:
    """Write `train.parquet`, `validation.parquet` (tables `examples`) and `report.json` to `out_dir`, all or nothing.

    steps_rows: rows of the table `steps` of one pair. tokenizer: of the checkpoint the router starts from.
    The training part is balanced and capped; the held-out part keeps its natural shares. Inputs longer than
    `dataset.max_length` are left out of both and counted. Returns the report. Raises RoutingError where a part would be
    empty, or where the training part has only one kind of step.
    """
    held_out = validation_questions({row["question_id"] for row in steps_rows}, dataset.validation, seed)
    parts: dict[str, list[Row]] = {TRAIN: [], VALIDATION: []}
    too_long = dict.fromkeys(parts, 0)
    for row in steps_rows:
        part = VALIDATION if row["question_id"] in held_out else TRAIN
        example = _example(row, tokenizer, separator, variant.annotate)
        if len(example["input_ids"]) > dataset.max_length:
            too_long[part] += 1
        else:
            parts[part].append(example)
    for part, examples in parts.items():
        if not examples:
            raise RoutingError(
                f"{part}: none of {too_long[part]} inputs is within {dataset.max_length} tokens; "
                "raise dataset.max_length, or label more questions (questions.sample)"
            )
        examples.sort(key=lambda example: (example["question_id"], example["step_index"]))
    classes = fit_classes([example["advantage"] for example in parts[TRAIN]], variant.classes)
    for example in [*parts[TRAIN], *parts[VALIDATION]]:
        example["label"] = classes.label(example["advantage"])
    natural = parts[TRAIN]
    if variant.balance:
        parts[TRAIN] = balanced(natural, classes, seed, dataset.max_examples)
    elif dataset.max_examples is not None:
        parts[TRAIN] = _draw(natural, dataset.max_examples, seed)
    report = {
        "classes": classes.count,
        "boundary": classes.boundary,
        "edges": list(classes.edges),
        "ordinal": variant.ordinal,
        "annotate": variant.annotate,
        "balance": variant.balance,
        "separator": separator,
        "train": _summary(parts[TRAIN], classes) | {"shares_before": _shares(natural, classes)},
        "validation": _summary(parts[VALIDATION], classes),
        "left_out": {
            "too_long_train": too_long[TRAIN],
            "too_long_validation": too_long[VALIDATION],
            "balance_or_cap": len(natural) - len(parts[TRAIN]),
        },
    }
    with whole_directory(Path(out_dir)) as directory:
        for name, examples in parts.items():
            write_table(directory / name, "examples", examples)
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


def balanced(examples: list[Row], classes: Classes, seed: int, max_examples: int | None = None) -> list[Row]:
    """A random part of `examples` (with `label`s) in which all classes on a side of zero are equal, and both sides too.

    With as many classes below zero as above, the default, every class is as large as the smallest; where ties left one
    side with fewer classes, its classes are larger, so that P(advantage > 0) still starts from one half. `max_examples`
    caps the result. Sorted by question and step. Every class must occur.
    """
    members: dict[int, list[Row]] = defaultdict(list)
    for example in examples:
        members[example["label"]].append(example)
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
    drawn = [example for side in sides for label in side for example in _draw(members[label], size // len(side), seed)]
    return sorted(drawn, key=lambda example: (example["question_id"], example["step_index"]))


def _draw(examples: list[Row], size: int, seed: int) -> list[Row]:
    """At most `size` examples, the first in the seed's hash order, in the order they were in."""

    def place(number: int) -> str:
        return digest(str(seed), "example", examples[number]["question_id"], str(examples[number]["step_index"]))

    return [examples[number] for number in sorted(sorted(range(len(examples)), key=place)[:size])]


def _example(row: Row, tokenizer: Any, separator: str, annotate: bool) -> Row:
    history = [AuthoredStep(step["model"], step["text"]) for step in row["history"]]
    step = AuthoredStep("draft", row["draft_step"])
    ids = step_input_ids(tokenizer, row["problem"], history, step, separator, annotate)
    kept = ("study", "pair", "question_id", "step_index", "advantage", "draft_score", "draft_confidence")
    return {key: row[key] for key in kept} | {"input_ids": np.asarray(ids, dtype=np.int32)}


def _shares(examples: list[Row], classes: Classes) -> list[float]:
    """Share of each class, 0 the lowest; they sum to 1."""
    counts = Counter(example["label"] for example in examples)
    return [counts[label] / len(examples) for label in range(classes.count)]


def _summary(examples: list[Row], classes: Classes) -> dict[str, Any]:
    lengths = [len(example["input_ids"]) for example in examples]
    percentiles = {f"p{p}": int(np.percentile(lengths, p, method="higher")) for p in (5, 50, 95)}
    return {
        "questions": len({example["question_id"] for example in examples}),
        "examples": len(examples),
        "shares": _shares(examples, classes),
        "tokens": percentiles | {"max": max(lengths), "total": sum(lengths)},
    }
