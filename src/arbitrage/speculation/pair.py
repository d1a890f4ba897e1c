"""The models one pair needs, and what they are asked about a node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from arbitrage.config.pipeline import Generation
from arbitrage.config.policies import Need
from arbitrage.config.router import RouterKind
from arbitrage.speculation.policies.base import Policy
from arbitrage.speculation.protocols import (
    ContextMemoryError,
    EngineError,
    Generator,
    Reading,
    Remembering,
    ScalarScorer,
    Scorer,
    StateReading,
)
from arbitrage.speculation.steps import (
    GREEDY,
    AuthoredStep,
    GeneratedStep,
    Logprobs,
    ReadRequest,
    Sampling,
    ScoreRequest,
    State,
    StateRequest,
    StepRequest,
)
from arbitrage.speculation.tree import Bounds, Contexts, Node


@dataclass
class PairModels:
    """Draft and target of a pair, and where a policy needs them PRM and router; routers that read scalars, by kind."""

    draft: Generator
    target: Generator
    prm: Scorer | None
    router: Scorer | None
    generation: Generation
    scalar_routers: Mapping[RouterKind, ScalarScorer] = field(default_factory=dict)
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
        """Raise EngineError where a model that `policy` needs was not loaded, or cannot do what it has it do."""
        for model in policy.needs:
            self.engine(model)
        if missing := missing_router(policy, self.scalar_routers):
            raise EngineError(missing)
        if policy.entry.target_reads:
            self.require_reading(f"policy {policy.name!r}")
        if "states" in policy.entry.reports:
            require_states(f"policy {policy.name!r}", _bare(self.draft), StateReading)

    def require_reading(self, who: str) -> None:
        """Raise EngineError where the target cannot read the draft's steps, as `who` has it do."""
        require_reading(who, _bare(self.target), Reading)

    def step_request(self, model: Need, node: Node, sampling: Sampling = GREEDY) -> StepRequest:
        """The next step of draft or target at a node."""
        return StepRequest(self.contexts[model].ids(node), self.bounds.step_limit(node), sampling)

    def score_request(self, model: Need, node: Node, step: AuthoredStep) -> ScoreRequest:
        """PRM's or router's score of a step at its node."""
        scorer = cast(Scorer, self.engine(model))
        return ScoreRequest(scorer.input_ids(node.question.problem, node.steps, step))


def _bare(generator: Generator) -> object:
    """The engine itself, without the memory in front of it."""
    return generator.engine if isinstance(generator, Remembering) else generator


def missing_router(policy: Policy, scalar_routers: Mapping[RouterKind, ScalarScorer]) -> str | None:
    """What is wrong where `policy` decides by a router that reads scalars and none of its kind was loaded."""
    kind = policy.entry.router
    if not policy.entry.reads_scalars or kind in scalar_routers:
        return None
    return f"policy {policy.name!r} needs a router of kind {kind}; load one (--router), or leave the policy out"


def require_reading(who: str, target: object, ability: type) -> None:
    """Raise EngineError where `target` lacks the `ability` to read steps (`Reading`, `IncrementalReading`).

    who: has it read them: a policy, or a variant of the router.
    """
    if not isinstance(target, ability):
        raise EngineError(
            f"{who} has the target read the draft's steps, which {type(target).__name__} cannot; run the target with "
            "engine transformers or vllm, or leave the policy or variant out"
        )


def require_states(who: str, draft: object, ability: type) -> None:
    """Raise EngineError where `draft` lacks the `ability` to give hidden states (`StateReading`, or incrementally).

    who: reads them: a policy, or a stage.
    """
    if not isinstance(draft, ability):
        raise EngineError(
            f"{who} reads the draft's hidden states, which {type(draft).__name__} does not give; run the draft with "
            "engine transformers, or leave the policy or variant out"
        )


def answers(
    engine: Generator | Scorer, requests: Sequence[StepRequest | ScoreRequest | ReadRequest | StateRequest]
) -> list[GeneratedStep | float | Logprobs | State]:
    """What a synchronous engine answers to requests, in their order.

    Those of one sampling are one call, and so are readings and states, after which their steps may go on.
    """
    if isinstance(requests[0], ScoreRequest):
        return list(cast(Scorer, engine).score([request.ids for request in requests]))
    results: dict[int, GeneratedStep | float | Logprobs | State] = {}
    states = {row: request for row, request in enumerate(requests) if isinstance(request, StateRequest)}
    if states:
        inputs = [request.ids for request in states.values()]
        results |= zip(states, cast(StateReading, engine).states(inputs), strict=True)
    reads = {row: request for row, request in enumerate(requests) if isinstance(request, ReadRequest)}
    if reads:
        ids, starts = zip(*reads.values(), strict=True)
        results |= zip(reads, cast(Reading, engine).read(ids, starts), strict=True)
    steps = {row: request for row, request in enumerate(requests) if isinstance(request, StepRequest)}
    for sampling in dict.fromkeys(request.sampling for request in steps.values()):
        rows = [row for row, request in steps.items() if request.sampling == sampling]
        contexts, limits = [steps[row].ids for row in rows], [steps[row].limit for row in rows]
        results |= zip(rows, cast(Generator, engine).generate(contexts, limits, sampling), strict=True)
    return [results[row] for row in range(len(requests))]


def answers_or_errors(
    engine: Generator | Scorer, requests: Sequence[StepRequest | ScoreRequest | ReadRequest | StateRequest]
) -> list[GeneratedStep | float | Logprobs | State | ContextMemoryError]:
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
