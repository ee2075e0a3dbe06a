"""The frame of a page that loads nothing: its head, a first link to its content, sections with names."""

from __future__ import annotations

import re

from mergeline.report.document import document
from mergeline.report.escape import page
from mergeline.site.style import STYLE

CODE = re.compile(r"`([^`]+)`")
SKIP = '<a class="skip" href="#main">To the content</a>'


def framed(title: str, header: str, main: str, footer: str, style: str = "") -> str:
    """Return a page of these parts, which are HTML."""
    return document(title, f'{header}<main id="main">{main}</main>{footer}', STYLE + style)


def part(name: str, title: str, body: str) -> str:
    """Return a section that a link reaches by its name; the title is text, the body HTML."""
    return f'<section id="{page(name)}"><h2>{page(title)}</h2>{body}</section>'


def sentences(text: str) -> str:
    """Return a paragraph, in which what stands between backticks is code.

    >>> sentences("`git log` <b>")
    '<p><code>git log</code> &lt;b&gt;</p>'
    """
    return f"<p>{marked(text)}</p>"


def marked(text: str) -> str:
    """Return text for HTML, in which what stands between backticks is code."""
    return CODE.sub(lambda found: f"<code>{found[1]}</code>", page(text, 2000))
