"""What a policy is: a score on a node, computed from what it awaits there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Protocol

from arbitrage.config.policies import POLICIES, Need, PolicyEntry
from arbitrage.config.router import RouterKind
from arbitrage.speculation.scalars import Signals
from arbitrage.speculation.steps import Author, GeneratedStep, Logprobs, State
from arbitrage.speculation.tree import Node


class Here(Protocol):
    """A node, as a policy sees it: what it awaits here is computed once, whoever asks.

    seed: the study's, for policies that draw numbers.
    """

    @property
    def node(self) -> Node: ...

    @property
    def seed(self) -> int: ...

    async def draft(self) -> GeneratedStep:
        """The draft's step here, greedy."""

    async def target(self) -> GeneratedStep:
        """The target's step here, greedy."""

    async def target_logprobs(self) -> Logprobs:
        """The target's log-probability of each token of the draft's step here, of its end too where it ends by `eos`.

        Tokens are the target's; natural logarithms, <= 0; none where the step has no token.
        """

    async def draft_state(self) -> State:
        """The draft's hidden state after its step here: of the last layer, at the last token of the step's text."""

    async def prm_scores(self, *authors: Author) -> list[float]:
        """The PRM's score of each author's step here, in (0, 1). Equal texts have one score."""

    async def router_score(self) -> float:
        """The router's scalar for the draft's step here, in (0, 1)."""

    async def scalar_score(self, kind: RouterKind, signals: Signals) -> float:
        """The same of the router of this kind, which reads scalars: the node's own and `signals`; in (0, 1)."""


class Policy(ABC):
    """What decides at a node. Its `entry` says what it needs and on which side of the threshold it escalates."""

    name: ClassVar[str]

    @property
    def entry(self) -> PolicyEntry:
        """What the configuration knows of it."""
        return POLICIES[self.name]

    @property
    def needs(self) -> frozenset[Need]:
        """The models it asks at every node."""
        return self.entry.needs

    @property
    def has_threshold(self) -> bool:
        """Whether a threshold decides."""
        return self.entry.has_threshold

    @property
    def always(self) -> Author | None:
        """Who writes every step, of a policy without a threshold."""
        return self.entry.always

    @property
    def accept_above(self) -> bool:
        """Whether a score above the threshold accepts the draft's step instead of escalating."""
        return self.entry.accept_above

    @abstractmethod
    async def score(self, here: Here) -> float | None:
        """The number that is held against the threshold; None for a policy without one."""

    def from_prm(self, draft_scores: Any, target_scores: Any) -> Any:
        """The same scores from columns of sd and st, where they follow from these alone; else None."""
        return None
