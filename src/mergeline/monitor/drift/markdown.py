"""A window's record as Markdown, for an issue or a summary of a workflow."""

from __future__ import annotations

from collections.abc import Iterable

from mergeline.monitor.drift.record import DriftRecord, FeatureDrift, Outcome
from mergeline.monitor.drift.wording import TITLES, drifted, notes, p_value, ranked, title
from mergeline.report.escape import code, prose
from mergeline.report.wording import figure, share

SHOWN = 12


def markdown(record: DriftRecord) -> str:
    """Return the record as Markdown; the columns that moved the most come first, the others are folded."""
    parts = [f"## {title(record)}", prose(record.sentence, 500)]
    columns = ranked(record)
    if columns:
        parts.append(_table(columns[:SHOWN]))
    if columns[SHOWN:]:
        folded = f"<details><summary>{len(columns) - SHOWN} more columns</summary>"
        parts += [folded, _table(columns[SHOWN:]), "</details>"]
    said = notes(record)
    if said:
        parts.append("\n".join(f"- {prose(each, 500)}" for each in said))
    if record.outcome in (Outcome.NONE, Outcome.DRIFT):
        parts.append(f"<sub>Release {code(record.model_sha256[:12])}; docs/drift.md says how to read this.</sub>")
    return "\n\n".join(parts) + "\n"


def _table(columns: Iterable[FeatureDrift]) -> str:
    head = f"| {' | '.join(TITLES)} |\n|---|---|---|---|---|---|---|---|"
    return "\n".join([head, *map(_row, columns)])


def _row(each: FeatureDrift) -> str:
    cells = [
        code(each.name),
        f"**{drifted(each)}**" if each.drifted else drifted(each),
        share(each.effect),
        p_value(each.p_corrected),
        figure(each.psi, 3),
        f"{share(each.missing_then)} → {share(each.missing_now)}",
        "–" if each.importance is None else share(each.importance),
        f"{each.windows_drifted}{' (sustained)' if each.sustained else ''}",
    ]
    return f"| {' | '.join(cells)} |"
