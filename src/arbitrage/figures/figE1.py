# ruff: noqa: N999 - the paper's own name
"""Fig. E.1: accuracy against acceptance of every policy, with acceptance counted in three ways."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from arbitrage.config.study import Study
from arbitrage.figures import style
from arbitrage.figures.fig4 import accuracy_panel, handles
from arbitrage.io.csv_tables import read_csv
from arbitrage.runtime.paths import StudyPaths

POLICIES = style.drawn("main", "appendix")
VIEWS = {
    "acceptance": "acceptance rate (% of steps)",
    "text_acceptance": "same, identical steps accepted (%)",
    "drafted_acceptance": "accepted of drafted tokens (%)",
}


@style.styled
def draw(points: pd.DataFrame, confidence: float, listed: bool = False) -> Figure:
    """points: `accuracy_acceptance.csv`; listed: of listed thresholds. Columns of panels: ways to count acceptance."""
    panels = style.panels_of(points)
    figure, axes = style.panel_grid(len(panels), len(VIEWS), panel=(3.1, 2.4))
    for panel, line in zip(panels, axes, strict=True):
        rows = style.of_panel(points, *panel)
        style.title(line[0], *panel)  # of the whole line: a narrow panel would cut it
        for (column, label), ax in zip(VIEWS.items(), line, strict=True):
            accuracy_panel(ax, rows, POLICIES, column, listed)
            ax.set_xlabel(label)
            ax.set_ylabel("accuracy (%)")
    caption = (
        "Left: acceptance as the paper counts it, the share of a question's steps that the draft wrote, averaged over "
        "questions. Middle: the same, where an escalated step whose text is the draft's own counts as accepted. Right: "
        "as the paper's released script counts, the tokens of accepted draft steps as a share of all tokens that the "
        f"draft wrote. {style.bands(confidence, points, listed)} The diamond marks the oracle at threshold 0."
    )
    style.legend_and_caption(figure, handles(points, POLICIES), caption, columns=4)
    return figure


def from_study(study: Study) -> Figure:
    """Fig. E.1 of a finished study."""
    points = read_csv(StudyPaths.of(study).curves("accuracy_acceptance"))
    return draw(style.in_study_order(points, study), study.curves.confidence, style.is_listed(study))
