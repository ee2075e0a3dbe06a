"""How the reports of drift put things."""

from __future__ import annotations

from collections.abc import Iterator

from mergeline.monitor.drift.record import DriftRecord, FeatureDrift, Outcome
from mergeline.report.wording import share

TITLES = (
    "column",
    "drifted",
    "rows elsewhere",
    "p, corrected",
    "PSI",
    "missing, then → now",
    "importance",
    "windows",
)
LEAST_P = 1e-6
NAMED = 3


def title(record: DriftRecord) -> str:
    """Return the outcome in a few words.

    >>> from mergeline.monitor.drift.wording import OUTCOMES
    >>> OUTCOMES[Outcome.NO_DATA]
    'No traffic'
    """
    if record.outcome is Outcome.DRIFT:
        return f"{'Sustained d' if record.sustained else 'D'}rift, {record.severity}"
    return OUTCOMES[record.outcome]


OUTCOMES = {
    Outcome.NONE: "No drift that matters",
    Outcome.DRIFT: "Drift",
    Outcome.TOO_FEW_ROWS: "Too few rows",
    Outcome.NO_DATA: "No traffic",
}


def ranked(record: DriftRecord) -> list[FeatureDrift]:
    """Return the columns: those that drifted and matter first, each kind by how far it moved."""
    return sorted(
        record.features, key=lambda each: (not (each.drifted and each.matters), not each.drifted, -each.effect)
    )


def drifted(each: FeatureDrift) -> str:
    """Return whether a column drifted, in a word or two."""
    if each.drifted:
        return str(each.severity)
    return "no" if each.resolved else "not resolved"


def unjudged(record: DriftRecord) -> str:
    """Return the end of a sentence that names the columns that matter and could not be judged; empty where none is."""
    found = [each.name for each in record.unresolved if each.matters]
    if not found:
        return ""
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    seen = ", and all columns together can be told from training rows" if _told_apart(record) else ""
    columns = f"{len(found)} column{'s' * (len(found) > 1)}"
    return f"; {columns} could not be judged: {', '.join(found[:NAMED])}{more}{seen}"


def p_value(value: float) -> str:
    """Return a p-value as people read it.

    >>> p_value(0.0312), p_value(1e-30)
    ('0.031', '<1e-06')
    """
    return f"<{LEAST_P:g}" if value < LEAST_P else f"{value:.2g}"


def notes(record: DriftRecord) -> list[str]:
    """Return what a reader has to know beside the figures; nothing where there is nothing."""
    return list(_notes(record))


def _notes(record: DriftRecord) -> Iterator[str]:
    for change in record.schema_changes:
        yield f"Schema change: {change}; left out."
    for other in record.other_releases:
        yield (
            f"Release change: {other.rows:,} rows of {other.model_sha256[:12]}, from {other.first} to {other.last},"
            " are not in these figures."
        )
    apart = record.apart
    for rows, said in (
        (apart.duplicates, "stood in the log more than once and are counted once"),
        (apart.late, "of earlier windows came after those were checked, and are in no figure"),
        (apart.ahead, "have a time in the future, or too far after their request: see to the clocks; in no figure"),
        (apart.behind, "have a time too far before their request: see to the clocks; in no figure"),
        (apart.challengers, "of challengers and shadows are not in these figures"),
        (record.unscored, "have no score: the model failed on them"),
    ):
        if rows:
            yield f"{rows:,} rows {said}."
    if len(record.sampling) > 1 or any(each.rate < 1 for each in record.sampling):
        rates = ", ".join(f"{each.rows:,} at {each.rate:g}" for each in record.sampling)
        yield f"The log is a sample, each row weighted by its rate: {rates}."
    for each in record.unresolved:
        yield (
            f"{each.name} is not resolved: its values lie closer together than the check can tell apart, so that it"
            " may have moved unseen; docs/drift.md says what to do."
        )
    if record.features:
        yield _classifier(record)
        if not record.importance_known:
            yield "The release records no importances: every feature counts."
        else:
            yield f"Features that moved hold {share(record.weighted)} of the model's importance."


def _classifier(record: DriftRecord) -> str:
    found = record.classifier
    if found.auc is None:
        return f"All columns together: no figure ({found.reason})."
    told = "can be told from" if _told_apart(record) else "cannot be told from"
    return (
        f"All columns together: rows of this window {told} training rows (AUC {found.auc:.3f}; 0.5 is chance,"
        f" {found.bound:.3f} its limit, {found.rows:,} rows a side)."
    )


def _told_apart(record: DriftRecord) -> bool:
    found = record.classifier
    return found.auc is not None and found.auc > (found.bound or 1.0)
