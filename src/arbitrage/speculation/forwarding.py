"""Bases of engines that stand in front of another one and change only part of what it does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from arbitrage.speculation.protocols import Generator, Prompting, Scorer
from arbitrage.speculation.steps import GREEDY, AuthoredStep, GeneratedStep, Ids, Sampling


class _Reading(Protocol):
    def input_ids(self, problem: str, history: Sequence[AuthoredStep], step: AuthoredStep) -> Ids: ...


Prompted = TypeVar("Prompted", bound=Prompting)
Generating = TypeVar("Generating", bound=Generator)
Read = TypeVar("Read", bound=_Reading)
Scoring = TypeVar("Scoring", bound=Scorer)


class ForwardingPrompter(Generic[Prompted]):
    """Reads text as `generator` does (`protocols.Prompting`)."""

    def __init__(self, generator: Prompted) -> None:
        self.generator = generator

    @property
    def max_context(self) -> int:
        """The longest context, in ids."""
        return self.generator.max_context

    def prompt_ids(self, problem: str) -> Ids:
        """Ids of the rendered prompt."""
        return self.generator.prompt_ids(problem)

    def step_ids(self, text: str) -> Ids:
        """Ids of one step's text."""
        return self.generator.step_ids(text)


class ForwardingGenerator(ForwardingPrompter[Generating]):
    """Does what `generator` does (`protocols.Generator`)."""

    @property
    def identity(self) -> str:
        """The generator's own."""
        return self.generator.identity

    def generate(
        self, contexts: Sequence[Ids], limits: Sequence[int], sampling: Sampling = GREEDY
    ) -> list[GeneratedStep]:
        """As the generator."""
        return self.generator.generate(contexts, limits, sampling)


class ForwardingReader(Generic[Read]):
    """Reads steps as `scorer` does."""

    def __init__(self, scorer: Read) -> None:
        self.scorer = scorer

    def input_ids(self, problem: str, history: Sequence[AuthoredStep], step: AuthoredStep) -> Ids:
        """What the model reads."""
        return self.scorer.input_ids(problem, history, step)


class ForwardingScorer(ForwardingReader[Scoring]):
    """Does what `scorer` does (`protocols.Scorer`)."""

    @property
    def identity(self) -> str:
        """The scorer's own."""
        return self.scorer.identity

    def score(self, inputs: Sequence[Ids]) -> list[float]:
        """As the scorer."""
        return self.scorer.score(inputs)
