"""Splits never share a question, whatever the seeds; benchmarks are fixed; the pool repeats itself."""

from collections import Counter
from statistics import fmean

import pytest

from arbitrage.lab.families import FAMILIES, SEPARATOR
from arbitrage.lab.question_stream import (
    SPLIT_PERCENT,
    benchmark_questions,
    lab_questions,
    label_pool,
    normalise,
    split_of,
)


def test_splits_are_disjoint_across_seeds() -> None:
    seen: dict[str, str] = {}
    for split in SPLIT_PERCENT:
        for seed in (0, 1, 7):
            for row in lab_questions(split, 150, seed):
                assert seen.setdefault(normalise(row["problem"]), split) == split
                assert split_of(row["problem"].upper().replace(" ", "  ")) == split


@pytest.mark.parametrize(("benchmark", "least_steps"), [("lab500", 6), ("labolympiad", 10)])
def test_benchmarks_are_500_unique_questions_of_the_promised_length(benchmark: str, least_steps: int) -> None:
    rows = benchmark_questions(benchmark)  # type: ignore[arg-type]
    assert len({normalise(row["problem"]) for row in rows}) == len({row["question_id"] for row in rows}) == 500
    assert fmean(row["solution"].count(SEPARATOR) + 1 for row in rows) >= least_steps
    assert {row["source"] for row in rows} == set(FAMILIES)
    assert rows == benchmark_questions(benchmark)  # type: ignore[arg-type]
    assert rows[:20] == benchmark_questions(benchmark, 20)  # type: ignore[arg-type]


def test_a_benchmark_has_no_more_than_its_questions() -> None:
    with pytest.raises(ValueError, match="501"):
        benchmark_questions("lab500", 501)


def test_the_pool_repeats_itself_and_is_uneven() -> None:
    rows = list(label_pool(1000, seed=3))
    assert len({normalise(row["problem"]) for row in rows}) < len({row["problem"] for row in rows}) < len(rows) + 1
    shares = Counter(row["source"] for row in rows)
    assert max(shares.values()) > 3 * min(shares.values())
    assert all(split_of(row["problem"]) == "labels" for row in rows)
