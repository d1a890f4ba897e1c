"""The losses of routers, against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import logsigmoid

from arbitrage.routing.losses import class_loss, loss_function, ordinal_loss, targets_of


def test_micro_batches_add_up_to_the_loss_of_the_whole_update() -> None:
    logits, labels = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 2, 1, 3])
    whole = ordinal_loss(logits, labels)
    assert torch.isclose(whole, sum(ordinal_loss(logits[i : i + 2], labels[i : i + 2]) for i in (0, 2, 4)))
    labels = labels.clamp(max=2)
    parts = [class_loss(logits[i : i + 3], labels[i : i + 3]) for i in (0, 3)]
    assert torch.isclose(parts[0] + parts[1], class_loss(logits, labels))


def test_the_ordinal_loss_asks_of_every_cut_whether_the_class_is_above_it() -> None:
    logits = torch.tensor([[1.0, -0.5, 0.3]])
    expected = -(logsigmoid(logits[0, 0]) + logsigmoid(-logits[0, 1]) + logsigmoid(-logits[0, 2]))
    assert torch.isclose(ordinal_loss(logits, torch.tensor([1])), expected)


def test_a_step_counts_as_much_as_its_advantage() -> None:
    logits, advantages = torch.tensor([[0.0, 2.0], [1.0, 0.0], [5.0, -5.0]]), torch.tensor([0.5, -0.25, 0.0])
    expected = (0.5 * math.log1p(math.exp(-2.0)) + 0.25 * math.log1p(math.exp(-1.0))) / 3
    assert loss_function("weighted")(logits, advantages).item() / 3 == pytest.approx(expected)


def test_regression_is_zero_where_twice_the_scalar_less_one_is_the_advantage() -> None:
    advantages = torch.tensor([0.5, -0.25, 0.0])
    margins = torch.log((1 + advantages) / (1 - advantages))
    logits = torch.stack([torch.zeros(3), margins], dim=1)
    assert loss_function("regression")(logits, advantages).item() / 3 == pytest.approx(0.0, abs=1e-12)
    assert loss_function("regression")(0 * logits, advantages).item() / 3 == pytest.approx((0.25 + 0.0625) / 3)


def test_what_each_loss_reads_of_the_examples() -> None:
    examples = pd.DataFrame({"label": [1, 0, 0], "gain": [0.5, -0.25, 0.0]})
    assert targets_of(examples, "label").tolist() == [1, 0, 0]
    assert targets_of(examples, "regression").tolist() == [0.5, -0.25, 0.0]
    weighted = targets_of(examples, "weighted")
    assert weighted.tolist() == pytest.approx([0.5 / 0.8 * 3, -0.25 / 0.8 * 3, -0.05 / 0.8 * 3])
    assert np.abs(weighted).mean() == pytest.approx(1.0)
