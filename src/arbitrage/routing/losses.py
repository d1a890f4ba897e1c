"""What routers are trained on: the class of a step's advantage, its sign weighted by its size, or the advantage itself.

Of a variant with look-ahead labels the advantage is what looking ahead found, -1, 0 or 1: the examples' column `gain`.

Each is summed over its examples; training divides by the number of them in an update. The last two read two logits,
whose difference z makes the routing scalar sigmoid(z), whatever the loss.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from arbitrage.config.router import IN_VAIN, Loss

LossFunction = Callable[[Tensor, Tensor], Tensor]


def class_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of logits (examples, classes)."""
    return cross_entropy(logits.float(), labels, reduction="sum")


def ordinal_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropies of logits (examples, classes - 1): logit k says whether the class is above k."""
    logits = logits.float()
    above = labels[:, None] > torch.arange(logits.shape[1], device=logits.device)
    return binary_cross_entropy_with_logits(logits, above.to(logits.dtype), reduction="sum")


def weighted_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of logits (examples, 2) for the sign of an advantage, weighted by its size.

    What a wrong decision costs is the advantage it forgoes, so that is what a step counts. labels: advantages
    (examples,).
    """
    above = (labels > 0).to(torch.float32)
    each = binary_cross_entropy_with_logits(_margin(logits), above, reduction="none")
    return (labels.abs().float() * each).sum()


def regression_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Squared error of 2 sigmoid(z) - 1, in (-1, 1), for the advantage. labels: advantages (examples,)."""
    error = 2 * _margin(logits).sigmoid() - 1 - labels.float()
    return error.square().sum()


def _margin(logits: Tensor) -> Tensor:
    logits = logits.float()
    return logits[:, 1] - logits[:, 0]


def loss_function(loss: Loss, ordinal: bool = False) -> LossFunction:
    """The function that computes it; ordinal: of the classes, with loss `label`."""
    if loss == "label":
        return ordinal_loss if ordinal else class_loss
    return weighted_loss if loss == "weighted" else regression_loss


def targets_of(examples: pd.DataFrame, loss: Loss) -> np.ndarray:
    """(rows,): what the loss reads of each example, as its `labels`; examples: rows of the table `examples`.

    Classes (int64); or advantages (float32). With `weighted` a tie counts as a loss of IN_VAIN: with a good PRM nearly
    all other steps gain, and without ties there would be no step to accept; all are divided by their mean size, so that
    learning rates mean the same.
    """
    if loss == "label":
        classes: np.ndarray = examples["label"].to_numpy(np.int64)
        return classes
    advantages: np.ndarray = examples["gain"].to_numpy(np.float32)
    if loss == "regression":
        return advantages
    weighed: np.ndarray = np.where(advantages == 0, np.float32(-IN_VAIN), advantages)
    weighed /= np.abs(weighed).mean()
    return weighed
