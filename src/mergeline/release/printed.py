"""The ledger as people read it on a terminal: tables and short lines, every foreign text made harmless."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence

from mergeline.release.dora import Figure, FourKeys
from mergeline.release.evidence import Evidence, Judgement
from mergeline.release.ledger import Entry, Event, Kind
from mergeline.release.lineage import Graph, NodeKind
from mergeline.report.escape import clean
from mergeline.report.wording import NOTHING, metric_label
from mergeline.report.wording import figure as shown

SHORT = 12
HEADER = ("model", "status", "production", "staging", "verdict", "metric", "tags", "image")
DAY = dt.timedelta(days=1)
HOUR = dt.timedelta(hours=1)


def table(entries: Sequence[Entry]) -> str:
    """Return one line for each release; `since` stands before the day from which it serves an environment now."""
    rows = [HEADER, *(tuple(_row(entry)) for entry in entries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _row(entry: Entry) -> Iterator[str]:
    evidence = entry.evidence
    yield entry.model[:SHORT]
    yield str(entry.status)
    for environment in ("production", "staging"):
        event = entry.newest(environment)
        serves = entry.environments.get(environment) == environment
        yield f"{'since ' if serves else ''}{event.deployment.deployed_at:%Y-%m-%d}" if event else NOTHING
    yield evidence.judgement.verdict if evidence and evidence.judgement else NOTHING
    yield _metric(*evidence.headline) if evidence and evidence.headline else NOTHING
    yield ", ".join(clean(tag, 40) for tag in entry.tags) or NOTHING
    yield entry.release.image.rpartition(":")[2][:SHORT] if entry.release.image else NOTHING


def _metric(name: str, value: float) -> str:
    return f"{clean(metric_label(name), 40)} {shown(value)}"


def release(entry: Entry, graph: Graph) -> str:
    """Return one release and its lineage."""
    lines = [f"model       {entry.model}", f"status      {entry.status}"]
    lines += [f"tags        {', '.join(clean(tag, 100) for tag in entry.tags)}"] if entry.tags else []
    lines += [f"store       {clean(entry.release.store)}", f"image       {entry.release.image or 'none'}"]
    lines += [f"{node.kind.value:<10}  {node.label}" for node in graph.nodes if node.kind in _SOURCES]
    lines += _evidence(entry.evidence)
    lines += [f"{'deployment':<10}  {node.label}" for node in graph.nodes if node.kind is NodeKind.DEPLOYMENT]
    return "\n".join(lines)


_SOURCES = (NodeKind.DATA, NodeKind.PARAMETERS, NodeKind.CODE)


def _evidence(evidence: Evidence | None) -> Iterator[str]:
    if evidence is None:
        yield "evidence    no commit of this branch brought its receipt"
        return
    judged = evidence.judgement
    yield f"receipt     brought by commit {evidence.commit[:SHORT]}"
    yield f"verdict     {_verdict(judged)}"
    if judged is not None:
        yield f"gates       {gates(judged)}"
    if evidence.metrics:
        yield f"metrics     {', '.join(_metric(*each) for each in evidence.metrics.items())}"


def _verdict(judged: Judgement | None) -> str:
    return f"{judged.verdict}: {judged.sentence}" if judged else "no verdict on this model is on record"


def gates(judged: Judgement) -> str:
    """Return how many gates came out how, and which failed."""
    counted = ", ".join(f"{number} {outcome}" for outcome, number in judged.gates.items()) or "none on record"
    return f"{counted} ({', '.join(judged.failed)})" if judged.failed else counted


# ---- Audit -----------------------------------------------------------------------------------------------------------


def audit(events: Sequence[tuple[Event, Evidence | None]]) -> str:
    """Return who did what, when and on which evidence, in the order given."""
    return "\n\n".join("\n".join(_audited(event, evidence)) for event, evidence in events)


def _audited(event: Event, evidence: Evidence | None) -> Iterator[str]:
    deployment = event.deployment
    yield f"{deployment.deployed_at:%Y-%m-%d %H:%M %z}  {deployment.environment}: {_said(event)}"
    yield f"  by       {clean(deployment.author, 100)} <{clean(deployment.email, 100)}>"
    yield f"  commit   {deployment.commit[:SHORT]} {clean(deployment.subject, 120)}"
    if event.failed:
        yield f"  undoes   {', '.join(each.commit[:SHORT] for each in event.failed)}"
    if event.kind is Kind.WITHDREW:
        return
    if evidence is None:
        yield "  evidence no commit of this branch brought its receipt"
        return
    judged = evidence.judgement
    yield f"  verdict  {_verdict(judged)}"
    yield f"  gates    {gates(judged) if judged else 'none on record'}"
    yield f"  receipt  {str(deployment.release.receipt_sha256)[:SHORT]}, brought by commit {evidence.commit[:SHORT]}"


def _said(event: Event) -> str:
    """What happened, from which model to which."""
    before, after = (_named(each.model_sha256) for each in (event.before, event.deployment.release))
    return {
        Kind.PROMOTED: f"promoted {after}, before it {before}",
        Kind.RENEWED: f"renewed {after}, with another image, store or receipt",
        Kind.TOOK_BACK: f"took back {before}, to {after}",
        Kind.WITHDREW: f"withdrew {before}, to {after}",
    }[event.kind]


def _named(model: str | None) -> str:
    return model[:SHORT] if model else "no release"


# ---- The four keys ---------------------------------------------------------------------------------------------------


def four_keys(keys: FourKeys, ref: str) -> str:
    """Return the four keys, each with the number that it is made of."""
    since = f"{keys.since:%Y-%m-%d}" if keys.since else "the beginning"
    rate = f"{keys.per_week:.2g} a week" if keys.per_week is not None else "no rate from less than a week"
    without = "".join(f"; {number} without: {reason}" for reason, number in keys.without.items())
    frequency = f"{rate}, median {_figure(keys.between)} between two" if keys.deployments else NOTHING
    failure = NOTHING if keys.failure_rate is None else f"{keys.failure_rate:.1%}"
    return "\n".join(
        (
            f"production on {clean(ref, 100)}, {since} to {keys.until:%Y-%m-%d}",
            f"deployment frequency   {frequency} (n = {keys.deployments})",
            f"lead time for changes  {_figure(keys.lead_time)} (n = {keys.lead_time.n}{without})",
            f"change failure rate    {failure} ({keys.failed} of {keys.deployments} taken back)",
            f"time to restore        {_figure(keys.restore)} (n = {keys.restore.n})",
        )
    )


def _figure(figure: Figure) -> str:
    return NOTHING if figure.median is None else duration(figure.median)


def duration(taken: dt.timedelta) -> str:
    """Return a duration as people say it.

    >>> duration(dt.timedelta(hours=30)), duration(dt.timedelta(minutes=90)), duration(dt.timedelta(seconds=45))
    ('30.0 hours', '90 minutes', '45 seconds')
    """
    seconds = taken.total_seconds()
    if taken >= 2 * DAY:
        return f"{taken / DAY:.1f} days"
    if taken >= 2 * HOUR:
        return f"{taken / HOUR:.1f} hours"
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"
