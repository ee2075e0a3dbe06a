"""Charts drawn with characters, for a fenced code block: GitHub shows them without asking another host."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from mergeline.report.escape import plain
from mergeline.report.wording import NOTHING, figure, interval, share

WIDTH = 33  # odd: zero has a character of its own
LABEL = 24
BAR = 12


@dataclass(frozen=True, slots=True)
class ForestRow:
    """A difference with its interval (None where not compared), its label, and a word on what came of it."""

    label: str
    difference: dict[str, Any] | None
    word: str = ""


def forest(rows: Sequence[ForestRow], *, common_scale: bool) -> list[str]:
    """Return the intervals of differences about zero, a row each; positive, to the right, is better.

    With `common_scale` the rows can be compared with one another; else each has its own and only the side of zero
    counts.
    """
    measured = [row.difference for row in rows if row.difference]
    if not measured:
        return []
    widest = max(_reach(each) for each in measured)
    label = max(columns(plain(row.label, LABEL)) for row in rows)
    head = f"{'':<{label}}  {'worse':<{WIDTH // 2}}0{'better':>{WIDTH // 2}}"
    return [head, *(_forest_line(row, label, widest if common_scale else None) for row in rows)]


def _reach(difference: dict[str, Any]) -> float:
    return max(abs(difference["low"]), abs(difference["high"])) or 1.0


def _forest_line(row: ForestRow, label: int, reach: float | None) -> str:
    name = padded(plain(row.label, LABEL), label)
    if row.difference is None:
        return f"{name}  {NOTHING:^{WIDTH}}  {row.word or 'not compared'}"
    bar = _interval_bar(row.difference, reach or _reach(row.difference))
    return f"{name}  {bar}  {' '.join(filter(None, [interval(row.difference, sign=True), row.word]))}"


def _interval_bar(difference: dict[str, Any], reach: float) -> str:
    places = [_place(difference[key], -reach, reach, WIDTH) for key in ("low", "estimate", "high")]
    line = [" "] * WIDTH
    line[WIDTH // 2] = "│"
    return _marked(line, *places)


def _marked(line: list[str], low: int, estimate: int, high: int) -> str:
    """Draw an interval over what stands there: `├──●──┤`."""
    for place in range(low, high + 1):
        line[place] = "┼" if line[place] == "│" else "─"
    line[low], line[high] = "├", "┤"
    line[estimate] = "●"
    return "".join(line)


def _place(value: float, low: float, high: float, width: int) -> int:
    position = (value - low) / (high - low) if high > low else 0.5
    return min(width - 1, max(0, round(position * (width - 1))))


def calibration(bins: Sequence[dict[str, Any]]) -> list[str]:
    """Return what was predicted (`○`) and what came (`●` in its interval), a row for each bin of predictions."""
    if not bins:
        return []
    ends = [each["observed"][key] for each in bins for key in ("low", "high")] + [
        each["mean_prediction"] for each in bins
    ]
    low, high = min(0.0, *ends), max(ends)
    ruler = f"{figure(low, 3):<{WIDTH // 2}}{figure(high, 3):>{WIDTH - WIDTH // 2}}"
    head = f"{'predicted':>9}  {'observed':>8}  {ruler}  rows"
    return [head, *(_calibration_line(each, low, high) for each in bins)]


def _calibration_line(each: dict[str, Any], low: float, high: float) -> str:
    observed = each["observed"]
    places = [_place(observed[key], low, high, WIDTH) for key in ("low", "estimate", "high")]
    bar = list(_marked([" "] * WIDTH, *places))
    predicted = _place(each["mean_prediction"], low, high, WIDTH)
    bar[predicted] = "◉" if bar[predicted] == "●" else "○"
    numbers = f"{figure(each['mean_prediction'], 3):>9}  {figure(observed['estimate'], 3):>8}"
    return f"{numbers}  {''.join(bar)}  {each['rows']:,}"


def distribution(each: dict[str, Any]) -> list[str]:
    """Return the shares of a feature's bins or categories as bars, then (`░`) beside now (`█`)."""
    rows = [(name, then, now) for name, then, now in zip(bin_labels(each), each["then"], each["now"], strict=False)]
    rows += (
        [("missing", each["missing_then"], each["missing_now"])] if each["missing_then"] or each["missing_now"] else []
    )
    largest = max((max(then, now) for _, then, now in rows), default=0.0) or 1.0
    label = max((columns(plain(name, LABEL)) for name, _, _ in rows), default=0)
    head = f"{'':<{label}}  {'then':<{BAR + 8}}now"
    lines = [
        f"{padded(plain(name, LABEL), label)}  {_bar(then, largest, '░')} {_bar(now, largest, '█').rstrip()}"
        for name, then, now in rows
    ]
    return [head, *lines]


def bin_labels(distribution: dict[str, Any]) -> list[str]:
    """Return the names of a distribution's parts: its categories, or `0.1 to 0.2` for a bin."""
    if distribution["kind"] == "category":
        return [str(label) for label in distribution["labels"]]
    edges = distribution["edges"]
    return [f"{figure(low, 3)} to {figure(high, 3)}" for low, high in pairwise(edges)]


def _bar(value: float, largest: float, ink: str) -> str:
    length = round(value / largest * BAR) or (1 if value > 0 else 0)
    return f"{ink * length} {share(value)}".ljust(BAR + 7)


def columns(text: str) -> int:
    r"""Return how many columns a fixed-width font needs for the text.

    >>> columns("ab"), columns("東京"), columns("e\u0301")
    (2, 4, 1)
    """
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def padded(text: str, width: int) -> str:
    """Return the text, filled with spaces up to a width in columns."""
    return text + " " * max(0, width - columns(text))
