"""Following a course on a shard's questions, with progress, and commits from which a killed job goes on.

In lockstep, questions are worked off in chunks of a sorted list. A chunk's new steps and scores are committed to the
step store when it is finished, so that a killed stage goes on with the first unfinished chunk, in the same batches. In
continuous mode all questions of the shard are one run, some of them under way at a time, and what they added is
committed whenever as many as a chunk have finished.
"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from arbitrage.config.study import Study
from arbitrage.runtime.memory import peak_gb
from arbitrage.runtime.progress import Progress
from arbitrage.speculation.continuous import Continuous
from arbitrage.speculation.lane import rows_of
from arbitrage.speculation.scheduling import Course, Lockstep
from arbitrage.speculation.tree import Question
from arbitrage.stages.open_models import CachedPair

Row = dict[str, Any]
PROMPT_TOO_LONG = "its prompt fills the draft's or the target's context"
OPEN_PER_ROW = 3  # questions under way in continuous mode, for each row of the widest engine: no engine waits for work


def shard_of(rows: list[Row], shard: int, shards: int) -> list[Row]:
    """Every `shards`-th question of the list sorted by id, from `shard` on."""
    return sorted(rows, key=lambda row: str(row["question_id"]))[shard::shards]


@dataclass
class ShardWork:
    """A shard's questions under way: who is told what. unit: what progress says are finished and open."""

    stored: CachedPair
    course: Course
    finished: Callable[[Question, Any], None]
    progress: Progress
    unit: str

    def work_through(self, study: Study, pair: str, questions: list[Question], size: int) -> None:
        """Follow the course on all questions, committing every `size` of them. Raises EngineError, StoreError."""
        if study.scheduler_of(pair) == "lockstep":
            self._in_chunks(questions, size)
        else:
            self._continuously(questions, size)

    def _in_chunks(self, questions: list[Question], size: int) -> None:
        chunks = range(0, len(questions), size)
        for number, start in enumerate(chunks, start=1):
            chunk = questions[start : start + size]
            note = partial(self._note, f"chunk {number} of {len(chunks)}: ", len(chunk))
            scheduler = Lockstep(self.stored.models)
            scheduler.run(self._fitting(chunk), self.course, self.finished, note)
            self.stored.left_out.update(scheduler.lost)
            self.stored.commit(chunk_name([question.question_id for question in chunk]))
            self.stored.forget()
            self.progress.advance(len(chunk))
            if number == 1:
                self._note_memory()

    def _continuously(self, questions: list[Question], size: int) -> None:
        uncommitted: list[Question] = []

        def finished(question: Question, result: Any) -> None:
            self.finished(question, result)
            uncommitted.append(question)
            self.progress.advance()
            if len(uncommitted) >= size:
                self._commit(uncommitted)

        fitting = self._fitting(questions)
        self.progress.advance(len(questions) - len(fitting))
        widest = max(rows_of(model.engine) for model in self.stored.engines)
        scheduler = Continuous(self.stored.models, max(size, OPEN_PER_ROW * widest))
        try:
            scheduler.run(fitting, self.course, finished, partial(self._note, "", 0))
        finally:
            self._commit(uncommitted)  # of a run that ends early too: what engines did is not done again
        self.stored.left_out.update(scheduler.lost)
        self.progress.advance(len(scheduler.lost))
        self._note_memory()

    def _commit(self, finished: list[Question]) -> None:
        self.stored.commit(chunk_name([question.question_id for question in finished]))
        finished.clear()

    def _fitting(self, questions: list[Question]) -> list[Question]:
        """The questions whose prompt leaves both models room; the others are noted as left out."""
        fitting = [question for question in questions if self.stored.models.bounds.fits(question)]
        fitting_ids = {question.question_id for question in fitting}
        others = [each.question_id for each in questions if each.question_id not in fitting_ids]
        self.stored.left_out.update(dict.fromkeys(others, PROMPT_TOO_LONG))
        return fitting

    def _note(self, before: str, questions: int, finished: int, alive: int) -> None:
        """Say how far the run is; questions: of a chunk, that count as done by the share of what is finished."""
        store, progress = self.stored.store, self.progress
        share = finished / max(finished + alive, 1)  # an upper bound: those open take longer, and may become more
        rates = progress.rates(steps=store.generated_steps, tokens=store.generated_tokens)
        parts = [f"{before}{finished:,} {self.unit} finished, {alive:,} open", rates, progress.left(share * questions)]
        progress.note(", ".join(filter(None, parts)))

    def _note_memory(self) -> None:
        print(f"{self.progress.title}: {peak_gb():.1f} GB of memory at most so far", file=sys.stderr, flush=True)


def work_through(
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

    size: questions of a chunk; unit: what progress says are finished and open. Raises EngineError, StoreError.
    """
    progress = Progress(len(rows), "questions", title)
    questions = [Question(row["question_id"], row["problem"]) for row in rows]
    ShardWork(stored, course, finished, progress, unit).work_through(study, pair, questions, size)
    counts = stored.store
    progress.note(
        f"generated {counts.generated_tokens:,} tokens in {counts.generated_steps:,} steps, scored {counts.scored:,}, "
        f"remembered {counts.hits:,}"
    )
    if stored.left_out:
        print(
            f"{title}: {len(stored.left_out)} of {len(rows)} questions left out: "
            + "; ".join(f"{count}, for {reason}" for reason, count in Counter(stored.left_out.values()).most_common())
            + f" ({next(iter(stored.left_out))} among them)",
            file=sys.stderr,
            flush=True,
        )


def chunk_name(question_ids: Sequence[str]) -> str:
    """What the chunk of the step store is called that holds what these questions added."""
    return hashlib.sha256("\n".join(question_ids).encode()).hexdigest()[:12]
