"""Charts of the report's explorer, as Vega-Lite specifications; the page moves the point at the slider's threshold."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from arbitrage.config.policies import POLICIES, THRESHOLD_POLICIES
from arbitrage.report.page.explorer_data import run_name

NOW = "now"  # the data set that the page fills: rows with policy, x and accuracy, of the threshold the slider is at
SIZE = {"width": "container", "height": 260}


def acceptance_chart(points: pd.DataFrame) -> dict[str, Any]:
    """Accuracy against acceptance of one panel's rows of `accuracy_acceptance.csv`, in per cent."""
    return _chart(points, "acceptance", "accepted draft steps (%)", 100.0)


def latency_chart(points: pd.DataFrame) -> dict[str, Any]:
    """Accuracy (per cent) against modelled mean latency (seconds) of one panel's rows of `accuracy_latency.csv`."""
    return _chart(points[~points["measured"]], "latency_s", "modelled mean latency (s)", 1.0)


def _chart(points: pd.DataFrame, x: str, title: str, scale: float) -> dict[str, Any]:
    shown = points[points[x].notna() & points["accuracy"].notna()]
    by_threshold = shown["policy"].isin(THRESHOLD_POLICIES)
    curves, ends = (_points(shown[chosen], x, scale) for chosen in (by_threshold, ~by_threshold))
    policies = [name for name in POLICIES if name in set(shown["policy"])]
    colour = alt.Color(
        "policy:N",
        title=None,
        scale=alt.Scale(
            domain=[POLICIES[name].label for name in policies], range=[POLICIES[name].colour for name in policies]
        ),
        legend=alt.Legend(orient="top", columns=3, symbolType="stroke"),
    )
    axes = {
        "x": alt.X("x:Q", title=title, scale=alt.Scale(zero=False)),
        "y": alt.Y("accuracy:Q", title="accuracy (%)", scale=alt.Scale(zero=False)),
    }
    lines = (
        alt.Chart(alt.InlineData(values=curves))
        .mark_line(strokeWidth=1.4, opacity=0.8)
        .encode(**axes, color=colour, detail="run:N", order="order:Q")
    )
    alone = (
        alt.Chart(alt.InlineData(values=ends))
        .mark_point(shape="triangle-up", size=70, filled=True)
        .encode(**axes, color=colour)
    )
    here = (
        alt.Chart(alt.NamedData(NOW))
        .mark_point(size=130, filled=True, stroke="black", strokeWidth=1)
        .encode(**axes, color=colour, tooltip=[alt.Tooltip("policy:N"), alt.Tooltip("x:Q"), alt.Tooltip("accuracy:Q")])
    )
    chart = alt.layer(lines, alone, here).properties(**SIZE).configure(background="transparent")
    specification: dict[str, Any] = chart.to_dict()
    return specification


def _points(rows: pd.DataFrame, x: str, scale: float) -> list[dict[str, Any]]:
    """Rows of a curve table as Vega-Lite's values, in the order in which lines are to join them."""
    return [
        {
            "run": run_name(row["policy"], row["router_seed"]),
            "policy": POLICIES[row["policy"]].label,
            "order": order,
            "threshold": None if pd.isna(row["threshold"]) else row["threshold"],
            "x": round(scale * row[x], 4),
            "accuracy": round(100 * row["accuracy"], 3),
        }
        for order, row in enumerate(rows.sort_values(["policy", "threshold"]).to_dict("records"))
    ]
