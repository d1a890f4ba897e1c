"""A head fitted first is the best one on the frozen checkpoint, and touches nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForSequenceClassification

from arbitrage.engines.hf.packed import pack
from arbitrage.routing.head import PENALTY, fit_head, frozen_states
from arbitrage.routing.hf_trainer import Judged
from arbitrage.routing.losses import loss_function

COLUMNS = 64


@pytest.fixture
def rows() -> list[Judged]:
    """Inputs of several lengths whose class is told by their last id, ten a row."""
    rng = np.random.default_rng(0)
    inputs = [rng.integers(1, 20, size=int(rng.integers(2, 9))) for _ in range(150)]
    return [
        Judged(tree, np.array([inputs[start + member][-1] % 3 for member in tree.members]))
        for start in range(0, 150, 10)
        for tree in pack(inputs[start : start + 10], 100)
    ]


def classifier(outputs: int) -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=20,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_labels=outputs,  # type: ignore[call-arg]
        pad_token_id=0,
    )
    return LlamaForSequenceClassification(config).eval()


def test_every_example_has_a_state_and_its_own_class(rows: list[Judged]) -> None:
    states, labels = frozen_states(classifier(3), rows, COLUMNS)
    assert states.shape == (150, 16) and sorted(labels) == sorted(label for row in rows for label in row.labels)
    again, same = frozen_states(classifier(3), rows[::-1], 2 * COLUMNS)
    counts = [(labels == label).sum() for label in range(3)]
    assert counts == [(same == label).sum() for label in range(3)]
    for label in range(3):
        torch.testing.assert_close(states[labels == label].sum(0), again[same == label].sum(0), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("outputs", "ordinal"), [(3, False), (2, True)])
def test_the_head_alone_is_fitted(rows: list[Judged], outputs: int, ordinal: bool) -> None:
    model = classifier(outputs)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    fitted = fit_head(model, rows, loss_function("label", ordinal), COLUMNS)
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, before[name]) == (name != "score.weight")
    untrained = np.log(3) if not ordinal else 2 * np.log(2)
    assert fitted < 0.6 * untrained
    again = classifier(outputs)
    assert fit_head(again, rows, loss_function("label", ordinal), COLUMNS) == fitted and torch.equal(
        again.score.weight, model.score.weight
    )


def test_no_small_step_makes_the_head_better(rows: list[Judged]) -> None:
    model = classifier(3)
    fit_head(model, rows, loss_function("label"), COLUMNS)
    states, labels = frozen_states(model, rows, COLUMNS)
    sizes = states.pow(2).mean(0).sqrt()
    weight = (model.score.weight.detach() * sizes).requires_grad_()
    loss = torch.nn.functional.cross_entropy(states / sizes @ weight.T, labels) + PENALTY * weight.square().sum()
    loss.backward()
    assert weight.grad is not None and float(weight.grad.abs().max()) < 1e-3
