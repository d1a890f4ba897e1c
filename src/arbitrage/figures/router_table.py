"""What Tables 1 to 3 share: variants of the router, ours beside the paper's, as CSV and as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from arbitrage.config.router import Variant
from arbitrage.config.study import Study
from arbitrage.figures import markdown
from arbitrage.io.atomic import write_text
from arbitrage.io.csv_tables import read_csv, write_csv
from arbitrage.runtime.paths import StudyPaths

METRICS = ("rho", "accuracy_0", "accuracy_1")


@dataclass(frozen=True)
class PaperRow:
    """A row of the paper's table, and which of our variants it is: rho, accuracies as shares."""

    name: str
    is_it: Callable[[Variant], bool]
    rho: float
    accuracy_0: float
    accuracy_1: float


def router_table(study: Study, quality: pd.DataFrame, paper: Sequence[PaperRow]) -> pd.DataFrame:
    """A row for each of the paper's, then the rankings that need no training; `quality`: `quality.csv`.

    A row stays without our numbers where the study trains no such variant. Columns: row, variant, each metric with
    `_low`, `_high` and `paper_`, steps and questions of the held-out part.
    """
    ours = quality[quality["pair"] == study.ablation_pair].set_index("ranking")
    rows = []
    for row in paper:
        name = next((name for name, variant in study.router.variants.items() if row.is_it(variant)), None)
        measured = dict(ours.loc[name]) if name in ours.index else {}
        published = {f"paper_{metric}": getattr(row, metric) for metric in METRICS}
        rows.append({"row": row.name, "variant": name, **measured, **published})
    rows += [{"row": name, **dict(measured)} for name, measured in ours[~ours["trained"]].iterrows()]
    columns = ["row", "variant", "steps", "questions"]
    for metric in METRICS:
        columns += [metric, f"{metric}_low", f"{metric}_high", f"paper_{metric}"]
    return pd.DataFrame(rows).reindex(columns=columns)


def write_router_table(study: Study, title: str, paper: Sequence[PaperRow], csv: Path, md: Path) -> None:
    """Write the table of a finished study as CSV and as Markdown."""
    table = router_table(study, read_csv(StudyPaths.of(study).router_quality), paper)
    write_csv(csv, table)
    head = ["", "rho", "paper", "accuracy on label 0 (%)", "paper", "accuracy on label 1 (%)", "paper"]
    rows = []
    for _, row in table.iterrows():
        cells = [str(row["row"])]
        for metric, scale, digits in zip(METRICS, (1, 100, 100), (3, 1, 1), strict=True):
            cells += [
                markdown.with_interval(row[metric], row[f"{metric}_low"], row[f"{metric}_high"], digits, scale),
                markdown.number(row[f"paper_{metric}"], digits + 1, scale),
            ]
        rows.append(cells)
    note = (
        f"Pair {study.ablation_pair}, held-out questions. In brackets: {100 * study.curves.confidence:g} % intervals "
        "by bootstrap over questions. rho: Spearman's, between score and advantage. Accuracies: escalating above 0.5. "
        "–: not in the paper, or not trained in this study."
    )
    write_text(md, f"# {title}\n\n{note}\n\n{markdown.table(head, rows)}")
