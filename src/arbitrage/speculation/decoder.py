"""The live decoder (paper, Algorithm 1): one question, batch 1, no look-ahead, nothing kept but the models' caches.

Draft, target, PRM and router each keep their key-value cache across steps: a call with new ids keeps the common prefix,
drops the rest (a rejected step) and reads only what is new. So the target catches up on accepted steps only when it is
asked, in one pass. Latency is measured with it; its text equals the sweep's trajectory at the same threshold.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

from arbitrage.config.pipeline import Generation
from arbitrage.config.router import RouterKind
from arbitrage.speculation.algorithm1 import Trajectory, algorithm1
from arbitrage.speculation.decision import Interval
from arbitrage.speculation.live_here import Costs, LiveHere
from arbitrage.speculation.pair import missing_router, require_reading, require_states
from arbitrage.speculation.policies.base import Policy
from arbitrage.speculation.protocols import (
    EngineError,
    IncrementalGenerator,
    IncrementalReading,
    IncrementalScorer,
    IncrementalStateReading,
    ScalarScorer,
    TokenSpeculation,
)
from arbitrage.speculation.steps import Author, GeneratedStep
from arbitrage.speculation.tree import Bounds, Contexts, Node, Question


@dataclass(frozen=True, slots=True)
class LiveStep:
    """One decided step: what was written, what the policy saw, and what it cost."""

    draft: GeneratedStep | None
    target: GeneratedStep | None
    policy_score: float | None
    author: Author
    costs: Costs

    @property
    def chosen(self) -> GeneratedStep:
        """The step that joined the solution."""
        step = self.target if self.author == "target" else self.draft
        assert step is not None
        return step


@dataclass(frozen=True, slots=True)
class LiveSolution:
    """A whole solution with its wall-clock time in seconds, from the question's text to the last step's."""

    steps: list[LiveStep]
    wall_s: float
    costs: Costs = field(default_factory=Costs)

    @property
    def text(self) -> str:
        """The solution."""
        return "".join(step.chosen.text for step in self.steps)


@dataclass
class LiveDecoder:
    """Decodes one question at a time, by Algorithm 1. `prm` and `router` may be None where no policy needs them.

    scalar_routers: those that read scalars, by kind.
    """

    draft: IncrementalGenerator
    target: IncrementalGenerator
    prm: IncrementalScorer | None
    router: IncrementalScorer | None
    generation: Generation
    seed: int
    scalar_routers: Mapping[RouterKind, ScalarScorer] = field(default_factory=dict)

    @property
    def can_check(self) -> bool:
        """Whether the target can check the draft's tokens (token-level speculative decoding)."""
        return isinstance(self.target, TokenSpeculation) and self.target.can_check(self.draft)

    @property
    def checking_target(self) -> TokenSpeculation:
        """The target, which checks the draft's tokens. Raises ValueError where it cannot."""
        if not self.can_check:
            raise ValueError(
                "no token-level speculative decoding with this pair: it needs draft and target of one vocabulary on "
                "one engine, transformers or vllm (there in one dtype); leave speculative tokens out"
            )
        return cast(TokenSpeculation, self.target)

    def solve(
        self, question: Question, policy: Policy, threshold: float | None, speculative_tokens: int = 0
    ) -> LiveSolution:
        """Decode to the end. Caches are empty at the start, so that every question pays for its own prompt."""
        start = time.perf_counter()
        steps = list(self.stream(question, policy, threshold, speculative_tokens))
        solution = LiveSolution(steps, time.perf_counter() - start)
        for step in steps:
            solution.costs.add(step.costs)
        return solution

    def stream(
        self, question: Question, policy: Policy, threshold: float | None, speculative_tokens: int = 0
    ) -> Iterator[LiveStep]:
        """The same, one decided step at a time, as soon as it is decided.

        speculative_tokens: the target writes by token-level speculative decoding, so many tokens a round proposed by
        the draft, at first those of its rejected step; 0: by itself. The text is the same.
        Raises ValueError where the policy needs a threshold and none is given, a model that is not there, or a target
        that checks tokens and cannot, and EngineError where the prompt fills a model's context, or the target cannot
        read, or the draft give hidden states, as the policy has it do.
        """
        if policy.has_threshold and threshold is None:
            raise ValueError(f"policy {policy.name!r} needs a threshold; give one, such as 0.5")
        for model in sorted(policy.needs):
            if getattr(self, model) is None:
                raise ValueError(f"policy {policy.name!r} needs a {model}; load one")
        if missing := missing_router(policy, self.scalar_routers):
            raise ValueError(missing)
        if policy.entry.target_reads:
            require_reading(f"policy {policy.name!r}", self.target, IncrementalReading)
        if "states" in policy.entry.reports:
            require_states(f"policy {policy.name!r}", self.draft, IncrementalStateReading)
        checking = self.checking_target if speculative_tokens else None
        for engine in (self.draft, self.target, self.prm, self.router):
            if engine is not None:
                engine.reset()
        contexts: dict[Author, Contexts] = {"draft": Contexts(self.draft), "target": Contexts(self.target)}
        bounds = Bounds(self.generation, contexts["draft"], contexts["target"])
        if not bounds.fits(question):
            ids = len(contexts["draft"].ids(Node(question)))
            raise EngineError(
                f"question {question.question_id}: its prompt of {ids:,} ids fills a model's context (draft "
                f"{self.draft.max_context:,}, target {self.target.max_context:,} ids); shorten it"
            )
        reached: list[LiveHere] = []

        def at(trajectory: Trajectory) -> LiveHere:
            reached.append(LiveHere(self, contexts, bounds, trajectory, checking, speculative_tokens))
            return reached[-1]

        def fork(other: Trajectory) -> None:
            raise AssertionError("one threshold is never split")

        start = Trajectory(policy, Interval.at(threshold), Node(question))
        for trajectory in _at_once(algorithm1(start, bounds, at, fork)):
            visit = trajectory.visits[-1]
            yield LiveStep(visit.draft, visit.target, visit.policy_score, visit.author, reached[-1].costs)


def _at_once(trajectories: AsyncIterator[Trajectory]) -> Iterator[Trajectory]:
    """What a coroutine yields that never has to wait."""
    while True:
        try:
            anext(trajectories).__await__().__next__()
        except StopIteration as end:
            yield end.value
        except StopAsyncIteration:
            return
        else:
            raise AssertionError("live decoding waits for nothing")
