"""The models one pair needs, and the questions they are asked about a node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from arbitrage.config.pipeline import Generation
from arbitrage.speculation.protocols import GREEDY, AuthoredStep, GeneratedStep, Generator, Sampling, Scorer
from arbitrage.speculation.tree import Bounds, Contexts, Node


@dataclass
class Cast:
    """Draft, target, PRM and (where the router policy is asked for) router of a pair."""

    draft: Generator
    target: Generator
    prm: Scorer
    router: Scorer | None
    generation: Generation
    draft_contexts: Contexts = field(init=False)
    target_contexts: Contexts = field(init=False)
    bounds: Bounds = field(init=False)

    def __post_init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Drop the contexts built so far; between chunks, so that memory stays flat."""
        self.draft_contexts, self.target_contexts = Contexts(self.draft), Contexts(self.target)
        self.bounds = Bounds(self.generation, self.draft_contexts)

    def draft_steps(self, nodes: Sequence[Node]) -> list[GeneratedStep]:
        """The draft's next step at each node, greedy."""
        contexts = [self.draft_contexts.ids(node) for node in nodes]
        return self.draft.generate(contexts, [self.bounds.step_limit(node) for node in nodes])

    def target_steps(self, nodes: Sequence[Node], sampling: Sampling = GREEDY) -> list[GeneratedStep]:
        """The target's next step at each node."""
        contexts = [self.target_contexts.ids(node) for node in nodes]
        return self.target.generate(contexts, [self.bounds.step_limit(node) for node in nodes], sampling)

    def prm_scores(self, nodes: Sequence[Node], steps: Sequence[AuthoredStep]) -> list[float]:
        """The PRM's score of each step at its node, in (0, 1)."""
        return self._score(self.prm, nodes, steps)

    def router_scores(self, nodes: Sequence[Node], steps: Sequence[AuthoredStep]) -> list[float]:
        """The router's scalar for each draft step at its node, in (0, 1)."""
        assert self.router is not None, "this cast was loaded without a router"
        return self._score(self.router, nodes, steps)

    @staticmethod
    def _score(scorer: Scorer, nodes: Sequence[Node], steps: Sequence[AuthoredStep]) -> list[float]:
        inputs = [
            scorer.input_ids(node.question.problem, node.steps, step) for node, step in zip(nodes, steps, strict=True)
        ]
        return scorer.score(inputs)
