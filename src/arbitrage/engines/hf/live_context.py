"""One context in a model's cache, kept across calls.

It remembers the ids that the cache holds. New ids are compared with these; what differs is rolled back and only the
rest is read: a rejected step costs the draft a rollback, and an escalation costs the target the steps it has not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from arbitrage.engines.hf.batching import Forward
from arbitrage.engines.hf.kv_cache import BufferCache
from arbitrage.engines.hf.limits import OutOfMemoryError, memory_errors
from arbitrage.speculation.protocols import ContextMemoryError
from arbitrage.speculation.steps import Ids

# (ids [1, n], positions [1, n], mask, cache, count) -> outputs after each of the last `count` ids [1, count, width]
ForwardAll = Callable[[Tensor, Tensor, Tensor | None, BufferCache, int], Tensor]
CAPACITY = 512  # ids a cache first has room for; it doubles where that is short


def common_length(left: Sequence[int], right: Sequence[int]) -> int:
    """How many ids both begin with."""
    return next((at for at, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))


class LiveContext:
    """One context in a model's cache. `held`: the ids it holds."""

    def __init__(self, forward: Forward, layers: int, device: torch.device) -> None:
        self.held: list[int] = []
        self._outputs: dict[int, Tensor] = {}  # kept ones [1, width], by the number of ids they come after
        self._forward, self._device = forward, device
        self._cache = BufferCache(layers, CAPACITY)
        self._positions = torch.arange(CAPACITY, device=device)[None]

    def reset(self) -> None:
        """Forget everything; the memory stays, so that a first step is not timed with getting it."""
        self._crop(0)

    def read(self, ids: Ids) -> tuple[Tensor, int]:
        """Make the cache hold `ids`; return the output after the last one [1, width], and how many ids were read.

        The last id is read even where the cache holds it already, unless `read_given` has kept its output.
        """
        shared = common_length(self.held, ids)
        if shared == len(ids) and shared in self._outputs:
            self._crop(shared)
            return self._outputs[shared], 0
        rest = ids[self._crop(min(shared, len(ids) - 1)) :]
        return self.feed(torch.tensor([rest], device=self._device), list(rest)), len(rest)

    def read_last(self, ids: Ids, forward: Forward) -> int:
        """Make the cache hold `ids`, the last one read by `forward` whatever is held; how many ids were read.

        The output is kept: a solution that goes on from there does not read that id again.
        """
        rest = ids[self._crop(min(common_length(self.held, ids), len(ids) - 1)) :]
        self._outputs = {len(ids): self.feed(torch.tensor([rest], device=self._device), list(rest), forward)}
        return len(rest)

    def read_given(self, ids: Ids, start: int, forward: ForwardAll) -> tuple[Tensor, int]:
        """Make the cache hold `ids`; return the outputs before each id from index `start` (>= 1) on [n, width].

        And how many ids were read, in one pass by `forward`. The outputs after the id before `start` and after the last
        one are kept: whichever of the two a solution goes on from, that id is not read again.
        """
        shared = common_length(self.held, ids)
        before = self._outputs.get(start) if shared >= start else None
        count = len(ids) - start + (before is None)
        rest = ids[self._crop(min(shared, len(ids) - count)) :]

        def every(ids: Tensor, positions: Tensor, mask: Tensor | None, cache: BufferCache) -> Tensor:
            return forward(ids, positions, mask, cache, count)

        outputs = self.feed(torch.tensor([rest], device=self._device), list(rest), every)[0]
        if before is not None:
            outputs = torch.cat([before, outputs])
        self._outputs = {start: outputs[:1].clone(), len(ids): outputs[-1:].clone()}
        return outputs[:-1], len(rest)

    def _crop(self, length: int) -> int:
        """Drop all ids from index `length` on, and what came after them; returns it."""
        self._cache.crop(length)
        del self.held[length:]
        self._outputs = {count: output for count, output in self._outputs.items() if count <= length}
        return length

    def feed(self, tokens: Tensor, ids: list[int], forward: Forward | None = None) -> Tensor:
        """Append `tokens` [1, n], which are `ids`; return the output after the last one [1, width], or `forward`'s.

        Raises ContextMemoryError where the device has too little memory; `reset` makes the context usable again.
        """
        start, end = len(self.held), len(self.held) + len(ids)
        if end > self._positions.shape[1]:
            self._positions = torch.arange(2 * end, device=self._device)[None]
        positions = self._positions[:, start:end]
        # Without a mask one token sees everything, and the first tokens see each other causally: the fast paths.
        mask = None if start == 0 or len(ids) == 1 else (positions[0, :, None] >= self._positions[0, :end])[None, None]
        try:
            with memory_errors():
                output = (forward or self._forward)(tokens, positions, mask, self._cache)
        except OutOfMemoryError as error:
            raise ContextMemoryError(
                f"out of memory on {self._device} with one context of {end} tokens ({error})"
            ) from error
        self.held += ids
        return output
