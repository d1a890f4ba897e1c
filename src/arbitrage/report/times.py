"""Where a study's time went: rule by rule, and how much of it was spent inside the models (`arbitrage times`).

A rule's seconds are Snakemake's own (`timings/`), from the start of a job's command to its end. Model seconds are
what the stages tell in their provenance records (`work`): generating, scoring, training. The rest is starting up,
loading, and everything the study does around its models.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from arbitrage.io.tables import TableError
from arbitrage.runtime.paths import StudyPaths


@dataclass
class RuleTime:
    """Jobs of one rule: how many, their seconds, and how many of these in models.

    units: by model, tokens it generated or inputs it scored.
    """

    rule: str
    jobs: int = 0
    seconds: float = 0.0
    model_s: float = 0.0
    units: dict[str, float] = field(default_factory=lambda: defaultdict(float))


def rule_times(folder: Path) -> list[RuleTime]:
    """Every rule of the study in `folder` that has run, the longest first. Raises TableError where none has."""
    rules: dict[str, RuleTime] = {}
    for rule, seconds in _jobs(StudyPaths(folder).timings):
        each = rules.setdefault(rule, RuleTime(rule))
        each.jobs += 1
        each.seconds += seconds
    if not rules:
        raise TableError(f"{folder}: no job of this study has run here; run snakemake first")
    for record in _records(folder):
        each = rules.setdefault(record["stage"], RuleTime(record["stage"]))
        for model, told in record.get("work", {}).items():
            each.model_s += told["seconds"]
            each.units[model] += told.get("tokens", told.get("scored", 0))
    return sorted((rule for rule in rules.values() if rule.jobs), key=lambda each: -each.seconds)


def elapsed(folder: Path) -> float:
    """Seconds from the first job's start to the last one's end, to the second; pauses between runs count too."""
    records = list(_records(folder))
    started = min(datetime.fromisoformat(record["started"]) for record in records)
    return (max(datetime.fromisoformat(record["ended"]) for record in records) - started).total_seconds()


def sum_of(rules: Sequence[RuleTime]) -> RuleTime:
    """All rules together."""
    total = RuleTime("all")
    for rule in rules:
        total.jobs += rule.jobs
        total.seconds += rule.seconds
        total.model_s += rule.model_s
        for model, units in rule.units.items():
            total.units[model] += units
    return total


def _jobs(folder: Path) -> Iterator[tuple[str, float]]:
    """Rule and seconds of every job; rules are told apart by folder, or by file where they have one job."""
    for file in folder.rglob("*.tsv"):
        seconds = pd.read_csv(file, sep="\t")["s"].sum()
        yield file.relative_to(folder).with_suffix("").parts[0], float(seconds)


def _records(folder: Path) -> Iterator[dict[str, Any]]:
    """The provenance records of all outputs; of a job with models there is one."""
    for file in sorted(folder.rglob("*.provenance.json")):
        yield json.loads(file.read_text(encoding="utf-8"))
