"""How all figures look: a colour and a line for each policy, sizes, panels, captions, and files equal byte for byte.

Colours are chosen to be told apart with any colour vision (`arbitrage.config.policies`); most policies also have a line
style of their own, so that a grey print can be read.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from arbitrage.config.policies import POLICIES
from arbitrage.config.study import Study
from arbitrage.evaluation.curve_matching import GAP
from arbitrage.evaluation.estimates import ALL
from arbitrage.io.atomic import whole_file

# How each policy looks is part of its registration (`arbitrage.config.policies`).
COLOURS = {name: entry.colour for name, entry in POLICIES.items()}
LINES: dict[str, Any] = {name: entry.line for name, entry in POLICIES.items()}
MARKERS = {name: entry.marker for name, entry in POLICIES.items()}
LABELS = {name: entry.label for name, entry in POLICIES.items()}
ALONE = tuple(name for name, entry in POLICIES.items() if not entry.has_threshold)
PANEL = (3.5, 2.7)  # inches
CAPTION_WIDTH = 18  # characters an inch, at the caption's size
BAND = 0.15  # opacity of interval bands
BANDED = tuple(name for name, entry in POLICIES.items() if entry.banded)  # more bands could not be told apart

_RC: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.labelsize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.handlelength": 2.6,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "pdf.fonttype": 42,  # text stays text
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}
Parameters = ParamSpec("Parameters")


def drawn(*scopes: str) -> tuple[str, ...]:
    """The policies with a threshold that figures of these scopes show; the last is drawn on top."""
    shown = [name for name, entry in POLICIES.items() if entry.has_threshold and entry.scope in scopes]
    return tuple(sorted(shown, key=lambda name: POLICIES[name].layer))


def styled(draw: Callable[Parameters, Figure]) -> Callable[Parameters, Figure]:
    """Draw with this style, and leave matplotlib's settings as they were."""

    @wraps(draw)
    def drawn(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Figure:
        with mpl.rc_context(_RC):
            return draw(*args, **kwargs)

    return drawn


def panel_grid(
    rows: int, columns: int, panel: tuple[float, float] = PANEL, extra: float = 1.0
) -> tuple[Figure, np.ndarray]:
    """A figure with (rows, columns) axes; `extra` inches of height for legend and caption."""
    figure = Figure(figsize=(panel[0] * columns, panel[1] * rows + extra), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def notice(text: str) -> Figure:
    """A figure that says why there is none."""
    figure = Figure(figsize=(6, 1.2))
    figure.text(0.5, 0.5, textwrap.fill(text, 80), ha="center", va="center", fontsize=9)
    return figure


def in_study_order(frame: pd.DataFrame, study: Study) -> pd.DataFrame:
    """The rows of a result table in the order in which the study lists its pairs and benchmarks; pooled rows last."""
    ranks = [{name: rank for rank, name in enumerate([*names, ALL])} for names in (study.pairs, study.benchmarks)]
    order = [frame[column].map(rank) for column, rank in zip(("pair", "benchmark"), ranks, strict=True)]
    return frame.iloc[np.lexsort([part.to_numpy() for part in reversed(order)])].reset_index(drop=True)


def panels_of(frame: pd.DataFrame) -> list[tuple[str, str]]:
    """(pair, benchmark) of each panel, pairs and benchmarks in the order in which the table first has them."""
    pairs, benchmarks = list(dict.fromkeys(frame["pair"])), list(dict.fromkeys(frame["benchmark"]))
    present = set(zip(frame["pair"], frame["benchmark"], strict=True))
    return [(pair, benchmark) for pair in pairs for benchmark in benchmarks if (pair, benchmark) in present]


def of_panel(frame: pd.DataFrame, pair: str, benchmark: str) -> pd.DataFrame:
    """The rows of one panel."""
    return frame[(frame["pair"] == pair) & (frame["benchmark"] == benchmark)]


def title(axes: Axes, pair: str, benchmark: str, pad: float = 6) -> None:
    """Say whose panel this is, `pad` points above it."""
    axes.set_title(f"pair {pair}, benchmark {benchmark}", loc="left", fontweight="bold", pad=pad)


def curve(axes: Axes, policy: str, rows: pd.DataFrame, x: str, y: str, listed: bool = False) -> None:
    """One policy's column `y` over its column `x`, both shares drawn in per cent.

    rows: of one result table, with y's ends as `<y>_low` and `<y>_high`. The line has a break where neighbouring points
    are more than GAP apart; a sweep of listed thresholds is drawn as points. Of a router trained several times every
    training is a thin line, below the mean over trainings where the table has it. Policies in BANDED have a band.
    """
    rows = rows[(rows["policy"] == policy) & rows[x].notna() & rows[y].notna()]
    trainings = rows["router_seed"].nunique()
    parts = [own for _, own in rows[rows["router_seed"].notna()].groupby("router_seed")]
    parts += [rows[rows["router_seed"].isna()]]
    for part in parts:
        if part.empty:
            continue
        part = part.sort_values("threshold" if part["threshold"].notna().all() else x)
        if listed and part["threshold"].notna().all():
            _points(axes, policy, part, x, y)
            continue
        thin = trainings > 1 and part["router_seed"].notna().all()
        for piece in unbroken(part, x):
            ends = 100 * piece[x], 100 * piece[f"{y}_low"], 100 * piece[f"{y}_high"]
            if policy in BANDED and not thin:
                axes.fill_between(*ends, color=COLOURS[policy], alpha=BAND, linewidth=0)
            alone: dict[str, Any] = {"marker": "o", "markersize": 3} if len(piece) == 1 else {}
            width: dict[str, Any] = {"linewidth": 0.7, "alpha": 0.6} if thin else {}
            axes.plot(ends[0], 100 * piece[y], color=COLOURS[policy], linestyle=LINES[policy], **alone, **width)


def unbroken(rows: pd.DataFrame, x: str) -> list[pd.DataFrame]:
    """The rows, cut where the column `x` jumps by more than GAP from one to the next."""
    cut = rows[x].diff().abs() > GAP
    return [piece for _, piece in rows.groupby(cut.cumsum().to_numpy(), sort=True)]


def _points(axes: Axes, policy: str, rows: pd.DataFrame, x: str, y: str) -> None:
    lengths = [(rows[y] - rows[f"{y}_low"]).fillna(0), (rows[f"{y}_high"] - rows[y]).fillna(0)]
    ends = [100 * length for length in lengths] if policy in BANDED else None
    axes.errorbar(
        *(100 * rows[x], 100 * rows[y]), yerr=ends, fmt="o", color=COLOURS[policy], markersize=3.5, elinewidth=0.8
    )


def level(axes: Axes, policy: str, rows: pd.DataFrame) -> None:
    """The accuracy of a policy without threshold, as a horizontal line."""
    for row in rows[rows["policy"] == policy].itertuples():
        axes.axhline(100 * row.accuracy, color=COLOURS[policy], linestyle=LINES[policy], linewidth=1.1)


def policy_handles(policies: Sequence[str], **line: Any) -> list[Line2D]:
    """Legend entries of policies."""
    return [
        Line2D([], [], color=COLOURS[policy], linestyle=LINES[policy], label=LABELS[policy], **line)
        for policy in policies
    ]


def legend_and_caption(figure: Figure, handles: Sequence[Any], caption: str, columns: int = 3) -> None:
    """Legend above the panels, caption below them: neither can hide data."""
    figure.legend(handles=list(handles), loc="outside upper center", ncols=min(columns, len(handles)))
    write_caption(figure, caption)


def write_caption(figure: Figure, caption: str) -> None:
    """A caption below the panels, wrapped to the figure's width."""
    width = int(figure.get_figwidth() * CAPTION_WIDTH)
    figure.supxlabel(textwrap.fill(caption, width), fontsize=7.5, color="#444444", x=0.01, ha="left")


def bands(confidence: float, rows: pd.DataFrame, listed: bool = False) -> str:
    """What a caption says of how `curve` draws `rows`."""
    shown = "Bars" if listed else "Bands"
    trainings = int(rows["router_seed"].nunique())
    mean = "trainings" in rows and (rows["trainings"] > 1).any()
    banded = "oracle, router and RSD" if listed or mean or trainings < 2 else "oracle and RSD"  # thin lines have none
    text = f"{shown}: {percent(confidence)} intervals by bootstrap over questions, of {banded}."
    if trainings > 1:
        text += f" Thin lines: the router's {trainings} trainings, each by itself"
        text += "; thick: their mean, its band over trainings and questions." if mean else "."
    if listed:
        return f"{text} Points: the thresholds that the study lists; nothing is known between them."
    return f"{text} A line breaks where no threshold gives an operating point within {100 * GAP:g} points."


def is_listed(study: Study) -> bool:
    """Whether the study sweeps thresholds that it lists, which are drawn as points."""
    return bool(study.sweep.listed)


def percent(confidence: float) -> str:
    """`95 %` of 0.95."""
    return f"{100 * confidence:g} %"


def save(figure: Figure, pdf: str | Path, png: str | Path, dpi: int) -> None:
    """Write a figure as PDF and as PNG, each all or nothing, without dates: equal figures are equal bytes."""
    stripped = {"pdf": {"CreationDate": None, "Creator": None, "Producer": None}, "png": {"Software": None}}
    for path, kind in ((Path(pdf), "pdf"), (Path(png), "png")):
        with whole_file(path) as temporary, mpl.rc_context(_RC):
            figure.savefig(temporary, format=kind, dpi=dpi, metadata=stripped[kind])
