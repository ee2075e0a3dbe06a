"""Performance over time: what the model that served was worth in each window by its labels, with an interval."""

from __future__ import annotations

from collections.abc import Sequence

from mergeline.monitor.performance.page import trend
from mergeline.monitor.performance.record import State, WindowPerformance
from mergeline.report import elements
from mergeline.report.elements import Cell
from mergeline.report.wording import NOTHING, bounds, count, figure, metric_label, share

SHOWN_WINDOWS = 52
BESIDE = 6  # rows of the table as high as the plot
CAPTION = (
    "{metric} by the labels that came, with its 95 % interval (filled; red where worse than at the release beyond the"
    " margin), as the scores alone let expect it (hollow), and as it was on the holdout of the release (dashed)."
)
STYLES = {State.HOLDS: "passed", State.DEGRADED: "failed"}


def performance(records: Sequence[WindowPerformance]) -> str:
    """Return the plot of the primary metric beside a table of the windows, the newest first."""
    shown = records[-SHOWN_WINDOWS:]
    primary = next((each.primary for each in reversed(shown) if each.primary), "metric")
    head = ("window from", "state", metric_label(primary), "at release", "labelled")
    rows = [_row(each) for each in reversed(shown)]
    drawn = elements.figure(trend(shown), CAPTION.format(metric=metric_label(primary)))
    earlier = elements.table("Earlier windows of late labels", head, rows[BESIDE:])
    table = elements.table("Newest windows of late labels", head, rows[:BESIDE])
    return elements.side_by_side(drawn, table + elements.folded(f"Earlier ({len(rows[BESIDE:])})", earlier))


def _row(record: WindowPerformance) -> tuple[Cell, ...]:
    serving = record.serving
    found = serving.figure(record.primary) if serving else None
    measured, holdout = (found.measured, found.holdout) if found else (None, None)
    return (
        Cell(f"{record.window.start:%Y-%m-%d}"),
        Cell(str(record.state), STYLES.get(record.state, "unclear"), ""),
        Cell(figure(measured.estimate), "number named", bounds(measured.as_dict()))
        if measured
        else Cell(NOTHING, "number none"),
        Cell(figure(holdout.estimate), "number named", bounds(holdout.as_dict()))
        if holdout
        else Cell(NOTHING, "number none"),
        Cell(_labelled(record), "number named"),
    )


def _labelled(record: WindowPerformance) -> str:
    covered = "" if record.coverage is None else f", {share(record.coverage)}"
    return f"{count(record.labelled)} of {count(record.answers)}{covered}"
