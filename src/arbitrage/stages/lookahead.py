"""Look-ahead labels: do accepting and escalating lead to right answers, where the target writes all that follows?"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from arbitrage.config.study import Study
from arbitrage.grading.extract import extract_answer
from arbitrage.grading.grade import grade
from arbitrage.io.tables import read_batches, read_table, write_table
from arbitrage.questions.normal_form import QuestionError
from arbitrage.runtime.placement import placed
from arbitrage.speculation.lookahead import LookAhead, both_sides
from arbitrage.speculation.tree import Question
from arbitrage.stages.open_models import open_pair_cached
from arbitrage.stages.work_through import shard_of, work_through

Row = dict[str, Any]
READ = ["question_id", "problem", "step_index", "history", "draft_step", "target_steps"]  # of the table `steps`


def lookahead(
    study: Study, pair: str, shard: int, questions: Path, steps: Path, out: Path
) -> tuple[dict[str, str], dict[str, Any]]:
    """Write the `lookahead` table of one shard of labelled steps, whole or not at all.

    questions: the `questions` table; steps: the shard's `steps` table. Steps of questions without an answer are
    ungraded, and nothing is continued for them. Returns the models' identities and `CachedPair.report`. Raises
    QuestionError where no question has an answer; EngineError, TableError.
    """
    rows = shard_of(read_table(questions, "questions"), shard, study.steps_shards)
    gold = {row["question_id"]: answers for row in rows if (answers := _answers(row))}
    if not gold:
        raise QuestionError(
            f"{questions}: none of the {len(rows)} questions of shard {shard} has an answer, which look-ahead labels "
            "need: in `answers`, or as the last \\boxed{} of `solution`. Name that column as questions.columns.solution"
        )
    grading = {row["question_id"]: row["grading"] for row in rows}
    labelled = [row for batch in read_batches(steps, "steps", READ) for row in batch.to_pylist()]
    open_steps: dict[str, list[Row]] = {}
    for row in labelled:
        if row["question_id"] in gold and not _same(row):
            open_steps.setdefault(row["question_id"], []).append(row)
    separator = study.generation.separator
    starts = {name: [node for row in own for node in both_sides(row, separator)] for name, own in open_steps.items()}

    def verdicts(question_id: str, solutions: list[str]) -> list[bool | None]:
        return [grade(solution, gold[question_id], grading[question_id])[1] for solution in solutions]

    study = placed(study, "lookahead", pair)
    with (
        open_pair_cached(study, "lookahead", pair, "labelling", f"lookahead-{shard}") as stored,
        ThreadPoolExecutor(1) as graders,  # engines do not wait while answers are compared
    ):
        graded: dict[str, Future[list[bool | None]]] = {}

        def finished(question: Question, solutions: list[str]) -> None:
            graded[question.question_id] = graders.submit(verdicts, question.question_id, solutions)

        # A question has as many continuations as in a sweep, so a chunk is as large as there
        asked = [row for row in rows if row["question_id"] in starts]
        title = f"look-ahead {pair} shard {shard}"
        course = LookAhead(starts, study.seed)
        work_through(stored, study, pair, asked, study.sweep.chunk, course, finished, title, "continuations")
        right: dict[tuple[str, int], tuple[bool | None, bool | None]] = {}
        for question_id, future in graded.items():
            each = iter(future.result())
            right |= {(question_id, row["step_index"]): (next(each), next(each)) for row in open_steps[question_id]}
    found = []
    for row in labelled:
        key = (row["question_id"], row["step_index"])
        after_draft, after_target = right.get(key, (None, None))
        found.append(
            {
                "study": study.study,
                "pair": pair,
                "question_id": key[0],
                "step_index": key[1],
                "same_text": _same(row),
                "right_after_draft": after_draft,
                "right_after_target": after_target,
            }
        )
    write_table(out, "lookahead", found)
    return stored.identities, stored.report


def _answers(row: Row) -> list[str]:
    """The right answers of a question: its own, or what its worked solution boxes last; none where it has neither."""
    boxed = extract_answer(row["solution"])
    answers: list[str] = row["answers"] or ([boxed] if boxed else [])
    return answers


def _same(row: Row) -> bool:
    """Whether draft and target wrote the same step: then accepting and escalating lead to the same solution."""
    same: bool = row["draft_step"] == row["target_steps"][0]
    return same
