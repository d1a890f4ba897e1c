"""The step store: every step and score is computed once, then remembered by policies, thresholds and restarts alike.

On disk a namespace is a folder of append-only chunks (`chunk_files`) with one writer at a time. Engines go through it
by `engines.store.cached`.
"""

from __future__ import annotations

import hashlib
from array import array
from pathlib import Path

import numpy as np
import pyarrow as pa

from arbitrage.engines.store.chunk_files import SCHEMA, read_chunks, write_chunk
from arbitrage.speculation.steps import FinishReason, GeneratedStep, Ids, Logprobs, Sampling, State

FINISH_REASONS: tuple[FinishReason, ...] = ("separator", "eos", "length")

Floats = np.ndarray  # float32 [tokens]
Record = tuple[str | None, int | None, Floats | None, Floats | None, float | None]  # SCHEMA without the key


def step_key(identity: str, ids: Ids, limit: int, sampling: Sampling) -> bytes:
    """Key of one step. Greedy decoding has no seed: all its samples are one."""
    drawn = f"{sampling.temperature!r}:{sampling.seed}:{sampling.sample}" if sampling.temperature > 0 else "greedy"
    return _key(f"step\n{identity}\n{drawn}\n{limit}\n", ids)


def read_key(identity: str, ids: Ids, start: int) -> bytes:
    """Key of the log-probabilities of `ids` from index `start` on."""
    return _key(f"read\n{identity}\n{start}\n", ids)


def state_key(identity: str, ids: Ids) -> bytes:
    """Key of the hidden state after `ids`."""
    return _key(f"state\n{identity}\n", ids)


def score_key(identity: str, ids: Ids) -> bytes:
    """Key of one score."""
    return _key(f"score\n{identity}\n", ids)


def _key(prefix: str, ids: Ids) -> bytes:
    return hashlib.sha256(prefix.encode() + array("q", ids).tobytes()).digest()[:16]


class _Lists:
    """A column of lists of numbers, as one array and where each list begins in it."""

    def __init__(self, column: pa.ListArray) -> None:
        self._values: Floats = column.values.to_numpy()
        self._offsets: np.ndarray = column.offsets.to_numpy()
        self._valid: np.ndarray = column.is_valid().to_numpy(zero_copy_only=False)

    def __getitem__(self, row: int) -> Floats | None:
        return self._values[self._offsets[row] : self._offsets[row + 1]] if self._valid[row] else None


class StepStore:
    """Steps, readings and scores by key, in memory and in the chunk files of `<root>/<namespace>/`.

    A reading is of log-probabilities, or of a hidden state.

    Counters since opening: generated_steps, generated_tokens, read_steps, scored (computed and added); hits, misses
    (looked up).
    """

    def __init__(self, root: Path, namespace: str) -> None:
        """Load all complete chunks. A damaged one is set aside as `<name>.corrupt`, reported, and its work redone.

        Raises StoreError where a chunk may not be read.
        """
        self.directory = Path(root) / namespace
        self.generated_steps = self.generated_tokens = self.read_steps = self.scored = self.hits = self.misses = 0
        self._added: list[tuple[bytes, Record]] = []
        self._committed = 0  # how many of `_added` are on disk
        loaded = read_chunks(self.directory)
        self._text = loaded["text"].combine_chunks()
        self._finish = loaded["finish"].combine_chunks().fill_null(-1).to_numpy()
        self._logprobs = _Lists(loaded["logprobs"].combine_chunks())
        self._entropies = _Lists(loaded["entropies"].combine_chunks())
        self._score: np.ndarray = loaded["score"].combine_chunks().to_numpy(zero_copy_only=False)
        self._loaded: int = loaded.num_rows
        self._rows: dict[bytes, int] = dict(zip(loaded["key"].to_pylist(), range(self._loaded), strict=True))

    def __contains__(self, key: bytes) -> bool:
        return key in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def written(self, key: bytes) -> GeneratedStep | Logprobs:
        """What a generator answered: a remembered step, or the numbers of a reading. Raises KeyError."""
        row = self._rows[key]
        if row < self._loaded:
            text, finish = self._text[row].as_py(), int(self._finish[row])
            logprobs, entropies = self._logprobs[row], self._entropies[row]
        else:
            text, finish, logprobs, entropies, _ = self._added[row - self._loaded][1]  # type: ignore[assignment]
        assert logprobs is not None, "the key of a score"
        if text is None:
            return tuple(logprobs.tolist())
        step_entropies = None if entropies is None else tuple(entropies.tolist())
        return GeneratedStep(text, FINISH_REASONS[finish], tuple(logprobs.tolist()), step_entropies)

    def step(self, key: bytes) -> GeneratedStep:
        """A remembered step. Raises KeyError."""
        step = self.written(key)
        assert isinstance(step, GeneratedStep), "the key of a reading"
        return step

    def score(self, key: bytes) -> float:
        """A remembered score. Raises KeyError."""
        row = self._rows[key]
        return float(self._score[row] if row < self._loaded else self._added[row - self._loaded][1][4])  # type: ignore[arg-type]

    def add_step(self, key: bytes, step: GeneratedStep) -> None:
        """Remember a step; on disk with the next `commit`."""
        entropies = None if step.entropies is None else np.array(step.entropies, dtype=np.float32)
        logprobs = np.array(step.logprobs, dtype=np.float32)
        self._add(key, (step.text, FINISH_REASONS.index(step.finish_reason), logprobs, entropies, None))
        self.generated_steps += 1
        self.generated_tokens += step.tokens

    def add_reading(self, key: bytes, numbers: Logprobs | State) -> None:
        """Remember log-probabilities that were read, or a state; on disk with the next `commit`."""
        self._add(key, (None, None, np.array(numbers, dtype=np.float32), None, None))
        self.read_steps += 1

    def add_score(self, key: bytes, score: float) -> None:
        """Remember a score; on disk with the next `commit`."""
        self._add(key, (None, None, None, None, score))
        self.scored += 1

    def _add(self, key: bytes, record: Record) -> None:
        self._rows[key] = self._loaded + len(self._added)
        self._added.append((key, record))

    def count(self, hits: int, misses: int) -> None:
        """Add to the counters of look-ups."""
        self.hits += hits
        self.misses += misses

    def commit(self, chunk_name: str) -> Path | None:
        """Write what was added since the last commit as a chunk whose name begins with `chunk_name`.

        Returns the file; None where nothing was added. Raises StoreError where the file cannot be written: then nothing
        is lost, and commit can be called again.
        """
        return self._write(chunk_name) if self._committed < len(self._added) else None

    def _write(self, chunk_name: str) -> Path:
        keys, records = zip(*self._added[self._committed :], strict=True)
        columns = [keys, *zip(*records, strict=True)]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
        path = write_chunk(self.directory, chunk_name, pa.Table.from_arrays(arrays, schema=SCHEMA))
        self._committed = len(self._added)
        return path
