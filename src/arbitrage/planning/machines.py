"""GPUs by published rates: what a machine is like, and how long a model on it takes for a pass.

A pass of decoding reads the weights once, and the keys and values of every row; a token that is read or scored takes
two operations a parameter. `rates.yaml` has the numbers.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from arbitrage.errors import UserError
from arbitrage.planning.estimates import Cost
from arbitrage.runtime.memory import GB

FILE = "src/arbitrage/planning/rates.yaml"


class RatesError(UserError, ValueError):
    """A machine or a model of which no rates are known, or a study that does not fit; the message says the remedy."""


@cache
def rates() -> dict[str, Any]:
    """`rates.yaml`."""
    entries: dict[str, Any] = yaml.safe_load(files("arbitrage.planning").joinpath("rates.yaml").read_text("utf-8"))
    return entries


@dataclass(frozen=True)
class Machine:
    """`count` GPUs called `name`: bandwidth in bytes/s, dense bfloat16 peak in FLOP/s, memory in bytes, of each."""

    name: str
    count: int
    bandwidth: float
    peak: float
    memory: float

    @classmethod
    def named(cls, words: str) -> Machine:
        """The machine of words such as `4xH100`. Raises RatesError."""
        names = {name.casefold(): name for name in rates()["gpus"]}
        found = re.fullmatch(r"([1-9][0-9]*)x(.+)", words.casefold())
        if found is None or found[2] not in names:
            raise RatesError(
                f"--on {words}: expected a number of GPUs and their name, such as 4xH100; known are "
                f"{', '.join(names.values())} (for others add an entry to {FILE})"
            )
        name = names[found[2]]
        gpu = rates()["gpus"][name]
        return cls(name, int(found[1]), 1e12 * gpu["bandwidth_tb"], 1e12 * gpu["bf16_tflops"], GB * gpu["memory_gb"])

    def wall_s(self, cost: Cost) -> tuple[float, float]:
        """Seconds from the start of a stage's first job to the end of its last, low and high: as many run as fit."""
        rounds = math.ceil(cost.jobs / (self.count // cost.gpus)) / cost.jobs
        return rounds * cost.low_s, rounds * cost.high_s


@dataclass(frozen=True)
class Loaded:
    """A model on GPUs: bytes of weights and of a position's keys and values, and parameters, on each of them.

    engine: `vllm` or `transformers`.
    """

    machine: Machine
    weights: float
    position: float
    parameters: float
    engine: str

    def pass_s(self, tokens: float) -> float:
        """Seconds of a pass over `tokens` tokens, of one context or of many."""
        told = rates()["assumed"][self.engine]
        computing = 2 * self.parameters * tokens / (self.machine.peak * told["peak_share"])
        return float(max(self._reading_s(self.weights), computing, told["pass_s"]))

    def token_s(self, rows: float, context: float) -> float:
        """Seconds a token where `rows` contexts of `context` tokens each are decoded together."""
        return self.pass_s(rows) / rows + self._reading_s(context * self.position)

    def _reading_s(self, size: float) -> float:
        return float(size / (self.machine.bandwidth * rates()["decoding"]["bandwidth_share"]))
