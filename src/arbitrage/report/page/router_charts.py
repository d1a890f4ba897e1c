"""Charts of the page's part on routers and their data, as Vega-Lite specifications; colours are Okabe and Ito's."""

from __future__ import annotations

from math import ceil
from typing import Any

import altair as alt
import pandas as pd

SHARES = {
    "label_1": ("label 1, used", "#D55E00"),
    "dropped_1": ("label 1, left out", "#F2B48C"),
    "label_0": ("label 0, used", "#0072B2"),
    "dropped_0": ("label 0, left out", "#A6CCE6"),
    "too_long": ("too long", "#666666"),
}
MOST_BARS = 24  # of a histogram
ROW = 20  # pixels of a line of names
INK, GREY = "#0072B2", "#595959"


def shares_chart(rows: pd.DataFrame) -> dict[str, Any]:
    """One pair's rows of `shares.csv`: a bar a data set, in per cent of the steps there were."""
    held_out = rows[rows["part"] == "held out"].head(1).assign(variant="(held out)")
    values = []
    for row in pd.concat([held_out, rows[rows["part"] == "training"]]).to_dict("records"):
        whole = sum(row[name] for name in SHARES)
        for order, (name, (words, _)) in enumerate(SHARES.items()):
            share = round(100 * row[name] / max(whole, 1), 3)
            values.append({"set": row["variant"], "what": words, "share": share, "steps": row[name], "order": order})
    names, colours = zip(*SHARES.values(), strict=True)
    bars = (
        alt.Chart(alt.InlineData(values=values))
        .mark_bar(stroke=GREY, strokeWidth=0.5)
        .encode(
            x=alt.X("share:Q", title="share of the labelled steps (%)", scale=alt.Scale(domain=[0, 100], nice=False)),
            y=alt.Y("set:N", title=None, sort=None, axis=alt.Axis(labelLimit=150)),
            color=alt.Color(
                "what:N",
                title=None,
                scale=alt.Scale(domain=list(names), range=list(colours)),
                legend=alt.Legend(orient="top", columns=2),
            ),
            order="order:Q",
            tooltip=["set:N", "what:N", "steps:Q", "share:Q"],
        )
    )
    return _specification(
        bars.properties(height=ROW * (1 + len(values) // len(SHARES))),
        "Share of the labelled steps by class, by data set",
    )


def lengths_chart(rows: pd.DataFrame, title: str) -> dict[str, Any]:
    """Rows of `lengths.csv` of one kind and pair, as a histogram; steps are told apart by label."""
    width = max(1, ceil((rows["value"].max() + 1 - rows["value"].min()) / MOST_BARS))
    low = width * (rows["value"] // width) - 0.5  # between whole numbers
    labels = rows["label"].map({1.0: "label 1", 0.0: "label 0"}).fillna("all")
    binned = rows.assign(low=low, high=low + width, what=labels).groupby(["low", "high", "what"])["count"].sum()
    kinds = [kind for kind in ("label 0", "label 1", "all") if kind in set(labels)]
    range_ = {"label 0": SHARES["label_0"][1], "label 1": SHARES["label_1"][1], "all": INK}
    legend = alt.Legend(orient="top") if len(kinds) > 1 else None
    axis = alt.Axis(format="d", tickMinStep=1)
    bars = (
        alt.Chart(alt.InlineData(values=binned.reset_index().to_dict("records")))
        .mark_bar(binSpacing=1)
        .encode(
            x=alt.X("low:Q", title=title, scale=alt.Scale(zero=False, nice=False), bin="binned", axis=axis),
            x2="high:Q",
            y=alt.Y("count:Q", title="how many", stack="zero"),
            color=alt.Color(
                "what:N",
                title=None,
                scale=alt.Scale(domain=kinds, range=[range_[kind] for kind in kinds]),
                legend=legend,
            ),
            tooltip=["low:Q", "what:N", "count:Q"],
        )
    )
    return _specification(bars.properties(height=200), f"How many have so many {title}")


def calibration_chart(rows: pd.DataFrame) -> dict[str, Any]:
    """One variant's bins of `calibration.csv`: observed over predicted, in per cent, with intervals."""
    columns = ["predicted", "observed", "observed_low", "observed_high"]
    shown = (100 * rows[columns]).round(3).assign(steps=rows["steps"].round(1))
    bins = alt.InlineData(values=_records(shown.sort_values("predicted")))
    whole = alt.Scale(domain=[0, 100], nice=False)
    x = alt.X("predicted:Q", title="predicted (%)", scale=whole)
    y = alt.Y("observed:Q", title="observed (%)", scale=whole)
    even = (
        alt.Chart(alt.InlineData(values=[{"predicted": at, "observed": at} for at in (0, 100)]))
        .mark_line(color=GREY, strokeDash=[4, 4], strokeWidth=1)
        .encode(x=x, y=y)
    )
    points = alt.Chart(bins).encode(x=x, y=y, tooltip=[*(f"{name}:Q" for name in (*columns, "steps"))])
    ends = alt.Chart(bins).mark_rule(color=INK).encode(x=x, y=alt.Y("observed_low:Q", title="observed (%)"))
    layers = [even, ends.encode(y2="observed_high:Q"), points.mark_line(color=INK, strokeWidth=1)]
    layers.append(points.mark_point(color=INK, filled=True, size=45))
    return _specification(alt.layer(*layers).properties(height=210), "Observed share over predicted share")


def families_chart(rows: pd.DataFrame, domain: tuple[float, float]) -> dict[str, Any]:
    """One ranking's rows of `families.csv`: rho with its interval, a line a family; domain: of rho, of all rankings."""
    shown = rows[["family", "rho", "rho_low", "rho_high", "steps"]].assign(said=rows["steps"].map("{} steps".format))
    families = alt.Y("family:N", title=None, sort=None, axis=alt.Axis(labelLimit=130, grid=True))
    x = alt.X("rho:Q", title="Spearman's ρ", scale=alt.Scale(domain=list(domain), nice=False))
    known, empty = (
        alt.Chart(alt.InlineData(values=_records(part.round(4))))
        for part in (shown[shown["rho"].notna()], shown[shown["rho"].isna()])
    )
    zero = alt.Chart(alt.InlineData(values=[{"rho": 0}])).mark_rule(color=GREY, strokeDash=[4, 4]).encode(x=x)
    ends = known.mark_rule(color=INK, strokeWidth=1.5).encode(y=families, x=alt.X("rho_low:Q", title="Spearman's ρ"))
    points = known.mark_point(color=INK, filled=True, size=45).encode(
        y=families, x=x, tooltip=["family:N", "rho:Q", "rho_low:Q", "rho_high:Q", "steps:Q"]
    )
    words = empty.mark_text(align="right", color=GREY, dx=-4).encode(y=families, x=alt.datum(domain[1]), text="said:N")
    chart = alt.layer(zero, ends.encode(x2="rho_high:Q"), points, words).properties(height=ROW * (1 + len(rows)))
    return _specification(chart, "Spearman's rho between score and advantage, by family")


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as Vega-Lite's values; what is no number is null."""
    records: list[dict[str, Any]] = rows.astype(object).where(rows.notna(), None).to_dict("records")
    return records


def _specification(chart: Any, description: str) -> dict[str, Any]:
    """description: what a screen reader says of it; the numbers are in the table beside it."""
    whole = chart.properties(width="container", description=description)
    specification: dict[str, Any] = whole.configure(background="transparent").to_dict()
    return specification
