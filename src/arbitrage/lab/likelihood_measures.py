"""What a language model's states and logits look like on worked solutions: the likelihood layer is set by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from arbitrage.lab.batches import IGNORED, Batch


@dataclass(frozen=True, slots=True)
class Measured:
    """What is measured of a language model on a batch, to set the layer by.

    sizes: root mean square of the states before each layer and after the last; tokens: those that solutions are made
    of; threshold: a logit between the highest and the second, centred over `tokens`; spread: of the centred logits.
    """

    sizes: list[float]
    tokens: Tensor
    threshold: float
    spread: float


@torch.no_grad()
def measure(base: Any, batches: Sequence[Batch]) -> Measured:
    """Run a language model over batches of worked solutions, which are on its device."""
    kept: list[Tensor] = []
    hook = base.model.norm.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0]))
    outputs = [base(input_ids=batch.ids, use_cache=False, output_hidden_states=True) for batch in batches]
    hook.remove()
    sizes = []
    for layer in range(base.config.num_hidden_layers + 1):
        states = [out.hidden_states[layer] for out in outputs] if layer < base.config.num_hidden_layers else kept
        sizes.append(float(torch.cat([state[:, 1:].flatten() for state in states]).pow(2).mean().sqrt()))
    tokens = torch.cat([batch.labels[batch.labels != IGNORED] for batch in batches]).unique()
    learned = [
        output.logits[:, :-1][batch.labels[:, 1:] != IGNORED] for output, batch in zip(outputs, batches, strict=True)
    ]
    logits = torch.cat(learned)[:, tokens]
    logits = logits - logits.mean(-1, keepdim=True)
    return Measured(sizes, tokens.cpu(), float(logits.topk(2).values.mean()), float(logits.pow(2).mean().sqrt()))
