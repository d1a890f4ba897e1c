"""Labelling, the sweep and live decoding with PRM and router on vLLM: what they write with both on transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from arbitrage.config.study import Study
from arbitrage.io.tables import read_table, write_table
from arbitrage.stages.label import label
from arbitrage.stages.solve import open_decoder, solve
from arbitrage.stages.sweep import sweep
from tests.support.tiny_models import TWO_CLASSES, build_classifier, tiny_study
from tests.unit.stages.test_work_through import COLUMNS

pytestmark = [pytest.mark.extra, pytest.mark.timeout(300)]


def study(folder: Path, engine: dict[str, Any]) -> Study:
    """Both scorers with attention heads of 32, as vLLM's build for CPUs wants them."""
    prm = build_classifier(folder / "wide" / "prm", width=128)
    build_classifier(folder / "wide" / "router", labels=2, router=TWO_CLASSES, width=128)
    swept = {"shards": 1, "policies": ["rsd", "router"]}
    return tiny_study(folder, 4, prm={"path": str(prm), **engine}, router=engine, sweep=swept, scheduler="continuous")


def run(folder: Path, engine: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[str]]:
    """Labelled steps, trajectories, and the texts of live solutions."""
    own, problem = study(folder, engine), "First add 3 and 4.\n\nWhat is it?"
    questions, router = folder / "questions.parquet", folder / "wide" / "router"
    rows = [{**COLUMNS, "question_id": f"q{n}", "problem": problem.replace("3", str(n))} for n in range(5)]
    write_table(questions, "questions", rows)
    label(own, "p", 0, questions, folder / "steps.parquet")
    sweep(own, "p", "lab500", 0, questions, [router], None, folder / "trajectories.parquet")
    with open_decoder(own, "p", [router]) as decoder:
        solved = [solve(decoder, problem, policy, 0.5) for policy in ("rsd", "router")]
    steps, trajectories = (read_table(folder / f"{name}.parquet", name) for name in ("steps", "trajectories"))
    return steps, trajectories, [solution.text for solution in solved]


def test_the_stages_write_the_same(tmp_path: Path) -> None:
    pytest.importorskip("vllm", reason="needs vLLM's CPU build (make test-all)")
    expected = run(tmp_path / "transformers", {})
    found = run(tmp_path / "vllm", {"engine": "vllm", "vllm": {"cache_gib": 0.0625}})
    for step, other in zip(expected[0], found[0], strict=True):
        for key in ("question_id", "history", "draft_step", "target_steps"):
            assert step[key] == other[key]
        scores = [[each["draft_score"], *each["target_scores"]] for each in (step, other)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-4)
    paths = [
        [(row["question_id"], row["policy"], [(step["model"], step["text"]) for step in row["steps"]]) for row in rows]
        for _, rows, _ in (expected, found)
    ]
    assert paths[0] == paths[1] and expected[2] == found[2]
