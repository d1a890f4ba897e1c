"""The live decoder (paper, Algorithm 1): one question, batch 1, no look-ahead, nothing kept but the models' caches.

Draft, target, PRM and router each keep their key-value cache across steps: a call with new ids keeps the common prefix,
drops the rest (a rejected step) and reads only what is new. So the target catches up on accepted steps only when it is
asked, in one pass. Latency is measured with it; its text equals the sweep's trajectory at the same threshold.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import cast

from arbitrage.config.pipeline import Generation
from arbitrage.config.router import RouterKind
from arbitrage.speculation.algorithm1 import Trajectory, algorithm1
from arbitrage.speculation.decision import Interval
from arbitrage.speculation.pair import missing_router, require_reading
from arbitrage.speculation.policies.base import Policy
from arbitrage.speculation.protocols import (
    Author,
    AuthoredStep,
    EngineError,
    GeneratedStep,
    IncrementalGenerator,
    IncrementalReading,
    IncrementalScorer,
    Logprobs,
    ScalarScorer,
)
from arbitrage.speculation.scalars import Signals, scalar_score
from arbitrage.speculation.tree import Bounds, Contexts, Node, Question


@dataclass(slots=True)
class Costs:
    """Seconds and counts of one solution, or of one step of it.

    score: by PRM and router, or by the target where it reads the draft's step to decide. A router that reads scalars
    counts as one call where no model was called for it, and reads no tokens. catch_up: what the target reads before it
    writes.
    """

    draft_s: float = 0.0
    score_s: float = 0.0
    target_s: float = 0.0
    catch_up_s: float = 0.0
    draft_tokens: int = 0
    target_tokens: int = 0
    catch_up_tokens: int = 0
    score_calls: int = 0
    score_tokens: int = 0

    def add(self, other: Costs) -> None:
        """Add another step's costs to these."""
        for cost in fields(self):
            setattr(self, cost.name, getattr(self, cost.name) + getattr(other, cost.name))


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

    def solve(self, question: Question, policy: Policy, threshold: float | None) -> LiveSolution:
        """Decode to the end. Caches are empty at the start, so that every question pays for its own prompt."""
        start = time.perf_counter()
        steps = list(self.stream(question, policy, threshold))
        solution = LiveSolution(steps, time.perf_counter() - start)
        for step in steps:
            solution.costs.add(step.costs)
        return solution

    def stream(self, question: Question, policy: Policy, threshold: float | None) -> Iterator[LiveStep]:
        """The same, one decided step at a time, as soon as it is decided.

        Raises ValueError where the policy needs a threshold and none is given, or a model that is not there, and
        EngineError where the prompt fills a model's context, or the target cannot read as the policy has it read.
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
            reached.append(LiveHere(self, contexts, bounds, trajectory))
            return reached[-1]

        def fork(other: Trajectory) -> None:
            raise AssertionError("one threshold is never split")

        start = Trajectory(policy, Interval.at(threshold), Node(question))
        for trajectory in _at_once(algorithm1(start, bounds, at, fork)):
            visit = trajectory.visits[-1]
            yield LiveStep(visit.draft, visit.target, visit.policy_score, visit.author, reached[-1].costs)


class LiveHere:
    """A node as policies see it in live decoding (`policies.base.Here`): what is awaited is done on the spot, once."""

    def __init__(
        self, decoder: LiveDecoder, contexts: dict[Author, Contexts], bounds: Bounds, trajectory: Trajectory
    ) -> None:
        self.node, self.seed, self.costs = trajectory.node, decoder.seed, Costs()
        self._decoder, self._contexts, self._limit = decoder, contexts, bounds.step_limit(trajectory.node)
        self._trajectory = trajectory
        self._steps: dict[Author, GeneratedStep] = {}
        self._scores: dict[str, float] = {}  # by the text that is read: the same text has one score

    async def draft(self) -> GeneratedStep:
        """The draft's step here, greedy."""
        if "draft" not in self._steps:
            start = time.perf_counter()
            step = self._decoder.draft.generate_one(self._contexts["draft"].ids(self.node), self._limit)
            self.costs.draft_s += time.perf_counter() - start
            self.costs.draft_tokens += step.tokens
            self._steps["draft"] = step
        return self._steps["draft"]

    async def target(self) -> GeneratedStep:
        """The target's step here, greedy."""
        if "target" not in self._steps:
            target, costs = self._decoder.target, self.costs
            start = time.perf_counter()
            step = target.generate_one(self._contexts["target"].ids(self.node), self._limit)
            costs.target_s += time.perf_counter() - start - target.last_prefill_s
            costs.catch_up_s += target.last_prefill_s
            costs.catch_up_tokens += target.last_prefill_tokens
            costs.target_tokens += step.tokens
            self._steps["target"] = step
        return self._steps["target"]

    async def target_logprobs(self) -> Logprobs:
        """The target's log-probability of each token of the draft's step here; its cache holds the step from now on."""
        request = self._contexts["target"].reading(self.node, await self.draft())
        if request.start == len(request.ids):
            return ()
        target = cast(IncrementalReading, self._decoder.target)
        start = time.perf_counter()
        logprobs = target.read_one(request.ids, request.start)
        self._charge(start, target.last_prefill_tokens)
        return logprobs

    async def prm_scores(self, *authors: Author) -> list[float]:
        """The PRM's score of each author's step here."""
        steps = [await (self.draft() if author == "draft" else self.target()) for author in authors]
        return [self._score(author, step.text) for author, step in zip(authors, steps, strict=True)]

    async def router_score(self) -> float:
        """The router's scalar for the draft's step here."""
        assert self._decoder.router is not None
        return self._read(self._decoder.router, AuthoredStep("draft", (await self.draft()).text))

    async def scalar_score(self, kind: RouterKind, signals: Signals) -> float:
        """The number of the router of this kind, which reads scalars."""
        draft = await self.draft()
        start = time.perf_counter()
        so_far = self._contexts["draft"].tokens_so_far(self.node)
        router = self._decoder.scalar_routers[kind]
        score = scalar_score(router, draft, self._trajectory.earlier, so_far, signals)
        self.costs.score_s += time.perf_counter() - start
        self.costs.score_calls = max(self.costs.score_calls, 1)
        return score

    def _score(self, author: Author, text: str) -> float:
        # The PRM does not read the separator that closes a step; reading one text twice could differ in the last bit.
        read = text.removesuffix(self._decoder.generation.separator)
        if read not in self._scores:
            assert self._decoder.prm is not None
            self._scores[read] = self._read(self._decoder.prm, AuthoredStep(author, text))
        return self._scores[read]

    def _read(self, scorer: IncrementalScorer, step: AuthoredStep) -> float:
        start = time.perf_counter()
        score = scorer.score_one(scorer.input_ids(self.node.question.problem, self.node.steps, step))
        self._charge(start, scorer.last_tokens)
        return score

    def _charge(self, start: float, tokens: int) -> None:
        self.costs.score_s += time.perf_counter() - start
        self.costs.score_calls += 1
        self.costs.score_tokens += tokens


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
