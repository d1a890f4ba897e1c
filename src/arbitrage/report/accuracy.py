"""Accuracy at the same acceptance, as the summary and the terminal show it: cells of text, made once."""

from __future__ import annotations

import pandas as pd

from arbitrage.evaluation.paper_claims import FEWEST
from arbitrage.figures.markdown import with_interval
from arbitrage.figures.style import LABELS


def sizes(accuracy: pd.DataFrame) -> str:
    """How many questions the benchmarks have, how many nobody could grade, and that few of them tell little.

    accuracy: `accuracy_acceptance.csv`.
    """
    counts = accuracy.groupby("benchmark", sort=False)[["questions", "ungraded"]].max()
    few = f"; **too few for conclusions: under {FEWEST}**" if counts["questions"].min() < FEWEST else ""
    each = [
        f"{row.questions:.0f} of {row.Index}"
        + (f" ({row.ungraded:.0f} more are ungraded and left out)" if row.ungraded else "")
        for row in counts.itertuples()
    ]
    return ", ".join(each) + few


def accuracy_table(points: pd.DataFrame, comparison: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Head and rows: pair, benchmark, policy, its accuracy in per cent at each acceptance, questions and steps.

    points: `accuracy_acceptance.csv`; comparison: `comparison.csv`; both in the study's order.
    """
    at = comparison[comparison["metric"] == "accuracy"]
    levels = sorted(at["level"].unique())
    rows = []
    for (pair, benchmark), own in points.groupby(["pair", "benchmark"], sort=False):
        for alone in own[own["policy"].isin(["draft_only", "target_only"])].itertuples():
            both = with_interval(alone.accuracy, alone.accuracy_low, alone.accuracy_high, 1, 100)
            questions = f"{alone.questions:.0f}, {alone.steps:.0f}"
            rows.append([pair, benchmark, LABELS[alone.policy], *[both] * len(levels), questions])
        here = at[(at["pair"] == pair) & (at["benchmark"] == benchmark)]
        for policy, cells in here.groupby("policy", sort=False):
            steps = own[(own["policy"] == policy) & own["steps"].notna()]["steps"].median()
            counted = f"{cells['questions'].iloc[0]:.0f}, {steps:.0f}"
            rows.append([pair, benchmark, LABELS[str(policy)], *level_cells(cells, levels), counted])
    return ["pair", "benchmark", "policy", *(f"{level:.0%} accepted" for level in levels), "questions, steps"], rows


def level_cells(rows: pd.DataFrame, levels: list[float]) -> list[str]:
    """One cell a level: value and interval in per cent; rows: of one policy in `comparison.csv`."""
    by_level = rows.set_index("level")
    cells = [by_level.loc[level] for level in levels]
    return [with_interval(row["value"], row["low"], row["high"], 1, 100) for row in cells]
