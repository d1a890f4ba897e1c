"""The page's part on routers and their data: class shares, lengths, calibration, rho by family.

A part is what one file of numbers says: how to read it, charts for every pair, and the numbers as tables, which need no
script. What is missing is said. Where routers err is in `mistakes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from arbitrage.config.study import Study
from arbitrage.evaluation.estimates import ALL
from arbitrage.evaluation.rho_by_family import FEWEST_STEPS
from arbitrage.evaluation.router_calibration import ESTIMATES
from arbitrage.evaluation.step_lengths import SOLUTION_STEPS, STEP_TOKENS
from arbitrage.figures.markdown import NOTHING, number, with_interval
from arbitrage.figures.style import percent
from arbitrage.io.csv_tables import read_csv
from arbitrage.report.page.router_charts import calibration_chart, families_chart, lengths_chart, shares_chart
from arbitrage.runtime.outputs import RouterDetail
from arbitrage.runtime.paths import StudyPaths


@dataclass(frozen=True)
class Chart:
    """key: of the specification in the page's data; title and note: above the drawing."""

    key: str
    title: str
    note: str
    specification: dict[str, Any]


@dataclass(frozen=True)
class Panel:
    """What a part says of one pair: charts, and a table of their numbers."""

    pair: str
    charts: list[Chart]
    head: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Part:
    """name: of the file of numbers; missing: why there are no panels."""

    name: RouterDetail
    title: str
    reading: str
    missing: str = ""
    panels: list[Panel] = field(default_factory=list)


def parts(study: Study) -> list[Part]:
    """The parts in the order in which the page shows them."""
    interval = f"{percent(study.curves.confidence)} intervals over questions and trainings"
    readings: list[tuple[RouterDetail, str, str, Callable[[pd.DataFrame], Iterator[Panel]]]] = [
        (
            "shares",
            "What routers are trained on",
            "Label 1: the target's step scores higher than the draft's (or what the variant's own labels say). Balance "
            "and the cap leave steps of the larger class out of the training part; the held-out part keeps its natural "
            "shares. Lengths are those of a classifier's inputs, in tokens.",
            _shares,
        ),
        (
            "lengths",
            "How long steps and solutions are",
            "All labelled steps of the pair, and the solutions they are of. If escalating gains (label 1) at longer "
            "steps above all, length alone tells something of where to escalate.",
            _lengths,
        ),
        (
            "calibration",
            "Are the routers' outputs what they estimate?",
            "A point is a tenth of the held-out steps (fewer bins where there are few): on the dashed line the output "
            "is what is observed. Above it the router promises too little, below it too much. Training on balanced "
            "classes promises too much by design, since there half of all steps have label 1; the order of steps, "
            f"which thresholds go by, is not touched by that. Bars: {interval}. ECE, the expected calibration "
            "error, is the mean distance from the line; chance alone keeps it above 0.",
            _calibration,
        ),
        (
            "families",
            "How well routers rank, by family",
            "Spearman's ρ between a router's score and the advantage, among the held-out steps of a family of "
            "questions; further to the right is better, and 0 is no better than chance. Two rankings that need no "
            f"training stand beside the routers. Bars: {interval}. Families with fewer than {FEWEST_STEPS} steps "
            "have no ρ: a single question would decide it.",
            _families,
        ),
    ]
    return [_part(study, *each) for each in readings]


def _part(
    study: Study, name: RouterDetail, title: str, reading: str, panels: Callable[[pd.DataFrame], Iterator[Panel]]
) -> Part:
    path: Path = StudyPaths.of(study).router_detail(name)
    if not path.is_file():
        return Part(name, title, reading, missing=f"{path} is missing: run the study that writes it.")
    return Part(name, title, reading, panels=list(panels(read_csv(path))))


def _shares(rows: pd.DataFrame) -> Iterator[Panel]:
    head = ["data set", "part", "kind", "loss", "labels", "classes", "questions", "steps", "label 1", "label 0"]
    head += ["label 1 left out", "label 0 left out", "too long", "ungraded", "tokens: median", "95 %", "longest"]
    names = ["variant", "part", "kind", "loss", "labels", "classes", "questions", "steps", "label_1", "label_0"]
    names += ["dropped_1", "dropped_0", "too_long", "ungraded", "tokens_p50", "tokens_p95", "tokens_max"]
    for pair, own in rows.groupby("pair", sort=False):
        chart = Chart(f"shares-{pair}", "", "", shares_chart(own))
        yield Panel(str(pair), [chart], head, [[_cell(row[name]) for name in names] for row in own.to_dict("records")])


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else number(value, 0)


def _lengths(rows: pd.DataFrame) -> Iterator[Panel]:
    for pair, own in rows.groupby("pair", sort=False):
        kinds = {kind: own[own["of"] == kind] for kind in (STEP_TOKENS, SOLUTION_STEPS)}
        charts = [
            Chart(f"lengths-{pair}-{index}", kind, "", lengths_chart(kinds[kind], kind))
            for index, kind in enumerate(kinds)
        ]
        groups = [*kinds[STEP_TOKENS].groupby("label", sort=True), (None, kinds[SOLUTION_STEPS])]
        table = [
            [f"{part['of'].iloc[0]}{'' if label is None else f', label {label:.0f}'}", *_spread(part)]
            for label, part in groups
        ]
        yield Panel(str(pair), charts, ["length", "how many", "shortest", "median", "95 %", "longest"], table)


def _spread(rows: pd.DataFrame) -> list[str]:
    """How many there are, and quantiles of a distribution of `value` with `count`."""
    ordered = rows.sort_values("value")
    values = ordered["value"].repeat(ordered["count"])
    at = [values.quantile(level, interpolation="higher") for level in (0.0, 0.5, 0.95, 1.0)]
    return [str(len(values)), *(number(value, 0) for value in at)]


def _calibration(rows: pd.DataFrame) -> Iterator[Panel]:
    head = ["router", "output estimates", "bin", "steps", "predicted (%)", "observed (%)", "ECE (%)"]
    for pair, own in rows.groupby("pair", sort=False):
        charts = []
        for variant, bins in own.groupby("variant", sort=False):
            whole = bins[bins["bin"] == ALL].iloc[0]
            error = with_interval(whole["ece"], whole["ece_low"], whole["ece_high"], 1, 100)
            note = f"{ESTIMATES[whole['loss']]}; ECE {error} %"
            chart = calibration_chart(bins[bins["bin"] != ALL])
            charts.append(Chart(f"calibration-{pair}-{variant}", str(variant), note, chart))
        table = [
            [
                *(row["variant"], ESTIMATES[row["loss"]], row["bin"], number(row["steps"], 0)),
                *(number(row["predicted"], 1, 100), _ends(row, "observed", 1, 100), _ends(row, "ece", 1, 100)),
            ]
            for row in own.to_dict("records")
        ]
        yield Panel(str(pair), charts, head, table)


def _families(rows: pd.DataFrame) -> Iterator[Panel]:
    head = ["ranking", "family", "ρ", "steps", "questions", "why there is none"]
    for pair, own in rows.groupby("pair", sort=False):
        low, high = own[["rho", "rho_low"]].min(axis=None), own[["rho", "rho_high"]].max(axis=None)
        domain = (min(0.0, low), max(0.0, high)) if low == low else (0.0, 1.0)
        charts = [
            Chart(f"families-{pair}-{ranking}", str(ranking), "", families_chart(part, domain))
            for ranking, part in own.groupby("ranking", sort=False)
        ]
        table = [
            [
                *(row["ranking"], row["family"], _ends(row, "rho", 3)),
                *(number(row["steps"], 0), number(row["questions"], 0)),
                row["reason"] if isinstance(row["reason"], str) else NOTHING,
            ]
            for row in own.to_dict("records")
        ]
        yield Panel(str(pair), charts, head, table)


def _ends(row: dict[str, Any], name: str, digits: int, scale: float = 1.0) -> str:
    return with_interval(row[name], row[f"{name}_low"], row[f"{name}_high"], digits, scale)
