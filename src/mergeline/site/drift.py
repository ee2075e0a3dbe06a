"""Drift over time: how many rows of a column lay elsewhere in each window, with an interval."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mergeline.monitor.drift.record import DriftRecord, FeatureDrift, Outcome
from mergeline.monitor.drift.wording import ranked, title
from mergeline.report import elements, svg
from mergeline.report.elements import Cell
from mergeline.report.wording import count, share, short
from mergeline.site.bounds import bounds

LEFT, RIGHT, TOP, BASE, HEIGHT = 40, 332, 18, 128, 158
DRAWN = 6
SHOWN_WINDOWS = 52
MOST_NAMED = 3
CAPTION = (
    "The share of a window's rows that lie elsewhere than the training rows, with an interval of at least 95 %. Red:"
    " the column drifted. Dotted: from where on a drift counts, and from where on it is severe."
)


def drift(records: Sequence[DriftRecord]) -> str:
    """Return plots of the columns that moved furthest by the latest window that was judged, and a table of windows."""
    shown = records[-SHOWN_WINDOWS:]
    judged = [each for each in shown if each.features]
    columns = [each.name for each in ranked(judged[-1])[:DRAWN]] if judged else []
    drawn = [(name, course(judged, name)) for name in columns]
    figures = [elements.figure(plot, "", name) for name, plot in drawn if plot]
    head = ("window from", "what it came to", "rows", "moved furthest", "of importance", "release")
    rows = [_row(each) for each in reversed(shown)]
    return "".join(
        [
            elements.paragraph(CAPTION, "soft") if figures else "",
            elements.plots(*figures),
            elements.folded(f"All windows ({len(rows)})", elements.table("Windows of the drift check", head, rows)),
        ]
    )


def _row(record: DriftRecord) -> tuple[Cell, ...]:
    style = "failed" if record.sustained else "passed" if record.outcome is Outcome.NONE else "unclear"
    return (
        Cell(f"{record.window.start:%Y-%m-%d}"),
        Cell(title(record), style),
        Cell(count(record.rows), "number named"),
        Cell(moved(record) or "nothing", "words"),
        Cell(share(record.weighted), "number named"),
        Cell(short(record.model_sha256), "number named"),
    )


def moved(record: DriftRecord, most: int = MOST_NAMED) -> str:
    """Return the columns that drifted and how many of their rows lie elsewhere: those that matter and went furthest."""
    found = [each for each in ranked(record) if each.drifted]
    named = ", ".join(f"{each.name} {share(each.effect)}" for each in found[:most])
    return f"{named} and {len(found) - most} more" if len(found) > most else named


def course(records: Sequence[DriftRecord], name: str) -> str:
    """Return the plot of a column over the windows; nothing where fewer than two were judged."""
    found = [(record, _named(record, name)) for record in records]
    known = [(record, each) for record, each in found if each is not None]
    if len(known) < 2:
        return ""
    ends = [bounds(each, record.reference_rows) for record, each in known]
    limits = [limit for key in ("minor", "major") if (limit := (known[-1][0].settings or {}).get(key)) is not None]
    up = svg.Scale(0, max(*(high for _, high in ends), *limits), BASE, TOP)
    across = svg.Scale(-0.5, len(found) - 0.5, LEFT, RIGHT)
    parts = [*_grid(up), *(svg.line(LEFT, up(limit), RIGHT, up(limit), "reference") for limit in limits)]
    for place, (record, each) in enumerate(found):
        if each is not None:
            parts += _point(across(place), up, each, bounds(each, record.reference_rows))
    parts += _dates(records, across)
    return svg.drawing(HEIGHT, _label(name, known), parts)


def _named(record: DriftRecord, name: str) -> FeatureDrift | None:
    return next((each for each in record.features if each.name == name), None)


def _grid(up: svg.Scale) -> Iterator[str]:
    for value in svg.ticks(0, up.high, 3):
        yield svg.line(LEFT, up(value), RIGHT, up(value), "grid")
        yield svg.text(LEFT - 5, up(value) + 4, share(value), "tick", "end")


def _point(x: float, up: svg.Scale, each: FeatureDrift, ends: tuple[float, float]) -> Iterator[str]:
    yield svg.line(x, up(ends[0]), x, up(ends[1]), f"whisker interval {'bad' if each.drifted else 'open'}")
    yield svg.circle(x, up(each.effect), 3.2, "solid bad" if each.drifted else "dot open")


def _dates(records: Sequence[DriftRecord], across: svg.Scale) -> Iterator[str]:
    """The first days of the first and of the last window."""
    for place, anchor, x in ((0, "start", LEFT), (len(records) - 1, "end", RIGHT)):
        yield svg.line(across(place), BASE, across(place), BASE + 4, "zero")
        yield svg.text(x, BASE + 18, f"{records[place].window.start:%Y-%m-%d}", "tick", anchor)


def _label(name: str, known: Sequence[tuple[DriftRecord, FeatureDrift]]) -> str:
    drifted = sum(each.drifted for _, each in known)
    record, last = known[-1]
    low, high = bounds(last, record.reference_rows)
    return (
        f"Share of rows of {name} that lie elsewhere, over {len(known)} windows: {share(known[0][1].effect)} at first,"
        f" {share(last.effect)} ({share(low)} to {share(high)}) at last; it drifted in {drifted}."
    )
