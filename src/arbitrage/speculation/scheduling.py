"""Schedulers: coroutines that follow Algorithm 1 await steps and scores; a scheduler turns these into work for engines.

`lockstep` sends a batch when no coroutine can go on: the same batches in the same order on every run, and so the same
bytes. `continuous` (its own module) hands requests on at once.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from arbitrage.config.policies import Need
from arbitrage.errors import UserError
from arbitrage.speculation.pair import PairModels, answers_or_errors
from arbitrage.speculation.protocols import ContextMemoryError
from arbitrage.speculation.steps import ReadRequest, ScoreRequest, StateRequest, StepRequest
from arbitrage.speculation.tree import Question

Work = Coroutine[Any, Any, Any]
Finished = Callable[[Question, Any], None]  # given a question and its result
Progress = Callable[[int, int], None]  # told how many trajectories are finished, and how many are under way

# Positions of requests within a step: in lockstep, a later request waits for the earlier ones of others.
DRAFT, STATE, PRM, ROUTER, READING, TARGET, PRM_OF_TARGET = range(7)
AT_THE_END = math.inf  # the depth of what is asked once a question's trajectories are finished


@dataclass(frozen=True, slots=True)
class Request:
    """One thing that a coroutine awaits of a model.

    turn: (depth, position in the step, sample); in lockstep, requests of one turn are one batch, lower turns first.
    rank, order: the order within that batch. `order` begins with the question's number.
    """

    model: Need
    payload: StepRequest | ScoreRequest | ReadRequest | StateRequest
    question_id: str
    turn: tuple[float, int, int]
    rank: int
    order: tuple[int, ...]


class Asking(Protocol):
    """What a node is asked through (`here.ScheduledHere`): the models, and who has them answer."""

    @property
    def models(self) -> PairModels: ...

    def submit(self, request: Request) -> Awaitable[Any]:
        """The answer to a request, to be awaited; it is under way from now on."""


class Course(Protocol):
    """What becomes of a question: coroutines that each end in a part, and what the parts make together."""

    def begin(self, number: int, question: Question, scheduler: Scheduler) -> Iterable[Work]:
        """The coroutines to start with; they may `spawn` further ones. number: the question's place in the run."""

    async def conclude(self, number: int, question: Question, parts: list[Any], scheduler: Scheduler) -> Any:
        """The question's result, once all its coroutines have ended."""


@dataclass
class Open:
    """A question under way. alive: its coroutines that have not ended."""

    number: int
    question: Question
    parts: list[Any] = field(default_factory=list)
    alive: int = 0
    concluding: bool = False
    failed: bool = False


class Scheduler(ABC):
    """Runs the coroutines of questions to their ends, and answers what they await.

    lost: questions of the last run that ended without a result, for a context of theirs takes more memory than there
    is; and why.
    """

    def __init__(self, models: PairModels) -> None:
        self.models = models
        self.lost: dict[str, str] = {}
        self.finished_parts = self.alive_parts = 0

    @abstractmethod
    def submit(self, request: Request) -> Awaitable[Any]:
        """The answer to a request, to be awaited; it is under way from now on."""

    def spawn(self, question_id: str, coroutine: Work) -> None:
        """Follow one more coroutine of a question that is under way."""
        state = self._questions[question_id]
        state.alive += 1
        self.alive_parts += 1
        self._start(state, coroutine)

    @abstractmethod
    def run(
        self,
        questions: Sequence[Question],
        course: Course,
        finished: Finished,
        progress: Progress = lambda finished, alive: None,
    ) -> None:
        """Follow `course` on every question; `finished` is given each one's result as soon as it is there.

        Raises what an engine raised, at once, or what a question's own coroutine raised, once the other questions are
        finished; the message names the questions.
        """

    @abstractmethod
    def _start(self, state: Open, coroutine: Work) -> None:
        """Begin to run a coroutine."""

    def _begin_run(self, course: Course, finished: Finished) -> None:
        self._course, self._finished = course, finished
        self._questions: dict[str, Open] = {}
        self._failure: Exception | None = None
        self.lost = {}
        self.finished_parts = self.alive_parts = 0

    def _open(self, number: int, question: Question) -> None:
        self._questions[question.question_id] = Open(number, question)
        for coroutine in self._course.begin(number, question, self):
            self.spawn(question.question_id, coroutine)

    def _ended(self, state: Open, value: Any) -> None:
        """A coroutine of `state` has ended in `value`."""
        state.alive -= 1
        self.alive_parts -= 1
        self.finished_parts += not state.concluding
        if state.concluding:
            self._close(state)
            self._finished(state.question, value)
            return
        state.parts.append(value)
        if not state.alive and not state.failed:
            state.concluding = True
            result = self._course.conclude(state.number, state.question, state.parts, self)
            self.spawn(state.question.question_id, result)
        elif not state.alive:
            self._close(state)

    def _failed(self, state: Open, error: Exception) -> None:
        """A coroutine of `state` has raised: its question is lost, others go on; the first error is raised later.

        Unless it is memory that this question alone is too large for: then it is left out, with the reason.
        """
        state.failed = True
        if isinstance(error, ContextMemoryError):
            self.lost.setdefault(state.question.question_id, str(error))
        else:
            self._failure = self._failure or naming(error, [state.question.question_id])
        state.alive -= 1
        self.alive_parts -= 1
        if not state.alive:
            self._close(state)

    def _close(self, state: Open) -> None:
        del self._questions[state.question.question_id]
        self.models.forget(state.question.question_id)


def naming(error: Exception, question_ids: Sequence[str]) -> Exception:
    """The same error with the questions it came up for; a user's one in its line, any other in a note."""
    first = ", ".join(question_ids[:3])
    about = f"question {first}" if len(question_ids) < 2 else f"questions {first}"
    if len(question_ids) > 3:
        about += f" and {len(question_ids) - 3} more"
    if isinstance(error, UserError):
        named = type(error)(f"{error} ({about})")
        named.__cause__ = error
        return named
    error.add_note(about)
    return error


MakeScheduler = Callable[[PairModels], Scheduler]


class Answer:
    """A value that will be there when its batch is back, or an error. waiting: the coroutines to go on with then."""

    __slots__ = ("done", "value", "waiting")

    def __init__(self) -> None:
        self.done = False
        self.value: Any = None
        self.waiting: list[tuple[Open, Work]] = []

    def __await__(self) -> Generator[Answer, None, Any]:
        while not self.done:
            yield self
        if isinstance(self.value, ContextMemoryError):
            raise self.value
        return self.value


class Lockstep(Scheduler):
    """Sends a batch when no coroutine can go on: the earliest turn that anybody waits for, whole and in order."""

    def submit(self, request: Request) -> Answer:
        answer = Answer()
        self._pending.setdefault(request.turn, []).append((request, answer))
        return answer

    def run(
        self,
        questions: Sequence[Question],
        course: Course,
        finished: Finished,
        progress: Progress = lambda finished, alive: None,
    ) -> None:
        self._begin_run(course, finished)
        self._pending: dict[tuple[float, int, int], list[tuple[Request, Answer]]] = {}
        self._ready: deque[tuple[Open, Work]] = deque()
        try:
            for number, question in enumerate(questions):
                self._open(number, question)
            while True:
                while self._ready:
                    self._advance(*self._ready.popleft())
                if not self._pending:
                    break
                self._send(self._pending.pop(min(self._pending)))
                progress(self.finished_parts, self.alive_parts)
        finally:
            waiting = [each for batch in self._pending.values() for _, answer in batch for each in answer.waiting]
            for _, coroutine in (*self._ready, *waiting):
                coroutine.close()
        if self._failure is not None:
            raise self._failure

    def _start(self, state: Open, coroutine: Work) -> None:
        self._ready.append((state, coroutine))

    def _advance(self, state: Open, coroutine: Work) -> None:
        try:
            answer = coroutine.send(None)
        except StopIteration as end:
            self._ended(state, end.value)
        except Exception as error:
            self._failed(state, error)
        else:
            answer.waiting.append((state, coroutine))

    def _send(self, batch: list[tuple[Request, Answer]]) -> None:
        batch.sort(key=lambda each: (each[0].rank, each[0].order))
        requests = [request for request, _ in batch]
        try:
            values = answers_or_errors(self.models.engine(requests[0].model), [request.payload for request in requests])
        except Exception as error:
            raise naming(error, list(dict.fromkeys(request.question_id for request in requests))) from error
        for (_, answer), value in zip(batch, values, strict=True):
            answer.done, answer.value = True, value
            self._ready.extend(answer.waiting)
