"""Of every router's data set: how many labelled steps are of either class, what was left out and why, and lengths.

The numbers are those of each data set's `report.json`. A class counts as label 1 where escalating gains, however fine
the variant's classes are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from arbitrage.config.study import Study
from arbitrage.io.csv_tables import write_csv
from arbitrage.io.tables import TableError
from arbitrage.runtime.paths import REPORT, StudyPaths

PARTS = {"train": "training", "validation": "held out"}


def label_shares(reports: Mapping[tuple[str, str], Mapping[str, Any]]) -> pd.DataFrame:
    """Two rows, the training and the held-out part, for each of `reports`, by pair and variant.

    Columns: pair, variant, kind, loss, labels and classes of the variant; part; questions and steps in it; label_1 and
    label_0, the steps of either class; dropped_1 and dropped_0, those that balance or the cap took away (training
    only); too_long; ungraded (of both parts together); tokens_p50, _p95, _max of the inputs (none for scalars).
    """
    rows = []
    for (pair, variant), report in reports.items():
        for part, words in PARTS.items():
            own = report[part]
            used, whole = own["examples"], own["examples"]
            if part == "train":
                whole += report["left_out"]["balance_or_cap"]
            counts = _by_label(own["shares"], used, report["boundary"])
            before = _by_label(own.get("shares_before", own["shares"]), whole, report["boundary"])
            tokens = {f"tokens_{name}": own["tokens"][name] or float("nan") for name in ("p50", "p95", "max")}
            rows.append(
                {"pair": pair, "variant": variant, "kind": report["kind"], "loss": report["loss"]}
                | {"labels": report["labels"], "classes": report["classes"], "part": words}
                | {"questions": own["questions"], "steps": used, "label_1": counts[1], "label_0": counts[0]}
                | {f"dropped_{label}": before[label] - counts[label] for label in (1, 0)}
                | {"too_long": report["left_out"][f"too_long_{part}"], "ungraded": report["left_out"]["ungraded"]}
                | tokens
            )
    return pd.DataFrame(rows)


def _by_label(shares: list[float], steps: int, boundary: int) -> dict[int, int]:
    above = round(sum(shares[boundary:]) * steps)
    return {1: above, 0: steps - above}


def write_label_shares(study: Study, out: Path) -> None:
    """Write `shares.csv` of a study. Raises TableError where a report cannot be read."""
    paths, reports = StudyPaths.of(study), {}
    for pair in study.pairs:
        for variant in study.variants_of(pair):
            path = paths.dataset(pair, variant) / REPORT
            try:
                reports[pair, variant] = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise TableError(
                    f"{path}: cannot be read ({error}); delete {path.parent} and run the study again"
                ) from error
    write_csv(out, label_shares(reports))
