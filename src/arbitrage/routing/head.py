"""A new head fitted to the frozen checkpoint, before everything is trained.

With a head drawn at random, the first updates of full fine-tuning push large gradients through it and distort what the
checkpoint knows (Kumar et al. 2022, "Fine-tuning can distort pretrained features"): such routers can end below a linear
head on their own frozen start. Fitted first, fine-tuning begins where that head ends.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from arbitrage.engines.hf.packed import last_states
from arbitrage.routing.hf_trainer import Judged, micro_batches
from arbitrage.routing.label_classes import RoutingError
from arbitrage.routing.losses import LossFunction

ROUNDS = 200
PENALTY = 1e-3
"""Of the squared weights on features of size 1, beside the mean loss."""


def fit_head(model: Any, rows: Sequence[Judged], loss_of: LossFunction, columns: int, bf16: bool = False) -> float:
    """Fit `model.score` to the examples in `rows`, all else frozen, in place; returns the mean loss it ends with.

    columns: ids read at once (`micro_batches`); bf16: the model computes in bfloat16 autocast. The same rows in the
    same order give the same weights on a CPU, up to the number of threads.
    Raises RoutingError where the frozen checkpoint's states are not finite.
    """
    states, labels = frozen_states(model, rows, columns, bf16)
    if not states.isfinite().all():
        raise RoutingError(
            "the checkpoint that the router starts from gives states that are not finite; expected numbers: its "
            "weights are damaged, or too large for their type. Check router.init"
        )
    sizes = states.pow(2).mean(0).sqrt().clamp(min=1e-6)
    features = states / sizes
    weight = torch.zeros_like(model.score.weight, device="cpu", requires_grad=True)
    solver = torch.optim.LBFGS([weight], max_iter=ROUNDS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        return loss_of(features @ weight.T, labels) / len(labels)

    def closure() -> Tensor:
        solver.zero_grad()
        whole = loss() + PENALTY * weight.square().sum()
        whole.backward()
        return whole

    solver.step(closure)
    with torch.no_grad():
        model.score.weight.copy_((weight / sizes).to(model.score.weight))
        return float(loss())


@torch.no_grad()
def frozen_states(model: Any, rows: Sequence[Judged], columns: int, bf16: bool = False) -> tuple[Tensor, Tensor]:
    """The state that the head reads of each example [examples, hidden], in float32, and its class, on the CPU."""
    training = model.training
    model.eval()
    states, labels = [], []
    for batch in micro_batches(rows, columns):
        labels.append(batch["labels"])
        with torch.autocast(model.device.type, torch.bfloat16, enabled=bf16):
            states.append(last_states(model, batch).float().cpu())
    model.train(training)
    return torch.cat(states), torch.cat(labels)
