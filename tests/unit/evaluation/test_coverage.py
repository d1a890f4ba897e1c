"""Long simulations: how often intervals hold the truth, and how often two equal policies "agree" to differ.

The table in docs/statistics.md is made of them. `STUDIES=500 pytest -m extra <this file>` is a shorter run.
"""

import os
from math import inf

import numpy as np
import pytest

from arbitrage.evaluation.bootstrap import interval, p_values
from arbitrage.evaluation.comparison import compare
from arbitrage.evaluation.curves import PAPER_GRID
from arbitrage.evaluation.estimates import Statistic
from arbitrage.evaluation.speedup import speedups
from tests.support import simulated

pytestmark = [pytest.mark.extra, pytest.mark.timeout(3 * 3600)]

STUDIES = int(os.environ.get("STUDIES", "2000"))
RESAMPLES = 300
NOISE = {"router": 0.25, "rsd": 0.5}
COARSE = (0.0, 0.41, 0.55, 0.62, 0.7, 0.75, 0.8, 0.86, 0.91, 0.96, 1.0)


def _numbers(questions: int, seed: int, resamples: int) -> list[Statistic]:
    """All numbers of one study in which the router sees more than RSD."""
    generator = np.random.default_rng([6, seed])
    world = simulated.questions(questions, generator)
    curves = {
        name: (
            simulated.curve(
                world,
                simulated.scores(world, noise, generator),
                np.unique([*PAPER_GRID, *simulated.even_thresholds(noise, 41)]),
                name,
            ),
        )
        for name, noise in NOISE.items()
    }
    panel = simulated.panel(world, curves, resamples, seed)
    return [*compare(panel)[0], *speedups(panel, simulated.clock(resamples))]


def _key(one: Statistic) -> tuple[str, str, str, float]:
    return one.metric, one.policy, one.against or "", -1.0 if one.level != one.level else float(one.level)


def test_every_interval_that_the_summary_prints_holds_the_truth_as_often_as_it_says() -> None:
    large = [{_key(one): one.samples[0, 0] for one in _numbers(50_000, 10**6 + seed, 1)} for seed in range(4)]
    truth = {key: float(np.mean([numbers[key] for numbers in large])) for key in large[0]}
    held: dict[tuple[str, str, str, float], list[bool]] = {key: [] for key in truth}
    for seed in range(STUDIES):
        for one in _numbers(300, seed, RESAMPLES):
            low, high = interval(one.samples[0, 1:], 0.95)
            if np.isfinite(one.samples[0, 0]) and not np.isnan(low):
                held[_key(one)].append(bool(low <= truth[_key(one)] <= high))
    doubt = 3 * np.sqrt(0.95 * 0.05 / STUDIES)
    for key, each in held.items():
        if key[0] != "largest" and len(each) > STUDIES / 2:  # the largest has no interval in the summary
            print(*key, f"{np.mean(each):.3f}")
            assert 0.93 - doubt <= np.mean(each) <= 0.97 + doubt, key


@pytest.mark.parametrize("questions", [500, 675])
@pytest.mark.parametrize("swapped", [False, True])
def test_two_equal_policies_on_uneven_grids_hardly_ever_agree_with_a_claim(questions: int, swapped: bool) -> None:
    noise = 0.35
    grids = [simulated.even_thresholds(noise, 51), simulated.uneven_thresholds(noise, COARSE)]
    agrees = {"mean_gain": 0, "typical": 0}
    for seed in range(STUDIES):
        generator = np.random.default_rng([5, seed])
        world = simulated.questions(questions, generator)
        curves = {
            name: (simulated.curve(world, simulated.scores(world, noise, generator), grid, name),)
            for name, grid in zip(("router", "rsd"), reversed(grids) if swapped else grids, strict=True)
        }
        panel = simulated.panel(world, curves, 200, seed)
        for one in (*compare(panel)[0], *speedups(panel, simulated.clock(200))):
            if one.metric in agrees and (one.policy, one.against) == ("router", "rsd"):
                region = (0.0, inf) if one.metric == "mean_gain" else (1.0, inf)
                agrees[one.metric] += p_values(one.samples[0], region)[0] <= 0.025
    print(questions, swapped, agrees)
    doubt = 3 * np.sqrt(0.03 * 0.97 / STUDIES)
    assert max(agrees.values()) / STUDIES <= 0.03 + doubt * (STUDIES < 2000)
