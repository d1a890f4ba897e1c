from __future__ import annotations

import torch

from arbitrage.engines.hf.kv_cache import BLOCK, BufferCache, PrefixPool, block_keys


def filled(rows: int, columns: int, layers: int = 2) -> BufferCache:
    """A cache whose keys are its column numbers plus 1000 times the row, and whose values are the negatives."""
    cache = BufferCache(layers, columns)
    content = (torch.arange(columns) + 1000.0 * torch.arange(rows)[:, None])[:, None, :, None].expand(
        rows, 3, columns, 4
    )
    for layer in range(layers):
        cache.update(content, -content, layer)
    return cache


def test_a_key_stands_for_all_ids_up_to_the_end_of_its_block() -> None:
    ids = tuple(range(3 * BLOCK + 5))
    assert len(block_keys(ids)) == 3
    assert block_keys(ids)[:2] == block_keys(ids[: 2 * BLOCK + 1])
    other = block_keys((99, *ids[1:]))
    assert all(left != right for left, right in zip(block_keys(ids), other, strict=True))


def test_blocks_come_back_where_they_were_saved_and_shorter_rows_end_in_zeros() -> None:
    pool, keys = PrefixPool(2**20), [bytes([index]) for index in range(3)]
    pool.save(filled(2, 5 * BLOCK), rows=[0, 0, 1], keys=keys, columns=[3, 3 + BLOCK, 5])
    assert (pool.cached_blocks(keys), pool.cached_blocks([b"x", *keys]), pool.cached_blocks([*keys[:1], b"x"])) == (
        3,
        0,
        1,
    )
    cache = BufferCache(2, 40)
    pool.load(cache, [[keys[2]], [keys[0], keys[1]]])
    assert cache.length == 2 * BLOCK
    for layer in cache.layers:
        assert layer.keys[0, 0, : 2 * BLOCK, 0].tolist() == [1005.0 + i for i in range(BLOCK)] + [0.0] * BLOCK
        assert layer.values[1, 2, : 2 * BLOCK, 3].tolist() == [-3.0 - i for i in range(2 * BLOCK)]


def test_a_full_pool_gives_up_old_blocks_but_none_of_the_last_calls() -> None:
    cache = filled(1, BLOCK, layers=1)
    pool = PrefixPool(budget=2 * cache.layers[0].keys.nbytes * 3)  # three blocks of keys and values

    def save(name: bytes) -> None:
        pool.save(cache, [0], [name], [0])

    for name in (b"a", b"b", b"c", b"d"):
        save(name)
    assert [pool.cached_blocks([name]) for name in (b"a", b"b", b"c", b"d")] == [1, 1, 1, 0]
    for _ in range(4):
        pool.begin_call()
    pool.load(BufferCache(1, BLOCK), [[b"a"]])  # used again, so `b` is now the oldest
    save(b"d")
    assert [pool.cached_blocks([name]) for name in (b"a", b"b", b"c", b"d")] == [1, 0, 1, 1]
    pool.clear()
    assert pool.cached_blocks([b"a"]) == 0
    save(b"e")
    assert pool.cached_blocks([b"e"]) == 1


def test_a_pool_too_small_for_one_block_keeps_nothing() -> None:
    pool = PrefixPool(budget=1)
    pool.save(filled(1, BLOCK), [0], [b"a"], [0])
    assert pool.cached_blocks([b"a"]) == 0


def test_a_cache_grows_rolls_back_and_keeps_chosen_rows() -> None:
    cache = filled(3, 6)
    cache.crop(4)
    more = torch.full((3, 3, 40, 4), 7.0)
    for layer in range(2):
        keys, _ = cache.update(more, more, layer)
    assert cache.length == 44 and keys[2, 0, :6, 0].tolist() == [2000.0, 2001.0, 2002.0, 2003.0, 7.0, 7.0]
    cache.keep([0, 2])
    keys, _ = cache.update(more[:2, :, :1], more[:2, :, :1], 0)
    assert keys.shape == (2, 3, 45, 4) and keys[1, 0, 0, 0] == 2000.0
