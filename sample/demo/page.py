"""The demo's page: what every act has shown, then the parts of `mergeline site` for the repository it was played in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sample.demo.act import Act
from sample.demo.place import Place, ending

from mergeline import files
from mergeline.commands.publishing import read
from mergeline.report import elements
from mergeline.report.elements import Cell
from mergeline.report.escape import page
from mergeline.site.facts import Page, Site
from mergeline.site.frame import SKIP, framed, part, sentences
from mergeline.site.page import contents, parts

LONGEST_LINE = 500  # a command with its addresses and folders, and how it ended
FORKED = (
    "Those of mergeline, also in the jobs of workflows, were forked from a process that had imported the libraries, as"
    " each would else do for itself."
)
FOOTER = """
<footer><p class="soft">Made by <code>make demo</code>: each figure was measured in this run, on real flights out
of New York in 2013. A figure that is not as it has to be ends the demo. Commits carry the days of the flights; how
long something took was measured by the clock.</p></footer>
"""


def write_page(path: Path, place: Place, shown: Sequence[Act], of: int) -> None:
    """Write the page of the acts that have held so far, `of` so many."""
    site = read(place.root, str(place.log), None, place.now)
    files.write_text(path, html(place, shown, of, site))


def html(place: Place, shown: Sequence[Act], of: int, site: Site) -> str:
    """Return the page; all text is escaped."""
    from dataclasses import replace

    pages = tuple(Page(f"Act {act.number}: {link.text}", link.file) for act in shown for link in act.links)
    acts = "".join(part(f"act-{act.number}", f"{act.number}. {act.title}", _shown(act)) for act in shown)
    main = parts(replace(site, pages=pages), before=acts) + _commands(place)
    return framed("Mergeline, the whole loop", _header(shown, of), main, FOOTER)


def _header(shown: Sequence[Act], of: int) -> str:
    seconds = sum(act.seconds for act in shown)
    whole = len(shown) == of
    badge = f"✓ {of} of {of} acts held" if whole else f"{len(shown)} of {of} acts held so far"
    acts = [(f"act-{act.number}", f"{act.number}. {act.title}") for act in shown]
    lead = f"One table, one repository, everything through Git: played on this machine in {seconds:.0f} seconds."
    return (
        f'{SKIP}<header><span class="badge {"promote" if whole else "hold"}">{badge}</span><h1>The whole loop</h1>'
        f"{elements.paragraph(lead, 'lead')}{contents(acts)}</header>"
    )


def _shown(act: Act) -> str:
    rows = [(Cell(fact.name), Cell(fact.value, "words")) for fact in act.facts]
    links = [f'<a href="{page(link.file)}">{page(link.text)}</a>' for link in act.links]
    took = f"{f'Played {act.played}. ' if act.played else ''}{act.seconds:.0f} s, {act.commands} commands"
    return "".join(
        [
            sentences(act.said),
            elements.table(f"Figures of act {act.number}", ("what", "found"), rows),
            f"<p>{', '.join(links)}</p>" if links else "",
            elements.paragraph(took, "soft"),
        ]
    )


def _commands(place: Place) -> str:
    lines = [f"$ {done.command}   # {ending(done)}" for done in place.commands]
    listed = "".join(f"{page(line, LONGEST_LINE)}\n" for line in lines)
    forked = elements.paragraph(FORKED, "soft") if place.forks else ""
    box = elements.scrolling("Commands", f"<pre>{listed}</pre>")
    return part("commands", "Every command, in order", forked + elements.folded(f"{len(lines)} commands", box))
