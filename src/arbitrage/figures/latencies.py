"""What was measured against the clock, way by way: when does each pay? Beyond the paper."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from arbitrage.config.policies import POLICIES
from arbitrage.config.study import Study
from arbitrage.figures import markdown, style
from arbitrage.io.atomic import write_text
from arbitrage.io.csv_tables import read_csv, write_csv
from arbitrage.runtime.paths import StudyPaths

SETTING = ["pair", "benchmark", "policy", "threshold", "uninterrupted", "speculative_tokens"]
COLUMNS = [
    *SETTING,
    *("acceptance", "accuracy", "accuracy_low", "accuracy_high", "latency_s", "latency_low", "latency_high"),
    *("times_as_fast", "times_with_speculation", "questions", "timed_questions"),
]


def latency_table(study: Study, points: pd.DataFrame) -> pd.DataFrame:
    """A row for each setting that was timed (COLUMNS), the fastest of each panel first; points: `accuracy_latency.csv`.

    times_as_fast: measured latency of the target alone, in one generation, over the setting's. times_with_speculation:
    the same with the target alone by token-level speculative decoding, at its fastest: below 1 where that, which loses
    no accuracy, is faster. NaN where it was not timed.
    """
    rows = points[points["measured"].astype(bool)].copy()
    whole = rows[(rows["policy"] == "target_only") & rows["uninterrupted"]]
    panel = ["pair", "benchmark"]
    alone = whole[whole["speculative_tokens"] == 0].set_index(panel)["latency_s"]
    checked = whole[whole["speculative_tokens"] > 0].groupby(panel)["latency_s"].min()
    keys = pd.MultiIndex.from_frame(rows[panel])
    for column, reference in (("times_as_fast", alone), ("times_with_speculation", checked)):
        rows[column] = reference.reindex(keys).to_numpy(np.float64) / rows["latency_s"].to_numpy(np.float64)
    rows = rows.sort_values("latency_s", kind="stable")
    return style.in_study_order(rows.reindex(columns=COLUMNS), study)


def way(policy: str, uninterrupted: bool, tokens: int) -> str:
    """What the time is of, in words."""
    label = style.LABELS[policy]
    if tokens:
        return f"{label}, token-level speculation ({tokens} tokens)"
    return label + ", step by step" * (POLICIES[policy].always is not None and not uninterrupted)


def write(study: Study, csv: Path, md: Path) -> None:
    """Write the table of a finished study as CSV and as Markdown."""
    table = latency_table(study, read_csv(StudyPaths.of(study).curves("accuracy_latency")))
    write_csv(csv, table)
    head = ["pair", "benchmark", "way", "accepted (%)", "accuracy (%)", "seconds a solution"]
    head += ["times as fast as the target alone", "as the target with token-level speculation"]
    lines = []
    for row in table.itertuples():
        lines.append(
            [
                *(row.pair, row.benchmark, way(row.policy, row.uninterrupted, row.speculative_tokens)),
                markdown.number(row.acceptance, 0, 100),
                markdown.with_interval(row.accuracy, row.accuracy_low, row.accuracy_high, 1, 100),
                markdown.with_interval(row.latency_s, row.latency_low, row.latency_high, 3),
                *(markdown.number(times, 2) for times in (row.times_as_fast, row.times_with_speculation)),
            ]
        )
    note = (
        "Every setting that was timed, batch size 1: mean wall-clock time of the timed questions, accuracy and "
        f"acceptance of all questions, with {style.percent(study.curves.confidence)} intervals over questions. With "
        "token-level speculation the target's tokens are proposed by the draft and checked in one pass; its text stays "
        "the same. Of a policy that holds for the escalated steps."
    )
    text = markdown.table(head, lines) if lines else "No pair of this study was timed.\n"
    write_text(md, f"# When does each pay\n\n{note}\n\n{text}")
