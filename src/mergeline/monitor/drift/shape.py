"""The shapes of a column then and now, with as many parts as a person looks at."""

from __future__ import annotations

import numpy as np

from mergeline.monitor.drift.record import Shape
from mergeline.monitor.sketch import CategoryCounts, Floats, NumberSketch, values_of

NUMBERS = 20
CATEGORIES = 9
OTHER = "(other)"
OUTER = (0.005, 0.995)


def number_shape(then: NumberSketch, now: NumberSketch) -> Shape:
    """Return the shares of twenty bins of equal width about the middle 99 % of both; none where nothing is known."""
    ends = [_outer(each) for each in (then, now) if each.known]
    if not ends:
        return Shape((), (), (), ())
    low, high = float(min(end[0] for end in ends)), float(max(end[1] for end in ends))
    if not np.isfinite([low, high]).all():
        return Shape((), (), (), ())
    if low == high:
        low, high = low - 0.5, high + 0.5
    inner = np.linspace(low, high, NUMBERS + 1)
    return Shape((), _rounded(inner), *(_rounded(_shares(each, inner)) for each in (then, now)))


def category_shape(then: CategoryCounts, now: CategoryCounts) -> Shape:
    """Return the shares of the most frequent categories of either, and of all others together."""
    names = sorted({*then.counts, *now.counts})
    share = {
        name: (then.counts.get(name, 0) / max(1, then.rows), now.counts.get(name, 0) / max(1, now.rows))
        for name in names
    }
    ranked = sorted(names, key=lambda name: (-max(share[name]), name))
    kept = [name for name in ranked[:CATEGORIES] if max(share[name]) > 0]
    rest = [name for name in ranked if name not in kept]
    sides = []
    for side, counts in enumerate((then, now)):
        other = counts.other / max(1, counts.rows) + sum(share[name][side] for name in rest)
        sides.append((*(share[name][side] for name in kept), other))
    if max(sides[0][-1], sides[1][-1]) > 0:
        kept.append(OTHER)
    return Shape(tuple(kept), (), *(_rounded(np.array(side[: len(kept)])) for side in sides))


def _outer(sketch: NumberSketch) -> Floats:
    """The quantiles of `NumberSketch.quantiles`, for which not every key's value is made."""
    counted = np.cumsum(sketch.counts)
    ranks = np.clip(np.ceil(np.multiply(OUTER, counted[-1])), 1, counted[-1])
    return values_of(sketch.keys[np.searchsorted(counted, ranks)])


def _shares(sketch: NumberSketch, inner: Floats) -> Floats:
    place = np.clip(np.searchsorted(inner, values_of(sketch.keys), side="right") - 1, 0, NUMBERS - 1)
    counts = np.bincount(place, sketch.counts, minlength=NUMBERS)
    return counts / max(1, sketch.rows)


def _rounded(values: Floats) -> tuple[float, ...]:
    return tuple(rounded(value) for value in values.tolist())


def rounded(value: float) -> float:
    """Return seven digits of a figure: more than a person reads, and the same on every machine."""
    return float(f"{value:.7g}")
