"""The demo's page: what every act has shown, in one file that needs no network and runs no script."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sample.demo.act import Act
from sample.demo.place import Place

from mergeline import files
from mergeline.report import elements
from mergeline.report.elements import Cell
from mergeline.report.escape import page
from mergeline.report.html import POLICY
from mergeline.report.style import STYLE

FOOTER = """
<footer><p class="soft">Made by <code>make demo</code>: each figure was measured in this run, on real flights out
of New York in 2013. A figure that is not as it has to be ends the demo.</p></footer>
"""
OWN_STYLE = """
.skip { position: absolute; left: -100vw; } .skip:focus { position: static; }
nav ol { list-style: none; padding: 0; margin: 24px 0 0; display: grid; gap: 8px;
  grid-template-columns: repeat(auto-fit, minmax(min(230px, 100%), 1fr)); }
nav li { background: var(--sheet); border: 1px solid var(--rule); border-left: 4px solid var(--good);
  border-radius: 8px; padding: 8px 12px; }
nav li.open { border-left-color: var(--rule); color: var(--soft); }
a { color: var(--candidate); } a:focus-visible { outline: 2px solid var(--candidate); outline-offset: 2px; }
"""


def write_page(path: Path, place: Place, shown: Sequence[Act], of: int) -> None:
    """Write the page of the acts that have held so far, `of` so many."""
    files.write_text(path, html(place, shown, of))


def html(place: Place, shown: Sequence[Act], of: int) -> str:
    """Return the page; all text is escaped."""
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer">',
            "<title>Mergeline, the whole loop</title>",
            f"<style>{STYLE}{OWN_STYLE}</style>",
            "</head>",
            '<body><a class="skip" href="#acts">To the acts</a>',
            _header(shown, of),
            f'<main id="acts">{"".join(map(_act, shown))}{_commands(place)}</main>',
            FOOTER,
            "</body>",
            "</html>\n",
        ]
    )


def _header(shown: Sequence[Act], of: int) -> str:
    seconds = sum(act.seconds for act in shown)
    whole = len(shown) == of
    badge = f"✓ {of} of {of} acts held" if whole else f"{len(shown)} of {of} acts held so far"
    entries = "".join(
        f'<li><a href="#act-{act.number}">{act.number}. {page(act.title)}</a><br>'
        f'<span class="soft">{act.seconds:.0f} s, {act.commands} commands</span></li>'
        for act in shown
    )
    lead = f"One table, one repository, everything through Git: played on this machine in {seconds:.0f} seconds."
    return (
        f'<header><span class="badge {"promote" if whole else "hold"}">{badge}</span><h1>The whole loop</h1>'
        f'{elements.paragraph(lead, "lead")}<nav aria-label="Acts"><ol>{entries}</ol></nav></header>'
    )


def _act(act: Act) -> str:
    rows = [(Cell(fact.name), Cell(fact.value, "words")) for fact in act.facts]
    links = [f'<a href="{page(link.file)}">{page(link.text)}</a>' for link in act.links]
    figures = [
        f"<figure>{each.svg}<figcaption>{page(each.caption, 1000)}</figcaption></figure>" for each in act.pictures
    ]
    parts = [
        elements.paragraph(act.said),
        elements.table(f"Figures of act {act.number}", ("what", "found"), rows),
        elements.plots(*figures),
        f"<p>{', '.join(links)}</p>" if links else "",
    ]
    return f'<section id="act-{act.number}"><h2>{act.number}. {page(act.title)}</h2>{"".join(parts)}</section>'


def _commands(place: Place) -> str:
    lines = [f"$ {done.command}   # {done.seconds:.1f} s, exit code {done.code}" for done in place.commands]
    listed = "".join(f"{page(line, 200)}\n" for line in lines)
    box = elements.scrolling("Commands", f"<pre>{listed}</pre>")
    return elements.section("Every command, in order", elements.folded(f"{len(lines)} commands", box))
