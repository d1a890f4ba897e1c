"""Grading of the real benchmarks' gold answers: themselves, rewritten, and spoilt."""

import os
from pathlib import Path

import pytest
from performance.grading import BENCHMARKS, measure

DATA = Path(os.environ.get("ARBITRAGE_TEST_DATA") or Path(__file__).parents[4] / "shared" / "data")


@pytest.mark.parametrize("benchmark", BENCHMARKS)
@pytest.mark.parametrize(
    ("kind", "least", "most"), [("self", 0.995, 1.0), ("equivalent", 0.97, 1.0), ("wrong", 0.0, 0.0)]
)
def test_gold_answers_are_told_from_wrong_ones(benchmark: str, kind: str, least: float, most: float) -> None:
    if not (DATA / f"{benchmark}.jsonl").is_file():
        pytest.skip(f"no {benchmark}.jsonl in {DATA}: name the folder that holds it in ARBITRAGE_TEST_DATA")
    result = measure(DATA, benchmark, kind)
    assert result["questions"] >= 500
    assert least <= result["rate"] <= most, result["failures"][:20]
    assert result["seconds"] * 10_000 / result["cases"] < 60
