"""The record of an estimate between two bounds, and what all methods build it from."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mergeline.errors import ConfigurationError, DataError

Floats = NDArray[np.float64]
Scale = Literal["identity", "log", "logit"]


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate between two bounds; `confidence` is a share (0.95), `method` a word of the module's table."""

    estimate: float
    low: float
    high: float
    method: str
    confidence: float

    def as_dict(self) -> dict[str, float | str]:
        """The fields by name, as JSON takes them."""
        return {
            "estimate": self.estimate,
            "low": self.low,
            "high": self.high,
            "method": self.method,
            "confidence": self.confidence,
        }

    def transformed(self, increasing: Callable[[float], float]) -> Interval:
        """The interval of a strictly increasing function of the quantity: the same coverage, bound by bound.

        >>> Interval(4.0, 1.0, 9.0, "normal-log", 0.95).transformed(math.sqrt).high
        3.0
        """
        return replace(self, estimate=increasing(self.estimate), low=increasing(self.low), high=increasing(self.high))


def average_of(parts: Sequence[Interval]) -> Interval:
    """The plain mean of independent estimates, its bounds recovered from theirs [7].

    Each side is the root of the summed squares of the parts' distances on that side, over their number; so it keeps
    what Wilson's bounds know about small classes. All parts have one confidence. Raises DataError for no part.

    >>> parts = [Interval(0.5, 0.2, 0.6, "wilson", 0.95), Interval(0.7, 0.3, 0.7, "wilson", 0.95)]
    >>> round(average_of(parts).low, 4)
    0.35
    """
    if not parts:
        raise DataError("average of intervals: expected one part or more, found none; leave the number out")
    centre = math.fsum(part.estimate for part in parts) / len(parts)
    below = math.hypot(*(part.estimate - part.low for part in parts)) / len(parts)
    above = math.hypot(*(part.high - part.estimate for part in parts)) / len(parts)
    limits = min(part.low for part in parts), max(part.high for part in parts)  # only rounding could pass them
    return clipped(around(centre, centre - below, centre + above, "mover", parts[0].confidence), limits)


def wider(first: Interval, second: Interval) -> Interval:
    """The bounds that hold both intervals of one estimate; the name of the method is that of the first."""
    return replace(first, low=min(first.low, second.low), high=max(first.high, second.high))


def finite(values: ArrayLike, name: str) -> Floats:
    """The values as float64, in their shape; raises DataError, naming them, where one is NaN, infinite or no number.

    >>> finite([1, 2], "scores")
    array([1., 2.])
    """
    try:
        array = np.atleast_1d(np.asarray(values, dtype=np.float64))
    except (TypeError, ValueError) as err:
        raise DataError(f"{name}: expected numbers, found {np.asarray(values).dtype}; convert the column") from err
    bad = np.nonzero(~np.isfinite(array))[0]
    if bad.size:
        found = f"{bad.size} NaN or infinite (first: row {bad[0]})"
        raise DataError(f"{name}: expected finite numbers, found {found}; see what made them")
    return array


def quantile(confidence: float) -> float:
    """How many standard errors a normal interval reaches; raises ConfigurationError where confidence is no share."""
    if not 0 < confidence < 1:
        raise ConfigurationError(f"confidence: expected a share between 0 and 1, found {confidence}; 0.95 is usual")
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def around(estimate: float, low: float, high: float, method: str, confidence: float) -> Interval:
    """The interval, widened where its bounds would not hold the estimate."""
    centre = float(estimate)
    return Interval(centre, min(float(low), centre), max(float(high), centre), method, confidence)


def clipped(interval: Interval, bounds: tuple[float, float]) -> Interval:
    """The interval within what is possible."""
    low, high = max(interval.low, bounds[0]), min(interval.high, bounds[1])
    return around(interval.estimate, low, high, interval.method, interval.confidence)


def scaled(estimate: float, error: float, scale: Scale, method: str, confidence: float) -> Interval:
    """The estimate -+ z * error, on a scale: the delta method multiplies the error by the scale's slope."""
    reach = quantile(confidence) * error
    if scale == "identity" or (scale == "log" and estimate <= 0):  # losses so small that their mean is no float
        return around(estimate, estimate - reach, estimate + reach, method, confidence)
    if scale == "log":
        factor = math.exp(reach / estimate)
        return around(estimate, estimate / factor, estimate * factor, f"{method}-log", confidence)
    reach /= estimate * (1 - estimate)
    low, high = (_from_logit(_logit(estimate) + step) for step in (-reach, reach))
    return around(estimate, low, high, f"{method}-logit", confidence)


def unseen(trials: int, confidence: float) -> float:
    """Share of the population that `trials` independent rows may all have missed."""
    quantile(confidence)
    return float(1 - ((1 - confidence) / 2) ** (1 / trials))


def unvarying(value: float, trials: int, bounds: tuple[float, float], confidence: float) -> Interval:
    """Every one of the trials gave `value`; the share that may have been missed lies at either bound."""
    missed = unseen(trials, confidence)
    low, high = (value * (1 - missed) + bound * missed for bound in bounds)
    return clipped(around(value, low, high, "unvarying", confidence), bounds)


def _logit(share: float) -> float:
    return math.log(share) - math.log1p(-share)


def _from_logit(value: float) -> float:
    return 0.5 * (1 + math.tanh(value / 2))  # no overflow, unlike 1 / (1 + exp(-value))
