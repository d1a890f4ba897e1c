"""Policies at the same acceptance."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from arbitrage.config.pipeline import Curves
from arbitrage.evaluation.comparison import compare
from arbitrage.evaluation.curves import Curve, Panel, panels
from arbitrage.io.csv_tables import read_csv
from arbitrage.io.tables import write_table
from tests.conftest import World
from tests.support import synthetic


@pytest.fixture
def table(world: World) -> pd.DataFrame:
    return read_csv(world.folder / "curves" / "comparison.csv")


def _straight_panel(questions: int = 50) -> Panel:
    """Two made-up policies: at every acceptance, `router` is right on 20 % more of the questions than `rsd`."""
    curves = {}
    for policy, bonus in (("rsd", 0.0), ("router", 0.2)):
        steps = 21
        rows = [
            {
                "question_id": f"{question:03d}",
                "acceptance": place / (steps - 1),
                "correct": float(question / questions < 0.7 * (1 - place / (steps - 1)) + bonus),
                "equal": 1.0,
                "worse": 0.0,
                "steps": 4.0,
            }
            for question in range(questions)
            for place in range(steps)
        ]
        index = np.arange(questions * steps).reshape(questions, steps).T
        names = tuple(f"{question:03d}" for question in range(questions))
        curves[policy] = Curve(pd.DataFrame(rows), names, np.linspace(0, 1, steps), index)
    weights = np.random.default_rng(1).multinomial(questions, np.full(questions, 1 / questions), 400).astype(float)
    return Panel("p", "b", curves, weights)


def _value(table: pd.DataFrame, metric: str, policy: str, level: float | None = None) -> pd.Series:
    rows = table[(table["metric"] == metric) & (table["policy"] == policy)]
    return (rows if level is None else rows[rows["level"] == level]).iloc[0]


def test_a_known_gap_between_two_curves_is_found_with_its_interval() -> None:
    table = compare(_straight_panel(), 0.95)
    gain = _value(table, "mean_gain", "router")
    assert gain["value"] == pytest.approx(0.2, abs=0.01)
    assert 0 < gain["low"] < 0.2 < gain["high"]
    assert _value(table, "accuracy", "rsd", 0.7)["value"] == pytest.approx(0.7 * 0.3, abs=0.02)
    assert _value(table, "accuracy_gain", "router", 0.9)["value"] == pytest.approx(0.2, abs=0.02)
    assert _value(table, "share_not_below", "router")["value"] == 1
    assert _value(table, "wasted", "rsd", 0.7)["value"] == pytest.approx(0.25)


def test_pairing_makes_a_gains_interval_narrower_than_the_accuracies_own(table: pd.DataFrame) -> None:
    own = table[table["metric"] == "accuracy"].set_index(["pair", "benchmark", "policy", "level"])
    gains = table[(table["metric"] == "accuracy_gain") & (table["against"] == "rsd") & (table["policy"] == "oracle")]
    ratio = []
    for gain in gains.itertuples():
        both = [own.loc[(gain.pair, gain.benchmark, policy, gain.level)] for policy in ("oracle", "rsd")]
        ratio.append((gain.high - gain.low) / sum(one["high"] - one["low"] for one in both))
    assert np.mean(ratio) < 0.8


def test_more_accuracy_never_allows_more_acceptance(table: pd.DataFrame) -> None:
    kept = table[table["metric"] == "acceptance"]
    for _, own in kept.groupby(["pair", "benchmark", "policy"]):
        assert own.sort_values("level")["value"].is_monotonic_decreasing


def test_a_sweep_of_listed_thresholds_can_be_compared_where_both_curves_reach(tmp_path: Path) -> None:
    rows = synthetic.trajectories("small", "lab500", 30, ("router", "rsd"))
    rows = [row for row in rows if any(row["threshold_low"] <= tau < row["threshold_high"] for tau in (0.3, 0.5, 0.7))]
    write_table(tmp_path / "t.parquet", "trajectories", rows)
    (panel,) = panels([tmp_path / "t.parquet"], Curves(resamples=100), 0)
    table = compare(panel, 0.95)
    gain = _value(table, "mean_gain", "router")
    assert gain["low"] <= gain["value"] <= gain["high"]
    share = _value(table, "share_not_below", "router")
    assert 0 <= share["low"] <= share["high"] <= 1
    assert table[table["metric"] == "accuracy"]["value"].isna().any()  # acceptances that no listed threshold gives


def test_at_the_same_deferral_the_oracle_wastes_least(table: pd.DataFrame) -> None:
    wasted = table[table["metric"] == "wasted"].pivot(index=["pair", "benchmark"], columns="policy", values="value")
    assert (wasted["oracle"] < wasted["random"]).all()
