"""Curves, held against plain decoding at each threshold."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from arbitrage.config.pipeline import Curves
from arbitrage.config.policies import DEFAULT_POLICIES, THRESHOLD_POLICIES
from arbitrage.evaluation.accuracy_acceptance import accuracy_acceptance, write_accuracy_acceptance
from arbitrage.evaluation.curves import PAPER_GRID, make_curve, panels
from arbitrage.evaluation.deferrals import write_outcomes
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
    own = own[own["threshold"].notna()]
    for row in own.iloc[:: max(1, len(own) // 8)].itertuples():
        tau = row.threshold
        decoded = [
            synthetic.solve(
                *("small", "lab500", question, policy),
                lambda score: (score > tau) != (policy == "rsd"),  # noqa: B023
                training=0 if np.isnan(row.router_seed) else int(row.router_seed),
            )[0]
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
    known = points[points["accuracy_low"].notna()]
    assert len(known) > 0.9 * len(points)
    assert (known["accuracy_low"] <= known["accuracy"] + 1e-9).all()
    assert (known["accuracy"] <= known["accuracy_high"] + 1e-9).all()
    assert (points["questions"] == 40).all()


def test_a_policy_without_a_threshold_is_one_row_without_a_threshold(points: pd.DataFrame) -> None:
    alone = points[points["policy"].isin(["draft_only", "target_only"])]
    assert alone["threshold"].isna().all()
    assert (alone.groupby(["pair", "benchmark", "policy"]).size() == 1).all()


def test_the_papers_grid_is_always_there_and_the_rest_is_limited(world: World, points: pd.DataFrame) -> None:
    points = points[points["threshold"].notna()].fillna({"router_seed": -1})
    for _, own in points.groupby(["pair", "benchmark", "policy", "router_seed"]):
        assert set(PAPER_GRID) <= set(own["threshold"])
        assert own["threshold"].is_monotonic_increasing
        assert len(own) <= world.study.curves.points + len(PAPER_GRID)


def test_curves_reach_from_the_target_to_the_draft(points: pd.DataFrame) -> None:
    for (_, _), own in points.groupby(["pair", "benchmark"]):
        alone = own.set_index("policy")["accuracy"]
        for policy in (name for name in DEFAULT_POLICIES if name in THRESHOLD_POLICIES):
            curve = own[(own["policy"] == policy) & own["threshold"].notna()].sort_values("acceptance")
            assert curve["acceptance"].iloc[-1] == 1
            assert curve["accuracy"].iloc[-1] == alone["draft_only"]
            if policy == "oracle":
                assert curve["threshold"].min() == 0
            else:
                assert curve["acceptance"].iloc[0] == 0
                assert curve["accuracy"].iloc[0] == alone["target_only"]


def test_identical_steps_count_as_accepted_in_a_column_of_their_own(world: World) -> None:
    counts = trajectory_counts(world.tables["trajectories"][:1])
    assert (counts["text_acceptance"] >= counts["acceptance"] - 1e-12).all()
    alone = counts[counts["policy"] == "target_only"]
    assert (alone["text_acceptance"] == 0).all()  # nobody asked the draft


def test_identical_steps_are_told_by_their_words(tmp_path: Path) -> None:
    rows = synthetic.trajectories("small", "lab500", 4, ("rsd",))
    for row in rows:
        for step in row["steps"]:
            step["draft_step"] = step["text"].rstrip() if step["model"] == "target" else step["draft_step"]
    counts = trajectory_counts(_write(tmp_path, rows))
    assert (counts["text_acceptance"] == 1).all()
    assert counts["acceptance"].min() < 1


def test_the_releases_acceptance_is_of_drafted_tokens(points: pd.DataFrame) -> None:
    own = points[(points["policy"] == "rsd") & points["acceptance"].between(0.2, 0.8)]
    assert (own["drafted_acceptance"] - own["token_acceptance"]).abs().max() > 0.001
    alone = points.set_index("policy")["drafted_acceptance"]
    assert (alone["draft_only"] == 1).all()
    assert alone["target_only"].isna().all()


def test_an_answer_nobody_graded_is_left_out_and_counted(tmp_path: Path) -> None:
    rows = synthetic.trajectories("small", "lab500", 10, ("draft_only",))
    for row in rows[:4]:
        row["correct"] = None
    (panel,) = panels(_write(tmp_path, rows), Curves(resamples=50), 0)
    (row,) = accuracy_acceptance(panel, 0.95, 0).to_dict("records")
    assert row["accuracy"] == pytest.approx(np.mean([row["correct"] for row in rows[4:]]))
    assert row["ungraded"] == 4


def test_of_a_router_trained_several_times_the_mean_has_an_interval_over_trainings(points: pd.DataFrame) -> None:
    router = points[(points["policy"] == "router") & (points["pair"] == "small") & (points["benchmark"] == "lab500")]
    assert router["router_seed"].nunique() == 3
    mean = router[router["trainings"] == 3]
    assert mean["router_seed"].isna().all()
    each = [
        np.interp(0.7, own.sort_values("acceptance")["acceptance"], own.sort_values("acceptance")["accuracy"])
        for _, own in router[router["trainings"] == 1].groupby("router_seed")
    ]
    at = mean[np.isclose(mean["acceptance"], 0.7)].iloc[0]
    assert at["accuracy"] == pytest.approx(np.mean(each), abs=0.02)
    single = router[(router["router_seed"] == 0) & router["acceptance"].between(0.6, 0.8)]
    width = (single["accuracy_high"] - single["accuracy_low"]).mean()
    assert at["accuracy_high"] - at["accuracy_low"] > 0.7 * width


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
    (panel,) = panels(_write(tmp_path, pruned), Curves(resamples=10, points=50), 0, listed)
    (whole,) = panels(_write(tmp_path, full), Curves(resamples=10, points=5000), 0)
    (curve,), (reference,) = panel.curves["router"], whole.curves["router"]
    assert curve.thresholds.tolist() == [*listed]  # not 0.3 or 0.4 too, where they happen to be covered
    for tau, accepted in zip(curve.thresholds, curve.mean("acceptance"), strict=True):
        rows = reference.rows[(reference.rows["threshold_low"] <= tau) & (tau < reference.rows["threshold_high"])]
        assert accepted == pytest.approx(rows["acceptance"].mean())
    for kind, write in {"points": write_accuracy_acceptance, "outcomes": write_outcomes}.items():
        write([tmp_path / "t.parquet"], Curves(resamples=10), 0, tmp_path / f"{kind}.csv", listed)
        assert read_csv(tmp_path / f"{kind}.csv")["threshold"].tolist() == [*listed]


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
    (curve,) = panel.curves["router"]
    assert curve.thresholds.tolist() == list(PAPER_GRID)
    assert set(curve.mean("acceptance")) == {0.0}
