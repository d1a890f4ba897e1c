"""Following a course on a shard's questions, with progress, and commits from which a killed job goes on.

In lockstep, questions are worked off in chunks of a sorted list. A chunk's new steps and scores are committed to the
step store when it is finished, so that a killed stage goes on with the first unfinished chunk, in the same batches. In
continuous mode all questions of the shard are one run, some of them under way at a time, and what they added is
committed whenever as many as a chunk have finished.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from arbitrage.config.study import Study
from arbitrage.runtime.progress import Progress
from arbitrage.speculation.continuous import Continuous, rows_of
from arbitrage.speculation.scheduling import Course, Lockstep
from arbitrage.speculation.tree import Question
from arbitrage.stages.open_models import CachedPair

Row = dict[str, Any]
OPEN_PER_ROW = 3  # questions under way in continuous mode, for each row of the widest engine: no engine waits for work


def shard_of(rows: list[Row], shard: int, shards: int) -> list[Row]:
    """Every `shards`-th question of the list sorted by id, from `shard` on."""
    return sorted(rows, key=lambda row: str(row["question_id"]))[shard::shards]


def work_off(
    stored: CachedPair,
    study: Study,
    pair: str,
    rows: Sequence[Row],
    size: int,
    course: Course,
    finished: Callable[[Question, Any], None],
    title: str,
    unit: str,
) -> None:
    """Follow `course` on the questions in `rows`; `finished` is given each one's result.

    size: questions of a chunk; unit: what progress says are finished and open. Raises EngineError.
    """
    progress = Progress(len(rows), "questions", title)
    questions = [Question(row["question_id"], row["problem"]) for row in rows]
    if study.scheduler_of(pair) == "lockstep":
        _in_chunks(stored, questions, size, course, finished, progress, unit)
    else:
        _continuously(stored, questions, size, course, finished, progress, unit)
    counts = stored.store
    progress.note(
        f"generated {counts.generated_tokens:,} tokens in {counts.generated_steps:,} steps, scored {counts.scored:,}, "
        f"remembered {counts.hits:,}"
    )


def _in_chunks(
    stored: CachedPair,
    questions: list[Question],
    size: int,
    course: Course,
    finished: Callable[[Question, Any], None],
    progress: Progress,
    unit: str,
) -> None:
    chunks = range(0, len(questions), size)
    for number, start in enumerate(chunks, start=1):
        chunk = questions[start : start + size]
        told = partial(_note, progress, f"chunk {number} of {len(chunks)}: ", unit)
        Lockstep(stored.models).run(chunk, course, finished, told)
        stored.store.commit(_name(chunk))
        stored.forget()
        progress.advance(len(chunk))


def _continuously(
    stored: CachedPair,
    questions: list[Question],
    size: int,
    course: Course,
    finished: Callable[[Question, Any], None],
    progress: Progress,
    unit: str,
) -> None:
    uncommitted: list[Question] = []

    def one_finished(question: Question, result: Any) -> None:
        finished(question, result)
        uncommitted.append(question)
        progress.advance()
        if len(uncommitted) >= size:
            stored.store.commit(_name(uncommitted))
            uncommitted.clear()

    widest = max(rows_of(model.engine) for model in stored.engines)
    scheduler = Continuous(stored.models, max(size, OPEN_PER_ROW * widest))
    try:
        scheduler.run(questions, course, one_finished, partial(_note, progress, "", unit))
    finally:
        stored.store.commit(_name(uncommitted))  # of a run that ends early too: what engines did is not done again


def _name(questions: Sequence[Question]) -> str:
    return hashlib.sha256("\n".join(question.question_id for question in questions).encode()).hexdigest()[:12]


def _note(progress: Progress, before: str, unit: str, finished: int, open_: int) -> None:
    progress.note(f"{before}{finished:,} {unit} finished, {open_:,} open")
