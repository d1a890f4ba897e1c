"""A new head fitted to the frozen checkpoint, before everything is trained.

With a head drawn at random, the first updates of full fine-tuning push large gradients through it and distort what the
checkpoint knows (Kumar et al. 2022, "Fine-tuning can distort pretrained features"): such routers can end below a linear
head on their own frozen start. Fitted first, fine-tuning begins where that head ends.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from arbitrage.routing.hf_trainer import Example, RightPadding
from arbitrage.routing.label_classes import RoutingError
from arbitrage.routing.losses import LossFunction

BATCH = 64
ROUNDS = 200
PENALTY = 1e-3
"""Of the squared weights on features of size 1, beside the mean loss."""


class Logits:
    """What the losses read of a model's outputs."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


def fit_head(model: Any, examples: Sequence[Example], loss_of: LossFunction) -> float:
    """Fit `model.score` to the examples, all else frozen, in place; returns the mean loss it ends with.

    The same examples in the same order give the same weights on a CPU, up to the number of threads.
    Raises RoutingError where the frozen checkpoint's states are not finite.
    """
    states = last_states(model, examples)
    if not states.isfinite().all():
        raise RoutingError(
            "the checkpoint that the router starts from gives states that are not finite; expected numbers: its "
            "weights are damaged, or too large for their type. Check router.init"
        )
    labels = torch.tensor([example["labels"] for example in examples])
    sizes = states.pow(2).mean(0).sqrt().clamp(min=1e-6)
    features = states / sizes
    weight = torch.zeros_like(model.score.weight, device="cpu", requires_grad=True)
    solver = torch.optim.LBFGS([weight], max_iter=ROUNDS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        return loss_of(Logits(features @ weight.T), labels, len(labels))

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
def last_states(model: Any, examples: Sequence[Example]) -> Tensor:
    """The state that the head reads, one row an example [examples, width], on the CPU."""
    pad = RightPadding(model.config.get_text_config().pad_token_id)
    order = sorted(range(len(examples)), key=lambda index: len(examples[index]["input_ids"]))
    states = torch.empty(len(examples), model.config.get_text_config().hidden_size)
    training, device = model.training, model.score.weight.device
    model.eval()
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        batch = {key: value.to(device) for key, value in pad([examples[row] for row in rows]).items()}
        hidden = model.base_model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False
        ).last_hidden_state
        last = batch["attention_mask"].sum(1) - 1
        states[rows] = hidden[torch.arange(len(rows)), last].float().cpu()
    model.train(training)
    return states
