"""What the method asks of a model: write the next step, or score a step. Every engine speaks these protocols.

Models see token ids only. The ids of a context are the concatenation of the separately encoded prompt and steps, never
the encoding of the joined text: a BPE tokenizer may merge across a step boundary, and then the sweep and the live
decoder would disagree (docs/method.md).
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from arbitrage.errors import UserError

Author = Literal["draft", "target"]
FinishReason = Literal["separator", "eos", "length"]
Ids = tuple[int, ...]


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
    tokens: how many tokens were generated, the end-of-sequence token included; >= 1.
    finish_reason: anything but "separator" ends the solution.
    mean_logprob: mean log-probability of the generated tokens under the model (at temperature 1), <= 0.
    """

    text: str
    tokens: int
    finish_reason: FinishReason
    mean_logprob: float


@dataclass(frozen=True, slots=True)
class AuthoredStep:
    """A step of a history: its text, and the model that wrote it."""

    model: Author
    text: str


class Prompting(Protocol):
    """How a model reads text."""

    def prompt_ids(self, problem: str) -> Ids:
        """Ids of the rendered prompt; exactly one BOS where the tokenizer has one."""

    def step_ids(self, text: str) -> Ids:
        """Ids of one step's text, encoded on its own, without special tokens."""


class Generator(Prompting, Protocol):
    """A model that continues a context by one step."""

    @property
    def identity(self) -> str:
        """Hash of weights, tokenizer, dtype, engine and separator: with one identity go the same steps."""

    def generate(
        self, contexts: Sequence[Ids], limits: Sequence[int], sampling: Sampling = GREEDY
    ) -> list[GeneratedStep]:
        """Continue each context by one step of at most `limits[i]` tokens (>= 1), in the order of the contexts."""


class Scorer(Protocol):
    """A model that judges a step in its context: the PRM, or the router."""

    @property
    def identity(self) -> str:
        """Hash of weights, tokenizer, dtype, engine and input format."""

    def input_ids(self, problem: str, history: Sequence[AuthoredStep], step: AuthoredStep) -> Ids:
        """What the model reads: problem, steps so far, the step to be judged; scored at the last id."""

    def score(self, inputs: Sequence[Ids]) -> list[float]:
        """One number an input: P(step is right) in (0, 1) for a PRM; the routing scalar for a router.

        Raises ScoreError where a score is not finite.
        """


class IncrementalGenerator(Prompting, Protocol):
    """A generator for one question at a time, which keeps its cache between calls (the live decoder's).

    A call keeps the common prefix of the new context and of what it holds, drops the rest, and reads only what is new.
    """

    last_prefill_tokens: int  # ids read before the first new token of the last call
    last_prefill_s: float  # seconds that took

    def generate_one(self, context: Ids, limit: int) -> GeneratedStep:
        """The greedy next step, of at most `limit` tokens; the same text as Generator.generate's."""

    def reset(self) -> None:
        """Forget the cache."""


class IncrementalScorer(Protocol):
    """A scorer for one question at a time, which keeps its cache between calls."""

    last_tokens: int  # ids read in the last call

    def input_ids(self, problem: str, history: Sequence[AuthoredStep], step: AuthoredStep) -> Ids:
        """As Scorer."""

    def score_one(self, ids: Ids) -> float:
        """As Scorer.score, of one input."""

    def reset(self) -> None:
        """Forget the cache."""


class EngineError(UserError, RuntimeError):
    """A model that cannot be loaded or run; the message names the model, what was expected and the remedy."""


class ScoreError(EngineError):
    """A score that is not a finite number."""
