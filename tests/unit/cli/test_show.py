"""`arbitrage show`: the report's own numbers in 80 columns, and what is missing of an unfinished study."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result
from typer.testing import CliRunner

from arbitrage import cli
from arbitrage.config.load import study_hash, write_resolved
from arbitrage.io.csv_tables import read_csv
from arbitrage.publishing.check_records import NEEDED
from arbitrage.report.summary import verdicts_of
from arbitrage.runtime.paths import StudyPaths
from arbitrage.runtime.provenance import record_of
from tests.conftest import World


@pytest.fixture(scope="module")
def folder(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The simulated study's results, moved, as far as the summary reads them, with the record that names the study."""
    write_resolved(world.study)
    folder = tmp_path_factory.mktemp("moved") / "synthetic"
    shutil.copytree(world.folder, folder)
    paths = StudyPaths(folder)
    paths.sampling_report.parent.mkdir(exist_ok=True)
    paths.sampling_report.write_text("{}")
    output = paths.curves("comparison")
    record = dict.fromkeys(NEEDED, "") | {"output": "curves/comparison.csv", "study_hash": study_hash(world.study)}
    record_of(output).write_text(json.dumps(record))
    return folder


def shown(*words: str | Path) -> Result:
    return CliRunner().invoke(cli.app, ["show", *map(str, words)], env={"COLUMNS": "80"})


@pytest.fixture(scope="module")
def said(folder: Path) -> str:
    done = shown(folder)
    assert done.exit_code == 0, done.output
    return done.output


def test_piped_it_is_plain_text_of_80_columns(said: str) -> None:
    assert "\x1b" not in said
    assert max(map(len, said.splitlines())) <= 80


def test_every_claim_stands_there_with_the_summarys_verdict(world: World, folder: Path, said: str) -> None:
    found = verdicts_of(world.study, StudyPaths(folder))
    assert f"{len(found)} claims of the paper" in said
    table = said.partition("Accuracy in per cent")[0]
    for verdict in {one.verdict for one in found}:
        assert table.count(f"│ {verdict} ") == sum(one.verdict == verdict for one in found)


def _values(comparison: pd.DataFrame, pair: str, benchmark: str) -> list[str]:
    own = comparison[(comparison["pair"] == pair) & (comparison["benchmark"] == benchmark)]
    own = own[(own["metric"] == "accuracy") & own["low"].notna()]
    return [f"[{100 * row.low:.1f}, {100 * row.high:.1f}]" for row in own.itertuples()]


def test_accuracies_are_those_of_the_comparison_and_every_curve_has_its_points(folder: Path, said: str) -> None:
    comparison = read_csv(StudyPaths(folder).curves("comparison"))
    panels = said.split("pair ")[1:]
    assert len(panels) == 4
    for panel in panels:
        pair, benchmark = panel.split("\n")[0].strip().split(", benchmark ")
        values = _values(comparison, pair, benchmark)
        assert values and all(value in panel for value in values)
        plot, _, legend = panel.partition("(accuracy, %)")[2].partition("(accepted, %)")
        for letter, label in (("A", "RSD"), ("B", "Arbitrage oracle"), ("C", "Arbitrage router")):
            assert letter in plot and f"{letter} {label}" in legend


def test_a_choice_shows_its_panel_alone(folder: Path) -> None:
    done = shown(folder, "--pair", "lowbit", "--benchmark", "lab500")
    assert done.exit_code == 0
    assert done.output.count("pair ") == 1 and "pair lowbit, benchmark lab500" in done.output
    assert "claims" not in done.output
    wrong = shown(folder, "--pair", "smal")
    assert wrong.exit_code == 2 and "no pair 'smal'; it has small, lowbit" in " ".join(wrong.output.split())


@pytest.mark.parametrize(("gone", "curves"), [("speedup", True), ("comparison", False)])
def test_what_is_missing_is_named_with_the_command_that_makes_it(
    folder: Path, tmp_path: Path, gone: str, curves: bool
) -> None:
    unfinished = tmp_path / "synthetic"
    shutil.copytree(folder, unfinished)
    StudyPaths(unfinished).curves(gone).unlink()
    done = shown(unfinished)
    assert done.exit_code == 1
    assert ("pair small, benchmark lab500" in done.output) == curves
    assert "claims" not in done.output
    message = str(done.exception)
    assert f"missing: curves/{gone}.csv." in message and "snakemake --cores all --configfile" in message


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    assert "no provenance record; expected the results of a study" in str(shown(tmp_path).exception)
