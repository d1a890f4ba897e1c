"""What is asked of a model, call by call and question by question, and how long each call takes.

A recorder stands between the step store and the model, so that it sees only what the store had to ask for.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from arbitrage.speculation.protocols import GREEDY, AuthoredStep, GeneratedStep, Generator, Ids, Sampling, Scorer


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a model: for each input its problem and its units (tokens generated, or 1 a score); seconds."""

    problems: list[str]
    units: list[int]
    seconds: float


class RecordedGenerator:
    """`generator` with its calls written down (`protocols.Generator`)."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        self.calls: list[Call] = []
        self._problems: dict[Ids, str] = {}  # by the ids of the prompt

    @property
    def identity(self) -> str:
        return self.generator.identity

    def prompt_ids(self, problem: str) -> Ids:
        ids = self.generator.prompt_ids(problem)
        self._problems[ids] = problem
        return ids

    def step_ids(self, text: str) -> Ids:
        return self.generator.step_ids(text)

    def generate(
        self, contexts: Sequence[Ids], limits: Sequence[int], sampling: Sampling = GREEDY
    ) -> list[GeneratedStep]:
        begin = time.perf_counter()
        steps = self.generator.generate(contexts, limits, sampling)
        seconds = time.perf_counter() - begin
        self.calls.append(Call([self._problem(ids) for ids in contexts], [step.tokens for step in steps], seconds))
        return steps

    def _problem(self, context: Ids) -> str:
        """The problem whose prompt `context` begins with; of two that do, the longer."""
        lengths = sorted({len(ids) for ids in self._problems}, reverse=True)
        return next(self._problems[context[:n]] for n in lengths if context[:n] in self._problems)


class RecordedScorer:
    """`scorer` with its calls written down (`protocols.Scorer`)."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
        self.calls: list[Call] = []
        self._problems: dict[Ids, str] = {}  # by the input

    @property
    def identity(self) -> str:
        return self.scorer.identity

    def input_ids(self, problem: str, history: Sequence[AuthoredStep], step: AuthoredStep) -> Ids:
        ids = self.scorer.input_ids(problem, history, step)
        self._problems[ids] = problem
        return ids

    def score(self, inputs: Sequence[Ids]) -> list[float]:
        begin = time.perf_counter()
        scores = self.scorer.score(inputs)
        seconds = time.perf_counter() - begin
        self.calls.append(Call([self._problems[ids] for ids in inputs], [1] * len(inputs), seconds))
        return scores
