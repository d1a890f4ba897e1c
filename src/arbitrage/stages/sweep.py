"""The sweep: trajectories of all policies over one shard of a benchmark, graded (paper, section 5)."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from arbitrage.config.study import Study
from arbitrage.grading.grade import grade
from arbitrage.io.tables import read_table, write_table
from arbitrage.speculation.rows import Scored, ScoredSweep, trajectory_rows
from arbitrage.speculation.tree import Question
from arbitrage.stages.open_models import open_pair_cached
from arbitrage.stages.work_off import shard_of, work_off

Rows = list[dict[str, Any]]


def sweep(
    study: Study, pair: str, benchmark: str, shard: int, questions: Path, router: Path | None, out: Path
) -> tuple[dict[str, str], dict[str, Any]]:
    """Write the `trajectories` table of one shard, whole or not at all.

    questions: the benchmark's `questions` table. router: directory of a trained router, where a policy needs one.
    Returns the models' identities and `CachedPair.report`. Raises EngineError, TableError.
    """
    rows = shard_of(read_table(questions, "questions"), shard, study.sweep_shards(benchmark))
    gold = {row["question_id"]: row for row in rows}
    thresholds = None if study.sweep.thresholds == "exact" else study.sweep.thresholds
    keys = {"study": study.study, "pair": pair, "benchmark": benchmark}

    def grade_solution(question_id: str, solution: str) -> tuple[str | None, bool | None]:
        row = gold[question_id]
        return grade(solution, row["answers"], row["grading"])

    source = study.benchmarks[benchmark].store_name
    with (
        open_pair_cached(study, pair, source, f"{benchmark}-shard-{shard}", router) as stored,
        ThreadPoolExecutor(1) as graders,  # engines do not wait while answers are compared
    ):
        graded: dict[str, Future[Rows]] = {}

        def finished(question: Question, scored: Scored) -> None:
            graded[question.question_id] = graders.submit(trajectory_rows, scored, grade_solution)

        course = ScoredSweep(study.sweep.policies, study.seed, thresholds)
        title = f"trajectories {pair} {benchmark} shard {shard}"
        work_off(stored, study, pair, rows, study.sweep.chunk, course, finished, title, "trajectories")
        swept = [{**keys, **row} for question in sorted(graded) for row in graded[question].result()]
    write_table(out, "trajectories", swept)
    return stored.identities, stored.report
