"""The values of a query over what was read, as Prometheus computes them; a test holds the two against each other."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from mergeline.canary.promql import Aggregate, Binary, Call, Latest, Node, Number, QueryError, Window
from mergeline.canary.series import History, Labels, Points

Vector = list[tuple[Labels, float]]

ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}
COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def evaluate(node: Node, history: History, now_s: float, scale: float = 1.0) -> tuple[float, ...]:
    """Return the values of a query now, none where there is no data; windows are `scale` times as long as written.

    Raises `QueryError` where two series of one side would meet one of the other.
    """
    found = _Evaluation(history, now_s, scale).value(node)
    return (found,) if isinstance(found, float) else tuple(value for _, value in found)


class _Evaluation:
    """One moment of a history."""

    def __init__(self, history: History, now_s: float, scale: float) -> None:
        self._history = history
        self._now_s = now_s
        self._scale = scale

    def value(self, node: Node) -> float | Vector:
        if isinstance(node, Number):
            return node.value
        if isinstance(node, Latest):
            return list(self._history.latest(node.selector, self._now_s))
        if isinstance(node, Aggregate):
            return _aggregated(node, self._vector(node.of))
        if isinstance(node, Call):
            return self._called(node)
        if isinstance(node, Binary):
            return _combined(node.operator, self.value(node.left), self.value(node.right))
        raise QueryError("a window of values has no value by itself; take its rate or its increase")

    def _vector(self, node: Node) -> Vector:
        found = self.value(node)
        return found if isinstance(found, list) else [(frozenset(), found)]

    def _number(self, node: Node) -> float:
        found = self.value(node)
        if isinstance(found, list):
            raise QueryError("expected a number, found series")
        return found

    def _called(self, call: Call) -> Vector:
        arguments = call.arguments
        if isinstance(arguments[0], Window):
            return self._windowed(call.name, arguments[0])
        if call.name == "vector":
            return [(frozenset(), self._number(arguments[0]))]
        if call.name == "histogram_quantile":
            return _quantiles(self._number(arguments[0]), self._vector(arguments[1]))
        limit = self._number(arguments[1])
        choose = max if call.name == "clamp_min" else min
        return [
            (labels, value if math.isnan(value) else choose(value, limit))
            for labels, value in self._vector(arguments[0])
        ]

    def _windowed(self, name: str, window: Window) -> Vector:
        seconds = window.seconds * self._scale
        start_s = self._now_s - seconds
        found = []
        for labels, points in self._history.between(window.selector, start_s, self._now_s):
            if len(points) > 1:
                grown = increase(points, start_s, self._now_s)
                found.append((labels, grown / seconds if name == "rate" else grown))
        return found


def increase(points: Points, start_s: float, end_s: float) -> float:
    """Return by how much a counter grew in a window, of two or more of its values (time, value) within it.

    A value below the one before is a restart from 0. The growth between the first and the last value is extended to
    the window's ends, by half the mean distance of two values where an end is farther away than 1.1 times that, and
    never to before the counter was 0, as `increase` of Prometheus does.

    >>> increase([(10.0, 0.0), (20.0, 5.0), (30.0, 10.0)], 0.0, 30.0)
    10.0
    >>> increase([(10.0, 100.0), (20.0, 105.0), (30.0, 3.0)], 0.0, 30.0)
    12.0
    """
    values = [value for _, value in points]
    grown = values[-1] - values[0] + sum(before for before, after in pairwise(values) if after < before)
    covered = points[-1][0] - points[0][0]
    mean = covered / (len(points) - 1)
    before_s, after_s = (
        mean / 2 if distance >= 1.1 * mean else distance for distance in (points[0][0] - start_s, end_s - points[-1][0])
    )
    if grown > 0 and values[0] >= 0:
        before_s = min(before_s, covered * values[0] / grown)
    return grown * (covered + before_s + after_s) / covered


def _aggregated(node: Aggregate, vector: Vector) -> Vector:
    groups: dict[Labels, list[float]] = {}
    for labels, value in vector:
        groups.setdefault(frozenset(each for each in labels if each[0] in node.by), []).append(value)
    return [(labels, _aggregate(node.name, values)) for labels, values in groups.items()]


def _aggregate(name: str, values: Sequence[float]) -> float:
    if name in ("max", "min"):
        known = [value for value in values if not math.isnan(value)]
        return (max if name == "max" else min)(known, default=math.nan)
    if name == "count":
        return float(len(values))
    total = sum(values)
    return total / len(values) if name == "avg" else total


def _quantiles(share: float, buckets: Vector) -> Vector:
    groups: dict[Labels, dict[float, float]] = {}
    for labels, count in buckets:
        bound = dict(labels).get("le")
        if bound is not None:
            rest = frozenset(each for each in labels if each[0] != "le")
            groups.setdefault(rest, {})[float(bound.replace("Inf", "inf"))] = count
    return [(labels, _quantile(share, sorted(group.items()))) for labels, group in groups.items()]


def _quantile(share: float, buckets: Sequence[tuple[float, float]]) -> float:
    """A quantile of a classic histogram: buckets are upper bound and the count up to it, the last one's infinite."""
    counts = [max(count for _, count in buckets[: position + 1]) for position in range(len(buckets))]
    if len(buckets) < 2 or not math.isinf(buckets[-1][0]) or not counts[-1] > 0 or not 0 <= share <= 1:
        return math.nan
    wanted = share * counts[-1]
    position = next(position for position, count in enumerate(counts) if count >= wanted)
    if position == len(buckets) - 1:
        return buckets[-2][0]
    bound = buckets[position][0]
    if position == 0 and bound <= 0:
        return bound
    low, below = (buckets[position - 1][0], counts[position - 1]) if position else (0.0, 0.0)
    inside = counts[position] - below
    return low + (bound - low) * ((wanted - below) / inside) if inside else math.nan


def _combined(sign: str, left: float | Vector, right: float | Vector) -> float | Vector:
    if isinstance(left, list) and isinstance(right, list):
        if sign == "or":
            known = {labels for labels, _ in left}
            return [*left, *((labels, value) for labels, value in right if labels not in known)]
        if sign == "and":
            known = {labels for labels, _ in right}
            return [(labels, value) for labels, value in left if labels in known]
        others = _unique(right)
        return [
            (labels, kept)
            for labels, value in _unique(left).items()
            if labels in others and (kept := _computed(sign, value, others[labels], value)) is not None
        ]
    if isinstance(left, list):
        return _each(left, lambda value: _computed(sign, value, _scalar(right), value))
    if isinstance(right, list):
        return _each(right, lambda value: _computed(sign, left, value, value))
    found = _computed(sign, left, right, None)
    if found is None:
        raise QueryError(f"{sign} between two numbers is not read here")
    return found


def _each(vector: Vector, compute: Callable[[float], float | None]) -> Vector:
    return [(labels, kept) for labels, value in vector if (kept := compute(value)) is not None]


def _scalar(value: float | Vector) -> float:
    if isinstance(value, list):
        raise QueryError("expected a number, found series")
    return value


def _unique(vector: Vector) -> dict[Labels, float]:
    found = dict(vector)
    if len(found) < len(vector):
        raise QueryError("several series with the same labels on one side; aggregate them first")
    return found


def _computed(sign: str, left: float, right: float, kept: float | None) -> float | None:
    """The result of arithmetic; of a comparison `kept` where it holds, and None where it does not."""
    if sign in COMPARISONS:
        return kept if COMPARISONS[sign](left, right) else None
    if sign == "/":
        if right:
            return left / right
        return math.nan if not left or math.isnan(left) else math.copysign(math.inf, left) * math.copysign(1.0, right)
    return ARITHMETIC[sign](left, right)
