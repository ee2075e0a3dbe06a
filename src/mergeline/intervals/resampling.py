"""The interval of any statistic, from resampled weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from mergeline.errors import ConfigurationError, DataError
from mergeline.intervals.interval import Floats, Interval, around, quantile


def bootstrap(
    statistic: Callable[[Floats], float],
    rows: int,
    resamples: int,
    seed: int,
    confidence: float = 0.95,
) -> Interval:
    """Any statistic that takes row weights: percentiles over multinomial weights, the same for the same seed [8].

    statistic: float64 [rows] -> float; the weights sum to `rows`, and all ones give the estimate. Sort once outside
    and use the weights inside: nothing is resampled but the weights. NaN means that the statistic is undefined on a
    resample (no positive drawn), which is then left out. The bounds are widened to hold the estimate where the
    statistic is biased.

    Coverage: 92 % to 95 % for a mean or a slope of 100 rows. A statistic that noise can only make larger, such as a
    calibration error, is not covered. Raises DataError for no row, an undefined estimate, or fewer than half of the
    resamples defined; ConfigurationError for no resample.

    >>> values = np.array([1.0, 2.0, 3.0, 4.0])
    >>> bootstrap(lambda weights: float(weights @ values / weights.sum()), rows=4, resamples=100, seed=7).estimate
    2.5
    """
    quantile(confidence)
    if resamples < 1:
        raise ConfigurationError(f"bootstrap: expected one resample or more, found {resamples}; set a few hundred")
    if rows < 1:
        raise DataError(f"bootstrap: expected one row or more, found {rows}; leave the number out")
    estimate = float(statistic(np.ones(rows)))
    drawn = np.array([statistic(weights) for weights in _weights(rows, resamples, seed)], dtype=np.float64)
    defined = drawn[~np.isnan(drawn)]
    if math.isnan(estimate) or 2 * len(defined) < resamples:
        found = f"{len(defined)} of {resamples} resamples defined"
        raise DataError(f"bootstrap: expected a statistic that {rows} rows define, found {found}; leave the number out")
    low, high = np.quantile(defined, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return around(estimate, float(low), float(high), "bootstrap-percentile", confidence)


def _weights(rows: int, resamples: int, seed: int) -> Iterator[Floats]:
    generator = np.random.default_rng(seed)
    for _ in range(resamples):
        yield np.bincount(generator.integers(0, rows, rows), minlength=rows).astype(np.float64)
