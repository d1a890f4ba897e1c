"""Studies that differ in their PRM, side by side: accuracy at one acceptance over the PRM's AUROC (docs/lab.md)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

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
def draw(rows: pd.DataFrame) -> Figure:
    """rows: those of all studies (COLUMNS). A row of panels for each pair and benchmark, a column for each level."""
    panels = style.panels_of(rows)
    figure, axes = style.panel_grid(len(panels), len(LEVELS), panel=(2.6, 2.2), extra=1.2)
    for panel, line in zip(panels, axes, strict=True):
        for level, ax in zip(LEVELS, line, strict=True):
            _panel(ax, style.of_panel(rows, *panel), level)
            ax.set_title(f"{panel[0]}, {panel[1]}, {level:.0%} accepted", loc="left", fontsize=8)
        line[0].set_ylabel("accuracy (%)")
    for ax in axes[-1]:
        ax.set_xlabel("AUROC of the PRM")
    caption = (
        "Accuracy at the same share of accepted steps, with studies' own intervals, over the AUROC of the PRM for the "
        "exact checker's labels. Horizontal lines: draft and target alone. No point where a policy has no operating "
        "point at that acceptance: the oracle defers no step whose advantage is negative."
    )
    style.legend_and_caption(figure, style.policy_handles([*POLICIES, *style.ALONE]), caption)
    return figure


def _panel(ax: Axes, rows: pd.DataFrame, level: float) -> None:
    for policy in style.ALONE:
        for value in rows[rows["policy"] == policy]["value"].unique():
            ax.axhline(100 * value, color=style.COLOURS[policy], linestyle=style.LINES[policy], linewidth=1)
    for policy in POLICIES:
        own = rows[(rows["policy"] == policy) & (rows["level"] == level) & rows["value"].notna()].sort_values("auroc")
        lengths = [100 * (own["value"] - own["low"]).fillna(0), 100 * (own["high"] - own["value"]).fillna(0)]
        ax.errorbar(
            *(own["auroc"], 100 * own["value"]),
            yerr=lengths,
            color=style.COLOURS[policy],
            linestyle=style.LINES[policy],
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


def write(studies: Sequence[Study], out: Path) -> None:
    """Write `out` with .csv, .md, .pdf and .png. Raises NoQualityError; FileNotFoundError for an unfinished study."""
    rows = pd.concat([rows_of(study) for study in studies], ignore_index=True)
    write_csv(out.with_suffix(".csv"), rows)
    write_text(out.with_suffix(".md"), as_markdown(rows))
    style.save(draw(rows), out.with_suffix(".pdf"), out.with_suffix(".png"), studies[0].figures.dpi)
