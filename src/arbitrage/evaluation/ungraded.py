"""Questions whose answers nobody could grade: they are left out of every accuracy, and counted."""

from __future__ import annotations

import pandas as pd

from arbitrage.io.tables import TableError

PANEL = ["pair", "benchmark"]


def without_ungraded(rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` of trajectories without the questions that have an ungraded one (`correct` is NaN), and a column more.

    A question goes for all policies and thresholds of its pair and benchmark, because policies are compared over the
    same questions. `ungraded`: how many questions of the row's pair and benchmark are left out.
    Raises TableError where a pair and benchmark have no question left.
    """
    unknown = rows["correct"].isna()
    if not unknown.any():
        return rows.assign(ungraded=0)
    questions = pd.MultiIndex.from_frame(rows[[*PANEL, "question_id"]])
    left_out = questions[unknown.to_numpy()].unique()
    counts = left_out.droplevel("question_id").value_counts()
    kept = rows[~questions.isin(left_out)].reset_index(drop=True)
    panels = pd.MultiIndex.from_frame(kept[PANEL])
    for pair, benchmark in pd.MultiIndex.from_frame(rows[PANEL]).unique().difference(panels):
        raise TableError(
            f"pair {pair}, benchmark {benchmark}: all {counts[pair, benchmark]} questions are ungraded: comparing an "
            "answer took too much time or memory for each; look at their gold answers, then run `trajectories` again"
        )
    return kept.assign(ungraded=counts.reindex(panels, fill_value=0).to_numpy())
