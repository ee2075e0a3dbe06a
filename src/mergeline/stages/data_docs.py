"""Great Expectations' Data Docs as one page that is the same twice and fetches nothing when it is opened."""

from __future__ import annotations

import datetime as dt
import re
from itertools import count
from typing import Any

RUN_TIME = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)  # the class demands one; it is taken out of the page again
FOREIGN = re.compile(
    r"<script\b.*?</script>|<footer\b.*?</footer>|<(?:link|img)\b[^>]*https?://[^>]*>|url\('https?://[^)]*\)", re.DOTALL
)
TIME_STAMP = re.compile(r"\d{8}T\d{6}\.\d+Z|2000-01-01T00:00:00Z")
LINK = re.compile(r"<a\b[^>]*>(.*?)</a>", re.DOTALL)  # to pages and by scripts that are not there
UNIQUE_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
STYLE = """<style>
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: .5rem 0; }
td, th { border: 1px solid color-mix(in srgb, currentColor 25%, transparent); padding: .3rem .6rem; text-align: left; }
td { vertical-align: top; overflow-wrap: anywhere; }
ul { padding-left: 1.2rem; }
.fa-check-circle::before { content: "passed"; } .fa-times::before { content: "failed"; font-weight: bold; }
.fa-exclamation-triangle::before { content: "error"; font-weight: bold; } [aria-hidden]::before { content: ""; }
.text-danger { color: #d33; } .text-success { color: #2a2; } .text-warning { color: #b80; }
.modal, .d-none, .navbar, .breadcrumb, .card:has(input[type=radio]) { display: none; }
</style>"""


def page(outcome: Any) -> str:
    """Return a validation result as HTML: Data Docs without scripts, remote files, time stamps and random ids."""
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view.view import DefaultJinjaPageView

    outcome.meta["run_id"] = RunIdentifier(run_name="validate", run_time=RUN_TIME)
    view: Any = DefaultJinjaPageView()  # untyped upstream
    html = str(view.render(ValidationResultsPageRenderer().render(outcome)))
    return self_contained(html)


def self_contained(html: str) -> str:
    """Return the page without what it would fetch and without what differs from one rendering to the next.

    >>> self_contained('<img src="https://x/y.png"><p>20260101T000000.000001Z</p>')
    ' <p>(not kept)</p>'
    """
    html = TIME_STAMP.sub("(not kept)", LINK.sub(r"\1", FOREIGN.sub(" ", html)))
    numbers = count(1)
    known: dict[str, str] = {}
    html = UNIQUE_ID.sub(lambda found: known.setdefault(found[0], f"id-{next(numbers)}"), html)
    return html.replace("</head>", f"{STYLE}</head>", 1)
