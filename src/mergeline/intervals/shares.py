"""Intervals of a share."""

from __future__ import annotations

import math

from mergeline.errors import DataError
from mergeline.intervals.interval import Interval, around, quantile, unseen


def wilson(successes: float, trials: float, confidence: float = 0.95) -> Interval:
    """A share, with the score interval [5]: it holds its coverage for few trials and for shares near 0 and 1.

    Raises DataError for no trial, or successes outside 0..trials.

    >>> nothing = wilson(0, 10)
    >>> nothing.low, round(nothing.high, 4)
    (0.0, 0.2775)
    """
    if not (trials > 0 and 0 <= successes <= trials):
        raise DataError(
            f"share: expected successes from 0 to a positive number of trials, found {successes} of {trials}"
        )
    z = quantile(confidence)
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    reach = z / (1 + z * z / trials) * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    low = 0.0 if successes == 0 else centre - reach
    high = 1.0 if successes == trials else centre + reach
    return around(share, low, high, "wilson", confidence)


def unanimous(succeeded: bool, trials: int, confidence: float = 0.95) -> Interval:
    """The share of successes after nothing but successes (or nothing but failures) in `trials`: the exact interval [4].

    With 300 trials and 90 % confidence that is the rule of three: at most 3 / 300 went unseen.

    >>> round(unanimous(True, 300, confidence=0.90).low, 4)
    0.9901
    """
    bound = unseen(trials, confidence)
    low, high, share = (1 - bound, 1.0, 1.0) if succeeded else (0.0, bound, 0.0)
    return around(share, low, high, "clopper-pearson", confidence)
