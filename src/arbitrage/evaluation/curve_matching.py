"""Comparing two curves where they are comparable: at the same accuracy, or at the same acceptance.

All functions take a batch of curves (one a bootstrap resample, the data's own first), so that an interval costs one
call: arrays of shape (B, T) for B curves of T thresholds. Between neighbouring operating points a curve is a straight
line, which is what following one threshold or the other at random gives; it has no value across a gap of more than GAP
of acceptance, where the policy has no operating point.
"""

from __future__ import annotations

import numpy as np

from arbitrage.evaluation.bootstrap import Floats

GAP = 0.05  # of acceptance between neighbouring operating points: wider is a hole in the curve
NO_POINT = f"no operating point within {100 * GAP:g} points of acceptance"
EXACT = 1e-12


def at_acceptance(acceptance: Floats, values: Floats, levels: Floats) -> Floats:
    """What each curve has (its accuracy, say) at acceptance rates.

    acceptance, values: (B, T), in the order of thresholds. levels: (L,), or (B, L) for levels of each curve's own.
    Result (B, L); NaN outside the curve's range of acceptance, and for all curves where a level lies in a gap of
    curve 0. Where several thresholds accept the same share, the strictest of them counts (`_from_the_strict_end`).
    """
    x, y = _from_the_strict_end(acceptance, values)
    levels = np.broadcast_to(levels, (len(x), np.shape(levels)[-1]))
    right = _below(x, levels)
    inside = right < x.shape[1]
    right = np.minimum(right, x.shape[1] - 1)
    (x_left, x_right), (y_left, y_right) = (_both(part, right) for part in (x, y))
    met = np.abs(x_right - levels) <= EXACT
    share = np.divide(levels - x_left, x_right - x_left, out=np.ones_like(levels), where=x_right - x_left > EXACT)
    matched = np.where(met, y_right, y_left + share * (y_right - y_left))
    matched = np.where(inside & (met | ((right > 0) & (x_left <= levels))), matched, np.nan)
    gap = ~met[0] & (x_right[0] - x_left[0] > GAP)
    matched[:, gap] = np.nan
    return matched


def _from_the_strict_end(acceptance: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Both, (B, T), from the threshold that escalates most on, without the points that accept less than one before.

    A looser threshold can accept less: after a wrong step that it lets pass, RSD's PRM finds fault with every later
    one. Two solutions of the same acceptance then differ by tens of points of accuracy, and a line from one to the
    other would be a mixture that nobody follows.
    """
    if acceptance[0, 0] > acceptance[0, -1]:
        acceptance, values = acceptance[:, ::-1], values[:, ::-1]
    highest = np.maximum.accumulate(acceptance, axis=1)
    rising = np.where(acceptance >= highest, np.arange(acceptance.shape[1]), 0)
    last = np.maximum.accumulate(rising, axis=1)
    return np.take_along_axis(acceptance, last, axis=1), np.take_along_axis(values, last, axis=1)


def cheapest(cost: Floats, accuracy: Floats, levels: Floats, acceptance: Floats | None = None) -> Floats:
    """The least cost at which each curve reaches an accuracy: its running maximum of accuracy, linear in cost.

    cost, accuracy: (B, T). levels: (L,) or (B, L) accuracies. Result (B, L): infinite where the curve never gets there;
    NaN for all curves where, on curve 0, it gets there across a gap (acceptance, (B, T), tells where the gaps are).
    """
    order = np.argsort(cost, axis=1, kind="stable")
    cost, accuracy = (np.take_along_axis(part, order, axis=1) for part in (cost, accuracy))
    best = np.maximum.accumulate(accuracy, axis=1)
    levels = np.broadcast_to(levels, (len(cost), np.shape(levels)[-1]))
    first = _below(best, levels)
    reached = first < cost.shape[1]
    first = np.minimum(first, cost.shape[1] - 1)
    (cost_before, cost_at), (best_before, best_at) = (_both(part, first) for part in (cost, best))
    inside = (first > 0) & (best_at - best_before > EXACT)
    share = np.divide(levels - best_before, best_at - best_before, out=np.ones(levels.shape), where=inside)
    costs = np.where(inside, cost_before + np.clip(share, 0, 1) * (cost_at - cost_before), cost_at)
    costs = np.where(reached, costs, np.inf)
    if acceptance is not None:
        before, at = _both(np.take_along_axis(acceptance, order, axis=1)[:1], first[:1])
        gap = reached[0] & (first[0] > 0) & (np.abs(at - before)[0] > GAP) & (best_at[0] - levels[0] > EXACT)
        costs[:, gap] = np.nan
    return costs


def _below(ordered: Floats, levels: Floats) -> np.ndarray:
    """(B, L): how many of each row's ascending values lie below each level."""
    return np.stack([row.searchsorted(at) for row, at in zip(ordered, levels - EXACT, strict=True)])


def _both(values: Floats, right: np.ndarray) -> tuple[Floats, Floats]:
    """The values just left of and at the indices `right`, (B, L) each."""
    left = np.maximum(right - 1, 0)
    return np.take_along_axis(values, left, axis=1), np.take_along_axis(values, right, axis=1)


def common_range(cost: Floats, accuracy: Floats, other_cost: Floats, other_accuracy: Floats) -> tuple[Floats, Floats]:
    """Accuracies at which two curves, (B, T) and (B, T'), can be compared: low and high, (B,) each.

    From the better of their cheapest points to the worse of their best points; low > high where they do not overlap.
    """
    starts = [
        np.take_along_axis(a, c.argmin(axis=1)[:, None], axis=1)[:, 0]
        for c, a in ((cost, accuracy), (other_cost, other_accuracy))
    ]
    return np.maximum(*starts), np.minimum(accuracy.max(axis=1), other_accuracy.max(axis=1))


def evenly(low: Floats, high: Floats, points: int) -> Floats:
    """(B, points): levels spread evenly over each row's own range."""
    levels: Floats = low[:, None] + (high - low)[:, None] * np.linspace(0, 1, points)
    return levels
