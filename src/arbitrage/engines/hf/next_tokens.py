"""The choice of tokens: the next one of each context of a batch, from its logits, greedy or sampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from arbitrage.engines.step_boundary import StepWriter
from arbitrage.speculation.steps import Ids, Sampling


@dataclass
class Job:
    """A context, and the step in the making that continues it."""

    context: Ids
    writer: StepWriter
    sampling: Sampling

    @property
    def uniform(self) -> float:
        """The random number of the next token, the same whatever is decoded beside it."""
        return self._uniforms[min(len(self.writer.ids), self.writer.limit - 1)]

    @cached_property
    def _uniforms(self) -> list[float]:
        generator = torch.Generator().manual_seed(self.sampling.seed_of(self.context))
        return torch.rand(self.writer.limit, generator=generator, dtype=torch.float64).tolist()


def choose(logits: Tensor, temperature: float, uniforms: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """The next token of each row of `logits` [rows, vocabulary], its log-probability, and the entropy in nats.

    The last two are of the distribution at temperature 1, in fp32. uniforms: one number in [0, 1) a row for sampling by
    inversion; None for the most likely token.
    """
    logits = logits.float()
    logprobs = logits.log_softmax(dim=-1)
    entropies = (logprobs.exp() * -logprobs).nansum(dim=-1)  # 0 * inf counts 0
    if uniforms is None:
        return logits.argmax(dim=-1), logprobs.amax(dim=-1), entropies
    cumulative = (logits.double() / temperature).softmax(dim=-1).cumsum(dim=-1)
    at = uniforms.to(logits.device)[:, None] * cumulative[:, -1:]
    tokens = torch.searchsorted(cumulative, at, right=True)[:, 0].clamp(max=logits.shape[-1] - 1)
    return tokens, logprobs.gather(1, tokens[:, None])[:, 0], entropies


def next_tokens(output: Tensor, rows: Sequence[Job]) -> Tensor:
    """The next token [rows] after each row of `output`, handed to the writers that have not ended."""
    uniforms = None
    if rows[0].sampling.temperature > 0:
        uniforms = torch.tensor([job.uniform for job in rows], dtype=torch.float64)
    tokens, *reported = choose(output, rows[0].sampling.temperature, uniforms)
    logprobs, entropies = torch.stack(reported).tolist()
    for job, token, logprob, entropy in zip(rows, tokens.tolist(), logprobs, entropies, strict=True):
        if not job.writer.ended:
            job.writer.push(token, logprob, entropy)
    return tokens
