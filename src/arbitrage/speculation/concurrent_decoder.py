"""Live decoding of many questions at once, each with a policy and a threshold of its own: what a server does.

Questions come and go at any time. Every one follows Algorithm 1 as in the live decoder (`decoder`), and what all of
them await reaches the engines in common batches (`lane.Lane`). Texts are those of the live decoder, but for
rounding where a batch is summed up in another order.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from dataclasses import replace
from types import TracebackType
from typing import Any

from arbitrage.config.policies import Need
from arbitrage.speculation.algorithm1 import Trajectory, Visit, algorithm1
from arbitrage.speculation.decision import Interval
from arbitrage.speculation.here import ScheduledHere
from arbitrage.speculation.lane import Lane, lanes_of
from arbitrage.speculation.pair import PairModels
from arbitrage.speculation.policies.base import Policy
from arbitrage.speculation.scheduling import Request
from arbitrage.speculation.tree import Node, Question

RETRY_S = 0.2  # between a model's failure and its next call


class ConcurrentDecoder:
    """Decodes questions side by side, in the event loop that enters it as a context.

    lanes: the requests of each model. Where a model fails, what it had taken is refused with the error, and it is asked
    again a moment later, for others may have better luck.
    """

    def __init__(self, models: PairModels, seed: int, in_turn: bool = False) -> None:
        """seed: the study's, for policies that draw numbers. in_turn: engines share a CPU (`lane.Turns`)."""
        self.models, self.seed, self._in_turn = models, seed, in_turn
        self.lanes: dict[Need, Lane] = {}
        self.awaited: Counter[asyncio.Future[Any]] = Counter()  # how many questions wait for an answer
        self._numbers = itertools.count()
        self._workers: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> ConcurrentDecoder:
        self.lanes = lanes_of(self.models, self._in_turn)
        self._workers = [asyncio.create_task(self._work(lane)) for lane in self.lanes.values()]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the engines' workers; a batch that is under way in a thread is waited for."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        for lane in self.lanes.values():
            lane.close()

    def begin(self, question: Question, policy: Policy, threshold: float | None, max_tokens: int) -> Decoding:
        """The decoding of one question, to be followed by `Decoding.visits`; nothing is asked of a model yet.

        threshold: None for policies without one. max_tokens: of the solution, in the draft's tokens; the study's limit
        holds too. Raises EngineError for lack of a model.
        """
        self.models.require(policy)
        order = (next(self._numbers),)  # who came first is served first
        return Decoding(self, Trajectory(policy, Interval.at(threshold), Node(question), order=order), max_tokens)

    async def _work(self, lane: Lane) -> None:
        while True:
            try:
                await lane.work()
            except Exception as error:
                lane.fail(error)
                await asyncio.sleep(RETRY_S)


class Decoding:
    """One question under way (`scheduling.Asking`), with contexts of its own, so that nothing of it stays."""

    def __init__(self, decoder: ConcurrentDecoder, start: Trajectory, max_tokens: int) -> None:
        generation = decoder.models.generation
        limit = min(max_tokens, generation.max_tokens)
        self.models = replace(decoder.models, generation=generation.model_copy(update={"max_tokens": limit}))
        self._decoder, self._start = decoder, start
        self._asked: list[asyncio.Future[Any]] = []

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt, in the draft's tokenizer."""
        return len(self.models.contexts["draft"].ids(self._start.node))

    @property
    def fits(self) -> bool:
        """Whether the prompt leaves both models room for a first token."""
        return self.models.bounds.fits(self._start.node.question)

    async def visits(self) -> AsyncGenerator[Visit, None]:
        """The decisions, each as soon as it is made. Raises EngineError.

        However it ends, what this question has asked for is withdrawn then: requests that no other question shares and
        that no engine has taken are dropped.
        """

        def at(reached: Trajectory) -> ScheduledHere:
            return ScheduledHere(reached, self, self._decoder.seed)

        def fork(other: Trajectory) -> None:
            raise AssertionError("no score splits the interval of one threshold")

        try:
            async with aclosing(algorithm1(self._start, self.models.bounds, at, fork)) as trajectories:
                async for trajectory in trajectories:
                    yield trajectory.visits[-1]
        finally:
            self._withdraw()

    def submit(self, request: Request) -> Awaitable[Any]:
        """The answer to a request, which other questions may share."""
        answer = self._decoder.lanes[request.model].submit(request)
        self._asked.append(answer)
        self._decoder.awaited[answer] += 1
        own = asyncio.shield(answer)  # when this question is cancelled, others wait on
        own.add_done_callback(lambda done: done.cancelled() or done.exception())  # perhaps nobody awaits it any more
        return own

    def _withdraw(self) -> None:
        for answer in self._asked:
            self._decoder.awaited[answer] -= 1
            if not self._decoder.awaited[answer]:
                del self._decoder.awaited[answer]
                answer.cancel()
        self._asked.clear()
