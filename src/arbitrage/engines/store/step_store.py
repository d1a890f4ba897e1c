"""The step store: every step and score is computed once, then remembered by policies, thresholds and restarts alike.

On disk a namespace is a folder of append-only chunks (`chunks`) with one writer at a time.
"""

from __future__ import annotations

import hashlib
import time
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from arbitrage.engines.store.chunk_files import SCHEMA, read_chunks, write_chunk
from arbitrage.speculation.protocols import (
    GREEDY,
    AuthoredStep,
    FinishReason,
    GeneratedStep,
    Generator,
    Ids,
    Sampling,
    Scorer,
)

FINISH_REASONS: tuple[FinishReason, ...] = ("separator", "eos", "length")
NOT_A_STEP = -1  # the `finish` of a score's record

Record = tuple[str | None, int, int, float]  # SCHEMA without the key


def step_key(identity: str, ids: Ids, limit: int, sampling: Sampling) -> bytes:
    """Key of one step. Greedy decoding has no seed: all its samples are one."""
    drawn = f"{sampling.temperature!r}:{sampling.seed}:{sampling.sample}" if sampling.temperature > 0 else "greedy"
    return _key(f"step\n{identity}\n{drawn}\n{limit}\n", ids)


def score_key(identity: str, ids: Ids) -> bytes:
    """Key of one score."""
    return _key(f"score\n{identity}\n", ids)


def _key(prefix: str, ids: Ids) -> bytes:
    return hashlib.sha256(prefix.encode() + array("q", ids).tobytes()).digest()[:16]


class StepStore:
    """Steps and scores by key, in memory and in the chunk files of `<root>/<namespace>/`.

    Counters since opening: generated_steps, generated_tokens, scored (computed and added); hits, misses (looked up).
    """

    def __init__(self, root: Path, namespace: str) -> None:
        """Load all complete chunks. A damaged one is set aside as `<name>.corrupt`, reported, and its work redone.

        Raises StoreError where a chunk may not be read.
        """
        self.directory = Path(root) / namespace
        self.generated_steps = self.generated_tokens = self.scored = self.hits = self.misses = 0
        self._added: list[tuple[bytes, Record]] = []
        self._committed = 0  # how many of `_added` are on disk
        self._after_commit: list[Callable[[], None]] = []
        loaded = read_chunks(self.directory)
        self._text = loaded["text"].combine_chunks()
        self._tokens: np.ndarray = loaded["tokens"].to_numpy()
        self._finish: np.ndarray = loaded["finish"].to_numpy()
        self._value: np.ndarray = loaded["value"].to_numpy()
        self._loaded: int = loaded.num_rows
        self._places: dict[bytes, int] = dict(zip(loaded["key"].to_pylist(), range(self._loaded), strict=True))

    def __contains__(self, key: bytes) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def step(self, key: bytes) -> GeneratedStep:
        """A remembered step. Raises KeyError."""
        text, tokens, finish, value = self._record(key)
        return GeneratedStep(str(text), tokens, FINISH_REASONS[finish], value)

    def score(self, key: bytes) -> float:
        """A remembered score. Raises KeyError."""
        return self._record(key)[3]

    def _record(self, key: bytes) -> Record:
        place = self._places[key]
        if place >= self._loaded:
            return self._added[place - self._loaded][1]
        text: str | None = self._text[place].as_py()
        return text, int(self._tokens[place]), int(self._finish[place]), float(self._value[place])

    def add_step(self, key: bytes, step: GeneratedStep) -> None:
        """Remember a step; on disk with the next `commit`."""
        self._add(key, (step.text, step.tokens, FINISH_REASONS.index(step.finish_reason), step.mean_logprob))
        self.generated_steps += 1
        self.generated_tokens += step.tokens

    def add_score(self, key: bytes, score: float) -> None:
        """Remember a score; on disk with the next `commit`."""
        self._add(key, (None, 0, NOT_A_STEP, score))
        self.scored += 1

    def _add(self, key: bytes, record: Record) -> None:
        self._places[key] = self._loaded + len(self._added)
        self._added.append((key, record))

    def count(self, hits: int, misses: int) -> None:
        """Add to the counters of look-ups."""
        self.hits += hits
        self.misses += misses

    def after_commit(self, action: Callable[[], None]) -> None:
        """Have `action` called at the end of each `commit`."""
        self._after_commit.append(action)

    def commit(self, chunk_name: str) -> Path | None:
        """Write what was added since the last commit as a chunk whose name begins with `chunk_name`.

        Returns the file; None where nothing was added. Also has the engines forget what they kept of earlier contexts,
        so that a chunk's numbers are the same bit for bit whether or not the run was restarted before it.
        Raises StoreError where the file cannot be written: then nothing is lost, and commit can be called again.
        """
        path = self._write(chunk_name) if self._committed < len(self._added) else None
        for action in self._after_commit:
            action()
        return path

    def _write(self, chunk_name: str) -> Path:
        keys, records = zip(*self._added[self._committed :], strict=True)
        columns = [keys, *zip(*records, strict=True)]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
        path = write_chunk(self.directory, chunk_name, pa.Table.from_arrays(arrays, schema=SCHEMA))
        self._committed = len(self._added)
        return path


def _missing(store: StepStore, keys: Sequence[bytes]) -> list[int]:
    """The first place of each key that the store does not hold."""
    first: dict[bytes, int] = {}
    for place, key in enumerate(keys):
        if key not in store:
            first.setdefault(key, place)
    return list(first.values())


def _forget_with(store: StepStore, engine: Any) -> None:
    if (forget := getattr(engine, "forget", None)) is not None:
        store.after_commit(forget)


class StoredGenerator:
    """`generator` through `store` (`protocols.Generator`).

    Its own counts: calls (of the model), tokens and steps it generated, seconds that took, hits (contexts answered
    without it).
    """

    def __init__(self, generator: Generator, store: StepStore) -> None:
        self.generator, self.store = generator, store
        self.calls = self.steps = self.tokens = self.hits = 0
        self.seconds = 0.0
        _forget_with(store, generator)

    @property
    def identity(self) -> str:
        return self.generator.identity

    def prompt_ids(self, problem: str) -> Ids:
        return self.generator.prompt_ids(problem)

    def step_ids(self, text: str) -> Ids:
        return self.generator.step_ids(text)

    def generate(
        self, contexts: Sequence[Ids], limits: Sequence[int], sampling: Sampling = GREEDY
    ) -> list[GeneratedStep]:
        """As the model would; equal contexts with equal limits are asked for once. Raises what the model raises."""
        identity = self.generator.identity
        keys = [step_key(identity, ids, limit, sampling) for ids, limit in zip(contexts, limits, strict=True)]
        places = _missing(self.store, keys)
        if places:
            begin = time.perf_counter()
            made = self.generator.generate([contexts[at] for at in places], [limits[at] for at in places], sampling)
            self.seconds += time.perf_counter() - begin
            for place, step in zip(places, made, strict=True):
                self.store.add_step(keys[place], step)
                self.tokens += step.tokens
            self.calls += 1
        self.steps += len(places)
        self.hits += len(keys) - len(places)
        self.store.count(hits=len(keys) - len(places), misses=len(places))
        return [self.store.step(key) for key in keys]


class StoredScorer:
    """`scorer` through `store` (`protocols.Scorer`).

    Its own counts: calls (of the model), inputs it scored, seconds that took, hits (inputs answered without it).
    """

    def __init__(self, scorer: Scorer, store: StepStore) -> None:
        self.scorer, self.store = scorer, store
        self.calls = self.scored = self.hits = 0
        self.seconds = 0.0
        _forget_with(store, scorer)

    @property
    def identity(self) -> str:
        return self.scorer.identity

    def input_ids(self, problem: str, history: Sequence[AuthoredStep], step: AuthoredStep) -> Ids:
        return self.scorer.input_ids(problem, history, step)

    def score(self, inputs: Sequence[Ids]) -> list[float]:
        """As the model would; equal inputs are asked for once. Raises what the model raises."""
        keys = [score_key(self.scorer.identity, ids) for ids in inputs]
        places = _missing(self.store, keys)
        if places:
            begin = time.perf_counter()
            scores = self.scorer.score([inputs[place] for place in places])
            self.seconds += time.perf_counter() - begin
            for place, score in zip(places, scores, strict=True):
                self.store.add_score(keys[place], score)
            self.calls += 1
        self.scored += len(places)
        self.hits += len(keys) - len(places)
        self.store.count(hits=len(keys) - len(places), misses=len(places))
        return [self.store.score(key) for key in keys]
