from __future__ import annotations

import torch

from arbitrage.engines.hf.next_tokens import choose


def test_sampling_draws_tokens_as_often_as_the_softmax_says() -> None:
    logits = torch.tensor([[0.0, 1.0, -float("inf"), 2.0]])
    uniforms = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    tokens, logprobs, _ = choose(logits.expand(4000, 4), 0.5, uniforms)
    shares = torch.bincount(tokens, minlength=4) / 4000
    assert torch.allclose(shares, (logits[0] / 0.5).softmax(-1), atol=1e-3)
    assert torch.allclose(logprobs, logits[0].log_softmax(-1)[tokens])  # at temperature 1, whatever the sampling
