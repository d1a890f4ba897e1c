"""Where a router errs on held-out steps, escalating above 0.5: the mistakes that cost most, and how many there are.

A wrong accept keeps the draft's step where the target's scores higher; a wrong escalation takes the target's where it
does not. What it costs is the size of the advantage. Of each variant the first training, as in the report's explorer.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from arbitrage.config.study import Study
from arbitrage.evaluation.rho_by_family import families_of
from arbitrage.evaluation.router_quality import ESCALATE_ABOVE, STEP, heldout_of
from arbitrage.io.csv_tables import write_csv

KINDS = ("wrong accept", "wrong escalation")
SHOWN = 10  # of each kind


def mistakes(heldout: pd.DataFrame, families: Mapping[str, str]) -> pd.DataFrame:
    """The SHOWN largest mistakes of each kind, pair and variant; one row without a step where there is none.

    heldout: rows of the table `heldout`, one training a variant; families: by question. Columns: pair, variant, mistake
    (of KINDS), rank (1 the largest), question_id, step_index, family, draft_score, target_score (the mean over the
    target's samples), advantage, router_score; then of all mistakes of the kind: `mistakes` how many, `in_vain` of them
    without any advantage either way, `lost` the sum of what they cost, and steps, how many were held out.
    """
    frames = []
    for (pair, variant), own in heldout.groupby(["pair", "variant"], sort=False):
        costs = own.assign(cost=own["advantage"].abs())
        escalates = own["router_score"] > ESCALATE_ABOVE
        gains = own["advantage"] > 0
        for kind, wrong in zip(KINDS, (~escalates & gains, escalates & ~gains), strict=True):
            every = costs[wrong]
            worst = every.sort_values(["cost", *STEP], ascending=[False, True, True]).head(SHOWN)
            shown = worst[[*STEP, "draft_score", "advantage", "router_score"]].reset_index(drop=True)
            if shown.empty:
                shown = shown.reindex([0])
            frames.append(
                shown.assign(
                    pair=pair,
                    variant=variant,
                    mistake=kind,
                    rank=np.where(shown["question_id"].isna(), np.nan, shown.index + 1),
                    family=shown["question_id"].map(families),
                    target_score=shown["draft_score"] + shown["advantage"],
                    mistakes=len(every),
                    in_vain=int((every["cost"] == 0).sum()),
                    lost=every["cost"].sum(),
                    steps=len(own),
                )
            )
    columns = ["pair", "variant", "mistake", "rank", *STEP, "family", "draft_score", "target_score", "advantage"]
    table = pd.concat(frames, ignore_index=True)[[*columns, "router_score", "mistakes", "in_vain", "lost", "steps"]]
    return table.astype({"rank": "Int64", "step_index": "Int64"})


def write_mistakes(study: Study, out: Path) -> None:
    """Write `mistakes.csv` of a study. Raises TableError."""
    heldout = heldout_of(study)
    write_csv(out, mistakes(heldout[heldout["router_seed"] == 0], families_of(study)))
