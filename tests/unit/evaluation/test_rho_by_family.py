"""Rho by family, where the truth is known and beside scipy's."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from arbitrage.config.pipeline import Curves
from arbitrage.evaluation.rho_by_family import CONSTANT, rho_by_family

SETTINGS = Curves(resamples=200)
SIZES = {"seen": 400, "blind": 400, "flat": 120, "rare": 99}
FAMILIES = {f"{family}-{question}": family for family in SIZES for question in range(40)}


@pytest.fixture(scope="module")
def heldout() -> pd.DataFrame:
    """A router that sees the advantage in one family, nothing in another, scores all alike in a third."""
    generator, frames = np.random.default_rng(1), []
    for family, size in SIZES.items():
        advantage = generator.normal(size=size)
        score = {"seen": advantage, "blind": generator.normal(size=size), "flat": np.zeros(size)}.get(family, advantage)
        rows = {"pair": "p", "variant": "default", "advantage": advantage, "label": (advantage > 0).astype(int)}
        rows |= {"question_id": [f"{family}-{number % 40}" for number in range(size)], "step_index": np.arange(size)}
        rows |= {"draft_score": 0.5 - 0.1 * advantage, "draft_confidence": generator.random(size)}
        for training in range(2):
            noise = 0.5 * generator.normal(size=size) if family == "seen" else 0
            frames.append(pd.DataFrame(rows | {"router_score": score + noise, "router_seed": training}))
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="module")
def table(heldout: pd.DataFrame) -> pd.DataFrame:
    return rho_by_family(heldout, FAMILIES, SETTINGS, 1).set_index(["ranking", "family"])


def test_rho_is_the_mean_over_trainings_of_scipys(heldout: pd.DataFrame, table: pd.DataFrame) -> None:
    own = heldout[heldout["question_id"].map(FAMILIES) == "seen"]
    each = [spearmanr(part["router_score"], part["advantage"]).statistic for _, part in own.groupby("router_seed")]
    assert table.loc[("default", "seen"), "rho"] == pytest.approx(np.mean(each))
    assert table.loc[("rsd (-sd)", "seen"), "rho"] == pytest.approx(1.0)


def test_a_family_the_router_sees_is_told_from_one_in_which_it_is_blind(table: pd.DataFrame) -> None:
    seen, blind = table.loc[("default", "seen")], table.loc[("default", "blind")]
    truth = 6 / np.pi * np.arcsin(1 / np.sqrt(1.25) / 2)  # of two normals, one with noise of half its spread
    assert seen["rho_low"] < truth < seen["rho_high"] and seen["rho_low"] > 0.7
    assert blind["rho_low"] < 0 < blind["rho_high"]


def test_where_there_is_no_rho_the_table_says_why(table: pd.DataFrame) -> None:
    rare, flat = table.loc[("default", "rare")], table.loc[("default", "flat")]
    assert np.isnan(rare["rho"]) and rare["reason"] == "99 steps; at least 100 are needed"
    assert np.isnan(flat["rho"]) and flat["reason"] == CONSTANT
    assert table.loc[("rsd (-sd)", "flat"), "rho"] == pytest.approx(1.0)


def test_steps_questions_and_trainings_are_counted(table: pd.DataFrame) -> None:
    assert table.loc["default", "steps"].to_dict() == SIZES
    assert table.loc["default", "questions"].to_dict() == dict.fromkeys(SIZES, 40)
    assert set(table.loc["default", "trainings"]) == {2} and set(table.loc["draft confidence", "trainings"]) == {0}
