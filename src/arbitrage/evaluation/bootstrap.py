"""Percentile bootstrap over questions, vectorised.

One matrix of resample weights serves all points and all policies of a panel, so that differences between two
policies are paired: both are seen on the same resampled questions.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def resample_weights(items: int, resamples: int, seed: int) -> Floats:
    """How often each item occurs in each resample: (resamples, items), each row sums to `items`.

    Raises ValueError where there is nothing to resample.
    """
    if items < 1:
        raise ValueError("a bootstrap needs at least one question, got none")
    generator = np.random.default_rng(seed)
    return generator.multinomial(items, np.full(items, 1 / items), size=resamples).astype(np.float64)


def resampled_means(weights: Floats, values: Floats) -> Floats:
    """Means over the items of each resample: weights (resamples, items), values (..., items) → (resamples, ...)."""
    means: Floats = np.moveaxis(values @ weights.T, -1, 0) / values.shape[-1]
    return means


def interval(samples: Floats, confidence: float) -> tuple[Floats, Floats]:
    """The central interval that holds `confidence` of the samples along axis 0; NaN samples are left out.

    Where no sample is a number, both ends are NaN.
    """
    tail = (1 - confidence) / 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an all-NaN column is a NaN interval, and no fault
        low, high = np.nanquantile(samples, [tail, 1 - tail], axis=0)
    return low, high
