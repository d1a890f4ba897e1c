"""The models one pair needs, and what they are asked about a node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from arbitrage.config.pipeline import Generation
from arbitrage.config.policies import Need
from arbitrage.speculation.policies.base import Policy
from arbitrage.speculation.protocols import (
    GREEDY,
    AuthoredStep,
    ContextMemoryError,
    EngineError,
    GeneratedStep,
    Generator,
    Sampling,
    Scorer,
    ScoreRequest,
    StepRequest,
)
from arbitrage.speculation.tree import Bounds, Contexts, Node


@dataclass
class PairModels:
    """Draft, target, PRM and (where a policy needs it) router of a pair."""

    draft: Generator
    target: Generator
    prm: Scorer
    router: Scorer | None
    generation: Generation
    contexts: dict[Need, Contexts] = field(init=False)
    bounds: Bounds = field(init=False)

    def __post_init__(self) -> None:
        self.contexts = {"draft": Contexts(self.draft), "target": Contexts(self.target)}
        self.bounds = Bounds(self.generation, self.contexts["draft"], self.contexts["target"])

    def forget(self, question_id: str | None = None) -> None:
        """Drop the contexts built so far, of one question or of all, so that memory stays flat."""
        for contexts in self.contexts.values():
            contexts.forget(question_id)

    def engine(self, model: Need) -> Generator | Scorer:
        """The engine of a model. Raises EngineError where it was not loaded."""
        engine: Generator | Scorer | None = getattr(self, model)
        if engine is None:
            raise EngineError(f"this pair was loaded without a {model}; load one, or leave out what needs it")
        return engine

    def require(self, policy: Policy) -> None:
        """Raise EngineError where a model that `policy` needs was not loaded."""
        for model in policy.needs:
            self.engine(model)

    def step_request(self, model: Need, node: Node, sampling: Sampling = GREEDY) -> StepRequest:
        """The next step of draft or target at a node."""
        return StepRequest(self.contexts[model].ids(node), self.bounds.step_limit(node), sampling)

    def score_request(self, model: Need, node: Node, step: AuthoredStep) -> ScoreRequest:
        """PRM's or router's score of a step at its node."""
        scorer = cast(Scorer, self.engine(model))
        return ScoreRequest(scorer.input_ids(node.question.problem, node.steps, step))


def answers(engine: Generator | Scorer, requests: Sequence[StepRequest | ScoreRequest]) -> list[GeneratedStep | float]:
    """What a synchronous engine answers to requests, in their order; those of one sampling are one call."""
    if isinstance(requests[0], ScoreRequest):
        return list(cast(Scorer, engine).score([request.ids for request in requests]))
    results: dict[int, GeneratedStep | float] = {}
    steps = cast(Sequence[StepRequest], requests)
    for sampling in dict.fromkeys(request.sampling for request in steps):
        rows = [row for row, request in enumerate(steps) if request.sampling == sampling]
        contexts, limits = [steps[row].ids for row in rows], [steps[row].limit for row in rows]
        results |= zip(rows, cast(Generator, engine).generate(contexts, limits, sampling), strict=True)
    return [results[row] for row in range(len(steps))]


def answers_or_errors(
    engine: Generator | Scorer, requests: Sequence[StepRequest | ScoreRequest]
) -> list[GeneratedStep | float | ContextMemoryError]:
    """As `answers`, with the error in place of the answer where a context alone takes more memory than there is."""
    if not requests:
        return []
    try:
        return [*answers(engine, requests)]
    except ContextMemoryError as error:
        rest = [request for request in requests if request.ids not in error.contexts]
        if len(rest) == len(requests):
            raise
        others = iter(answers_or_errors(engine, rest))
        return [error if request.ids in error.contexts else next(others) for request in requests]
