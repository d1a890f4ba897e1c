"""Routers that read scalars, or a hidden state: a small network in numpy, from what `routing.scalars` wrote."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file

from arbitrage.config.router import Loss, RouterKind
from arbitrage.engines.weight_files import SINGLE
from arbitrage.speculation.protocols import EngineError, ScoreError

ROUTER_FILE = "router.json"
MOST = 30.0  # of a logit's size: its sigmoid is inside (0, 1), as that of a larger one is not in float64


class ScalarFormat(BaseModel):
    """`router.json` beside such a router's weights.

    names: of the scalars it reads (`speculation.scalars`), in their order. state_width: of the draft's hidden state
    that it reads behind them, 0 where it reads none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["scalars", "scalars+prm", "scalars+target", "probe", "scalars+probe"]
    network: Literal["mlp", "logistic"]
    loss: Loss
    names: tuple[str, ...]
    state_width: int = 0

    @property
    def width(self) -> int:
        """How many numbers it reads."""
        return len(self.names) + self.state_width


class ScalarRouter:
    """A router of a kind that reads scalars or a state (`protocols.ScalarScorer`).

    Its numbers less the training part's mean, over its standard deviation, through one hidden layer of tanh (`mlp`) or
    none; the sigmoid of what comes out. With loss `label` it estimates P(advantage > 0), with `weighted` that of a step
    drawn by the size of its advantage, with `regression` (1 + advantage) / 2.
    """

    column = "scalars"  # of the table `examples`: what it reads

    def __init__(self, directory: str | Path) -> None:
        """Load it. Raises EngineError where a file is missing, or the two do not fit each other."""
        folder = Path(directory)
        try:
            self.format = ScalarFormat.model_validate_json(router_json(folder))
            weights = load_file(folder / SINGLE)
            self._mean, self._scale, self._out = weights["mean"], weights["scale"], weights["out.weight"][0]
            self._bias = float(weights["out.bias"][0])
            layer = ("hidden.weight", "hidden.bias") if self.format.network == "mlp" else ()
            self._hidden = [weights[name] for name in layer]
            if not self._mean.shape == self._scale.shape == (self.format.width,):
                raise ValueError(f"reads {self.format.width} numbers, statistics of {self._mean.shape[0]}")
            self._logits(np.zeros((1, self.format.width)))
        except (OSError, KeyError, IndexError, ValueError, ValidationError, SafetensorError) as error:
            reason = str(error).partition("\n")[0]
            raise EngineError(f"{folder}: no router that reads scalars ({reason}); train it again") from error

    @property
    def names(self) -> tuple[str, ...]:
        """Of the scalars it reads, in their order."""
        return self.format.names

    def score(self, rows: Sequence[Sequence[float]]) -> list[float]:
        """One number a row [rows, scalars and state], in (0, 1).

        Raises EngineError where a row has another width, ScoreError where a number of it is not finite.
        """
        values = np.asarray(rows, dtype=np.float64)
        if values.shape[1:] != (self.format.width,):
            raise EngineError(
                f"a router of kind {self.format.kind} got {values.shape[-1]} numbers; expected {len(self.names)} "
                f"scalars and a hidden state of width {self.format.state_width}. If the draft is another one than in "
                "training, train the router anew"
            )
        logits = self._logits(values)
        if not np.isfinite(logits).all():
            odd = values[int(np.argmin(np.isfinite(logits)))]
            told = [f"{name} {value:g}" for name, value in zip(self.names, odd, strict=False)]
            if self.format.state_width:
                told.append(f"a state with {np.sum(~np.isfinite(odd[len(self.names) :]))} numbers that are not finite")
            raise ScoreError(
                f"a router of kind {self.format.kind} got {', '.join(told)}; expected finite numbers. The draft, "
                "the PRM or the router is damaged: `arbitrage verify` tells which file has changed"
            )
        scores: list[float] = (1.0 / (1.0 + np.exp(-np.clip(logits, -MOST, MOST)))).tolist()
        return scores

    def score_one(self, values: Sequence[float]) -> float:
        """As `score`, of one row."""
        return self.score([values])[0]

    def _logits(self, values: np.ndarray) -> np.ndarray:
        """(rows,), of numbers (rows, width)."""
        states = (values - self._mean) / self._scale
        if self._hidden:
            weight, bias = self._hidden
            states = np.tanh(states @ weight.T + bias)
        logits: np.ndarray = states @ self._out + self._bias
        return logits


def kind_of(directory: str | Path) -> RouterKind:
    """The kind of a trained router. Raises EngineError where the directory holds none."""
    try:
        kind: RouterKind = json.loads(router_json(directory)).get("kind", "classifier")
    except (ValueError, AttributeError) as error:
        raise EngineError(f"{directory}: {ROUTER_FILE} is no router's ({error}); train it again") from error
    return kind


def router_json(directory: str | Path) -> str:
    """The text of a trained router's `router.json`. Raises EngineError where it is missing."""
    file = Path(directory) / ROUTER_FILE
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise EngineError(
            f"{file}: missing; expected a directory that the router stage wrote. Run the study, which trains one (the "
            "lab: make reproduce), or name another directory (--router)"
        ) from error
