"""Stage `latency`: the live decoder against the clock, batch 1, nothing else running beside it (paper, section 5).

Only time is measured here: accuracy at these settings is read off the sweep over all questions, not off the timed few.
"""

from __future__ import annotations

import gc
import hashlib
import sys
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from arbitrage.config.policies import THRESHOLD_POLICIES, TIMED_POLICIES, Need, needing
from arbitrage.config.study import Study
from arbitrage.evaluation.operating_points import OperatingPoint, operating_points
from arbitrage.io.tables import read_table, write_table
from arbitrage.runtime.paths import StudyPaths
from arbitrage.runtime.progress import Progress
from arbitrage.speculation.decoder import LiveDecoder, LiveSolution
from arbitrage.speculation.policies import POLICIES
from arbitrage.speculation.tree import Question
from arbitrage.stages.solve import open_decoder

FAR = 0.05  # from a wanted acceptance rate, and worth a word


@dataclass(frozen=True)
class Setting:
    """What is timed: a policy, and its threshold where it has one."""

    policy: str
    threshold: float | None


@dataclass(frozen=True)
class Run:
    """One solution to be timed."""

    benchmark: str
    question: Question
    setting: Setting


def measure_latency(study: Study, pair: str, router: Path, out: Path) -> tuple[list[Path], dict[str, Any]]:
    """Time the timed policies, at thresholds spread over acceptance (paper, section 5); one row a solution.

    Settings are interleaved question by question, starting with another one each time, so that
    drift of the machine hits all alike; the first `latency.warmup` solutions are not counted.
    Returns the tables it read, and what its provenance record tells besides: `texts_equal_to_sweep`, the share of timed
    solutions whose text equals the sweep's at that threshold, and the models' `work`.
    """
    runs: list[Run] = []
    expected: dict[Run, str] = {}
    read: list[Path] = []
    paths = StudyPaths.of(study)
    for benchmark in study.benchmarks:
        questions, trajectories = paths.questions(benchmark), paths.trajectories(pair, benchmark)
        read += [questions, trajectories]
        swept = read_table(trajectories, "trajectories")
        settings = settings_of(swept, study.latency.acceptances)
        answered = {row["question_id"] for row in swept}  # a question that fills a context has no trajectory
        asked = [row for row in read_table(questions, "questions") if row["question_id"] in answered]
        chosen = _sample(asked, study.latency.questions, study.seed)
        for place, question in enumerate(chosen):
            first = place % len(settings)
            runs += [Run(benchmark, question, setting) for setting in settings[first:] + settings[:first]]
        expected |= _expected(swept, [run for run in runs if run.benchmark == benchmark])
    rows, equal = [], 0
    with open_decoder(study, pair, router) as decoder:
        gc.freeze()  # what is loaded by now stays: the collection before each solution need not go through it
        for run in runs[: study.latency.warmup]:
            timed(decoder, run)
        progress = Progress(len(runs), "solutions", f"latency {pair}")
        for run in runs:
            solution = timed(decoder, run)
            equal += solution.text == expected[run]
            rows.append({"study": study.study, "pair": pair, **row_of(run, solution)})
            progress.advance()
    write_table(out, "latency", rows)
    return read, {"texts_equal_to_sweep": equal / len(runs), "work": _work(rows)}


def settings_of(swept: Sequence[dict[str, Any]], acceptances: Sequence[float]) -> list[Setting]:
    """The timed policies: those with a threshold where they accept so many of the steps in the `swept` rows."""
    settings = [Setting(policy, None) for policy in TIMED_POLICIES if policy not in THRESHOLD_POLICIES]
    for policy in filter(THRESHOLD_POLICIES.__contains__, TIMED_POLICIES):
        rows = [row for row in swept if row["policy"] == policy]
        points = operating_points(rows, acceptances)
        _tell_of_far_ones(policy, acceptances, points)
        settings += [Setting(policy, threshold) for threshold in sorted(point.threshold for point in points)]
    return settings


def _tell_of_far_ones(policy: str, acceptances: Sequence[float], points: Sequence[OperatingPoint]) -> None:
    for wanted, point in zip(acceptances, points, strict=True):
        if abs(point.acceptance - wanted) > FAR:
            print(
                f"{policy}: {wanted:.0%} acceptance is timed at threshold {point.threshold:.4g}, which accepts "
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
    for row in swept:
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


def timed(decoder: LiveDecoder, run: Run) -> LiveSolution:
    """One solution, with nothing in the way of the clock."""
    gc.collect()
    gc.disable()  # a collection in the middle of one solution would be charged to it
    try:
        return decoder.solve(run.question, POLICIES[run.setting.policy], run.setting.threshold)
    finally:
        gc.enable()


def _work(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Seconds of each model over all timed solutions, the tokens it generated or the steps it scored."""

    def total(column: str, policies: Collection[str] = TIMED_POLICIES) -> float:
        return round(float(sum(row[column] for row in rows if row["policy"] in policies)), 4)

    scorers: tuple[Need, ...] = ("prm", "router")
    return {
        "draft": {"seconds": total("draft_s"), "tokens": total("draft_tokens")},
        "target": {"seconds": total("target_s") + total("catch_up_s"), "tokens": total("target_tokens")},
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
        "wall_s": solution.wall_s,
        **asdict(solution.costs),
        "steps": len(solution.steps),
        "escalations": sum(step.author == "target" for step in solution.steps),
    }
