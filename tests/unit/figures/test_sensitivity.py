"""Studies with other PRMs side by side: every number is a study's own, where its PRM's AUROC puts it."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from arbitrage.config.study import Study
from arbitrage.figures import sensitivity
from arbitrage.figures.sensitivity import COLUMNS, NoQualityError, rows_of, write
from arbitrage.io.csv_tables import read_csv
from tests.conftest import World


def with_prm(world: World, folder: Path, auroc: float) -> Study:
    """The simulated study under another name, with a PRM of that quality."""
    folder.mkdir()
    (folder / "training.json").write_text(json.dumps({"measured": {"auroc": auroc}}))
    results = folder.parent / "results"
    shutil.copytree(world.folder / "curves", results / folder.name / "curves")
    study = world.study
    return study.model_copy(
        update={
            "study": folder.name,
            "results": str(results),
            "prm": study.prm.model_copy(update={"path": str(folder)}),
        }
    )


def test_numbers_are_the_studies_own(world: World, tmp_path: Path) -> None:
    studies = [with_prm(world, tmp_path / name, auroc) for name, auroc in (("weak", 0.85), ("best", 0.99))]
    write(studies, tmp_path / "sensitivity")
    rows = read_csv(tmp_path / "sensitivity.csv")
    assert list(rows.columns) == COLUMNS and set(rows["auroc"]) == {0.85, 0.99}
    compared = read_csv(world.folder / "curves" / "comparison.csv")
    theirs = compared[
        (compared["metric"] == "accuracy") & (compared["policy"] == "router") & (compared["level"] == 0.8)
    ]
    ours = rows[(rows["policy"] == "router") & (rows["level"] == 0.8) & (rows["study"] == "weak")]
    assert ours["value"].tolist() == theirs["value"].tolist() and len(ours) == 4
    alone = rows[rows["level"].isna()]
    assert set(alone["policy"]) == {"draft_only", "target_only"} and alone["value"].notna().all()
    table = (tmp_path / "sensitivity.md").read_text().splitlines()
    assert table[0] == "| pair | benchmark | policy | accepted | weak (0.850) | best (0.990) |"
    assert (tmp_path / "sensitivity.png").stat().st_size > 10_000


def test_a_policy_without_an_operating_point_has_no_point(world: World, tmp_path: Path) -> None:
    rows = rows_of(with_prm(world, tmp_path / "prm", 0.9))
    rows.loc[rows["policy"] == "oracle", ["value", "low", "high"]] = float("nan")
    figure = sensitivity.draw(rows)
    assert len(figure.axes) == 4 * len(sensitivity.LEVELS)
    assert "| oracle | 80% | – |" in sensitivity.as_markdown(rows)


def test_trainings_have_a_place_each_and_no_line_between_them(world: World, tmp_path: Path) -> None:
    studies = [with_prm(world, tmp_path / f"seed-{seed}", 0.98 - seed / 1000) for seed in (1, 2, 3)]
    figure = sensitivity.draw(pd.concat(map(rows_of, studies), ignore_index=True), "training")
    for ax in figure.axes:
        assert [label.get_text() for label in ax.get_xticklabels()] == ["seed-1", "seed-2", "seed-3"]
        assert all(line.get_linestyle() == "None" for line in ax.get_lines())
    points = [round(x) for line in figure.axes[0].get_lines() for x in line.get_xdata()]
    assert points.count(0) == points.count(1) == points.count(2) > 0


def test_a_prm_without_a_measured_auroc_is_refused(world: World, tmp_path: Path) -> None:
    study = with_prm(world, tmp_path / "prm", 0.9)
    (tmp_path / "prm" / "training.json").write_text("{}")
    with pytest.raises(NoQualityError, match=r"training.json: no measured AUROC; .*make zoo"):
        rows_of(study)
