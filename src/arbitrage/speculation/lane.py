"""The requests that wait for one engine, and its worker: what the continuous scheduler and the server are made of.

An engine that takes requests while others are under way (`protocols.ContinuousEngine`: vLLM, servers) is its own
worker; a synchronous one works in a thread, on all that waits by then. Requests for the same step or score share one
answer, and what the engine's memory holds (`protocols.Remembering`) is answered at once.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from arbitrage.config.policies import Need
from arbitrage.speculation.pair import PairModels, answers_or_errors
from arbitrage.speculation.protocols import ContextMemoryError, ContinuousEngine, Remembering
from arbitrage.speculation.scheduling import Request, naming

DEFAULT_ROWS = 64
SETTLING = 8  # rounds of the event loop until those who were answered have asked for what they need next


def rows_of(engine: Any) -> int:
    """How many requests an engine works on at once: its `rows`, where it has any."""
    return int(getattr(engine, "rows", DEFAULT_ROWS))


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, what its answer is remembered by, and the answer to come."""

    request: Request
    key: Hashable
    answer: asyncio.Future[Any]


class Turns:
    """One synchronous engine at a time: that for which most requests wait, the longer passed over the sooner.

    Engines on one CPU share its cores, and Python's lock, whatever is done: in turn, each works on larger batches. A
    lane takes part while its worker runs: nobody waits for one whose engine has failed and is not asked yet.
    """

    def __init__(self) -> None:
        self._passed_over: dict[Lane, int] = {}  # how often in a row, of every lane that takes part
        self._working = False
        self._changed = asyncio.Event()

    def join(self, lane: Lane) -> None:
        """Have a lane take its turns here."""
        self._passed_over[lane] = 0

    def leave(self, lane: Lane) -> None:
        """Have the others pass a lane over, whatever waits for it."""
        del self._passed_over[lane]
        self._changed.set()

    def changed(self) -> None:
        """A request has come."""
        self._changed.set()

    async def begin(self, lane: Lane) -> None:
        """Wait until it is the turn of `lane`, for which requests then wait."""
        while self._working or lane is not self._next():
            self._changed.clear()
            await self._changed.wait()
            for _ in range(SETTLING):
                await asyncio.sleep(0)  # what has been answered together asks together
        self._working = True
        for each in self._passed_over:
            self._passed_over[each] = 0 if each is lane or not each.waiting else self._passed_over[each] + 1

    def end(self) -> None:
        """The turn is over."""
        self._working = False
        self._changed.set()

    def _next(self) -> Lane | None:
        waiting = [lane for lane in self._passed_over if lane.waiting]
        return max(waiting, key=lambda lane: lane.waiting * (1 + self._passed_over[lane]), default=None)


class Lane:
    """The requests for one engine (`protocols.RequestLane`): earlier questions first, `rows` in flight at most.

    A request whose answer is cancelled while it waits never reaches the engine; what the engine has taken goes on.
    busy_s, takes, taken: seconds in which the engine had work, how often it took some, and how many requests in all.
    failure: the engine's, where it has answered nothing since.
    """

    def __init__(self, engine: Any, name: str, turns: Turns | None = None) -> None:
        """turns: that a synchronous engine takes with others; None: it works whenever something waits."""
        self._memory = engine if isinstance(engine, Remembering) else None
        self.engine = self._memory.engine if self._memory else engine
        self.rows = rows_of(self.engine)
        self.busy_s, self.takes, self.taken = 0.0, 0, 0
        self.failure: Exception | None = None
        self._waiting: list[tuple[tuple[int, ...], int, Asked]] = []
        self._flying: dict[Hashable, asyncio.Future[Any]] = {}  # asked for and not answered yet
        self._under_way: dict[int, Asked] = {}  # what the engine has taken, by id of the request
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._number = 0
        self._busy_since = 0.0
        self._turns = None if isinstance(self.engine, ContinuousEngine) else turns

    def submit(self, request: Request) -> asyncio.Future[Any]:
        """The answer to a request: remembered, shared with one under way, or the engine's."""
        key: Hashable = self._memory.key(request.payload) if self._memory else request.payload
        if (flying := self._flying.get(key)) is not None and not flying.cancelled():
            if self._memory:
                self._memory.count_hit()
            return flying
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())  # perhaps nobody awaits it any more
        if self._memory and (remembered := self._memory.recall(key)) is not None:
            answer.set_result(remembered)
            return answer
        self._flying[key] = answer
        self._number += 1
        heapq.heappush(self._waiting, (request.order, self._number, Asked(request, key, answer)))
        self._arrived.set()
        if self._turns:
            self._turns.changed()
        return answer

    async def take(self, most: int) -> list[Request]:
        """At least one request and at most `most`, once there is one."""
        while not (taken := self.take_now(most)):
            self._arrived.clear()
            await self._arrived.wait()
            await asyncio.sleep(0)  # what has been answered together asks together
        return taken

    def take_now(self, most: int) -> list[Request]:
        """The requests that wait, at most `most`."""
        taken: list[Request] = []
        while self._waiting and len(taken) < most:
            asked = heapq.heappop(self._waiting)[2]
            if asked.answer.cancelled():
                self._forget(asked)
                continue
            taken.append(asked.request)
            if not self._under_way:
                self._busy_since = time.perf_counter()
            self._under_way[id(asked.request)] = asked
        self.taken += len(taken)
        self.takes += bool(taken)
        return taken

    def answer(self, request: Request, value: Any) -> None:
        """Hand on what the engine made of a request."""
        asked = self._close(request)
        self.failure = None
        if self._memory:
            self._memory.remember(asked.key, value)
        if not asked.answer.done():
            asked.answer.set_result(value)

    def refuse(self, request: Request, error: Exception) -> None:
        """Hand an error to whoever awaits a request; the others go on."""
        asked = self._close(request)
        if not asked.answer.done():
            asked.answer.set_exception(error)

    def fail(self, error: Exception) -> None:
        """The engine has failed: the same for all that it has taken and not answered."""
        self.failure = error
        for asked in list(self._under_way.values()):
            self.refuse(asked.request, error)

    def _close(self, request: Request) -> Asked:
        asked = self._under_way.pop(id(request))
        if not self._under_way:
            self.busy_s += time.perf_counter() - self._busy_since
        self._forget(asked)
        return asked

    def _forget(self, asked: Asked) -> None:
        if self._flying.get(asked.key) is asked.answer:  # else it was cancelled, and the same was asked again
            del self._flying[asked.key]

    @property
    def waiting(self) -> int:
        """How many requests wait for the engine."""
        return sum(not asked.answer.cancelled() for _, _, asked in self._waiting)

    async def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a blocking function in the lane's own thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    async def work(self) -> None:
        """Have the engine answer requests until cancelled. Raises what it raises."""
        if isinstance(self.engine, ContinuousEngine):
            await self.engine.work(self)
            return
        if self._turns is not None:
            await self._take_turns(self._turns)
        while True:
            await self._answer(await self.take(self.rows))

    async def _take_turns(self, turns: Turns) -> None:
        turns.join(self)
        try:
            while True:
                await turns.begin(self)
                try:
                    await self._answer(self.take_now(self.rows))
                finally:
                    turns.end()
        finally:
            turns.leave(self)

    async def _answer(self, batch: list[Request]) -> None:
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


def lanes_of(models: PairModels, in_turn: bool = False) -> dict[Need, Lane]:
    """A lane for each model that was loaded; in_turn: synchronous engines work one at a time (`Turns`)."""
    names: tuple[Need, ...] = ("draft", "target", "prm", "router")
    turns = Turns() if in_turn else None
    return {name: Lane(engine, name, turns) for name in names if (engine := getattr(models, name)) is not None}
