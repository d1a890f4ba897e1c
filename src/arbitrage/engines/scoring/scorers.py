"""Scorers on transformers: process reward model (PRM) and router, read at a step's last token (paper, section 3).

Classification heads are here; PRMs that answer with a token, and judges, are in `answer_prm`.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from arbitrage.config.prm import Prm
from arbitrage.config.router import Router
from arbitrage.engines.checkpoints import Checkpoint, Head
from arbitrage.engines.hf.attention import engine_name, mask_for
from arbitrage.engines.hf.batching import BatchRunner
from arbitrage.engines.hf.kv_cache import BufferCache
from arbitrage.engines.hf.limits import context_limit, positions_at_once
from arbitrage.engines.scoring.labels import HeadLabels, PrmLabels, RouterLabels
from arbitrage.engines.scoring.step_scorer import Reader, StepScorer
from arbitrage.runtime.progress import Progress
from arbitrage.speculation.protocols import EngineError, ScoreError
from arbitrage.speculation.steps import Ids


@dataclass(frozen=True)
class Placement:
    """A scorer's weights, and how they run."""

    checkpoint: Checkpoint
    dtype: str
    device: str
    batch_size: int


class TransformersScorer(StepScorer, ABC):
    """What PRMs and router share here: a model read to the last id of each input, in batches (`protocols.Scorer`)."""

    def __init__(
        self, placement: Placement, heads: tuple[Head, ...], reader: Callable[[Any], Reader], reads: str = ""
    ) -> None:
        """Load a checkpoint that has one of `heads`; `reader` makes of its tokenizer how it reads.

        reads: what else changes the scores; part of the identity. Raises EngineError.
        """
        self.name = placement.checkpoint.path
        self.tokenizer = placement.checkpoint.tokenizer()
        self.reader = reader(self.tokenizer)
        self.model = placement.checkpoint.load(placement.dtype, placement.device, heads)
        self.device = torch.device(placement.device)
        self.max_context = context_limit(self.model.config)
        self.layers = int(self.model.config.get_text_config(decoder=True).num_hidden_layers)
        weights = placement.checkpoint.fingerprint(placement.dtype, engine_name(self.model))
        reads += "\nfloat32 head" * self.narrow
        self.identity = hashlib.sha256(f"{weights}\n{self.reader.description}{reads}".encode()).hexdigest()
        self.rows = placement.batch_size
        self._runner = BatchRunner(
            self.name, self.forward, self.layers, self.device, placement.batch_size, positions_at_once(self.model)
        )

    @property
    def narrow(self) -> bool:
        """Whether the weights have fewer bits than float32: heads are float32 then, or different steps would tie."""
        return bool(self.model.dtype.itemsize < torch.float32.itemsize)

    @abstractmethod
    def forward(self, ids: Tensor, positions: Tensor, mask: Tensor | None, cache: BufferCache) -> Tensor:
        """Read `ids` [rows, n] after what `cache` holds; return the logits at the last one [rows, labels]."""

    @abstractmethod
    def scalars(self, logits: Tensor) -> Tensor:
        """One number a row from float64 logits [rows, labels]."""

    def forget(self) -> None:
        """Drop keys and values of earlier inputs; from here on results repeat bit for bit."""
        self._runner.forget()

    @torch.inference_mode()
    def score(self, inputs: Sequence[Ids]) -> list[float]:
        """One number an input. Raises ScoreError where one is not finite."""
        scores = [0.0] * len(inputs)
        progress = Progress(len(inputs), "steps", f"scoring with {self.name}", quiet=True)
        for indices, batch in self._runner.batches(inputs):
            batch.remember(dict.fromkeys(range(len(indices)), ()))
            for index, score in zip(indices, self.scalars(batch.output.double()).tolist(), strict=True):
                scores[index] = self.checked(score, index, inputs[index])
            progress.advance(len(indices), tokens=sum(len(inputs[index]) for index in indices))
        return scores

    def checked(self, score: float, index: int, ids: Ids) -> float:
        """`score`, if it is finite; otherwise ScoreError."""
        try:
            return super().checked(score, index, ids)
        except ScoreError:
            self.forget()  # what was kept may hold NaN too
            raise


class HeadScorer(TransformersScorer):
    """A scorer whose checkpoint has a classification head named `score`, with `labels`."""

    def __init__(self, placement: Placement, labels: HeadLabels) -> None:
        super().__init__(placement, labels.heads, labels.reader, labels.description)
        self._backbone = self.model.base_model
        head: Any = getattr(self.model, "score", None)
        last = head[-1] if isinstance(head, torch.nn.Sequential) else head
        if head is None or not isinstance(last, torch.nn.Linear):
            raise EngineError(
                f"{self.name}: {type(self.model).__name__} has no linear head named `score`; expected Llama's or "
                "Qwen's kind"
            )
        self._head: Any = head.float() if self.narrow else head
        self._head_dtype = last.weight.dtype
        labels.require(last.out_features)
        self._labels = labels

    def forward(self, ids: Tensor, positions: Tensor, mask: Tensor | None, cache: BufferCache) -> Tensor:
        """Read `ids` [rows, n] after what `cache` holds; return the head's logits at the last one [rows, labels]."""
        states = self._backbone(
            input_ids=ids,
            position_ids=positions,
            attention_mask=mask_for(self.model, mask),
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        return self.logits(states[:, -1])

    def logits(self, states: Tensor) -> Tensor:
        """The head's logits [rows, labels] of the last layer's states [rows, hidden]."""
        logits: Tensor = self._head(states.to(self._head_dtype))
        return logits

    def scalars(self, logits: Tensor) -> Tensor:
        return self._labels.scalars(logits)


class PrmScorer(HeadScorer):
    """A PRM with a head (`PrmLabels`)."""

    def __init__(self, checkpoint: Checkpoint, prm: Prm, separator: str) -> None:
        super().__init__(prm_placement(checkpoint, prm), PrmLabels(checkpoint.path, prm, separator))


def prm_placement(checkpoint: Checkpoint, prm: Prm) -> Placement:
    """The PRM's weights, run as `prm` says."""
    return Placement(checkpoint, prm.dtype, prm.device, prm.batch_size)


class RouterScorer(HeadScorer):
    """The router (`RouterLabels`)."""

    column = "input_ids"  # of the table `examples`: what it reads

    def __init__(self, checkpoint: Checkpoint, router: Router) -> None:
        placement = Placement(checkpoint, router.dtype, router.device, router.batch_size)
        super().__init__(placement, RouterLabels(checkpoint.path, checkpoint.directory))
