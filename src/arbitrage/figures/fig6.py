"""Fig. 6: one solution step by step, RSD's choices beside the router's at the same acceptance rate."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from arbitrage.config.study import Study
from arbitrage.evaluation.worked_example import POLICIES, Example, pick_example
from arbitrage.figures import style
from arbitrage.runtime.paths import StudyPaths

COLUMN = 4.0  # inches
GAP = 0.2
LINE = 0.145  # inches from line to line
PAD = 0.07  # inside a box
CHARACTERS = 56  # of a box's line
STEP_LINES = 4  # longer steps are cut
FILL = {"draft": "#FBF3DC", "target": "#E7E7EC"}
EDGE = {"draft": style.COLOURS["draft_only"], "target": "#444444"}
WASTED = "#B2182B"
_NOT_XML = re.compile(r"[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what an SVG may not hold


@dataclass(frozen=True)
class Line:
    """A line of a box."""

    text: str
    colour: str = "#222222"
    bold: bool = False
    mono: bool = False


@style.styled
def draw(example: Example) -> Figure:
    """The two solutions side by side, a box for each step."""
    boxes = {
        policy: [_box(n, step, policy) for n, step in enumerate(example.rows[policy]["steps"], 1)]
        for policy in POLICIES
    }
    question = _wrap(f"Question: {example.question['problem']}", int(2 * CHARACTERS * 1.08), 6)
    caption = _wrap(_caption(example), int((2 * COLUMN + GAP) * style.CAPTION_WIDTH), 12)
    head = (len(question) + 0.8) * LINE
    tallest = max(sum(_height(box) for box in column) for column in boxes.values())
    height = head + 2.6 * LINE + tallest + (len(caption) + 1.5) * LINE
    width = 2 * COLUMN + GAP
    figure = Figure(figsize=(width + 0.2, height + 0.2))
    ax = figure.add_axes((0.1 / (width + 0.2), 0.1 / (height + 0.2), width / (width + 0.2), height / (height + 0.2)))
    ax.set(xlim=(0, width), ylim=(height, 0))
    ax.set_axis_off()
    for number, text in enumerate(question):
        _write(ax, 0, (number + 0.7) * LINE, Line(text, bold=number == 0 and len(question) == 1), 8.5)
    for index, policy in enumerate(POLICIES):
        left, top = index * (COLUMN + GAP), head
        for number, line in enumerate(_header(example, policy)):
            _write(ax, left, top + (number + 0.7) * LINE, line, 8.5)
        top += 2.6 * LINE
        for box, step in zip(boxes[policy], example.rows[policy]["steps"], strict=True):
            _draw_box(ax, left, top, box, step["model"])
            top += _height(box)
    for number, text in enumerate(caption):
        _write(ax, 0, height - (len(caption) - number - 0.5) * LINE, Line(text, "#444444"), 7.5)
    return figure


def _header(example: Example, policy: str) -> list[Line]:
    row = example.rows[policy]
    accepted = sum(step["model"] == "draft" for step in row["steps"])
    answer = f"answer {row['answer']}" if row["answer"] is not None else "no answer"
    gold = ", ".join(example.question["answers"])
    verdict = (
        "right" if row["correct"] else f"ungraded (it is {gold})" if row["correct"] is None else f"wrong (it is {gold})"
    )
    return [
        Line(f"{style.LABELS[policy]}: {answer}, {verdict}", style.COLOURS[policy], bold=True),
        Line(
            f"threshold {example.thresholds[policy]:.3g}; {accepted} of {len(row['steps'])} steps accepted", "#444444"
        ),
    ]


def _box(number: int, step: dict[str, Any], policy: str) -> list[Line]:
    score = "" if policy == "rsd" else f"   router {step['policy_score']:.2f}"  # RSD goes by sd
    text = [Line(line, mono=True) for line in _wrap(step["text"].strip(), CHARACTERS, STEP_LINES)]
    if step["model"] == "draft":
        return [
            Line(f"{number}  draft accepted   sd {step['draft_score']:.2f}{score}", EDGE["draft"], bold=True),
            *text,
        ]
    before, after = step["draft_score"], step["target_score"]
    wasted = "   wasted" if after <= before else ""
    head = f"{number}  escalated   sd {before:.2f}, st {after:.2f}{score}{wasted}"
    rejected = _wrap(f"rejected: {step['draft_step'].strip()}", CHARACTERS, 2)
    return [
        Line(head, WASTED if wasted else EDGE["target"], bold=True),
        *(Line(line, "#888888", mono=True) for line in rejected),
        *text,
    ]


def _draw_box(ax: Axes, left: float, top: float, box: list[Line], author: str) -> None:
    height = _height(box) - PAD
    shape = FancyBboxPatch(
        (left + 0.02, top),
        COLUMN - 0.04,
        height,
        boxstyle="round,pad=0,rounding_size=0.05",
        facecolor=FILL[author],
        edgecolor=EDGE[author],
        linewidth=0.8,
    )
    ax.add_patch(shape)
    for number, line in enumerate(box):
        _write(ax, left + 0.08, top + PAD + (number + 0.5) * LINE, line, 7)


def _height(box: list[Line]) -> float:
    return len(box) * LINE + 3 * PAD


def _write(ax: Axes, x: float, y: float, line: Line, size: float) -> None:
    ax.text(
        x,
        y,
        _NOT_XML.sub("\ufffd", line.text),
        color=line.colour,
        fontsize=size,
        fontweight="bold" if line.bold else "normal",
        family="DejaVu Sans Mono" if line.mono else None,
        va="center",
        parse_math=False,  # steps are full of dollars and backslashes
    )


def _wrap(text: str, width: int, most: int) -> list[str]:
    lines = [part for line in text.splitlines() for part in textwrap.wrap(line, width) or [""]] or ["(nothing)"]
    return lines if len(lines) <= most else [*lines[: most - 1], f"{lines[most - 1][: width - 4]} ..."]


def _caption(example: Example) -> str:
    return (
        f"Pair {example.pair}, benchmark {example.benchmark}. Each policy's threshold is the one at which it accepts "
        f"nearest to {example.level:.0%} of steps over the whole benchmark. The question was drawn by the study's seed "
        f"among the {example.eligible} whose two solutions each accept within {100 * example.tolerance:.0f} points of "
        "that rate, differ in at least one choice, and fit the page; whether an answer is right played no part. sd, "
        "st: the process reward model's scores of draft and target step. Router: its estimate that the target would "
        "do better. Yellow boxes: the draft's step was kept. Grey boxes: the target's took its place; in grey letters "
        "the draft step that was thrown away, in red a wasted deferral (st <= sd)."
    )


def from_study(study: Study) -> Figure:
    """Fig. 6 of a finished study: its first pair on its first benchmark."""
    if not set(POLICIES) <= set(study.sweep.policies):
        return style.notice("This figure sets RSD beside the router; sweep.policies lacks one of them.")
    pair, benchmark = next(iter(study.pairs)), next(iter(study.benchmarks))
    paths = StudyPaths.of(study)
    example = pick_example(
        paths.trajectories(pair, benchmark),
        paths.questions(benchmark),
        study.figures.example_acceptance,
        study.seed,
    )
    return draw(example)
