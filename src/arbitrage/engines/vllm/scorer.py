"""PRM and router on vLLM: a classification head at the last id of each input, in float32, prefixes read once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from arbitrage.config.pipeline import Generation
from arbitrage.config.prm import Prm
from arbitrage.config.router import Router
from arbitrage.engines.checkpoints import Checkpoint
from arbitrage.engines.scoring.labels import HeadLabels
from arbitrage.engines.scoring.step_scorer import StepScorer
from arbitrage.engines.vllm.engine import Taker, VllmModel
from arbitrage.engines.vllm.options import scorer_arguments
from arbitrage.speculation.steps import Ids, ScoreRequest


class PooledScore:
    """A score (`engine.Taker`): the head's logits at the input's last id, without vLLM's own activation."""

    def __init__(self, scorer: VllmScorer, ids: Ids, index: int = 0, salt: str | None = None) -> None:
        self._scorer, self._ids, self._index, self._salt = scorer, ids, index, salt

    def request(self) -> tuple[Any, Any]:
        """Prompt and parameters of the request."""
        return self._scorer.request(self._ids, self._salt)

    def take(self, output: Any) -> float:
        """The score. Raises ScoreError where it is not finite."""
        scorer, logits = self._scorer, output.outputs.data.double()
        return scorer.checked(float(scorer.labels.scalars(logits[None])[0]), self._index, self._ids)


class VllmScorer(VllmModel, StepScorer):
    """A PRM or router with a classification head (`protocols.Scorer`); to be closed when no longer needed."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        settings: Prm | Router,
        labels: HeadLabels,
        generation: Generation,
        share: float = 0.9,
    ) -> None:
        """Start vLLM on `checkpoint` as `settings` say; labels: those of its head.

        share: of the memory of its GPU that it may take (`scorer_arguments`). Raises EngineError.
        """
        self.labels, self.reader = labels, labels.reader(checkpoint.tokenizer())
        labels.require(checkpoint.configs()[0].num_labels)
        self.rows = settings.batch_size
        arguments = scorer_arguments(checkpoint, settings, generation, share)
        super().__init__(checkpoint.path, settings.device, arguments, here=settings.device == "cpu")
        weights = checkpoint.fingerprint(settings.dtype, self.weights_name)
        told = f"{weights}\n{self.reader.description}{labels.description}"
        self.identity = hashlib.sha256(told.encode()).hexdigest()

    def try_out(self) -> None:
        """Score an input of one id. Raises EngineError."""
        self.score([(0,)])

    def taker(self, payload: ScoreRequest) -> Taker:
        """What answers with a score."""
        return PooledScore(self, payload.ids)

    def request(self, ids: Ids, salt: str | None) -> tuple[Any, Any]:
        """Prompt and parameters for the logits at the last id. Only inputs with the same `salt` share prefixes."""
        parameters = self._vllm.PoolingParams(task="classify", use_activation=False)
        return self._vllm.inputs.tokens_input(list(ids), cache_salt=salt), parameters

    def score(self, inputs: Sequence[Ids]) -> list[float]:
        """One number an input. Raises ScoreError where one is not finite, EngineError where vLLM fails."""
        return self.answers([PooledScore(self, ids, index) for index, ids in enumerate(inputs)])

    def score_one(self, ids: Ids, salt: str) -> float:
        """The same for one input, in live decoding (`prefix_cached.PrefixCachedScorer`)."""
        (score,) = self.answers([PooledScore(self, ids, salt=salt)])
        return float(score)
