"""What the labels of a classification head say, the PRM's and the router's, and what is read for them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from torch import Tensor

from arbitrage.config.prm import Prm
from arbitrage.engines.checkpoints import Head
from arbitrage.engines.scoring.scalar_router import ROUTER_FILE, router_json
from arbitrage.engines.scoring.step_format import StepReader
from arbitrage.engines.scoring.step_scorer import Reader
from arbitrage.engines.scoring.templates import TemplateReader
from arbitrage.speculation.protocols import EngineError

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


def read_router_format(path: str | Path) -> RouterFormat:
    """`router.json` of a router's directory. Raises EngineError where it is missing or wrong."""
    file = Path(path) / ROUTER_FILE
    try:
        return RouterFormat.model_validate_json(router_json(path))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, each['loc'])) or 'file'}: {each['msg']}" for each in error.errors())
        raise EngineError(f"{file}: {problems}; train the router again") from error


class HeadLabels(ABC):
    """The labels of a head. name: what errors call the model; heads: those it may have; description: all that changes
    a score beside weights and what is read, for the scorer's identity."""

    name: str
    heads: tuple[Head, ...]
    description: str

    @abstractmethod
    def reader(self, tokenizer: Any) -> Reader:
        """How the model reads. Raises EngineError where its tokenizer cannot."""

    @abstractmethod
    def require(self, count: int) -> None:
        """Raise EngineError where the head does not have as many labels as it needs."""

    @abstractmethod
    def scalars(self, logits: Tensor) -> Tensor:
        """One number a row from float64 logits [rows, labels]."""


class PrmLabels(HeadLabels):
    """A PRM: h(x, z) = P(the step is right) (paper, section 3).

    One label: its sigmoid; two: softmax of `prm.right_label`. It reads the score at the separator's last token, or with
    kind `marks` at the mark that closes the step.
    """

    def __init__(self, name: str, prm: Prm, separator: str) -> None:
        self.name, self._prm, self._separator = name, prm, separator
        self.heads = MARKED if prm.kind == "marks" else CLASSIFIERS
        self.description = f"\nright {prm.right_label}"

    def reader(self, tokenizer: Any) -> Reader:
        if self._prm.kind != "marks":
            return StepReader(tokenizer, self._separator, False)
        return TemplateReader(self.name, tokenizer, self._prm.resolved_template("marks"), self._separator)

    def require(self, count: int) -> None:
        if count not in (1, 2):
            raise EngineError(
                f"{self.name}: its head has {count} labels; a PRM has 1 (sigmoid) or 2 (prm.right_label: right)"
            )

    def scalars(self, logits: Tensor) -> Tensor:
        return logits[:, 0].sigmoid() if logits.shape[1] == 1 else logits.softmax(dim=-1)[:, self._prm.right_label]


class RouterLabels(HeadLabels):
    """A router (paper, section 4.2): P(advantage > 0) as its label classes have it (`RouterFormat`)."""

    heads = CLASSIFIERS

    def __init__(self, name: str, directory: Path) -> None:
        """Raises EngineError where the directory's `router.json` is missing or wrong."""
        self.name, self.format = name, read_router_format(directory)
        self.description = f"\n{self.format.model_dump_json()}"

    def reader(self, tokenizer: Any) -> Reader:
        return StepReader(tokenizer, self.format.separator, self.format.annotate)

    def require(self, count: int) -> None:
        expected = self.format.classes - self.format.ordinal
        if count != expected:
            raise EngineError(
                f"{self.name}: its head has {count} labels, but {ROUTER_FILE} asks for {expected}; train it again"
            )

    def scalars(self, logits: Tensor) -> Tensor:
        if self.format.ordinal:  # logit k: P(class > k)
            return logits[:, self.format.boundary - 1].sigmoid()
        return logits.softmax(dim=-1)[:, self.format.boundary :].sum(dim=-1)
