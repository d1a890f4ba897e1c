"""Attention heads that are set, not trained: to look one token back, or for what stands in some channels."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import linprog

SHARPNESS = 7.0  # weight of query and key in the head that looks one token back
WEIGHT = 10.0
DISTANCES = 512
PICKY = 4.0  # weight of the query in the head that looks for the least expected token


def look_for(attention: Any, head: int, constant: int, weights: dict[int, float]) -> None:
    """Make a head look for what stands in some channels, by their weights, at whatever distance."""
    slowest = (head + 1) * attention.head_dim - 1  # of a pair that hardly turns
    attention.q_proj.weight[slowest, constant] = PICKY
    for channel, weight in weights.items():
        attention.k_proj.weight[slowest, channel] = weight


def look_back(attention: Any, head: int, constant: int) -> None:
    """Make a head look at the token before: queries and keys are constant, and rotary positions turn them apart.

    With the weights of `_one_back`, a query and a key agree where the distance is one, and oppose each other elsewhere.
    """
    size, base = attention.head_dim, float(attention.config.rope_parameters["rope_theta"])
    angles = base ** (-2 * np.arange(size // 2) / size)
    for pair, (angle, weight) in enumerate(zip(angles, _one_back(angles), strict=True)):
        first, second = head * size + pair, head * size + size // 2 + pair
        attention.q_proj.weight[first, constant] = SHARPNESS * float(np.sqrt(abs(weight)) * np.sign(weight))
        attention.k_proj.weight[first, constant] = SHARPNESS * float(np.sqrt(abs(weight)) * np.cos(angle))
        attention.k_proj.weight[second, constant] = SHARPNESS * float(np.sqrt(abs(weight)) * np.sin(angle))


def _one_back(angles: np.ndarray) -> np.ndarray:
    """Weights of pairs of channels that turn by `angles` a place, for a sum of cosines that peaks at distance one.

    It is 1 there, and as far below zero as may be at all others up to DISTANCES (a linear programme; the weights' sizes
    sum to WEIGHT at most). Below zero, because keys are larger at some tokens than at others.
    """
    distances = np.array([0, *range(2, DISTANCES)]) - 1
    cosines, ones = np.cos(np.outer(distances, angles)), np.ones(len(angles))
    solved = linprog(
        [*np.zeros(2 * len(angles)), -1.0],
        A_ub=np.vstack([np.hstack([cosines, -cosines, np.ones((len(distances), 1))]), [*ones, *ones, 0.0]]),
        b_ub=[*np.zeros(len(distances)), WEIGHT],
        A_eq=[[*ones, *-ones, 0.0]],
        b_eq=[1.0],
        bounds=[(0, None)] * (2 * len(angles)) + [(None, None)],
    ).x
    return np.asarray(solved[: len(angles)] - solved[len(angles) : -1])
