"""Run a model over batches of contexts: each read once, from where an earlier one with the same beginning ended.

A batch's columns are [blocks from the pool | new ids, padded on the left | one column a decoded token]. Positions are
given explicitly and a mask hides the gaps, so a row's outputs do not depend, up to rounding, on the rows beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from arbitrage.engines.kv_cache import BLOCK, BufferCache, PrefixPool, block_keys
from arbitrage.engines.protocols import EngineError, Ids

POOL_BYTES = 256 * 2**20  # a pool's most: about 30,000 tokens of the lab's target

# (ids [rows, n], positions [rows, n], mask [rows, 1, n, columns] or None, cache) -> output at the last column [rows, w]
Forward = Callable[[Tensor, Tensor, Tensor | None, BufferCache], Tensor]


def context_limit(config: Any) -> int:
    """The longest context a model reads correctly here: its positions, and its attention window where it has one.

    Raises EngineError for models whose layers are not all attention layers (their state cannot be rolled back).
    """
    config = config.get_text_config(decoder=True)
    window = getattr(config, "sliding_window", None)
    # Models from before `layer_types` (Mistral) have the window, where there is one, in every layer.
    kinds = set(getattr(config, "layer_types", None) or ["sliding_attention" if window else "full_attention"])
    if unknown := kinds - {"full_attention", "sliding_attention"}:
        raise EngineError(
            f"{config.model_type}: layers of type {sorted(unknown)} are not supported; expected attention layers"
        )
    limit = int(getattr(config, "max_position_embeddings", None) or 2**31)
    if "sliding_attention" in kinds and window:
        limit = min(limit, int(window))
    return limit


class Batch:
    """Contexts being read and continued together. `output`: [rows, width] at the last column."""

    def __init__(self, runner: BatchRunner, contexts: Sequence[Ids], room: int) -> None:
        self._runner, self._cache, self._contexts = runner, runner.cache, list(contexts)
        keys = [block_keys(ids[:-1]) for ids in contexts]  # the last id is always read: its output is asked for
        self._known = [runner.pool.known(row) for row in keys]
        device = runner.device
        past = max(self._known) * BLOCK
        new = [len(ids) - count * BLOCK for ids, count in zip(contexts, self._known, strict=True)]
        width = max(new)
        self._start = [past + width - size for size in new]  # column of a row's first new id
        self._cache.restart(past + width)
        runner.pool.load(self._cache, [row[:count] for row, count in zip(keys, self._known, strict=True)])

        ids = torch.tensor(
            [(0,) * (width - size) + row[len(row) - size :] for row, size in zip(contexts, new, strict=True)]
        )
        lengths = torch.tensor([len(row) for row in contexts], device=device)
        columns = torch.arange(past + width, device=device)
        known = torch.tensor(self._known, device=device)[:, None] * BLOCK
        start = torch.tensor(self._start, device=device)[:, None]
        self._visible = (columns < known) | (columns >= start)
        causal = columns <= columns[past:, None]
        itself = columns == columns[past:, None]  # keeps a padding query's softmax finite
        mask = (self._visible[:, None, :] & causal) | itself
        positions = (lengths[:, None] - width + torch.arange(width, device=device)).clamp(min=0)
        self.output = runner.forward(ids.to(device), positions, mask[:, None])
        self._positions = lengths[:, None]
        self._visible = torch.nn.functional.pad(self._visible, (0, room), value=True)

    def feed(self, tokens: Tensor) -> Tensor:
        """Append one token a row ([rows]); return the output after it."""
        mask = self._visible[:, None, None, : self._cache.length + 1]
        self.output = self._runner.forward(tokens[:, None], self._positions, mask)
        self._positions = self._positions + 1
        return self.output

    def keep(self, rows: list[int]) -> None:
        """Drop all rows but these; row i is then what was row `rows[i]` (see `BufferCache.keep`)."""
        self._cache.keep(rows)
        index = torch.tensor(rows, device=self._runner.device)
        self._visible, self._positions, self.output = self._visible[index], self._positions[index], self.output[index]
        self._contexts = [self._contexts[row] for row in rows]
        self._known = [self._known[row] for row in rows]
        self._start = [self._start[row] for row in rows]

    def remember(self, fed: Mapping[int, Sequence[int]]) -> None:
        """Give the new whole blocks of rows to the pool. fed: by row, the tokens it was fed that belong to it."""
        where, keys, columns = [], [], []
        for row, tokens in fed.items():
            known = self._known[row]
            for place, key in enumerate(block_keys((*self._contexts[row], *tokens))[known:]):
                where.append(row)
                keys.append(key)
                columns.append(self._start[row] + place * BLOCK)
        self._runner.pool.save(self._cache, where, keys, columns)


class BatchRunner:
    """Cuts a list of contexts into batches: a function of that list, and of what was read since `forget`."""

    def __init__(self, name: str, forward: Forward, layers: int, device: torch.device, batch_size: int) -> None:
        self.name, self.device, self.batch_size = name, device, batch_size
        self.pool = PrefixPool(POOL_BYTES)
        self.cache = BufferCache(layers, 0)
        self._forward, self._layers = forward, layers

    def forward(self, ids: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """The model's output after `ids` [rows, n]. Raises EngineError where the device has too little memory."""
        try:
            return self._forward(ids, positions, mask, self.cache)
        except torch.OutOfMemoryError as fault:
            raise EngineError(
                f"{self.name}: out of memory on {self.device} with a batch of {ids.shape[0]} contexts of up to "
                f"{mask.shape[-1]} tokens; lower the model's batch_size"
            ) from fault

    def forget(self) -> None:
        """Drop all remembered keys and values, so that what follows does not depend on what was read before."""
        self.pool.clear()
        self.cache = BufferCache(self._layers, 0)

    def batches(self, contexts: Sequence[Ids], room: Sequence[int]) -> Iterator[tuple[list[int], Batch]]:
        """Batches of rows with about as much to read, as (places in `contexts`, the batch just read).

        What a later context may continue is for the caller to `remember`.
        """

        def cost(place: int) -> tuple[int, int, int]:
            ids = contexts[place]
            known = self.pool.known(block_keys(ids[:-1]))
            return (len(ids) - known * BLOCK) // (2 * BLOCK), len(ids), place

        self.pool.begin_call()
        order = sorted(range(len(contexts)), key=cost)
        for first in range(0, len(order), self.batch_size):
            places = order[first : first + self.batch_size]
            batch = Batch(self, [contexts[place] for place in places], max(room[place] for place in places))
            yield places, batch
