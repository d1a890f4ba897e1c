"""The cost model: seconds of a whole solution from what the decoder did for it, fitted to the timed solutions.

The live decoder can be timed on a few questions at a few thresholds only. Its time is a sum over simple things (tokens
decoded, prefills, scorer calls), so non-negative least squares on these gives every trajectory of the sweep its
latency. Each part of the wall time is fitted to what it depends on: in the whole, draft calls and scorer calls, which
come one for one, could not be told apart. How far the sum can be trusted is measured on questions left out of the fit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from arbitrage.config.policies import POLICIES, TIMED_POLICIES, needing
from arbitrage.evaluation.bootstrap import Floats
from arbitrage.evaluation.trajectory_counts import trajectory_counts
from arbitrage.io.atomic import write_text
from arbitrage.io.tables import TableError, read_frame

# Timed policies that ask a scorer, each its own: the PRM and the router.
SCORED = tuple(name for name in TIMED_POLICIES if POLICIES[name].needs & {"prm", "router"})
FEATURES = [
    "solution",
    "draft_tokens",
    "draft_calls",
    "target_tokens",
    "target_calls",
    "catch_up_tokens",
    *(f"{policy}_score_{unit}" for policy in SCORED for unit in ("calls", "tokens")),
]
PARTS = {  # part of the wall time: what it depends on
    "draft_s": ["solution", "draft_tokens", "draft_calls"],
    "score_s": [name for name in FEATURES if "_score_" in name],
    "target_s": ["target_tokens", "target_calls"],
    "catch_up_s": ["target_calls", "catch_up_tokens"],
    "rest_s": ["solution", "draft_calls", "target_calls"],
}
SETTING = ["benchmark", "policy", "threshold"]
SAME_SOLUTION = ["steps", "escalations", "draft_tokens", "target_tokens"]


@dataclass(frozen=True)
class CostModel:
    """seconds: by feature, each >= 0. The rest tells how good the model is; errors are relative to the measured time.

    heldout_median_error, heldout_mean_error: absolute errors of single solutions of held-out questions.
    setting_errors: error of the mean over held-out questions, by benchmark, policy and threshold.
    same_solution: share of the timed solutions that have the tokens and escalations of the sweep's trajectory.
    """

    pair: str
    seconds: dict[str, float]
    fitted_questions: int
    heldout_questions: int
    heldout_median_error: float
    heldout_mean_error: float
    setting_errors: list[dict[str, Any]]
    same_solution: float

    def predict(self, counts: pd.DataFrame) -> Floats:
        """(rows,): seconds of trajectories, from the columns that `trajectory_counts` gives."""
        return _predict(features(counts), self.seconds)


def features(counts: pd.DataFrame) -> Floats:
    """(rows, features): what a solution costs, from its policy and counts, as measured or as swept.

    The prompt is read once by whoever reads anything: the target as part of its first catch-up, a scorer before its
    first step; the draft's share of it is in the constant. An accepted step is read by the target when it is next
    asked, a rejected one by no one but the scorer.
    """
    policy = counts["policy"]
    values = {
        "solution": np.ones(len(counts)),
        "draft_tokens": counts["draft_tokens"],
        "draft_calls": counts["steps"] * policy.isin(needing("draft")),
        "target_tokens": counts["target_tokens"],
        "target_calls": counts["escalations"],
        "catch_up_tokens": counts["catch_up_tokens"],
    }
    for scored in SCORED:
        values[f"{scored}_score_calls"] = counts["score_calls"] * (policy == scored)
        values[f"{scored}_score_tokens"] = counts["score_tokens"] * (policy == scored)
    return np.stack([np.asarray(values[name], dtype=np.float64) for name in FEATURES], axis=1)


def swept_work(counts: pd.DataFrame) -> pd.DataFrame:
    """Trajectories' counts with what the decoder would read: `catch_up_tokens`, `score_calls`, `score_tokens`."""
    prompt, asked = counts["prompt_tokens"], counts["escalations"]
    return counts.assign(
        # First the target reads the prompt; later its own last token, which is not in its cache yet.
        catch_up_tokens=counts["catch_up_tokens"] + (prompt + asked - 1) * (asked > 0),
        score_calls=counts["steps"] * counts["policy"].isin(SCORED),
        score_tokens=(counts["judged_tokens"] + prompt) * counts["policy"].isin(SCORED),
    )


def fit_cost_model(latency: pd.DataFrame, counts: pd.DataFrame, heldout: float, seed: int) -> CostModel:
    """Fit on a seeded 1 - `heldout` of the timed questions of one pair, test on the others.

    Where a timed solution is the sweep's own (as it is wherever arithmetic is repeatable), its counts are taken from
    the sweep, by the rules by which the model will be applied; elsewhere they are the measured ones.
    Raises TableError where fewer than two questions were timed.
    """
    rows = _with_swept_counts(latency, swept_work(counts))
    keys = (rows["benchmark"] + "/" + rows["question_id"]).to_numpy(str)
    questions = np.unique(keys)
    if len(questions) < 2:
        raise TableError(
            f"a cost model needs two or more timed questions, got {len(questions)}; raise latency.questions"
        )
    left_out = min(max(round(heldout * len(questions)), 1), len(questions) - 1)
    test = np.isin(keys, np.random.default_rng(seed).permutation(questions)[:left_out])
    wall, design = rows["wall_s"].to_numpy(), features(rows)
    seconds = _fit_parts(rows[~test], design[~test])
    predicted = _predict(design, seconds)
    error = np.abs(predicted[test] / wall[test] - 1)
    checked = (
        rows.assign(predicted=predicted)[test].groupby(SETTING, dropna=False, sort=True)[["wall_s", "predicted"]].mean()
    )
    return CostModel(
        pair=str(rows["pair"].iloc[0]),
        seconds=seconds,
        fitted_questions=len(questions) - left_out,
        heldout_questions=left_out,
        heldout_median_error=float(np.median(error)),
        heldout_mean_error=float(error.mean()),
        setting_errors=[
            {**dict(zip(SETTING, key, strict=True)), "error": float(means.predicted / means.wall_s - 1)}
            for key, means in checked.iterrows()
        ],
        same_solution=float(rows["same"].mean()),
    )


def _fit_parts(rows: pd.DataFrame, design: Floats) -> dict[str, float]:
    """Seconds by feature, each the sum of what it costs in the parts of the wall time."""
    rest = rows["wall_s"] - rows[[part for part in PARTS if part in rows]].sum(axis=1)
    rows = rows.assign(rest_s=rest.clip(lower=0))
    # Noise adds up call by call, so its variance grows with the time: weigh by 1 / sqrt(time).
    weight = 1 / np.sqrt(rows["wall_s"].to_numpy())
    seconds = dict.fromkeys(FEATURES, 0.0)
    for part, names in PARTS.items():
        columns = design[:, [FEATURES.index(name) for name in names]]
        scale = np.maximum(columns.max(axis=0), 1)
        found, _ = nnls(columns / scale * weight[:, None], rows[part].to_numpy() * weight)
        for name, value in zip(names, found / scale, strict=True):
            seconds[name] += float(value)
    return seconds


def _predict(design: Floats, seconds: dict[str, float]) -> Floats:
    predicted: Floats = design @ np.array([seconds[name] for name in FEATURES])
    return predicted


def _with_swept_counts(latency: pd.DataFrame, counts: pd.DataFrame) -> pd.DataFrame:
    keys = ["pair", "benchmark", "policy", "question_id"]
    timed = latency.reset_index(drop=True).assign(row=range(len(latency)))
    both = timed[[*keys, "threshold", "row"]].merge(counts, on=keys)
    both = both[
        both["threshold"].isna()
        | ((both["threshold_low"] <= both["threshold"]) & (both["threshold"] < both["threshold_high"]))
    ]
    swept = both.drop_duplicates("row").set_index("row").reindex(timed["row"])
    same = (swept[SAME_SOLUTION] == timed[SAME_SOLUTION]).all(axis=1)
    read = {
        name: np.where(same, swept[name], timed[name]) for name in ("catch_up_tokens", "score_calls", "score_tokens")
    }
    return timed.assign(same=same, **read)


def write_cost_model(latency: Path, trajectories: Sequence[Path], heldout: float, seed: int, out: Path) -> None:
    """Fit the cost model of one pair and write it as JSON; `read_cost_model` reads it."""
    timed = read_frame(latency, "latency")
    if timed.empty:
        raise TableError(f"{latency}: no timed solution; run the stage `latency` again")
    counts = trajectory_counts(trajectories)
    model = asdict(fit_cost_model(timed, counts[counts["pair"] == timed["pair"].iloc[0]], heldout, seed))
    for row in model["setting_errors"]:
        row["threshold"] = None if np.isnan(row["threshold"]) else row["threshold"]
    write_text(out, json.dumps(model, indent=2) + "\n")


def read_cost_model(path: Path) -> CostModel:
    """Read what `write_cost_model` wrote."""
    return CostModel(**json.loads(path.read_text(encoding="utf-8")))
