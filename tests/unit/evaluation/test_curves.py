"""Curves, held against plain decoding at each threshold."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from arbitrage.config.pipeline import Curves
from arbitrage.config.policies import THRESHOLD_POLICIES
from arbitrage.evaluation.curves import PAPER_GRID, make_curve, panels, write_accuracy_acceptance
from arbitrage.evaluation.trajectory_counts import trajectory_counts
from arbitrage.io.csv_tables import read_csv
from arbitrage.io.tables import TableError, write_table
from tests.conftest import World
from tests.support import synthetic


@pytest.fixture
def points(world: World) -> pd.DataFrame:
    return read_csv(world.folder / "curves" / "accuracy_acceptance.csv")


@pytest.mark.parametrize("policy", THRESHOLD_POLICIES)
def test_every_point_is_what_decoding_at_its_threshold_gives(points: pd.DataFrame, policy: str) -> None:
    own = points[(points["pair"] == "small") & (points["benchmark"] == "lab500") & (points["policy"] == policy)]
    for row in own.iloc[:: max(1, len(own) // 8)].itertuples():
        tau = row.threshold
        decoded = [
            synthetic.solve("small", "lab500", question, policy, lambda score: (score > tau) != (policy == "rsd"))[0]  # noqa: B023
            for question in synthetic.questions_of("lab500", 40)
        ]
        accepted = [np.mean([step["model"] == "draft" for step in one["steps"]]) for one in decoded]
        assert row.accuracy == pytest.approx(np.mean([one["right"] for one in decoded]))
        assert row.acceptance == pytest.approx(np.mean(accepted))


def test_columns_and_ranges_are_as_promised(points: pd.DataFrame) -> None:
    promised = ["pair", "benchmark", "policy", "threshold", "acceptance", "accuracy", "accuracy_low", "accuracy_high"]
    assert set(promised) <= set(points.columns)
    shares = [name for name in points.columns if name.startswith(("acc", "token", "answered"))]
    assert points[shares].min().min() >= 0
    assert points[shares].max().max() <= 1
    assert (points["accuracy_low"] <= points["accuracy"] + 1e-9).all()
    assert (points["accuracy"] <= points["accuracy_high"] + 1e-9).all()
    assert (points["questions"] == 40).all()


def test_a_policy_without_a_threshold_is_one_row_without_a_threshold(points: pd.DataFrame) -> None:
    alone = points[points["policy"].isin(["draft_only", "target_only"])]
    assert alone["threshold"].isna().all()
    assert (alone.groupby(["pair", "benchmark", "policy"]).size() == 1).all()


def test_the_papers_grid_is_always_there_and_the_rest_is_limited(world: World, points: pd.DataFrame) -> None:
    for _, own in points[points["threshold"].notna()].groupby(["pair", "benchmark", "policy"]):
        assert set(PAPER_GRID) <= set(own["threshold"])
        assert own["threshold"].is_monotonic_increasing
        assert len(own) <= world.study.curves.points + len(PAPER_GRID)


def test_curves_reach_from_the_target_to_the_draft(points: pd.DataFrame) -> None:
    for (_, _), own in points.groupby(["pair", "benchmark"]):
        alone = own.set_index("policy")["accuracy"]
        for policy in THRESHOLD_POLICIES:
            curve = own[own["policy"] == policy].sort_values("acceptance")
            assert (curve["acceptance"].iloc[0], curve["acceptance"].iloc[-1]) == (0, 1)
            assert curve["accuracy"].iloc[0] == alone["target_only"]
            assert curve["accuracy"].iloc[-1] == alone["draft_only"]


def test_few_points_are_spread_over_acceptance(world: World) -> None:
    counts = trajectory_counts(world.tables["trajectories"][:1])
    curve = make_curve(counts[counts["policy"] == "rsd"].reset_index(drop=True), 11)
    acceptance = np.sort(curve.mean("acceptance"))
    assert np.diff(acceptance).max() < 0.2


def test_writing_twice_gives_the_same_bytes(world: World, tmp_path: Path) -> None:
    settings, seed = world.study.curves, world.study.seed
    write_accuracy_acceptance(world.tables["trajectories"][::-1], settings, seed, tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == (world.folder / "curves/accuracy_acceptance.csv").read_bytes()


def _write(path: Path, rows: list[dict]) -> list[Path]:
    write_table(path / "t.parquet", "trajectories", rows)
    return [path / "t.parquet"]


def test_a_sweep_of_listed_thresholds_gives_the_listed_points(tmp_path: Path) -> None:
    full = synthetic.trajectories("small", "lab500", 12, ("router",))
    listed = (0.25, 0.5)
    pruned = [row for row in full if any(row["threshold_low"] <= tau < row["threshold_high"] for tau in listed)]
    assert len(pruned) < len(full)
    (panel,) = panels(_write(tmp_path, pruned), Curves(resamples=10, points=50), 0)
    (whole,) = panels(_write(tmp_path, full), Curves(resamples=10, points=5000), 0)
    curve, reference = panel.curves["router"], whole.curves["router"]
    assert 0.5 in curve.thresholds
    for tau, accepted in zip(curve.thresholds, curve.mean("acceptance"), strict=True):
        nearest = np.abs(reference.thresholds - tau).argmin()
        if reference.thresholds[nearest] == tau:
            assert accepted == reference.mean("acceptance")[nearest]
    assert len(curve.thresholds) < len(reference.thresholds) / 4


def test_overlapping_intervals_are_refused(tmp_path: Path) -> None:
    rows = synthetic.trajectories("small", "lab500", 3, ("router",))
    rows[1]["threshold_low"] -= 0.01
    with pytest.raises(TableError, match=f"{rows[1]['question_id']} overlap"):
        list(panels(_write(tmp_path, rows), Curves(), 0))


def test_policies_on_different_questions_are_refused(tmp_path: Path) -> None:
    rows = synthetic.trajectories("small", "lab500", 3, ("router", "rsd"))
    rows = [row for row in rows if (row["policy"], row["question_id"]) != ("rsd", "lab500-0001")]
    with pytest.raises(TableError, match="policy rsd lacks 1 of 3 questions, such as lab500-0001"):
        list(panels(_write(tmp_path, rows), Curves(), 0))


def test_questions_whose_decisions_never_change_still_have_a_curve(tmp_path: Path) -> None:
    rows = synthetic.trajectories("small", "lab500", 3, ("router",))
    always = [
        row | {"threshold_low": -np.inf, "threshold_high": np.inf} for row in rows if row["threshold_low"] == -np.inf
    ]
    (panel,) = panels(_write(tmp_path, always), Curves(resamples=10), 0)
    assert panel.curves["router"].thresholds.tolist() == list(PAPER_GRID)
    assert set(panel.curves["router"].mean("acceptance")) == {0.0}
