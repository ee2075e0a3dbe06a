"""A column's way through the windows: how many rows lay elsewhere in each."""

from __future__ import annotations

from collections.abc import Sequence

from mergeline.monitor.drift.record import DriftRecord, FeatureDrift
from mergeline.report import svg
from mergeline.report.wording import share

LEFT, RIGHT, TOP, BASE, HEIGHT = 34, 332, 30, 120, 150


def timeline(records: Sequence[DriftRecord], name: str) -> str:
    """Return the plot of a column's effect over the windows, or nothing where fewer than two were judged."""
    found = [next((each for each in record.features if each.name == name), None) for record in records]
    known = [each for each in found if each is not None]
    if len(known) < 2:
        return ""
    limits = [(records[-1].settings or {}).get(limit) for limit in ("minor", "major")]
    drawn = [limit for limit in limits if limit is not None]
    up = svg.Scale(0, max(each.effect for each in known) * 1.05 or 1.0, BASE, TOP)
    up = svg.Scale(0, max(up.high, *drawn, 0.01), BASE, TOP)
    across = svg.Scale(0, max(1, len(records) - 1), LEFT + 6, RIGHT - 6)
    parts = [svg.line(LEFT, up(value), RIGHT, up(value), "grid") for value in svg.ticks(0, up.high, 3)]
    parts += [svg.text(LEFT - 5, up(value) + 4, share(value), "tick", "end") for value in svg.ticks(0, up.high, 3)]
    parts += [svg.line(LEFT, up(limit), RIGHT, up(limit), "reference") for limit in drawn]
    parts += _line(found, across, up)
    parts += [
        svg.text(LEFT, BASE + 18, records[0].window.name[:10], "tick"),
        svg.text(RIGHT, BASE + 18, records[-1].window.name[:10], "tick", "end"),
    ]
    return svg.drawing(HEIGHT, _label(name, known), parts)


def _line(found: Sequence[FeatureDrift | None], across: svg.Scale, up: svg.Scale) -> list[str]:
    """A line that breaks where a window was not judged, and a dot a window, full where the column drifted."""
    parts: list[str] = []
    run: list[tuple[float, float]] = []
    for place, each in enumerate([*found, None]):
        if each is not None:
            run.append((across(place), up(each.effect)))
            continue
        if len(run) > 1:
            parts.append(svg.path(run, "curve candidate"))
        run = []
    for place, each in enumerate(found):
        if each is not None:
            style = "solid bad" if each.drifted else "dot candidate"
            parts.append(svg.circle(across(place), up(each.effect), 3.2, style))
    return parts


def _label(name: str, known: Sequence[FeatureDrift]) -> str:
    drifted = sum(each.drifted for each in known)
    return (
        f"Share of rows of {name} that lie elsewhere, over {len(known)} windows: {share(known[0].effect)} at first,"
        f" {share(known[-1].effect)} at last; it drifted in {drifted}."
    )
