"""Live decoding with engines that keep read prefixes themselves: vLLM in the process, servers over HTTP.

They find the longest prefix they hold of every context, so nothing has to be rolled back here. A salt, which is part of
what such an engine looks prefixes up by, keeps one question from profiting of another's prompt.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Protocol, cast, runtime_checkable
from uuid import uuid4

from arbitrage.engines.hf.live_context import common_length
from arbitrage.speculation.forwarding import ForwardingPrompter, ForwardingReader
from arbitrage.speculation.protocols import IncrementalGenerator, Prompting
from arbitrage.speculation.steps import AuthoredStep, CheckedStep, GeneratedStep, Ids, Logprobs


@runtime_checkable
class PrefixCaching(Prompting, Protocol):
    """A generator that writes one step at a time, from where an earlier context with the same beginning ended."""

    def write_one(self, context: Ids, limit: int, salt: str, whole: bool = False) -> tuple[GeneratedStep, float]:
        """The greedy next step, of at most `limit` tokens, and the seconds to its first token.

        Only contexts with the same `salt` share what was read. whole: up to the solution's end instead, in one go.
        Raises EngineError.
        """


@runtime_checkable
class PrefixReading(PrefixCaching, Protocol):
    """One that also reads what another model wrote (`protocols.Reading`), one text at a time."""

    @property
    def end_ids(self) -> Ids: ...

    def read_one(self, ids: Ids, start: int, salt: str) -> Logprobs:
        """Log-probabilities of `ids` from index `start` on. Only contexts with the same `salt` share what was read."""


class PrefixScoring(Protocol):
    """A scorer that scores one step at a time, from where an earlier input with the same beginning ended."""

    def input_ids(self, problem: str, history: Sequence[AuthoredStep], step: AuthoredStep) -> Ids:
        """What the model reads."""

    def score_one(self, ids: Ids, salt: str) -> float:
        """The score of one input. Only inputs with the same `salt` share what was read. Raises ScoreError."""


class PrefixCachedGenerator(ForwardingPrompter[PrefixCaching]):
    """Writes one greedy step at a time with `generator` (`protocols.IncrementalGenerator`).

    last_prefill_tokens: ids of the last context that the one before did not begin with; such an engine keeps whole
    blocks of ids (16 or 32), so it reads a few more. last_prefill_s: seconds until the first token was there.
    """

    def __init__(self, generator: PrefixCaching) -> None:
        super().__init__(generator)
        self.last_prefill_tokens, self.last_prefill_s = 0, 0.0
        self._held: Ids = ()
        self.reset()

    def reset(self) -> None:
        """Share nothing with what was read so far: the next call reads everything."""
        self._salt, self._held = uuid4().hex, ()

    def generate_one(self, context: Ids, limit: int) -> GeneratedStep:
        """Continue `context` by one step of at most `limit` tokens. Raises EngineError."""
        return self._write(context, limit, whole=False)

    def generate_whole(self, context: Ids, limit: int) -> GeneratedStep:
        """Continue `context` to its end in one go, separators and all. Raises EngineError."""
        return self._write(context, limit, whole=True)

    def _write(self, context: Ids, limit: int, whole: bool) -> GeneratedStep:
        step, self.last_prefill_s = self.generator.write_one(context, limit, self._salt, whole)
        # The last id is always read: what follows it was not kept.
        self.last_prefill_tokens = len(context) - common_length(self._held, context[:-1])
        # Nor has the last token of a step been read by the model that wrote it.
        self._held = (*context, *self.step_ids(step.text)[:-1])
        return step


class PrefixCachedReader(PrefixCachedGenerator):
    """Reads steps with `generator` besides (`protocols.IncrementalReading`).

    Such an engine keeps no output, so the id before what it reads is always read, and so is the last one of a context
    that it continues.
    """

    @property
    def end_ids(self) -> Ids:
        return cast(PrefixReading, self.generator).end_ids

    def read_one(self, ids: Ids, start: int) -> Logprobs:
        """Log-probabilities of `ids` from index `start` (>= 1) on. Raises EngineError."""
        begin = time.perf_counter()
        logprobs = cast(PrefixReading, self.generator).read_one(ids, start, self._salt)
        self.last_prefill_s = time.perf_counter() - begin
        self.last_prefill_tokens = len(ids) - common_length(self._held, ids[: start - 1])
        self._held = ids
        return logprobs


class PrefixCachedChecker(PrefixCachedReader):
    """Reads and writes with `generator`, and has a draft's tokens checked (`protocols.TokenSpeculation`).

    That the engines of `checking` do, by how many tokens a round: the same model, each with the draft in it. Nobody
    tells what the draft did there: all time is the target's, and its tokens are not counted.
    """

    def __init__(self, generator: PrefixReading, checking: Mapping[int, PrefixCaching]) -> None:
        self._checking = {count: PrefixCachedGenerator(each) for count, each in checking.items()}
        super().__init__(generator)

    def reset(self) -> None:
        """Share nothing with what was read so far: the next call reads everything."""
        super().reset()
        for each in self._checking.values():
            each.reset()

    def can_check(self, draft: IncrementalGenerator) -> bool:
        """Whether a token of the draft's is the same text here: no engine is started with another one."""
        return True

    def check_whole(self, draft: object, context: Ids, limit: int, proposed: int) -> CheckedStep:
        """What `generate_whole` writes. Raises EngineError."""
        return CheckedStep(self._checking[proposed].generate_whole(context, limit), 0, 0.0)

    def check_one(self, draft: object, context: Ids, limit: int, proposed: int, rejected: Ids) -> CheckedStep:
        """What `generate_one` writes; the rejected step is proposed anew. Raises EngineError."""
        return CheckedStep(self._checking[proposed].generate_one(context, limit), 0, 0.0)


class PrefixCachedScorer(ForwardingReader[PrefixScoring]):
    """Scores one step at a time with `scorer` (`protocols.IncrementalScorer`).

    last_tokens: ids of the last input that the one before did not begin with; whole blocks are kept, so it reads a few
    more.
    """

    def __init__(self, scorer: PrefixScoring) -> None:
        super().__init__(scorer)
        self.last_tokens = 0
        self.reset()

    def reset(self) -> None:
        """Share nothing with what was read so far: the next call reads everything."""
        self._salt, self._held = uuid4().hex, Ids()

    def score_one(self, ids: Ids) -> float:
        """The score of one input. Raises ScoreError where it is not finite."""
        score = self.scorer.score_one(ids, self._salt)
        self.last_tokens = len(ids) - common_length(self._held, ids[:-1])
        self._held = ids
        return score
