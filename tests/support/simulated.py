"""Studies drawn from a world whose truth is known: for tests of intervals and verdicts.

A question has a few steps. A step is the same text from both models, or the draft errs where the target does not, or
the other way round, or nothing depends on who writes it. A solution is right where no error got in and the question can
be solved at all. A policy sees the advantage of a step through noise of its own, and escalates where what it sees
exceeds a threshold, so that two policies with the same noise are equally good, whatever thresholds they are swept at.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from arbitrage.config.policies import TIMED_POLICIES
from arbitrage.evaluation.bootstrap import Floats
from arbitrage.evaluation.cost_model import ResampledModel, resampled_model
from arbitrage.evaluation.curves import Curve, Panel
from arbitrage.evaluation.decoder_work import FEATURES, swept_work

STEPS = 8
SAME, DRAFT_ERRS, TARGET_ERRS = 0.5, 0.10, 0.02  # kinds of steps; the others do not matter
SOLVABLE = 0.8
TOKENS = 20.0  # of a step
TIMED = 30
PRICES = {"draft_tokens": 1.0, "target_tokens": 5.0}
PRICES |= dict.fromkeys((f"{policy}_score_calls" for policy in ("rsd", "router", "scalars")), 4.0)


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
    ordered = np.where(world.exists, seen, -np.inf)
    most = np.argsort(-ordered, axis=1, kind="stable")
    count = (ordered[None] > thresholds[:, None, None]).sum(axis=2)
    return _curve(world, most, count, thresholds, policy)


def alone(world: Questions, policy: str) -> Curve:
    """Draft alone or target alone."""
    most = np.argsort(~world.exists, axis=1, kind="stable")
    count = world.exists.sum(axis=1)[None] * (policy == "target_only")
    return _curve(world, most, count, np.array([np.nan]), policy)


def _curve(world: Questions, most: np.ndarray, count: np.ndarray, thresholds: Floats, policy: str) -> Curve:
    """Trajectory k of a question escalates its first k steps in the order `most`; count: (T, Q), k by threshold."""

    def among(event: np.ndarray) -> Floats:
        """(Q, STEPS + 1): on how many of its first k steps the event holds."""
        first = np.take_along_axis(event & world.exists, most, axis=1).astype(float)
        return np.cumsum(np.pad(first, ((0, 0), (1, 0))), axis=1)

    steps = world.exists.sum(axis=1).astype(float)[:, None] * np.ones(STEPS + 1)
    escalations = among(world.exists)
    missed = ((world.kind == 1) & world.exists).sum(axis=1)[:, None] - among(world.kind == 1)
    values = {
        "correct": (missed + among(world.kind == 2) == 0) & world.solvable[:, None],
        "acceptance": 1 - escalations / steps,
        "steps": steps,
        "escalations": escalations,
        "better": among(world.advantage > 0),
        "equal": among(world.advantage == 0),
        "worse": among(world.advantage < 0),
        "draft_tokens": TOKENS * steps * (policy != "target_only"),
        "target_tokens": TOKENS * escalations,
        "answered": np.ones_like(steps),
        "text_acceptance": 1 - among(world.kind != 0) / steps,
        "chosen_tokens": TOKENS * steps,
        "chosen_draft_tokens": TOKENS * (steps - escalations),
        "prompt_tokens": np.full(steps.shape, 40.0),
        "catch_up_tokens": np.zeros_like(steps),
        "judged_tokens": TOKENS * steps,
        "escalations_before_end": escalations,
    }
    flat = np.stack([np.asarray(value, dtype=float).ravel() for value in values.values()])
    rows = pd.DataFrame(flat.T, columns=list(values))
    for name, value in {"policy": policy, "benchmark": "simulated"}.items():
        rows[name] = pd.Categorical.from_codes(np.zeros(len(rows), dtype=np.int8), [value])
    index = count + (STEPS + 1) * np.arange(world.count)
    return Curve(rows, tuple(map(str, range(world.count))), thresholds, index)


def panel(world: Questions, curves: dict[str, tuple[Curve, ...]], resamples: int, seed: int) -> Panel:
    """The panel of these curves, with draft and target alone."""
    both = {policy: (alone(world, policy),) for policy in ("draft_only", "target_only")}
    drawn = np.random.default_rng([7, seed]).integers(0, world.count, (resamples, world.count))
    drawn += world.count * np.arange(resamples)[:, None]  # faster than `resample_weights`, and the same
    weights = np.bincount(drawn.ravel(), minlength=resamples * world.count).reshape(resamples, -1).astype(float)
    return Panel("pair", "simulated", curves | both, weights)


def clock(resamples: int) -> ResampledModel:
    """A cost model without error: a draft token takes 1, a target token 5, a scorer's call 4."""
    seconds = np.array([PRICES.get(name, 0.0) for name in FEATURES])
    return ResampledModel(np.tile(seconds, (1 + resamples, 1)), {}, {})


def timed(panel: Panel, generator: np.random.Generator, resamples: int, seed: int) -> ResampledModel:
    """The cost model of a study that times its first TIMED questions by that clock, refitted in each resample.

    Every question runs at a speed of its own (10 % around the mean), every solution is off by 3 % more.
    """
    speed = generator.lognormal(-0.005, 0.1, TIMED)
    work, thresholds = [], []
    for policy, (first, *_) in panel.curves.items():
        if policy in TIMED_POLICIES:
            places = np.unique(np.linspace(0, len(first.thresholds) - 1, 5).round().astype(int))
            work.append(swept_work(first.rows.iloc[first.index[places, :TIMED].ravel()]).astype({"policy": str}))
            thresholds.append(np.repeat(first.thresholds[places], TIMED))
    table = pd.concat(work, ignore_index=True)
    factor = np.resize(speed, len(table)) * generator.lognormal(0, 0.03, len(table))
    table["draft_s"], table["target_s"] = (
        factor * PRICES[f"{name}_tokens"] * table[f"{name}_tokens"] for name in ("draft", "target")
    )
    table["score_s"], table["catch_up_s"] = factor * PRICES["router_score_calls"] * table["score_calls"], 0.0
    table["wall_s"] = table["draft_s"] + table["target_s"] + table["score_s"]
    table["threshold"] = np.concatenate(thresholds)
    table["question_id"] = np.resize([f"{number:03d}" for number in range(TIMED)], len(table))
    table = table.assign(pair="pair", benchmark="simulated", uninterrupted=False, speculative_tokens=0)
    unswept = (
        table.iloc[:1]
        .drop(columns="threshold")
        .assign(question_id="none", router_seed=-1, threshold_low=0.0, threshold_high=1.0)
    )
    return resampled_model(table, unswept, resamples, seed)


@cache
def even_thresholds(noise: float, count: int) -> Floats:
    """`count` thresholds even in acceptance, from questions of the world that no study evaluates on."""
    generator = np.random.default_rng(2**20)
    pilot = questions(4000, generator)
    seen = scores(pilot, noise, generator)[pilot.exists]
    return np.quantile(seen, np.linspace(0, 1, count))


@cache
def uneven_thresholds(noise: float, acceptances: tuple[float, ...]) -> Floats:
    """Thresholds that accept these shares of the steps: where a fixed grid may fall."""
    generator = np.random.default_rng(2**20)
    pilot = questions(4000, generator)
    seen = scores(pilot, noise, generator)[pilot.exists]
    return np.sort(np.quantile(seen, acceptances))
