"""A node in live decoding: what is awaited is done on the spot, once, and charged."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, cast

from arbitrage.config.router import RouterKind
from arbitrage.speculation.algorithm1 import Trajectory
from arbitrage.speculation.protocols import (
    IncrementalReading,
    IncrementalScorer,
    IncrementalStateReading,
    TokenSpeculation,
)
from arbitrage.speculation.scalars import Signals, scalar_score
from arbitrage.speculation.steps import Author, AuthoredStep, GeneratedStep, Logprobs, State
from arbitrage.speculation.tree import Bounds, Contexts

if TYPE_CHECKING:
    from arbitrage.speculation.decoder import LiveDecoder


@dataclass(slots=True)
class Costs:
    """Seconds and counts of one solution, or of one step of it.

    score: by PRM and router, or by target or draft where it reads the draft's step to decide. A router that
    reads scalars counts as one call where no model was called for it, and reads no tokens. catch_up: what the target
    reads before it writes.
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


class LiveHere:
    """A node as policies see it in live decoding (`policies.base.Here`): what is awaited is done on the spot, once."""

    def __init__(
        self,
        decoder: LiveDecoder,
        contexts: dict[Author, Contexts],
        bounds: Bounds,
        trajectory: Trajectory,
        checking: TokenSpeculation | None,
        speculative_tokens: int,
    ) -> None:
        self.node, self.seed, self.costs = trajectory.node, decoder.seed, Costs()
        self._decoder, self._contexts, self._limit = decoder, contexts, bounds.step_limit(trajectory.node)
        self._trajectory = trajectory
        self._checking, self._speculative_tokens = checking, speculative_tokens
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
        if "target" not in self._steps and self._checking is not None:
            self._steps["target"] = self._checked(self._checking)
        elif "target" not in self._steps:
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

    async def draft_state(self) -> State:
        """The draft's hidden state after its step here; it goes on from there, if the step is accepted."""
        ids = self._contexts["draft"].with_step(self.node, (await self.draft()).text)
        draft = cast(IncrementalStateReading, self._decoder.draft)
        start = time.perf_counter()
        state = draft.state_one(ids)
        self._charge(start, draft.last_prefill_tokens)
        return state

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

    def _checked(self, target: TokenSpeculation) -> GeneratedStep:
        """The target's step here, by token-level speculative decoding; catching up is part of its time."""
        contexts, costs = self._contexts["target"], self.costs
        rejected = self._decoder.target.step_ids(self._steps["draft"].text) if "draft" in self._steps else ()
        start = time.perf_counter()
        checked = target.check_one(
            self._decoder.draft, contexts.ids(self.node), self._limit, self._speculative_tokens, rejected
        )
        costs.target_s += time.perf_counter() - start - checked.proposing_s
        costs.draft_s += checked.proposing_s
        costs.draft_tokens += checked.proposed
        costs.target_tokens += checked.step.tokens
        return checked.step

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
