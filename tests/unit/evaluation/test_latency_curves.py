"""Accuracy against latency, and speed-up at matched accuracy."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from arbitrage.evaluation.cost_model import ResampledModel, resampled_model
from arbitrage.evaluation.curves import Panel, make_curve, panels
from arbitrage.evaluation.decoder_work import FEATURES
from arbitrage.evaluation.latency_curves import accuracy_latency
from arbitrage.evaluation.speedup import speedups
from arbitrage.evaluation.trajectory_counts import trajectory_counts
from arbitrage.io.csv_tables import read_csv
from arbitrage.io.tables import TableError, read_frame
from tests.conftest import World
from tests.support import simulated
from tests.support.synthetic import SPECULATIVE


@pytest.fixture
def points(world: World) -> pd.DataFrame:
    return read_csv(world.folder / "curves" / "accuracy_latency.csv")


@pytest.fixture
def speedup(world: World) -> pd.DataFrame:
    return read_csv(world.folder / "curves" / "speedup.csv")


@pytest.fixture(scope="module")
def model(world: World) -> ResampledModel:
    counts = trajectory_counts(world.tables["trajectories"])
    table = read_frame(world.tables["latency"][0], "latency")
    return resampled_model(table, counts, world.study.curves.resamples, world.study.seed)


def _table(panel: Panel, model: ResampledModel) -> pd.DataFrame:
    return pd.DataFrame([one.row(0.95, 0) for one in speedups(panel, model)])


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
    assert len(measured) == 32
    for row in measured.itertuples():
        same = timed["threshold"].isna() if np.isnan(row.threshold) else timed["threshold"] == row.threshold
        same &= timed["uninterrupted"] == row.uninterrupted
        same &= timed["speculative_tokens"] == row.speculative_tokens
        own = timed[(timed["benchmark"] == row.benchmark) & (timed["policy"] == row.policy) & same]
        assert row.latency_s == pytest.approx(own["wall_s"].mean())
        assert row.latency_low < row.latency_s < row.latency_high
        assert (row.questions, row.timed_questions) == (40, 10)


def test_accuracy_at_a_measured_point_is_that_of_all_questions(world: World, points: pd.DataFrame) -> None:
    accuracy = read_csv(world.folder / "curves" / "accuracy_acceptance.csv")
    for policy in ("draft_only", "target_only"):
        own = points[points["measured"] & (points["policy"] == policy) & points["uninterrupted"]]
        own = own[own["speculative_tokens"] == 0]
        ours = own.set_index("benchmark")["accuracy"]
        whole = accuracy[(accuracy["pair"] == "small") & (accuracy["policy"] == policy)].set_index("benchmark")
        assert ours.to_dict() == whole["accuracy"].to_dict()


def test_modelled_latency_grows_from_the_drafts_to_more_than_the_targets(points: pd.DataFrame) -> None:
    modelled = points[~points["measured"] & (points["benchmark"] == "lab500")]
    alone = modelled.set_index("policy")["latency_s"]
    for policy in ("rsd", "router"):
        own = modelled[modelled["policy"] == policy].sort_values("acceptance")
        assert own["latency_s"].iloc[-1] > alone["draft_only"]  # the scorer's time
        assert own["latency_s"].iloc[0] > alone["target_only"]  # draft steps in vain


def test_alone_is_modelled_as_one_generation(points: pd.DataFrame) -> None:
    alone = points[(points["policy"] == "target_only") & (points["benchmark"] == "lab500")]
    stepped = alone[alone["measured"] & ~alone["uninterrupted"]]["latency_s"].iloc[0]
    whole = alone[alone["measured"] & alone["uninterrupted"] & (alone["speculative_tokens"] == 0)]["latency_s"].iloc[0]
    assert whole == pytest.approx(0.9 * stepped)
    assert alone[~alone["measured"]]["latency_s"].iloc[0] == pytest.approx(whole, rel=0.15)


def test_a_threshold_the_sweep_does_not_cover_is_refused(world: World, panel: Panel, model: ResampledModel) -> None:
    rows = panel.curves["rsd"][0].rows
    at_half = rows[(rows["threshold_low"] <= 0.5) & (rows["threshold_high"] > 0.5)].reset_index(drop=True)
    listed = replace(panel, curves={"rsd": (make_curve(at_half, 10),)})
    timed = read_frame(world.tables["latency"][0], "latency")
    timed = timed[(timed["benchmark"] == "lab500") & (timed["policy"] == "rsd")]
    with pytest.raises(TableError, match=r"rsd was timed at threshold 0\.15, which the sweep does not cover"):
        accuracy_latency(listed, model, timed, world.study.curves, 0)


def test_every_comparison_has_its_average_its_largest_and_its_accuracies(speedup: pd.DataFrame) -> None:
    panels = speedup[(speedup["pair"] != "all") & (speedup["metric"] != "token_level")]
    metrics = panels.groupby(["benchmark", "policy", "against"])["metric"].value_counts().unstack()
    assert len(metrics) == 6
    assert (metrics[["at_accuracy", "largest", "typical"]] == [4, 1, 1]).all().all()
    assert not (panels["value"].isna() & panels["reason"].isna()).any()
    (pooled,) = speedup[speedup["pair"] == "all"].to_dict("records")
    assert (pooled["metric"], pooled["policy"], pooled["against"], pooled["panels"]) == ("typical", "router", "rsd", 2)


def test_token_level_speculation_is_set_beside_the_target_alone_as_measured(speedup: pd.DataFrame) -> None:
    rows = speedup[speedup["metric"] == "token_level"]
    assert len(rows) == len(SPECULATIVE) * rows["benchmark"].nunique() == 4
    for row in rows.itertuples():
        assert row.value == pytest.approx(SPECULATIVE[int(row.level)])
        assert row.policy == row.against == "target_only"
        assert row.questions == 10


def test_the_largest_of_two_equal_policies_is_no_bound_to_quote() -> None:
    """Two exchangeable policies: uncorrected, the largest ratio is above 1 in both directions in nearly all studies."""
    noise, larger = 0.35, []
    even = simulated.even_thresholds(noise, 41)
    for seed in range(12):
        generator = np.random.default_rng(seed)
        world = simulated.questions(300, generator)
        curves = {
            name: (simulated.curve(world, simulated.scores(world, noise, generator), even, name),)
            for name in ("router", "rsd")
        }
        table = _table(simulated.panel(world, curves, 150, seed), simulated.clock(150))
        ratios = table[(table["policy"] == "router") & (table["against"] == "rsd")].set_index("metric")["value"]
        larger.append(ratios["largest"])
        assert 0.85 < ratios["typical"] < 1.18
    assert np.mean(larger) < 1.09


def test_twice_the_scorers_time_slows_what_asks_it(panel: Panel, model: ResampledModel) -> None:
    slow = model.seconds.copy()
    slow[:, FEATURES.index("rsd_score_calls")] *= 10
    ratios = [
        _table(panel, each).set_index(["policy", "against", "metric"])["value"]["router", "rsd", "typical"]
        for each in (model, replace(model, seconds=slow))
    ]
    assert ratios[1] > 1.2 * ratios[0]


def test_half_the_time_at_every_accuracy_is_a_speed_up_of_two(panel: Panel, model: ResampledModel) -> None:
    (rsd,) = panel.curves["rsd"]
    halved = rsd.rows.assign(policy="router", draft_tokens=rsd.rows["draft_tokens"] / 2)
    twins = replace(panel, curves=panel.curves | {"router": (replace(rsd, rows=halved),)})
    seconds = np.zeros_like(model.seconds)
    seconds[:, FEATURES.index("draft_tokens")] = 1.0
    table = _table(twins, ResampledModel(seconds, {}, {}))
    ratios = table[(table["policy"] == "router") & (table["against"] == "rsd")]
    assert ratios["value"].dropna().to_numpy() == pytest.approx(2.0)
    assert ratios.set_index("metric")["value"]["typical"] == pytest.approx(2.0)
    assert ratios["low"].isna().all()  # a ratio without variance has no interval


def test_curves_that_do_not_overlap_are_said_not_to(panel: Panel, model: ResampledModel) -> None:
    (rsd,) = panel.curves["rsd"]
    never = replace(panel, curves=panel.curves | {"rsd": (replace(rsd, rows=rsd.rows.assign(correct=0.0)),)})
    table = _table(never, model)
    rows = table[(table["policy"] == "router") & (table["against"] == "rsd")]
    assert rows[["value", "low", "high"]].isna().all().all()
    assert rows["reason"].str.contains("no common accuracy|rsd: no threshold is as accurate").all()


def test_the_models_error_widens_the_interval_of_a_speed_up(panel: Panel, model: ResampledModel) -> None:
    certain = replace(
        model,
        seconds=np.tile(model.seconds[:1], (len(model.seconds), 1)),
        factors={name: np.full_like(own, own[0]) for name, own in model.factors.items()},
        alone={name: np.full_like(own, own[0]) for name, own in model.alone.items()},
    )
    shaken = replace(model, seconds=model.seconds * np.random.default_rng(0).lognormal(0, 0.2, model.seconds.shape))
    shaken.seconds[0] = model.seconds[0]
    widths = []
    for each in (certain, shaken):
        row = _table(panel, each).set_index(["policy", "against", "metric"]).loc[("rsd", "target_only", "typical")]
        widths.append(row["high"] - row["low"])
    assert widths[1] > 1.05 * widths[0]


def test_a_policy_beyond_the_paper_is_set_beside_each_training_of_the_router(
    panel: Panel, model: ResampledModel
) -> None:
    """The router's own solutions, decided by numbers at no cost: as accurate, and faster by what the router takes."""
    trainings = panel.curves["router"]
    free = [replace(curve, rows=curve.rows.assign(policy="scalars")) for curve in trainings]
    compared = speedups(replace(panel, curves=panel.curves | {"scalars": free}), model)
    (over_router,) = [
        one for one in compared if (one.policy, one.against, one.metric) == ("scalars", "router", "typical")
    ]
    assert over_router.trainings == len(trainings) == len(over_router.samples)
    assert (over_router.samples > 1).all() and (over_router.samples < 2).all()
    assert {one.against for one in compared if one.policy == "scalars"} == {"router", "target_only"}
