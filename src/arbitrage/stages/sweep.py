"""The sweep: trajectories of all policies over one shard of a benchmark, graded (paper, section 5)."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from arbitrage.config.policies import POLICIES
from arbitrage.config.study import Study
from arbitrage.engines import factory
from arbitrage.grading.grade import grade
from arbitrage.io.tables import read_table, write_table
from arbitrage.runtime.placement import placed
from arbitrage.speculation.rows import Scored, ScoredSweep, trajectory_rows
from arbitrage.speculation.tree import Question
from arbitrage.stages.open_models import open_pair_cached
from arbitrage.stages.work_through import shard_of, work_through

Rows = list[dict[str, Any]]


def sweep(
    study: Study,
    pair: str,
    benchmark: str,
    shard: int,
    questions: Path,
    routers: Sequence[Path],
    quantiles: Path | None,
    out: Path,
) -> tuple[dict[str, str], dict[str, Any]]:
    """Write the `trajectories` table of one shard, whole or not at all.

    questions: the benchmark's `questions` table. routers: directories of trained routers, where policies decide by
    them: all trainings of each kind, in the order of their seeds; the further ones share all steps of the first in the
    store. quantiles: the file of `evaluation.quantiles`, where the thresholds are those.
    Returns the models' identities and `CachedPair.report`. Raises EngineError, TableError.
    """
    rows = shard_of(read_table(questions, "questions"), shard, study.sweep_shards(benchmark))
    gold = {row["question_id"]: row for row in rows}
    thresholds = swept_thresholds(study, quantiles)
    routed = {policy: kind for policy in study.sweep.policies if (kind := POLICIES[policy].router) is not None}
    by_kind = factory.routers_by_kind(routers)
    trainings = [
        [paths[number] for paths in by_kind.values() if number < len(paths)]
        for number in range(max(map(len, by_kind.values()), default=1))
    ]
    keys = {"study": study.study, "pair": pair, "benchmark": benchmark}

    def grade_solution(question_id: str, solution: str) -> tuple[str | None, bool | None]:
        row = gold[question_id]
        return grade(solution, row["answers"], row["grading"])

    source = study.benchmarks[benchmark].store_name
    study = placed(study, "sweep", pair)
    with (
        open_pair_cached(study, "sweep", pair, source, f"{benchmark}-shard-{shard}") as stored,
        ThreadPoolExecutor(1) as graders,  # engines do not wait while answers are compared
    ):
        graded: dict[tuple[str, int], Future[Rows]] = {}

        def follow(training: int, policies: Sequence[str]) -> None:
            def finished(question: Question, scored: Scored) -> None:
                graded[question.question_id, training] = graders.submit(trajectory_rows, scored, grade_solution)

            title = f"trajectories {pair} {benchmark} shard {shard}" + (f", router {training}" if training else "")
            course = ScoredSweep(policies, study.seed, thresholds(training))
            with stored.routed(study, pair, trainings[training], training) as own:
                work_through(own, study, pair, rows, study.sweep.chunk, course, finished, title, "trajectories")
            stored.left_out.update(own.left_out)

        for training in range(len(trainings)):
            its = [policy for policy, kind in routed.items() if training < len(by_kind[kind])]
            follow(training, its if training else study.sweep.policies)
            gc.collect()  # engines refer to themselves: the next training's router would come beside this one's
        swept = [
            {**keys, **row, "router_seed": training if row["policy"] in routed else None}
            for question, training in sorted(graded)
            if question not in stored.left_out  # by any training: policies are compared on the same questions
            for row in graded[question, training].result()
        ]
    write_table(out, "trajectories", swept)
    return stored.identities, stored.report


def swept_thresholds(study: Study, quantiles: Path | None) -> Callable[[int], dict[str, list[float]] | None]:
    """From a training of the router to the thresholds of each policy; None where every trajectory is swept."""
    settings = study.sweep
    if settings.thresholds == "exact":
        return lambda training: None
    if settings.thresholds == "quantiles":
        assert quantiles is not None, "the command asks for the file"
        each: dict[str, list[list[float]]] = json.loads(quantiles.read_text(encoding="utf-8"))
        return lambda training: {policy: lists[min(training, len(lists) - 1)] for policy, lists in each.items()}
    listed: dict[str, list[float]] = {policy: list(settings.thresholds) for policy in settings.policies}
    return lambda training: listed
