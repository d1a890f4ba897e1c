"""The report to open in a browser: one file, whose explorer gives the numbers of the study's own tables."""

import html
import json
import re
from math import isclose
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from arbitrage.config.study import Study
from arbitrage.io.csv_tables import read_csv
from arbitrage.report.page.charts import NOW, acceptance_chart, latency_chart
from arbitrage.report.page.explorer_data import explorer_data, panel_data, run_name
from arbitrage.report.page.page import write_page
from arbitrage.runtime.outputs import FIGURES
from arbitrage.runtime.paths import StudyPaths


@pytest.fixture(scope="module")
def panel(study: Study) -> dict[str, Any]:
    paths = StudyPaths.of(study)
    return panel_data(paths.trajectories("small", "lab500"), paths.questions("lab500"))


def way_at(question: dict[str, Any], run: int, tau: float) -> list[Any]:
    """As explorer.js looks it up."""
    (way,) = (
        way
        for way in question["ways"]
        if way[0] == run and (way[1] is None or way[1] <= tau) and (way[2] is None or tau < way[2])
    )
    return way


def test_the_slider_gives_the_numbers_of_the_table(study: Study, panel: dict[str, Any]) -> None:
    points = read_csv(StudyPaths.of(study).curves("accuracy_acceptance"))
    points = points[(points["pair"] == "small") & (points["benchmark"] == "lab500") & points["threshold"].notna()]
    assert {0, 1} <= set(points["router_seed"].dropna())
    points = points[points["router_seed"].fillna(0) == 0]  # the explorer walks the first training
    assert set(points["policy"]) >= {"rsd", "router", "oracle"}
    for row in points.to_dict("records"):
        run = panel["runs"].index(run_name(row["policy"], row["router_seed"]))
        ways = [way_at(question, run, row["threshold"]) for question in panel["questions"]]
        shares = [way[3].count("d") / len(way[3]) for way in ways]
        assert isclose(sum(shares) / len(shares), row["acceptance"], rel_tol=1e-6)
        assert isclose(sum(way[5] for way in ways) / len(ways), row["accuracy"], rel_tol=1e-6)


def test_a_way_leads_through_nodes_that_hold_what_was_written_and_scored(panel: dict[str, Any]) -> None:
    for question in panel["questions"]:
        for run, _, _, path, *_ in question["ways"]:
            for index, author in enumerate(path):
                draft, target, sd, st, scores = question["nodes"][path[:index]]
                assert question["texts"][draft if author == "d" else target]
                if panel["runs"][run] == "rsd":
                    assert run in scores and 0 <= sd <= 1 and (author == "d" or 0 <= st <= 1)


def test_panels_without_tables_are_left_out(study: Study, tmp_path: Path) -> None:
    data = explorer_data(study.model_copy(update={"results": str(tmp_path)}))
    assert data["panels"] == {} and data["study"] == "synthetic"


def test_charts_hold_the_curves_and_a_data_set_for_the_slider(study: Study) -> None:
    for kind, draw in (("accuracy_acceptance", acceptance_chart), ("accuracy_latency", latency_chart)):
        rows = read_csv(StudyPaths.of(study).curves(kind))
        chart = draw(rows[(rows["pair"] == "small") & (rows["benchmark"] == "lab500")])
        assert {layer["data"].get("name") for layer in chart["layer"]} >= {NOW}
        assert "NaN" not in json.dumps(chart)


def test_the_page_is_one_file_that_loads_nothing_and_escapes_what_it_shows(study: Study, tmp_path: Path) -> None:
    write_page(study, tmp_path / "index.html")
    page = (tmp_path / "index.html").read_text()
    own = page[: page.index('<script id="data"')]  # after it: data, and scripts that hold pieces of HTML
    assert not re.search(r"(?:src|href)=[\"'](?!data:|#)", own) and "@import" not in page
    assert len(page) < 2.4e6 and "<b>What</b>" not in own


def test_a_figures_paths_are_shortened_and_its_text_is_not(study: Study, tmp_path: Path) -> None:
    write_page(study, tmp_path / "index.html")
    page = html.unescape((tmp_path / "index.html").read_text())
    drawings = [ElementTree.fromstring(unquote(url)) for url in re.findall(r'src="data:image/svg\+xml,([^"]+)"', page)]
    assert len(drawings) == len(FIGURES)
    for drawing in drawings:
        paths = [path.get("d", "") for path in drawing.iter("{http://www.w3.org/2000/svg}path")]
        assert paths and all(re.fullmatch(r"[MLHVCQZz,0-9.-]+", path) for path in paths)
        assert not re.search(r"\.\d{3}", "".join(paths))
    assert "Arbitrage router" in "".join(drawings[1].itertext())


def test_what_is_missing_is_said(study: Study, tmp_path: Path) -> None:
    write_page(study.model_copy(update={"results": str(tmp_path)}), tmp_path / "index.html")
    page = (tmp_path / "index.html").read_text()
    assert f"{tmp_path}/synthetic/summary.md is missing" in page and page.count('class="missing"') >= 6
