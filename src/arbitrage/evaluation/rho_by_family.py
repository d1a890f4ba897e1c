"""How well a ranking of draft steps agrees with the advantage, by the family of the question.

A question's family is its `source` among the labelling questions: the lab's family, NuminaMath's source.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from arbitrage.config.pipeline import Curves
from arbitrage.config.study import Study
from arbitrage.evaluation.bootstrap import interval, over_seeds
from arbitrage.evaluation.router_quality import METRICS, UNTRAINED, heldout_of, step_metrics, trainings_of, untrained
from arbitrage.io.csv_tables import write_csv
from arbitrage.io.tables import read_table
from arbitrage.runtime.paths import StudyPaths

FEWEST_STEPS = 100
CONSTANT = "all these steps score alike, or have one advantage"


def rho_by_family(heldout: pd.DataFrame, families: Mapping[str, str], settings: Curves, seed: int) -> pd.DataFrame:
    """Spearman's rho between score and advantage: a row a pair, ranking and family of the held-out questions.

    heldout: rows of the table `heldout`; families: by question. Rankings: the variants, then those that need no
    training (`router_quality.UNTRAINED`). Columns: pair, ranking, family, steps, questions, trainings (0 for these),
    rho with `_low` and `_high` (intervals over questions and trainings), and the reason where there is no rho: under
    FEWEST_STEPS steps, or a constant.
    """
    rows: list[dict[str, Any]] = []
    known = heldout.assign(family=heldout["question_id"].map(families))
    for pair, own in known.groupby("pair", sort=False):
        for ranking, trainings in _rankings(own):
            for family in sorted(trainings[0]["family"].unique()):
                parts = [steps[steps["family"] == family] for steps in trainings]
                row = {"pair": pair, "ranking": ranking, "family": family, "steps": len(parts[0])}
                row |= {"questions": parts[0]["question_id"].nunique()}
                row |= {"trainings": 0 if ranking in UNTRAINED else len(parts)}
                rows.append(row | _rho(parts, settings, seed))
    return pd.DataFrame(rows)


def _rankings(steps: pd.DataFrame) -> Iterator[tuple[str, list[pd.DataFrame]]]:
    """Each ranking of one pair, with its steps as every training scores them, in the column `score`."""
    variants = {str(name): trainings_of(own) for name, own in steps.groupby("variant", sort=False)}
    for name, trainings in variants.items():
        yield name, [each.assign(score=each["router_score"]) for each in trainings]
    for name, ranked in untrained(next(iter(variants.values()))[0]):
        yield name, [ranked]


def _rho(trainings: list[pd.DataFrame], settings: Curves, seed: int) -> dict[str, Any]:
    steps, nothing = len(trainings[0]), dict.fromkeys(("rho", "rho_low", "rho_high"), float("nan"))
    if steps < FEWEST_STEPS:
        return nothing | {"reason": f"{steps} steps; at least {FEWEST_STEPS} are needed"}
    at = METRICS.index("rho")
    samples = np.stack([step_metrics(own, "score", settings.resamples, seed)[:, at] for own in trainings])
    folded = np.clip(over_seeds(samples, seed), -1.0, 1.0)
    if np.isnan(folded[0]):
        return nothing | {"reason": CONSTANT}
    low, high = interval(folded[1:], settings.confidence)
    return {"rho": folded[0], "rho_low": float(low), "rho_high": float(high), "reason": ""}


def families_of(study: Study) -> dict[str, str]:
    """The family of each labelling question. Raises TableError."""
    questions = read_table(StudyPaths.of(study).labelling_questions, "questions")
    return {row["question_id"]: row["source"] for row in questions}


def write_rho_by_family(study: Study, out: Path) -> None:
    """Write `families.csv` of a study. Raises TableError."""
    write_csv(out, rho_by_family(heldout_of(study), families_of(study), study.curves, study.seed))
