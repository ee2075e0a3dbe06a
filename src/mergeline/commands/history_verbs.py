"""The verbs that read a branch's releases: `releases`, `lineage`, `audit` and `dora`. None of them writes anything."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mergeline.errors import ConfigurationError
from mergeline.release import printed
from mergeline.release.branch import read_ledger
from mergeline.release.dora import Figure, four_keys
from mergeline.release.evidence import Evidence
from mergeline.release.ledger import Entry, Event, Ledger, entries_of, find
from mergeline.release.lineage import lineage_of, mermaid
from mergeline.release.openlineage import run_events
from mergeline.release.selection import Selection
from mergeline.report.escape import clean

MOST_DAYS = 36_500


def releases(root: Path, ref: str | None, selection: Selection, *, as_json: bool) -> str:
    """Return every release that staging or production ever served and that was selected, the newest first."""
    entries = entries_of(read_ledger(root, ref))
    selected = selection.select(entries)
    if as_json:
        return _json([_entry(each) for each in selected])
    if not selected:
        return "no release fits" if entries else "no release yet"
    return printed.table(selected)


def release(root: Path, ref: str | None, wanted: str, *, as_json: bool) -> str:
    """Return one release with its lineage; `wanted` is the beginning of its model's SHA-256 or of a commit."""
    ledger = read_ledger(root, ref)
    entry = find(entries_of(ledger), wanted)
    graph = lineage_of(entry, ledger)
    return _json({**_entry(entry), "lineage": graph.as_dict()}) if as_json else printed.release(entry, graph)


def lineage(root: Path, ref: str | None, wanted: str | None, form: str, namespace: str) -> str:
    """Return the lineage of a release, by default the one that serves: as JSON, Mermaid or OpenLineage's events."""
    if namespace != clean(namespace, 200) or not namespace:
        raise ConfigurationError(f"--namespace: expected one line of visible characters, found {namespace!a}")
    ledger = read_ledger(root, ref)
    entry = find(entries_of(ledger), wanted)
    if form == "openlineage":
        return "\n".join(json.dumps(each, allow_nan=False) for each in run_events(entry, ledger, namespace))
    graph = lineage_of(entry, ledger)
    return mermaid(graph) if form == "mermaid" else _json(graph.as_dict())


def audit(root: Path, ref: str | None, since: dt.date | None, *, as_json: bool) -> str:
    """Return who promoted or took back what, when and on which evidence, the newest first.

    `since` is the first day, in UTC, that is looked at.
    """
    ledger = read_ledger(root, ref)
    start = dt.datetime.combine(since, dt.time(), dt.UTC) if since else None
    events = [
        (each, ledger.evidence_of(each.deployment.release))
        for each in reversed(ledger.events)
        if start is None or each.deployment.deployed_at >= start
    ]
    if as_json:
        return _json([_audited(event, evidence) for event, evidence in events])
    return printed.audit(events) or f"nothing was promoted or taken back{f' since {since}' if since else ''}"


def dora(root: Path, ref: str | None, days: int | None, now: dt.datetime, *, as_json: bool) -> str:
    """Return the four keys of production, of all its history or of the last `days`."""
    if days is not None and not 1 <= days <= MOST_DAYS:
        raise ConfigurationError(f"--days: expected 1 to {MOST_DAYS}, found {days}")
    ledger = read_ledger(root, ref)
    keys = four_keys(ledger, now, days)
    if not as_json:
        return printed.four_keys(keys, ledger.ref)
    return _json(
        {
            **_of(ledger),
            "since": keys.since.isoformat() if keys.since else None,
            "until": keys.until.isoformat(),
            "deployment_frequency": {
                "n": keys.deployments,
                "per_week": keys.per_week,
                "between": _figure(keys.between),
            },
            "lead_time": {**_figure(keys.lead_time), "without": {str(why): n for why, n in keys.without.items()}},
            "change_failure_rate": {"rate": keys.failure_rate, "failed": keys.failed, "n": keys.deployments},
            "time_to_restore": {**_figure(keys.restore), "recoveries": keys.recoveries},
        }
    )


# ---- As records ------------------------------------------------------------------------------------------------------


def _json(record: object) -> str:
    return json.dumps(record, indent=2, allow_nan=False)


def _of(ledger: Ledger) -> dict[str, Any]:
    return {"ref": clean(ledger.ref, 100), "commit": ledger.commit}


def _figure(figure: Figure) -> dict[str, Any]:
    return {"median_s": figure.median.total_seconds() if figure.median is not None else None, "n": figure.n}


def _entry(entry: Entry) -> dict[str, Any]:
    evidence = entry.evidence
    return {
        "model_sha256": entry.model,
        "status": str(entry.status),
        "environments": {name: str(status) for name, status in entry.environments.items()},
        "tags": [clean(tag, 100) for tag in entry.tags],
        "image": entry.release.image,
        "store": clean(entry.release.store),
        "receipt_sha256": entry.release.receipt_sha256,
        "evidence": _evidence(evidence),
        "deployments": [
            {
                "environment": each.deployment.environment,
                "commit": each.deployment.commit,
                "at": each.deployment.deployed_at.isoformat(),
                "what": str(each.kind),
            }
            for each in entry.events
        ],
    }


def _evidence(evidence: Evidence | None) -> dict[str, Any] | None:
    if evidence is None:
        return None
    judged = evidence.judgement
    return {
        "commit": evidence.commit,
        "verdict": judged.verdict if judged else None,
        "sentence": judged.sentence if judged else None,
        "gates": dict(judged.gates) if judged else None,
        "failed_gates": list(judged.failed) if judged else None,
        "metrics": {clean(name, 60): value for name, value in evidence.metrics.items()},
    }


def _audited(event: Event, evidence: Evidence | None) -> dict[str, Any]:
    deployment = event.deployment
    return {
        "at": deployment.deployed_at.isoformat(),
        "environment": deployment.environment,
        "what": str(event.kind),
        "from": event.before.model_sha256,
        "to": deployment.release.model_sha256,
        "author": clean(deployment.author, 100),
        "email": clean(deployment.email, 100),
        "commit": deployment.commit,
        "subject": clean(deployment.subject, 200),
        "took_back": _commits(event),
        "receipt_sha256": deployment.release.receipt_sha256,
        "evidence": _evidence(evidence),
    }


def _commits(event: Event) -> Sequence[str]:
    return [each.commit for each in event.failed]
