"""Grading of the real benchmarks' gold answers: themselves, rewritten, and spoilt."""

import os
from pathlib import Path

import pytest
from performance.grading import BENCHMARKS, KINDS, measure

STEP = 15  # every so many cases; `python -m performance.grading` takes all
DATA = Path(os.environ.get("ARBITRAGE_TEST_DATA") or Path(__file__).parents[4] / "shared" / "data")


@pytest.mark.parametrize("benchmark", BENCHMARKS)
@pytest.mark.parametrize(("kind", "right"), KINDS.items())
def test_gold_answers_are_told_from_wrong_ones(benchmark: str, kind: str, right: bool) -> None:
    if not (DATA / f"{benchmark}.jsonl").is_file():
        pytest.skip(f"no {benchmark}.jsonl in {DATA}: name the folder that holds it in ARBITRAGE_TEST_DATA")
    result = measure(DATA, benchmark, kind, step=STEP)
    assert result["questions"] >= 500
    assert not result["ungraded"]
    least = 1.0 if kind == "self" else 0.99 if right else 0.0
    most = 1.0 if right else 0.0
    assert least <= result["accepted"] / max(result["cases"], 1) <= most or not result["cases"], result["failures"][:20]
