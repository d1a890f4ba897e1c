"""Where a study's time went: rule by rule, and how much of it was spent inside the models (`arbitrage times`).

A rule's seconds are Snakemake's own (`timings/`), from the start of a job's command to its end. Model seconds are
what the stages note in their provenance records (`work`): generating, scoring, training. The rest is starting up,
loading, and everything the study does around its models. Snakemake times a job's last attempt alone: what killed ones
took is in its record (`earlier_attempts`, of labelling and sweep), and counts too; how busy GPUs were then is unknown.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
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

    killed: attempts at these jobs that were; units: by model, tokens it generated or inputs it scored; gpus: what each
    job says of each GPU that it held (`runtime.gpu_use`), and `killed_s`, for which killed attempts held it.
    """

    rule: str
    jobs: int = 0
    killed: int = 0
    seconds: float = 0.0
    model_s: float = 0.0
    units: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    gpus: list[dict[str, Any]] = field(default_factory=list)

    def add(self, work: Mapping[str, Mapping[str, float]]) -> None:
        """Count what models did in a job; further trainings of the router (`router-1`) are the router's."""
        for model, did in work.items():
            self.model_s += did["seconds"]
            self.units[model.partition("-")[0]] += did.get("tokens", did.get("scored", 0))

    @property
    def gpu_hours(self) -> float:
        """Hours for which jobs held GPUs, killed attempts' too; two GPUs for an hour are two."""
        return float(sum(gpu["held_s"] + gpu["killed_s"] for gpu in self.gpus)) / 3600

    @property
    def energy_j(self) -> float | None:
        """Joules of the GPUs that tell them, without killed attempts'; None where none does."""
        told = [gpu["energy_j"] for gpu in self.gpus if "energy_j" in gpu]
        return sum(told) if told else None

    def gpu_mean(self, key: str) -> float | None:
        """Mean of `utilisation` or `busy_share` over the time that GPUs were held; None where none tells it."""
        told = [gpu for gpu in self.gpus if key in gpu]
        held_s = sum(gpu["held_s"] for gpu in told)
        return sum(gpu[key] * gpu["held_s"] for gpu in told) / held_s if held_s else None


def rule_times(folder: Path) -> list[RuleTime]:
    """Every rule of the study in `folder` that has run, the longest first. Raises TableError where none has."""
    rules: dict[str, RuleTime] = {}
    for name, seconds in _jobs(StudyPaths(folder).timings):
        each = rules.setdefault(name, RuleTime(name))
        each.jobs += 1
        each.seconds += seconds
    if not rules:
        raise TableError(f"{folder}: no job of this study has run here; run snakemake first")
    for record in _records(folder):
        rule = rules.setdefault(record["stage"], RuleTime(record["stage"]))
        rule.add(record.get("work", {}))
        killed_s = sum(attempt["seconds"] for attempt in _earlier(record))
        rule.gpus += [{**gpu, "killed_s": killed_s} for gpu in record.get("gpu_use", [])]
        for attempt in _earlier(record):
            rule.killed += 1
            rule.seconds += attempt["seconds"]
            rule.add(attempt["work"])
    return sorted((rule for rule in rules.values() if rule.jobs), key=lambda each: -each.seconds)


def elapsed(folder: Path) -> tuple[float, float]:
    """Seconds from the first job's start to the last one's end, and how many of these any job was running."""
    spans = sorted(span for record in _records(folder) for span in _spans(record))
    running, until = 0.0, spans[0][0]
    for start, end in spans:
        running += max(0.0, end - max(start, until))
        until = max(until, end)
    return until - spans[0][0], running


def _spans(record: dict[str, Any]) -> Iterator[tuple[float, float]]:
    """From when to when each attempt at a job ran, in seconds since 1970."""
    yield _instant(record["started"]), _instant(record["ended"])
    for attempt in _earlier(record):
        yield _instant(attempt["started"]), _instant(attempt["started"]) + attempt["seconds"]


def _earlier(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The killed attempts at a job (`stages.attempts`)."""
    attempts: list[dict[str, Any]] = record.get("earlier_attempts", [])
    return attempts


def _instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def sum_of(rules: Sequence[RuleTime]) -> RuleTime:
    """All rules together."""
    total = RuleTime("all")
    for rule in rules:
        total.jobs += rule.jobs
        total.killed += rule.killed
        total.seconds += rule.seconds
        total.model_s += rule.model_s
        for model, units in rule.units.items():
            total.units[model] += units
        total.gpus += rule.gpus
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
