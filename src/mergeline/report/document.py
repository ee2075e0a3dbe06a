"""What every page begins and ends with: it needs no network, runs no script, and tells nobody where it is read."""

from __future__ import annotations

from mergeline.report.escape import page
from mergeline.report.style import STYLE

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def document(title: str, body: str, style: str = "") -> str:
    """Return a page; the title is text, the body HTML, and `style` what it adds to the style of all pages."""
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
            f"<style>{STYLE}{style}</style>",
            "</head>",
            f"<body>{body}</body>",
            "</html>\n",
        ]
    )
