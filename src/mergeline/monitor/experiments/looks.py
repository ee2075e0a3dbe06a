"""How far an experiment has come, and what may be read of it however often somebody looks.

A 95 % interval is right once. Who looks every day and stops at the first interval that leaves 0 out is wrong far more
often than one time in twenty: in 24 % with twenty looks (measured). The verdict of an
experiment therefore reads an interval that holds at all looks together: the normal mixture of Robbins [1] in the form
of Waudby-Smith et al. [2], which reaches

    sqrt(2 (1 + 1 / u) log(sqrt(1 + u) / alpha)),  u = fraction * (log(1 - 2 log alpha) - 2 log alpha)

standard errors, 3.04 at the planned size (alpha = 0.05), 3.26 at a quarter and 3.13 at four times of it. `fraction` is
the information of the labels that are there, 1 / variance, over that of the plan: to find a difference of `margin`
with 80 % power at this reach. The price beside a single look at a size fixed beforehand is twice as many labels.

1. Statistical methods related to the law of the iterated logarithm. Ann. Math. Statist. 41, 1397-1409 (1970).
2. Time-uniform central limit theory and asymptotic confidence sequences. Annals of Statistics 52, 2613-2640 (2024).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist

from mergeline.errors import ConfigurationError
from mergeline.intervals import Interval
from mergeline.intervals.interval import clipped, quantile

POWER = 0.8


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the labels reach.

    `fraction`: of the planned information, infinite where nothing varies. `always`: the interval that holds at every
    look. `needed` and `needed_once`: labels a planned experiment has in all, looked at whenever or once; None where
    these labels do not say.
    """

    fraction: float
    always: Interval
    needed: int | None
    needed_once: int | None


def reach(fraction: float, confidence: float) -> float:
    """How many standard errors off 0 an estimate may come by chance, at any look; infinite of no information.

    >>> round(reach(1.0, 0.95), 2), round(reach(0.25, 0.95), 2)
    (3.04, 3.26)
    """
    quantile(confidence)
    alpha = 1 - confidence
    u = fraction * (math.log(1 - 2 * math.log(alpha)) - 2 * math.log(alpha))
    if u == 0 or math.isinf(u):
        return math.inf
    return math.sqrt(2 * (1 + 1 / u) * math.log(math.sqrt(1 + u) / alpha))


def progress(difference: Interval, labels: int, margin: float, bounds: tuple[float, float]) -> Progress:
    """What a difference found with so many labels tells of the plan to find one of `margin` (above 0, its own unit).

    bounds: what the difference cannot pass. A standard error is half the interval's width over its quantile; it is
    taken to shrink with the root of the number of labels, the arms growing as they do.
    """
    if not margin > 0:
        raise ConfigurationError(f"margin: expected the least difference that matters, above 0, found {margin:g}")
    z = quantile(difference.confidence)
    error = (difference.high - difference.low) / (2 * z)
    if error == 0:
        return Progress(math.inf, difference, None, None)
    power = NormalDist().inv_cdf(POWER)
    fraction = (margin / (reach(1.0, difference.confidence) + power) / error) ** 2
    once = (margin / (z + power) / error) ** 2
    if fraction == 0:
        return Progress(0.0, replace(difference, low=bounds[0], high=bounds[1]), None, None)
    factor = reach(fraction, difference.confidence) / z
    below, above = difference.estimate - difference.low, difference.high - difference.estimate
    wide = replace(
        difference,
        low=difference.estimate - factor * below,
        high=difference.estimate + factor * above,
        method=f"{difference.method}, at every look",
    )
    return Progress(fraction, clipped(wide, bounds), math.ceil(labels / fraction), math.ceil(labels / once))
