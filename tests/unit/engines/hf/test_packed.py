"""Inputs packed into trees: all of them, none of their common beginnings twice, and nothing longer than is allowed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.engines.hf.packed import PADDED, Tree, batch_of, pack, passes

INPUTS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=9), min_size=1, max_size=12)


def arrays(inputs: list[list[int]]) -> list[np.ndarray]:
    return [np.array(ids, dtype=np.int32) for ids in inputs]


def seen_from(tree: Tree, column: int) -> list[int]:
    """The columns that `column` sees."""
    return [other for other in range(column + 1) if column < tree.ends[other]]


@given(INPUTS, st.integers(1, 60))
def test_every_input_sees_its_own_ids_at_its_own_places(inputs: list[list[int]], columns: int) -> None:
    trees = list(pack(arrays(inputs), columns))
    assert sorted(member for tree in trees for member in tree.members) == list(range(len(inputs)))
    for tree in trees:
        assert len(tree) <= columns or len(tree.members) == 1
        for member, last in zip(tree.members, tree.last, strict=True):
            seen = seen_from(tree, last)
            assert tree.ids[seen].tolist() == inputs[member]
            assert tree.positions[seen].tolist() == list(range(len(inputs[member])))


@given(INPUTS)
def test_a_beginning_is_read_once(inputs: list[list[int]]) -> None:
    (tree,) = pack(arrays(inputs), 1000)
    beginnings = {tuple(ids[:end]) for ids in inputs for end in range(1, len(ids) + 1)}
    assert len(tree) == len(beginnings)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.integers(1, 200))
def test_a_pass_reads_no_more_than_allowed(sizes: list[int], columns: int) -> None:
    trees = [next(pack([np.zeros(size, dtype=np.int32)], size)) for size in sizes]
    groups = passes(trees, columns)
    assert sorted(place for group in groups for place in group) == list(range(len(sizes)))
    for group in groups:
        smallest, largest = sizes[group[0]], sizes[group[-1]]
        assert len(group) == 1 or (len(group) * largest <= columns and smallest <= largest <= PADDED * smallest)


def test_trees_of_like_size_share_a_pass() -> None:
    trees = [next(pack([np.zeros(size, dtype=np.int32)], size)) for size in (10, 30, 15, 20, 16)]
    assert passes(trees, 1000) == [[0, 2], [4, 3], [1]]
    assert passes(trees, 30) == [[0, 2], [4], [3], [1]]


def test_a_batch_pads_to_the_widest_tree_and_padding_sees_itself() -> None:
    trees = [*pack(arrays([[5, 6], [5, 7, 8]]), 9), *pack(arrays([[3]]), 9)]
    batch = batch_of(trees)
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8], [3, 0, 0, 0]]
    assert batch["position_ids"].tolist() == [[0, 1, 1, 2], [0, 0, 0, 0]]
    assert batch["ends"].tolist() == [[4, 2, 4, 4], [1, 2, 3, 4]]
    assert (batch["rows"].tolist(), batch["columns"].tolist()) == ([0, 0, 1], [1, 3, 0])


def test_nothing_packs_to_nothing() -> None:
    assert list(pack([], 5)) == []
    with pytest.raises(IndexError):
        batch_of(list(pack(arrays([[]]), 5)))
