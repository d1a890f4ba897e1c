"""A long simulation: how often two equal policies, swept at uneven thresholds, "agree" with a claim that one is better.

The table in docs/statistics.md is made of it. `STUDIES=500 pytest -m extra <this file>` is a shorter run.
"""

import os
from math import inf

import numpy as np
import pytest

from arbitrage.evaluation.bootstrap import p_values
from arbitrage.evaluation.comparison import compare
from arbitrage.evaluation.curves import Panel
from arbitrage.evaluation.speedup import speedups
from tests.support import simulated

pytestmark = [pytest.mark.extra, pytest.mark.timeout(3 * 3600)]

STUDIES = int(os.environ.get("STUDIES", "2000"))
RESAMPLES = 199  # (1 + RESAMPLES) / 40 is a whole number: p <= 2.5 % has 2.5 % chance where the bootstrap is right
NOISE = 0.35
COARSE = (0.0, 0.41, 0.55, 0.62, 0.7, 0.75, 0.8, 0.86, 0.91, 0.96, 1.0)  # acceptance: where a fixed grid may fall


def one_study(questions: int, seed: int) -> dict[tuple[str, str], float]:
    """p values of the claims for the router on the finer grid, and for the router on the coarser one.

    The second are those of the opposite claims: either policy may be called the router, for they are equal.
    """
    generator = np.random.default_rng([5, seed])
    world = simulated.questions(questions, generator)
    grids = {
        "router": simulated.even_thresholds(NOISE, 51),
        "rsd": simulated.uneven_thresholds(NOISE, COARSE),
    }
    curves = {
        name: (simulated.curve(world, simulated.scores(world, NOISE, generator), grid, name),)
        for name, grid in grids.items()
    }
    panel = simulated.panel(world, curves, RESAMPLES, seed)
    panel = Panel(panel.pair, panel.benchmark, curves, panel.weights)
    results = {}
    for one in (*compare(panel)[0], *speedups(panel, simulated.clock(RESAMPLES))):
        if one.metric in ("mean_gain", "typical"):
            none = float(one.ratio)
            for fine, region in (("fine", (none, inf)), ("coarse", (-inf, none))):
                results[one.metric, fine] = p_values(one.samples[0], region)[0]
    return results


@pytest.mark.parametrize("questions", [500, 675])
def test_two_equal_policies_on_uneven_grids_hardly_ever_agree_with_a_claim(questions: int) -> None:
    studies = [one_study(questions, seed) for seed in range(STUDIES)]
    agrees = {name: float(np.mean([study[name] <= 0.025 for study in studies])) for name in studies[0]}
    print(questions, agrees)
    doubt = 3 * np.sqrt(0.03 * 0.97 / STUDIES)
    assert max(agrees.values()) <= 0.03 + doubt * (STUDIES < 2000)
