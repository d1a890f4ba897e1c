"""What the method asks of a model: write the next step, or score a step. Every engine speaks these protocols."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol, runtime_checkable

from arbitrage.errors import UserError
from arbitrage.speculation.steps import (
    GREEDY,
    AuthoredStep,
    CheckedStep,
    GeneratedStep,
    Ids,
    Logprobs,
    Sampling,
    State,
)


class Prompting(Protocol):
    """How a model reads text. max_context: the longest context it reads, in ids."""

    @property
    def max_context(self) -> int: ...

    def prompt_ids(self, problem: str) -> Ids:
        """Ids of the rendered prompt; exactly one BOS where the tokenizer has one."""

    def step_ids(self, text: str) -> Ids:
        """Ids of one step's text after prompt and steps, encoded on its own, without special tokens."""


class Generator(Prompting, Protocol):
    """A model that continues a context by one step."""

    @property
    def identity(self) -> str:
        """Hash of weights, tokenizer, dtype, engine and separator: with one identity go the same steps."""

    def generate(
        self, contexts: Sequence[Ids], limits: Sequence[int], sampling: Sampling = GREEDY
    ) -> list[GeneratedStep]:
        """Continue each context by one step of at most `limits[i]` tokens (>= 1), in the order of the contexts."""


@runtime_checkable
class Reading(Protocol):
    """A generator that also reads what another model wrote.

    end_ids: what closes a solution in its ids, one end-of-sequence id; none where its tokenizer names none.
    """

    @property
    def end_ids(self) -> Ids: ...

    def read(self, inputs: Sequence[Ids], starts: Sequence[int]) -> list[Logprobs]:
        """Natural log-probability of each id of `inputs[i]` from index `starts[i]` (>= 1) on, after all ids before it.

        Of the model at temperature 1, in float32, <= 0. Raises EngineError where one is not a number.
        """


@runtime_checkable
class StateReading(Protocol):
    """A generator that also gives its hidden states."""

    def states(self, inputs: Sequence[Ids]) -> list[State]:
        """The last layer's state, after its norm, at the last of each input's ids (>= 1), in float32.

        Raises EngineError where a number of it is not finite.
        """


class Scorer(Protocol):
    """A model that judges a step in its context: the PRM, or the router."""

    @property
    def identity(self) -> str:
        """Hash of weights, tokenizer, dtype, engine and input format."""

    def input_ids(self, problem: str, history: Sequence[AuthoredStep], step: AuthoredStep) -> Ids:
        """What the model reads: problem, steps so far, the step to be judged; scored at the last id."""

    def score(self, inputs: Sequence[Ids]) -> list[float]:
        """One number an input: P(step is right) in (0, 1) for a PRM; the routing scalar for a router.

        Raises ScoreError where a score is not finite.
        """


class ScalarScorer(Protocol):
    """A router that reads scalars (`speculation.scalars`), or a hidden state. names: of the scalars, in their order."""

    @property
    def names(self) -> tuple[str, ...]: ...

    def score_one(self, values: Sequence[float]) -> float:
        """The routing scalar of one step, in (0, 1). values: the scalars in their order, then the state.

        Raises EngineError where it reads another count of numbers, ScoreError where one is not finite.
        """


class IncrementalGenerator(Prompting, Protocol):
    """A generator for one question at a time, which keeps its cache between calls (the live decoder's).

    A call keeps the common prefix of the new context and of what it holds, drops the rest, and reads only what is new.
    """

    last_prefill_tokens: int  # ids read before the first new token of the last call
    last_prefill_s: float  # seconds that took

    def generate_one(self, context: Ids, limit: int) -> GeneratedStep:
        """The greedy next step, of at most `limit` tokens; the same text as Generator.generate's."""

    def generate_whole(self, context: Ids, limit: int) -> GeneratedStep:
        """A whole greedy solution in one uninterrupted generation of at most `limit` tokens, for the clock."""

    def reset(self) -> None:
        """Forget the cache."""


@runtime_checkable
class IncrementalReading(Protocol):
    """A generator for one question at a time that also reads what another model wrote (`Reading`)."""

    last_prefill_tokens: int  # ids read in the last call
    last_prefill_s: float  # seconds that took

    @property
    def end_ids(self) -> Ids: ...

    def read_one(self, ids: Ids, start: int) -> Logprobs:
        """As `Reading.read`, of one input, in one pass over the ids that the cache does not hold; it then holds all."""


@runtime_checkable
class IncrementalStateReading(Protocol):
    """A generator for one question at a time that also gives its hidden states (`StateReading`)."""

    last_prefill_tokens: int  # ids read in the last call

    def state_one(self, ids: Ids) -> State:
        """As `StateReading.states`, of one input; the cache then holds it, and a step goes on without reading anew."""


@runtime_checkable
class TokenSpeculation(Protocol):
    """A generator for one question at a time that checks another's tokens: token-level speculative decoding."""

    def can_check(self, draft: IncrementalGenerator) -> bool:
        """Whether a token of the draft's is the same text here."""

    def check_whole(self, draft: Any, context: Ids, limit: int, proposed: int) -> CheckedStep:
        """What `generate_whole` writes, where the draft proposes up to `proposed` tokens at a time (Leviathan et al.
        2023, greedily: tokens are kept up to the first that is not this model's own)."""

    def check_one(self, draft: Any, context: Ids, limit: int, proposed: int, rejected: Ids) -> CheckedStep:
        """What `generate_one` writes, in the same way; the first tokens proposed are those of a `rejected` step."""


class IncrementalScorer(Protocol):
    """A scorer for one question at a time, which keeps its cache between calls."""

    last_tokens: int  # ids read in the last call

    def input_ids(self, problem: str, history: Sequence[AuthoredStep], step: AuthoredStep) -> Ids:
        """As Scorer."""

    def score_one(self, ids: Ids) -> float:
        """As Scorer.score, of one input."""

    def reset(self) -> None:
        """Forget the cache."""


class RequestLane(Protocol):
    """The requests that wait for one engine, under the continuous scheduler. A request's `asked` is what to answer.

    rows: how many the engine may have in flight.
    """

    rows: int

    async def take(self, most: int) -> list[Any]:
        """At least one request and at most `most`, once there is one."""

    def take_now(self, most: int) -> list[Any]:
        """The requests that wait, at most `most`."""

    def answer(self, request: Any, value: Any) -> None:
        """Hand on what became of a request."""

    def refuse(self, request: Any, error: Exception) -> None:
        """Hand an error to whoever awaits a request; the others go on."""

    async def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a blocking function in the lane's own thread."""


@runtime_checkable
class ContinuousEngine(Protocol):
    """An engine that takes requests while others are under way."""

    async def work(self, lane: RequestLane) -> None:
        """Answer the lane's requests until cancelled; what is under way then is aborted. Raises EngineError."""


@runtime_checkable
class Remembering(Protocol):
    """An engine with a memory in front of it (the step store), as schedulers use it."""

    @property
    def engine(self) -> Any:
        """The engine itself."""

    def key(self, request: Any) -> Hashable:
        """What the answer to a request is remembered by."""

    def recall(self, key: Any) -> Any:
        """The answer, if it is remembered; None where it is not."""

    def remember(self, key: Any, value: Any) -> None:
        """Remember an answer of the engine."""

    def count_hit(self) -> None:
        """Count a request that was answered without the engine."""

    def charge(self, calls: int, seconds: float) -> None:
        """Count calls of the engine and the seconds it was busy."""


class EngineError(UserError, RuntimeError):
    """A model that cannot be loaded or run; the message names the model, what was expected and the remedy."""


class ContextMemoryError(EngineError):
    """Contexts each of which takes more memory than there is, alone. contexts: their ids, as they were asked for."""

    def __init__(self, message: str, contexts: frozenset[Ids] = frozenset()) -> None:
        super().__init__(message)
        self.contexts = contexts


class ScoreError(EngineError):
    """A score that is not a finite number."""
