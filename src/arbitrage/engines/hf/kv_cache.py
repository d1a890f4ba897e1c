"""Keys and values of a batch, written in place, and a pool of those of earlier contexts.

transformers' DynamicCache concatenates at every token. Here a layer's buffer has room ahead and is kept for the next
batch. `PrefixPool` remembers keys and values by blocks of ids, so that a context that continues an earlier one is read
from where that ended: on the lab's models this saves most of the work.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from arbitrage.speculation.steps import Ids

BLOCK = 8  # tokens a block: a context is read again from its last whole block
GRAIN = 256  # columns by which buffers are sized: room for decoded tokens, and for the next, longer contexts
POOL_BYTES = 256 * 2**20  # about 30,000 tokens of the lab's target
GPU_POOL_SHARE = 0.25  # of what is free beside weights, vLLM's share and other pools: the rest is for batches
PROTECTED = 4  # calls for which a block stays: plain LRU would keep nothing of a round that is a little too large


class BufferLayer(CacheLayerMixin):
    """Keys and values of one layer: [rows, heads, capacity, head size], of which the first `length` columns count."""

    keys: Tensor
    values: Tensor
    is_sliding = False

    def __init__(self, capacity: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.capacity, self.length, self.rows = capacity, 0, 0
        self._has_buffers = False

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.allocate(key_states, value_states, key_states.shape[0])

    def allocate(self, like_keys: Tensor, like_values: Tensor, rows: int) -> None:
        """Have buffers for `rows` rows; earlier ones are kept where they are large enough."""
        self.rows = rows
        if not self._has_buffers or self.keys.shape[0] < rows or self.keys.shape[2] < self.capacity:
            # Zeros, because a masked column still takes part as 0 x value, and memory as found may hold NaN.
            self.keys = like_keys.new_zeros(rows, like_keys.shape[1], self.capacity, like_keys.shape[3])
            self.values = like_values.new_zeros(rows, like_values.shape[1], self.capacity, like_values.shape[3])
        self.capacity = self.keys.shape[2]
        self._has_buffers = self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append columns; return all that count: [rows, heads, length, head size]."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start, end = self.length, self.length + key_states.shape[2]
        if end > self.capacity:
            self._grow(end)
        keys, values = self.keys[: self.rows], self.values[: self.rows]
        keys[:, :, start:end] = key_states
        values[:, :, start:end] = value_states
        self.length = end
        return keys[:, :, :end], values[:, :, :end]

    def _grow(self, needed: int) -> None:
        self.capacity = max(needed, 2 * self.capacity)
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = old.new_zeros(self.rows, old.shape[1], self.capacity, old.shape[3])
            new[:, :, : self.length] = old[: self.rows, :, : self.length]
            setattr(self, name, new)

    def keep(self, rows: int, targets: Tensor, sources: Tensor) -> None:
        """Keep the first `rows` rows, once rows `sources` have been copied over rows `targets`."""
        for buffer in (self.keys, self.values):
            buffer[targets, :, : self.length] = buffer[sources, :, : self.length]
        self.rows = rows

    def put(self, rows: Tensor, columns: slice, keys: Tensor, values: Tensor) -> None:
        """Overwrite `columns` of `rows` with keys and values [rows, heads, columns, head size]."""
        self.keys[rows, :, columns], self.values[rows, :, columns] = keys, values

    def get_seq_length(self) -> int:
        return self.length

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.length + query_length, 0

    def get_max_length(self) -> int:
        return -1


class BufferCache(Cache):
    """The layers of one batch."""

    layers: list[BufferLayer]  # type: ignore[assignment]

    def __init__(self, layers: int, capacity: int) -> None:
        super().__init__(layers=[BufferLayer(capacity) for _ in range(layers)])

    @property
    def length(self) -> int:
        """Columns that count."""
        return self.layers[0].length

    def crop(self, length: int) -> None:
        """Forget all columns from `length` on (rollback of a rejected step)."""
        for layer in self.layers:
            layer.length = length

    def restart(self, capacity: int) -> None:
        """Be empty, with room for at least `capacity` columns; buffers that are large enough stay."""
        capacity = -(-capacity // GRAIN) * GRAIN
        for layer in self.layers:
            layer.capacity, layer.length, layer.is_initialized = capacity, 0, False

    def keep(self, rows: Sequence[int]) -> None:
        """Keep these rows only: row i is then what was row `rows[i]`, which is i or none of those kept before it."""
        moved = [(target, source) for target, source in enumerate(rows) if target != source]
        device = self.layers[0].keys.device
        targets, sources = torch.tensor(moved, dtype=torch.long, device=device).view(-1, 2).unbind(1)
        for layer in self.layers:
            layer.keep(len(rows), targets, sources)

    def put(self, rows: Tensor, columns: slice, other: BufferCache, source: Tensor) -> None:
        """Overwrite `columns` of `rows` with the columns `source` [rows, columns] of the rows of `other`, in order."""
        for layer, read in zip(self.layers, other.layers, strict=True):
            heads, size = read.keys.shape[1], read.keys.shape[3]
            index = source[:, None, :, None].expand(-1, heads, -1, size)
            layer.put(rows, columns, read.keys[: len(rows)].gather(2, index), read.values[: len(rows)].gather(2, index))


def block_keys(ids: Ids) -> list[bytes]:
    """A key for each whole block of `ids`, which stands for all ids up to the block's end."""
    raw = array("q", ids).tobytes()
    size = BLOCK * 8
    keys, last = [], b""
    for start in range(0, len(ids) // BLOCK * size, size):
        last = hashlib.blake2b(last + raw[start : start + size], digest_size=16).digest()
        keys.append(last)
    return keys


def pool_bytes(device: torch.device) -> int:
    """What a pool may take: POOL_BYTES, on a GPU at least GPU_POOL_SHARE of the memory that is free there now."""
    if device.type != "cuda":
        return POOL_BYTES
    free, _ = torch.cuda.mem_get_info(device)
    return max(min(POOL_BYTES, free // 2), int(GPU_POOL_SHARE * free))


class PrefixPool:
    """Keys and values of blocks of ids, at most `budget` bytes; blocks not used for some calls make room for new ones.

    A block's content depends on nothing but the ids before it and its own, up to rounding: which batch it was first
    read in moves the last bits. `clear` therefore marks the points from which a run can be repeated bit for bit.
    """

    def __init__(self, budget: int | None = None) -> None:
        """budget: in bytes; absent: `pool_bytes` of the device, when the first block is kept."""
        self.budget = budget
        self._slots: dict[bytes, int] = {}  # least recently used first
        self._used: dict[int, int] = {}  # the call in which a slot was last used
        self._call = 0
        self._store: list[tuple[Tensor, Tensor]] = []  # a layer: keys, values [slots, heads, BLOCK, head size]
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self._slots)

    def clear(self) -> None:
        """Forget everything."""
        self._free.extend(self._slots.values())
        self._free.sort(reverse=True)
        self._slots.clear()

    def begin_call(self) -> None:
        """Tell calls apart, for the age of blocks."""
        self._call += 1

    def cached_blocks(self, keys: Sequence[bytes]) -> int:
        """How many of the blocks, from the first on without a gap, are held."""
        count = 0
        for key in keys:
            if key not in self._slots:
                break
            count += 1
        return count

    def load(self, cache: BufferCache, rows: Sequence[Sequence[bytes]]) -> None:
        """Put each row's blocks (all held) at the left of the empty `cache`; rows with fewer have zeros after them."""
        most = max(map(len, rows))
        if most == 0:
            return
        index = torch.zeros(len(rows), most, dtype=torch.long)
        for row, keys in enumerate(rows):
            for block, key in enumerate(keys):
                slot = self._slots.pop(key)
                self._hold(key, slot)
                index[row, block] = slot
        device = self._store[0][0].device
        index = index.to(device).flatten()
        for layer, (keys_store, values_store) in zip(cache.layers, self._store, strict=True):
            layer.allocate(keys_store, values_store, len(rows))
            for buffer, store in ((layer.keys, keys_store), (layer.values, values_store)):
                heads, size = store.shape[1], store.shape[3]
                blocks = store.index_select(0, index).view(len(rows), most, heads, BLOCK, size).transpose(1, 2)
                target = buffer[: len(rows), :, : most * BLOCK]
                target.view(len(rows), heads, most, BLOCK, size).copy_(blocks)
            layer.length = most * BLOCK

    def save(self, cache: BufferCache, rows: Sequence[int], keys: Sequence[bytes], columns: Sequence[int]) -> None:
        """Remember blocks of `cache`: block i is `keys[i]`, in row `rows[i]`, from column `columns[i]` on."""
        if not self._store:
            self._open(cache)
        picked: list[int] = []
        slots: list[int] = []
        for index, key in enumerate(keys):
            if key in self._slots:
                continue
            slot = self._free.pop() if self._free else self._evict()
            if slot is None:
                break
            self._hold(key, slot)
            picked.append(index)
            slots.append(slot)
        if not picked:
            return
        device = self._store[0][0].device
        at = torch.tensor(slots, device=device)
        row = torch.tensor([rows[index] for index in picked], device=device)[:, None]
        column = torch.tensor([columns[index] for index in picked], device=device)[:, None] + torch.arange(
            BLOCK, device=device
        )
        for layer, (keys_store, values_store) in zip(cache.layers, self._store, strict=True):
            keys_store[at] = layer.keys[row, :, column].transpose(1, 2)
            values_store[at] = layer.values[row, :, column].transpose(1, 2)

    def _open(self, cache: BufferCache) -> None:
        sizes = [layer.keys[0, :, :1].numel() + layer.values[0, :, :1].numel() for layer in cache.layers]
        keys = cache.layers[0].keys
        budget = pool_bytes(keys.device) if self.budget is None else self.budget
        slots = budget // (BLOCK * sum(sizes) * keys.element_size())
        for layer in cache.layers:
            shape = [(slots + 1, tensor.shape[1], BLOCK, tensor.shape[3]) for tensor in (layer.keys, layer.values)]
            # Slot 0 stands for "no block" and is zeros; memory of the others is taken when first written.
            stored = layer.keys.new_empty(shape[0]), layer.values.new_empty(shape[1])
            stored[0][0], stored[1][0] = 0, 0
            self._store.append(stored)
        self._free = list(range(slots, 0, -1))

    def _hold(self, key: bytes, slot: int) -> None:
        self._slots[key] = slot  # at the end: the most recently used
        self._used[slot] = self._call

    def _evict(self) -> int | None:
        """The slot of the block used longest ago; None where even that was used in one of the last calls."""
        key, slot = next(iter(self._slots.items()), (b"", 0))
        if slot == 0 or self._used[slot] > self._call - PROTECTED:
            return None
        del self._slots[key]
        return slot
