"""The server: so many questions at once, against the live decoder that solves them one by one.

    python -m performance.serving [--questions 16] [--runs 3] [--router DIR] [--out FILE.json]

The same models, the same questions of both lab benchmarks, one thread a model. One by one is `arbitrage solve` without
loading: batch 1, with the caches it keeps between steps. At once is one HTTP request a question, all sent together.
Both write the same texts, or it is told how many differ. Medians over interleaved runs. How many requests a model took
at a time says what the gain is made of: on a CPU a pass over sixteen rows is much cheaper than sixteen passes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import fmean, median
from typing import Any

import httpx2
from performance.background import running
from performance.conditions import Finding, conditions, report
from performance.live import BENCHMARKS
from performance.pairs import first_pair, forget, lab_questions

from arbitrage.config.load import load_study
from arbitrage.engines.hf.incremental import LiveGenerator, LiveScorer
from arbitrage.server.app import Limits, Service
from arbitrage.server.chat import Offer
from arbitrage.speculation.concurrent_decoder import ConcurrentDecoder
from arbitrage.speculation.decoder import LiveDecoder
from arbitrage.speculation.pair import PairModels
from arbitrage.speculation.policies import POLICIES
from arbitrage.speculation.tree import Question

MODEL = "lab/small"
SETTINGS: dict[str, float | None] = {"router": 0.5, "rsd": 0.5, "target_only": None}
GOAL = 3.0


def service_of(models: PairModels, seed: int) -> Service:
    """All policies of `models`, without a limit that matters here."""
    offer = Offer(MODEL, POLICIES, "router", 0.5, models.generation.max_tokens, "fp")
    return Service(ConcurrentDecoder(models, seed, in_turn=True), offer, Limits(concurrency=1024))


def at_once(url: str, problems: Sequence[str], policy: str, threshold: float | None) -> list[str]:
    """The solutions of all problems, asked for together."""

    def ask(problem: str) -> str:
        body = {"model": MODEL, "messages": [{"role": "user", "content": problem}], "policy": policy}
        reply = httpx2.post(f"{url}/v1/chat/completions", json=body | {"threshold": threshold}, timeout=600)
        text: str = reply.raise_for_status().json()["choices"][0]["message"]["content"]
        return text

    with ThreadPoolExecutor(len(problems)) as threads:
        return list(threads.map(ask, problems))


def decoder_of(models: PairModels, seed: int) -> LiveDecoder:
    """The live decoder of the same models."""
    engines: Any = models
    writers = LiveGenerator(engines.draft), LiveGenerator(engines.target)
    return LiveDecoder(*writers, LiveScorer(engines.prm), LiveScorer(engines.router), models.generation, seed)


def measure(
    service: Service, decoder: LiveDecoder, problems: Sequence[str], runs: int
) -> tuple[list[Finding], dict[str, Any]]:
    """Seconds of both ways for each of SETTINGS, run after run in turns; the first run is not counted."""
    seconds: dict[str, dict[str, list[float]]] = {name: {"alone": [], "at once": []} for name in SETTINGS}
    batches: dict[str, dict[str, float]] = {}
    different = 0
    with running(service) as url:
        for run in range(-1, runs):
            for policy, threshold in SETTINGS.items():
                forget(service.decoder.models)
                start = time.perf_counter()
                alone = [decoder.solve(Question("live", each), POLICIES[policy], threshold).text for each in problems]
                middle = time.perf_counter()
                before = {name: (lane.taken, lane.takes) for name, lane in service.decoder.lanes.items()}
                together = at_once(url, problems, policy, threshold)
                end = time.perf_counter()
                if run < 0:
                    different += sum(one != other for one, other in zip(alone, together, strict=True))
                    continue
                seconds[policy]["alone"].append(middle - start)
                seconds[policy]["at once"].append(end - middle)
                grown = {
                    name: (lane.taken - before[name][0], lane.takes - before[name][1])
                    for name, lane in service.decoder.lanes.items()
                }
                batches[policy] = {name: taken / takes for name, (taken, takes) in grown.items() if takes}
    findings = []
    for policy, each in seconds.items():
        ratio = median(each["alone"]) / median(each["at once"])
        sizes = ", ".join(f"{name} {size:.1f}" for name, size in batches[policy].items())
        name = f"{policy}, {len(problems)} questions: one by one / at once (rows a batch: {sizes})"
        findings.append(Finding.at_least(name, ratio, "x", GOAL))
    findings.append(Finding.at_most("solutions whose text differs", different, "solutions", 0))
    rate = fmean(len(problems) / median(each["at once"]) for each in seconds.values())
    findings.append(Finding("questions a second, at once, mean of the policies", rate, "1/s"))
    return findings, {"seconds": seconds, "rows a batch": batches}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=16, help="How many at once")
    parser.add_argument("--runs", type=int, default=3, help="How often each way")
    parser.add_argument("--router", type=Path, help="Directory of a trained router; the study's own, if it is there")
    parser.add_argument("--out", type=Path, help="JSON; results/benchmarks/serving.json")
    options = parser.parse_args()
    study = load_study([Path("config.yaml")])
    models, names = first_pair(study, options.router)
    each = -(-options.questions // len(BENCHMARKS))
    questions = [question for benchmark in BENCHMARKS for question in lab_questions(study, benchmark, each)]
    problems = [question.problem for question in questions][: options.questions]
    surroundings = conditions(names) | {"settings": SETTINGS}
    service, decoder = service_of(models, study.seed), decoder_of(models, study.seed)
    findings, detail = measure(service, decoder, problems, options.runs)
    report("serving", surroundings, findings, detail, options.out)


if __name__ == "__main__":
    main()
