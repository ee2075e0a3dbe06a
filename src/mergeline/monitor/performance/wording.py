"""What the records of windows say, in the words of a terminal and of Markdown."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from mergeline.gates.evidence import number
from mergeline.intervals import Interval
from mergeline.monitor.performance.record import Figure, ModelFigures, State, WindowPerformance, judged
from mergeline.monitor.windows import Window, midnight
from mergeline.report.escape import code, prose
from mergeline.report.wording import NOTHING, count, figure, interval, metric_label, share, short, signed

SYMBOLS = {
    State.HOLDS: "✅",
    State.DEGRADED: "⛔",
    State.IMMATURE: "⏳",
    State.FEW_LABELS: "❔",
    State.NO_LABELS: "❔",
    State.NO_HOLDOUT: "❔",
    State.NO_ANSWERS: "❔",
    State.NO_TRAFFIC: "❔",
}
SHOWN_WINDOWS = 26
SHOWN_SLICES = 3
COURSE = 4
HEAD = ("window", "state", "answers", "labelled", "measured", "at release", "difference", "estimate", "error")
ESTIMATES = (
    "The estimate rests on the scores alone; its error is what was measured less that. A difference above 0 is better."
)


def newest(records: Sequence[WindowPerformance]) -> WindowPerformance | None:
    """Return the record that a reader asks for first: of the last window that is mature, else of the last one.

    A window without traffic is never waited for.
    """
    ready = [each for each in records if each.state is not State.IMMATURE] or records
    return ready[-1] if ready else None


def period(window: Window) -> str:
    """Return the days of a window as people name them, both included.

    >>> import datetime as dt
    >>> first = dt.datetime(2013, 4, 1, tzinfo=dt.UTC)
    >>> period(Window(first, first + dt.timedelta(days=7)))
    '2013-04-01 to 2013-04-07'
    """
    if not window.start == midnight(window.start) < midnight(window.end) == window.end:
        return f"{window.start:%Y-%m-%d %H:%M} to {window.end:%Y-%m-%d %H:%M}"
    return f"{window.start:%Y-%m-%d} to {window.end - dt.timedelta(days=1):%Y-%m-%d}"


def reason_of(model: ModelFigures, primary: str, least: int) -> str:
    """Return why a model has its state, one sentence without its full stop."""
    label, found = metric_label(primary), model.figure(primary)
    covered = f"{count(model.labelled)} of {count(model.answers)} answers have a label"
    if not model.answers:
        return f"none of the {count(model.failed)} requests of this window was answered"
    if model.state is State.IMMATURE:
        return f"{covered}, and more are to come; {_guess(found, label)}"
    if model.state is State.NO_LABELS:
        bring = "`mergeline labels add FILE` and POST /labels bring them"
        return f"none of {count(model.answers)} answers has a label, though it is time: {bring}; {_guess(found, label)}"
    if model.state is State.FEW_LABELS or found is None or found.measured is None:
        needed = f"{count(least)} and, of a ranking, 30 of each class are needed to judge the {label}"
        return f"{covered}; {needed}; {_guess(found, label)}"
    now = f"the {label} is {interval(found.measured.as_dict())}"
    if model.state is State.NO_HOLDOUT or found.difference is None or found.margin is None or found.holdout is None:
        return (
            f"{now}, and nothing says what it was at the release of model {short(model.model_sha256)}: this clone has"
            " no commit with its receipt and evaluation; fetch the whole history"
        )
    then = number(found.holdout.estimate)
    if model.state is State.DEGRADED:
        apart = _turned(found.difference)
        return f"{now}, worse than {then} at its release by {apart}, beyond the margin of {number(found.margin)}"
    return f"{now}, {then} at its release; not worse beyond the margin of {number(found.margin)}"


def _turned(difference: Interval) -> str:
    """A difference below 0 as what it is worse by."""
    bounds = f"{number(-difference.high)} to {number(-difference.low)}"
    return f"{number(-difference.estimate)} ({difference.confidence * 100:.4g} % {bounds})"


def _guess(found: Figure | None, label: str) -> str:
    if found is None or found.estimate is None:
        return f"the scores alone say nothing of the {label}"
    return f"by the scores alone the {label} is estimated at {figure(found.estimate)}"


# ---- Terminal --------------------------------------------------------------------------------------------------------


def statement(records: Sequence[WindowPerformance]) -> str:
    """Return the state of the newest window that is mature, then a line for each of the last windows."""
    told = newest(records)
    if told is None:
        return "no window is over yet"
    lines = [f"{told.state}: {period(told.window)}: {told.reason}", course(records), ""]
    shown = list(records)[-SHOWN_WINDOWS:]
    rows = [("window", *HEAD[1:]), *(_row(each) for each in shown)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    notes = [f"- {note}" for note in remarks(told)]
    return "\n".join([*lines, *(["", *notes] if notes else [])])


def remarks(record: WindowPerformance) -> list[str]:
    """Return what else is to be known of a window: its notes, its joins, its worse slices."""
    found = list(record.notes)
    found += [said for model in record.models[:1] if (said := _worse_slices(model))]
    for counted, said in (
        (record.repeated, "rows of the log repeat another one and are counted once"),
        (record.corrected, "labels were corrected later; the last one holds"),
        (record.late, "labels came after the window was mature"),
        (record.early, "labels say that they were known before their prediction; see the clock of their source"),
    ):
        if counted:
            found.append(f"{count(counted)} {said}")
    return found


def _worse_slices(model: ModelFigures) -> str:
    """The slices that are worse beyond the margin, the worst ones by name; nothing where none is."""
    worse = [(each, each.figure.difference) for each in model.slices if each.figure.degraded]
    ranked = sorted(((gap.estimate, each, gap) for each, gap in worse if gap), key=lambda found: found[0])
    if not ranked:
        return ""
    named = [f"{each.column}={each.value} by {_turned(gap)}" for _, each, gap in ranked[:SHOWN_SLICES]]
    more = f", and {len(ranked) - SHOWN_SLICES} more" if len(ranked) > SHOWN_SLICES else ""
    return f"{len(ranked)} of {len(model.slices)} slices are worse beyond the margin: {', '.join(named)}{more}"


def course(records: Sequence[WindowPerformance]) -> str:
    """Return how many of the last windows that judge are degraded: one window alone may be a bad week."""
    last = judged(records, COURSE)
    if not last:
        return "no window has judged a model yet"
    degraded = sum(each.state is State.DEGRADED for each in last)
    return f"degraded in {degraded} of the last {len(last)} windows that judge"


def _row(record: WindowPerformance) -> tuple[str, ...]:
    found = record.serving.figure(record.primary) if record.serving else None
    covered = share(record.coverage) if record.coverage is not None else NOTHING
    return (
        period(record.window),
        str(record.state),
        count(record.answers),
        covered,
        interval(found.measured.as_dict()) if found and found.measured else NOTHING,
        figure(found.holdout.estimate if found and found.holdout else None),
        signed(found.difference.estimate if found and found.difference else None),
        figure(found.estimate if found else None),
        signed(found.error if found else None),
    )


# ---- Markdown --------------------------------------------------------------------------------------------------------


def markdown(records: Sequence[WindowPerformance]) -> str:
    """Return the report as GitHub's Markdown; text from data can neither mark up nor mention anyone."""
    told = newest(records)
    if told is None:
        return "# Performance\n\nNo window is over yet.\n"
    blocks = [
        f"# {SYMBOLS[told.state]} Performance: {told.state}",
        f"{period(told.window)}: {prose(_capital(told.reason), 900)}.",
        f"{prose(_capital(course(records)))}.",
        "\n".join(f"- {prose(note, 500)}" for note in remarks(told)),
        _table(HEAD, [_row(each) for each in list(records)[-SHOWN_WINDOWS:]]),
        ESTIMATES,
        *_models(told),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _models(record: WindowPerformance) -> list[str]:
    blocks = []
    for model in record.models:
        blocks.append(f"## Model {code(short(model.model_sha256))}: {model.state}")
        blocks.append(f"{prose(_capital(model.reason), 900)}.")
        rows = [
            (
                metric_label(each.name),
                interval(each.measured.as_dict()) if each.measured else NOTHING,
                figure(each.holdout.estimate if each.holdout else None),
                interval(each.difference.as_dict(), sign=True) if each.difference else NOTHING,
                figure(each.estimate),
                signed(each.error),
            )
            for each in model.figures
        ]
        blocks.append(_table(("metric", *HEAD[4:]), rows))
        rows = [
            (
                f"{each.column}={each.value}",
                count(each.figure.rows),
                interval(each.figure.measured.as_dict()) if each.figure.measured else NOTHING,
                figure(each.figure.holdout.estimate if each.figure.holdout else None),
                interval(each.figure.difference.as_dict(), sign=True) if each.figure.difference else NOTHING,
                "worse" if each.figure.degraded else "",
            )
            for each in model.slices
        ]
        blocks.append(_table(("slice", "labels", "measured", "at release", "difference", ""), rows))
    return blocks


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    lines += [" | ".join(prose(cell, 120) for cell in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"
