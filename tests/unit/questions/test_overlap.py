"""Decontamination: what is a benchmark question in another guise, and what is only worded alike."""

import json
from pathlib import Path

import pytest

from arbitrage.questions.overlap import TEMPLATE, find_overlaps

DATA = Path(__file__).parents[4] / "shared" / "data"
LONG = "A farmer has $17$ sheep, sells 5 of them on Monday and buys 11 more on Friday; how many sheep has he then?"


@pytest.mark.parametrize(
    ("problem", "benchmark", "expected"),
    [
        ("Compute $2^{10}$.", "compute  2^10", "whole"),
        ("Solve the following. Compute $ 2 ^ { 10 } $ now.", "Compute $2^{10}$.", "whole"),
        ("Compute 2^11.", "Compute $2^{10}$.", None),
        ("Compute 3 + 4.", "Compute 3 - 4.", None),
        ("Find 7 apples in the tree", "Find 7", None),
        ("Find 7", "find  7", "whole"),
        (f"Please solve: {LONG.upper()}", LONG, "whole"),
        (LONG.replace("how many sheep has he then", "what is that number"), LONG, "ngram"),
        (LONG.replace("17", "18").replace("11", "12"), LONG, None),
    ],
)
def test_a_question_overlaps_by_its_words_and_numbers(problem: str, benchmark: str, expected: str | None) -> None:
    assert find_overlaps([problem], [benchmark], 13) == [expected]


def test_a_shared_ngram_is_found_wherever_it_stands() -> None:
    shared = " ".join(f"w{letter}" for letter in "abcdefghijklm")
    assert find_overlaps([f"one two {shared} three", shared], [f"four {shared} five six"], 13) == ["ngram", "ngram"]
    assert find_overlaps([f"one two {shared} three"], [f"four {shared} five six"], 14) == [None]


def test_a_wording_of_many_questions_is_a_template_and_tells_nothing() -> None:
    template = "Let n be the term of the sequence that starts at {} and grows by its index, then add {}."
    benchmark = [template.format(2, 100)]
    few = [template.format(2, other) for other in range(TEMPLATE)]
    assert find_overlaps(few, benchmark, 13) == ["ngram"] * TEMPLATE
    assert find_overlaps([*few, template.format(3, 1)], benchmark, 13) == [None] * (TEMPLATE + 1)


def test_a_template_question_with_the_benchmarks_numbers_still_goes() -> None:
    template = "Let n be the term of the sequence that starts at {} and grows by its index, then add {}."
    problems = [template.format(2, other) for other in range(50)]
    found = find_overlaps(problems, [template.format(2, 7)], 13)
    assert [number for number, rule in enumerate(found) if rule] == [7]


@pytest.mark.skipif(not DATA.is_dir(), reason=f"needs the data sets in {DATA}")
def test_planted_leaks_go_and_little_else() -> None:
    def read(name: str) -> list[dict[str, str]]:
        return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]

    benchmark = [row["problem"] for row in read("math500.jsonl")] + [
        row["question"] for row in read("olympiadbench.jsonl")
    ]
    rows = read("numina_like.jsonl")
    found = find_overlaps([row["problem"] for row in rows], benchmark, 13)
    removed: dict[str, list[bool]] = {"leak_verbatim": [], "leak_reworded": [], "rest": []}
    for row, rule in zip(rows, found, strict=True):
        removed.get(row["source"], removed["rest"]).append(rule is not None)
    assert all(removed["leak_verbatim"])
    assert sum(removed["leak_reworded"]) >= 0.95 * len(removed["leak_reworded"])
    assert sum(removed["rest"]) < 0.005 * len(removed["rest"])
