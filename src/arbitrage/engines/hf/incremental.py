"""Batch 1 with caches kept across calls: what the live decoder (paper, Algorithm 1) runs and times.

Each model remembers the ids its cache holds. New ids are compared with these; what differs is rolled back and only the
rest is read: a rejected step costs the draft a rollback, and an escalation costs the target the steps it has not seen.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from arbitrage.engines.hf.batching import Forward
from arbitrage.engines.hf.generator import TransformersGenerator, choose
from arbitrage.engines.hf.kv_cache import BufferCache
from arbitrage.engines.scoring.scorers import TransformersScorer
from arbitrage.engines.step_boundary import StepWriter, StopRule
from arbitrage.speculation.forwarding import ForwardingPrompter, ForwardingReader
from arbitrage.speculation.protocols import GeneratedStep, Ids

CAPACITY = 512  # ids a cache first has room for; it doubles where that is short


def common_length(left: Sequence[int], right: Sequence[int]) -> int:
    """How many ids both begin with."""
    return next((at for at, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))


class LiveContext:
    """One context in a model's cache. `held`: the ids it holds."""

    def __init__(self, forward: Forward, layers: int, device: torch.device) -> None:
        self.held: list[int] = []
        self._forward, self._device = forward, device
        self._cache = BufferCache(layers, CAPACITY)
        self._positions = torch.arange(CAPACITY, device=device)[None]

    def reset(self) -> None:
        """Forget everything; the memory stays, so that a first step is not timed with getting it."""
        self.held.clear()
        self._cache.crop(0)

    def read(self, ids: Ids) -> tuple[Tensor, int]:
        """Make the cache hold `ids`; return the output after the last one [1, width], and how many ids were read.

        The last id is always read, even where the cache holds it already: its output was not kept.
        """
        shared = common_length(self.held, ids[:-1])
        self._cache.crop(shared)
        del self.held[shared:]
        rest = ids[shared:]
        return self.feed(torch.tensor([rest], device=self._device), list(rest)), len(rest)

    def feed(self, tokens: Tensor, ids: list[int]) -> Tensor:
        """Append `tokens` [1, n], which are `ids`; return the output after the last one [1, width]."""
        start, end = len(self.held), len(self.held) + len(ids)
        if end > self._positions.shape[1]:
            self._positions = torch.arange(2 * end, device=self._device)[None]
        positions = self._positions[:, start:end]
        # Without a mask one token sees everything, and the first tokens see each other causally: the fast paths.
        mask = None if start == 0 or len(ids) == 1 else (positions[0, :, None] >= self._positions[0, :end])[None, None]
        output = self._forward(tokens, positions, mask, self._cache)
        self.held += ids
        return output


class LiveGenerator(ForwardingPrompter[TransformersGenerator]):
    """Writes one greedy step at a time with the model of `generator` (`protocols.IncrementalGenerator`).

    last_prefill_tokens: ids read before the first token; last_prefill_s, last_decode_s: seconds of reading, of writing.
    """

    def __init__(self, generator: TransformersGenerator) -> None:
        super().__init__(generator)
        self._context = LiveContext(generator.forward, generator.layers, generator.device)
        self.last_prefill_tokens, self.last_prefill_s, self.last_decode_s = 0, 0.0, 0.0

    def reset(self) -> None:
        """Forget the context: the next call reads everything."""
        self._context.reset()

    def generate_one(self, context: Ids, limit: int) -> GeneratedStep:
        """Continue `context` by one step of at most `limit` tokens. Raises EngineError."""
        return self._write(context, limit, self.generator.stop)

    def generate_whole(self, context: Ids, limit: int) -> GeneratedStep:
        """Continue `context` to its end in one go, separators and all. Raises EngineError."""
        return self._write(context, limit, self.generator.stop.whole())

    @torch.inference_mode()
    def _write(self, context: Ids, limit: int, rule: StopRule) -> GeneratedStep:
        generator = self.generator
        writer = StepWriter(rule, generator.room(context, limit))
        begin = _now(generator.device)
        logits, self.last_prefill_tokens = self._context.read(context)
        ready = _now(generator.device)
        while True:
            tokens, logprobs, entropies = choose(logits, 0.0, None)
            token = int(tokens)
            if writer.push(token, float(logprobs), float(entropies)):
                break
            logits = self._context.feed(tokens[:, None], [token])
        self.last_prefill_s, self.last_decode_s = ready - begin, _now(generator.device) - ready
        return generator.finished(writer)


class LiveScorer(ForwardingReader[TransformersScorer]):
    """Scores one step at a time with the model of `scorer` (`protocols.IncrementalScorer`).

    last_tokens: how many ids the last score had to read.
    """

    def __init__(self, scorer: TransformersScorer) -> None:
        super().__init__(scorer)
        self._context = LiveContext(scorer.forward, scorer.layers, scorer.device)
        self.last_tokens = 0

    def reset(self) -> None:
        """Forget the context: the next call reads everything."""
        self._context.reset()

    @torch.inference_mode()
    def score_one(self, ids: Ids) -> float:
        """The score of one input. Raises ScoreError where it is not finite."""
        logits, self.last_tokens = self._context.read(ids)
        return self.scorer.checked(float(self.scorer.scalars(logits.double())[0]), 0, ids)


def _now(device: torch.device) -> float:
    """Seconds on the clock, once the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
