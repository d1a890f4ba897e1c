"""What a client is told: a solution as OpenAI's chat completion, whole or step by step.

The key `arbitrage` holds what OpenAI's objects have no place for; docs/server.md lists it.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from arbitrage.server.chat import Offer
from arbitrage.speculation.algorithm1 import Visit
from arbitrage.speculation.policies.base import Policy
from arbitrage.speculation.steps import Author

AUTHORS: tuple[Author, ...] = ("draft", "target")
Json = dict[str, Any]


@dataclass
class Reply:
    """A reply in the making: the decisions so far, and what stands around them."""

    offer: Offer
    policy: Policy
    threshold: float | None
    prompt_tokens: int
    visits: list[Visit] = field(default_factory=list)
    name: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))
    _start: float = field(default_factory=time.perf_counter)

    def add(self, visit: Visit) -> Json:
        """One more decision; the chunk that tells it."""
        self.visits.append(visit)
        delta = {"content": visit.chosen.text} | ({"role": "assistant"} if len(self.visits) == 1 else {})
        return self._chunk(delta, None) | {"arbitrage": {"step": self._step(visit)}}

    @property
    def whole(self) -> Json:
        """The reply in one piece."""
        text = "".join(visit.chosen.text for visit in self.visits)
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": self._finish_reason, "logprobs": None}
        steps = {"steps": [self._step(visit) for visit in self.visits]}
        own = {"usage": self.usage, "arbitrage": self._summary | steps}
        return self._head("chat.completion") | {"choices": [choice]} | own

    @property
    def last_chunk(self) -> Json:
        """The chunk that ends the stream's text."""
        return self._chunk({}, self._finish_reason) | {"arbitrage": self._summary}

    @property
    def usage_chunk(self) -> Json:
        """The chunk with the usage, for those who ask for it."""
        return self._head("chat.completion.chunk") | {"choices": [], "usage": self.usage}

    @property
    def usage(self) -> Json:
        """Tokens: of the prompt in the draft's tokenizer, of the solution as its authors wrote it, and by model."""
        written = {author: [step.tokens for visit in self.visits if (step := _by(visit, author))] for author in AUTHORS}
        kept = {
            author: sum(visit.chosen.tokens for visit in self.visits if visit.author == author) for author in AUTHORS
        }
        completion = sum(kept.values())
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion,
            "total_tokens": self.prompt_tokens + completion,
            "by_model": {author: {"written": sum(written[author]), "kept": kept[author]} for author in AUTHORS},
        }

    @property
    def _finish_reason(self) -> str:
        return "stop" if self.visits[-1].chosen.finish_reason == "eos" else "length"

    @property
    def _summary(self) -> Json:
        accepted = sum(visit.author == "draft" for visit in self.visits)
        return {
            "policy": self.policy.name,
            "threshold": self.threshold,
            "acceptance": accepted / len(self.visits),
            "seconds": round(time.perf_counter() - self._start, 4),
        }

    def _step(self, visit: Visit) -> Json:
        return {
            "author": visit.author,
            "decision": "escalate" if visit.escalated else "accept",
            "score": visit.policy_score,
            "threshold": self.threshold,
            "tokens": visit.chosen.tokens,
            "text": visit.chosen.text,
        }

    def _chunk(self, delta: Json, finish_reason: str | None) -> Json:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
        return self._head("chat.completion.chunk") | {"choices": [choice]}

    def _head(self, kind: str) -> Json:
        return {
            "id": self.name,
            "object": kind,
            "created": self.created,
            "model": self.offer.model,
            "system_fingerprint": self.offer.fingerprint,
        }


def _by(visit: Visit, author: Author) -> Any:
    return visit.draft if author == "draft" else visit.target
