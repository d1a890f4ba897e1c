"""Policies at the same acceptance."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from arbitrage.config.pipeline import Curves
from arbitrage.evaluation.comparison import comparison
from arbitrage.evaluation.curves import Curve, Panel, panels
from arbitrage.evaluation.estimates import Statistic
from arbitrage.evaluation.lowest_gain import Gains, lowest_gains
from arbitrage.evaluation.speedup import speedups
from arbitrage.io.csv_tables import read_csv
from arbitrage.io.tables import write_table
from tests.conftest import World
from tests.support import simulated, synthetic


@pytest.fixture
def table(world: World) -> pd.DataFrame:
    return read_csv(world.folder / "curves" / "comparison.csv")


def _straight_panel(questions: int = 50) -> Panel:
    """Two made-up policies: at every acceptance, `router` is right on 20 % more of the questions than `rsd`."""
    curves: dict[str, tuple[Curve, ...]] = {}
    for policy, bonus in (("rsd", 0.0), ("router", 0.2)):
        steps = 41
        rows = [
            {
                "question_id": f"{question:03d}",
                "acceptance": place / (steps - 1),
                "correct": float(question / questions < 0.7 * (1 - place / (steps - 1)) + bonus),
                "equal": 1.0,
                "worse": 0.0,
                "better": 1.0,
                "steps": 4.0,
            }
            for question in range(questions)
            for place in range(steps)
        ]
        index = np.arange(questions * steps).reshape(questions, steps).T
        names = tuple(f"{question:03d}" for question in range(questions))
        curves[policy] = (Curve(pd.DataFrame(rows), names, np.linspace(0, 1, steps), index),)
    weights = np.random.default_rng(1).multinomial(questions, np.full(questions, 1 / questions), 400).astype(float)
    return Panel("p", "b", curves, weights)


def _value(table: pd.DataFrame, metric: str, policy: str, level: float | None = None) -> pd.Series:
    rows = table[(table["metric"] == metric) & (table["policy"] == policy)]
    return (rows if level is None else rows[rows["level"] == level]).iloc[0]


def test_a_known_gap_between_two_curves_is_found_with_its_interval() -> None:
    table = comparison([_straight_panel()], 0.95, 1)
    gain = _value(table, "mean_gain", "router")
    assert gain["value"] == pytest.approx(0.2, abs=0.01)
    assert 0 < gain["low"] < 0.2 < gain["high"]
    assert _value(table, "accuracy", "rsd", 0.7)["value"] == pytest.approx(0.7 * 0.3, abs=0.02)
    assert _value(table, "accuracy_gain", "router", 0.9)["value"] == pytest.approx(0.2, abs=0.02)
    assert _value(table, "lowest_gain", "router")["low"] > 0
    assert _value(table, "mean_accuracy", "rsd")["value"] == pytest.approx(0.7 * (1 - 0.725), abs=0.01)
    mean = table[(table["metric"] == "mean_accuracy_gain") & (table["policy"] == "rsd")].iloc[0]
    assert mean["against"] == "router" and mean["value"] == pytest.approx(-0.2, abs=0.01)
    assert mean["low"] < -0.2 < mean["high"] < 0 and mean["trainings"] == 1
    assert _value(table, "wasted", "rsd", 0.7)["value"] == pytest.approx(0.25)


def test_pairing_makes_a_gains_interval_narrower_than_the_accuracies_own(table: pd.DataFrame) -> None:
    own = table[table["metric"] == "accuracy"].set_index(["pair", "benchmark", "policy", "level"])
    gains = table[(table["metric"] == "accuracy_gain") & (table["against"] == "random") & (table["policy"] == "rsd")]
    ratio = []
    for gain in gains.itertuples():
        both = [own.loc[(gain.pair, gain.benchmark, policy, gain.level)] for policy in ("rsd", "random")]
        ratio.append((gain.high - gain.low) / sum(one["high"] - one["low"] for one in both))
    assert np.mean(ratio) < 0.8


def test_more_accuracy_never_allows_more_acceptance(table: pd.DataFrame) -> None:
    kept = table[table["metric"] == "acceptance"]
    for _, own in kept.groupby(["pair", "benchmark", "policy"]):
        assert own.sort_values("level")["value"].dropna().is_monotonic_decreasing


def test_a_sweep_of_listed_thresholds_can_be_compared_where_both_have_points(tmp_path: Path) -> None:
    rows = synthetic.trajectories("small", "lab500", 30, ("router", "rsd"))
    listed = np.linspace(0, 1, 41)
    rows = [row for row in rows if any(row["threshold_low"] <= tau < row["threshold_high"] for tau in listed)]
    write_table(tmp_path / "t.parquet", "trajectories", rows)
    (panel,) = panels([tmp_path / "t.parquet"], Curves(resamples=100), 0)
    table = comparison([panel], 0.95, 0)
    gain = _value(table, "mean_gain", "router")
    assert gain["low"] <= gain["value"] <= gain["high"]
    assert 0 < gain["covered"] < 1
    empty = table[table["value"].isna()]
    assert len(empty)
    assert empty[["low", "high"]].isna().all().all()
    assert empty["reason"].str.contains("no operating point|fewer than 5|no threshold").all()


def _world_table(thresholds: np.ndarray, oracle_from: float) -> pd.DataFrame:
    """Router and oracle of a world in which the oracle is better at every rate that it has."""
    generator = np.random.default_rng(4)
    world = simulated.questions(600, generator)
    seen = simulated.scores(world, 0.3, generator)
    advantages = np.unique(world.advantage[world.exists])
    chosen = np.unique(np.append(np.quantile(advantages, np.linspace(0, 1, 80)), 0.0))
    curves = {
        "router": (simulated.curve(world, seen, thresholds, "router"),),
        "oracle": (simulated.curve(world, world.advantage, chosen[chosen >= oracle_from], "oracle"),),
    }
    return comparison([simulated.panel(world, curves, 200, 0)], 0.95, 0)


def test_the_oracle_is_not_compared_across_the_hole_that_ties_leave_in_its_curve() -> None:
    """Half of the steps tie: below threshold 0 the oracle escalates them all at once. A line there is below the router,
    where the oracle is above it wherever it has operating points."""
    even = simulated.even_thresholds(0.3, 41)
    for oracle_from in (0.0, -np.inf):  # the hole is left out even where thresholds below 0 are there
        table = _world_table(even, oracle_from)
        gain = _value(table, "mean_gain", "oracle")
        assert gain["low"] > 0
        for level in (0.6, 0.7):
            row = _value(table, "accuracy", "oracle", level)
            assert np.isnan(row["value"])
            assert np.isnan(row["low"])
            assert "no operating point" in row["reason"]


def test_a_policy_beside_itself_on_a_coarse_grid_gains_nothing() -> None:
    """Known truth: the same scores. On a line between far points the finer sweep would be the better policy."""
    generator = np.random.default_rng(8)
    world = simulated.questions(600, generator)
    seen = simulated.scores(world, 0.4, generator)
    coarse = simulated.uneven_thresholds(0.4, (0, 0.41, 0.55, 0.62, 0.7, 0.75, 0.8, 0.86, 0.91, 0.96, 1))
    curves = {
        "router": (simulated.curve(world, seen, simulated.even_thresholds(0.4, 101), "router"),),
        "rsd": (simulated.curve(world, seen, coarse, "rsd"),),
    }
    panel = simulated.panel(world, curves, 300, 0)
    gain = _value(comparison([panel], 0.95, 0), "mean_gain", "router")
    assert abs(gain["value"]) < 0.002
    assert gain["covered"] < 0.5
    typical = next(one for one in speedups(panel, simulated.clock(300)) if one.metric == "typical").row(0.95, 0)
    assert typical["value"] == pytest.approx(1, abs=0.02)
    assert not typical["low"] > 1


def test_resamples_that_never_reach_an_accuracy_count_as_accepting_nothing() -> None:
    generator = np.random.default_rng(2)
    world = simulated.questions(120, generator)
    seen = simulated.scores(world, 0.6, generator)
    few = simulated.even_thresholds(0.6, 61)[40:]  # its most careful threshold still accepts two thirds
    curves = {"rsd": (simulated.curve(world, seen, few, "rsd"),)}
    row = _value(comparison([simulated.panel(world, curves, 400, 0)], 0.95, 0), "acceptance", "rsd", 0.75)
    assert 0.05 < row["unreached"] < 0.95
    assert row["low"] == 0


def test_levels_between_draft_and_target_are_each_resamples_own() -> None:
    """A policy that mixes draft and target at random keeps a share s of their gap at 1 - s accepted, whoever the
    questions are: in every resample the same. Levels fixed at the data's would make this number look uncertain."""
    questions, steps = 200, 41
    generator = np.random.default_rng(5)
    draft, target = generator.random(questions) < 0.3, generator.random(questions) < 0.8
    accepted = np.linspace(0, 1, steps)[:, None]

    def curve(share: np.ndarray, thresholds: np.ndarray) -> tuple[Curve, ...]:
        values = {"correct": share * draft + (1 - share) * target, "acceptance": share * np.ones(questions)}
        rows = pd.DataFrame({name: value.ravel() for name, value in values.items()})
        rows = rows.assign(equal=0.0, worse=0.0, better=0.0, steps=1.0)
        index = np.arange(rows.shape[0]).reshape(-1, questions)
        return (Curve(rows, tuple(map(str, range(questions))), thresholds, index),)

    curves = {
        "rsd": curve(accepted, accepted[:, 0]),
        "draft_only": curve(np.ones((1, 1)), np.array([np.nan])),
        "target_only": curve(np.zeros((1, 1)), np.array([np.nan])),
    }
    weights = generator.multinomial(questions, np.full(questions, 1 / questions), 300).astype(float)
    kept = comparison([Panel("p", "b", curves, weights)], 0.95, 0)
    kept = kept[kept["metric"] == "acceptance"]
    assert kept["value"].to_numpy() == pytest.approx(1 - kept["level"].to_numpy(dtype=float))
    assert kept[["low", "high"]].isna().all().all()  # no resample says anything else


def test_what_is_pooled_is_the_mean_over_panels_with_less_doubt_than_each(table: pd.DataFrame) -> None:
    gains = table[(table["metric"] == "mean_gain") & (table["policy"] == "router") & (table["against"] == "rsd")]
    panels, (pooled,) = gains[gains["pair"] != "all"], gains[gains["pair"] == "all"].to_dict("records")
    assert pooled["value"] == pytest.approx(panels["value"].mean())
    assert pooled["high"] - pooled["low"] < (panels["high"] - panels["low"]).max()
    assert (pooled["panels"], pooled["questions"], pooled["trainings"]) == (4, 80, 3)
    assert 0 < pooled["p_inside"] <= 1


def test_one_question_and_no_variance_give_numbers_without_intervals() -> None:
    world = simulated.questions(1, np.random.default_rng(0))
    seen = simulated.scores(world, 0.3, np.random.default_rng(1))
    even = simulated.even_thresholds(0.3, 41)
    curves = {name: (simulated.curve(world, seen, even, name),) for name in ("router", "rsd")}
    table = comparison([simulated.panel(world, curves, 50, 0)], 0.95, 0)
    assert table[["low", "high"]].isna().all().all()
    assert table[["p_inside", "p_outside"]].isna().all().all()
    assert table["reason"].str.len().gt(0).all()


def test_a_band_wider_than_any_gain_is_left_out_with_the_reason() -> None:
    """At a rate at which a dozen questions hardly ever change their minds, the few resamples in which they do are
    thousands of its errors away: as many errors elsewhere would be thousands of points."""
    generator = np.random.default_rng(3)
    samples = generator.normal(0.02, [0.1, 1e-4], (1, 401, 2))
    panel = simulated.panel(simulated.questions(12, generator), {}, 400, 0)
    (row,) = lowest_gains([Gains(panel, "oracle", "rsd", samples, 0)], 0.95, 0)
    assert -1 < row["low"] < row["value"] < 1
    samples[:, 1::10, 1] = 0.3
    (row,) = lowest_gains([Gains(panel, "oracle", "rsd", samples, 0)], 0.95, 0)
    assert np.isfinite(row["value"])
    assert np.isnan([row["low"], row["high"]]).all()
    assert "wider than any gain could be" in row["reason"]


def test_the_smallest_gain_is_of_the_rates_that_its_band_has() -> None:
    """Where both accept every step the gain is 0 in every resample: it says nothing, and has no band."""
    generator = np.random.default_rng(4)
    samples = generator.normal([0.05, 0.1, 0.0], [0.01, 0.01, 0.0], (1, 401, 3))
    panel = simulated.panel(simulated.questions(12, generator), {}, 400, 0)
    (row,) = lowest_gains([Gains(panel, "oracle", "rsd", samples, 0)], 0.95, 0)
    assert row["value"] == samples[0, 0, 0] and row["low"] < row["value"] < row["high"]


@pytest.mark.parametrize(("metric", "bounds"), [("mean_gain", (-1, 1)), ("accuracy", (0, 1)), ("typical", None)])
def test_an_interval_ends_where_a_number_can_be(metric: str, bounds: tuple[float, float] | None) -> None:
    """Three trainings far apart: the t variable of two degrees of freedom has long tails."""
    samples = np.random.default_rng(3).normal([[0.7], [0.1], [0.4]], 0.1, (3, 400))
    one = Statistic("p", "b", metric, "router", "rsd", np.nan, samples, 3, 12)
    row = one.row(0.95, 0)
    if bounds is None:
        assert (row["low"] < -0.2, row["high"] > 1) == (True, True)
    else:
        assert bounds[0] <= row["low"] < 0.1
        assert row["high"] == bounds[1]


def test_without_a_gap_between_draft_and_target_there_is_no_share_of_it() -> None:
    generator = np.random.default_rng(0)
    world = simulated.questions(200, generator)
    seen = simulated.scores(world, 0.3, generator)
    curves = {"rsd": (simulated.curve(world, seen, simulated.even_thresholds(0.3, 41), "rsd"),)}
    panel = simulated.panel(world, curves, 100, 0)
    same = panel.curves | {"target_only": panel.curves["draft_only"]}
    panel = Panel(panel.pair, panel.benchmark, same, panel.weights)
    kept = comparison([panel], 0.95, 0)
    kept = kept[kept["metric"] == "acceptance"]
    assert kept[["value", "low", "high", "unreached"]].isna().all().all()
    assert (kept["reason"] == "the target is no more accurate than the draft").all()
    speed = [one for one in speedups(panel, simulated.clock(100)) if one.metric == "at_accuracy"]
    assert {one.reason for one in speed} == {"the target is no more accurate than the draft"}
