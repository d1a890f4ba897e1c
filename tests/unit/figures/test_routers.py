"""Routers side by side: the table's numbers are those of the tables behind it, and the figure draws them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from arbitrage.evaluation.decision_flops import Deciding, decision_flops
from arbitrage.evaluation.router_quality import UNTRAINED
from arbitrage.figures import routers, style
from arbitrage.io.csv_tables import read_csv
from arbitrage.io.tables import read_frame
from arbitrage.runtime import memory
from arbitrage.runtime.paths import StudyPaths
from tests.conftest import World
from tests.support import synthetic
from tests.support.tiny_models import tiny_study


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


def test_a_decision_counts_two_flops_for_each_weight_and_token_read(world: World, table: pd.DataFrame) -> None:
    timed = pd.concat([read_frame(path, "latency") for path in world.tables["latency"]])
    own = timed[(timed["policy"] == "router") & ~timed["uninterrupted"]]
    expected = 2 * synthetic.ROUTER_WEIGHTS * own["score_tokens"].sum() / own["steps"].sum()
    found = table[(table["policy"] == "router") & (table["pair"] == "small")]["decision_flops"]
    assert expected > 0 and found.tolist() == pytest.approx([expected] * len(found))
    others = table[(table["policy"] != "router") | (table["pair"] != "small")]
    assert others["decision_flops"].isna().all()  # the world has no PRM's files, and its other pair is not timed


def test_what_decides_is_the_model_that_reads_the_step_and_the_network_behind_it(tmp_path: Path) -> None:
    policies = {"rsd": {}, "router": {}, "confidence": {}, "target_likelihood": {}, "scalars": {"kind": "scalars"}}
    policies |= {"scalars_prm": {"kind": "scalars+prm"}, "scalars_target": {"kind": "scalars+target"}}
    policies |= {"probe": {"kind": "probe"}}
    study = tiny_study(
        tmp_path,
        2,
        router={"variants": {"default": {}} | {name: each for name, each in policies.items() if each}},
        sweep={"policies": ["draft_only", "target_only", *policies]},
    )
    for network, variant in enumerate(study.routing_variants, start=1):
        folder = StudyPaths.of(study).router("p", variant)
        folder.mkdir(parents=True)
        (folder / "training.json").write_text(json.dumps({"parameters": 10 * network}))
    found = routers.deciding(study)
    draft, target, prm = (memory.shape(str(tmp_path / name), None).parameters for name in ("draft", "target", "prm"))
    assert draft > 10_000 and prm > 10_000
    assert found == {
        ("p", "rsd"): Deciding(prm),
        ("p", "router"): Deciding(10),
        ("p", "target_likelihood"): Deciding(target),
        ("p", "scalars"): Deciding(0, 20),
        ("p", "scalars_prm"): Deciding(prm, 30),
        ("p", "scalars_target"): Deciding(target, 40),
        ("p", "probe"): Deciding(draft, 50),
    }
    rows = [("probe", 7, 7), ("probe", 5, 5), ("scalars", 0, 4), ("target_likelihood", 90, 6)]
    latency = pd.DataFrame(rows, columns=["policy", "score_tokens", "steps"]).assign(
        pair="p", uninterrupted=False, speculative_tokens=0
    )
    assert decision_flops(latency, found).to_dict() == {
        ("p", "probe"): 2 * (draft + 50),
        ("p", "scalars"): 2 * 20,
        ("p", "target_likelihood"): 2 * 15 * target,
    }
    (tmp_path / "prm" / "model.safetensors").unlink()
    memory.shape.cache_clear()
    assert math.isnan(routers.deciding(study)["p", "rsd"].read)


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
