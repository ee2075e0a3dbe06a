"""The report of windows as one page of HTML that needs no network and runs no script."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mergeline.monitor.performance.record import Figure, State, WindowPerformance
from mergeline.monitor.performance.wording import course, newest, period, remarks
from mergeline.report import elements, svg
from mergeline.report.charts import ForestRow
from mergeline.report.document import document
from mergeline.report.elements import Cell
from mergeline.report.escape import clean, page
from mergeline.report.forest import forest
from mergeline.report.wording import NOTHING, bounds, count, figure, metric_label, share, short, signed

LEFT, RIGHT, TOP, BOTTOM, HEIGHT = 44, 328, 44, 236, 286
BADGES = {State.HOLDS: ("promote", "✓ "), State.DEGRADED: ("reject", "✗ ")}
SHOWN_WINDOWS = 52
MOST_DATES = 3


def html(records: Sequence[WindowPerformance]) -> str:
    """Return the page; the same records give the same bytes. Text from data is escaped."""
    told = newest(records)
    body = _told(told, list(records)[-SHOWN_WINDOWS:]) if told else "<header><h1>No window is over yet</h1></header>"
    return document(f"Performance{f': {told.state}' if told else ''}", body)


def _told(told: WindowPerformance, shown: Sequence[WindowPerformance]) -> str:
    title = f"Performance, {period(told.window)}"
    style, symbol = BADGES.get(told.state, ("hold", ""))
    header = [
        f'<span class="badge {style}">{symbol}{page(told.state)}</span>',
        f"<h1>{page(title)}</h1>",
        elements.paragraph(_sentence(told.reason), "lead"),
        elements.paragraph(_sentence(course(shown))),
        *(elements.paragraph(_sentence(note), "warning") for note in remarks(told)),
        _cards(told),
    ]
    return f"<header>{''.join(header)}</header><main>{_trend(shown)}{''.join(_models(told))}</main>"


def _cards(record: WindowPerformance) -> str:
    found = record.serving.figure(record.primary) if record.serving else None
    measured, holdout = (found.measured, found.holdout) if found else (None, None)
    label = metric_label(record.primary) if record.primary else "metric"
    cards = [
        (
            f"{label}, measured",
            figure(measured.estimate if measured else None),
            _bounds(found, "measured"),
            "candidate",
        ),
        (f"{label} at release", figure(holdout.estimate if holdout else None), _bounds(found, "holdout"), "champion"),
        ("estimated by scores", figure(found.estimate if found else None), _error(found), ""),
        ("labelled", share(record.coverage) if record.coverage is not None else NOTHING, _covered(record), ""),
    ]
    return f'<dl class="cards">{"".join(_card(*each) for each in cards)}</dl>'


def _card(name: str, value: str, small: str, style: str) -> str:
    kind = f' class="is-{style}"' if style else ""
    return f"<div><dt>{page(name)}</dt><dd><span{kind}>{page(value)}</span> <small>{page(small)}</small></dd></div>"


def _bounds(found: Figure | None, name: str) -> str:
    interval = getattr(found, name) if found else None
    return bounds(interval.as_dict()) if interval else "not known"


def _error(found: Figure | None) -> str:
    return f"off by {signed(found.error)}" if found and found.error is not None else "no label to hold it against"


def _covered(record: WindowPerformance) -> str:
    delay = "" if record.delay_days is None else f", half of them within {record.delay_days:.3g} days"
    return f"{count(record.labelled)} of {count(record.answers)}{delay}"


def _sentence(text: str) -> str:
    said = clean(text, 900)
    return f"{said[:1].upper()}{said[1:]}."


# ---- Windows ---------------------------------------------------------------------------------------------------------


def _trend(shown: Sequence[WindowPerformance]) -> str:
    rows = [_window_row(each) for each in reversed(shown)]
    head = ("window from", "state", "answers", "labelled", "measured", "at release", "difference", "estimate", "error")
    caption = (
        "Measured on labels with its interval (filled; red where worse beyond the margin), estimated by the scores"
        " alone (hollow), and the figure of the release's holdout (dashed)."
    )
    drawn = elements.figure(trend(shown), caption)
    return elements.section("Window by window", drawn, elements.table("windows", head, rows))


def _window_row(record: WindowPerformance) -> tuple[Cell, ...]:
    found = record.serving.figure(record.primary) if record.serving else None
    style = {State.HOLDS: "passed", State.DEGRADED: "failed"}.get(record.state, "unclear")
    covered = share(record.coverage) if record.coverage is not None else NOTHING
    return (
        Cell(f"{record.window.start:%Y-%m-%d}"),
        Cell(str(record.state), style),
        *elements.numbers(count(record.answers), covered),
        *_compared(found),
    )


def _compared(found: Figure | None) -> tuple[Cell, ...]:
    """Measured, at release, difference, estimate, error."""
    measured, holdout, difference = (found.measured, found.holdout, found.difference) if found else (None, None, None)
    return (
        elements.measured(
            figure(measured.estimate if measured else None), bounds(measured.as_dict()) if measured else ""
        ),
        elements.measured(figure(holdout.estimate if holdout else None), bounds(holdout.as_dict()) if holdout else ""),
        elements.measured(
            signed(difference.estimate if difference else None),
            bounds(difference.as_dict(), sign=True) if difference else "",
        ),
        *elements.numbers(figure(found.estimate if found else None), signed(found.error if found else None)),
    )


def trend(shown: Sequence[WindowPerformance]) -> str:
    """Return the primary metric of the serving model over windows; nothing where no window has one."""
    points = [(each, each.serving.figure(each.primary) if each.serving else None) for each in shown]
    values = [value for _, found in points if found for value in _values(found)]
    if not values:
        return ""
    pad = 0.06 * (max(values) - min(values)) or 0.01
    up = svg.Scale(min(values) - pad, max(values) + pad, BOTTOM, TOP)
    across = svg.Scale(-0.5, len(points) - 0.5, LEFT, RIGHT)
    label = metric_label(next((each.primary for each in reversed(shown) if each.primary), ""))
    parts = [*_grid(up, label), *_dates(shown, across), *_released(points, across, up)]
    for place, (each, found) in enumerate(points):
        if found:
            parts += _point(across(place), up, found, degraded=each.state is State.DEGRADED)
    said = [
        f"{period(each.window)} {figure(found.measured.estimate)}" for each, found in points if found and found.measured
    ]
    return svg.drawing(HEIGHT, f"{label} by window: {', '.join(said[-12:]) or 'estimates alone'}.", parts)


def _values(found: Figure) -> Iterator[float]:
    if found.measured:
        yield from (found.measured.low, found.measured.high)
    if found.holdout:
        yield found.holdout.estimate
    if found.estimate is not None:
        yield found.estimate


def _grid(up: svg.Scale, label: str) -> Iterator[str]:
    for value in svg.ticks(up.low, up.high):
        yield svg.line(LEFT, up(value), RIGHT, up(value), "grid")
        yield svg.text(LEFT - 6, up(value) + 4, figure(value, 3), "tick", "end")
    yield svg.text(LEFT, TOP - 14, label, "axis")


def _dates(shown: Sequence[WindowPerformance], across: svg.Scale) -> Iterator[str]:
    """The first days of some windows, never so many that they touch."""
    step = -(-len(shown) // MOST_DATES)
    for place in range(0, len(shown), step):
        yield svg.line(across(place), BOTTOM, across(place), BOTTOM + 4, "zero")
        yield svg.text(across(place), BOTTOM + 18, f"{shown[place].window.start:%Y-%m-%d}", "tick", "middle")
    yield svg.text((LEFT + RIGHT) / 2, BOTTOM + 38, "first day of the window", "axis", "middle")


def _released(
    points: Sequence[tuple[WindowPerformance, Figure | None]], across: svg.Scale, up: svg.Scale
) -> Iterator[str]:
    """The figure of the release, a step where the release changed."""
    for place, (_, found) in enumerate(points):
        if found and found.holdout:
            y = up(found.holdout.estimate)
            yield svg.line(across(place - 0.5), y, across(place + 0.5), y, "whisker champion")


def _point(x: float, up: svg.Scale, found: Figure, *, degraded: bool) -> Iterator[str]:
    if found.estimate is not None:
        yield svg.square(x, up(found.estimate), 3.4, "dot champion")
    if found.measured:
        side = "bad" if degraded else "open"
        yield svg.line(x, up(found.measured.low), x, up(found.measured.high), f"interval {side}")
        yield svg.circle(x, up(found.measured.estimate), 4, "solid bad" if degraded else "dot candidate")


# ---- Models ----------------------------------------------------------------------------------------------------------


def _models(record: WindowPerformance) -> Iterator[str]:
    for model in record.models:
        rows = [(Cell(metric_label(each.name)), *_compared(each)) for each in model.figures]
        head = ("metric", "measured", "at release", "difference", "estimate", "error")
        parts = [ForestRow(f"{each.column}={each.value}", _difference(each.figure)) for each in model.slices]
        drawn = forest(parts, "Difference to the release by slice; to the left is worse", common_scale=True)
        slices = elements.figure(drawn, "Confidence holds for all slices together.", "By slice")
        yield elements.section(
            f"Model {short(model.model_sha256)}: {model.state}",
            elements.paragraph(_sentence(model.reason)),
            elements.table("metrics", head, rows, 0),
            slices,
        )


def _difference(found: Figure) -> dict[str, float | str] | None:
    return found.difference.as_dict() if found.difference else None
