"""Where a release comes from and where it went, as a chain that a phone shows as a column."""

from __future__ import annotations

from mergeline.release.lineage import Graph, NodeKind
from mergeline.report.escape import page

STEPS = {
    NodeKind.DATA: "Data",
    NodeKind.PARAMETERS: "Settings",
    NodeKind.CODE: "Code",
    NodeKind.MODEL: "Models",
    NodeKind.EVALUATION: "Verdict",
    NodeKind.RELEASE: "Release",
    NodeKind.DEPLOYMENT: "Deployments",
}


def lineage(graph: Graph) -> str:
    """Return the steps that there is something on record of, in the order in which a release comes about."""
    steps = []
    for kind, name in STEPS.items():
        labels = [page(node.label) for node in graph.nodes if node.kind is kind]
        if labels:
            listed = "".join(f"<li>{label}</li>" for label in labels)
            steps.append(f"<li><h3>{name}</h3><ul>{listed}</ul></li>")
    return f'<ol class="chain">{"".join(steps)}</ol>'
