"""A study's headline numbers and curves in a terminal: the summary's own, from the files behind it."""

from __future__ import annotations

from math import ceil, floor
from string import ascii_uppercase

import pandas as pd
import plotille
from rich.console import Console
from rich.table import Table
from rich.text import Text

from arbitrage.config.policies import POLICIES, THRESHOLD_POLICIES
from arbitrage.figures.style import of_panel, panels_of
from arbitrage.report.accuracy import accuracy_table, sizes
from arbitrage.report.verdicts import AGREES, DIFFERS, INCONCLUSIVE, Verdict

VERDICT_STYLES = {AGREES: "green", DIFFERS: "red", INCONCLUSIVE: "yellow"}
PLOT_WIDTH = 50  # characters: a tick every ten of them is one at 0, 20 ... 100 %
MOST_LINES = 20  # of a plot, each a whole number of points of accuracy


def show_claims(console: Console, found: list[Verdict]) -> None:
    """Print every claim of the paper with our number and its verdict."""
    table = Table(title=f"{len(found)} claims of the paper", title_justify="left")
    table.add_column("verdict", no_wrap=True)
    table.add_column("the paper", ratio=3)
    table.add_column("here", ratio=2)
    for one in found:
        verdict = Text(one.verdict, style=VERDICT_STYLES[one.verdict])
        table.add_row(verdict, Text(one.evidence.text), Text(one.evidence.ours))
    console.print(table)


def show_accuracy(console: Console, points: pd.DataFrame, comparison: pd.DataFrame, confidence: float) -> None:
    """Print, for each pair and benchmark, accuracies at the same acceptance and the curves they are points of.

    points: `accuracy_acceptance.csv`; comparison: `comparison.csv`; both in the study's order. confidence: of the
    intervals, 0 to 1.
    """
    said = sizes(points).replace("**", "")
    console.print(Text(f"Accuracy in per cent; in brackets {100 * confidence:g} % intervals; questions: {said}"))
    head, rows = accuracy_table(points, comparison)
    for pair, benchmark in panels_of(points):
        table = Table(title=f"pair {pair}, benchmark {benchmark}", title_justify="left")
        table.add_column("policy")
        for level in head[3:-1]:
            table.add_column(level, justify="right", no_wrap=True)
        for row in rows:
            if row[:2] == [pair, benchmark]:
                table.add_row(row[2], *(Text(cell.replace(" [", "\n[")) for cell in row[3:-1]))
        console.print()
        console.print(table)
        console.print(_curves(of_panel(points, pair, benchmark)))


def _curves(rows: pd.DataFrame) -> Text:
    """The points of one panel, a letter a policy; of a router trained several times the mean over its trainings."""
    low, high = 10 * floor(10 * rows["accuracy"].min()), 10 * ceil(10 * rows["accuracy"].max())
    high = max(high, low + 10)
    figure = plotille.Figure()
    figure.width = PLOT_WIDTH
    figure.height = next((high - low) // step for step in (1, 2, 5) if (high - low) // step <= MOST_LINES)
    figure.color_mode = "rgb"
    figure.x_label, figure.y_label = "accepted, %", "accuracy, %"
    figure.x_ticks_fkt = figure.y_ticks_fkt = _tick
    figure.set_x_limits(0, 100)
    figure.set_y_limits(low, high)
    figure.origin = False
    swept = [policy for policy in THRESHOLD_POLICIES if policy in set(rows["policy"])]
    letters = dict(zip(swept, ascii_uppercase, strict=False))
    for policy in sorted(swept, key=lambda name: POLICIES[name].layer):
        own = rows[(rows["policy"] == policy) & rows["accuracy"].notna()]
        own = own[own["trainings"] == own["trainings"].max()]
        rgb = tuple(bytes.fromhex(POLICIES[policy].colour[1:]))
        figure.scatter(100 * own["acceptance"], 100 * own["accuracy"], lc=rgb, marker=letters[policy])
    plot = Text.from_ansi(figure.show().replace("\N{BRAILLE PATTERN BLANK}", " "))
    names = [Text.assemble((letters[name], POLICIES[name].colour), f" {POLICIES[name].label}") for name in swept]
    return Text("\n").join([plot, Text("   ").join(names)])


def _tick(value: float, _: float) -> str:
    return f"{value:.0f}"
