"""The lineage as OpenLineage events, so that a catalogue which speaks it can draw the release beside everything else.

The events are those of the specification 2-0-2 (https://openlineage.io/spec/2-0-2/OpenLineage.json). Git knows when
a result came onto the branch, not how long the run took: a run starts and completes in that moment.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from typing import Any

from mergeline import __version__
from mergeline.release.dora import training_commit
from mergeline.release.evidence import Evidence
from mergeline.release.ledger import Entry, Event, Kind, Ledger
from mergeline.report.escape import clean

SPEC = "https://openlineage.io/spec/2-0-2/OpenLineage.json"
VERSION_FACET = "https://openlineage.io/spec/facets/1-0-1/DatasetVersionDatasetFacet.json"
PRODUCER = f"https://mergeline.dev/mergeline/{__version__}"
RUNS = uuid.uuid5(uuid.NAMESPACE_URL, "https://mergeline.dev/runs")
STATES = ("START", "COMPLETE")
JOBS = {Kind.TOOK_BACK: "roll-back-to"}


def run_events(entry: Entry, ledger: Ledger, namespace: str) -> Iterator[dict[str, Any]]:
    """Yield the events of a release, the oldest run first: `train`, then each of its deployments.

    `namespace` is that of the jobs and of the files of the repository. The same release gives the same run ids.
    """
    model = _model(entry)
    if entry.evidence is not None:
        evidence = entry.evidence
        yield from _run(
            f"train:{evidence.receipt.model.sha256}:{entry.release.receipt_sha256}",
            _job(namespace, "train"),
            _recorded_at(entry, ledger),
            inputs=list(_inputs(evidence, namespace)),
            outputs=[model],
            facts=_training(entry, evidence, ledger),
        )
    staged = _dataset(namespace, "k8s/overlays/staging/release.yaml", str(entry.release.receipt_sha256))
    for event in entry.events:
        environment, commit = event.deployment.environment, event.deployment.commit
        came_from = [staged] if environment == "production" and event.kind is not Kind.TOOK_BACK else []
        yield from _run(
            f"deploy:{environment}:{commit}",
            _job(namespace, f"{JOBS.get(event.kind, 'promote-to')}-{environment}"),
            event.deployment.deployed_at,
            inputs=[model, *came_from],
            outputs=[
                _dataset(namespace, f"k8s/overlays/{environment}/release.yaml", str(entry.release.receipt_sha256))
            ],
            facts=_deployed(entry, event),
        )


def _run(
    key: str,
    job: dict[str, Any],
    at: dt.datetime,
    *,
    inputs: list[dict[str, Any]],
    outputs: list[dict[str, Any]],
    facts: dict[str, Any],
) -> Iterator[dict[str, Any]]:
    facet = {"_producer": PRODUCER, "_schemaURL": f"{SPEC}#/$defs/RunFacet", **facts}
    for state in STATES:
        yield {
            "eventType": state,
            "eventTime": at.isoformat(),
            "producer": PRODUCER,
            "schemaURL": f"{SPEC}#/$defs/RunEvent",
            "run": {"runId": str(uuid.uuid5(RUNS, key)), "facets": {"mergeline_evidence": facet}},
            "job": job,
            "inputs": inputs,
            "outputs": outputs,
        }


def _recorded_at(entry: Entry, ledger: Ledger) -> dt.datetime:
    """When the commit that brought the receipt was written; where this is not known, when it was first deployed."""
    written = ledger.authored.get(entry.evidence.commit) if entry.evidence else None
    return written or entry.events[0].deployment.deployed_at


def _job(namespace: str, name: str) -> dict[str, Any]:
    return {"namespace": namespace, "name": name}


def _inputs(evidence: Evidence, namespace: str) -> Iterator[dict[str, Any]]:
    for name, md5 in evidence.receipt.data.items():
        yield _dataset(namespace, clean(name), None if md5 == "none" else md5)
    if evidence.params_sha256:
        yield _dataset(namespace, "params.yaml", evidence.params_sha256)


def _model(entry: Entry) -> dict[str, Any]:
    """The model in its store; one on S3 is named as OpenLineage names objects there, by bucket and key."""
    store = clean(entry.release.store, 1024)
    if store.startswith("s3://"):
        bucket, _, prefix = store.removeprefix("s3://").partition("/")
        return _dataset(f"s3://{bucket}", f"{prefix.strip('/')}/sha256/{entry.model}".lstrip("/"), entry.model)
    return _dataset("file", f"{store.removeprefix('file://').rstrip('/')}/sha256/{entry.model}", entry.model)


def _dataset(namespace: str, name: str, version: str | None) -> dict[str, Any]:
    facet = {"_producer": PRODUCER, "_schemaURL": f"{VERSION_FACET}#/$defs/DatasetVersionDatasetFacet"}
    facets = {"version": {**facet, "datasetVersion": version}} if version else {}
    return {"namespace": namespace, "name": name, "facets": facets}


def _training(entry: Entry, evidence: Evidence, ledger: Ledger) -> dict[str, Any]:
    judged = evidence.judgement
    return {
        "trainingCommit": training_commit(entry.events[0], ledger),
        "recordedIn": evidence.commit,
        "verdict": judged.verdict if judged else None,
        "sentence": judged.sentence if judged else None,
        "metrics": {clean(name, 60): value for name, value in evidence.metrics.items()},
    }


def _deployed(entry: Entry, event: Event) -> dict[str, Any]:
    return {
        "commit": event.deployment.commit,
        "author": clean(event.deployment.author, 100),
        "what": str(event.kind),
        "modelSha256": entry.model,
        "receiptSha256": entry.release.receipt_sha256,
        "image": entry.release.image,
    }
