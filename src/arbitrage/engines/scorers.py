"""Scorers: the process reward model (PRM) and the router, classifiers at a step's last token (paper, section 3)."""

from __future__ import annotations

import hashlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from torch import Tensor

from arbitrage.engines import checkpoints
from arbitrage.engines.batches import BatchRunner, context_limit
from arbitrage.engines.formats import step_input_ids
from arbitrage.engines.kv_cache import BufferCache
from arbitrage.engines.protocols import AuthoredStep, EngineError, Ids, ScoreError
from arbitrage.sections.routing import Router
from arbitrage.sections.scorers import Prm

ROUTER_FILE = "router.json"
log = logging.getLogger(__name__)


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


class TransformersScorer(ABC):
    """What PRM and router share: the backbone, its linear head at the last id, batches (`protocols.Scorer`)."""

    def __init__(
        self,
        path: str,
        revision: str | None,
        dtype: str,
        device: str,
        batch_size: int,
        separator: str,
        annotate: bool,
        threads: int,
    ) -> None:
        """Load a sequence- or token-classification checkpoint. Raises EngineError."""
        torch.set_num_threads(threads)
        self.name, self.separator, self.annotate = path, separator, annotate
        self.tokenizer = checkpoints.load_tokenizer(path, revision)
        heads: tuple[checkpoints.Head, ...] = ("ForSequenceClassification", "ForTokenClassification")
        model = checkpoints.load_model(path, revision, dtype, device, heads)
        self._backbone = model.base_model
        head = getattr(model, "score", None)
        if not isinstance(head, torch.nn.Linear):
            raise EngineError(
                f"{path}: {type(model).__name__} has no linear head named `score`; expected Llama's or Qwen's kind"
            )
        self._head, self.labels = head, head.out_features
        self.device = torch.device(device)
        self.max_context = context_limit(model.config)
        self.layers = int(model.config.get_text_config(decoder=True).num_hidden_layers)
        weights = checkpoints.fingerprint(path, revision, dtype, f"transformers {version('transformers')}")
        self._identity = hashlib.sha256(f"{weights}\n{separator!r}\n{annotate}".encode()).hexdigest()
        self._runner = BatchRunner(path, self.forward, self.layers, self.device, batch_size)
        self._warned = False

    @property
    def identity(self) -> str:
        return self._identity

    def input_ids(self, problem: str, history: Sequence[AuthoredStep], step: AuthoredStep) -> Ids:
        """What the model reads (`formats.step_input_ids`)."""
        return step_input_ids(self.tokenizer, problem, history, step, self.separator, self.annotate)

    def forward(self, ids: Tensor, positions: Tensor, mask: Tensor | None, cache: BufferCache) -> Tensor:
        """Read `ids` [rows, n] after what `cache` holds; return the head's logits at the last one [rows, labels]."""
        states = self._backbone(
            input_ids=ids, position_ids=positions, attention_mask=mask, past_key_values=cache, use_cache=True
        ).last_hidden_state
        logits: Tensor = self._head(states[:, -1])
        return logits

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
        for places, batch in self._runner.batches(inputs, [0] * len(inputs)):
            batch.remember(dict.fromkeys(range(len(places)), ()))
            for place, score in zip(places, self.scalars(batch.output.double()).tolist(), strict=True):
                scores[place] = self.checked(score, place, inputs[place])
        return scores

    def checked(self, score: float, place: int, ids: Ids) -> float:
        """`score`, if it is finite; otherwise ScoreError. Warns once of inputs beyond the model's positions."""
        if score - score != 0.0:
            self.forget()  # what was kept may hold NaN too
            raise ScoreError(
                f"{self.name}: the score of input {place} ({len(ids)} ids, the last {list(ids[-4:])}) is {score}; "
                "expected a finite number. The weights are damaged, or the dtype is too narrow for them (try float32)"
            )
        if len(ids) > self.max_context and not self._warned:
            self._warned = True
            log.warning(
                "%s: inputs exceed its %d positions; their scores are extrapolated", self.name, self.max_context
            )
        return score


class PrmScorer(TransformersScorer):
    """The PRM: P(the step is right). One label: its sigmoid; two: softmax, label 1 being "right"."""

    def __init__(self, path: str, prm: Prm, separator: str, threads: int) -> None:
        super().__init__(path, prm.revision, prm.dtype, prm.device, prm.batch_size, separator, False, threads)
        if self.labels not in (1, 2):
            raise EngineError(f"{path}: its head has {self.labels} labels; a PRM has 1 (sigmoid) or 2 (label 1: right)")

    def scalars(self, logits: Tensor) -> Tensor:
        return logits[:, 0].sigmoid() if self.labels == 1 else logits.softmax(dim=-1)[:, 1]


class RouterScorer(TransformersScorer):
    """The router: P(advantage > 0) as its label classes have it (`RouterFormat`)."""

    def __init__(self, path: str, router: Router, threads: int) -> None:
        self.format = read_router_format(path)
        super().__init__(
            path,
            None,
            "float32",
            router.device,
            router.batch_size,
            self.format.separator,
            self.format.annotate,
            threads,
        )
        expected = self.format.classes - 1 if self.format.ordinal else self.format.classes
        if self.labels != expected:
            raise EngineError(
                f"{path}: its head has {self.labels} labels, but {ROUTER_FILE} asks for {expected}; train it again"
            )
        self._identity = hashlib.sha256(f"{self._identity}\n{self.format.model_dump_json()}".encode()).hexdigest()

    def scalars(self, logits: Tensor) -> Tensor:
        if self.format.ordinal:  # logit k: P(class > k)
            return logits[:, self.format.boundary - 1].sigmoid()
        return logits.softmax(dim=-1)[:, self.format.boundary :].sum(dim=-1)


def read_router_format(path: str | Path) -> RouterFormat:
    """`router.json` of a router's directory. Raises EngineError where it is missing or wrong."""
    file = Path(path) / ROUTER_FILE
    try:
        return RouterFormat.model_validate_json(file.read_text())
    except FileNotFoundError as fault:
        raise EngineError(f"{file}: missing; expected a directory that the router stage wrote") from fault
    except ValidationError as fault:
        faults = "; ".join(f"{'.'.join(map(str, each['loc'])) or 'file'}: {each['msg']}" for each in fault.errors())
        raise EngineError(f"{file}: {faults}; train the router again") from fault
