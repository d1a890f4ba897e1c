"""Fig. 4: accuracy against acceptance rate, a panel for each pair and benchmark."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from arbitrage.config.study import Study
from arbitrage.figures import style
from arbitrage.io.csv_tables import read_csv
from arbitrage.runtime.paths import StudyPaths

POLICIES = style.drawn("main")


@style.styled
def draw(points: pd.DataFrame, confidence: float, listed: bool = False) -> Figure:
    """points: `accuracy_acceptance.csv`; listed: of listed thresholds. Policies that were not run are left out."""
    panels = style.panels_of(points)
    columns = max(1, points["benchmark"].nunique())
    figure, axes = style.panel_grid(-(-len(panels) // columns), columns)
    for panel, ax in zip(panels, axes.flat, strict=False):
        rows = style.of_panel(points, *panel)
        accuracy_panel(ax, rows, POLICIES, listed=listed)
        style.title(ax, *panel)
        ax.set_xlabel("acceptance rate (% of steps written by the draft)")
        ax.set_ylabel("accuracy (%)")
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    caption = (
        f"Each curve runs over all thresholds of one policy. {style.bands(confidence, points, listed)} Acceptance is "
        "the share of a question's steps that the draft wrote, averaged over questions: an escalated step counts as "
        "escalated even where the target writes the very same text, because the target had to be asked. The diamond "
        "marks the oracle at threshold 0, where it escalates exactly the steps that the target writes better; its "
        "curve begins there, since below it escalates steps that gain nothing, ties all at once."
    )
    style.legend_and_caption(figure, handles(points, POLICIES), caption)
    return figure


def accuracy_panel(
    ax: Axes, rows: pd.DataFrame, policies: tuple[str, ...], acceptance: str = "acceptance", listed: bool = False
) -> None:
    """The curves of one panel over the column `acceptance`, between the lines of draft and target alone."""
    for alone in style.ALONE:
        style.level(ax, alone, rows)
    for policy in policies:
        style.curve(ax, policy, rows, acceptance, "accuracy", listed)
    for zero in rows[(rows["policy"] == "oracle") & (rows["threshold"] == 0)].itertuples():
        ax.plot(100 * getattr(zero, acceptance), 100 * zero.accuracy, "D", color=style.COLOURS["oracle"], markersize=5)
    ax.set_xlim(0, 100)


def handles(points: pd.DataFrame, policies: tuple[str, ...]) -> list[Line2D]:
    """Legend entries of what the panels show."""
    shown = [policy for policy in (*reversed(policies), *reversed(style.ALONE)) if policy in set(points["policy"])]
    return style.policy_handles(shown)


def from_study(study: Study) -> Figure:
    """Fig. 4 of a finished study."""
    points = read_csv(StudyPaths.of(study).curves("accuracy_acceptance"))
    return draw(style.in_study_order(points, study), study.curves.confidence, style.is_listed(study))
