"""Wasted deferrals and outcomes of rejections."""

import numpy as np
import pandas as pd
import pytest

from arbitrage.io.csv_tables import read_csv
from tests.conftest import World
from tests.support import synthetic


@pytest.fixture
def points(world: World) -> pd.DataFrame:
    return read_csv(world.folder / "curves" / "outcomes.csv")


def test_what_is_escalated_is_useful_or_wasted(points: pd.DataFrame) -> None:
    assert np.allclose(points["useful"] + points["wasted"], points["deferral"])


def test_the_three_outcomes_sum_to_one_and_are_empty_without_rejections(points: pd.DataFrame) -> None:
    none = points["deferral"] == 0
    assert none.any()
    assert points.loc[none, ["better", "equal", "worse", "better_low"]].isna().all().all()
    assert np.allclose(points.loc[~none, ["better", "equal", "worse"]].sum(axis=1), 1)


def test_the_product_of_the_third_panel_is_the_useful_rate(points: pd.DataFrame) -> None:
    some = points[points["deferral"] > 0]
    assert np.allclose(some["better"] * some["deferral"], some["useful"])


def test_the_oracle_at_threshold_0_wastes_nothing(points: pd.DataFrame) -> None:
    oracle = points[(points["policy"] == "oracle") & (points["threshold"] >= 0)]
    assert len(oracle) > 4
    assert (oracle["wasted"] == 0).all()
    assert (points.loc[points["policy"] == "random", "wasted"] > 0).any()


def test_a_wasted_deferral_is_an_escalation_that_scores_no_better(points: pd.DataFrame) -> None:
    row = points[(points["pair"] == "small") & (points["benchmark"] == "lab500") & (points["policy"] == "rsd")].iloc[30]
    rates = []
    for question in synthetic.questions_of("lab500", 40):
        steps = synthetic.solve("small", "lab500", question, "rsd", lambda score: score <= row["threshold"])[0]["steps"]
        wasted = [step["model"] == "target" and step["target_score"] <= step["draft_score"] for step in steps]
        rates.append(np.mean(wasted))
    assert 0 < row["wasted"] == pytest.approx(np.mean(rates))
