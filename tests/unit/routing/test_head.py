"""A head fitted first is the best one on the frozen checkpoint, and touches nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForSequenceClassification

from arbitrage.routing.head import PENALTY, fit_head, last_states
from arbitrage.routing.hf_trainer import RightPadding
from arbitrage.routing.losses import loss_function

PAD = 0


@pytest.fixture
def examples() -> list[dict[str, Any]]:
    """Inputs of several lengths whose class is told by their last id."""
    rng = np.random.default_rng(0)
    rows = [rng.integers(1, 20, size=int(rng.integers(2, 9))) for _ in range(150)]
    return [{"input_ids": ids, "labels": int(ids[-1] % 3)} for ids in rows]


def classifier(outputs: int) -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=20,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_labels=outputs,  # type: ignore[call-arg]
        pad_token_id=PAD,
    )
    return LlamaForSequenceClassification(config).eval()


def test_the_states_are_those_that_the_head_reads(examples: list[dict[str, Any]]) -> None:
    model = classifier(3)
    states = last_states(model, examples)
    batch = RightPadding(PAD)(examples)
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        torch.testing.assert_close(model.score(states), logits, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("outputs", "ordinal"), [(3, False), (2, True)])
def test_the_head_alone_is_fitted(examples: list[dict[str, Any]], outputs: int, ordinal: bool) -> None:
    model = classifier(outputs)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    fitted = fit_head(model, examples, loss_function("label", ordinal))
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, before[name]) == (name != "score.weight")
    untrained = np.log(3) if not ordinal else 2 * np.log(2)
    assert fitted < 0.6 * untrained
    again = classifier(outputs)
    assert fit_head(again, examples, loss_function("label", ordinal)) == fitted and torch.equal(
        again.score.weight, model.score.weight
    )


def test_no_small_step_makes_the_head_better(examples: list[dict[str, Any]]) -> None:
    model = classifier(3)
    fit_head(model, examples, loss_function("label"))
    states, labels = last_states(model, examples), torch.tensor([example["labels"] for example in examples])
    sizes = states.pow(2).mean(0).sqrt()
    weight = (model.score.weight.detach() * sizes).requires_grad_()
    loss = torch.nn.functional.cross_entropy(states / sizes @ weight.T, labels) + PENALTY * weight.square().sum()
    loss.backward()
    assert weight.grad is not None and float(weight.grad.abs().max()) < 1e-3
