"""Studies that differ in their PRM, or in the training of all models, side by side: accuracy at one acceptance over the
PRM's AUROC, or for each training (docs/lab.md)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from arbitrage.config.study import Study
from arbitrage.errors import UserError
from arbitrage.figures import markdown, style
from arbitrage.io.atomic import write_text
from arbitrage.io.csv_tables import read_csv, write_csv
from arbitrage.runtime.paths import StudyPaths

LEVELS = (0.6, 0.8, 0.9)
POLICIES = ("oracle", "router", "rsd", "confidence")
Over = Literal["prm", "training"]  # what studies differ in
COLUMNS = ["study", "auroc", "pair", "benchmark", "policy", "level", "value", "low", "high", "reason"]


class NoQualityError(UserError, ValueError):
    """A PRM without a measured AUROC cannot be set on the axis."""


def auroc_of(prm: Path) -> float:
    """The AUROC for step correctness that the training of a PRM of the lab measured. Raises NoQualityError."""
    record = prm / "training.json"
    try:
        return float(json.loads(record.read_text())["measured"]["auroc"])
    except (OSError, KeyError) as error:
        raise NoQualityError(
            f"{record}: no measured AUROC; the sensitivity page compares PRMs that `make zoo` made"
        ) from error


def rows_of(study: Study) -> pd.DataFrame:
    """What a finished study adds (COLUMNS): accuracies at LEVELS, and of draft and target alone (no level)."""
    paths = StudyPaths.of(study)
    compared = read_csv(paths.curves("comparison"))
    at_levels = compared[
        (compared["metric"] == "accuracy") & compared["policy"].isin(POLICIES) & compared["level"].isin(LEVELS)
    ]
    points = read_csv(paths.curves("accuracy_acceptance"))
    alone = points[points["policy"].isin(style.ALONE)].rename(
        columns={"accuracy": "value", "accuracy_low": "low", "accuracy_high": "high"}
    )
    auroc = auroc_of(Path(study.prm.path))
    rows = pd.concat([at_levels, alone], ignore_index=True).assign(study=study.study, auroc=auroc)
    return rows.reindex(columns=COLUMNS)


@style.styled
def draw(rows: pd.DataFrame, over: Over = "prm") -> Figure:
    """rows: those of all studies (COLUMNS). A row of panels for each pair and benchmark, a column for each level.

    over: `prm`, curves over its AUROC; `training`, a place for each study, whose models are others altogether.
    """
    names = sorted(rows["study"].unique())
    rows = rows.assign(x=rows["auroc"] if over == "prm" else rows["study"].map(names.index))
    panels = style.panels_of(rows)
    figure, axes = style.panel_grid(len(panels), len(LEVELS), panel=(2.6, 2.2), extra=1.2)
    for panel, line in zip(panels, axes, strict=True):
        for level, ax in zip(LEVELS, line, strict=True):
            (_over_auroc if over == "prm" else _by_training)(ax, style.of_panel(rows, *panel), level)
            ax.set_title(f"{panel[0]}, {panel[1]}, {level:.0%} accepted", loc="left", fontsize=8)
        line[0].set_ylabel("accuracy (%)")
    if over == "prm":
        for ax in axes[-1]:
            ax.set_xlabel("AUROC of the PRM")
    else:
        for ax in axes.flat:
            ax.set_xticks(range(len(names)), names, fontsize=7)
            ax.set_xlim(-0.5, len(names) - 0.5)
    places = {
        "prm": "over the AUROC of the PRM for the exact checker's labels. Horizontal lines",
        "training": "for each training of all models. Dashes",
    }
    caption = (
        f"Accuracy at the same share of accepted steps, with studies' own intervals, {places[over]}: draft and target "
        "alone. No point where a policy has no operating point at that acceptance: the oracle defers no step whose "
        "advantage is negative."
    )
    style.legend_and_caption(figure, style.policy_handles([*POLICIES, *style.ALONE]), caption)
    return figure


def _over_auroc(ax: Axes, rows: pd.DataFrame, level: float) -> None:
    for policy in style.ALONE:
        for value in rows[rows["policy"] == policy]["value"].unique():
            ax.axhline(100 * value, color=style.COLOURS[policy], linestyle=style.LINES[policy], linewidth=1)
    for policy in POLICIES:
        _points(ax, rows, policy, level, style.LINES[policy])


def _by_training(ax: Axes, rows: pd.DataFrame, level: float) -> None:
    for policy in style.ALONE:
        own = rows[rows["policy"] == policy]
        ax.hlines(100 * own["value"], own["x"] - 0.3, own["x"] + 0.3, colors=style.COLOURS[policy])
    for place, policy in enumerate(POLICIES):  # beside each other
        _points(ax, rows.assign(x=rows["x"] + 0.12 * (place - (len(POLICIES) - 1) / 2)), policy, level, "none")


def _points(ax: Axes, rows: pd.DataFrame, policy: str, level: float, line: object) -> None:
    own = rows[(rows["policy"] == policy) & (rows["level"] == level) & rows["value"].notna()].sort_values("x")
    lengths = [100 * (own["value"] - own["low"]).fillna(0), 100 * (own["high"] - own["value"]).fillna(0)]
    ax.errorbar(
        *(own["x"], 100 * own["value"]),
        yerr=lengths,
        color=style.COLOURS[policy],
        linestyle=line,
        marker="o",
        markersize=3,
        elinewidth=0.7,
    )


def as_markdown(rows: pd.DataFrame) -> str:
    """The same as a table: a line for each pair, benchmark, policy and level, a column for each study."""
    studies = sorted(set(zip(rows["auroc"], rows["study"], strict=True)))
    header = ["pair", "benchmark", "policy", "accepted", *(f"{study} ({auroc:.3f})" for auroc, study in studies)]
    lines = []
    for (pair, benchmark, policy, level), own in rows.groupby(
        ["pair", "benchmark", "policy", "level"], dropna=False, sort=False
    ):
        accepted = "alone" if pd.isna(level) else f"{level:.0%}"
        cells = []
        for _, study in studies:
            theirs = own[own["study"] == study]
            value, low, high = (
                float(theirs[name].iloc[0]) if len(theirs) else float("nan") for name in ("value", "low", "high")
            )
            cells.append(markdown.with_interval(value, low, high, 1, scale=100))
        lines.append([pair, benchmark, policy, accepted, *cells])
    return markdown.table(header, lines)


def write(studies: Sequence[Study], out: Path, over: Over = "prm") -> None:
    """Write `out` with .csv, .md, .pdf and .png; over: as of `draw`.

    Raises NoQualityError; FileNotFoundError for an unfinished study.
    """
    rows = pd.concat([rows_of(study) for study in studies], ignore_index=True)
    write_csv(out.with_suffix(".csv"), rows)
    write_text(out.with_suffix(".md"), as_markdown(rows))
    style.save(draw(rows, over), out.with_suffix(".pdf"), out.with_suffix(".png"), studies[0].figures.dpi)
