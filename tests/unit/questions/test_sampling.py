"""Sampling: totals, quotas, copies, and independence of the order the questions come in."""

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.config.questions import Benchmark, Questions
from arbitrage.config.study import Study
from arbitrage.questions.normal_form import QuestionError
from arbitrage.questions.sampling import (
    benchmark_questions,
    distinct,
    kept_out,
    largest_remainder,
    sample_questions,
    stratified,
)
from arbitrage.questions.sources import register
from arbitrage.runtime.dependencies import settings_read


@pytest.fixture
def lab() -> Any:
    """Serve given rows as the sources `lab` and `lab500`."""

    def serve(rows: list[dict[str, Any]]) -> None:
        for name in ("lab", "lab500"):
            register(name, lambda settings, seed: rows)

    return serve


def pool(**sizes: int) -> list[dict[str, Any]]:
    return [
        {
            "question_id": f"{source}-{i}",
            "source": source,
            "problem": f"{source} {i}?",
            "solution": "s",
            "answers": ["1"],
        }
        for source, size in sizes.items()
        for i in range(size)
    ]


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 300), min_size=1), st.data())
def test_largest_remainder_fills_all_seats_within_one_of_the_quota(counts: dict[str, int], data: st.DataObject) -> None:
    total = sum(counts.values())
    size = data.draw(st.integers(0, total))
    seats = largest_remainder(counts, size)
    assert sum(seats.values()) == size
    assert seats.keys() == counts.keys()
    for source, count in counts.items():
        assert 0 <= seats[source] <= count
        assert abs(seats[source] - size * count / max(total, 1)) < 1


def test_largest_remainder_gives_the_last_seat_to_the_largest_remainder() -> None:
    assert largest_remainder({"a": 47, "b": 16, "c": 37}, 10) == {"a": 5, "b": 1, "c": 4}


def test_more_than_there_is_cannot_be_shared() -> None:
    with pytest.raises(QuestionError, match="cannot share 5 questions over strata that hold 4"):
        largest_remainder({"a": 4}, 5)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 40)), min_size=1), st.integers(0, 5), st.randoms())
def test_a_sample_does_not_depend_on_the_order_of_its_pool(
    made: list[tuple[str, int]], seed: int, shuffler: random.Random
) -> None:
    rows = distinct([row for source, i in made for row in pool(**{source: i + 1})[-1:]])
    shuffled = rows.copy()
    shuffler.shuffle(shuffled)
    size = (len(rows) + 1) // 2
    assert stratified(rows, size, seed) == stratified(shuffled, size, seed)


def test_another_seed_gives_another_sample() -> None:
    rows = pool(a=200, b=100)
    assert stratified(rows, 30, 1) != stratified(rows, 30, 2)
    assert Counter(row["source"] for row in stratified(rows, 30, 1)) == {"a": 20, "b": 10}


def test_too_small_a_pool_says_what_to_do() -> None:
    with pytest.raises(QuestionError, match=r"questions.sample is 9, but 3 .* lower questions.sample"):
        stratified(pool(a=3), 9, 1)


def test_of_copies_one_stays_whatever_their_order_and_it_is_not_the_one_in_capitals() -> None:
    copies = [{"problem": text, "source": "a", "solution": "s"} for text in ("FIND  X", "Find x", "FIND X", "Find y")]
    assert [row["problem"] for row in distinct(copies)] == ["Find x", "Find y"]
    assert [row["problem"] for row in distinct(copies[::-1])] == ["Find y", "Find x"]


def test_compatible_characters_make_no_difference() -> None:
    assert (
        len(
            distinct(
                [{"problem": text, "source": "a", "solution": "s"} for text in ("x\u00b2 + 1", "\uff58^{2}\u00a0+ 1")]
            )
        )
        == 1
    )


def test_the_report_accounts_for_every_row(lab: Any) -> None:
    rows = pool(a=60, b=40)
    blank = {**rows[0], "question_id": "blank", "problem": " "}
    copy = {**rows[1], "problem": rows[1]["problem"].upper()}
    lab([*rows, blank, copy])
    sampled, report = sample_questions("s", Questions(sample=20), 42, [{"problem": "A   3!"}])
    assert len(sampled) == 20
    assert [row["question_id"] for row in sampled] == sorted(row["question_id"] for row in sampled)
    assert (report["rows"], report["blank"], report["duplicates"], report["overlap"]["removed"]) == (102, 1, 1, 1)
    assert report["overlap"]["by_source"] == {"a": 1}
    assert report["available"] == {"a": 59, "b": 40}
    assert report["sampled"] == {"a": 12, "b": 8}
    assert "a-3" not in {row["question_id"] for row in sampled}


def test_a_benchmark_is_limited_to_a_seeded_sample(lab: Any) -> None:
    lab(pool(a=50))
    chosen = {
        seed: [row["question_id"] for row in benchmark_questions("s", "b", Benchmark(source="lab500", limit=10), seed)]
        for seed in (1, 2)
    }
    assert len(chosen[1]) == len(set(chosen[1])) == 10
    assert chosen[1] != chosen[2]
    assert len(benchmark_questions("s", "b", Benchmark(source="lab500"), 1)) == 50


def test_a_larger_limit_only_adds_questions(lab: Any) -> None:
    lab(pool(a=50))
    few, many = (
        {row["question_id"] for row in benchmark_questions("s", "b", Benchmark(source="lab500", limit=limit), 1)}
        for limit in (10, 20)
    )
    assert few < many


@pytest.mark.parametrize(
    ("change", "limit", "message"),
    [
        ({"question_id": "a-1"}, None, "the question .* comes twice; remove one, or name a column of ids"),
        ({"answers": []}, None, "'a-0' has no answer"),
        ({}, 9, "limit is 9, it has 3 questions"),
    ],
)
def test_a_faulty_benchmark_is_refused(lab: Any, change: dict[str, Any], limit: int | None, message: str) -> None:
    rows = pool(a=3)
    lab([rows[0] | change, *rows[1:]])
    with pytest.raises(QuestionError, match=message):
        benchmark_questions("s", "b", Benchmark(source="lab500", limit=limit), 1)


def study_of(**benchmark: Any) -> Study:
    model = {"path": "."}
    return Study.model_validate(
        {
            "study": "s",
            "models": {"d": model, "t": model},
            "pairs": {"p": {"draft": "d", "target": "t"}},
            "prm": model,
            "questions": {"source": "lab", "pool": 9, "sample": 2},
            "benchmarks": {"b": {"source": "lab500", **benchmark}},
        }
    )


def test_no_question_of_a_benchmark_is_labelled_whatever_its_limit_and_what_is_asked_below_it(lab: Any) -> None:
    """So that another limit asks for no other labels, and trains no other router."""
    lab(pool(a=9))
    suffix = "Answer with one whole number, and explain in two sentences how you have found it."
    studies = [study_of(), study_of(limit=2), study_of(limit=3, prompt_suffix=suffix)]
    assert [len(kept_out(study)) for study in studies] == [9, 9, 9]
    assert all(kept_out(study) == kept_out(studies[0]) for study in studies)
    reads = [settings_read(study, "questions") for study in studies]
    assert reads[0] == reads[1] == reads[2]
    assert settings_read(study_of(columns={"problem": "question"}), "questions") != reads[0]
    with pytest.raises(QuestionError, match="0 questions are left"):  # all nine are the benchmark's
        sample_questions("s", studies[1].questions, 1, kept_out(studies[1]))
