"""Studies that leave things out: every result is still written, with its columns, and read again."""

from pathlib import Path

import pytest

from arbitrage.config.study import Study
from arbitrage.evaluation.accuracy_acceptance import write_accuracy_acceptance
from arbitrage.evaluation.comparison import write_comparison
from arbitrage.evaluation.deferrals import write_outcomes
from arbitrage.evaluation.latency_curves import timed_panels, write_accuracy_latency
from arbitrage.evaluation.router_quality import write_quality
from arbitrage.evaluation.speedup import write_speedup
from arbitrage.figures import fig4, fig5, figE1
from arbitrage.io.csv_tables import read_csv
from arbitrage.io.tables import read_table, write_table
from arbitrage.report.summary import write_summary
from tests.conftest import World
from tests.support import synthetic


@pytest.mark.parametrize("policies", [("draft_only", "target_only"), ("rsd",), ("router", "draft_only")])
def test_a_study_of_few_policies_and_no_clock_has_all_its_results(
    world: World, tmp_path: Path, policies: tuple[str, ...]
) -> None:
    pairs = {"small": world.study.pairs["small"].model_copy(update={"latency": False})}
    study: Study = world.study.model_copy(update={"results": str(tmp_path), "pairs": pairs})
    folder, settings, seed = Path(study.folder), study.curves, study.seed
    write_table(folder / "t.parquet", "trajectories", synthetic.trajectories("small", "lab500", 8, policies))
    curves, swept = folder / "curves", [folder / "t.parquet"]
    write_accuracy_acceptance(swept, settings, seed, curves / "accuracy_acceptance.csv")
    write_outcomes(swept, settings, seed, curves / "outcomes.csv")
    write_comparison(swept, settings, seed, curves / "comparison.csv")
    write_accuracy_latency([], settings, seed, curves / "accuracy_latency.csv")
    write_speedup([], settings, seed, curves / "speedup.csv")
    write_quality(world.tables["heldout"], settings, seed, folder / "router" / "quality.csv")
    points = read_csv(curves / "accuracy_acceptance.csv")
    assert set(points["policy"]) == set(policies)
    for name in ("outcomes", "comparison", "accuracy_latency", "speedup"):
        own = read_csv(curves / f"{name}.csv")
        assert list(own.columns) == list(read_csv(world.folder / "curves" / f"{name}.csv").columns)
    write_summary(study, folder / "summary.md")
    assert "No pair of this study is timed." in (folder / "summary.md").read_text()
    fig4.draw(points, 0.95).draw_without_rendering()
    figE1.draw(points, 0.95).draw_without_rendering()


def test_a_single_timed_question_has_no_intervals_and_is_drawn(world: World, tmp_path: Path) -> None:
    settings, seed = world.study.curves, world.study.seed
    timed = read_table(world.tables["latency"][0], "latency")
    first = {row["benchmark"]: row["question_id"] for row in reversed(timed)}
    write_table(tmp_path / "timed.parquet", "latency", [r for r in timed if r["question_id"] == first[r["benchmark"]]])
    panels = timed_panels(world.tables["trajectories"], [tmp_path / "timed.parquet"], settings, seed)
    write_accuracy_latency(panels, settings, seed, tmp_path / "points.csv")
    points = read_csv(tmp_path / "points.csv")
    measured = points[points["measured"]]
    assert len(measured) and measured[["latency_low", "latency_high"]].isna().all(axis=None)
    assert (points[["latency_low", "accuracy_low"]].dtypes == "float64").all()
    fig5.draw(points, read_csv(world.folder / "curves" / "speedup.csv"), 0.95).draw_without_rendering()
