"""What must hold in the tables a study writes, as assertions: run on real studies, with exact and listed thresholds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from arbitrage.config.pipeline import Sweep
from arbitrage.speculation.policies import POLICIES

STEP_KEY = ["question_id", "step_index"]


def assert_steps(table: pa.Table, samples: int) -> None:
    """Labels are y = [advantage > 0] (paper, section 4.2), and advantages follow from scores.

    A question's rows are its steps 0, 1, 2 ... samples: target steps a context has.
    """
    rows = table.to_pandas()
    assert (
        {len(scores) for scores in rows["target_scores"]} == {len(texts) for texts in rows["target_steps"]} == {samples}
    )
    targets = np.stack(rows["target_scores"].to_list())
    assert ((targets >= 0) & (targets <= 1)).all()
    assert rows["draft_score"].between(0, 1).all()
    assert rows["advantage"].to_numpy() == pytest.approx(
        targets.mean(axis=1) - rows["draft_score"].to_numpy(), abs=1e-9
    )
    assert (rows["label"] == (rows["advantage"] > 0)).all(), "a label is not [advantage > 0]"
    confidence = rows["draft_logprobs"].map(lambda logprobs: 1 - np.exp(min(0.0, np.mean(logprobs, dtype=np.float64))))
    assert rows["draft_confidence"].to_numpy() == pytest.approx(confidence.to_numpy(), abs=1e-9)
    assert ((rows["tokens_so_far"] > 0) == (rows["step_index"] > 0)).all()
    assert (rows["history"].map(len) == rows["step_index"]).all(), "a history has not as many steps as step_index says"
    for question, index in rows.groupby("question_id")["step_index"]:
        assert list(index) == list(range(len(index))), f"{question}: steps {list(index)}"


def assert_trajectories(table: pa.Table, sweep: Sweep) -> None:
    """Every policy has, for each question, one trajectory at every threshold it was swept at, decided by its scores."""
    rows = table.to_pandas()
    assert not (rows["correct"].eq(True) & rows["answer"].isna()).any(), "correct without an answer"
    for question, policies in rows.groupby("question_id")["policy"]:
        assert set(policies) == set(sweep.policies), f"{question}: policies {sorted(set(policies))}"
    for (_, name, _), group in rows.fillna({"router_seed": 0}).groupby(["question_id", "policy", "router_seed"]):
        thresholds = sweep.thresholds if POLICIES[name].has_threshold else "exact"
        _assert_thresholds(group.sort_values("threshold_low"), thresholds)
    for row in rows.to_dict("records"):
        for step in row["steps"]:
            _assert_decision(row, step)


def _assert_thresholds(group: pd.DataFrame, thresholds: str | Sequence[float]) -> None:
    low, high = group["threshold_low"].to_numpy(), group["threshold_high"].to_numpy()
    assert (low[1:] >= high[:-1]).all(), "two trajectories hold at one threshold"
    if isinstance(thresholds, str):
        assert (low[0], high[-1]) == (-math.inf, math.inf) and (low[1:] == high[:-1]).all(), (
            "no trajectory at a threshold"
        )
    else:
        assert all(((low <= threshold) & (threshold < high)).sum() == 1 for threshold in thresholds)


def _assert_decision(row: dict[str, object], step: dict[str, object]) -> None:
    name, escalated, score = str(row["policy"]), step["model"] == "target", step["policy_score"]
    if not POLICIES[name].has_threshold:
        assert escalated == (name == "target_only")
        return
    exceeded = escalated != POLICIES[name].accept_above  # whether the score was above every threshold of the interval
    assert score >= row["threshold_high"] if exceeded else score <= row["threshold_low"], f"{name}: {step}"
    if name == "rsd":
        assert score == step["draft_score"]
    if name == "oracle":
        assert score == pytest.approx(step["target_score"] - step["draft_score"], abs=1e-9)


def assert_same_steps(part: pa.Table, steps: pa.Table) -> None:
    """Every row of `part` is a different step of `steps`, with the same scores."""
    columns = [*STEP_KEY, "advantage", "draft_score"]
    rows = part.select(columns).to_pandas()
    assert not rows.duplicated(STEP_KEY).any()
    assert len(rows.merge(steps.select(columns).to_pandas(), on=columns)) == len(rows)
