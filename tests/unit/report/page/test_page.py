"""The report to open in a browser: one file, whose explorer gives the numbers of the study's own tables."""

import html
import json
import re
from math import isclose
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote
from xml.etree import ElementTree

import pytest
import vl_convert

from arbitrage.config.study import Study
from arbitrage.evaluation.router_mistakes import KINDS
from arbitrage.io.csv_tables import read_csv
from arbitrage.io.tables import write_table
from arbitrage.report.page.charts import NOW, acceptance_chart, latency_chart
from arbitrage.report.page.explorer_data import explorer_data, panel_data, run_name
from arbitrage.report.page.mistakes import EXAMPLES, benchmark_mistakes, router_errors
from arbitrage.report.page.page import write_page
from arbitrage.report.page.router_section import Chart, parts
from arbitrage.runtime.outputs import FIGURES, ROUTER_DETAILS
from arbitrage.runtime.paths import StudyPaths
from tests.support import synthetic


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


def test_every_chart_of_the_routers_compiles_and_has_its_numbers_as_a_table(study: Study) -> None:
    shown = parts(study)
    assert [part.name for part in shown] == list(ROUTER_DETAILS[:4])
    for part in shown:
        assert part.panels and not part.missing
        for panel in part.panels:
            assert panel.rows and all(len(row) == len(panel.head) for row in panel.rows)
            for chart in panel.charts:
                assert "NaN" not in json.dumps(chart.specification)
                assert "<path" in vl_convert.vegalite_to_svg(chart.specification)


def values(charts: dict[str, Chart], key: str, layer: int | None = None) -> list[dict[str, Any]]:
    """The rows that a chart, or a layer of it, draws."""
    whole = charts[key].specification
    data = (whole if layer is None else whole["layer"][layer])["data"]
    rows: list[dict[str, Any]] = whole["datasets"][data["name"]] if "name" in data else data["values"]
    return rows


def test_charts_of_the_routers_hold_the_numbers_of_their_files(study: Study) -> None:
    charts = {chart.key: chart for part in parts(study) for panel in part.panels for chart in panel.charts}
    details = {name: read_csv(StudyPaths.of(study).router_detail(name)) for name in ROUTER_DETAILS}
    bins = details["calibration"]
    bins = bins[(bins["variant"] == "scalars") & (bins["bin"] != "all")]
    points = values(charts, "calibration-small-scalars", 2)
    assert [point["observed"] for point in points] == pytest.approx((100 * bins["observed"]).to_list(), abs=1e-3)
    assert "share of what is at stake" in charts["calibration-small-scalars"].note
    families = details["families"]
    families = families[(families["ranking"] == "default") & families["rho"].notna()]
    points = values(charts, "families-small-default", 2)
    assert [point["rho"] for point in points] == pytest.approx(families["rho"].to_list(), abs=1e-4)
    words = values(charts, "families-small-default", 3)
    assert {"family": "rare", "said": "19 steps"}.items() <= words[0].items()
    bars = values(charts, "shares-small")
    assert {(bar["set"], bar["what"]): bar["steps"] for bar in bars}["ten-class", "label 0, left out"] == 600
    lengths = details["lengths"]
    counted = sum(bar["count"] for bar in values(charts, "lengths-lowbit-0"))
    assert counted == len(synthetic.steps("lowbit", 40))
    assert counted == lengths.loc[(lengths["pair"] == "lowbit") & lengths["label"].notna(), "count"].sum()


def test_examples_of_mistakes_are_decisions_that_cost_something(study: Study) -> None:
    panels = explorer_data(study)["panels"]
    (errors,) = router_errors(study, panels)  # the simulated routers are those of one pair
    assert (errors.pair, errors.variant) == ("small", "default")
    where = [place for place, _, _ in errors.examples]
    assert where == ["held-out steps", *synthetic.BENCHMARKS]
    labelled = {(row["question_id"], row["step_index"]): row for row in synthetic.steps("small", 40)}
    for place, _, mistakes in errors.examples:
        assert {mistake.kind for mistake in mistakes} == set(KINDS)
        assert [mistake.kind for mistake in mistakes] == sorted(mistake.kind for mistake in mistakes)
        for mistake in mistakes:
            assert (mistake.router_score > 0.5) == (mistake.kind == "wrong escalation")
            assert (mistake.advantage > 0) == (mistake.kind == "wrong accept")
            assert len(mistake.history) == mistake.number - 1
        for kind in KINDS:
            own = [mistake for mistake in mistakes if mistake.kind == kind]
            assert len({mistake.question_id for mistake in own}) == len(own) <= EXAMPLES
            costs = [abs(mistake.advantage) for mistake in own]
            assert costs == sorted(costs, reverse=True)
        for mistake in mistakes:
            if place == "held-out steps":
                step = labelled[mistake.question_id, mistake.number - 1]
                assert (mistake.draft, mistake.target) == (step["draft_step"], step["target_steps"][0])
                assert not mistake.link
            else:
                address = dict(parse_qsl(mistake.link.removeprefix("#")))
                assert address == {"panel": f"small {place}", "run": "router 0", "tau": "0.5"} | {
                    "question": mistake.question_id
                }


def test_on_a_benchmark_only_decisions_between_known_steps_on_the_routers_own_way_count() -> None:
    nodes = {"": [0, 1, 0.2, 0.9, {1: 0.3}], "d": [2, 3, 0.8, 0.7, {1: 0.6}], "dt": [4, None, 0.1, None, {1: 0.1}]}
    nodes |= {"t": [5, 6, 0.1, 0.9, {1: 0.2}]}  # of another threshold
    ways = [[1, None, 0.2, "ttt"], [1, 0.2, None, "dtd"], [0, None, None, "ttt"]]
    question = {"id": "q", "source": "f", "problem": "?", "texts": list("abcdefg"), "nodes": nodes, "ways": ways}
    mistakes = benchmark_mistakes({"runs": ["rsd", "router 0"], "questions": [question]}, "p b", "router 0")
    assert [(each.kind, each.number, each.draft, each.target) for each in mistakes] == [
        ("wrong accept", 1, "a", "b"),
        ("wrong escalation", 2, "c", "d"),
    ]
    assert mistakes[1].history == [("draft", "a")]
    elsewhere = question | {"ways": [[1, 0.6, None, "dtd"]]}  # a study that lists thresholds, and not this one
    assert benchmark_mistakes({"runs": ["rsd", "router 0"], "questions": [elsewhere]}, "p b", "router 0") == []


def test_a_benchmark_without_solutions_is_left_out_and_named(study: Study, tmp_path: Path) -> None:
    bare = study.model_copy(update={"results": str(tmp_path)})
    write_table(StudyPaths.of(bare).trajectories("small", "lab500"), "trajectories", [])
    write_table(StudyPaths.of(bare).questions("lab500"), "questions", [])
    assert explorer_data(bare)["panels"] == {}
    write_page(bare, tmp_path / "index.html")
    assert "No solutions of small lab500, small labolympiad, lowbit" in (tmp_path / "index.html").read_text()


def test_what_is_missing_is_said(study: Study, tmp_path: Path) -> None:
    write_page(study.model_copy(update={"results": str(tmp_path)}), tmp_path / "index.html")
    page = (tmp_path / "index.html").read_text()
    assert f"{tmp_path}/synthetic/summary.md is missing" in page and page.count('class="missing"') >= 6
    for name in ROUTER_DETAILS:
        assert f"{tmp_path}/synthetic/router/{name}.csv" in page
