"""The interval of a mean absolute gap, as in the calibration error."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from mergeline.intervals.interval import Floats, Interval, around, clipped, quantile, unvarying


def mean_absolute_gap(gaps: ArrayLike, variances: ArrayLike, rows: ArrayLike, confidence: float = 0.95) -> Interval:
    """The row-weighted mean of |gap| over bins, as in the expected calibration error; its interval may reach 0.

    gaps: float [bins], each in -1..1; variances: of each gap [bins]; rows: int [bins], all positive.

    Noise makes the mean of absolute gaps too large, and a bootstrap adds the same noise once more: for a perfectly
    calibrated model, percentile bounds held the truth in none of 2,400 simulations. This interval inverts a test
    instead. Were the true gaps t times those seen, |gap| would be folded normal (Leone, Nelson & Nottingham,
    Technometrics 3, 543-550, 1961), and the sum over bins near normal. The bounds are the smallest and the largest t
    whose sum does not contradict the one seen, times the estimate. Sums grow with t, so bisection finds both. Gaps
    that are smaller than noise alone makes them have the estimate for an upper bound.

    Coverage: 90 % to 98 % for 30 to 5,000 rows, from perfect calibration to a mean gap of 0.25.
    """
    gap, variance, weight = (np.asarray(part, dtype=np.float64) for part in (gaps, variances, rows))
    share = weight / weight.sum()
    estimate = float(share @ np.abs(gap))
    if not variance.any():
        return unvarying(estimate, int(weight.sum()), (0.0, 1.0), confidence)
    error = np.sqrt(variance)
    direction = gap if gap.any() else error  # no gap at all gives no direction: let all bins drift alike
    z = quantile(confidence)
    reached = float(share @ np.abs(direction))
    low = reached * _largest_multiple(estimate, direction, error, share, z)
    high = reached * _largest_multiple(estimate, direction, error, share, -z)
    return clipped(around(estimate, low, high, "folded-normal", confidence), (0.0, 1.0))


def _folded_sum(gaps: Floats, errors: Floats, shares: Floats, z: float) -> float:
    """A quantile of the sum of shares * |N(gap, error)|, by its mean and variance."""
    means = [_folded_mean(gap, error) for gap, error in zip(gaps.tolist(), errors.tolist(), strict=True)]
    variances = np.maximum(gaps**2 + errors**2 - np.square(means), 0)
    return float(shares @ means + z * math.sqrt(float(shares**2 @ variances)))


def _folded_mean(gap: float, error: float) -> float:
    if error == 0:
        return abs(gap)
    ratio = gap / error
    return error * math.sqrt(2 / math.pi) * math.exp(-ratio * ratio / 2) + gap * math.erf(ratio / math.sqrt(2))


def _largest_multiple(target: float, direction: Floats, errors: Floats, shares: Floats, z: float) -> float:
    """The t that makes quantile z of the sum, with true gaps t * direction, the target; 0 where noise alone does."""
    low, high = 0.0, 1.0
    if _folded_sum(direction * low, errors, shares, z) >= target:
        return low
    while _folded_sum(direction * high, errors, shares, z) < target:
        low, high = high, 2 * high
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _folded_sum(direction * middle, errors, shares, z) < target else (low, middle)
    return high
