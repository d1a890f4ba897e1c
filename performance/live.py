"""The live decoder: a question's time against its model calls, against reading all anew, and against the calls alone.

    python -m performance.live [--questions 5] [--runs 5] [--router DIR] [--out FILE.json]

RSD, oracle and router decode questions of both lab benchmarks at one threshold each. A model call is a forward pass, as
the decoder makes it; the rest of a question's time is overhead. Beside it runs the same decoder with caches emptied
before every call, so that each reads its whole context. The lower bound is the same passes (the draft's tokens, the
escalated steps' tokens, scored steps, and the reading of prompts and of what the target has to catch up on), model by
model with nothing between them. Medians over interleaved runs.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch
from performance.conditions import Finding, conditions, report
from performance.pairs import first_pair, lab_questions

from arbitrage.config.load import load_study
from arbitrage.engines.hf.incremental import LiveGenerator, LiveScorer
from arbitrage.engines.hf.kv_cache import BufferCache
from arbitrage.engines.hf.live_context import CAPACITY
from arbitrage.speculation.decoder import LiveDecoder, LiveSolution, LiveStep
from arbitrage.speculation.pair import PairModels
from arbitrage.speculation.policies import POLICIES
from arbitrage.speculation.steps import GeneratedStep, Ids
from arbitrage.speculation.tree import Question

THRESHOLDS = {"rsd": 0.5, "oracle": 0.0, "router": 0.5}
BENCHMARKS = ("lab500", "labolympiad")  # the second for its longer solutions
WAYS = ("ours", "reading all")
ROLES = ("draft", "target", "prm", "router")
STEPS = ((1, 1), (2, 3), (4, 6), (7, 10), (11, 15), (16, 40))  # places of steps that are put together


@dataclass
class Pass:
    """One forward pass: `ids` read after `held` others, in `seconds`."""

    role: str
    held: int
    ids: int
    seconds: float


@dataclass
class Watch:
    """The forward passes of all models, as they come."""

    passes: list[Pass] = field(default_factory=list)

    def over(self, role: str, forward: Callable[..., Any]) -> Callable[..., Any]:
        """`forward`, watched."""

        def watched(ids: torch.Tensor, positions: Any, mask: Any, cache: BufferCache) -> Any:
            held, start = cache.length, time.perf_counter()
            output = forward(ids, positions, mask, cache)
            self.passes.append(Pass(role, held, ids.shape[1], time.perf_counter() - start))
            return output

        return watched

    def taken(self) -> list[Pass]:
        """The passes since last asked."""
        taken, self.passes = self.passes, []
        return taken


class RereadingGenerator(LiveGenerator):
    """Keeps nothing between calls."""

    def generate_one(self, context: Ids, limit: int) -> GeneratedStep:
        self.reset()
        return super().generate_one(context, limit)


class RereadingScorer(LiveScorer):
    """Keeps nothing between calls."""

    def score_one(self, ids: Ids) -> float:
        self.reset()
        return super().score_one(ids)


def decoders(models: PairModels, watch: Watch) -> dict[str, LiveDecoder]:
    """A decoder for each of WAYS, on the same models, whose passes `watch` sees."""
    engines: list[Any] = [models.draft, models.target, models.prm, models.router]
    for role, engine in zip(ROLES, engines, strict=True):
        engine.forward = watch.over(role, engine.forward)
    draft, target, prm, router = engines
    kinds = {WAYS[0]: (LiveGenerator, LiveScorer), WAYS[1]: (RereadingGenerator, RereadingScorer)}
    return {
        way: LiveDecoder(writes(draft), writes(target), scores(prm), scores(router), models.generation, 0)
        for way, (writes, scores) in kinds.items()
    }


@dataclass
class Solved:
    """One solution with its passes."""

    solution: LiveSolution
    passes: list[Pass]

    def seconds_in(self, *roles: str) -> float:
        return sum(each.seconds for each in self.passes if each.role in roles)


def seconds_of(step: LiveStep) -> float:
    """All that a step's calls took."""
    return step.costs.draft_s + step.costs.score_s + step.costs.target_s + step.costs.catch_up_s


@torch.inference_mode()
def alone(models: PairModels, passes: Sequence[Pass]) -> float:
    """Seconds of the same passes, model by model, with nothing between them."""
    engines: dict[str, Any] = dict(zip(ROLES, (models.draft, models.target, models.prm, models.router), strict=True))
    longest = max(each.held + each.ids for each in passes)
    positions = torch.arange(longest)[None]
    seconds = 0.0
    for role, engine in engines.items():
        forward = type(engine).forward  # the one that no watch stands before
        cache = BufferCache(engine.layers, max(longest, CAPACITY))
        inputs = []
        for each in passes:
            if each.role == role:
                end = each.held + each.ids
                inner = each.held > 0 and each.ids > 1
                mask = (positions[0, each.held : end, None] >= positions[0, :end])[None, None] if inner else None
                inputs.append((torch.full((1, each.ids), 5), positions[:, each.held : end], mask, each.held))
        if inputs:
            forward(engine, torch.full((1, longest), 5), positions, None, cache)
        start = time.perf_counter()
        for ids, where, mask, held in inputs:
            cache.crop(held)
            forward(engine, ids, where, mask, cache)
        seconds += time.perf_counter() - start
    return seconds


def decode(
    models: PairModels, questions: Sequence[Question], runs: int
) -> tuple[dict[tuple[str, str, str], list[Solved]], dict[tuple[str, str], list[float]]]:
    """(policy, way, question) -> its solutions, one a run; and (policy, question) -> seconds of the passes alone."""
    watch = Watch()
    by_way = decoders(models, watch)
    solved: dict[tuple[str, str, str], list[Solved]] = defaultdict(list)
    bare: dict[tuple[str, str], list[float]] = defaultdict(list)
    for run in range(-1, runs):  # the first run is not counted: it gets memory and warms the caches
        for question in questions if run >= 0 else questions[:3]:
            for policy, threshold in THRESHOLDS.items():
                for way, decoder in by_way.items():
                    solution = decoder.solve(question, POLICIES[policy], threshold)
                    each = Solved(solution, watch.taken())
                    if run >= 0:
                        solved[policy, way, question.question_id].append(each)
                    if way == "ours" and run >= 0:
                        bare[policy, question.question_id].append(alone(models, each.passes))
    return solved, bare


def by_position(
    solved: dict[tuple[str, str, str], list[Solved]], ranges: Sequence[tuple[int, int]] = STEPS
) -> list[dict[str, Any]]:
    """Milliseconds a step of each way, by the step's place in its solution."""
    seconds: dict[tuple[int, str], list[float]] = defaultdict(list)
    for (_, way, _), runs in solved.items():
        for position in range(len(runs[0].solution.steps)):
            seconds[position + 1, way].append(median(seconds_of(each.solution.steps[position]) for each in runs))
    rows = []
    for first, last in ranges:
        ms = {
            way: [1000 * s for position in range(first, last + 1) for s in seconds.get((position, way), ())]
            for way in WAYS
        }
        if ms["ours"]:
            means = {way: fmean(values) for way, values in ms.items()}
            ratio = means["reading all"] / means["ours"]
            rows.append({"first": first, "last": last, "steps": len(ms["ours"]), **means, "ratio": ratio})
    return rows


def summed(solved: dict[tuple[str, str, str], list[Solved]], way: str, value: Callable[[Solved], float]) -> float:
    """Sum over questions and policies of the median over runs of `value`."""
    return sum(median(map(value, runs)) for (_, each, _), runs in solved.items() if each == way)


def main() -> None:
    """Decode, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=5, help="Questions of each benchmark")
    parser.add_argument("--runs", type=int, default=5, help="How often each is decoded each way")
    parser.add_argument("--router", type=Path, help="Directory of a trained router; the study's own, if it is there")
    parser.add_argument("--out", type=Path, help="JSON; results/benchmarks/live.json")
    options = parser.parse_args()
    study = load_study([Path("config.yaml")])
    models, names = first_pair(study, options.router)
    questions = [each for benchmark in BENCHMARKS for each in lab_questions(study, benchmark, options.questions)]
    surroundings = conditions(names) | {"thresholds": THRESHOLDS}
    solved, bare = decode(models, questions, options.runs)
    findings, detail = found(solved, bare)
    report("live", surroundings, findings, detail, options.out)
    print("\nmilliseconds a step, by its place\n  steps       of      ours  reading all  ratio")
    for row in detail["by_place"]:
        print(
            f"{row['first']:3}-{row['last']:<3} {row['steps']:8} {row['ours']:9.1f} {row['reading all']:12.1f} "
            f"{row['ratio']:5.2f}x"
        )


def found(
    solved: dict[tuple[str, str, str], list[Solved]], bare: dict[tuple[str, str], list[float]]
) -> tuple[list[Finding], dict[str, Any]]:
    """What the runs say."""
    wall = summed(solved, "ours", lambda each: each.solution.wall_s)
    calls = summed(solved, "ours", lambda each: each.seconds_in(*ROLES))
    reading = summed(solved, "reading all", lambda each: each.solution.wall_s)
    bound = sum(median(runs) for runs in bare.values())
    texts = {key: runs[0].solution.text for key, runs in solved.items()}
    other = sum(texts[policy, "ours", name] != texts[policy, "reading all", name] for policy, _, name in solved) // 2
    first = [runs[0] for (_, way, _), runs in solved.items() if way == "ours"]
    escalated = fmean(step.author == "target" for each in first for step in each.solution.steps)
    rows = by_position(solved)
    count = f"{len(first)} solutions, {100 * escalated:.0f} % of steps escalated"
    findings = [
        Finding.at_most(f"time of a question beside its model calls ({count})", 100 * (wall / calls - 1), "%", 5),
        Finding("time of a question, reading all anew / ours", reading / wall, "x"),
        Finding(f"the same at steps {rows[-1]['first']} and later", rows[-1]["ratio"], "x"),
        Finding("time of a question / the same passes alone", wall / bound, "x"),
        Finding.at_most("solutions whose text differs when all is read anew", other, "solutions", 0),
    ]
    by_model = {role: summed(solved, "ours", lambda each, role=role: each.seconds_in(role)) for role in ROLES}
    seconds = {"wall": wall, "calls": calls, "bound": bound, "reading all": reading, "by model": by_model}
    return findings, {"seconds": seconds, "by_place": rows}


if __name__ == "__main__":
    main()
