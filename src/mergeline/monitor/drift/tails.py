"""How likely a statistic of so much or more is by chance alone; no import but the standard library's."""

from __future__ import annotations

import math
from collections.abc import Sequence

SMALLEST = 1e-300
CLOSE = 1e-15


def kolmogorov(distance: float, rows: float) -> float:
    """Return the p-value, 0 to 1, of a two-sample Kolmogorov-Smirnov distance; `rows` is n m / (n + m).

    The limit for many rows (Kolmogorov, 1933; Smirnov, 1948), with the correction of Stephens (1970) for few. Where
    values repeat it is too large, never too small.

    >>> round(kolmogorov(0.05, 2500), 6)
    7e-06
    """
    root = math.sqrt(rows)
    at = (root + 0.12 + 0.11 / root) * distance if rows > 0 else 0.0
    if at < 0.2:
        return 1.0
    if at < 1.18:  # the series that converges fast for small values
        total = sum(math.exp(-((2 * k - 1) ** 2) * math.pi**2 / (8 * at * at)) for k in range(1, 6))
        return 1 - math.sqrt(2 * math.pi) / at * total
    return min(1.0, max(0.0, 2 * sum((-1.0) ** (k - 1) * math.exp(-2 * (k * at) ** 2) for k in range(1, 11))))


def chi_squared(value: float, degrees: int) -> float:
    """Return the p-value, 0 to 1, of a chi-squared statistic: the regularized upper incomplete gamma function.

    By its series or its continued fraction, whichever converges (Abramowitz and Stegun, 1964, 6.5.29 and 6.5.31).

    >>> round(chi_squared(3.841458820694124, 1), 12)
    0.05
    """
    if degrees < 1 or value <= 0:
        return 1.0
    a, x = degrees / 2, value / 2
    scale = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        return max(0.0, 1 - scale * _series(a, x))
    return min(1.0, scale * _fraction(a, x))


def _series(a: float, x: float) -> float:
    term = total = 1 / a
    while abs(term) > CLOSE * abs(total):
        a += 1
        term *= x / a
        total += term
    return total


def _fraction(a: float, x: float) -> float:
    """Lentz's way through the continued fraction."""
    b = x + 1 - a
    c, d = 1 / SMALLEST, 1 / b
    found = d
    for number in range(1, 100 + int(10 * math.sqrt(a))):
        step = -number * (number - a)
        b += 2
        d = 1 / (step * d + b or SMALLEST)
        c = b + step / c or SMALLEST
        found *= c * d
        if abs(c * d - 1) < CLOSE:
            break
    return found


def shares_differ(first: float, first_rows: float, second: float, second_rows: float) -> float:
    """Return the p-value of two shares, 0 to 1, of so many rows being one (the z-test with a pooled share).

    >>> shares_differ(0.1, 1000, 0.1, 2000), round(shares_differ(0.1, 1000, 0.13, 1000), 4)
    (1.0, 0.0355)
    """
    pooled = (first * first_rows + second * second_rows) / (first_rows + second_rows)
    spread = math.sqrt(pooled * (1 - pooled) * (1 / first_rows + 1 / second_rows))
    if spread == 0 or first == second:
        return 1.0
    return math.erfc(abs(first - second) / spread / math.sqrt(2))


def benjamini_hochberg(values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number: those below a level hold that share of false finds on average.

    Benjamini and Hochberg (1995), J. R. Statist. Soc. B 57, 289-300.

    >>> benjamini_hochberg([0.01, 0.04, 0.03, 0.5])
    [0.04, 0.05333333333333334, 0.05333333333333334, 0.5]
    """
    order = sorted(range(len(values)), key=values.__getitem__, reverse=True)
    found, least = [1.0] * len(values), 1.0
    for rank, at in zip(range(len(values), 0, -1), order, strict=True):
        least = min(least, values[at] * len(values) / rank)
        found[at] = least
    return found
