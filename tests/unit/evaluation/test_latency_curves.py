"""Accuracy against latency, and speed-up at matched accuracy."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from arbitrage.evaluation.cost_model import read_cost_model
from arbitrage.evaluation.curves import Panel, make_curve, panels
from arbitrage.evaluation.latency_curves import accuracy_latency
from arbitrage.evaluation.speedup import speedups
from arbitrage.io.csv_tables import read_csv
from arbitrage.io.tables import TableError, read_frame
from tests.conftest import World


@pytest.fixture
def points(world: World) -> pd.DataFrame:
    return read_csv(world.folder / "curves" / "accuracy_latency.csv")


@pytest.fixture
def speedup(world: World) -> pd.DataFrame:
    return read_csv(world.folder / "curves" / "speedup.csv")


@pytest.fixture(scope="module")
def panel(world: World) -> Panel:
    found = panels(world.tables["trajectories"], world.study.curves, world.study.seed)
    return next(panel for panel in found if (panel.pair, panel.benchmark) == ("small", "lab500"))


def test_columns_are_as_promised_and_only_timed_pairs_are_there(points: pd.DataFrame) -> None:
    promised = ["latency_s", "latency_low", "latency_high", "accuracy", "accuracy_low", "accuracy_high", "measured"]
    assert set(promised) <= set(points.columns)
    assert points["measured"].dtype == bool
    assert set(points["pair"]) == {"small"}


def test_a_measured_point_is_the_mean_time_of_the_timed_questions(world: World, points: pd.DataFrame) -> None:
    timed = read_frame(world.tables["latency"][0], "latency")
    measured = points[points["measured"]]
    assert len(measured) == 24
    for row in measured.itertuples():
        same = timed["threshold"].isna() if np.isnan(row.threshold) else timed["threshold"] == row.threshold
        own = timed[(timed["benchmark"] == row.benchmark) & (timed["policy"] == row.policy) & same]
        assert row.latency_s == pytest.approx(own["wall_s"].mean())
        assert row.latency_low < row.latency_s < row.latency_high
        assert row.questions == 10


def test_accuracy_at_a_measured_point_is_that_of_all_questions(world: World, points: pd.DataFrame) -> None:
    accuracy = read_csv(world.folder / "curves" / "accuracy_acceptance.csv")
    for policy in ("draft_only", "target_only"):
        ours = points[points["measured"] & (points["policy"] == policy)].set_index("benchmark")["accuracy"]
        whole = accuracy[(accuracy["pair"] == "small") & (accuracy["policy"] == policy)].set_index("benchmark")
        assert ours.to_dict() == whole["accuracy"].to_dict()


def test_modelled_latency_grows_from_the_drafts_to_more_than_the_targets(points: pd.DataFrame) -> None:
    modelled = points[~points["measured"] & (points["benchmark"] == "lab500")]
    alone = modelled.set_index("policy")["latency_s"]
    for policy in ("rsd", "router"):
        own = modelled[modelled["policy"] == policy].sort_values("acceptance")
        assert own["latency_s"].iloc[-1] > alone["draft_only"]  # the scorer's time
        assert own["latency_s"].iloc[0] > alone["target_only"]  # draft steps in vain


def test_a_threshold_the_sweep_does_not_cover_is_refused(world: World, panel: Panel) -> None:
    rows = panel.curves["rsd"].rows
    at_half = rows[(rows["threshold_low"] <= 0.5) & (rows["threshold_high"] > 0.5)].reset_index(drop=True)
    listed = replace(panel, curves={"rsd": make_curve(at_half, 10)})
    timed = read_frame(world.tables["latency"][0], "latency")
    timed = timed[(timed["benchmark"] == "lab500") & (timed["policy"] == "rsd")]
    with pytest.raises(TableError, match=r"rsd was timed at threshold 0\.15, which the sweep does not cover"):
        accuracy_latency(listed, timed, read_cost_model(world.cost), world.study.curves, 0)


def test_every_comparison_has_its_average_its_largest_and_its_accuracies(speedup: pd.DataFrame) -> None:
    kinds = speedup.groupby(["benchmark", "policy", "baseline"])["kind"].value_counts().unstack()
    assert len(kinds) == 6
    assert (kinds[["at_accuracy", "maximal", "typical"]] == [5, 1, 1]).all().all()
    assert speedup["statement"].str.len().min() > 20


def test_the_largest_ratio_is_no_smaller_than_the_average(speedup: pd.DataFrame) -> None:
    wide = speedup[speedup["kind"] != "at_accuracy"].pivot(
        index=["benchmark", "policy", "baseline"], columns="kind", values="speedup"
    )
    assert (wide["maximal"] >= wide["typical"] - 1e-9).all()


def test_twice_the_scorers_time_slows_what_asks_it(world: World, panel: Panel) -> None:
    model = read_cost_model(world.cost)
    slow = replace(model, seconds=model.seconds | {"rsd_score_calls": 10 * model.seconds["rsd_score_calls"]})
    ratios = [
        speedups(panel, each, 0.95).set_index(["policy", "baseline", "kind"])["speedup"]["router", "rsd", "typical"]
        for each in (model, slow)
    ]
    assert ratios[1] > 1.2 * ratios[0]


def test_half_the_time_at_every_accuracy_is_a_speed_up_of_two(world: World, panel: Panel) -> None:
    rsd = panel.curves["rsd"]
    halved = rsd.rows.assign(policy="router", draft_tokens=rsd.rows["draft_tokens"] / 2)
    twins = replace(panel, curves=panel.curves | {"router": replace(rsd, rows=halved)})
    model = read_cost_model(world.cost)
    by_draft_alone = replace(model, seconds=dict.fromkeys(model.seconds, 0.0) | {"draft_tokens": 1.0})
    table = speedups(twins, by_draft_alone, 0.95)
    ratios = table[(table["policy"] == "router") & (table["baseline"] == "rsd")]
    assert ratios[["speedup", "low", "high"]].to_numpy() == pytest.approx(2.0)
    assert ratios["statement"].str.contains("router is faster than rsd").all()


def test_curves_that_do_not_overlap_are_said_not_to(world: World, panel: Panel) -> None:
    hopeless = panel.curves["rsd"].rows.assign(correct=0.0)
    never = replace(panel, curves=panel.curves | {"rsd": replace(panel.curves["rsd"], rows=hopeless)})
    table = speedups(never, read_cost_model(world.cost), 0.95)
    rows = table[(table["policy"] == "router") & (table["baseline"] == "rsd")]
    assert rows[["speedup", "low", "high"]].isna().all().all()
    assert rows["statement"].str.contains("do not overlap|no curve of rsd reaches").all()
