"""The parts of a page: tables that scroll in a box of their own, figures, lists. Every text in them is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mergeline.report.escape import page

MOST_ROWS = 500
CUT = "… {count:,} more rows are not shown here; the records in reports/ and git diff hold them all."


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table: its text, the classes of the style sheet that it belongs to, and a second, smaller line."""

    text: str
    style: str = ""
    small: str = ""


def table(label: str, head: Sequence[str], rows: Sequence[Sequence[Cell]], strong: int | None = None) -> str:
    """Return a table in a box that scrolls, under the name `label`; row `strong` is the one that counts.

    The first cell of a row is its heading. No rows, no table; of very many rows the first ones. On a phone a
    row with sentences becomes a card.
    """
    body = "".join(_row(head, cells, number == strong) for number, cells in enumerate(rows[:MOST_ROWS]))
    if not body:
        return ""
    heads = "".join(f'<th scope="col">{page(name)}</th>' for name in head)
    kind = ' class="stacked"' if any("words" in cell.style for cell in rows[0]) else ""
    inner = f"<table{kind}><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
    return scrolling(label, inner) + (paragraph(CUT.format(count=len(rows) - MOST_ROWS)) if rows[MOST_ROWS:] else "")


def scrolling(label: str, body: str) -> str:
    """Return a box that scrolls by itself, so that the page never does sideways."""
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{page(label)}">{body}</div>'


def _row(head: Sequence[str], cells: Sequence[Cell], strong: bool) -> str:
    first, *rest = cells
    kind = ' class="primary"' if strong else ""
    others = "".join(_cell(cell, name) for cell, name in zip(rest, head[1:], strict=True))
    return f'<tr{kind}><th scope="row">{page(first.text)}</th>{others}</tr>'


def _cell(cell: Cell, name: str) -> str:
    """A cell that knows the name of its column, for phones, on which the row of names is left out."""
    small = f"<small>{page(cell.small)}</small>" if cell.small else ""
    return f'<td class="{cell.style}" data-column="{page(name)}">{page(cell.text)}{small}</td>'


def measured(text: str, small: str) -> Cell:
    """Return a cell of a number with its interval below it."""
    return Cell(text, "number", small)


def numbers(*texts: str) -> tuple[Cell, ...]:
    """Return cells of numbers."""
    return tuple(Cell(text, "number") for text in texts)


def figure(drawing: str, caption: str, title: str | None = None) -> str:
    """Return a drawing with its caption and perhaps a heading of the third level; no drawing, no figure."""
    if not drawing:
        return ""
    head = f"<h3>{page(title)}</h3>" if title else ""
    return f"<figure>{head}{drawing}<figcaption>{page(caption)}</figcaption></figure>"


def paragraph(text: str, style: str = "") -> str:
    """Return a paragraph."""
    return f'<p class="{style}">{page(text, 2000)}</p>' if style else f"<p>{page(text, 2000)}</p>"


def bullets(lines: Iterable[str]) -> str:
    """Return a list."""
    return f"<ul>{''.join(f'<li>{page(line, 1000)}</li>' for line in lines)}</ul>"


def folded(title: str, body: str) -> str:
    """Return a part that the reader opens."""
    return f"<details><summary>{page(title)}</summary>{body}</details>" if body else ""


def section(title: str, *parts: str) -> str:
    """Return a section with a heading of the second level, or nothing where all its parts are empty."""
    body = "".join(parts)
    return f"<section><h2>{page(title)}</h2>{body}</section>" if body else ""


def side_by_side(*parts: str) -> str:
    """Return a drawing beside its table where the screen is wide, else one under the other."""
    kept = [part for part in parts if part]
    return (
        f'<div class="beside">{"".join(f"<div>{part}</div>" for part in kept)}</div>'
        if len(kept) > 1
        else "".join(kept)
    )


def plots(*figures: str) -> str:
    """Return figures in as many columns as the screen has room for."""
    return f'<div class="plots">{"".join(figures)}</div>' if any(figures) else ""
