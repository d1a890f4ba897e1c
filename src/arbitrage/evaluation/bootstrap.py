"""Bootstrap over questions, vectorised, and over the trainings of a router.

One matrix of resample weights serves all points and all policies of a benchmark, so that differences between two
policies are paired: both are seen on the same resampled questions. Samples are arrays whose row 0 is the data's own
value and whose other rows are one resample each: one computation serves value and interval. Where a router takes part
there is a leading axis over its trainings (seeds), which `over_seeds` folds. docs/statistics.md has the reasons and the
measured coverage.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

Floats = NDArray[np.float64]

MOST_MISSING = 0.05  # no interval where more than this share of the resamples has no value
NO_WIDTH = 1e-12
LIKE_NORMAL = 1e4  # degrees of freedom


def resample_weights(items: int, resamples: int, seed: int, name: str = "") -> Floats:
    """How often each item occurs in each resample: (resamples, items), each row sums to `items`.

    name: of what is resampled, so that two benchmarks of one size are resampled independently.
    Raises ValueError where there is nothing to resample.
    """
    if items < 1:
        raise ValueError("a bootstrap needs at least one question, got none")
    generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
    return generator.multinomial(items, np.full(items, 1 / items), size=resamples).astype(np.float64)


def with_data(weights: Floats) -> Floats:
    """(1 + resamples, items): the data itself as row 0, then its resamples."""
    return np.vstack([np.ones(weights.shape[1]), weights])


def resampled_means(weights: Floats, values: Floats) -> Floats:
    """Means over the items of each resample: weights (resamples, items), values (..., items) → (resamples, ...).

    A NaN (an answer nobody graded) is left out; NaN where a resample holds nothing else.
    """
    flat = np.ascontiguousarray(values, dtype=np.float64).reshape(-1, values.shape[-1])
    present = ~np.isnan(flat)
    if present.all():
        means = weights @ flat.T / values.shape[-1]
    else:
        totals = weights @ np.where(present, flat, 0.0).T
        counts = weights @ present.astype(np.float64).T
        means = np.divide(totals, counts, out=np.full(totals.shape, np.nan), where=counts > 0)
    shaped: Floats = means.reshape(len(weights), *values.shape[:-1])
    return shaped


def interval(samples: Floats, confidence: float) -> tuple[Floats, Floats]:
    """The central interval that holds `confidence` of the resamples along axis 0; an infinite sample counts as it is.

    Both ends are NaN where more than MOST_MISSING of the samples are NaN, and where all are one and the same number: no
    variance in the data is no certainty.
    """
    samples = np.asarray(samples, dtype=np.float64)
    if not len(samples):
        return np.full(samples.shape[1:], np.nan), np.full(samples.shape[1:], np.nan)
    missing = np.isnan(samples)
    ordered = np.sort(samples, axis=0)  # NaN last
    counts = (~missing).sum(axis=0)
    tail = (1 - confidence) / 2
    low, high = (_quantile(ordered, counts, level) for level in (tail, 1 - tail))
    with np.errstate(invalid="ignore"):
        width = high - low
    empty = (missing.mean(axis=0) > MOST_MISSING) | ~(width > NO_WIDTH)
    return np.where(empty, np.nan, low), np.where(empty, np.nan, high)


def _quantile(ordered: Floats, counts: np.ndarray, level: float) -> Floats:
    """The `level` quantile of the first `counts` rows (unbiased in small numbers), linear between finite neighbours."""
    position = np.clip(level * (counts + 1) - 1, 0, np.maximum(counts - 1, 0))
    below = np.floor(position).astype(int)
    above = np.minimum(below + 1, np.maximum(counts - 1, 0))
    first, second = (np.take_along_axis(ordered, index[None], axis=0)[0] for index in (below, above))
    with np.errstate(invalid="ignore"):
        between = first + (position - below) * (second - first)
    nearest = np.where(position - below < 0.5, first, second)
    quantile: Floats = np.where(np.isfinite(between), between, nearest)
    return quantile


def over_seeds(samples: Floats, seed: int, less: Floats | None = None) -> Floats:
    """Samples of the mean over a router's trainings, (1 + resamples, ...), from those of each, (K, 1 + resamples, ...).

    less: those of another router, (L, 1 + resamples, ...), whose mean is subtracted. To the resamples of the questions
    the variation of the training is added, as a normal variable scaled by the standard error between trainings, and the
    sum is widened to a t variable of Welch's and Satterthwaite's degrees of freedom: K - 1 where only trainings vary
    (two routers' trainings are drawn apart, so that their degrees add up), many where only questions do. The draws are
    the same over all further axes, so that bands stay bands. Trainings also differ by chance, on the questions that
    happen to be there: that part is in both, and is taken out of the resamples. One training: its own samples, which
    tell nothing of another one.

    Source: B. L. Welch, "The generalization of 'Student's' problem", Biometrika 34 (1947).
    """
    mean: Floats = samples.mean(axis=0) if less is None else samples.mean(axis=0) - less.mean(axis=0)
    routers = [(sign, own) for sign, own in ((1, samples), (-1, less)) if own is not None and len(own) > 1]
    if not routers:
        return mean
    generator = np.random.default_rng([seed, *(len(own) for _, own in routers)])
    value, resampled = mean[0], mean[1:]
    with np.errstate(invalid="ignore"):
        chance, training, freedom = (np.zeros(value.shape) for _ in range(3))
        noise = np.zeros(resampled.shape)
        for sign, own in routers:
            trainings, centre = len(own), own.mean(axis=0)
            apart = own[:, 0] - centre[0]  # (K, ...)
            chance += _variance(own[:, 1:] - centre[1:], axis=1).mean(axis=0) / (trainings - 1)  # in the mean's own
            error = (apart**2).sum(axis=0) / (trainings * (trainings - 1))
            training += error
            freedom += error**2 / (trainings - 1)
            draws = generator.standard_normal((len(resampled), trainings))
            noise += sign * np.tensordot(draws, apart, axes=1) / np.sqrt(trainings * (trainings - 1))
        whole = _variance(resampled, axis=0)
        questions = np.clip(whole - chance, 0, None)
        shared = np.sqrt(questions / np.where(whole > 0, whole, 1.0))
        degrees = (questions + training) ** 2 / np.where(freedom > 0, freedom, 1e-60)
        degrees = np.where(degrees < LIKE_NORMAL, degrees, LIKE_NORMAL)
        levels = generator.random((len(resampled), *(1,) * value.ndim))
        widened = np.sqrt(degrees / 2 / gammaincinv(degrees / 2, levels))  # sqrt(k / chi squared of k)
        result = mean.copy()
        result[1:] = np.where(
            np.isfinite(resampled), value + widened * (shared * (resampled - value) + noise), resampled
        )
    return result


def _variance(samples: Floats, axis: int) -> Floats:
    """Variance of what is finite; 0 where nothing is."""
    finite = np.isfinite(samples)
    count = np.maximum(finite.sum(axis=axis, keepdims=True), 1)
    filled = np.where(finite, samples, 0.0)
    centred = np.where(finite, filled - filled.sum(axis=axis, keepdims=True) / count, 0.0)
    variance: Floats = (centred**2).sum(axis=axis) / count.squeeze(axis)
    return variance


def p_values(samples: Floats, region: tuple[float, float]) -> tuple[float, float]:
    """One-sided p values of "the value is inside the open region" and of "it is outside", from samples (1 + B,).

    (NaN, NaN) where there is no interval.
    """
    resampled = samples[1:]
    if np.isnan(samples[0]) or np.isnan(interval(resampled, 0.95)[0]):
        return float("nan"), float("nan")

    def share(event: np.ndarray) -> float:
        return float((1 + event.sum()) / (1 + len(resampled)))

    low, high = region
    inside = max(share(~(resampled > low)), share(~(resampled < high)))
    outside = min(share(~(resampled < low)), share(~(resampled > high)))
    return inside, outside


def band(samples: Floats, confidence: float, margin: float) -> tuple[Floats, Floats, float, float]:
    """A band that holds a whole curve with `confidence` (max-t bootstrap), from its samples (1 + B, L).

    Result: low and high (L,), and one-sided p values of "above -margin everywhere" and of "below 0 somewhere". Points
    without a value or without variance are left out; all NaN where none is left.
    """
    value, resampled = samples[0], samples[1:]
    low, high = (np.full(len(value), np.nan) for _ in range(2))
    ends = interval(resampled, 0.6827) if len(resampled) else (low, high)  # robust: trainings have heavy tails
    used = np.flatnonzero(~np.isnan(value) & ~np.isnan(ends[0]))
    if not len(used):
        return low, high, float("nan"), float("nan")
    error = (ends[1] - ends[0])[used] / 2
    apart = (resampled[:, used] - value[used]) / error
    apart = np.where(np.isnan(apart), 0.0, apart)
    widest = _quantile(np.sort(np.abs(apart).max(axis=1)), np.array(len(apart)), confidence)
    low[used], high[used] = value[used] - widest * error, value[used] + widest * error
    farthest = apart.max(axis=1)  # how far above the truth a curve strays by chance, anywhere

    def share(distance: float) -> float:
        return float((1 + (farthest >= distance).sum()) / (1 + len(farthest)))

    above = share(float(((value[used] + margin) / error).min()))
    deepest = (-apart).max(axis=1)
    below = float((1 + (deepest >= float((-value[used] / error).max())).sum()) / (1 + len(deepest)))
    return low, high, above, below


def without_bias(samples: Floats) -> Floats:
    """Samples of something picked as the largest, each less twice the bootstrap's estimate of what picking adds.

    Row 0 loses it once. For positive numbers take logarithms first. samples: (1 + B,).
    """
    picked = float(np.nanmean(samples[1:]) - samples[0]) if len(samples) > 1 else 0.0
    corrected = samples - 2 * picked
    corrected[0] = samples[0] - picked
    return corrected
