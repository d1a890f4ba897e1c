"""How long the labelled steps and solutions of each pair are: exact distributions."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from arbitrage.config.study import Study
from arbitrage.io.csv_tables import write_csv
from arbitrage.io.tables import read_batches
from arbitrage.runtime.paths import StudyPaths

STEP_TOKENS, SOLUTION_STEPS = "tokens of a draft step", "steps of a solution"


def lengths(steps: pd.DataFrame) -> pd.DataFrame:
    """How often each length occurs: rows of `of`, label (1 or 0; empty of solutions), value and count.

    steps: question_id, label and tokens (of the draft's step) of each labelled step. A solution is the way that
    labelling took through a question, a step for each decision.
    """
    each = steps.groupby(["label", "tokens"]).size().rename("count").reset_index().rename(columns={"tokens": "value"})
    solutions = steps.groupby("question_id").size().value_counts().sort_index()
    whole = pd.DataFrame({"of": SOLUTION_STEPS, "value": solutions.index, "count": solutions.to_numpy()})
    return pd.concat([each.assign(of=STEP_TOKENS), whole], ignore_index=True)[["of", "label", "value", "count"]]


def write_lengths(study: Study, out: Path) -> None:
    """Write `lengths.csv` of a study. Raises TableError."""
    frames = []
    for pair in study.pairs:
        columns = ["question_id", "label", "draft_logprobs"]
        parts = [
            pd.DataFrame(
                {
                    "question_id": batch.column("question_id").to_pandas(),
                    "label": batch.column("label").to_pandas(),
                    "tokens": batch.column("draft_logprobs").value_lengths().to_pandas(),
                }
            )
            for batch in read_batches(StudyPaths.of(study).steps(pair), "steps", columns)
        ]
        frames.append(lengths(pd.concat(parts)).assign(pair=pair))
    write_csv(out, pd.concat(frames)[["pair", "of", "label", "value", "count"]])
