"""A release's report, made again from the records that came with it, without what only its open branch knew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mergeline.report import elements, sections
from mergeline.report.context import Records
from mergeline.report.escape import clean, page
from mergeline.report.html import BADGES
from mergeline.report.wording import MEANING, headline
from mergeline.site.frame import SKIP, framed

LONGEST = 1500
# what changed against a base, and how often the holdout had judged, are facts of the branch while it was open
PARTS = (
    sections.models,
    sections.gates,
    sections.ranking,
    sections.slices,
    sections.distributions,
    sections.data,
    sections.reproduction,
)


def html(records: Records) -> str:
    """Return the page, without a value of the table that broke a rule: others may read it than the report.

    Raises `KeyError` for records of another shape than this package writes.
    """
    records = replace(records, validation=_without_examples(records.validation))
    comparison = records.comparison
    verdict = comparison["verdict"]
    parts = [
        f'{SKIP}<header><span class="badge {verdict}">{BADGES[verdict]}</span><h1>{page(headline(comparison))}</h1>',
        elements.paragraph(clean(comparison["sentence"], LONGEST), "lead"),
        elements.paragraph(MEANING[verdict]),
        '<p><a href="index.html">What is served, and why</a></p></header>',
    ]
    return framed(headline(comparison), "".join(parts), "".join(part(records) for part in PARTS), "")


def _without_examples(validation: Mapping[str, Any]) -> dict[str, Any]:
    """The record of the checks with how many rows broke a rule, and not with what."""
    bare = [
        {**each, "findings": [{**found, "examples": []} for found in each["findings"]]}
        for each in validation["expectations"]
    ]
    return {**validation, "expectations": bare}
