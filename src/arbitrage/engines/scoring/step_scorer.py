"""What scorers have in common, whatever runs them: how they read a step, and which scores are none."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Protocol

from arbitrage.speculation.protocols import ScoreError
from arbitrage.speculation.steps import AuthoredStep, Ids


class Reader(Protocol):
    """How a scorer reads text: the ids of a judged step, which end where its score is read."""

    separator: str

    @property
    def description(self) -> str:
        """All that changes what is read, for the scorer's identity."""

    def input_ids(self, problem: str, history: Sequence[AuthoredStep], step: AuthoredStep) -> Ids:
        """What the model reads. Raises EngineError where it cannot be said in its tokens."""


class StepScorer:
    """A scorer that reads as `reader` does (`protocols.Scorer`, but for `score`).

    name: what errors call it; max_context: ids it reads; identity: hash of what it is and reads; shortened: inputs that
    were cut to `max_context`.
    """

    name: str
    reader: Reader
    max_context: int
    identity: str
    shortened = 0

    @property
    def separator(self) -> str:
        """What closes a step's text, and is no part of it."""
        return self.reader.separator

    def input_ids(self, problem: str, history: Sequence[AuthoredStep], step: AuthoredStep) -> Ids:
        """What the model reads (`Reader`): at most `max_context` ids. Raises EngineError.

        Of what is longer the oldest steps go, as many as need be, and of a step that is too long alone its beginning:
        scores at positions that a model was never trained on mean nothing. `shortened` counts such inputs.
        """
        ids = self.reader.input_ids(problem, history, step)
        if len(ids) <= self.max_context:
            return ids
        self.shortened += 1
        first = bisect_left(
            range(len(history)),
            -self.max_context,
            key=lambda dropped: -len(self.reader.input_ids(problem, history[dropped:], step)),
        )
        return self.reader.input_ids(problem, history[first:], step)[-self.max_context :]

    def checked(self, score: float, index: int, ids: Ids) -> float:
        """`score`, if it is finite; otherwise ScoreError."""
        if score - score != 0.0:
            raise ScoreError(
                f"{self.name}: the score of input {index} ({len(ids)} ids, the last {list(ids[-4:])}) is {score}; "
                "expected a finite number. The weights are damaged, or the dtype is too narrow for them (try float32)"
            )
        return score
