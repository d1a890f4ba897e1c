"""A long simulation: how often the 95 % intervals of a summary hold the truth, in studies whose truth is known.

The table in docs/statistics.md is made of it. `STUDIES=500 pytest -m extra <this file>` is a shorter run.
"""

import os
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from arbitrage.evaluation.bootstrap import Floats, band, interval, over_seeds, resampled_means
from arbitrage.evaluation.comparison import compare
from arbitrage.evaluation.cost_model import ResampledModel
from arbitrage.evaluation.curves import PAPER_GRID, Panel
from arbitrage.evaluation.estimates import Statistic
from arbitrage.evaluation.lowest_gain import Gains, lowest_gains
from arbitrage.evaluation.router_quality import METRICS, quality
from arbitrage.evaluation.speedup import speedups
from tests.support import simulated

pytestmark = [pytest.mark.extra, pytest.mark.timeout(3 * 3600)]

STUDIES = int(os.environ.get("STUDIES", "2000"))
RESAMPLES = 119  # (1 + RESAMPLES) / 40 is a whole number: the ends are resamples, and the level is what it says
QUESTIONS, HELDOUT, MANY = 300, 100, 20_000
TRAININGS = 3
ROUTER, RSD = 0.25, 0.5  # the noise through which they see the advantage
TRAINED = ("router", "scalars")  # two policies trained apart, as good as each other
VARIANTS = {"default": 0.25, "other": 0.35}
SPREAD = 0.15  # of the logarithm of a router's noise, between trainings
WIDE = ("lowest_gain",)  # the lowest ends of a band for a whole curve: they hold more than they promise

Key = tuple[str, str, str, float]
Interval = tuple[float | Floats, float | Floats]


def _routers(world: simulated.Questions, noises: Floats, generator: np.random.Generator) -> list[Floats]:
    """What trainings see: half of the variance of their noise is the same for all."""
    shared = generator.standard_normal(world.advantage.shape)
    own = generator.standard_normal((len(noises), *shared.shape))
    return [
        1 / (1 + np.exp(-2 * (world.advantage + noise * np.sqrt(0.5) * (shared + each))))
        for noise, each in zip(noises, own, strict=True)
    ]


def _panel(
    questions: int, noises: dict[str, Floats], generator: np.random.Generator, resamples: int, seed: int
) -> Panel:
    world = simulated.questions(questions, generator)
    ranges = {noise: np.unique([*PAPER_GRID, *simulated.even_thresholds(noise, 41)]) for noise in (ROUTER, RSD)}
    gains = world.advantage[world.advantage > 0]
    above = np.append(0.0, np.quantile(gains, np.linspace(0, 1, 41)))  # no hole, as in an exact sweep
    curves = {
        name: tuple(simulated.curve(world, seen, ranges[ROUTER], name) for seen in _routers(world, own, generator))
        for name, own in noises.items()
    } | {
        "rsd": (simulated.curve(world, simulated.scores(world, RSD, generator), ranges[RSD], "rsd"),),
        "oracle": (simulated.curve(world, world.advantage, above, "oracle"),),
    }
    return simulated.panel(world, curves, resamples, seed)


def _heldout(questions: int, noises: dict[str, Floats], generator: np.random.Generator) -> pd.DataFrame:
    """The table `heldout` of routers with these noises, a training each."""
    world = simulated.questions(questions, generator)
    question, step = np.nonzero(world.exists)
    frames = []
    for variant, each in noises.items():
        for number, seen in enumerate(_routers(world, each, generator)):
            frames.append(
                pd.DataFrame(
                    {
                        "question_id": np.char.mod("%06d", question),
                        "step_index": step,
                        "router_score": seen[world.exists],
                        "advantage": world.advantage[world.exists],
                        "label": (world.advantage[world.exists] > 0).astype(int),
                    }
                ).assign(pair="pair", variant=variant, router_seed=number)
            )
    table = pd.concat(frames, ignore_index=True)
    return table.assign(draft_score=-table["advantage"], draft_confidence=table["advantage"])


def _numbers(panel: Panel, model: ResampledModel) -> tuple[list[Statistic], list[Gains]]:
    numbers, gains = compare(panel)
    return [*numbers, *(one for one in speedups(panel, model) if one.metric != "largest")], gains


def _key(policy: str, metric: str, against: str | None, level: float) -> Key:
    return metric, policy, against or "", -1.0 if level is None or np.isnan(level) else float(level)


def curve_intervals(seed: int) -> dict[Key, Interval]:
    """The interval of every number that the summary of one study reads off its curves, and the bands behind them."""
    generator = np.random.default_rng([6, seed])
    spread = np.exp(SPREAD * generator.standard_normal((len(TRAINED), TRAININGS)))
    panel = _panel(QUESTIONS, dict(zip(TRAINED, ROUTER * spread, strict=True)), generator, RESAMPLES, seed)
    numbers, gains = _numbers(panel, simulated.timed(panel, generator, RESAMPLES, seed))
    rows = [one.row(0.95, seed) for one in numbers] + lowest_gains(gains[:1], 0.95, seed)
    intervals: dict[Key, Interval] = {
        _key(row["policy"], row["metric"], row["against"], row["level"]): (row["low"], row["high"])
        for row in rows
        if row["pair"] != "all"
    }
    for one in gains:
        intervals["band", one.policy, one.against, -1] = band(over_seeds(one.samples, seed), 0.95, 0)[:2]
    for name in ("draft_only", "target_only"):
        correct = panel.curves[name][0].values("correct")
        low, high = interval(resampled_means(panel.weights, correct), 0.95)
        intervals["accuracy", name, "", -1] = float(low[0]), float(high[0])
    return intervals


def curve_truth(seed: int) -> dict[Key, Floats]:
    """The same numbers on many questions, the mean over all trainings that there could be (by Gauss and Hermite)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(5)
    generator = np.random.default_rng([8, seed])
    panel = _panel(MANY, dict.fromkeys(TRAINED, ROUTER * np.exp(SPREAD * nodes)), generator, 1, seed)
    numbers, gains = _numbers(panel, simulated.clock(1))

    def mean(samples: Floats | None) -> Floats:
        if samples is None:
            return np.zeros(())
        return np.average(samples[:, 0], axis=0, weights=weights if len(samples) > 1 else None)

    truth = {
        _key(one.policy, one.metric, one.against, one.level): (
            np.exp(mean(np.log(one.samples))) if one.ratio else mean(one.samples) - mean(one.less)
        )
        for one in numbers
    }
    for one in gains:
        truth["band", one.policy, one.against, -1] = mean(one.samples)
    truth["lowest_gain", "router", "rsd", -1] = np.nanmin(truth["band", "router", "rsd", -1])
    for name in ("draft_only", "target_only"):
        truth["accuracy", name, "", -1] = panel.curves[name][0].mean("correct")[0]
    return truth


def quality_intervals(seed: int) -> dict[Key, Interval]:
    """The intervals of Tables 1 to 3 in one study."""
    generator = np.random.default_rng([9, seed])
    spread = {name: np.exp(SPREAD * generator.standard_normal(TRAININGS)) for name in VARIANTS}
    noises = {name: noise * spread[name] for name, noise in VARIANTS.items()}
    table = quality(_heldout(HELDOUT, noises, generator), RESAMPLES, 0.95, seed)
    return {
        (name, row["ranking"], "", -1.0): (row[f"{name}_low"], row[f"{name}_high"])
        for row in table[(table["pair"] != "all") & table["trained"]].to_dict("records")
        for name in (f"{metric}{end}" for metric in METRICS for end in ("", "_gain"))
        if not np.isnan(row[name])
    }


def quality_truth(seed: int) -> dict[Key, Floats]:
    nodes, weights = np.polynomial.hermite_e.hermegauss(5)
    generator = np.random.default_rng([10, seed])
    factors = np.exp(SPREAD * nodes)
    each = []
    for factor in factors:
        noises = {name: np.array([noise * factor]) for name, noise in VARIANTS.items()}
        table = quality(_heldout(MANY // 2, noises, generator), 1, 0.95, seed).set_index(["pair", "ranking"])
        each.append({(m, name, "", -1.0): table.loc[("pair", name), m] for name in VARIANTS for m in METRICS})
    truth = {key: np.average([one[key] for one in each], weights=weights) for key in each[0]}
    gains = {(f"{m}_gain", "other", "", -1.0): truth[m, "default", "", -1] - truth[m, "other", "", -1] for m in METRICS}
    return truth | gains


def coverage(studies: list[dict[Key, Interval]], truths: list[dict[Key, Floats]]) -> dict[Key, tuple[int, float]]:
    """Of every number with an interval in more than half of the studies: in how many, and the share that holds it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # where no world has an operating point there is no truth
        truth = {key: np.nanmean([one[key] for one in truths], axis=0) for key in truths[0]}
    results = {}
    for key, value in truth.items():
        held = []
        for study in studies:
            low, high = study.get(key, (np.nan, np.nan))
            known = ~np.isnan(low) & ~np.isnan(value)
            if np.any(known):
                held.append(bool(np.all(~known | ((low <= value) & (value <= high)))))
        if len(held) > len(studies) / 2:
            results[key] = len(held), float(np.mean(held))
    return results


@pytest.mark.parametrize(("of_study", "of_world"), [(curve_intervals, curve_truth), (quality_intervals, quality_truth)])
def test_every_interval_that_the_summary_prints_holds_the_truth_as_often_as_it_says(
    of_study: Callable[[int], dict[Key, Interval]], of_world: Callable[[int], dict[Key, Floats]]
) -> None:
    found = coverage([of_study(seed) for seed in range(STUDIES)], [of_world(seed) for seed in range(4)])
    for key, (count, share) in found.items():
        print(*key, count, f"{share:.3f}")
    doubt = (1 if STUDIES >= 2000 else 3) * np.sqrt(0.95 * 0.05 / STUDIES)  # how well the simulation knows a share
    outside = {
        key: share
        for key, (_, share) in found.items()
        if not 0.93 - doubt <= share <= (1 if key[0] in WIDE else 0.97 + doubt)
    }
    assert not outside
