"""What passes between the method and its engines: token ids, steps, and what is asked.

Models see token ids only. The ids of a context are the concatenation of the separately encoded prompt and steps, never
the encoding of the joined text: a BPE tokenizer may merge across a step boundary, and then the sweep and the live
decoder would disagree (docs/method.md).
"""

from __future__ import annotations

import hashlib
import math
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Literal, NamedTuple

Author = Literal["draft", "target"]
FinishReason = Literal["separator", "eos", "length"]
Ids = tuple[int, ...]
Logprobs = tuple[float, ...]
State = tuple[float, ...]  # a hidden state, as wide as the model is


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a step is decoded: greedy at temperature 0; otherwise sampled, with a seed of its own per context."""

    temperature: float = 0.0
    seed: int = 0
    sample: int = 0

    def seed_of(self, context: Ids) -> int:
        """63 bits for one context and sample: the same whatever is decoded beside it."""
        name = f"{self.seed}:{self.sample}:".encode() + array("q", context).tobytes()
        return int.from_bytes(hashlib.sha256(name).digest()[:8], "big") >> 1


GREEDY = Sampling()


@dataclass(frozen=True, slots=True)
class GeneratedStep:
    """One step as a model wrote it.

    text: up to and including the separator; without the separator where it ended by `eos` or `length`.
    finish_reason: anything but "separator" ends the solution.
    logprobs: natural log-probability of each generated token, the end-of-sequence token included, under the model at
    temperature 1, in float32; >= 1 of them.
    entropies: of each token's distribution at temperature 1, in nats, in float32. A lower bound where the engine knows
    only the most likely tokens (`lumped_entropy`); None where it reports none.
    """

    text: str
    finish_reason: FinishReason
    logprobs: tuple[float, ...]
    entropies: tuple[float, ...] | None = None

    @property
    def tokens(self) -> int:
        """How many tokens were generated, the end-of-sequence token included; >= 1."""
        return len(self.logprobs)

    @property
    def mean_logprob(self) -> float:
        """Mean log-probability of the tokens, <= 0."""
        return min(reduce(add, self.logprobs, 0.0) / len(self.logprobs), 0.0)


def lumped_entropy(logprobs: Iterable[float]) -> float:
    """Entropy in nats of a distribution known by the log-probabilities of some of its outcomes.

    The rest counts as one outcome, which makes this a lower bound: 0 <= it <= the distribution's entropy.
    """
    shares = [math.exp(logprob) for logprob in logprobs]
    rest = max(0.0, 1.0 - sum(shares))
    return max(0.0, -sum(share * math.log(share) for share in (*shares, rest) if share > 0.0))


class StepRequest(NamedTuple):
    """What a generator is asked: continue `ids` by one step of at most `limit` tokens."""

    ids: Ids
    limit: int
    sampling: Sampling = GREEDY


class ScoreRequest(NamedTuple):
    """What a scorer is asked."""

    ids: Ids


class ReadRequest(NamedTuple):
    """What a reading generator is asked: the log-probability of each of `ids` from index `start` (>= 1) on."""

    ids: Ids
    start: int


class StateRequest(NamedTuple):
    """What a generator is asked that gives hidden states: the one after the last of `ids`."""

    ids: Ids


@dataclass(frozen=True, slots=True)
class AuthoredStep:
    """A step of a history: its text, and the model that wrote it."""

    model: Author
    text: str


@dataclass(frozen=True, slots=True)
class CheckedStep:
    """A step, or a whole solution, by token-level speculative decoding, and what the draft had to do for it."""

    step: GeneratedStep
    proposed: int  # tokens the draft wrote
    proposing_s: float  # seconds that took
