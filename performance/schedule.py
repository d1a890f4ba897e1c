"""Schedulers on a virtual clock: how long labelling and a sweep would take at the paper's scale (no models run).

    python -m performance.schedule [--questions 30000] [--swept 1174] [--sampled 12] [--out FILE.json]

The real schedulers, courses and Algorithm 1 follow simulated questions; only engines and time are simulated. A step's
length is lognormal (median 34 tokens, sigma 0.75), and 0.2 % run away to 4,096; a solution has 11 steps at the median,
and 1.5 % of questions go on to 100. A decode pass takes 2.3 ms + 0.02 ms a row (a draft of 1B) or 6.2 + 0.045 ms (a
target of 8B); rows join a batch and leave it after any pass. The PRM (1.5B, 200 TFLOP/s) reads the tokens of a step
once: what came before is in its cache. Reading of prompts by draft and target is left out: prefixes are cached. The
bound is the busiest engine with all its tokens in full batches. Lockstep's chunks are alike, so `--sampled` of them
are simulated, spread over all, and their time is carried to the whole.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from performance.conditions import Finding, conditions, report
from performance.virtual import AUTHORS, PASS_S, TOKEN_S, Clock, Engine, Memory, SimulatedGenerator, SimulatedScorer

from arbitrage.config.pipeline import Generation
from arbitrage.speculation.continuous import Continuous
from arbitrage.speculation.labelling import Labelling
from arbitrage.speculation.pair import PairModels
from arbitrage.speculation.scheduling import Course, Lockstep
from arbitrage.speculation.sweep import Sweep
from arbitrage.speculation.tree import Question

GENERATION = Generation(max_steps=100, max_tokens=10**9, max_step_tokens=4096)
BOUND_ROWS = 256
POLICIES = ("draft_only", "target_only", "rsd", "oracle", "router")  # the paper's
GRID = tuple(tenth / 10 for tenth in range(11))  # the paper's thresholds


@dataclass(frozen=True)
class Run:
    """What a way of working took. seconds: virtual, of all questions; busy: by engine; own_s: real seconds of ours."""

    seconds: float
    busy: dict[str, float]
    tokens: dict[str, int]
    own_s: float

    @property
    def bound(self) -> float:
        """Seconds of the busiest engine, all of its tokens in full batches of BOUND_ROWS."""
        passes = {name: (alone + each * BOUND_ROWS) / BOUND_ROWS for name, (alone, each) in PASS_S.items()}
        return max(tokens * passes.get(name, TOKEN_S) for name, tokens in self.tokens.items())


def engines(rows: int) -> tuple[Clock, PairModels, list[Engine]]:
    """Simulated models behind a memory, on a clock of their own."""
    clock = Clock()
    simulated: list[Engine] = [SimulatedGenerator(name, clock, rows) for name in ("draft", "target")]
    simulated += [SimulatedScorer(name, clock, rows) for name in ("prm", "router")]
    models: Any = [Memory(engine) for engine in simulated]
    return clock, PairModels(*models, generation=GENERATION), simulated


def lockstep(course: Course, questions: int, chunk: int, rows: int, sampled: int) -> Run:
    """`questions` in chunks; `sampled` of these are simulated, spread over all, and stand for the others."""
    clock, models, simulated = engines(rows)
    starts = range(0, questions, chunk)
    count = min(sampled, len(starts))
    chosen = [starts[index * len(starts) // count] for index in range(count)]
    begin, done = time.process_time(), 0
    for start in chosen:
        own = numbered(start, min(start + chunk, questions))
        Lockstep(models).run(own, course, lambda question, result: None)
        done += len(own)
        for name in AUTHORS[:4]:
            getattr(models, name).forget()
    return _run(clock, simulated, questions / done, time.process_time() - begin)


def continuous(course: Course, questions: int, rows: int) -> Run:
    """All `questions`, three for each row under way, as stages do it."""
    clock, models, simulated = engines(rows)
    begin = time.process_time()
    Continuous(models, 3 * rows, clock.loop).run(numbered(0, questions), course, lambda question, result: None)
    return _run(clock, simulated, 1.0, time.process_time() - begin)


def numbered(first: int, last: int) -> list[Question]:
    return [Question(str(number), str(number)) for number in range(first, last)]


def _run(clock: Clock, simulated: Sequence[Engine], scale: float, own_s: float) -> Run:
    busy = {engine.identity: engine.busy_s * scale for engine in simulated}
    return Run(clock.now * scale, busy, {engine.identity: round(engine.tokens * scale) for engine in simulated}, own_s)


def compare(
    name: str, course: Course, questions: int, chunks: Sequence[tuple[int, int, int]]
) -> tuple[list[Finding], Any]:
    """Lockstep with each of (chunk, rows, sampled), and continuous; what that gives."""
    runs = {
        f"lockstep, chunks of {chunk:,}, {rows} rows": lockstep(course, questions, chunk, rows, sampled)
        for chunk, rows, sampled in chunks
    }
    first = next(iter(runs.values()))
    best = runs[f"continuous, {BOUND_ROWS} rows"] = continuous(course, questions, BOUND_ROWS)
    title = f"{name} of {questions:,} questions"
    findings = [Finding(f"{title}: {way}", run.seconds / 3600, "hours") for way, run in runs.items()]
    findings += [
        Finding(f"{title}: the bound", best.bound / 3600, "hours"),
        Finding.at_least(f"{title}: first lockstep / continuous", first.seconds / best.seconds, "x", 6),
        Finding.at_most(f"{title}: continuous / bound", best.seconds / best.bound, "x", 1.5),
    ]
    return findings, {way: asdict(run) for way, run in runs.items()}


def main() -> None:
    """Simulate, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=30_000, help="Labelled questions")
    parser.add_argument("--swept", type=int, default=1_174, help="Swept questions")
    parser.add_argument("--sampled", type=int, default=12, help="Chunks of 250 that stand for all; of 2,000 a sixth")
    parser.add_argument("--out", type=Path, help="JSON; results/benchmarks/schedule.json")
    options = parser.parse_args()
    gc.set_threshold(200_000, 50, 1000)  # millions of requests and answers live long, and none of them in circles
    few = max(1, options.sampled // 6)
    labelling, labelled = compare(
        "labelling", Labelling(1, 0.0, 0), options.questions, [(250, 64, options.sampled), (2000, 256, few)]
    )
    course = Sweep(POLICIES, 0, dict.fromkeys(POLICIES, GRID))
    sweeping, swept = compare("sweep", course, options.swept, [(50, 64, few), (250, 256, 1)])
    report("schedule", conditions(), [*labelling, *sweeping], {"labelling": labelled, "sweep": swept}, options.out)


if __name__ == "__main__":
    main()
