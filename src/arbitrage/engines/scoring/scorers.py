"""Scorers: the process reward model (PRM) and the router, read at a step's last token (paper, section 3).

Classification heads are here; PRMs that answer with a token, and judges, are in `answering`.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from torch import Tensor

from arbitrage.config.prm import Prm
from arbitrage.config.router import Router
from arbitrage.engines.checkpoints import Checkpoint, Head
from arbitrage.engines.hf.attention import engine_name, mask_for
from arbitrage.engines.hf.batching import BatchRunner
from arbitrage.engines.hf.kv_cache import BufferCache
from arbitrage.engines.hf.limits import context_limit, positions_at_once
from arbitrage.engines.scoring.scalar_router import ROUTER_FILE, router_json
from arbitrage.engines.scoring.step_format import StepReader
from arbitrage.engines.scoring.templates import TemplateReader
from arbitrage.runtime.progress import Progress
from arbitrage.speculation.protocols import EngineError, ScoreError
from arbitrage.speculation.steps import AuthoredStep, Ids

CLASSIFIERS: tuple[Head, ...] = ("ForSequenceClassification", "ForTokenClassification")
MARKED: tuple[Head, ...] = ("ForProcessRewardModel", "ForTokenClassification")


class RouterFormat(BaseModel):
    """`router.json` beside a router's weights: how its labels are cut, and what it reads.

    The scalar it routes by is P(label >= `boundary`), the probability that the advantage is above 0.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    classes: int
    boundary: int
    ordinal: bool
    annotate: bool
    separator: str

    @model_validator(mode="after")
    def _boundary_inside(self) -> RouterFormat:
        if not 1 <= self.boundary < self.classes:
            raise ValueError(f"boundary {self.boundary} is not between 1 and classes - 1 = {self.classes - 1}")
        return self


class Reader(Protocol):
    """How a scorer reads text: the ids of a judged step, which end where its score is read."""

    separator: str

    @property
    def description(self) -> str:
        """All that changes what is read, for the scorer's identity."""

    def input_ids(self, problem: str, history: Sequence[AuthoredStep], step: AuthoredStep) -> Ids:
        """What the model reads. Raises EngineError where it cannot be said in its tokens."""


@dataclass(frozen=True)
class Placement:
    """A scorer's weights, and how they run."""

    checkpoint: Checkpoint
    dtype: str
    device: str
    batch_size: int


class TransformersScorer(ABC):
    """What PRMs and router share: a model read to the last id of each input, in batches (`protocols.Scorer`)."""

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
        self._identity = hashlib.sha256(f"{weights}\n{self.reader.description}{reads}".encode()).hexdigest()
        self.rows = placement.batch_size
        self._runner = BatchRunner(
            self.name, self.forward, self.layers, self.device, placement.batch_size, positions_at_once(self.model)
        )
        self.shortened = 0

    @property
    def narrow(self) -> bool:
        """Whether the weights have fewer bits than float32: heads are float32 then, or different steps would tie."""
        return bool(self.model.dtype.itemsize < torch.float32.itemsize)

    @property
    def separator(self) -> str:
        """What closes a step's text, and is no part of it."""
        return self.reader.separator

    @property
    def identity(self) -> str:
        return self._identity

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
        if score - score != 0.0:
            self.forget()  # what was kept may hold NaN too
            raise ScoreError(
                f"{self.name}: the score of input {index} ({len(ids)} ids, the last {list(ids[-4:])}) is {score}; "
                "expected a finite number. The weights are damaged, or the dtype is too narrow for them (try float32)"
            )
        return score


class HeadScorer(TransformersScorer):
    """A scorer whose checkpoint has a classification head named `score`. `labels`: how many."""

    def __init__(
        self, placement: Placement, heads: tuple[Head, ...], reader: Callable[[Any], Reader], reads: str = ""
    ) -> None:
        super().__init__(placement, heads, reader, reads)
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
        self.labels = last.out_features

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


class PrmScorer(HeadScorer):
    """A PRM with a head: h(x, z) = P(the step is right) (paper, section 3).

    One label: its sigmoid; two: softmax of `prm.right_label`. It reads the score at the separator's last token, or with
    kind `marks` at the mark that closes the step.
    """

    def __init__(self, checkpoint: Checkpoint, prm: Prm, separator: str) -> None:
        def reader(tokenizer: Any) -> Reader:
            if prm.kind != "marks":
                return StepReader(tokenizer, separator, False)
            return TemplateReader(checkpoint.path, tokenizer, prm.resolved_template("marks"), separator)

        heads = MARKED if prm.kind == "marks" else CLASSIFIERS
        self.right_label = prm.right_label
        super().__init__(prm_placement(checkpoint, prm), heads, reader, f"\nright {prm.right_label}")
        if self.labels not in (1, 2):
            raise EngineError(
                f"{self.name}: its head has {self.labels} labels; a PRM has 1 (sigmoid) or 2 (prm.right_label: right)"
            )

    def scalars(self, logits: Tensor) -> Tensor:
        return logits[:, 0].sigmoid() if self.labels == 1 else logits.softmax(dim=-1)[:, self.right_label]


def prm_placement(checkpoint: Checkpoint, prm: Prm) -> Placement:
    """The PRM's weights, run as `prm` says."""
    return Placement(checkpoint, prm.dtype, prm.device, prm.batch_size)


class RouterScorer(HeadScorer):
    """The router (paper, section 4.2): P(advantage > 0) as its label classes have it (`RouterFormat`)."""

    column = "input_ids"  # of the table `examples`: what it reads

    def __init__(self, checkpoint: Checkpoint, router: Router) -> None:
        self.format = form = read_router_format(checkpoint.directory)
        self.annotate = form.annotate
        placement = Placement(checkpoint, router.dtype, router.device, router.batch_size)
        super().__init__(
            placement,
            CLASSIFIERS,
            lambda tokenizer: StepReader(tokenizer, form.separator, form.annotate),
            f"\n{form.model_dump_json()}",
        )
        expected = form.classes - 1 if form.ordinal else form.classes
        if self.labels != expected:
            raise EngineError(
                f"{self.name}: its head has {self.labels} labels, but {ROUTER_FILE} asks for {expected}; train it again"
            )

    def scalars(self, logits: Tensor) -> Tensor:
        if self.format.ordinal:  # logit k: P(class > k)
            return logits[:, self.format.boundary - 1].sigmoid()
        return logits.softmax(dim=-1)[:, self.format.boundary :].sum(dim=-1)


def read_router_format(path: str | Path) -> RouterFormat:
    """`router.json` of a router's directory. Raises EngineError where it is missing or wrong."""
    file = Path(path) / ROUTER_FILE
    try:
        return RouterFormat.model_validate_json(router_json(path))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, each['loc'])) or 'file'}: {each['msg']}" for each in error.errors())
        raise EngineError(f"{file}: {problems}; train the router again") from error
