"""Routers side by side: the table's numbers are those of the tables behind it, and the figure draws them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from arbitrage.evaluation.router_quality import UNTRAINED
from arbitrage.figures import routers, style
from arbitrage.io.csv_tables import read_csv
from arbitrage.io.tables import read_frame
from tests.conftest import World


@pytest.fixture(scope="module")
def table(world: World) -> pd.DataFrame:
    return routers.of_study(world.study)


def test_each_swept_policy_with_a_threshold_has_its_numbers(world: World, table: pd.DataFrame) -> None:
    compared = read_csv(world.folder / "curves" / "comparison.csv")
    quality = read_csv(world.folder / "router" / "quality.csv").set_index(["pair", "ranking"])
    ranking = {"router": "default", "rsd": "rsd (-sd)", "confidence": "draft confidence"}
    assert set(UNTRAINED) < set(ranking.values())
    for (pair, benchmark), own in table.groupby(["pair", "benchmark"]):
        assert own["policy"].tolist() == ["rsd", "oracle", "router", "random", "confidence"]
        for row in own.itertuples():
            here = compared[(compared["pair"] == pair) & (compared["benchmark"] == benchmark)]
            mine = here[here["policy"] == row.policy].set_index("metric")
            mean = mine.loc["mean_accuracy"]
            assert row.accuracy == pytest.approx(mean["value"], nan_ok=True)
            assert row.accuracy_low == pytest.approx(mean["low"], nan_ok=True)
            gains = mine.loc[["mean_accuracy_gain"]].set_index("against")
            for against in ("confidence", "router"):
                expected = gains.loc[against, "value"] if against in gains.index else np.nan
                assert getattr(row, f"gain_{against}") == pytest.approx(expected, nan_ok=True)
            key = (pair, ranking.get(row.policy))
            expected = quality.loc[key, "auroc"] if key in quality.index else np.nan
            assert row.auroc == pytest.approx(expected, nan_ok=True)
    assert table["accuracy"].notna().sum() > len(table) / 2 and table["auroc"].notna().any()


def test_a_decision_takes_what_the_clock_said_a_step(world: World, table: pd.DataFrame) -> None:
    timed = pd.concat([read_frame(path, "latency") for path in world.tables["latency"]])
    own = timed[(timed["policy"] == "rsd") & (timed["pair"] == "small") & ~timed["uninterrupted"]]
    expected = 1e6 * own["score_s"].sum() / own["steps"].sum()
    found = table[(table["policy"] == "rsd") & (table["pair"] == "small")]["decision_us"]
    assert found.tolist() == pytest.approx([expected] * len(found))
    assert table[table["policy"] == "confidence"]["decision_us"].isna().all()


def test_table_and_figure_are_written(world: World, table: pd.DataFrame, tmp_path: Path) -> None:
    routers.write(world.study, tmp_path / "t.csv", tmp_path / "t.md")
    assert len(read_csv(tmp_path / "t.csv")) == len(table)
    lines = [line for line in (tmp_path / "t.md").read_text().splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(table) and "| Arbitrage router | default |" in lines[4]
    figure = routers.from_study(world.study)
    figure.draw_without_rendering()
    first = style.of_panel(table, *style.panels_of(table)[0])
    drawn = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert drawn == [style.LABELS[name] for name in first.dropna(subset="accuracy").sort_values("accuracy")["policy"]]
    assert len(figure.axes) == 2 * len(style.panels_of(table))
