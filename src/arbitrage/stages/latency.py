"""Stage `latency`: the live decoder against the clock, batch 1, nothing else running beside it (paper, section 5).

Only time is measured here: accuracy at these settings is read off the sweep over all questions, not off the timed few.
"""

from __future__ import annotations

import gc
import hashlib
import sys
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from arbitrage.config.pipeline import Latency
from arbitrage.config.policies import THRESHOLD_POLICIES, TIMED_POLICIES, Need, needing
from arbitrage.config.study import Study
from arbitrage.evaluation.operating_points import OperatingPoint, operating_points
from arbitrage.io.tables import read_table, write_table
from arbitrage.runtime.conditions import Conditions
from arbitrage.runtime.paths import StudyPaths
from arbitrage.runtime.progress import Progress
from arbitrage.speculation.decoder import LiveDecoder, LiveSolution
from arbitrage.speculation.policies import POLICIES
from arbitrage.speculation.protocols import ContextMemoryError
from arbitrage.speculation.tree import Question
from arbitrage.stages.solve import open_decoder
from arbitrage.stages.timed_solution import Run, Setting, timed

PARTS = ("draft_s", "score_s", "target_s", "catch_up_s")
Lost = dict[tuple[str, Question], ContextMemoryError]
FAR = 0.05  # from a wanted acceptance rate, and worth a word


def measure_latency(study: Study, pair: str, routers: Sequence[Path], out: Path) -> tuple[list[Path], dict[str, Any]]:
    """Time the timed policies, at thresholds spread over acceptance (paper, section 5); one row a solution.

    Draft and target alone are timed in one uninterrupted generation, and step by step as the policies write; the target
    also by token-level speculative decoding, where its engine does that and reads the draft's tokens, and so are the
    escalated steps of `latency.speculative_policies`. Settings are
    interleaved question by question, starting with another one each time, and benchmarks question by question, so
    that drift of the machine hits all alike. `latency.warmup` solutions of every policy come first and are not counted.
    A question that the device has too little memory for, in one context, is left out under every setting.
    routers: directories of the first training of each kind that a timed policy decides by.
    Returns the tables it read, and what its provenance record tells besides: `texts_equal_to_sweep`, the share of timed
    solutions (step by step) whose text equals the sweep's at that threshold, the models' `work`, the `conditions`, and
    the ids of questions `left_out`. Raises ContextMemoryError where none is left.
    """
    by_benchmark: list[list[list[Run]]] = []  # the runs of each question of each benchmark
    expected: dict[Run, str] = {}
    read: list[Path] = []
    paths = StudyPaths.of(study)
    for benchmark in study.benchmarks:
        questions, trajectories = paths.questions(benchmark), paths.trajectories(pair, benchmark)
        read += [questions, trajectories]
        swept = read_table(trajectories, "trajectories")
        settings = with_speculation(settings_of(swept, study.latency.acceptances), study.latency)
        answered = {row["question_id"] for row in swept}  # a question that fills a context has no trajectory
        solved = [row for row in read_table(questions, "questions") if row["question_id"] in answered]
        chosen = _sample(solved, study.latency.questions, study.seed)
        by_benchmark.append([])
        for index, question in enumerate(chosen):
            first = index % len(settings)
            by_benchmark[-1].append(
                [Run(benchmark, question, setting) for setting in settings[first:] + settings[:first]]
            )
        expected |= _expected(swept, [run for group in by_benchmark[-1] for run in group])
    runs = [run for groups in zip_longest(*by_benchmark, fillvalue=[]) for group in groups for run in group]
    solutions: list[tuple[Run, LiveSolution]] = []
    with open_decoder(study, pair, routers, study.latency.speculative_tokens) as decoder:
        if study.latency.speculative_tokens and not decoder.can_check:
            print(f"{pair}: no token-level speculative decoding; its engines do none with this pair", file=sys.stderr)
            runs = [run for run in runs if not run.setting.speculative_tokens]
        gc.freeze()  # what is loaded by now stays: the collection before each solution need not go through it
        lost: Lost = {}
        for run in _warmup(runs, study.latency.warmup):
            _timed_unless_lost(decoder, run, lost)
        progress = Progress(len(runs), "solutions", f"latency {pair}")
        with Conditions(study.threads) as conditions:
            for run in runs:
                solution = _timed_unless_lost(decoder, run, lost)
                if solution is not None:
                    solutions.append((run, solution))
                progress.advance()
    solutions = [(run, solution) for run, solution in solutions if run.asked not in lost]
    if lost and not solutions:
        raise next(iter(lost.values()))
    rows = [{"study": study.study, "pair": pair, **row_of(run, solution)} for run, solution in solutions]
    equal = [solution.text == expected[run] for run, solution in solutions if not run.setting.uninterrupted]
    write_table(out, "latency", rows)
    report = {
        "texts_equal_to_sweep": sum(equal) / len(equal),
        "work": _work([row for row in rows if not row["speculative_tokens"]]),
        "conditions": conditions.noted,
        "left_out": sorted(question.question_id for _, question in lost),
        "speculative_texts_equal": _equal_to_the_targets(solutions),
    }
    return read, report


def _equal_to_the_targets(solutions: Sequence[tuple[Run, LiveSolution]]) -> float | None:
    """The share of solutions of the target by token-level speculative decoding whose text is that of it alone."""
    whole = [
        (run, solution)
        for run, solution in solutions
        if run.setting.uninterrupted and POLICIES[run.setting.policy].always == "target"
    ]
    alone = {run.asked: solution.text for run, solution in whole if not run.setting.speculative_tokens}
    equal = [solution.text == alone[run.asked] for run, solution in whole if run.setting.speculative_tokens]
    return sum(equal) / len(equal) if equal else None


def _timed_unless_lost(decoder: LiveDecoder, run: Run, lost: Lost) -> LiveSolution | None:
    """The timed solution; None where its question is in `lost` or, by too little memory for it, comes to be."""
    if run.asked in lost:
        return None
    try:
        return timed(decoder, run)
    except ContextMemoryError as error:
        print(f"{run.question.question_id} is left out of the timing: {error}", file=sys.stderr, flush=True)
        lost[run.asked] = error
        return None


def _warmup(runs: Sequence[Run], count: int) -> list[Run]:
    """The first `count` runs of every policy: each has kernels, buffers and caches of its own to pay for."""
    chosen: dict[Setting, list[Run]] = {}
    for run in runs:
        chosen.setdefault(replace(run.setting, threshold=None), []).append(run)
    return [run for own in chosen.values() for run in own[:count]]


def settings_of(swept: Sequence[dict[str, Any]], acceptances: Sequence[float]) -> list[Setting]:
    """The timed policies that were `swept`: those with a threshold where they accept so many of the steps there."""
    alone = [policy for policy in TIMED_POLICIES if policy not in THRESHOLD_POLICIES]
    settings = [Setting(policy, None, whole) for policy in alone for whole in (True, False)]
    for policy in filter(THRESHOLD_POLICIES.__contains__, TIMED_POLICIES):
        rows = [row for row in swept if row["policy"] == policy and not row["router_seed"]]  # the first training
        if not rows and not POLICIES[policy].entry.by_default:
            continue
        points = operating_points(rows, acceptances)
        _warn_of_far_ones(policy, acceptances, points)
        settings += [Setting(policy, threshold) for threshold in sorted(point.threshold for point in points)]
    return settings


def with_speculation(settings: Sequence[Setting], latency: Latency) -> list[Setting]:
    """`settings`, and with token-level speculation: the target alone, and `latency.speculative_policies`."""
    alone = [Setting("target_only", None, True, tokens) for tokens in latency.speculative_tokens]
    most = max(latency.speculative_tokens, default=0)
    both = [
        replace(setting, speculative_tokens=most)
        for setting in settings
        if most and setting.policy in latency.speculative_policies
    ]
    return [*settings, *alone, *both]


def _warn_of_far_ones(policy: str, acceptances: Sequence[float], points: Sequence[OperatingPoint]) -> None:
    for target, point in zip(acceptances, points, strict=True):
        if abs(point.acceptance - target) > FAR:
            print(
                f"{policy}: {target:.0%} acceptance is timed at threshold {point.threshold:.4g}, which accepts "
                f"{point.acceptance:.0%}: no swept threshold is nearer",
                file=sys.stderr,
            )


def _sample(rows: list[dict[str, Any]], count: int, seed: int) -> list[Question]:
    """`count` questions in an order hashed from the seed: the same whatever the order of the table."""
    order = sorted(rows, key=lambda row: hashlib.sha256(f"{seed} {row['question_id']}".encode()).hexdigest())
    return [Question(row["question_id"], row["problem"]) for row in order[:count]]


def _expected(swept: Sequence[dict[str, Any]], runs: Sequence[Run]) -> dict[Run, str]:
    """Text of the sweep's trajectory for every run."""
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in (row for row in swept if not row["router_seed"]):  # the router's first training is timed
        grouped.setdefault((row["question_id"], row["policy"]), []).append(row)
    texts = {}
    for run in runs:
        threshold = run.setting.threshold or 0.0
        (row,) = (
            row
            for row in grouped[run.question.question_id, run.setting.policy]
            if row["threshold_low"] <= threshold < row["threshold_high"]
        )
        texts[run] = "".join(step["text"] for step in row["steps"])
    return texts


def _work(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Seconds of each model over all timed solutions, the tokens it generated or the steps it scored."""

    def total(column: str, policies: Collection[str] = TIMED_POLICIES) -> float:
        return round(float(sum(row[column] for row in rows if row["policy"] in policies)), 4)

    scorers: tuple[Need, ...] = ("prm", "router")
    reading = total("score_s", [policy for policy in TIMED_POLICIES if POLICIES[policy].entry.target_reads])
    return {
        "draft": {"seconds": total("draft_s"), "tokens": total("draft_tokens")},
        "target": {"seconds": total("target_s") + total("catch_up_s") + reading, "tokens": total("target_tokens")},
    } | {
        name: {"seconds": total("score_s", needing(name)), "scored": total("score_calls", needing(name))}
        for name in scorers
    }


def row_of(run: Run, solution: LiveSolution) -> dict[str, Any]:
    """A row of the `latency` table, without study and pair."""
    return {
        "benchmark": run.benchmark,
        "question_id": run.question.question_id,
        "policy": run.setting.policy,
        "threshold": run.setting.threshold,
        "uninterrupted": run.setting.uninterrupted,
        "speculative_tokens": run.setting.speculative_tokens,
        "wall_s": solution.wall_s,
        **asdict(solution.costs),
        "other_s": solution.wall_s - sum(getattr(solution.costs, part) for part in PARTS),
        "steps": len(solution.steps),
        "escalations": sum(step.author == "target" for step in solution.steps),
    }
