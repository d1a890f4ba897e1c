"""The continuous scheduler: requests are handed on at once, and every engine works whenever something waits for it.

Draft, target, PRM and router run at the same time, each served by a worker of its own. An engine that takes requests
while others are under way (`protocols.ContinuousEngine`: vLLM, servers) is its own worker; a synchronous one works in a
thread, on all that waits by then. No question waits for another's long step. Requests for the same step or score share
one answer, and what the engine's memory holds (`protocols.Remembering`) is answered at once.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Awaitable, Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from arbitrage.config.policies import Need
from arbitrage.speculation.pair import PairModels, answers_or_errors
from arbitrage.speculation.protocols import ContextMemoryError, ContinuousEngine, Remembering
from arbitrage.speculation.scheduling import Course, Finished, Open, Progress, Request, Scheduler, Work, naming
from arbitrage.speculation.tree import Question

DEFAULT_ROWS = 64


def rows_of(engine: Any) -> int:
    """How many requests an engine works on at once: its `rows`, where it has any."""
    return int(getattr(engine, "rows", DEFAULT_ROWS))


class Lane:
    """The requests for one engine (`protocols.RequestLane`): earlier questions first, `rows` in flight at most."""

    def __init__(self, engine: Any, name: str) -> None:
        self._memory = engine if isinstance(engine, Remembering) else None
        self.engine = self._memory.engine if self._memory else engine
        self.rows = rows_of(self.engine)
        self.busy_s, self.takes = 0.0, 0
        self._waiting: list[tuple[tuple[int, ...], int, Request]] = []
        self._flying: dict[Hashable, asyncio.Future[Any]] = {}  # asked for and not answered yet
        self._keys: dict[int, Hashable] = {}  # by id of the request
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._number = self._taken = 0
        self._busy_since = 0.0

    def submit(self, request: Request) -> asyncio.Future[Any]:
        """The answer to a request: remembered, shared with one under way, or the engine's."""
        key: Hashable = self._memory.key(request.payload) if self._memory else request.payload
        if (flying := self._flying.get(key)) is not None:
            if self._memory:
                self._memory.count_hit()
            return flying
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())  # perhaps nobody awaits it any more
        if self._memory and (remembered := self._memory.recall(key)) is not None:
            answer.set_result(remembered)
            return answer
        self._flying[key] = answer
        self._keys[id(request)] = key
        self._number += 1
        heapq.heappush(self._waiting, (request.order, self._number, request))
        self._arrived.set()
        return answer

    async def take(self, most: int) -> list[Request]:
        """At least one request and at most `most`, once there is one."""
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
            await asyncio.sleep(0)  # what has been answered together asks together
        return self.take_now(most)

    def take_now(self, most: int) -> list[Request]:
        """The requests that wait, at most `most`."""
        taken = [heapq.heappop(self._waiting)[2] for _ in range(min(most, len(self._waiting)))]
        if taken:
            if not self._taken:
                self._busy_since = time.perf_counter()
            self._taken += len(taken)
            self.takes += 1
        return taken

    def answer(self, request: Request, value: Any) -> None:
        """Hand on what the engine made of a request."""
        key = self._close(request)
        if self._memory:
            self._memory.remember(key, value)
        self._flying.pop(key).set_result(value)

    def refuse(self, request: Request, error: Exception) -> None:
        """Hand an error to whoever awaits a request; the others go on."""
        self._flying.pop(self._close(request)).set_exception(error)

    def _close(self, request: Request) -> Hashable:
        self._taken -= 1
        if not self._taken:
            self.busy_s += time.perf_counter() - self._busy_since
        return self._keys.pop(id(request))

    async def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a blocking function in the lane's own thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    async def work(self) -> None:
        """Have the engine answer requests until cancelled. Raises what it raises."""
        if isinstance(self.engine, ContinuousEngine):
            await self.engine.work(self)
            return
        while True:
            batch = await self.take(self.rows)
            try:
                values = await self.call(answers_or_errors, self.engine, [request.payload for request in batch])
            except Exception as error:
                raise naming(error, list(dict.fromkeys(request.question_id for request in batch))) from error
            for request, value in zip(batch, values, strict=True):
                if isinstance(value, ContextMemoryError):
                    self.refuse(request, value)
                else:
                    self.answer(request, value)

    def close(self) -> None:
        """Wait for the thread to end, and count what the engine did."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        if self._memory:
            self._memory.charge(self.takes, self.busy_s)


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
        names: tuple[Need, ...] = ("draft", "target", "prm", "router")
        engines = {name: engine for name in names if (engine := getattr(self.models, name)) is not None}
        self._lanes = {name: Lane(engine, name) for name, engine in engines.items()}
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
