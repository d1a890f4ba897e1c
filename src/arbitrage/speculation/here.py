"""A node as policies see it where a scheduler answers: what is awaited here becomes requests."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from arbitrage.config.policies import Need
from arbitrage.config.router import RouterKind
from arbitrage.speculation.algorithm1 import Trajectory
from arbitrage.speculation.scalars import Signals, scalar_score
from arbitrage.speculation.scheduling import DRAFT, PRM, PRM_OF_TARGET, READING, ROUTER, STATE, TARGET, Asking, Request
from arbitrage.speculation.steps import (
    GREEDY,
    Author,
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


class ScheduledHere:
    """The node that `trajectory` has reached (`policies.base.Here`).

    What its policy needs at every node is asked for at once, so that draft and target write side by side.
    """

    def __init__(self, trajectory: Trajectory, scheduler: Asking, seed: int) -> None:
        self.node, self.seed = trajectory.node, seed
        self._trajectory, self._scheduler = trajectory, scheduler
        self._prm_turn = PRM_OF_TARGET if "target" in trajectory.policy.needs else PRM
        self._steps: dict[Author, Awaitable[GeneratedStep]] = {}
        self._scores: dict[ScoreRequest, Awaitable[float]] = {}  # equal texts are one request
        for author in ("draft", "target"):
            if author in trajectory.policy.needs:
                self._step(author)

    @property
    def tokens_so_far(self) -> int:
        """Tokens of the steps so far, in the draft's tokenizer."""
        return self._scheduler.models.contexts["draft"].tokens_so_far(self.node)

    async def draft(self) -> GeneratedStep:
        """The draft's step here, greedy."""
        return await self._step("draft")

    async def target(self) -> GeneratedStep:
        """The target's step here, greedy."""
        return await self._step("target")

    async def target_logprobs(self) -> Logprobs:
        """The target's log-probability of each token of the draft's step here."""
        request = self._scheduler.models.contexts["target"].reading(self.node, await self.draft())
        if request.start >= len(request.ids):
            return ()
        logprobs: Logprobs = await self._submit("target", request, READING)
        return logprobs

    async def draft_state(self) -> State:
        """The draft's hidden state after its step here."""
        ids = self._scheduler.models.contexts["draft"].with_step(self.node, (await self.draft()).text)
        state: State = await self._submit("draft", StateRequest(ids), STATE)
        return state

    async def prm_scores(self, *authors: Author) -> list[float]:
        """The PRM's score of each author's step here; each is asked for as soon as its step is there."""
        pending = [self._score(author, (await self._step(author)).text) for author in authors]
        return [await score for score in pending]

    async def router_score(self) -> float:
        """The router's scalar for the draft's step here."""
        step = AuthoredStep("draft", (await self._step("draft")).text)
        score: float = await self._submit("router", self._request("router", step), ROUTER)
        return score

    async def scalar_score(self, kind: RouterKind, signals: Signals) -> float:
        """The number of the router of this kind, which reads scalars."""
        router = self._scheduler.models.scalar_routers[kind]
        return scalar_score(router, await self.draft(), self._trajectory.earlier, self.tokens_so_far, signals)

    def _step(self, author: Author) -> Awaitable[GeneratedStep]:
        if author not in self._steps:
            self._steps[author] = self._sampled(author, GREEDY)
        return self._steps[author]

    def _sampled(self, author: Author, sampling: Sampling) -> Awaitable[GeneratedStep]:
        request = self._scheduler.models.step_request(author, self.node, sampling)
        return self._submit(author, request, DRAFT if author == "draft" else TARGET, sampling.sample)

    def _score(self, author: Author, text: str, sample: int = 0) -> Awaitable[float]:
        request = self._request("prm", AuthoredStep(author, text))
        if request not in self._scores:
            rank = 0 if author == "draft" else 1 + sample
            self._scores[request] = self._submit("prm", request, self._prm_turn, rank=rank)
        return self._scores[request]

    def _request(self, model: Need, step: AuthoredStep) -> ScoreRequest:
        return self._scheduler.models.score_request(model, self.node, step)

    def _submit(
        self,
        model: Need,
        payload: StepRequest | ScoreRequest | ReadRequest | StateRequest,
        position: int,
        sample: int = 0,
        rank: int = 0,
    ) -> Awaitable[Any]:
        turn = (len(self.node.steps), position, sample)
        question_id, order = self.node.question.question_id, self._trajectory.order
        return self._scheduler.submit(Request(model, payload, question_id, turn, rank, order))
