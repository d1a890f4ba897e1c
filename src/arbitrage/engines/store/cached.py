"""Engines behind the step store: what was written or scored before is remembered, and the engine is not asked again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import cast

from arbitrage.engines.store.step_store import StepStore, read_key, score_key, state_key, step_key
from arbitrage.speculation.forwarding import ForwardingGenerator, ForwardingScorer
from arbitrage.speculation.protocols import Generator, Reading, Scorer, StateReading
from arbitrage.speculation.steps import (
    GREEDY,
    GeneratedStep,
    Ids,
    Logprobs,
    ReadRequest,
    Sampling,
    ScoreRequest,
    State,
    StateRequest,
    StepRequest,
)

Numbers = tuple[float, ...]  # of a reading: Logprobs, or a State


class StoredGenerator(ForwardingGenerator[Generator]):
    """`generator` through `store` (`protocols.Generator`, and `protocols.Remembering` for schedulers).

    Its own counts: calls (of the model), tokens and steps it generated, steps it read (for log-probabilities or for a
    state), seconds that took, hits (contexts answered without it).
    """

    def __init__(self, generator: Generator, store: StepStore) -> None:
        super().__init__(generator)
        self.store = store
        self.calls = self.steps = self.tokens = self.read_steps = self.hits = 0
        self.seconds = 0.0

    @property
    def engine(self) -> Generator:
        """The engine itself."""
        return self.generator

    def key(self, request: StepRequest | ReadRequest | StateRequest) -> bytes:
        """What the answer to a request is remembered by."""
        if isinstance(request, StateRequest):
            return state_key(self.generator.identity, request.ids)
        if isinstance(request, ReadRequest):
            return read_key(self.generator.identity, *request)
        return step_key(self.generator.identity, request.ids, request.limit, request.sampling)

    def recall(self, key: bytes) -> GeneratedStep | Logprobs | State | None:
        """The answer, if it is remembered."""
        if key not in self.store:
            return None
        self.count_hit()
        return self.store.written(key)

    def count_hit(self) -> None:
        """Count a request that was answered without the engine."""
        self.hits += 1
        self.store.count(hits=1, misses=0)

    def remember(self, key: bytes, answer: GeneratedStep | Logprobs | State) -> None:
        """Remember an answer of the engine."""
        self.store.count(hits=0, misses=1)
        if isinstance(answer, GeneratedStep):
            self.store.add_step(key, answer)
            self.steps += 1
            self.tokens += answer.tokens
        else:
            self.store.add_reading(key, answer)
            self.read_steps += 1

    def charge(self, calls: int, seconds: float) -> None:
        """Count calls of the engine and the seconds it was busy."""
        self.calls += calls
        self.seconds += seconds

    def generate(
        self, contexts: Sequence[Ids], limits: Sequence[int], sampling: Sampling = GREEDY
    ) -> list[GeneratedStep]:
        """As the model would; equal contexts with equal limits are asked for once. Raises what the model raises."""
        keys = [self.key(StepRequest(ids, limit, sampling)) for ids, limit in zip(contexts, limits, strict=True)]
        rows = _missing(self.store, keys)
        if rows:
            begin = time.perf_counter()
            steps = self.generator.generate([contexts[row] for row in rows], [limits[row] for row in rows], sampling)
            self.charge(1, time.perf_counter() - begin)
            for row, step in zip(rows, steps, strict=True):
                self.remember(keys[row], step)
        self.hits += len(keys) - len(rows)
        self.store.count(hits=len(keys) - len(rows), misses=0)
        return [self.store.step(key) for key in keys]

    def read(self, inputs: Sequence[Ids], starts: Sequence[int]) -> list[Logprobs]:
        """As the model would (`Reading`); equal inputs are asked for once. Raises what the model raises."""
        reading = cast(Reading, self.generator)
        keys = [self.key(ReadRequest(ids, start)) for ids, start in zip(inputs, starts, strict=True)]
        return self._read(keys, lambda rows: reading.read([inputs[row] for row in rows], [starts[row] for row in rows]))

    def states(self, inputs: Sequence[Ids]) -> list[State]:
        """As the model would (`StateReading`); equal inputs are asked for once. Raises what the model raises."""
        reading = cast(StateReading, self.generator)
        keys = [self.key(StateRequest(ids)) for ids in inputs]
        return self._read(keys, lambda rows: reading.states([inputs[row] for row in rows]))

    def _read(self, keys: Sequence[bytes], read: Callable[[Sequence[int]], list[Numbers]]) -> list[Numbers]:
        """Readings by key; `read` gives those of some rows that the store lacks."""
        rows = _missing(self.store, keys)
        if rows:
            begin = time.perf_counter()
            found = read(rows)
            self.charge(1, time.perf_counter() - begin)
            for row, own in zip(rows, found, strict=True):
                self.remember(keys[row], own)
        self.hits += len(keys) - len(rows)
        self.store.count(hits=len(keys) - len(rows), misses=0)
        return [cast(Numbers, self.store.written(key)) for key in keys]

    @property
    def end_ids(self) -> Ids:
        """The generator's own (`Reading`)."""
        return cast(Reading, self.generator).end_ids


class StoredScorer(ForwardingScorer[Scorer]):
    """`scorer` through `store` (`protocols.Scorer`, and `protocols.Remembering` for schedulers).

    Its own counts: calls (of the model), inputs it scored, seconds that took, hits (inputs answered without it).
    """

    def __init__(self, scorer: Scorer, store: StepStore) -> None:
        super().__init__(scorer)
        self.store = store
        self.calls = self.scored = self.hits = 0
        self.seconds = 0.0

    @property
    def engine(self) -> Scorer:
        """The engine itself."""
        return self.scorer

    def key(self, request: ScoreRequest) -> bytes:
        """What the answer to a request is remembered by."""
        return score_key(self.scorer.identity, request.ids)

    def recall(self, key: bytes) -> float | None:
        """The answer, if it is remembered."""
        if key not in self.store:
            return None
        self.count_hit()
        return self.store.score(key)

    def count_hit(self) -> None:
        """Count a request that was answered without the engine."""
        self.hits += 1
        self.store.count(hits=1, misses=0)

    def remember(self, key: bytes, score: float) -> None:
        """Remember an answer of the engine."""
        self.store.add_score(key, score)
        self.store.count(hits=0, misses=1)
        self.scored += 1

    def charge(self, calls: int, seconds: float) -> None:
        """Count calls of the engine and the seconds it was busy."""
        self.calls += calls
        self.seconds += seconds

    def score(self, inputs: Sequence[Ids]) -> list[float]:
        """As the model would; equal inputs are asked for once. Raises what the model raises."""
        keys = [self.key(ScoreRequest(ids)) for ids in inputs]
        rows = _missing(self.store, keys)
        if rows:
            begin = time.perf_counter()
            scores = self.scorer.score([inputs[row] for row in rows])
            self.charge(1, time.perf_counter() - begin)
            for row, score in zip(rows, scores, strict=True):
                self.remember(keys[row], score)
        self.hits += len(keys) - len(rows)
        self.store.count(hits=len(keys) - len(rows), misses=0)
        return [self.store.score(key) for key in keys]


def _missing(store: StepStore, keys: Sequence[bytes]) -> list[int]:
    """The first index of each key that the store does not hold."""
    first: dict[bytes, int] = {}
    for row, key in enumerate(keys):
        if key not in store:
            first.setdefault(key, row)
    return list(first.values())
