"""Inputs with common beginnings in one forward pass: each shared beginning is read once, what differs branches off.

A router's inputs of one question are prefixes of its chosen path, each with a draft's step after it. Together they are
a tree: an accepted draft step lies on the path, a rejected one is a branch that sees its own prefix only. The tree is
found in the ids themselves, so nothing is assumed of separators, tags or tokenizers: inputs share what is equal in
them, and no more. A row of a batch holds a tree in preorder; a position id is an id's place in its own input, and an id
sees its ancestors. So the state after an input's last id is the one that the input alone would give, up to rounding,
and so is its gradient. (Attention over a tree of tokens: Miao et al. 2024, "SpecInfer".)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from arbitrage.engines.hf.attention import mask_for

PADDED = 1.5  # of an update of 32 of the lab's steps, one pass would compute 1.9 columns for each that is read; so, 1.1
Integers = NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class Tree:
    """Inputs in one row. members: their indices in what was packed; last: the columns of their last ids, in that order.

    ids, positions, ends: of each column, ends being the column after its last descendant.
    """

    members: list[int]
    last: Integers
    ids: Integers
    positions: Integers
    ends: Integers

    def __len__(self) -> int:
        return len(self.ids)


def pack(inputs: Sequence[Integers], columns: int) -> Iterator[Tree]:
    """Trees of at most `columns` columns that hold every input once; an input longer than that has one of its own.

    inputs: each one or more ids. In lexicographic order each shares with the one before what it shares with any: that
    order is the tree's preorder.
    """
    order = sorted(range(len(inputs)), key=lambda index: np.asarray(inputs[index], dtype=">u4").tobytes())
    members: list[int] = []
    size = 0
    for index in order:
        new = len(inputs[index]) - (_common(inputs[members[-1]], inputs[index]) if members else 0)
        if members and size + new > columns:
            yield _tree(inputs, members)
            members, size, new = [], 0, len(inputs[index])
        members.append(index)
        size += new
    if members:
        yield _tree(inputs, members)


def pack_questions(inputs: Sequence[Integers], questions: Sequence[str], columns: int) -> Iterator[Tree]:
    """As `pack`, no tree with inputs of two questions: they share little. questions: that of each input."""
    indices: dict[str, list[int]] = {}
    for index, question in enumerate(questions):
        indices.setdefault(question, []).append(index)
    for of_one in indices.values():
        for tree in pack([inputs[index] for index in of_one], columns):
            yield replace(tree, members=[of_one[member] for member in tree.members])


def _tree(inputs: Sequence[Integers], members: list[int]) -> Tree:
    """The tree of inputs in lexicographic order."""
    ids: list[Integers] = []
    positions: list[Integers] = []
    last: list[int] = []
    ends = np.zeros(sum(len(inputs[index]) for index in members), dtype=np.int64)
    path, size = ends[:0], 0  # the columns of the input before, and how many there are
    before: Integers = path
    for index in members:
        row = inputs[index]
        shared = _common(before, row)
        ends[path[shared:]] = size
        ids.append(row[shared:])
        positions.append(np.arange(shared, len(row)))
        path = np.concatenate([path[:shared], np.arange(size, size + len(row) - shared)])
        size += len(row) - shared
        last.append(int(path[-1]))
        before = row
    ends[path] = size
    return Tree(members, np.array(last), np.concatenate(ids), np.concatenate(positions), ends[:size])


def _common(left: Integers, right: Integers) -> int:
    """How many ids two inputs begin with alike."""
    width = min(len(left), len(right))
    differ = np.flatnonzero(left[:width] != right[:width])
    return int(differ[0]) if len(differ) else width


def passes(trees: Sequence[Tree], columns: int) -> list[list[int]]:
    """Places in `trees` by forward pass, those of like size together: at most `columns` columns, padding counted.

    A larger tree has a pass of its own, and none is padded to more than PADDED times its size. From the smallest to the
    largest, so that the order follows from the trees.
    """
    groups: list[list[int]] = []
    for place in sorted(range(len(trees)), key=lambda place: len(trees[place])):
        size = len(trees[place])
        fits = groups and (len(groups[-1]) + 1) * size <= columns and size <= PADDED * len(trees[groups[-1][0]])
        if fits:
            groups[-1].append(place)
        else:
            groups.append([place])
    return groups


def batch_of(trees: Sequence[Tree]) -> dict[str, Tensor]:
    """What `last_states` reads: input_ids, position_ids and ends [rows, widest]; row and column of each last id.

    Inputs are in the order of the trees, and of their members. Padding is id 0 and sees itself alone: any id will do.
    """
    widest = max(map(len, trees))
    ids = np.zeros((len(trees), widest), dtype=np.int64)
    positions = np.zeros_like(ids)
    ends = np.broadcast_to(np.arange(1, widest + 1), ids.shape).copy()
    for row, tree in enumerate(trees):
        ids[row, : len(tree)], positions[row, : len(tree)], ends[row, : len(tree)] = tree.ids, tree.positions, tree.ends
    rows = np.repeat(np.arange(len(trees)), [len(tree.members) for tree in trees])
    arrays = {"input_ids": ids, "position_ids": positions, "ends": ends, "rows": rows}
    arrays["columns"] = np.concatenate([tree.last for tree in trees])
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


class Given(torch.nn.Module):
    """In place of layers whose output for the batch that is read, `states`, was computed before."""

    states: Tensor

    def forward(self, *_: Any, **__: Any) -> Tensor:
        """That output [rows, columns, hidden]."""
        return self.states


def last_states(model: Any, batch: dict[str, Tensor]) -> Tensor:
    """The state after each input's last id [inputs, hidden]: what a classification head reads (section 4.2).

    model: a classifier of transformers with attention in every layer (`batching.context_limit` refuses others), each
    input within that limit. batch: `batch_of`, on any device; with `states` [rows, widest, hidden] where the lowest
    layers of `model` are `Given`.
    """
    batch = {name: value.to(model.device) for name, value in batch.items()}
    columns = torch.arange(batch["ends"].shape[1], device=batch["ends"].device)
    visible = (columns <= columns[:, None]) & (columns[:, None] < batch["ends"][:, None, :])  # of each, its ancestors
    if "states" in batch:
        model.base_model.layers[0].states = batch["states"]
    states: Tensor = model.base_model(
        input_ids=batch["input_ids"],
        position_ids=batch["position_ids"],
        attention_mask=mask_for(model, visible[:, None]),
        use_cache=False,
    ).last_hidden_state
    return states[batch["rows"], batch["columns"]]
