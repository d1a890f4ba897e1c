from __future__ import annotations

from pathlib import Path

import pytest
from performance import live, pairs
from performance.live import Pass, Solved

from arbitrage.config.models import Model
from arbitrage.config.pipeline import Generation
from arbitrage.config.prm import Prm
from arbitrage.config.router import Router
from arbitrage.engines.checkpoints import resolve
from arbitrage.engines.hf.generator import TransformersGenerator
from arbitrage.engines.scoring.scorers import PrmScorer, RouterScorer
from arbitrage.speculation.decoder import LiveSolution, LiveStep
from arbitrage.speculation.live_here import Costs
from arbitrage.speculation.pair import PairModels
from arbitrage.speculation.steps import GeneratedStep
from arbitrage.speculation.tree import Question
from tests.support.tiny_models import build_causal, build_classifier


def solved(seconds: list[float], wall: float, model: float) -> Solved:
    made = GeneratedStep("a\n\n", "separator", (-0.1,) * 3)
    steps = [LiveStep(made, None, 0.5, "draft", Costs(draft_s=each / 2, score_s=each / 2)) for each in seconds]
    return Solved(LiveSolution(steps, wall), [Pass("draft", 0, 5, model / 2), Pass("prm", 0, 5, model / 2)])


def test_overhead_and_ratios_are_taken_from_medians_over_runs() -> None:
    runs = {
        ("rsd", "ours", "q"): [solved([1, 2], 3.3, 3.0), solved([1, 2], 9.0, 8.0), solved([1, 1], 3.0, 2.9)],
        ("rsd", "reading all", "q"): [solved([1, 4], 6.6, 6.0)] * 3,
    }
    findings, detail = live.found(runs, {("rsd", "q"): [3.0, 1.0, 2.0]})
    values = {finding.measure.split(" (")[0]: finding for finding in findings}
    assert values["time of a question beside its model calls"].value == pytest.approx(10)
    assert not values["time of a question beside its model calls"].met
    assert values["time of a question, reading all anew / ours"].value == pytest.approx(2)
    assert values["time of a question / the same passes alone"].value == pytest.approx(1.65)
    assert [(row["first"], row["last"], row["ratio"]) for row in detail["by_place"]] == [(1, 1, 1.0), (2, 3, 2.0)]
    assert detail["seconds"]["by model"] == {"draft": 1.5, "target": 0, "prm": 1.5, "router": 0}


def test_both_ways_decode_the_same_and_ours_reads_less(tmp_path: Path) -> None:
    generation = Generation(max_steps=5, max_tokens=200, max_step_tokens=20)
    draft, target = (
        TransformersGenerator(resolve(build_causal(tmp_path / str(n), "bpe", seed=n)), Model(path="x"), generation)
        for n in (3, 4)
    )
    prm = PrmScorer(resolve(build_classifier(tmp_path / "prm", "bpe")), Prm(path="x"), "\n\n")
    router = RouterScorer(resolve(pairs.router_from_prm(tmp_path / "prm", "\n\n", tmp_path / "router")), Router())
    models = PairModels(draft, target, prm, router, generation)
    questions = [Question(f"q{n}", f"First we add {n} and 4.") for n in range(4)]
    runs, alone = live.decode(models, questions, runs=1)
    findings, _ = live.found(runs, alone)
    assert findings[-1].measure.startswith("solutions whose text differs") and findings[-1].met
    assert len(runs) == 2 * len(alone) == 2 * 3 * 4 and all(seconds[0] > 0 for seconds in alone.values())
    for policy, way, name in runs:
        if way == "ours":
            mine, theirs = (
                sum(each.ids for each in runs[policy, which, name][0].passes) for which in ("ours", "reading all")
            )
            steps = len(runs[policy, way, name][0].solution.steps)
            assert mine < theirs if steps > 1 else mine <= theirs
