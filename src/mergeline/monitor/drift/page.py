"""The windows' records as one page of HTML that loads nothing: what moved, then and now, and over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mergeline.monitor.drift.record import DriftRecord, FeatureDrift, Outcome
from mergeline.monitor.drift.timeline import timeline
from mergeline.monitor.drift.wording import TITLES, drifted, notes, p_value, ranked, title
from mergeline.report import elements
from mergeline.report.document import document
from mergeline.report.elements import Cell
from mergeline.report.escape import page
from mergeline.report.histograms import histogram
from mergeline.report.wording import count, figure, share

PLOTTED = 12
BADGES = {Outcome.NONE: "promote", Outcome.DRIFT: "hold", Outcome.TOO_FEW_ROWS: "hold", Outcome.NO_DATA: "reject"}
KEY = (
    '<p class="soft"><span class="key"></span>then, the training rows <span class="key full"></span>now, the window.'
    " Each plot is as high as its largest bar.</p>"
)


def html(records: Sequence[DriftRecord]) -> str:
    """Return the page of the last of the records, which are in the order of their windows; the others are its past."""
    latest = records[-1]
    parts = [
        elements.section("Columns", _columns(latest), _figures(latest)),
        elements.section("Then and now", KEY, _then_and_now(latest)) if latest.features else "",
        elements.section("Over time", _over_time(records)),
        elements.section("Windows", _windows(records)),
    ]
    body = "\n".join([_header(latest), "<main>", *filter(None, parts), "</main>", _end(latest)])
    return document(f"{title(latest)}: {latest.window.name}", body)


def _header(latest: DriftRecord) -> str:
    style = "reject" if latest.sustained else BADGES[latest.outcome]
    cards = [
        ("rows", count(latest.rows), f"{count(latest.reference_rows)} training rows"),
        ("columns that moved", str(len(latest.drifted)), f"of {len(latest.features)}"),
        ("importance that they hold", share(latest.weighted), "of the model's"),
        ("told from training", figure(latest.classifier.auc, 3), _told(latest)),
    ]
    shown = "".join(
        f"<div><dt>{page(name)}</dt><dd><span>{page(value)}</span> <small>{page(small)}</small></dd></div>"
        for name, value, small in cards
    )
    return (
        f'<header><span class="badge {style}">{page(title(latest))}</span>'
        f"<h1>Drift, {page(latest.window.name.replace('--', ' to '))}</h1>"
        f"{elements.paragraph(latest.sentence, 'lead')}"
        f'<dl class="cards">{shown}</dl>{elements.bullets(notes(latest))}</header>'
    )


def _told(latest: DriftRecord) -> str:
    found = latest.classifier
    if found.auc is None:
        return found.reason or "not tried"
    return f"AUC; by chance up to {figure(found.bound, 3)}"


def _columns(latest: DriftRecord) -> str:
    return elements.table("Columns and how far they moved", TITLES, [_column(each) for each in ranked(latest)])


def _column(each: FeatureDrift) -> tuple[Cell, ...]:
    style = ("failed" if each.matters else "unclear") if each.drifted else "passed" if each.resolved else "unclear"
    return (
        Cell(each.name),
        Cell(drifted(each), style, "" if each.matters or not each.drifted else "hardly used"),
        *elements.numbers(share(each.effect), p_value(each.p_corrected), figure(each.psi, 3)),
        *elements.numbers(f"{share(each.missing_then)} → {share(each.missing_now)}"),
        Cell("–" if each.importance is None else share(each.importance), "number"),
        Cell(str(each.windows_drifted), "number", "sustained" if each.sustained else ""),
    )


def _figures(latest: DriftRecord) -> str:
    """All statistics, for those who want them."""
    head = ("column", "KS", "Jensen-Shannon", "KL, nats", "Wasserstein", "χ²", "p, alone", "rows")
    rows = [
        (
            Cell(each.name),
            _measured(each.ks, each.ks_error),
            *elements.numbers(figure(each.js, 3), figure(each.kl, 3)),
            _measured(each.wasserstein, each.wasserstein_error),
            Cell(figure(each.chi_squared, 4), "number", f"{each.degrees} degrees" if each.degrees else ""),
            *elements.numbers(p_value(each.p), count(each.rows)),
        )
        for each in ranked(latest)
    ]
    return elements.folded("All statistics", elements.table("All statistics", head, rows)) if rows else ""


def _measured(value: float | None, error: float | None) -> Cell:
    return Cell(figure(value), "number", f"± {figure(error, 2)} at most" if error else "")


def _then_and_now(latest: DriftRecord) -> str:
    columns = ranked(latest)
    return elements.plots(*map(_histogram, columns[:PLOTTED])) + elements.folded(
        f"{len(columns) - PLOTTED} more columns", elements.plots(*map(_histogram, columns[PLOTTED:]))
    )


def _histogram(each: FeatureDrift) -> str:
    shape: dict[str, Any] = {
        "feature": each.name,
        "kind": "category" if each.shape.labels else "number",
        "labels": each.shape.labels,
        "edges": list(each.shape.edges),
        "then": list(each.shape.then),
        "now": list(each.shape.now),
        "missing_then": each.missing_then,
        "missing_now": each.missing_now,
    }
    moved = f"{share(each.effect)} of the rows lie elsewhere"
    found = f"; {each.severity} drift" if each.drifted else "" if each.resolved else "; not resolved"
    return elements.figure(histogram(shape), f"{moved}{found}.", each.name)


def _over_time(records: Sequence[DriftRecord]) -> str:
    columns = ranked(records[-1])
    if not columns:
        return ""
    lines = "Rows that lie elsewhere, window by window; dotted: from where on a column has drifted, and severely."
    drawn = [elements.figure(timeline(records, each.name), "", each.name) for each in columns]
    drawn = [each for each in drawn if each]
    if not drawn:
        return ""
    return (
        elements.paragraph(lines, "soft")
        + elements.plots(*drawn[:PLOTTED])
        + elements.folded(f"{len(drawn) - PLOTTED} more columns", elements.plots(*drawn[PLOTTED:]))
    )


def _windows(records: Sequence[DriftRecord]) -> str:
    head = ("window", "rows", "outcome", "moved, by importance", "release")
    rows = [
        (
            Cell(each.window.name.replace("--", " to ")),
            Cell(count(each.rows), "number"),
            Cell(title(each), "words", each.sentence),
            Cell(share(each.weighted), "number"),
            Cell(each.model_sha256[:12]),
        )
        for each in reversed(records)
    ]
    return elements.table("Windows", head, rows)


def _end(latest: DriftRecord) -> str:
    said = f"Release <code>{page(latest.model_sha256[:12])}</code>. docs/drift.md says how to read each figure."
    return f'<footer><p class="soft">{said}</p></footer>'
