"""What the live decoder does for a solution, counted: the features of the cost model, measured or from the sweep."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from arbitrage.config.policies import POLICIES, TIMED_POLICIES, needing
from arbitrage.evaluation.bootstrap import Floats

# Timed policies for which a model reads the draft's whole step, each its own: the PRM, the router, the target.
READ_BY_MODEL = tuple(
    name for name in TIMED_POLICIES if POLICIES[name].needs & {"prm", "router"} or POLICIES[name].target_reads
)
READ_BY_TARGET = tuple(name for name in READ_BY_MODEL if POLICIES[name].target_reads)
# Those for which the draft reads the last token of its step, whose hidden state is then there.
READ_BY_DRAFT = tuple(name for name in TIMED_POLICIES if "states" in POLICIES[name].reports)
# All of them, and routers that read scalars, which cost a call a step, and no token.
SCORED = tuple(name for name in TIMED_POLICIES if name in READ_BY_MODEL or POLICIES[name].reads_scalars)
FEATURES = [
    "solution",
    "draft_tokens",
    "draft_calls",
    "target_tokens",
    "target_calls",
    "catch_up_calls",
    "warm_calls",
    "catch_up_tokens",
    *(f"{policy}_score_{unit}" for policy in SCORED for unit in ("calls", "tokens")),
]
SAME_SOLUTION = ["steps", "escalations", "draft_tokens", "target_tokens"]


def features(counts: pd.DataFrame) -> Floats:
    """(rows, features): what a solution costs, from its policy and counts, as measured or as swept.

    The prompt is read once by whoever reads anything: the target as part of its first catch-up, a scorer before its
    first step; the draft's share of it is in the constant. An accepted step is read by the target when it is next
    asked, a rejected one by no one but the scorer. A target that has read the draft's step to judge it (`warm_calls`)
    has nothing to catch up on: it goes on from its cache at once, or reads a last id again, as its engine does it. So
    does a draft whose state was read: after an accepted step its first token takes no pass of its own.
    """
    by_draft, by_target = _of_policies(counts, needing("draft")), _of_policies(counts, READ_BY_TARGET)
    escalations, steps = counts["escalations"].to_numpy(), counts["steps"].to_numpy()
    values = {
        "solution": np.ones(len(counts)),
        "draft_tokens": counts["draft_tokens"] - (steps - escalations) * _of_policies(counts, READ_BY_DRAFT),
        "draft_calls": steps * by_draft,
        "target_tokens": counts["target_tokens"],
        "target_calls": escalations,
        "catch_up_calls": escalations * ~by_target,
        "warm_calls": escalations * by_target,
        "catch_up_tokens": counts["catch_up_tokens"],
    }
    for scored in SCORED:
        own = _of_policies(counts, (scored,))
        for unit in ("calls", "tokens"):
            values[f"{scored}_score_{unit}"] = counts[f"score_{unit}"].to_numpy() * own
    return np.stack([np.asarray(values[name], dtype=np.float64) for name in FEATURES], axis=1)


def _of_policies(counts: pd.DataFrame, names: Collection[str]) -> np.ndarray:
    """(rows,): whether a row's policy is one of `names`."""
    codes, policies = pd.factorize(counts["policy"])
    chosen: np.ndarray = np.array([policy in names for policy in policies], dtype=bool)[codes]
    return chosen


def swept_work(counts: pd.DataFrame) -> pd.DataFrame:
    """Trajectories' counts with what the decoder would read: `catch_up_tokens`, `score_calls`, `score_tokens`."""
    names = ("prompt_tokens", "escalations", "catch_up_tokens", "steps", "judged_tokens")
    prompt, escalations, read, steps, judged = (counts[name].to_numpy(np.float64) for name in names)
    by_model, by_target = _of_policies(counts, READ_BY_MODEL), _of_policies(counts, READ_BY_TARGET)
    # Of its own steps a target that judges reads the last token only, which is not in its cache yet.
    own = counts["draft_tokens"].to_numpy(np.float64) + counts["escalations_before_end"].to_numpy(np.float64)
    return counts.assign(
        # First the target reads the prompt; later its own last token.
        catch_up_tokens=(read + (prompt + escalations - 1) * (escalations > 0)) * ~by_target,
        score_calls=steps * _of_policies(counts, SCORED),
        score_tokens=(np.where(by_target, own, judged) + prompt) * by_model
        + steps * _of_policies(counts, READ_BY_DRAFT),
    )


def timed_by_step(latency: pd.DataFrame) -> pd.DataFrame:
    """The rows of the table `latency` that were written step by step, each step by one model alone."""
    return latency[~latency["uninterrupted"].astype(bool) & (latency["speculative_tokens"] == 0)]


def timed_rows(latency: pd.DataFrame, counts: pd.DataFrame) -> pd.DataFrame:
    """The solutions of one pair timed step by step, with what the model is fitted to.

    latency: rows of that table; counts: of `trajectory_counts`. `same`: whether the solution is the sweep's own; its
    reads are then counted by the rules by which the model will be applied.
    """
    stepped = timed_by_step(latency).reset_index(drop=True)
    # The router's first training is the one that is timed.
    counts = swept_work(counts[(counts["pair"] == stepped["pair"].iloc[0]) & (counts["router_seed"] <= 0)])
    keys = ["pair", "benchmark", "policy", "question_id"]
    timed = stepped.assign(row=range(len(stepped)))
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
