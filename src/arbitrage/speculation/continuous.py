"""The continuous scheduler: requests are handed on at once, and every engine works whenever something waits for it.

Draft, target, PRM and router run at the same time, each served by a worker of its own (`lane`). No question waits for
another's long step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Any

from arbitrage.speculation.lane import lanes_of
from arbitrage.speculation.pair import PairModels
from arbitrage.speculation.scheduling import Course, Finished, Open, Progress, Request, Scheduler, Work
from arbitrage.speculation.tree import Question


class Continuous(Scheduler):
    """Hands every request on at once; see the module."""

    def __init__(
        self,
        models: PairModels,
        open_questions: int,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> None:
        """open_questions: how many are under way at a time. loop_factory: another event loop, such as one simulated."""
        super().__init__(models)
        self._open_questions, self._loop_factory = open_questions, loop_factory

    def submit(self, request: Request) -> Awaitable[Any]:
        return self._lanes[request.model].submit(request)

    def run(
        self,
        questions: Sequence[Question],
        course: Course,
        finished: Finished,
        progress: Progress = lambda finished, alive: None,
    ) -> None:
        def one_finished(question: Question, result: Any) -> None:
            finished(question, result)
            progress(self.finished_parts, self.alive_parts)

        self._begin_run(course, one_finished)
        with asyncio.Runner(loop_factory=self._loop_factory) as runner:
            runner.run(self._follow(enumerate(questions)))
        if self._failure is not None:
            raise self._failure

    async def _follow(self, questions: Iterator[tuple[int, Question]]) -> None:
        """Follow all questions to their ends; whatever happens, workers and coroutines are gone at the end."""
        self._coming, self._tasks = questions, set[asyncio.Task[None]]()
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lanes = lanes_of(self.models)
        workers = [asyncio.create_task(self._guard(lane.work)) for lane in self._lanes.values()]
        try:
            self._admit()
            await self._over
        finally:
            tasks = (*workers, *self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for lane in self._lanes.values():
                lane.close()

    def _admit(self) -> None:
        """Open questions as long as there is room for more; once none is left the run is over."""
        while len(self._questions) < self._open_questions and (coming := next(self._coming, None)) is not None:
            self._open(*coming)
        if not self._questions and not self._over.done():
            self._over.set_result(None)

    def _start(self, state: Open, coroutine: Work) -> None:
        task = asyncio.create_task(self._guard(partial(self._run_one, state, coroutine)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda done: coroutine.close())  # cancelled before it began

    async def _run_one(self, state: Open, coroutine: Work) -> None:
        try:
            value = await coroutine
        except Exception as error:
            self._failed(state, error)
        else:
            self._ended(state, value)
        if state.question.question_id not in self._questions:
            self._admit()

    async def _guard(self, work: Callable[[], Awaitable[None]]) -> None:
        """An error that no question answers for ends the run, once."""
        try:
            await work()
        except Exception as error:
            if not self._over.done():
                self._over.set_exception(error)
