"""Run a model over batches of contexts: each read once, from where an earlier one with the same beginning ended.

A batch's columns are [blocks from the pool | new ids, padded on the left | one column a decoded token]. Positions are
given explicitly and a mask hides the gaps, so a row's outputs do not depend, up to rounding, on the rows beside it. A
row that has ended can be refilled: another context is read beside the batch and its keys and values are put where they
end at the batch's last column.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from arbitrage.engines.hf.kv_cache import BLOCK, BufferCache, PrefixPool, block_keys
from arbitrage.engines.hf.limits import OutOfMemoryError, memory_errors, of_about_one_width, raise_lost
from arbitrage.speculation.protocols import ContextMemoryError
from arbitrage.speculation.steps import Ids

log = logging.getLogger(__name__)

# (ids [rows, n], positions [rows, n], mask [rows, 1, n, columns] or None, cache) -> output at the last column [rows, w]
Forward = Callable[[Tensor, Tensor, Tensor | None, BufferCache], Tensor]


def _held(ids: Ids, fresh: int) -> list[bytes]:
    """Keys of the whole blocks that the pool may hold of `ids`, whose last `fresh` (>= 1) are read anyway."""
    return block_keys(ids[:-fresh])


class Batch:
    """Contexts being read and continued together. `output`: [rows, width] at the last column, or `forward`'s."""

    def __init__(
        self,
        runner: BatchRunner,
        cache: BufferCache,
        contexts: Sequence[Ids],
        room: int,
        fresh: Sequence[int] = (),
        forward: Forward | None = None,
    ) -> None:
        """fresh: how many of each context's last ids are read whatever the pool holds, 1 if absent: those whose output
        is asked for. forward: what reads, if not the runner's."""
        self._runner, self._cache, self._contexts = runner, cache, list(contexts)
        keys = [_held(ids, count) for ids, count in zip(contexts, fresh or [1] * len(contexts), strict=True)]
        self._cached = [runner.pool.cached_blocks(row) for row in keys]
        device = runner.device
        past = max(self._cached) * BLOCK
        new = [len(ids) - count * BLOCK for ids, count in zip(contexts, self._cached, strict=True)]
        width = max(new)
        self._start = [past + width - size for size in new]  # column of a row's first new id
        self._cache.restart(past + width)
        runner.pool.load(self._cache, [row[:count] for row, count in zip(keys, self._cached, strict=True)])

        ids = torch.tensor(
            [(0,) * (width - size) + row[len(row) - size :] for row, size in zip(contexts, new, strict=True)]
        )
        lengths = torch.tensor([len(row) for row in contexts], device=device)
        columns = torch.arange(past + width, device=device)
        cached = torch.tensor(self._cached, device=device)[:, None] * BLOCK
        start = torch.tensor(self._start, device=device)[:, None]
        self._visible = (columns < cached) | (columns >= start)
        causal = columns <= columns[past:, None]
        itself = columns == columns[past:, None]  # keeps a padding query's softmax finite
        mask = (self._visible[:, None, :] & causal) | itself
        positions = (lengths[:, None] - width + torch.arange(width, device=device)).clamp(min=0)
        self.output = (forward or runner.forward)(ids.to(device), positions, mask[:, None], cache)
        self._positions = lengths[:, None]
        self._visible = torch.nn.functional.pad(self._visible, (0, room), value=True)

    @property
    def length(self) -> int:
        """Columns so far."""
        return self._cache.length

    def feed(self, tokens: Tensor) -> Tensor:
        """Append one token a row ([rows]); return the output after it. Raises OutOfMemoryError."""
        mask = self._visible[:, None, None, : self._cache.length + 1]
        with memory_errors():
            self.output = self._runner.forward(tokens[:, None], self._positions, mask, self._cache)
        self._positions = self._positions + 1
        return self.output

    def keep(self, rows: list[int]) -> None:
        """Drop all rows but these; row i is then what was row `rows[i]` (see `BufferCache.keep`)."""
        self._cache.keep(rows)
        index = torch.tensor(rows, device=self._runner.device)
        self._visible, self._positions, self.output = self._visible[index], self._positions[index], self.output[index]
        self._contexts = [self._contexts[row] for row in rows]
        self._cached = [self._cached[row] for row in rows]
        self._start = [self._start[row] for row in rows]

    def refill(self, rows: list[int], contexts: Sequence[Ids]) -> None:
        """Read `contexts`, none longer than `length`, into `rows` in place of what these held.

        Raises OutOfMemoryError.
        """
        with memory_errors():
            fresh = Batch(self._runner, self._runner.spare, contexts, 0)
        device, length = self._runner.device, self.length
        sizes = torch.tensor([len(ids) for ids in contexts], device=device)[:, None]
        widest = max(map(len, contexts))
        cached = torch.tensor(fresh._cached, device=device)[:, None] * BLOCK
        # The position of each id in its context, right-aligned; then the column that holds it: of a pool, or just read.
        position = torch.arange(widest, device=device) - widest + sizes
        start = torch.tensor(fresh._start, device=device)[:, None]
        source = torch.where(position < cached, position, position - cached + start).clamp(min=0)
        into = torch.tensor(rows, device=device)
        self._cache.put(into, slice(length - widest, length), fresh._cache, source)
        columns = torch.arange(self._visible.shape[1], device=device)
        self._visible[into] = columns >= length - sizes
        self._positions[into] = fresh._positions
        self.output[into] = fresh.output
        for row, ids, count in zip(rows, contexts, fresh._cached, strict=True):
            self._contexts[row], self._cached[row] = ids, count
            self._start[row] = length - len(ids) + count * BLOCK

    def remember(self, fed: Mapping[int, Sequence[int]]) -> None:
        """Give the new whole blocks of rows to the pool. fed: by row, the tokens it was fed that belong to it."""
        where, keys, columns = [], [], []
        for row, tokens in fed.items():
            cached = self._cached[row]
            for block, key in enumerate(block_keys((*self._contexts[row], *tokens))[cached:]):
                where.append(row)
                keys.append(key)
                columns.append(self._start[row] + block * BLOCK)
        self._runner.pool.save(self._cache, where, keys, columns)


class BatchRunner:
    """Cuts a list of contexts into batches: a function of that list, and of what was read since `forget`."""

    def __init__(
        self, name: str, forward: Forward, layers: int, device: torch.device, batch_size: int, positions: int
    ) -> None:
        """positions: ids, padding counted, that one pass may read (`positions_at_once`); one context always may."""
        self.name, self.device, self.batch_size, self.positions = name, device, batch_size, positions
        self._most = batch_size
        self.pool = PrefixPool()
        self.cache, self.spare = BufferCache(layers, 0), BufferCache(layers, 0)
        self._forward, self._layers = forward, layers

    def forward(self, ids: Tensor, positions: Tensor, mask: Tensor, cache: BufferCache) -> Tensor:
        """The model's output after `ids` [rows, n]."""
        return self._forward(ids, positions, mask, cache)

    def shrink(self, rows: int, error: OutOfMemoryError) -> None:
        """Half the contexts a batch from here on, after `rows` of them did not fit; what was kept is dropped.

        Raises ContextMemoryError where it was one alone, and nothing kept could be dropped to make room for it.
        """
        kept = len(self.pool)
        self.forget()
        self.pool = PrefixPool(self.pool.budget)  # its memory too
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if rows == 1 and not kept:
            self.batch_size = self._most  # perhaps it was this one that others did not fit beside
            raise ContextMemoryError(
                f"{self.name}: out of memory on {self.device} with one context ({error}); use another device or dtype, "
                "or lower generation.max_tokens"
            ) from error
        self.batch_size = max(1, rows // 2)
        log.warning(
            "%s: out of memory on %s; %d contexts a batch from here on", self.name, self.device, self.batch_size
        )

    def forget(self) -> None:
        """Drop all remembered keys and values, so that what follows does not depend on what was read before."""
        self.pool.clear()
        self.cache, self.spare = BufferCache(self._layers, 0), BufferCache(self._layers, 0)

    def order(self, contexts: Sequence[Ids]) -> list[int]:
        """Places in `contexts` in the order in which they are best read: those with about as much to read together.

        The longest first: a later one then fits where an earlier one ended, and buffers need not grow.
        """
        self.pool.begin_call()
        grains = [self._width(ids) // (2 * BLOCK) for ids in contexts]
        return sorted(
            range(len(contexts)), key=lambda place: (grains[place], len(contexts[place]), place), reverse=True
        )

    def _width(self, ids: Ids, fresh: int = 1) -> int:
        """How many of a context's ids have to be read; fresh: as of `Batch`."""
        return len(ids) - self.pool.cached_blocks(_held(ids, fresh)) * BLOCK

    def fitting(self, contexts: Sequence[Ids]) -> int:
        """How many of `contexts`, from the first on, one pass reads: `batch_size`, or what `positions` leaves."""
        contexts = contexts[: self.batch_size]
        if len(contexts) * max(map(len, contexts)) <= self.positions:  # nearly always; keys take time
            return len(contexts)
        count, widest = 0, 0
        for ids in contexts:
            widest = max(widest, self._width(ids))
            if count and (count + 1) * widest > self.positions:
                break
            count += 1
        return count

    def read(
        self, contexts: Sequence[Ids], room: int, fresh: Sequence[int] = (), forward: Forward | None = None
    ) -> Batch:
        """Read at most `batch_size` contexts, with room for `room` more columns; in place of the batch before.

        fresh, forward: as of `Batch`. What a later context may continue is for the caller to `remember`. Raises
        OutOfMemoryError.
        """
        with memory_errors():
            return Batch(self, self.cache, contexts, room, fresh, forward)

    def batches(
        self,
        contexts: Sequence[Ids],
        fresh: Sequence[int] = (),
        forward: Forward | None = None,
        positions: int | None = None,
    ) -> Iterator[tuple[list[int], Batch]]:
        """All contexts, read and not continued, as (indices in `contexts`, the batch just read).

        fresh, forward: as of `Batch`; positions: instead of the runner's. Raises ContextMemoryError, after all others,
        where the device has too little memory for some alone.
        """
        fresh, positions = fresh or [1] * len(contexts), self.positions if positions is None else positions

        def falling(places: Sequence[int]) -> list[tuple[int, int, int]]:
            """How much has to be read, of how long a context, and where it is; the most first."""
            sizes = ((self._width(contexts[place], fresh[place]), len(contexts[place]), place) for place in places)
            return sorted(sizes, reverse=True)

        self.pool.begin_call()
        waiting, lost = [place for _, _, place in falling(range(len(contexts)))], dict[Ids, ContextMemoryError]()
        while waiting:
            most = falling(waiting[: self.batch_size])  # a part of some was read since
            waiting[: len(most)] = [place for _, _, place in most]
            widths = [width for width, _, _ in most]
            indices = waiting[: of_about_one_width(widths[: max(1, positions // widths[0])], self.device)]
            try:
                batch = self.read(
                    [contexts[index] for index in indices], 0, [fresh[index] for index in indices], forward
                )
            except OutOfMemoryError as error:
                try:
                    self.shrink(len(indices), error)
                except ContextMemoryError as alone:
                    lost[contexts[waiting.pop(0)]] = alone
                continue
            waiting = waiting[len(indices) :]
            yield indices, batch
        raise_lost(lost)
