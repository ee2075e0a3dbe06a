"""A week as people read it: the same parts as Markdown and as one page of HTML that needs no network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mergeline.monitor.weekly import Weekly
from mergeline.report import elements
from mergeline.report.document import document
from mergeline.report.elements import Cell
from mergeline.report.escape import page, prose

NONE = "–"


@dataclass(frozen=True, slots=True)
class Part:
    """A heading, sentences below it, and a table, whose first row names its columns."""

    title: str
    lines: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def markdown(week: Weekly) -> str:
    """Return the week as Markdown."""
    lines = [f"# {title(week)}", ""]
    for part in parts(week):
        lines += [f"## {part.title}", ""]
        lines += [*(f"- {prose(line, 2000)}" for line in part.lines), ""] if part.lines else []
        if len(part.rows) > 1:
            head, *body = part.rows
            lines += [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
            lines += [*(f"| {' | '.join(prose(cell) for cell in row)} |" for row in body), ""]
    return "\n".join(lines).rstrip() + "\n"


def html(week: Weekly) -> str:
    """Return the week as one page; the same week gives the same bytes."""
    body = []
    for part in parts(week):
        body += [f"<section><h2>{page(part.title)}</h2>", elements.bullets(part.lines) if part.lines else ""]
        if len(part.rows) > 1:
            head, *rows = part.rows
            body.append(elements.table(part.title, head, [[Cell(text) for text in row] for row in rows]))
        body.append("</section>")
    header = f"<header><h1>{page(title(week))}</h1></header>"
    return document(title(week), "\n".join([header, "<main>", *filter(None, body), "</main>"]))


def title(week: Weekly) -> str:
    """The week by its number and its days."""
    return f"Week {week.name}, {week.days[0].day} to {week.days[-1].day}"


def parts(week: Weekly) -> Iterator[Part]:
    """Yield the parts, what is to be done first."""
    yield Part("What is to be done", week.recommendations)
    yield _predictions(week)
    yield Part("Models", (), _sides(week))
    yield _drift(week)
    yield _performance(week)
    yield _quality(week)
    yield _cost(week)
    if week.figures:
        rows = [(each.name, _number(each.value, each.unit), f"{each.rows:,}") for each in week.figures]
        yield Part("What the team counts", (), (("figure", "value", "of rows"), *rows))
    if week.decisions:
        rows = [(each.at[:16].replace("T", " "), each.decision, each.sentence) for each in week.decisions]
        yield Part("Decisions", (), (("UTC", "decision", "why"), *rows))


def _predictions(week: Weekly) -> Part:
    share = f", {week.failed / week.rows:.2%} of them" if week.failed else ""
    said = f"{week.rows:,} predictions, {week.labelled:,} with a label by now; {week.failed:,} failed{share}."
    rows = [(each.day, f"{each.rows:,}", f"{each.failed:,}") for each in week.days]
    return Part("Predictions", (said,), (("day", "predictions", "failed"), *rows))


def _sides(week: Weekly) -> tuple[tuple[str, ...], ...]:
    head = ("role", "model", "rows", "failed", "p50 ms", "p95 ms", "p99 ms")
    return (head, *(
        (each.variant, each.model_sha256[:12], f"{each.rows:,}", f"{each.failed:,}",
         *(_number(value) for value in (each.p50_ms, each.p95_ms, each.p99_ms)))
        for each in week.sides
    ))  # fmt: skip


def _drift(week: Weekly) -> Part:
    if not week.drift:
        return Part("Drift", ("No window of this week was checked; `mergeline drift` does it.",))
    rows = [
        (each.window, each.outcome, each.severity, "yes" if each.sustained else "no", each.sentence)
        for each in week.drift
    ]
    return Part("Drift", (), (("window", "outcome", "severity", "sustained", "what it says"), *rows))


def _performance(week: Weekly) -> Part:
    if not week.performance:
        return Part("Performance", ("No window of this week was measured; `mergeline performance` does it.",))
    head = ("window", "state", "metric", "measured", "holdout", "estimated before", "labelled", "why")
    rows = []
    for each in week.performance:
        around = f" ({_number(each.low)} to {_number(each.high)})" if each.low is not None else ""
        share = NONE if each.coverage is None else f"{each.coverage:.0%}"
        rows.append(
            (each.window, each.state, each.metric, f"{_number(each.measured)}{around}", _number(each.holdout),
             _number(each.estimate), share, each.reason)
        )  # fmt: skip
    return Part("Performance", (), (head, *rows))


def _quality(week: Weekly) -> Part:
    quality = week.quality
    apart = f"{quality.duplicates:,} repeated, {quality.late:,} late, {quality.ahead:,} ahead of their time"
    lines = [f"Rows of the log left out of the drift check: {apart}."]
    if quality.partition is not None:
        held = ", ".join(f"{count:,} by {reason!r}" for reason, count in quality.held_up.items()) or "none"
        lines.append(f"Rows that `mergeline collect` held up of {quality.partition}: {held}.")
    failed = ", ".join(quality.failed_expectations) or "none"
    return Part("Quality", (*lines, f"Expectations of the training table that failed: {failed}."))


def _cost(week: Weekly) -> Part:
    if week.cost is None:
        return Part("Cost", ("Nothing has a price; see `weekly.prices` of params.yaml.",))
    each = NONE if week.cost.per_thousand is None else f"{week.cost.per_thousand:,.4f}"
    whole = f"{week.cost.whole:,.2f} {week.cost.currency}"
    return Part("Cost", (f"{whole} for the week, {each} {week.cost.currency} for 1,000 predictions.",))


def _number(value: float | None, unit: str = "") -> str:
    if value is None:
        return NONE
    text = f"{value:,.0f}" if float(value).is_integer() and abs(value) >= 1 else f"{value:,.4g}"
    return f"{text} {unit}".rstrip()
