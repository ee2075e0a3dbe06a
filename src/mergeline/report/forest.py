"""Forest plots: a difference and its interval in each row, zero in the middle, the candidate's side on the right."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from mergeline.report import svg
from mergeline.report.charts import ForestRow
from mergeline.report.wording import signed

LEFT, RIGHT, TOP, ROW = 4, 332, 26, 40
CLIP = 4  # an interval beyond this many times the usual reach runs off the plot, with an arrow


def forest(rows: Sequence[ForestRow], label: str, *, common_scale: bool) -> str:
    """Return the plot, or nothing where no row has a difference; see `charts.forest` for the scales."""
    measured = [row for row in rows if row.difference]
    if not measured:
        return ""
    reach = _reach([row.difference for row in measured if row.difference]) if common_scale else None
    height = TOP + ROW * len(measured) + 6
    middle = (LEFT + RIGHT) / 2
    parts = [
        svg.line(middle, TOP - 6, middle, height - 4, "zero"),
        svg.text(LEFT, 14, "← worse", "axis"),
        svg.text(middle, 14, "0", "axis", "middle"),
        svg.text(RIGHT, 14, "better →", "axis", "end"),
    ]
    for number, row in enumerate(measured):
        parts += _row(row, TOP + ROW * number, reach)
    return svg.drawing(height, label, parts)


def _reach(differences: Sequence[dict[str, Any]]) -> float:
    ends = [max(abs(each["low"]), abs(each["high"])) for each in differences]
    return min(max(ends), CLIP * median(ends)) or 1.0


def _row(row: ForestRow, top: float, reach: float | None) -> list[str]:
    difference = row.difference or {}
    own = reach or _reach([difference])
    scale = svg.Scale(-own, own, LEFT + 6, RIGHT - 6)
    y, side = top + 28, _side(difference)
    ends = [scale(difference["low"]), scale(difference["high"])]
    said = " ".join(filter(None, [signed(difference["estimate"]), row.word]))
    return [
        svg.rectangle(LEFT, top + 3, RIGHT - LEFT, 15, "plate"),
        svg.text(LEFT, top + 14, row.label, "name", limit=24),
        svg.text(RIGHT, top + 14, said, side, "end"),
        svg.line(ends[0], y, ends[1], y, f"interval {side}"),
        *(
            _end(at, y, side, beyond=abs(difference[key]) > own, key=key)
            for at, key in zip(ends, ("low", "high"), strict=True)
        ),
        _estimate(scale(difference["estimate"]), y, side),
    ]


def _end(x: float, y: float, side: str, *, beyond: bool, key: str) -> str:
    """A short bar, or an arrow where the interval goes on beyond the plot."""
    if not beyond:
        return svg.line(x, y - 4, x, y + 4, f"interval {side}")
    back = 6 if key == "low" else -6
    return svg.path([(x + back, y - 5), (x, y), (x + back, y + 5)], f"interval {side}")


def _side(difference: dict[str, Any]) -> str:
    if difference["low"] > 0:
        return "good"
    return "bad" if difference["high"] < 0 else "open"


def _estimate(x: float, y: float, side: str) -> str:
    """A dot where the interval holds zero, else a triangle that points to its side."""
    if side == "open":
        return svg.circle(x, y, 4, "dot open")
    way = 5 if side == "good" else -5
    return svg.path([(x - way, y - 5), (x + way, y), (x - way, y + 5), (x - way, y - 5)], f"solid {side}")
