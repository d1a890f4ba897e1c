"""What routers are trained on: the class of a step's advantage, its sign weighted by its size, or the advantage itself.

All losses are means over the examples of a whole update. The last two read two logits, whose difference z makes the
routing scalar sigmoid(z), whatever the loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from arbitrage.config.router import Loss

IN_VAIN = 0.05  # advantage lost where a step is escalated and the target writes what is scored alike
LossFunction = Callable[[Any, torch.Tensor, torch.Tensor | int], torch.Tensor]


def class_loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int) -> torch.Tensor:
    """Cross-entropy of logits (batch, classes)."""
    return cross_entropy(outputs.logits.float(), labels, reduction="sum") / num_items_in_batch


def ordinal_loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int) -> torch.Tensor:
    """Binary cross-entropies of logits (batch, classes - 1), summed: logit k says whether the class is above k."""
    logits = outputs.logits.float()
    above = labels[:, None] > torch.arange(logits.shape[1], device=logits.device)
    return binary_cross_entropy_with_logits(logits, above.to(logits.dtype), reduction="sum") / num_items_in_batch


def weighted_loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int) -> torch.Tensor:
    """Cross-entropy of logits (batch, 2) for the sign of an advantage, weighted by its size.

    What a wrong decision costs is the advantage it forgoes, so that is what a step counts. labels: advantages (batch,).
    """
    above = (labels > 0).to(torch.float32)
    each = binary_cross_entropy_with_logits(_margin(outputs), above, reduction="none")
    return (labels.abs().float() * each).sum() / num_items_in_batch


def regression_loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int) -> torch.Tensor:
    """Squared error of 2 sigmoid(z) - 1, in (-1, 1), for the advantage. labels: advantages (batch,)."""
    error = 2 * _margin(outputs).sigmoid() - 1 - labels.float()
    return error.square().sum() / num_items_in_batch


def _margin(outputs: Any) -> torch.Tensor:
    logits = outputs.logits.float()
    return logits[:, 1] - logits[:, 0]  # type: ignore[no-any-return]


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
    advantages: np.ndarray = examples["advantage"].to_numpy(np.float32)
    if loss == "regression":
        return advantages
    weighed: np.ndarray = np.where(advantages == 0, np.float32(-IN_VAIN), advantages)
    return weighed / np.abs(weighed).mean()
