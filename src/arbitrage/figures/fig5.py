"""Fig. 5: accuracy against mean latency, a panel for each benchmark of each timed pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from arbitrage.config.policies import DEFAULT_POLICIES, TIMED_POLICIES
from arbitrage.config.study import Study
from arbitrage.evaluation.curve_matching import GAP
from arbitrage.figures import style
from arbitrage.io.csv_tables import read_csv
from arbitrage.runtime.paths import StudyPaths

TIMED = tuple(policy for policy in style.drawn("main", "appendix") if policy in TIMED_POLICIES)
POLICIES = tuple(policy for policy in TIMED if policy in DEFAULT_POLICIES)  # the paper's; `routers` shows all
SPECULATIVE = "P"
ALONE = tuple(policy for policy in style.ALONE if policy in TIMED_POLICIES)
CHECKED: Any = {"color": style.COLOURS["target_only"], "marker": SPECULATIVE, "linestyle": ""}
OPEN: Any = {"color": "#444444", "marker": "^", "markerfacecolor": "white", "linestyle": ""}


@style.styled
def draw(
    points: pd.DataFrame,
    speedup: pd.DataFrame,
    confidence: float,
    untimed: Sequence[str] = (),
    listed: bool = False,
    eager: Sequence[str] = (),
) -> Figure:
    """points: `accuracy_latency.csv`; speedup: `speedup.csv`; untimed: pairs of the study without a latency; eager:
    timed pairs with a model that transformers ran on a GPU."""
    panels = style.panels_of(points)
    if not panels:
        return style.notice("No pair of this study was timed; its `latency` is false.")
    columns = max(1, points["benchmark"].nunique())
    figure, axes = style.panel_grid(-(-len(panels) // columns), columns, panel=(3.6, 3.0), extra=1.3)
    for panel, ax in zip(panels, axes.flat, strict=False):
        rows = style.of_panel(points, *panel)
        draw_panel(ax, rows[rows["uninterrupted"] | ~speculated(rows)], POLICIES, listed)
        style.title(ax, *panel, pad=17)
        headline = _headline(style.of_panel(speedup, *panel))
        offset = {"xytext": (0, 5), "xycoords": "axes fraction", "textcoords": "offset points"}
        text = ax.annotate(headline, (0, 1), fontsize=7.5, **offset)
        text.set_in_layout(False)  # a line wider than its panel would squeeze all panels
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    style.legend_and_caption(figure, handles(points, POLICIES), _caption(points, confidence, untimed, eager))
    return figure


def draw_panel(ax: Axes, points: pd.DataFrame, policies: Sequence[str], listed: bool) -> None:
    """Curves and measured points of `policies` and of draft and target alone; points: of `accuracy_latency.csv`."""
    modelled, measured = points[~points["measured"]], points[points["measured"]]
    for policy in policies:
        for _, own in modelled[modelled["policy"] == policy].groupby("router_seed", dropna=False):
            _modelled(ax, policy, own.sort_values("threshold"), listed)
    for policy in (*policies, *ALONE):
        of_policy = measured[measured["policy"] == policy]
        for (whole, tokens), own in of_policy.groupby(["uninterrupted", "speculative_tokens"]):
            marker = SPECULATIVE if tokens else style.MARKERS[policy]
            _measured(ax, policy, own, marker, stepped=policy in ALONE and not whole)
    ax.set_xlim(0, None)
    ax.set_xlabel("mean latency of a solution (s)")
    ax.set_ylabel("accuracy (%)")


def _modelled(ax: Axes, policy: str, rows: pd.DataFrame, listed: bool) -> None:
    """A curve, broken where its policy has no operating point; listed thresholds as points."""
    look: dict[str, Any] = {"color": style.COLOURS[policy], "alpha": 0.75}
    if listed:
        ax.plot(rows["latency_s"], 100 * rows["accuracy"], ".", **look)
        return
    for piece in style.unbroken(rows, "acceptance"):
        ax.plot(piece["latency_s"], 100 * piece["accuracy"], linewidth=1.2, **look)


def _measured(ax: Axes, policy: str, rows: pd.DataFrame, marker: str, stepped: bool) -> None:
    """Points with their intervals where there are any; open ones for draft and target alone written step by step."""
    low, high = (rows[f"latency_{end}"].fillna(rows["latency_s"]) for end in ("low", "high"))
    bottom, top = (rows[f"accuracy_{end}"].fillna(rows["accuracy"]) for end in ("low", "high"))
    ax.errorbar(
        rows["latency_s"],
        100 * rows["accuracy"],
        xerr=[rows["latency_s"] - low, high - rows["latency_s"]],
        yerr=[100 * (rows["accuracy"] - bottom), 100 * (top - rows["accuracy"])],
        fmt=marker,
        color=style.COLOURS[policy],
        markerfacecolor="white" if stepped else style.COLOURS[policy],
        markersize=7 if policy in ALONE else 5,  # a policy's may lie on it
        elinewidth=0.8,
        capsize=1.5,
        zorder=4 if policy in ALONE else 3,
    )


def speculated(points: pd.DataFrame) -> pd.Series:
    """Whether the target wrote by token-level speculative decoding."""
    return points["speculative_tokens"] > 0


def _headline(speedup: pd.DataFrame) -> str:
    """The panel's average speed-up of the router over RSD, in a line that fits beside another panel's."""
    rows = speedup[(speedup["policy"] == "router") & (speedup["against"] == "rsd") & (speedup["metric"] == "typical")]
    for row in rows.itertuples():
        if pd.isna(row.value):
            return "router and RSD: no common accuracy"
        ends = "no interval" if pd.isna(row.low) else f"{row.low:.2f} to {row.high:.2f}"
        return f"router over RSD, on average: {row.value:.2f}x ({ends})"
    return ""


def handles(points: pd.DataFrame, policies: Sequence[str]) -> list[Line2D]:
    """The legend of `draw_panel`."""
    shown = [policy for policy in (*reversed(policies), *reversed(ALONE)) if policy in set(points["policy"])]
    speculative = speculated(points).any()
    marks = [
        Line2D(
            [], [], color=style.COLOURS[policy], marker=style.MARKERS[policy], linestyle="", label=style.LABELS[policy]
        )
        for policy in shown
    ]
    return [
        *marks,
        Line2D([], [], color="#444444", linewidth=1.2, label="curve: modelled, all questions"),
        Line2D([], [], color="#444444", marker="o", linestyle="", label="marker: measured, timed questions"),
        Line2D([], [], **OPEN, label="open: alone, but step by step"),
        *([Line2D([], [], **CHECKED, label="target, token-level speculation")] if speculative else []),
    ]


def _caption(points: pd.DataFrame, confidence: float, untimed: Sequence[str], eager: Sequence[str]) -> str:
    caption = (
        "Wall-clock time of the live decoder at batch size 1, no other job of the study beside it. Markers: mean of "
        f"the timed questions, with {style.percent(confidence)} bootstrap intervals. Curves: a cost model fitted to "
        "the timed solutions, applied to all questions at every threshold; the timed few are a sample of these, so "
        "markers may lie beside the curves. Accuracy is always that of all questions. Draft and target alone are one "
        "uninterrupted generation (filled) and, as the policies write, step by step (open). A line breaks where no "
        f"threshold gives an operating point within {100 * GAP:g} points of acceptance."
    )
    tokens = sorted(points.loc[speculated(points), "speculative_tokens"].astype(int).unique())
    if tokens:
        caption += (
            f" Crosses: the target's own text, the draft proposing {' or '.join(map(str, tokens))} tokens a round and "
            "the target checking them in one pass."
        )
    trainings = points["router_seed"].nunique()
    if trainings > 1:
        caption += f" The router has a curve for each of its {trainings} trainings; the first was timed."
    if eager:
        caption += (
            f" Times of {' and '.join(eager)} are mostly starts of kernels, as transformers ran its models on a GPU: "
            "they follow the number of layers, not the size of the models."
        )
    if untimed:
        caption += (
            f" No latency for {' and '.join(untimed)}: the draft's weights are only rounded in place there, and run at "
            "the speed of full precision."
        )
    return caption


def from_study(study: Study) -> Figure:
    """Fig. 5 of a finished study."""
    paths = StudyPaths.of(study)
    untimed = [name for name, pair in study.pairs.items() if not pair.latency]
    points = style.in_study_order(read_csv(paths.curves("accuracy_latency")), study)
    eager = [pair for pair in study.timed_pairs if study.eager_on_gpu(pair)]
    listed, confidence = style.is_listed(study), study.curves.confidence
    return draw(points, read_csv(paths.curves("speedup")), confidence, untimed, listed, eager)
