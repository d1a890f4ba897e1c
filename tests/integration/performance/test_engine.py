from __future__ import annotations

from pathlib import Path

from performance import engine

from tests.support.tiny_models import build_causal
from tests.unit.engines.conftest import load

LIMIT = 20


def test_the_engine_and_generate_are_given_the_same_and_write_the_same(tmp_path: Path) -> None:
    generator = load(build_causal(tmp_path / "model", "bpe", seed=3))
    rounds = engine.rounds_of(generator, [f"First we add {n} and 4." for n in range(12)], 3, LIMIT)
    assert len(rounds[0]) == 12 >= len(rounds[1]) >= len(rounds[2]) > 0
    starts = [tuple(ids[: len(earlier)]) for earlier in rounds[0] for ids in rounds[1]]
    assert all(ids[: len(earlier)] in starts for earlier, ids in zip(rounds[0], rounds[1], strict=False))
    writers = {"ours": engine.by_engine(generator, LIMIT), "model.generate": engine.by_generate(generator, LIMIT, 5)}
    findings, detail = engine.measure("draft", generator, rounds, writers, LIMIT, runs=2)
    assert [finding.value for finding in findings if "same text" in finding.measure] == [100.0]
    assert detail["steps"] == sum(map(len, rounds)) and detail["tokens"] > detail["steps"]
    assert all(len(seconds) == 2 for seconds in detail["seconds"].values())
    assert 0 < detail["passes"]["refilled"] <= detail["passes"]["as it is"]
    assert generator.refilled_columns == 0  # as it was
