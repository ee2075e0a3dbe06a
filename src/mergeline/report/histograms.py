"""Small plots of how a feature or the score was distributed then and is now."""

from __future__ import annotations

from typing import Any

from mergeline.report import svg
from mergeline.report.charts import bin_labels
from mergeline.report.wording import figure, share

LEFT, RIGHT, TOP, BASE, HEIGHT = 34, 332, 30, 150, 176
MISSING = 64  # the room right of the bins for the share that is missing
CATEGORIES = 10
CATEGORY_ROW = 30
BARS = (126, 286)


def histogram(distribution: dict[str, Any]) -> str:
    """Return the plot of a number's bins, each as wide as the next, or of categories; nothing where it is empty."""
    if not distribution["then"] or not distribution["now"]:
        return ""
    return _categories(distribution) if distribution["kind"] == "category" else _numbers(distribution)


def moved(distribution: dict[str, Any]) -> float:
    """Return the share of rows that would have to change places for then to look like now, from 0 to 1."""
    parts = zip(distribution["then"], distribution["now"], strict=False)
    missing = abs(distribution["missing_then"] - distribution["missing_now"])
    return float(sum(abs(then - now) for then, now in parts) + missing) / 2


def label(distribution: dict[str, Any]) -> str:
    """Return in words what the plot shows."""
    largest = {
        when: bin_labels(distribution)[max(range(len(distribution[when])), key=distribution[when].__getitem__)]
        for when in ("then", "now")
    }
    missing = f"missing {share(distribution['missing_then'])} then, {share(distribution['missing_now'])} now"
    peaks = f"most rows {largest['then']} then, {largest['now']} now"
    went = f"{share(moved(distribution))} of the rows moved"
    return f"Distribution of {distribution['feature']}: {peaks}; {missing}; {went}."


def _numbers(each: dict[str, Any]) -> str:
    missing = each["missing_then"] > 0 or each["missing_now"] > 0
    shares = [*each["then"], *each["now"], each["missing_then"], each["missing_now"]]
    up = svg.Scale(0, max(shares) or 1.0, BASE, TOP)
    slots = len(each["then"])
    end = RIGHT - (MISSING if missing else 0)
    across = svg.Scale(0, slots, LEFT, end)
    parts = [svg.line(LEFT, up(value), RIGHT, up(value), "grid") for value in ticks_of(up)]
    parts += [svg.text(LEFT - 5, up(value) + 4, share(value), "tick", "end") for value in ticks_of(up)]
    parts += [
        svg.rectangle(across(slot) + 1, up(now), across(1) - across(0) - 2, BASE - up(now), "now")
        for slot, now in enumerate(each["now"])
    ]
    parts.append(svg.path(_steps(each["then"], across, up), "then"))
    parts += _edges(each["edges"], across)
    return svg.drawing(HEIGHT, label(each), [*parts, *(_missing(each, up, RIGHT - 40) if missing else [])])


def ticks_of(up: svg.Scale) -> list[float]:
    """Return at most a few round shares from zero to the highest bar."""
    return svg.ticks(up.low, up.high, 3)


def _steps(shares: list[float], across: svg.Scale, up: svg.Scale) -> list[tuple[float, float]]:
    corners = [(across(slot + side), up(value)) for slot, value in enumerate(shares) for side in (0, 1)]
    return [(corners[0][0], BASE), *corners, (corners[-1][0], BASE)]


def _edges(edges: list[float], across: svg.Scale) -> list[str]:
    """The values at both ends and in the middle."""
    last = len(edges) - 1
    places = ((0, "start"), (last // 2, "middle"), (last, "end"))
    return [svg.text(across(place), BASE + 17, figure(edges[place], 3), "tick", anchor) for place, anchor in places]


def _missing(each: dict[str, Any], up: svg.Scale, x: float) -> list[str]:
    then, now = each["missing_then"], each["missing_now"]
    return [
        svg.rectangle(x + 4, up(now), 22, BASE - up(now), "now"),
        svg.path([(x + 3, BASE), (x + 3, up(then)), (x + 27, up(then)), (x + 27, BASE)], "then"),
        svg.text(RIGHT, BASE + 17, "missing", "tick", "end"),
    ]


def _categories(each: dict[str, Any]) -> str:
    """Two bars a category, the largest first; those that there is no room for are added up."""
    rows = list(zip(bin_labels(each), each["then"], each["now"], strict=False))
    rows.sort(key=lambda row: -max(row[1], row[2]))
    shown, rest = rows[:CATEGORIES], rows[CATEGORIES:]
    if rest:
        shown.append((f"{len(rest)} more", sum(row[1] for row in rest), sum(row[2] for row in rest)))
    if each["missing_then"] or each["missing_now"]:
        shown.append(("missing", each["missing_then"], each["missing_now"]))
    across = svg.Scale(0, max(max(then, now) for _, then, now in shown) or 1.0, *BARS)
    parts = [part for number, row in enumerate(shown) for part in _category(row, CATEGORY_ROW * number + 4, across)]
    return svg.drawing(CATEGORY_ROW * len(shown) + 6, label(each), parts)


def _category(row: tuple[str, float, float], top: float, across: svg.Scale) -> list[str]:
    name, then, now = row
    start = across(0)
    return [
        svg.text(start - 8, top + 16, name, "name", "end", limit=15),
        svg.rectangle(start, top + 1, across(then) - start, 9, "then"),
        svg.rectangle(start, top + 13, across(now) - start, 9, "now"),
        svg.text(across(then) + 6, top + 10, share(then), "tick"),
        svg.text(across(now) + 6, top + 23, share(now), "tick"),
    ]
