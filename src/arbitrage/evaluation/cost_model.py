"""The cost model: seconds of a whole solution from what the decoder did for it, fitted to the timed solutions.

The live decoder can be timed on a few questions at a few thresholds only. Its time is a sum over simple things (tokens
decoded, prefills, scorer calls), so non-negative least squares on these gives every trajectory of the sweep its
latency. Each part of the wall time is fitted to what it depends on: in the whole, draft calls and scorer calls, which
come one for one, could not be told apart. A factor a benchmark takes up what its solutions cost more or less than their
counts say. How far the sum can be trusted is measured on questions left out of a first fit; the model that is used is
fitted to all, and again in each resample of the timed questions (`resampled_model`), so that its own error is part of
the interval of whatever it predicts.
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

from arbitrage.evaluation.bootstrap import Floats, resample_weights
from arbitrage.evaluation.decoder_work import FEATURES, features, timed_rows
from arbitrage.evaluation.trajectory_counts import trajectory_counts
from arbitrage.io.atomic import write_text
from arbitrage.io.tables import TableError, read_frame

PARTS = {  # part of the wall time: what it depends on
    "draft_s": ["solution", "draft_tokens", "draft_calls"],
    "score_s": [name for name in FEATURES if "_score_" in name],
    "target_s": ["target_tokens", "target_calls"],
    "catch_up_s": ["catch_up_calls", "warm_calls", "catch_up_tokens"],
    "rest_s": ["solution", "draft_calls", "target_calls"],
}
SETTING = ["benchmark", "policy", "threshold"]


@dataclass(frozen=True)
class CostModel:
    """seconds: by feature, each >= 0; factors: by benchmark. The rest tells how good the model is.

    alone: by "benchmark/policy", what one uninterrupted generation of draft or target alone takes, as a share of what
    it takes step by step; empty where it was not timed.

    heldout_median_error, heldout_mean_error: absolute errors of single solutions of held-out questions, relative to the
    measured time; setting_errors: error of the mean over held-out questions, by benchmark, policy and threshold; NaN
    and none where one question was timed. same_solution: share of the timed solutions that have the tokens and
    escalations of the sweep's trajectory.
    """

    pair: str
    seconds: dict[str, float]
    factors: dict[str, float]
    alone: dict[str, float]
    fitted_questions: int
    heldout_questions: int
    heldout_median_error: float
    heldout_mean_error: float
    setting_errors: list[dict[str, Any]]
    same_solution: float

    def predict(self, counts: pd.DataFrame) -> Floats:
        """(rows,): seconds of trajectories, from the columns that `trajectory_counts` gives."""
        factor = counts["benchmark"].map(self.factors).fillna(1.0).to_numpy(np.float64)
        predicted: Floats = factor * (features(counts) @ np.array([self.seconds[name] for name in FEATURES]))
        return predicted


@dataclass(frozen=True)
class ResampledModel:
    """The model fitted to the timed questions (row 0) and to each resample of them.

    seconds: (1 + resamples, features), in the order of FEATURES. factors, alone: (1 + resamples,), as in CostModel.
    """

    seconds: Floats
    factors: dict[str, Floats]
    alone: dict[str, Floats]

    def predict(self, work: Floats, benchmark: str, policy: str) -> Floats:
        """(1 + resamples, T): mean seconds from mean features, `work` (1 + resamples, features, T).

        Draft and target alone are predicted as one uninterrupted generation, where that was timed.
        """
        one = np.ones(len(self.seconds))
        factor = self.factors.get(benchmark, one) * self.alone.get(f"{benchmark}/{policy}", one)
        predicted: Floats = factor[:, None] * np.einsum("bf,bft->bt", self.seconds, work)
        return predicted


def fit_cost_model(latency: pd.DataFrame, counts: pd.DataFrame, heldout: float, seed: int) -> CostModel:
    """Fit to the timed questions of one pair; tested on a seeded share `heldout` of them, by a fit to the others.

    Where a timed solution is the sweep's own (as it is wherever arithmetic is repeatable), its counts are taken from
    the sweep, by the rules by which the model will be applied; elsewhere they are the measured ones.
    """
    rows = timed_rows(latency, counts)
    keys, questions = _questions_of(rows)
    left_out = min(max(round(heldout * len(questions)), 1), len(questions) - 1)
    test = np.isin(keys, np.random.default_rng(seed).permutation(questions)[:left_out])
    error, settings = np.full(1, np.nan), []
    if left_out:
        first = _model_of(rows, rows[~test])
        checked = rows.assign(predicted=_predict(rows, *first))[test]
        error = np.abs(checked["predicted"] / checked["wall_s"] - 1).to_numpy()
        means = checked.groupby(SETTING, dropna=False, sort=True)[["wall_s", "predicted"]].mean()
        settings = [
            {**dict(zip(SETTING, key, strict=True)), "error": float(mean.predicted / mean.wall_s - 1)}
            for key, mean in means.iterrows()
        ]
    seconds, factors = _model_of(rows, rows)
    return CostModel(
        pair=str(rows["pair"].iloc[0]),
        seconds=dict(zip(FEATURES, map(float, seconds), strict=True)),
        factors=factors,
        alone={
            name: float(ratio[0]) for name, ratio in _alone(latency, questions, np.ones((1, len(questions)))).items()
        },
        fitted_questions=len(questions),
        heldout_questions=left_out,
        heldout_median_error=float(np.median(error)),
        heldout_mean_error=float(error.mean()),
        setting_errors=settings,
        same_solution=float(rows["same"].mean()),
    )


def resampled_model(latency: pd.DataFrame, counts: pd.DataFrame, resamples: int, seed: int) -> ResampledModel:
    """Fit again to each resample of the timed questions, of every benchmark by itself. Arguments as `fit_cost_model`.

    Resamples are NaN where a benchmark has only one timed question: nothing is known of its error then.
    """
    rows = timed_rows(latency, counts)
    keys, questions = _questions_of(rows)
    benchmark_of = rows.groupby(keys)["benchmark"].first().reindex(questions).to_numpy(str)
    times = np.ones((1 + resamples, len(questions)))
    names = sorted(set(benchmark_of))
    for name in names:
        own = np.flatnonzero(benchmark_of == name)
        drawn = resample_weights(len(own), resamples, seed, f"timed {name}")
        times[1:, own] = drawn if len(own) > 1 else np.nan
    owner = np.searchsorted(questions, keys)
    parts, design, wall = _parts_of(rows), features(rows), rows["wall_s"].to_numpy()
    seconds = np.full((len(times), len(FEATURES)), np.nan)
    for row, of_question in enumerate(times):
        if not np.isnan(of_question).any():
            seconds[row] = _fit_parts(parts, design, wall, of_question[owner])
    predicted = seconds @ design.T
    factors = {}
    for name in names:
        own = (rows["benchmark"] == name).to_numpy()
        weight = times[:, owner][:, own]
        factors[name] = _ratio((weight * wall[own]).sum(axis=1), (weight * predicted[:, own]).sum(axis=1))
    return ResampledModel(seconds, factors, _alone(latency, questions, times))


def _alone(latency: pd.DataFrame, questions: np.ndarray, times: Floats) -> dict[str, Floats]:
    """Uninterrupted over stepped seconds of draft and target alone, in each of `times` (B, questions)."""
    latency = latency[latency["speculative_tokens"] == 0]
    owner = np.searchsorted(questions, _questions_of(latency)[0])
    whole = latency["uninterrupted"].to_numpy(bool)
    wall = latency["wall_s"].to_numpy()
    results = {}
    for benchmark, policy in latency[whole][["benchmark", "policy"]].drop_duplicates().itertuples(index=False):
        same = ((latency["benchmark"] == benchmark) & (latency["policy"] == policy)).to_numpy()
        totals = [(times[:, owner[here]] * wall[here]).sum(axis=1) for here in (same & whole, same & ~whole)]
        results[f"{benchmark}/{policy}"] = _ratio(*totals)
    return results


def _ratio(measured: Floats, predicted: Floats) -> Floats:
    ratio: Floats = np.divide(measured, predicted, out=np.ones_like(measured), where=predicted != 0)
    return ratio


def _questions_of(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Benchmark and question of each row as one word, and the sorted distinct ones."""
    keys = (rows["benchmark"] + "/" + rows["question_id"]).to_numpy(str)
    return keys, np.unique(keys)


def _model_of(rows: pd.DataFrame, fitted: pd.DataFrame) -> tuple[Floats, dict[str, float]]:
    """Seconds by feature, and the factor of every benchmark in `rows` (1 where `fitted` has none of it)."""
    design, wall = features(fitted), fitted["wall_s"].to_numpy()
    seconds = _fit_parts(_parts_of(fitted), design, wall, np.ones(len(fitted)))
    predicted = pd.Series(design @ seconds, index=fitted.index).groupby(fitted["benchmark"]).sum()
    ratio = (fitted.groupby("benchmark")["wall_s"].sum() / predicted).replace([np.inf, -np.inf], 1.0)
    return seconds, {str(name): float(ratio.get(name, 1.0)) for name in sorted(set(rows["benchmark"]))}


def _predict(rows: pd.DataFrame, seconds: Floats, factors: dict[str, float]) -> Floats:
    predicted: Floats = rows["benchmark"].map(factors).to_numpy(np.float64) * (features(rows) @ seconds)
    return predicted


def _parts_of(rows: pd.DataFrame) -> dict[str, Floats]:
    """The parts of every row's wall time; what is left of it is `rest_s`."""
    rest = rows["wall_s"] - rows[[part for part in PARTS if part in rows]].sum(axis=1)
    parts = rows.assign(rest_s=rest.clip(lower=0))
    return {name: parts[name].to_numpy(np.float64) for name in PARTS}


def _fit_parts(parts: dict[str, Floats], design: Floats, wall: Floats, times: Floats) -> Floats:
    """(features,): seconds by feature, each the sum of what it costs in the parts of the wall time.

    times: how often each row counts.
    """
    # Noise adds up call by call, so its variance grows with the time: weigh by 1 / sqrt(time).
    weight = np.sqrt(times / wall)
    seconds = np.zeros(len(FEATURES))
    for part, names in PARTS.items():
        indices = [FEATURES.index(name) for name in names]
        columns = design[:, indices]
        scale = np.maximum(columns.max(axis=0), 1)
        coefficients, _ = nnls(columns / scale * weight[:, None], parts[part] * weight)
        seconds[indices] += coefficients / scale
    return seconds


def write_cost_model(latency: Path, trajectories: Sequence[Path], heldout: float, seed: int, out: Path) -> None:
    """Fit the cost model of one pair and write it as JSON; `read_cost_model` reads it."""
    timed = read_frame(latency, "latency")
    if timed.empty:
        raise TableError(f"{latency}: no timed solution; run the stage `latency` again")
    model = asdict(fit_cost_model(timed, trajectory_counts(trajectories), heldout, seed))
    for name in ("heldout_median_error", "heldout_mean_error"):
        model[name] = None if np.isnan(model[name]) else model[name]
    for row in model["setting_errors"]:
        row["threshold"] = None if np.isnan(row["threshold"]) else row["threshold"]
    write_text(out, json.dumps(model, indent=2) + "\n")


def read_cost_model(path: Path) -> CostModel:
    """Read what `write_cost_model` wrote."""
    model = json.loads(path.read_text(encoding="utf-8"))
    errors = {name: model[name] for name in ("heldout_median_error", "heldout_mean_error")}
    return CostModel(**model | {name: float("nan") if error is None else error for name, error in errors.items()})
