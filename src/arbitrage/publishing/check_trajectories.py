"""Does a `trajectories` table agree with itself: do thresholds tile the line, and decisions follow from scores?"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from arbitrage.config.pipeline import Sweep
from arbitrage.speculation.policies import POLICIES

KEY = ["question_id", "policy"]
TOLERANCE = 1e-9


def trajectory_faults(table: pa.Table, sweep: Sweep) -> Iterator[str]:
    """Faults of a benchmark's `trajectories`, one a kind."""
    rows = table.select([*KEY, "threshold_low", "threshold_high", "answer", "correct"]).to_pandas()
    policies = {question: set(names) for question, names in rows.groupby("question_id")["policy"]}
    if lacking := sorted(question for question, names in policies.items() if names != set(sweep.policies)):
        yield f"{len(lacking)} questions have not every policy of the study and no other, {lacking[0]} among them"
    untiled = [keys for keys, group in rows.groupby(KEY) if not _tiles(group, sweep.thresholds)]
    if untiled:
        question, policy = untiled[0]
        yield f"{len(untiled)} sets of thresholds leave gaps or overlap, those of {policy} on {question} among them"
    if wrong := int((rows["correct"] & rows["answer"].isna()).sum()):
        yield f"{wrong} of {len(rows)} trajectories are correct without an answer"
    yield from _decisions(table, rows)


def _tiles(group: pd.DataFrame, thresholds: str | list[float]) -> bool:
    """Whether intervals are disjoint and leave no gap; where thresholds are listed, none that holds one of them."""
    ordered = group.sort_values("threshold_low")
    low, high = ordered["threshold_low"].to_numpy(), ordered["threshold_high"].to_numpy()
    if thresholds == "exact" or not POLICIES[group["policy"].iloc[0]].has_threshold:
        return bool(low[0] == -math.inf and high[-1] == math.inf and (low[1:] == high[:-1]).all())
    inside = [int(((low <= threshold) & (threshold < high)).sum()) for threshold in thresholds]
    return bool((low[1:] >= high[:-1]).all()) and all(count == 1 for count in inside)


def _decisions(table: pa.Table, rows: pd.DataFrame) -> Iterator[str]:
    """Steps whose author is not the one that the policy's score asks for at every threshold of the interval."""
    lengths = pc.list_value_length(table.column("steps")).to_numpy()
    if empty := int((lengths == 0).sum()):
        yield f"{empty} of {len(rows)} trajectories have no step"
    steps = pc.list_flatten(table.column("steps")).combine_chunks()
    place = np.repeat(np.arange(len(rows)), lengths)
    score, draft, target = (
        pc.struct_field(steps, name).to_numpy(zero_copy_only=False)
        for name in ("policy_score", "draft_score", "target_score")
    )
    escalated = pc.equal(pc.struct_field(steps, "model"), "target").to_numpy(zero_copy_only=False)
    policy = rows["policy"].to_numpy()[place]
    low, high = (rows[name].to_numpy()[place] for name in ("threshold_low", "threshold_high"))
    for name in sorted(set(policy)):
        mine = policy == name
        if not POLICIES[name].has_threshold:
            wrong = escalated[mine] != (name == "target_only")
        else:
            above = escalated[mine] != POLICIES[name].accept_above  # whether score > threshold was found true
            wrong = np.where(above, ~(score[mine] >= high[mine]), ~(score[mine] <= low[mine]))
        if wrong.any():
            yield f"{wrong.sum()} of {mine.sum()} steps of {name} were not decided as their score says"
        own = {"rsd": draft, "oracle": target - draft}.get(name)
        if own is not None and (wrong := ~(np.abs(own[mine] - score[mine]) <= TOLERANCE)).any():
            yield f"{wrong.sum()} of {mine.sum()} scores of {name} are not what the PRM's scores make them"
