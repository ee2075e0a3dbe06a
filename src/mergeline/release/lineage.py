"""Where a release comes from and where it went: data, parameters, code, model, verdict, release, deployments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from mergeline.release.dora import training_commit
from mergeline.release.evidence import Evidence
from mergeline.release.ledger import Entry, Event, Ledger
from mergeline.report.escape import clean

SHORT = 12
_PLAIN = frozenset(" .,()/+_=")  # in a label of Mermaid these mean themselves, as letters and digits do


class NodeKind(StrEnum):
    """What a node is."""

    DATA = "data"
    PARAMETERS = "parameters"
    CODE = "code"
    MODEL = "model"
    EVALUATION = "evaluation"
    RELEASE = "release"
    DEPLOYMENT = "deployment"


@dataclass(frozen=True, slots=True)
class Node:
    """A thing of the lineage: its id, unique in the graph, how people call it, and all that is known of it."""

    id: str
    kind: NodeKind
    label: str
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Edge:
    """That one thing went into another, and how."""

    start: str
    end: str
    says: str


@dataclass(frozen=True, slots=True)
class Graph:
    """The lineage of one release. Every edge is between two of its nodes."""

    model_sha256: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def as_dict(self) -> dict[str, Any]:
        """One record for tools."""
        return {
            "release": self.model_sha256,
            "nodes": [
                {"id": node.id, "kind": str(node.kind), "label": node.label, **node.facts} for node in self.nodes
            ],
            "edges": [{"from": edge.start, "to": edge.end, "says": edge.says} for edge in self.edges],
        }


def lineage_of(entry: Entry, ledger: Ledger) -> Graph:
    """Return the lineage of a release; what the branch has no record of is left out, and nothing is guessed."""
    model = f"model:{entry.model}"
    release = f"release:{entry.release.receipt_sha256}"
    evaluation = f"evaluation:{entry.evidence.receipt.evaluation_sha256}" if entry.evidence else None
    sources = tuple(_sources(entry, ledger))
    deployments = tuple(_deployment(event) for event in entry.events)
    judged = (_evaluation(evaluation, entry.evidence),) if evaluation and entry.evidence else ()
    champion = tuple(_champion(entry))
    nodes = (*sources, _model(model, entry), *champion, *judged, _release(release, entry), *deployments)
    edges = [Edge(node.id, model, _WENT_IN[node.kind]) for node in sources]
    if evaluation:
        edges += [Edge(model, evaluation, "judged on the holdout")]
        edges += [Edge(node.id, evaluation, "compared with") for node in champion]
        edges += [Edge(evaluation, release, "let through")]
    edges += [Edge(model, release, "released as")]
    edges += [Edge(release, node.id, "deployed") for node in deployments]
    return Graph(entry.model, nodes, tuple(edges))


_WENT_IN = {NodeKind.DATA: "trained on", NodeKind.PARAMETERS: "set by", NodeKind.CODE: "made by"}


def _sources(entry: Entry, ledger: Ledger) -> Iterator[Node]:
    evidence = entry.evidence
    if evidence is not None:
        for name, md5 in evidence.receipt.data.items():
            facts = {"name": clean(name), "md5": None if md5 == "none" else md5}
            yield Node(f"data:{clean(name)}", NodeKind.DATA, f"data {clean(name, 60)}, MD5 {md5[:SHORT]}", facts)
        if evidence.params_sha256:
            facts = {"file": "params.yaml", "sha256": evidence.params_sha256, "commit": evidence.commit}
            label = f"params.yaml {evidence.params_sha256[:SHORT]}"
            yield Node("parameters:params.yaml", NodeKind.PARAMETERS, label, facts)
    commit = next((found for event in entry.events if (found := training_commit(event, ledger))), None)
    if commit is not None:
        written = ledger.authored.get(commit)
        facts = {"commit": commit, "authored_at": written.isoformat() if written else None}
        gone = "" if written else ", which is not in this clone"  # of a branch that was squashed and deleted
        but = ", not all of it committed" if commit.endswith("-dirty") else gone
        yield Node(f"code:{commit}", NodeKind.CODE, f"code at {commit[:SHORT]}{but}", facts)


def _model(name: str, entry: Entry) -> Node:
    files = entry.evidence.receipt.model.files if entry.evidence else ()
    listed = [{"name": file.name, "sha256": file.sha256, "size": file.size} for file in files]
    return Node(name, NodeKind.MODEL, f"model {entry.model[:SHORT]}", {"sha256": entry.model, "files": listed or None})


def _champion(entry: Entry) -> Iterator[Node]:
    champion = entry.evidence.receipt.champion_sha256 if entry.evidence else None
    if champion is not None and champion != entry.model:
        yield Node(
            f"model:{champion}", NodeKind.MODEL, f"champion {champion[:SHORT]}", {"sha256": champion, "files": None}
        )


def _evaluation(name: str, evidence: Evidence) -> Node:
    judged = evidence.judgement
    facts = {
        "sha256": evidence.receipt.evaluation_sha256,
        "metrics": {clean(metric, 60): value for metric, value in evidence.metrics.items()},
        "verdict": judged.verdict if judged else None,
        "sentence": judged.sentence if judged else None,
        "gates": dict(judged.gates) if judged else None,
    }
    label = f"verdict {judged.verdict}: {clean(judged.sentence, 120)}" if judged else "evaluation, no verdict on record"
    return Node(name, NodeKind.EVALUATION, label, facts)


def _release(name: str, entry: Entry) -> Node:
    release = entry.release
    facts = {
        "receipt_sha256": release.receipt_sha256,
        "recorded_in": entry.evidence.commit if entry.evidence else None,
        "store": clean(release.store),
        "image": release.image,
        "status": str(entry.status),
        "tags": [clean(tag, 100) for tag in entry.tags],
    }
    image = f", image {release.image.rpartition(':')[2][:SHORT]}" if release.image else ""
    return Node(name, NodeKind.RELEASE, f"release {str(release.receipt_sha256)[:SHORT]}{image}", facts)


def _deployment(event: Event) -> Node:
    deployment = event.deployment
    facts = {
        "environment": deployment.environment,
        "commit": deployment.commit,
        "at": deployment.deployed_at.isoformat(),
        "what": str(event.kind),
        "author": clean(deployment.author, 100),
        "email": clean(deployment.email, 100),
    }
    label = (
        f"{deployment.environment} on {deployment.deployed_at:%Y-%m-%d}, {event.kind}"
        f" by {clean(deployment.author, 60)} in {deployment.commit[:SHORT]}"
    )
    return Node(f"deployment:{deployment.environment}:{deployment.commit}", NodeKind.DEPLOYMENT, label, facts)


# ---- As a picture ----------------------------------------------------------------------------------------------------


def mermaid(graph: Graph) -> str:
    """Return the flowchart that GitHub draws, in a `.mmd` file or a block of Markdown."""
    names = {node.id: f"n{number}" for number, node in enumerate(graph.nodes)}
    lines = ["flowchart LR"]
    lines += [f'  {names[node.id]}["{_label(node.label)}"]' for node in graph.nodes]
    lines += [f'  {names[edge.start]} -->|"{_label(edge.says)}"| {names[edge.end]}' for edge in graph.edges]
    return "\n".join(lines)


def _label(text: str) -> str:
    """A text in which no character means anything to Mermaid, HTML or Markdown."""
    return "".join(
        letter if letter in _PLAIN or letter.isalnum() else f"#{ord(letter)};" for letter in clean(text, 240)
    )
