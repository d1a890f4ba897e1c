"""Layers that are not trained give the same states in every epoch: they are computed once, where the memory allows."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from arbitrage.engines.hf.packed import Given, batch_of, last_states, passes
from arbitrage.routing.hf_trainer import Judged

MOST_BYTES = 2**31  # of states that are kept, in float32


@contextmanager
def computed_once(model: Any, rows: Sequence[Judged], columns: int, bf16: bool = False) -> Iterator[list[Judged]]:
    """The rows with the states that enter the first trained layer; meanwhile `model` lacks the layers below it.

    columns: ids read at once; bf16: in bfloat16 autocast. Rows and model stay as they are where no layer is frozen,
    where dropout gives other states every time, and where the states would take more than MOST_BYTES.
    """
    layers, config = model.base_model.layers, model.config.get_text_config()
    frozen = next(number for number, layer in enumerate(layers) if any(w.requires_grad for w in layer.parameters()))
    size = torch.float32.itemsize * config.hidden_size * sum(len(row.tree) for row in rows)
    if not frozen or getattr(config, "attention_dropout", 0.0) > 0 or size > MOST_BYTES:
        yield list(rows)
        return
    states = _states_below(model, rows, frozen, columns, bf16)
    below, given = layers[:frozen], Given()
    for number in range(frozen):
        layers[number] = given
    try:
        yield [replace(row, states=each) for row, each in zip(rows, states, strict=True)]
    finally:
        for number, layer in enumerate(below):
            layers[number] = layer


@torch.no_grad()
def _states_below(model: Any, rows: Sequence[Judged], layer: int, columns: int, bf16: bool) -> list[Tensor]:
    """What enters the layer of that number [ids, hidden] in each row, in float32, on the CPU."""
    entering: list[Tensor] = []
    hook = model.base_model.layers[layer].register_forward_pre_hook(lambda _, inputs: entering.append(inputs[0]))
    trees = [row.tree for row in rows]
    states: dict[int, Tensor] = {}
    for places in passes(trees, columns):
        with torch.autocast(model.device.type, torch.bfloat16, enabled=bf16):
            last_states(model, batch_of([trees[place] for place in places]))
        for place, each in zip(places, entering.pop(), strict=True):
            states[place] = each[: len(trees[place])].to("cpu", torch.float32, copy=True)  # without the padding
    hook.remove()
    return [states[place] for place in range(len(rows))]
