"""What was read from servers' metrics lately: a short time series for each name and its labels."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

LOOKBACK_S = 300.0  # a value that is older is none any more, as in Prometheus

Labels = frozenset[tuple[str, str]]
Points = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a metric, with its labels."""

    name: str
    labels: Labels
    value: float


@dataclass(frozen=True, slots=True)
class Matcher:
    """A condition on a label: `operator` is one of = != =~ !~; a label that is not there is the empty text."""

    label: str
    operator: str
    text: str

    def allows(self, labels: Labels) -> bool:
        """Whether a series with these labels meets it; expressions match the whole value.

        >>> Matcher("status", "!~", "5..").allows(frozenset({("status", "503")}))
        False
        """
        found = dict(labels).get(self.label, "")
        is_same = found == self.text if self.operator in ("=", "!=") else re.fullmatch(self.text, found) is not None
        return is_same is not self.operator.startswith("!")


@dataclass(frozen=True, slots=True)
class Selector:
    """Series by the name of their metric and conditions on their labels."""

    name: str
    matchers: tuple[Matcher, ...]


class History:
    """The readings of several targets over the last `keep_s` seconds.

    A series that is not in its target's newest reading has ended, as has every series of a target that did not answer:
    it has no latest value, and what it was before still counts in windows.
    """

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._series: dict[tuple[str, str, Labels], deque[tuple[float, float | None]]] = {}

    def take(self, at_s: float, target: str, samples: Iterable[Sample]) -> None:
        """Add a reading of a target; no samples where it did not answer. Readings of a target come in order."""
        found = {(target, sample.name, sample.labels): sample.value for sample in samples}
        for key, points in self._series.items():
            if key[0] == target and key not in found and points and points[-1][1] is not None:
                points.append((at_s, None))
        for key, value in found.items():
            self._series.setdefault(key, deque()).append((at_s, value))
        for points in self._series.values():
            while points and points[0][0] < at_s - self._keep_s:
                points.popleft()

    def latest(self, selector: Selector, now_s: float) -> Iterator[tuple[Labels, float]]:
        """Yield the series that have a value now."""
        for labels, points in self._selected(selector):
            at_s, value = next(((at, value) for at, value in reversed(points) if at <= now_s), (0.0, None))
            if value is not None and at_s > now_s - LOOKBACK_S:
                yield labels, value

    def between(self, selector: Selector, start_s: float, end_s: float) -> Iterator[tuple[Labels, Points]]:
        """Yield the series that have values after `start_s` and not after `end_s`, with these."""
        for labels, points in self._selected(selector):
            inside = [(at, value) for at, value in points if value is not None and start_s < at <= end_s]
            if inside:
                yield labels, inside

    def _selected(self, selector: Selector) -> Iterator[tuple[Labels, deque[tuple[float, float | None]]]]:
        for (_, name, labels), points in self._series.items():
            if name == selector.name and all(matcher.allows(labels) for matcher in selector.matchers):
                yield labels, points
