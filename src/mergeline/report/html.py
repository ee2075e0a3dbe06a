"""reports/report.html: what the comment says, with plots, in one file that needs no network and runs no script."""

from __future__ import annotations

from typing import Any

from mergeline.report import content, elements, sections
from mergeline.report.context import Records
from mergeline.report.document import document
from mergeline.report.escape import clean, page
from mergeline.report.wording import MEANING, better, bounds, figure, headline, metric_label, short, signed

BADGES = {"promote": "✓ promote", "hold": "= hold", "reject": "✗ reject"}
LONGEST = 1500


def html(records: Records) -> str:
    """Return the report as one page of HTML; the same records give the same bytes.

    It loads nothing, and its policy forbids the browser to. Plots that the task does not have are left out.
    """
    body = "\n".join([_header(records), *_main(records), _footer(records)])
    return document(headline(records.comparison), body)


def _main(records: Records) -> list[str]:
    made = [section(records) for section in sections.SECTIONS]
    return ["<main>", *(text for text in made if text), "</main>"]


def _header(records: Records) -> str:
    comparison = records.comparison
    verdict = comparison["verdict"]
    warning = content.holdout_warning(records.context)
    failed = content.failed_gates(comparison)
    meaning = f"{MEANING[verdict]} Failed: {', '.join(failed)}." if failed else MEANING[verdict]
    parts = [
        f'<span class="badge {verdict}">{BADGES[verdict]}</span><h1>{page(headline(comparison))}</h1>',
        *(elements.paragraph(note, "note") for note in comparison["notes"]),
        elements.paragraph(_sentence(comparison["sentence"]), "lead"),
        elements.paragraph(meaning),
        elements.paragraph(warning, "warning") if warning else "",
        _cards(comparison),
    ]
    return f"<header>{''.join(parts)}</header>"


def _sentence(text: str) -> str:
    """The verdict's sentence with a capital and a full stop."""
    said = clean(text, LONGEST)
    return f"{said[:1].upper()}{said[1:]}" + ("" if said.endswith((".", "…", "!")) else ".")


def _cards(comparison: dict[str, Any]) -> str:
    """The four figures that a reader in a hurry takes along."""
    row = content.metric_rows(comparison)[0]
    outcomes = [gate["outcome"] for gate in comparison["gates"]]
    judged = sum(outcome != "not applicable" for outcome in outcomes)
    cards = [
        _metric_card("candidate", row.name, row.candidate),
        _metric_card("champion", row.name, row.champion),
        _difference_card(row.difference),
        _card("gates passed", f"{outcomes.count('passed')} of {judged}", content.holdout_fact(comparison)),
    ]
    return f'<dl class="cards">{"".join(cards)}</dl>'


def _metric_card(model: str, name: str, metric: dict[str, Any] | None) -> str:
    value = figure(metric["estimate"] if metric else None)
    return _card(f"{model}, {metric_label(name)}", value, bounds(metric) or "not measured", f"is-{model}")


def _difference_card(difference: dict[str, Any] | None) -> str:
    value = signed(difference["estimate"] if difference else None)
    return _card("difference", value, ", ".join(filter(None, [better(difference), bounds(difference, sign=True)])))


def _card(name: str, value: str, small: str, style: str = "") -> str:
    kind = f' class="{style}"' if style else ""
    return f"<div><dt>{page(name)}</dt><dd><span{kind}>{page(value)}</span> <small>{page(small)}</small></dd></div>"


def _footer(records: Records) -> str:
    model = page(short(records.comparison["candidate"]["sha256"]))
    said = f"Model <code>{model}</code>. Everything here stands in the records in Git."
    return f'<footer><p class="soft">{said}</p></footer>'
