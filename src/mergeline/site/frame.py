"""The frame of a page that loads nothing: its head, a first link to its content, sections with names."""

from __future__ import annotations

import re

from mergeline.report.escape import page
from mergeline.report.html import POLICY
from mergeline.report.style import STYLE as REPORT_STYLE
from mergeline.site.style import STYLE

CODE = re.compile(r"`([^`]+)`")
SKIP = '<a class="skip" href="#main">To the content</a>'


def document(title: str, header: str, main: str, footer: str, style: str = "") -> str:
    """Return a page of these parts, which are HTML; its policy lets it load nothing and run no script."""
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer">',
            f"<title>{page(title)}</title>",
            f"<style>{REPORT_STYLE}{STYLE}{style}</style>",
            "</head>",
            f'<body>{header}<main id="main">{main}</main>{footer}</body>',
            "</html>\n",
        ]
    )


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
