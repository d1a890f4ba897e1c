"""`report/index.html`: a study's summary, figures, tables, routers, and an explorer of its solutions, in one file.

It needs no network. Sections whose results are missing say so. The page holds vega-embed's bundle (BSD-3-Clause) and
the explorer's script.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from importlib import import_module
from importlib.resources import files
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import matplotlib as mpl
import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from matplotlib.figure import Figure

from arbitrage.config.study import Study
from arbitrage.figures.style import of_panel, panels_of
from arbitrage.io.atomic import write_text
from arbitrage.io.csv_tables import read_csv
from arbitrage.io.tables import TableError
from arbitrage.report.page.charts import acceptance_chart, latency_chart
from arbitrage.report.page.explorer_data import explorer_data
from arbitrage.report.page.mistakes import router_errors
from arbitrage.report.page.router_section import parts
from arbitrage.runtime.outputs import FIGURES, TABLES
from arbitrage.runtime.paths import StudyPaths
from arbitrage.runtime.provenance import SUFFIX

EMBED = "window.vegaEmbed = vegaEmbed; window.vega = vega; window.vegaLite = vegaLite;"  # what the page's script calls
READING = {
    "fig3": "Deferrals that bring nothing: how often the target's step was no better than the draft's it replaced.",
    "fig4": "Accuracy against acceptance. Higher is better at the same share of accepted draft steps.",
    "fig5": "Accuracy against latency. Further up and to the left is better.",
    "fig6": "One question on which RSD and the router, at the same overall acceptance, choose differently.",
    "figA1": "What became of the steps that each policy rejected.",
    "figE1": "Fig. 4 with the controls that the paper does not have.",
    "routers": "Beyond the paper: what each policy is worth on average, and against the clock.",
}


def write_page(study: Study, out: Path) -> None:
    """Write the page of a study's results, whole or not at all."""
    paths = StudyPaths.of(study)
    explored, routers = explorer_data(study), parts(study)
    every = [f"{pair} {benchmark}" for pair in study.pairs for benchmark in study.benchmarks]
    drawn = {chart.key: chart.specification for part in routers for panel in part.panels for chart in panel.charts}
    try:
        errors, missing = router_errors(study, explored["panels"]), ""
    except (FileNotFoundError, TableError) as error:
        errors, missing = [], str(error)
    environment = Environment(
        loader=PackageLoader("arbitrage.report.page"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("index.html.j2").render(
        study=study.study,
        unexplored=[name for name in every if name not in explored["panels"]],
        summary=_summary(paths),
        figures=[_figure(study, name) for name in FIGURES],
        tables=[_table(paths, name) for name in TABLES],
        router_parts=routers,
        router_errors=errors,
        errors_missing=missing,
        records=_records(paths),
        data=_packed(_as_json(explored | {"charts": _charts(paths) | {"router": drawn}})),
        bundle=_packed(vl_convert.javascript_bundle(EMBED)),
        script=_asset("explorer.js"),
        style=_asset("page.css"),
    )
    write_text(out, page)


def _summary(paths: StudyPaths) -> str:
    if not paths.summary.is_file():
        return _missing(paths.summary)
    return _as_html(paths.summary.read_text(encoding="utf-8"))


def _figure(study: Study, name: str) -> dict[str, str]:
    """name, how to read it, the file that holds its numbers, and the drawing as a data URL (or why there is none)."""
    try:
        figure: Figure = import_module(f"arbitrage.figures.{name}").from_study(study)
    except (FileNotFoundError, TableError) as error:
        return {"name": name, "reading": READING[name], "missing": str(error), "url": ""}
    text = StringIO()
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):  # equal bytes; text stays text
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return {"name": name, "reading": READING[name], "missing": "", "url": _as_url(text.getvalue())}


def _as_url(svg: str) -> str:
    """A drawing as a data URL; its paths, which are most of it, to a hundredth of a point."""
    paths = re.compile(r'(?<= d=")[^"]+')
    return "data:image/svg+xml," + quote(paths.sub(lambda path: _short(path[0]), svg), safe=",/:;=()")


def _short(path: str) -> str:
    path = re.sub(r"(\.\d\d)\d+", r"\1", path)
    return re.sub(r"\s+", ",", re.sub(r"\s*([A-Za-z])\s*", r"\1", path.strip()))


def _table(paths: StudyPaths, name: str) -> dict[str, str]:
    path = paths.table(name, "md")
    if not path.is_file():
        return {"name": name, "title": name, "html": _missing(path)}
    title, _, rest = path.read_text(encoding="utf-8").partition("\n")  # a heading, which the page has a level for
    return {"name": name, "title": title.removeprefix("# "), "html": _as_html(rest)}


def _charts(paths: StudyPaths) -> dict[str, dict[str, Any]]:
    """Specifications by kind and panel ("<pair> <benchmark>"); kinds without a table are empty."""
    kinds = {"acceptance": ("accuracy_acceptance", acceptance_chart), "latency": ("accuracy_latency", latency_chart)}
    charts: dict[str, dict[str, Any]] = {}
    for kind, (table, draw) in kinds.items():
        path = paths.curves(table)
        rows = read_csv(path) if path.is_file() else None
        charts[kind] = {} if rows is None else {f"{p} {b}": draw(of_panel(rows, p, b)) for p, b in panels_of(rows)}
    return charts


def _records(paths: StudyPaths) -> list[dict[str, Any]]:
    """Of every result: its path, the command that makes it, the seconds it took, its SHA-256."""
    rows = []
    for record in sorted(paths.folder.rglob(f"*{SUFFIX}")):
        content = json.loads(record.read_text(encoding="utf-8"))
        rows.append({key: content.get(key, "") for key in ("output", "command", "wall_s", "sha256")})
    return rows


def _missing(path: Path) -> str:
    return f"<p class='missing'>{path} is missing: run the study that writes it.</p>"


def _as_html(markdown: str) -> str:
    return str(MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown))


def _packed(text: str) -> str:
    """Compressed (without a time, so that equal texts are equal bytes), in base64."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _as_json(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _asset(name: str) -> str:
    return (files("arbitrage.report.page") / "templates" / name).read_text(encoding="utf-8")
