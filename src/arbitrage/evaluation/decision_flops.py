"""Floating-point operations of a decision: what scoring a draft step takes, counted, as `score_s` is what it took.

A multiplication and an addition for each weight and token that is read: 2 N D for N weights and D tokens (Kaplan et
al., "Scaling laws for neural language models", arXiv 2001.08361, section 2.1). D is what the live decoder read anew for
the decision, on average over the timed steps: its caches hold what came before. Not counted is the attention over that,
2 x layers x context x width a token in the same source: little where a model is wider than its contexts are long. N is
all of a model's weights, those of its input embeddings too, which are looked up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from arbitrage.evaluation.decoder_work import timed_by_step


@dataclass(frozen=True, slots=True)
class Deciding:
    """What decides for a policy. read: weights of the model that reads the draft's step, 0 where none does, NaN where
    they are not known; network: those of the network that makes a number of scalars or a state, 0 where there is none.
    """

    read: float = 0.0
    network: float = 0.0


def decision_flops(latency: pd.DataFrame, deciding: Mapping[tuple[str, str], Deciding]) -> pd.Series:
    """Mean FLOPs of scoring a step, by pair and policy: of those timed step by step that `deciding` has.

    latency: rows of that table; deciding: by pair and policy.
    """
    totals = timed_by_step(latency).groupby(["pair", "policy"])[["score_tokens", "steps"]].sum()
    tokens = totals["score_tokens"] / totals["steps"]
    found = {
        key: 2 * (each.network + (each.read * tokens[key] if tokens[key] else 0.0))
        for key, each in deciding.items()
        if key in tokens.index
    }
    return pd.Series(found, dtype=float)
