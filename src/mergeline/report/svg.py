"""Small drawings for a page of HTML: coordinates in, SVG out, colours left to the page's style sheet.

Our own few elements rather than a plotting library's files: text stays text that a phone can enlarge, the colours
follow the reader's theme, and the bytes are the same whatever is installed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mergeline.report.escape import page
from mergeline.report.wording import figure

WIDTH = 336  # what a phone of 360 px has room for, so that 12 units are 12 px there and never less elsewhere
TICK = 4
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Scale:
    """A straight line from values to positions; a range of no width becomes one about the value."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the position of a value, never outside of the scale."""
        span = self.high - self.low
        part = (value - self.low) / span if span > 0 else 0.5
        return self.start + min(1.0, max(0.0, part)) * (self.end - self.start)


def ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Return round values between two bounds, in steps of 1, 2 or 5 times a power of ten.

    >>> ticks(0, 1), ticks(-0.03, 0.05)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [-0.02, 0.0, 0.02, 0.04])
    """
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [low]
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.7)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]


def drawing(height: float, label: str, parts: Iterable[str]) -> str:
    """Return an image of 336 units' width; `label` says in words what it shows."""
    box = f"0 0 {WIDTH} {_number(height)}"
    return f'<svg viewBox="{box}" role="img" aria-label="{page(label, 900)}">{"".join(parts)}</svg>'


def line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    """Return a straight line; `style` names classes of the style sheet."""
    left, top, right, bottom = (_number(value) for value in (x1, y1, x2, y2))
    return f'<line class="{style}" x1="{left}" y1="{top}" x2="{right}" y2="{bottom}"/>'


def path(points: Points, style: str) -> str:
    """Return a line through points; those that would fall on the one before are left out."""
    places = [f"{_number(x)} {_number(y)}" for x, y in points]
    kept = [place for number, place in enumerate(places) if number == 0 or place != places[number - 1]]
    return f'<path class="{style}" d="M{"L".join(kept)}"/>' if kept else ""


def rectangle(x: float, y: float, width: float, height: float, style: str) -> str:
    """Return a box."""
    left, top, across, down = (_number(value) for value in (x, y, max(0.0, width), max(0.0, height)))
    return f'<rect class="{style}" x="{left}" y="{top}" width="{across}" height="{down}"/>'


def circle(x: float, y: float, radius: float, style: str) -> str:
    """Return a dot."""
    return f'<circle class="{style}" cx="{_number(x)}" cy="{_number(y)}" r="{_number(radius)}"/>'


def square(x: float, y: float, radius: float, style: str) -> str:
    """Return a square dot."""
    return rectangle(x - radius, y - radius, 2 * radius, 2 * radius, style)


def text(x: float, y: float, content: str, style: str = "", anchor: str = "start", limit: int = 60) -> str:
    """Return a line of text, cut at `limit` characters; `anchor` is start, middle or end."""
    kind = f' class="{style}"' if style else ""
    place = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text{kind}{place} x="{_number(x)}" y="{_number(y)}">{page(content, limit)}</text>'


def axes(across: Scale, up: Scale, names: tuple[str, str]) -> list[str]:
    """Return the grid, the numbers and the names of two axes."""
    parts = []
    for value in ticks(across.low, across.high):
        parts.append(line(across(value), up.start, across(value), up.end, "grid"))
        parts.append(text(across(value), up.start + 16, figure(value, 3), "tick", "middle"))
    for value in ticks(up.low, up.high):
        parts.append(line(across.start, up(value), across.end, up(value), "grid"))
        parts.append(text(across.start - 6, up(value) + TICK, figure(value, 3), "tick", "end"))
    parts.append(text((across.start + across.end) / 2, up.start + 33, names[0], "axis", "middle"))
    parts.append(text(across.start, up.end - 10, names[1], "axis"))
    return parts


def _number(value: float) -> str:
    return f"{round(value, 1) + 0.0:.1f}".removesuffix(".0")  # adding 0.0 takes the sign off -0.0
