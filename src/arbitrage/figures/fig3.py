"""Fig. 3: wasted deferrals against the deferral rate, a panel for each pair and benchmark."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from arbitrage.config.study import Study
from arbitrage.figures import style
from arbitrage.io.csv_tables import read_csv
from arbitrage.runtime.paths import StudyPaths

POLICIES = style.drawn("main")
BELOW_ZERO = -2.0  # %; the oracle's curve lies at zero, and would be hidden by the axis
EVERY_STEP: dict[str, Any] = {"color": "#BBBBBB", "linewidth": 1.0}


@style.styled
def draw(points: pd.DataFrame, confidence: float, listed: bool = False) -> Figure:
    """points: `outcomes.csv`; listed: of a sweep of listed thresholds. Policies that were not run are left out."""
    panels = style.panels_of(points)
    if not panels:
        return style.notice("This figure shows policies with a threshold; sweep.policies has none.")
    columns = max(1, points["benchmark"].nunique())
    figure, axes = style.panel_grid(-(-len(panels) // columns), columns)
    for panel, ax in zip(panels, axes.flat, strict=False):
        rows = style.of_panel(points, *panel)
        ax.plot([0, 100], [0, 100], **EVERY_STEP)
        for policy in POLICIES:
            style.curve(ax, policy, rows, "deferral", "wasted", listed)
        ax.set(xlim=(0, 100), ylim=(BELOW_ZERO, None))
        ax.set_xlabel("deferral rate (% of steps escalated)")
        ax.set_ylabel("wasted deferrals (% of steps)")
        style.title(ax, *panel)
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    shown = [policy for policy in reversed(POLICIES) if policy in set(points["policy"])]
    caption = (
        "A deferral is wasted where the target's step scores no better than the draft step it replaces (st <= sd). "
        "Both rates are shares of all steps, averaged over questions. Lower is better; at a deferral rate of 100 % "
        "all policies meet. From threshold 0 on, where its curve begins, the oracle wastes nothing. "
        f"{style.bands(confidence, points, listed)}"
    )
    everything = Line2D([], [], label="every deferral wasted", **EVERY_STEP)
    style.legend_and_caption(figure, [*style.policy_handles(shown), everything], caption)
    return figure


def from_study(study: Study) -> Figure:
    """Fig. 3 of a finished study."""
    points = read_csv(StudyPaths.of(study).curves("outcomes"))
    return draw(style.in_study_order(points, study), study.curves.confidence, style.is_listed(study))
