from __future__ import annotations

from pathlib import Path

import pytest
from performance import pairs, plain, release, simulated, sweep
from performance.pairs import Work

from arbitrage.config.prm import Prm
from arbitrage.config.router import Router
from arbitrage.engines.checkpoints import resolve
from arbitrage.engines.scoring.scorers import PrmScorer, RouterScorer
from arbitrage.speculation.steps import AuthoredStep
from arbitrage.speculation.tree import Question
from tests.support.fakes import QUESTIONS, fake_models
from tests.support.tiny_models import build_classifier


def test_counts_are_what_reached_the_models(tmp_path: Path) -> None:
    models, work = pairs.counted(simulated.simulated_models(3))
    nodes = release.run_at(models, QUESTIONS, "rsd", 0.5)
    assert all(len(node.steps) == 3 for node in nodes)
    rounds = 3 * len(QUESTIONS)  # both models write at every step, whatever is decided; one score a step
    assert work == Work(10 * rounds, 10 * rounds, 2 * rounds, rounds) and work.tokens == 20 * rounds
    release.run_at(models, QUESTIONS, "oracle", 0.5)
    assert work == Work(20 * rounds, 20 * rounds, 4 * rounds, 3 * rounds)  # the oracle scores both steps
    assert work + work == Work(40 * rounds, 40 * rounds, 8 * rounds, 6 * rounds)
    remembering = pairs.stored(models, tmp_path)
    plain.steps_of(remembering, "draft", [nodes[0]])
    before = work.steps
    plain.steps_of(remembering, "draft", [nodes[0]])
    assert work.steps == before


@pytest.mark.parametrize("way", ["exact", "grid"])
def test_the_sweep_ends_where_the_releases_procedure_does(way: str) -> None:
    baseline = sweep.evaluate(fake_models(), "release", QUESTIONS, seed=0)
    assert sweep.differing(baseline, sweep.evaluate(fake_models(), way, QUESTIONS, seed=0)) == []


def test_trajectories_that_differ_are_named() -> None:
    baseline = sweep.evaluate(fake_models(), "release", QUESTIONS, seed=0)
    other = {key: list(nodes) for key, nodes in baseline.items()}
    end = other["rsd", 0.3][2]
    swapped = tuple(AuthoredStep("draft" if step.model == "target" else "target", step.text) for step in end.steps)
    other["rsd", 0.3][2] = type(end)(end.question, swapped, end.finish_reason)
    assert sweep.differing(baseline, other) == ["rsd at 0.3: q2"]
    assert sweep.differing(baseline, other, authors=False) == []


def test_questions_are_counted_one_by_one_and_summed(tmp_path: Path) -> None:
    questions = [Question(str(number), "?" * (number + 1)) for number in range(3)]
    rows = sweep.count(simulated.simulated_models(4), questions, 0, tmp_path)
    work = sweep.total(rows)
    assert work["release"].tokens == 3 * 33 * 4 * 20  # questions, runs, steps, tokens of both models
    assert work["grid"].tokens <= work["exact"].tokens < work["release"].tokens
    (line,) = sweep.by_steps(rows)
    assert (line["steps"], line["questions"], line["release"]) == (4, 3, work["release"].tokens / 3)
    assert line["ratio"] == pytest.approx(work["release"].tokens / work["exact"].tokens)
    assert sweep.ratio(work, "tokens") == (pytest.approx(line["ratio"]), "x")


def test_where_the_exact_sweep_becomes_the_dearer_one() -> None:
    table = [{"steps": steps, "ratio": ratio} for steps, ratio in ((4, 3.0), (8, 0.9), (12, 1.1), (16, 0.8), (20, 0.5))]
    assert sweep.dearer(table, "x").value == 16  # for good, not for a while
    assert sweep.dearer(table[:3], "x").value == 12 and "never" in sweep.dearer(table[:3], "x").measure


def test_few_questions_are_taken_from_all_over() -> None:
    assert [q.question_id for q in pairs.spread(QUESTIONS, 4)] == ["q0", "q3", "q6", "q9"]
    assert pairs.spread(QUESTIONS, 100) == QUESTIONS and pairs.spread(QUESTIONS, 0) == []


def test_a_router_made_of_a_prm_routes_by_its_complement(tmp_path: Path) -> None:
    prm = PrmScorer(resolve(build_classifier(tmp_path / "prm", "bpe")), Prm(path="x"), "\n\n")
    router = RouterScorer(resolve(pairs.router_from_prm(tmp_path / "prm", "\n\n", tmp_path / "router")), Router())
    step = AuthoredStep("draft", "So 3 + 4 = 7.\n\n")
    ids = [prm.input_ids(f"What is 3 + {n}?", [], step) for n in range(4)]
    assert router.input_ids("What is 3 + 0?", [], step) == ids[0]
    assert router.score(ids) == pytest.approx([1 - score for score in prm.score(ids)], abs=1e-5)
