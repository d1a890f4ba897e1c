"""Studies drawn from a world whose truth is known: for tests of intervals and verdicts.

A question has a few steps. A step is the same text from both models, or the draft errs where the target does not, or
the other way round, or nothing depends on who writes it. A solution is right where no error got in and the question can
be solved at all. A policy sees the advantage of a step through noise of its own, and escalates where what it sees
exceeds a threshold, so that two policies with the same noise are equally good, whatever thresholds they are swept at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from arbitrage.evaluation.bootstrap import Floats, resample_weights
from arbitrage.evaluation.cost_model import ResampledModel
from arbitrage.evaluation.curves import Curve, Panel
from arbitrage.evaluation.decoder_work import FEATURES

STEPS = 8
SAME, DRAFT_ERRS, TARGET_ERRS = 0.5, 0.10, 0.02  # kinds of steps; the others do not matter
SOLVABLE = 0.8
TOKENS = 20.0  # of a step
PRICES = {"draft_tokens": 1.0, "target_tokens": 5.0, "rsd_score_calls": 4.0, "router_score_calls": 4.0}


@dataclass(frozen=True)
class Questions:
    """advantage: (Q, STEPS), 0 where both texts are the same. kind: 0 same, 1 draft errs, 2 target errs, 3 none."""

    advantage: Floats
    kind: np.ndarray
    exists: np.ndarray
    solvable: np.ndarray

    @property
    def count(self) -> int:
        return len(self.solvable)


def questions(count: int, generator: np.random.Generator) -> Questions:
    """So many questions of the world."""
    uniform = generator.random((count, STEPS))
    kind = np.select(
        [uniform < SAME, uniform < SAME + DRAFT_ERRS, uniform < SAME + DRAFT_ERRS + TARGET_ERRS], [0, 1, 2], 3
    )
    mean = np.select([kind == 1, kind == 2], [0.5, -0.5], 0.0)
    advantage = np.where(kind == 0, 0.0, mean + 0.15 * generator.standard_normal(kind.shape))
    exists = np.arange(STEPS) < generator.integers(2, STEPS + 1, count)[:, None]
    return Questions(advantage, kind, exists, generator.random(count) < SOLVABLE)


def scores(world: Questions, noise: float, generator: np.random.Generator) -> Floats:
    """What a policy sees, (Q, STEPS), in (0, 1)."""
    seen = world.advantage + noise * generator.standard_normal(world.advantage.shape)
    return 1 / (1 + np.exp(-2 * seen))


def curve(world: Questions, seen: Floats, thresholds: Floats, policy: str) -> Curve:
    """The policy's curve at `thresholds`: as `curves.make_curve` would read it off a sweep."""
    escalated = (seen[None] > thresholds[:, None, None]) & world.exists
    return _curve(world, escalated, thresholds, policy)


def alone(world: Questions, policy: str) -> Curve:
    """Draft alone or target alone."""
    escalated = world.exists[None] & (policy == "target_only")
    return _curve(world, escalated, np.array([np.nan]), policy)


def _curve(world: Questions, escalated: np.ndarray, thresholds: Floats, policy: str) -> Curve:
    steps = world.exists.sum(axis=1).astype(float)
    errs = ((world.kind == 1) & world.exists & ~escalated) | ((world.kind == 2) & escalated)
    count = escalated.sum(axis=2)
    values = {
        "correct": ~errs.any(axis=2) & world.solvable,
        "acceptance": 1 - count / steps,
        "steps": np.broadcast_to(steps, count.shape),
        "escalations": count,
        "better": (escalated & (world.advantage > 0)).sum(axis=2),
        "equal": (escalated & (world.advantage == 0)).sum(axis=2),
        "worse": (escalated & (world.advantage < 0)).sum(axis=2),
        "draft_tokens": TOKENS * steps * np.ones((len(thresholds), 1)) * (policy != "target_only"),
        "target_tokens": TOKENS * count,
        "answered": np.ones_like(count),
        "text_acceptance": 1 - (escalated & (world.kind != 0)).sum(axis=2) / steps,
        "chosen_tokens": TOKENS * steps * np.ones((len(thresholds), 1)),
        "chosen_draft_tokens": TOKENS * (steps - count),
        "prompt_tokens": np.full(count.shape, 40.0),
        "catch_up_tokens": np.zeros_like(count),
        "judged_tokens": TOKENS * steps * np.ones((len(thresholds), 1)),
    }
    rows = pd.DataFrame({name: np.asarray(value, dtype=float).ravel() for name, value in values.items()})
    rows["policy"], rows["benchmark"] = policy, "simulated"
    index = np.arange(escalated.shape[0] * world.count).reshape(escalated.shape[:2])
    return Curve(rows, tuple(map(str, range(world.count))), thresholds, index)


def panel(world: Questions, curves: dict[str, tuple[Curve, ...]], resamples: int, seed: int) -> Panel:
    """The panel of these curves, with draft and target alone."""
    both = {policy: (alone(world, policy),) for policy in ("draft_only", "target_only")}
    weights = resample_weights(world.count, resamples, seed, "simulated")
    return Panel("pair", "simulated", curves | both, weights)


def clock(resamples: int) -> ResampledModel:
    """A cost model without error: a draft token takes 1, a target token 5, a scorer's call 4."""
    seconds = np.array([PRICES.get(name, 0.0) for name in FEATURES])
    return ResampledModel(np.tile(seconds, (1 + resamples, 1)), {}, {})


def even_thresholds(noise: float, count: int) -> Floats:
    """`count` thresholds even in acceptance, from questions of the world that no study evaluates on."""
    generator = np.random.default_rng(2**20)
    pilot = questions(4000, generator)
    seen = scores(pilot, noise, generator)[pilot.exists]
    return np.quantile(seen, np.linspace(0, 1, count))


def uneven_thresholds(noise: float, acceptances: tuple[float, ...]) -> Floats:
    """Thresholds that accept these shares of the steps: where a fixed grid may fall."""
    generator = np.random.default_rng(2**20)
    pilot = questions(4000, generator)
    seen = scores(pilot, noise, generator)[pilot.exists]
    return np.sort(np.quantile(seen, acceptances))
