"""The lab as a source of the pipeline: its pool plays NuminaMath, its benchmarks MATH500 and OlympiadBench."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from arbitrage.config.questions import Questions
from arbitrage.lab.question_stream import BENCHMARK_SIZE, Benchmark, LabRow, benchmark_questions, label_pool
from arbitrage.questions.sources import register


def register_sources() -> None:
    """Make `source: lab`, `lab500` and `labolympiad` known."""
    register("lab", _pool)
    register("lab500", lambda settings, seed: _benchmark("lab500"))
    register("labolympiad", lambda settings, seed: _benchmark("labolympiad"))


def _pool(settings: Questions, seed: int) -> Iterator[dict[str, Any]]:
    return _as_questions(label_pool(settings.pool, seed))


def _benchmark(name: Benchmark) -> Iterator[dict[str, Any]]:
    return _as_questions(benchmark_questions(name, BENCHMARK_SIZE))


def _as_questions(rows: Iterable[LabRow]) -> Iterator[dict[str, Any]]:
    for row in rows:
        columns = {name: row[name] for name in ("question_id", "source", "problem", "solution")}
        yield {**columns, "answers": [row["answer"]]}
