"""Comparing two curves where they are comparable: at the same accuracy, or at the same acceptance.

All functions take a batch of curves (one a bootstrap resample), so that an interval costs one call:
arrays of shape (B, T) for B curves of T thresholds.
"""

from __future__ import annotations

import numpy as np

from arbitrage.evaluation.bootstrap import Floats


def cheapest(cost: Floats, accuracy: Floats, levels: Floats) -> Floats:
    """The least cost at which each curve reaches an accuracy: the curve's running maximum of accuracy, read at a level.

    cost, accuracy: (B, T). levels: (L,) accuracies. Result (B, L); NaN where the curve never gets there.
    """
    order = np.argsort(cost, axis=1, kind="stable")
    cost = np.take_along_axis(cost, order, axis=1)
    best = np.maximum.accumulate(np.take_along_axis(accuracy, order, axis=1), axis=1)
    reached = best[:, None, :] >= levels[None, :, None] - 1e-12
    first = reached.argmax(axis=2)
    return np.where(reached.any(axis=2), np.take_along_axis(cost, first, axis=1), np.nan)


def at_acceptance(acceptance: Floats, values: Floats, levels: Floats) -> Floats:
    """What a curve has (its accuracy, say) at acceptance rates, linear between its neighbouring points.

    acceptance, values: (B, T). levels: (L,). Result (B, L); NaN outside the curve's range of acceptance.
    """
    found = np.empty((len(acceptance), len(levels)))
    for row, (x, y) in enumerate(zip(acceptance, values, strict=True)):
        order = np.argsort(x, kind="stable")
        found[row] = np.interp(levels, x[order], y[order], left=np.nan, right=np.nan)
    return found


def common_range(cost: Floats, accuracy: Floats, other_cost: Floats, other_accuracy: Floats) -> tuple[float, float]:
    """Accuracies at which two curves, (T,) and (T',), can be compared.

    From the better of their cheapest points to the worse of their best points; low > high where they do not overlap.
    """
    low = max(accuracy[cost.argmin()], other_accuracy[other_cost.argmin()])
    return float(low), float(min(accuracy.max(), other_accuracy.max()))
