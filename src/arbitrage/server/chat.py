"""What a client asks: the body of `POST /v1/chat/completions`, and what it means to this server.

Decoding is greedy, its prompt is the study's, and the PRM and the router read one question. What would ask for anything
else is refused rather than passed over; what makes no difference to a greedy solution may be there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, field_validator

from arbitrage.server.errors import ApiError
from arbitrage.speculation.policies.base import Policy


def only(value: Any, why: str) -> Callable[[Any], Any]:
    """A check that a field has the one value that this server can give."""

    def check(given: Any) -> Any:
        if given is not None and given != value:
            raise ValueError(f"{why}; expected {value!r}, or leave it out")
        return given

    return check


GREEDY = "decoding is greedy"
Count = Annotated[int, Field(ge=1)]
Zero = Annotated[float | None, AfterValidator(only(0, GREEDY))]


class TextPart(BaseModel):
    """A part of a message."""

    type: Literal["text"]
    text: str


class Message(BaseModel):
    """One message; what assistants said before is not read, so it may have any content."""

    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[TextPart] | None = None

    @property
    def text(self) -> str:
        """All its text."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content or ())


class StreamOptions(BaseModel):
    """How a streamed reply ends."""

    model_config = ConfigDict(strict=True)

    include_usage: bool = False


class ChatRequest(BaseModel):
    """The body. policy, threshold: this server's own; the rest is OpenAI's. docs/server.md has them in words."""

    model_config = ConfigDict(strict=True, extra="forbid")

    model: str
    messages: Annotated[list[Message], Field(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    policy: str | None = None
    threshold: FiniteFloat | None = None

    n: Annotated[int | None, AfterValidator(only(1, GREEDY))] = None
    temperature: Zero = None
    presence_penalty: Zero = None
    frequency_penalty: Zero = None
    logprobs: Annotated[bool | None, AfterValidator(only(False, "log-probabilities are not given"))] = None

    metadata: Any = None
    prompt_cache_key: Any = None
    safety_identifier: Any = None
    seed: Any = None
    service_tier: Any = None
    store: Any = None
    top_p: Any = None
    user: Any = None

    @field_validator("messages")
    @classmethod
    def _ends_with_a_question(cls, messages: list[Message]) -> list[Message]:
        if any(message.role in ("system", "developer") for message in messages):
            raise ValueError(
                "the prompt is the study's, with which its router was trained; leave the system message out"
            )
        if messages[-1].role != "user" or not messages[-1].text.strip():
            raise ValueError("the last one is the question; expected a user's, with some text")
        return messages

    @property
    def question(self) -> str:
        """The text of the last message; those before are not read."""
        return self.messages[-1].text

    def limit(self, most: int) -> int:
        """Tokens that the solution may have: the client's limit, `most` at most."""
        return min(most, self.max_tokens or most, self.max_completion_tokens or most)


@dataclass(frozen=True)
class Offer:
    """What a server serves.

    model: its name, study/pair. policies: those that its models can follow. policy, threshold: where a request does not
    say; the threshold is this policy's. max_tokens: of a solution. fingerprint: of models and settings.
    """

    model: str
    policies: Mapping[str, Policy]
    policy: str
    threshold: float | None
    max_tokens: int
    fingerprint: str

    def chosen(self, request: ChatRequest) -> tuple[Policy, float | None]:
        """Policy and threshold (None for a policy without one) of a request. Raises ApiError."""
        if request.model != self.model:
            message = f"there is no model {request.model[:80]!r}; this server has {self.model!r}"
            raise ApiError(404, message, "model_not_found", "model")
        name = request.policy or self.policy
        if name not in self.policies:
            message = f"policy {name[:80]!r} is not served; expected one of {', '.join(self.policies)}"
            raise ApiError(400, message, "invalid_value", "policy")
        policy = self.policies[name]
        if not policy.has_threshold:
            return policy, None
        threshold = request.threshold
        if threshold is None and name == self.policy:
            threshold = self.threshold
        if threshold is None:
            message = (
                f"policy {name!r} needs a threshold, and the server's is for {self.policy!r}; give one, such as 0.5"
            )
            raise ApiError(400, message, "invalid_value", "threshold")
        return policy, threshold
