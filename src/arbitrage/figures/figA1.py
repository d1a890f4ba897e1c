# ruff: noqa: N999 - the paper's own name
"""Fig. A.1: what RSD's rejections are worth at each threshold, a row for each pair and benchmark."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from arbitrage.config.study import Study
from arbitrage.figures import style
from arbitrage.io.csv_tables import read_csv
from arbitrage.runtime.paths import StudyPaths

OUTCOMES: dict[str, tuple[str, str, Any]] = {  # column of outcomes.csv: what it means, colour, line
    "better": ("target better (st > sd)", "#009E73", "solid"),
    "equal": ("equal (st = sd)", "#7F7F7F", (0, (1, 1))),
    "worse": ("target worse (st < sd)", "#AA3377", (0, (5, 1.5))),
}
RATES = {"deferral": "reject rate\n(% of steps)", "useful": "P(better) x reject rate\n(% of steps)"}


@style.styled
def draw(points: pd.DataFrame, confidence: float, listed: bool = False) -> Figure:
    """points: `outcomes.csv`; only RSD's rows are used; listed: of a sweep of listed thresholds."""
    rsd = points[points["policy"] == "rsd"]
    if rsd.empty:
        return style.notice("This figure shows RSD's rejections; sweep.policies has no rsd.")
    panels = style.panels_of(rsd)
    figure, axes = style.panel_grid(len(panels), 1 + len(RATES), panel=(2.9, 2.3))
    for panel, line in zip(panels, axes, strict=True):
        rows = style.of_panel(rsd, *panel).sort_values("threshold")
        for column, (_, colour, dashes) in OUTCOMES.items():
            _band(line[0], rows, column, colour, dashes, listed)
        line[0].set_ylabel("share of rejected steps (%)")
        style.title(line[0], *panel)
        for (column, label), ax in zip(RATES.items(), line[1:], strict=True):
            _band(ax, rows, column, style.COLOURS["rsd"], "solid", listed)
            ax.set_ylabel(label)
        for ax in line:
            ax.set(xlim=(0, 1), xlabel="RSD's threshold")
        line[0].set_ylim(0, 100)
        line[1].set_ylim(0, 100)
        line[2].set_ylim(0, None)
    handles = [
        Line2D([], [], color=colour, linestyle=dashes, label=label) for label, colour, dashes in OUTCOMES.values()
    ]
    caption = (
        "RSD rejects a draft step where its score sd is at or below the threshold. Left: how the target's step then "
        "scores against it. Middle: how much is rejected. Right: their product, the rejections that gained anything. "
        f"All weighted as the acceptance rate is. {'Points: the listed thresholds. ' if listed else ''}"
        f"{'Bars' if listed else 'Bands'}: {style.percent(confidence)} intervals by bootstrap over questions."
    )
    style.legend_and_caption(figure, handles, caption)
    return figure


def _band(ax: Axes, rows: pd.DataFrame, column: str, colour: str, dashes: Any, listed: bool) -> None:
    low, value, high = (100 * rows[f"{column}{end}"] for end in ("_low", "", "_high"))
    if listed:
        ends = [(value - low).fillna(0), (high - value).fillna(0)]
        ax.errorbar(rows["threshold"], value, yerr=ends, fmt="o", color=colour, markersize=3.5, elinewidth=0.8)
        return
    ax.fill_between(rows["threshold"], low, high, color=colour, alpha=style.BAND, lw=0)
    ax.plot(rows["threshold"], value, color=colour, linestyle=dashes)


def from_study(study: Study) -> Figure:
    """Fig. A.1 of a finished study."""
    points = read_csv(StudyPaths.of(study).curves("outcomes"))
    return draw(style.in_study_order(points, study), study.curves.confidence, style.is_listed(study))
