"""Engines and questions that cost nothing, on a virtual clock: what `performance.schedule` hands to real schedulers."""

from __future__ import annotations

import asyncio
import heapq
import math
import selectors
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist
from typing import Any
from zlib import crc32

from arbitrage.speculation.protocols import RequestLane
from arbitrage.speculation.steps import GREEDY, AuthoredStep, FinishReason, GeneratedStep, Ids, Sampling

MEDIAN_TOKENS, SIGMA, RUNAWAY, RUNAWAY_TOKENS = 34, 0.75, 0.002, 4096
MEDIAN_STEPS, STEPS_SIGMA, ENDLESS, MOST_STEPS = 11, 0.45, 0.015, 100
AGREEMENT = 0.3  # share of nodes where both models write the same words
PASS_S = {"draft": (2.3e-3, 0.02e-3), "target": (6.2e-3, 0.045e-3)}  # a pass, and what each row adds
TOKEN_S = 2 * 1.5e9 / 200e12  # of the PRM or router: a forward pass of 1.5B parameters at 200 TFLOP/s
CALL_S = 5e-3  # of a scorer's batch, however small
PASSES_AT_ONCE = 8
AUTHORS = ("draft", "target", "prm", "router", "both")
MASK = 2**64 - 1


class Clock(selectors.SelectSelector):
    """Virtual seconds: an event loop that would sleep goes on at once, later."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        assert timeout is not None, "everybody waits for nothing"
        self.now += max(timeout, 0.0)
        return []

    def loop(self) -> asyncio.AbstractEventLoop:
        """An event loop on this clock."""
        loop = asyncio.SelectorEventLoop(self)
        loop.time = lambda: self.now  # type: ignore[method-assign]
        loop._clock_resolution = 1e-9  # type: ignore[attr-defined]
        return loop


def uniform(tag: int, name: int) -> float:
    """A number in (0, 1) hashed from a tag and a name (splitmix64)."""
    mixed = (name + tag * 0x9E3779B97F4A7C15) & MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & MASK
    return ((mixed ^ (mixed >> 31)) + 0.5) / 2**64


@cache
def quantile(index: int) -> float:
    """The standard normal distribution's quantile at (place + 0.5) / 4096."""
    return NormalDist().inv_cdf((index + 0.5) / 4096)


def lognormal(median: float, sigma: float, draw: float) -> int:
    """A whole number >= 1, lognormal, from a uniform draw."""
    return max(1, round(median * math.exp(sigma * quantile(int(draw * 4096)))))


@cache
def steps_of(question: int) -> int:
    """How many steps its solutions have, where none runs away before."""
    draw = uniform(1, question)
    return MOST_STEPS if draw < ENDLESS else min(MOST_STEPS, lognormal(MEDIAN_STEPS, STEPS_SIGMA, uniform(2, question)))


@cache
def logprobs_of(tokens: int) -> tuple[float, ...]:
    return (-0.1,) * tokens


class Memory:
    """An engine and what it has answered, in memory (`protocols.Remembering`): what the step store is to real ones."""

    def __init__(self, engine: Any) -> None:
        self.engine, self.identity, self.max_context = engine, engine.identity, 2**60
        self._answers: dict[Any, Any] = {}
        for name in ("prompt_ids", "step_ids", "input_ids"):
            setattr(self, name, getattr(engine, name, None))

    def key(self, request: Any) -> Any:
        return request.ids

    def recall(self, key: Any) -> Any:
        return self._answers.get(key)

    def remember(self, key: Any, value: Any) -> None:
        self._answers[key] = value

    def count_hit(self) -> None: ...

    def charge(self, calls: int, seconds: float) -> None: ...

    def forget(self) -> None:
        self._answers.clear()

    def generate(
        self, contexts: Sequence[Ids], limits: Sequence[int], sampling: Sampling = GREEDY
    ) -> list[GeneratedStep]:
        missing = [ids for ids in dict.fromkeys(contexts) if ids not in self._answers]
        if missing:
            self._answers |= zip(missing, self.engine.generate(missing, limits, sampling), strict=True)
        return [self._answers[ids] for ids in contexts]

    def score(self, inputs: Sequence[Ids]) -> list[float]:
        missing = [ids for ids in dict.fromkeys(inputs) if ids not in self._answers]
        if missing:
            self._answers |= zip(missing, self.engine.score(missing), strict=True)
        return [self._answers[ids] for ids in inputs]


@dataclass
class Engine:
    """What simulated engines share: the clock, the seconds they were busy, the tokens they wrote or read."""

    identity: str
    clock: Clock
    rows: int
    busy_s: float = 0.0
    tokens: int = 0

    def spend(self, seconds: float, tokens: int) -> float:
        """Count seconds of work and their tokens; return the seconds."""
        self.busy_s += seconds
        self.tokens += tokens
        return seconds


class SimulatedGenerator(Engine):
    """Writes steps of hashed lengths. Ids name a node, not tokens: the question, then each step's words."""

    def prompt_ids(self, problem: str) -> Ids:
        return (int(problem),)

    def step_ids(self, text: str) -> Ids:
        return (crc32(text.encode()),)

    def written(self, ids: Ids) -> GeneratedStep:
        """The step after a context; its text names the model, so that two models agree only where they should."""
        node = hash(ids)
        author = self.identity if uniform(3, node) > AGREEMENT else "both"
        draw = uniform(4 + AUTHORS.index(author), node)
        tokens = RUNAWAY_TOKENS if draw < RUNAWAY else lognormal(MEDIAN_TOKENS, SIGMA, uniform(9, int(draw * 2**53)))
        ended = len(ids) >= steps_of(ids[0])
        reason: FinishReason = "length" if draw < RUNAWAY else "eos" if ended else "separator"
        return GeneratedStep(f"{author} {tokens}", reason, logprobs_of(tokens))

    def pass_s(self, rows: int) -> float:
        """Seconds of a decode pass over so many rows."""
        alone, each = PASS_S[self.identity]
        return alone + each * rows

    def generate(
        self, contexts: Sequence[Ids], limits: Sequence[int], sampling: Sampling = GREEDY
    ) -> list[GeneratedStep]:
        """A synchronous call: over when the last of its steps has ended; a row that is free is filled again."""
        steps = [self.written(ids) for ids in contexts]
        waiting = [step.tokens for step in reversed(steps)]
        ends: list[int] = []  # of the rows, in passes since the beginning
        passes, seconds = 0, 0.0
        while waiting or ends:
            while waiting and len(ends) < self.rows:
                heapq.heappush(ends, passes + waiting.pop())
            seconds += (ends[0] - passes) * self.pass_s(len(ends))
            passes = ends[0]
            while ends and ends[0] == passes:
                heapq.heappop(ends)
        self.clock.now += self.spend(seconds, sum(step.tokens for step in steps))
        return steps

    async def work(self, lane: RequestLane) -> None:
        """Requests join the batch after any pass; while there is room, a few passes go by before the next look."""
        batch: list[tuple[int, int, Any, GeneratedStep]] = []  # where each ends, in passes since the beginning
        passes = number = 0
        while True:
            free = self.rows - len(batch)
            for request in lane.take_now(free) if batch else await lane.take(free):
                step, number = self.written(request.payload.ids), number + 1
                heapq.heappush(batch, (passes + step.tokens, number, request, step))
            count = batch[0][0] - passes
            count = count if len(batch) == self.rows else min(count, PASSES_AT_ONCE)
            await asyncio.sleep(self.spend(count * self.pass_s(len(batch)), count * len(batch)))
            passes += count
            ended = bool(batch[0][0] == passes)
            while batch and batch[0][0] == passes:
                _, _, request, step = heapq.heappop(batch)
                lane.answer(request, step)
            if ended:
                await asyncio.sleep(0)  # whoever goes on with these asks before the next pass


class SimulatedScorer(Engine):
    """Scores hashed from what is read. Ids are the node, and how many tokens of it are new."""

    def input_ids(self, problem: str, history: Sequence[AuthoredStep], step: AuthoredStep) -> Ids:
        node = hash((int(problem), *(crc32(each.text.encode()) for each in (*history, step))))
        return (node, int(step.text.rpartition(" ")[2]))

    def seconds(self, inputs: Sequence[Ids]) -> float:
        """Of one batch."""
        tokens = sum(new for _, new in inputs)
        return self.spend(CALL_S + tokens * TOKEN_S, tokens)

    def scored(self, ids: Ids) -> float:
        return uniform(20 + AUTHORS.index(self.identity), ids[0])

    def score(self, inputs: Sequence[Ids]) -> list[float]:
        for first in range(0, len(inputs), self.rows):
            self.clock.now += self.seconds(inputs[first : first + self.rows])
        return [self.scored(ids) for ids in inputs]

    async def work(self, lane: RequestLane) -> None:
        while True:
            requests = await lane.take(self.rows)
            await asyncio.sleep(self.seconds([request.payload.ids for request in requests]))
            for request in requests:
                lane.answer(request, self.scored(request.payload.ids))
