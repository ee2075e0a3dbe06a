"""The lineage of a release: as a record, as a picture that no text breaks out of, as events that OpenLineage takes."""

from __future__ import annotations

import copy
import datetime as dt
import html
import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_ledger import START, deployed, evidence_of, ledger_of, release_of

from mergeline.release import printed
from mergeline.release.evidence import Evidence, Judgement
from mergeline.release.ledger import Entry, Ledger, entries_of, events_of
from mergeline.release.lineage import Graph, lineage_of, mermaid
from mergeline.release.openlineage import run_events
from mergeline.report.escape import clean

TRAINED = START - dt.timedelta(days=2)
RECORDED = START - dt.timedelta(days=1)


def whole(author: str = "a person", data: str = "data", sentence: str = "better by 0.01") -> Ledger:
    """A release with all that there can be: staged, promoted, left, and taken back to."""
    evidence = evidence_of(1, roc_auc=0.7)
    judged = Judgement("promote", clean(sentence), "roc_auc", {"passed": 3}, ())
    receipt = replace(evidence.receipt, data={data: "1" * 32 + ".dir"}, champion_sha256="cc" * 32)
    line = [replace(each, author=author) for each in deployed([1, 2, 1], first=1)]
    return replace(
        ledger_of([]),
        events=events_of(deployed([1], "staging")) + events_of(line),
        evidence={str(release_of(1).receipt_sha256): Evidence("1" * 40, receipt, "aa" * 32, {"roc_auc": 0.7}, judged)},
        authored={"e" * 40: TRAINED, "1" * 40: RECORDED},
    )


def entry_of(ledger: Ledger, number: int = 1) -> Entry:
    return next(each for each in entries_of(ledger) if each.release == release_of(number))


def graph_of(ledger: Ledger, number: int = 1) -> Graph:
    return lineage_of(entry_of(ledger, number), ledger)


# ---- The record ------------------------------------------------------------------------------------------------------


def test_the_lineage_leads_from_data_parameters_and_code_to_each_deployment() -> None:
    graph = graph_of(whole())
    kinds = [str(node.kind) for node in graph.nodes]
    assert kinds == [
        *("data", "parameters", "code", "model", "model", "evaluation", "release"),
        *("deployment", "deployment", "deployment"),
    ]
    record = graph.as_dict()
    assert {(edge["from"].partition(":")[0], edge["to"].partition(":")[0]) for edge in record["edges"]} == {
        ("data", "model"),
        ("parameters", "model"),
        ("code", "model"),
        ("model", "evaluation"),
        ("evaluation", "release"),
        ("model", "release"),
        ("release", "deployment"),
    }
    nodes = {node["kind"]: node for node in reversed(record["nodes"])}
    assert nodes["data"]["md5"] == "1" * 32 + ".dir"
    assert (nodes["parameters"]["file"], nodes["parameters"]["sha256"]) == ("params.yaml", "aa" * 32)
    assert (nodes["code"]["commit"], nodes["code"]["authored_at"]) == ("e" * 40, TRAINED.isoformat())
    assert nodes["model"]["files"] == [{"name": "model.onnx", "sha256": "ab" * 32, "size": 7}]
    assert (nodes["evaluation"]["verdict"], nodes["evaluation"]["gates"]) == ("promote", {"passed": 3})
    assert nodes["release"]["store"] == "s3://models"
    assert [node["what"] for node in record["nodes"] if node["kind"] == "deployment"] == [
        *("promoted", "promoted", "took back"),
    ]
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_what_the_branch_has_no_record_of_is_left_out_and_not_guessed() -> None:
    graph = graph_of(whole(), 2)
    assert [str(node.kind) for node in graph.nodes] == ["model", "release", "deployment"]
    assert "no commit of this branch brought its receipt" in printed.release(entry_of(whole(), 2), graph)


@pytest.mark.parametrize("number", [1, 2])
def test_ids_are_unique_and_edges_lie_between_nodes(number: int) -> None:
    graph = graph_of(whole(), number)
    ids = [node.id for node in graph.nodes]
    assert len(set(ids)) == len(ids)
    assert {end for edge in graph.edges for end in (edge.start, edge.end)} == set(ids)


def test_a_person_reads_where_it_comes_from_and_where_it_went() -> None:
    said = printed.release(entry_of(whole()), graph_of(whole()))
    for expected in (
        "model       " + "01" * 32,
        "status      production",
        "data        data data, MD5 111111111111",
        "verdict     promote: better by 0.01",
        "gates       3 passed",
        "metrics     ROC AUC 0.7",
        "deployment  production on 2026-01-08, took back by a person in 00000003",
    ):
        assert expected in said


# ---- The picture -----------------------------------------------------------------------------------------------------

NODE = re.compile(r'  n\d+\["([^"]*)"\]')
EDGE = re.compile(r'  n\d+ -->\|"([^"]*)"\| n\d+')
ENTITY = re.compile(r"#(\d+);")


def labels(picture: str) -> list[str]:
    """The labels of a flowchart as Mermaid decodes them; fails for any line that is no node and no edge."""
    first, *lines = picture.split("\n")
    assert first == "flowchart LR"
    found = [NODE.fullmatch(line) or EDGE.fullmatch(line) for line in lines]
    assert None not in found, picture
    texts = [each[1] for each in found if each]
    for text in texts:
        plain = ENTITY.sub("", text)
        assert all(letter.isalnum() or letter in " .,()/+_=" for letter in plain), text
    return [ENTITY.sub(lambda code: chr(int(code[1])), text) for text in texts]


def test_the_picture_has_each_node_and_edge_once() -> None:
    graph = graph_of(whole())
    found = labels(mermaid(graph))
    assert found == [node.label for node in graph.nodes] + [edge.says for edge in graph.edges]
    assert "verdict promote: better by 0.01" in found


ODD = [
    'x"] --> n0[',
    "a\n  n9[planted]",
    "```\n<script>alert(1)</script>",
    "#quot;] --> n0",
    "%%{init: {'theme': 'dark'}}%%",
    "`markdown` **bold** [link](javascript:alert(1))",
    "\u202egnp.exe\u200b",
    "end\r\nsubgraph x",
    'click n0 href "javascript:alert(1)"',
    "&#34;] & <b>",
    "a;b--c|d|e",
]


@pytest.mark.parametrize("odd", ODD)
def test_no_text_of_git_or_of_a_record_breaks_out_of_its_label(odd: str) -> None:
    graph = graph_of(whole(author=odd, data="d" + odd.split("\n", maxsplit=1)[0], sentence=odd))
    found = labels(mermaid(graph))
    assert len(found) == len(graph.nodes) + len(graph.edges)
    assert any(clean(odd, 60) in label for label in found)


@given(odd=st.text(max_size=80))
def test_no_text_at_all_breaks_out_of_its_label(odd: str) -> None:
    graph = graph_of(whole(author=odd, sentence=odd))
    assert len(labels(mermaid(graph))) == len(graph.nodes) + len(graph.edges)


@pytest.mark.parametrize("odd", ODD[:7])
def test_the_twin_a_label_that_is_only_escaped_for_html_is_seen(odd: str) -> None:
    picture = f'flowchart LR\n  n0["{html.escape(odd, quote=False)}"]'
    with pytest.raises(AssertionError):
        labels(picture)


# ---- OpenLineage -----------------------------------------------------------------------------------------------------

# What https://openlineage.io/spec/2-0-2/OpenLineage.json asks of a RunEvent, as published in August
# 2026, in our own order; its prose, and what it says of other events, is left out.
VERSION = "2-0-2"
URI = {"type": "string", "format": "uri"}
TEXT = {"type": "string"}
FACET = {
    "type": "object",
    "properties": {"_producer": URI, "_schemaURL": URI},
    "required": ["_producer", "_schemaURL"],
}
FACETS = {"type": "object", "additionalProperties": FACET}
DELETABLE = {
    "type": "object",
    "additionalProperties": {"allOf": [FACET, {"properties": {"_deleted": {"type": "boolean"}}}]},
}


def _dataset(own: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"namespace": TEXT, "name": TEXT, "facets": DELETABLE, own: FACETS},
        "required": ["namespace", "name"],
    }


RUN_EVENT = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "eventTime": {"type": "string", "format": "date-time"},
        "producer": URI,
        "schemaURL": URI,
        "eventType": {"enum": ["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"]},
        "run": {
            "type": "object",
            "properties": {"runId": {"type": "string", "format": "uuid"}, "facets": FACETS},
            "required": ["runId"],
        },
        "job": {
            "type": "object",
            "properties": {"namespace": TEXT, "name": TEXT, "facets": DELETABLE},
            "required": ["namespace", "name"],
        },
        "inputs": {"type": "array", "items": _dataset("inputFacets")},
        "outputs": {"type": "array", "items": _dataset("outputFacets")},
    },
    "required": ["eventTime", "producer", "schemaURL", "run", "job"],
}
TAKES = jsonschema_rs.validator_for(RUN_EVENT, validate_formats=True)


def events(number: int = 1, namespace: str = "flights") -> list[dict[str, Any]]:
    ledger = whole()
    return list(run_events(entry_of(ledger, number), ledger, namespace))


@pytest.mark.parametrize("number", [1, 2])
def test_openlineage_takes_every_event(number: int) -> None:
    for event in events(number):
        TAKES.validate(json.loads(json.dumps(event, allow_nan=False)))
        assert f"/{VERSION}/" in event["schemaURL"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda event: event.pop("eventTime"),
        lambda event: event.pop("schemaURL"),
        lambda event: event.pop("job"),
        lambda event: event.update(eventTime="yesterday"),
        lambda event: event.update(eventTime="2026-01-05 12:00"),
        lambda event: event.update(eventType="DONE"),
        lambda event: event.update(producer="no address"),
        lambda event: event["run"].update(runId="1"),
        lambda event: event["run"]["facets"]["mergeline_evidence"].pop("_schemaURL"),
        lambda event: event["inputs"][0].pop("namespace"),
        lambda event: event["inputs"][0]["facets"]["version"].pop("_producer"),
        lambda event: event.update(outputs=event["outputs"][0]),
    ],
)
def test_the_twin_a_spoilt_event_is_refused(spoil: Callable[[dict[str, Any]], object]) -> None:
    event = copy.deepcopy(events()[0])
    spoil(event)
    assert not TAKES.is_valid(event)


def test_a_release_has_a_run_of_its_training_and_one_of_each_deployment_each_begun_and_ended() -> None:
    found = events()
    assert [(event["job"]["name"], event["eventType"]) for event in found] == [
        (name, state)
        for name in ("train", "promote-to-staging", "promote-to-production", "roll-back-to-production")
        for state in ("START", "COMPLETE")
    ]
    assert [event["eventTime"] for event in found[::2]] == [
        each.isoformat() for each in (RECORDED, START, START + dt.timedelta(days=1), START + dt.timedelta(days=3))
    ]
    assert len({event["run"]["runId"] for event in found}) == 4
    assert all(len({event["run"]["runId"] for event in found[at : at + 2]}) == 1 for at in range(0, 8, 2))


def names(datasets: list[dict[str, Any]]) -> list[str]:
    return [f"{each['namespace']}:{each['name']}" for each in datasets]


def test_what_a_run_writes_the_next_one_reads() -> None:
    train, staging, production = events()[0:6:2]
    model = f"s3://models:sha256/{'01' * 32}"
    staged = "flights:k8s/overlays/staging/release.yaml"
    assert names(train["inputs"]) == ["flights:data", "flights:params.yaml"]
    assert train["inputs"][0]["facets"]["version"]["datasetVersion"] == "1" * 32 + ".dir"
    assert names(train["outputs"]) == [model]
    assert (names(staging["inputs"]), names(staging["outputs"])) == ([model], [staged])
    assert names(production["inputs"]) == [model, staged]
    assert names(production["outputs"]) == ["flights:k8s/overlays/production/release.yaml"]


@pytest.mark.parametrize(
    ("store", "name"),
    [
        ("s3://models/team/a/", "s3://models:team/a/sha256/"),
        ("s3://models", "s3://models:sha256/"),
        (".mergeline/store", "file:.mergeline/store/sha256/"),
        ("file:///srv/store", "file:/srv/store/sha256/"),
    ],
)
def test_a_model_is_named_by_its_place_in_the_store(store: str, name: str) -> None:
    first = deployed([1])[0]
    ledger = replace(ledger_of([]), events=events_of([replace(first, release=replace(first.release, store=store))]))
    event = next(run_events(entries_of(ledger)[0], ledger, "flights"))
    assert names(event["inputs"])[0] == f"{name}{'01' * 32}"


def test_the_same_release_gives_the_same_events_and_another_one_other_runs() -> None:
    assert events() == events()
    runs = [{event["run"]["runId"] for event in events(number)} for number in (1, 2)]
    assert runs[0].isdisjoint(runs[1])
