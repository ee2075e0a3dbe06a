"""The OpenAPI description of a server, made from the types that it decodes and from real rows."""

from __future__ import annotations

from typing import Any

import msgspec

from mergeline import __version__
from mergeline.schema import Signature, Task
from mergeline.serve.labelling import LabelsAnswer, LabelsRequest
from mergeline.serve.predict import Predictions
from mergeline.serve.problems import ProblemRecord
from mergeline.serve.rows import RequestModel

REFUSALS = {
    400: "The body is not JSON.",
    401: "The API key is missing or wrong.",
    408: "The body did not arrive in time.",
    413: "Too many rows, or too large a body.",
    415: "The body does not say that it is JSON.",
    422: "A value is missing, unknown, of the wrong type or out of range; `field` says which.",
    503: "Too many requests at once, or a store that does not answer; Retry-After says when to come again.",
}
EXAMPLE_ID = "01900000-0000-7000-8000-000000000001"


def describe(model: RequestModel, sha256: str, *, guarded: bool, logged: bool = True) -> dict[str, Any]:
    """Return the description as OpenAPI 3.1 has it; the examples are known samples with the scores that they get.

    `guarded`: whether a key is asked for; `logged`: whether there is a log, and so labels are taken.
    """
    signature = model.signature
    types = [model.type, Predictions, LabelsRequest, LabelsAnswer, ProblemRecord]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    request, predictions, labels, accepted, problem = schemas
    requirement: list[dict[str, Any]] = [{"key": []}, {"bearer": []}] if guarded else []
    rows, scored = _requests(signature), _answers(signature, sha256)
    ready = "The model is loaded and proven; the server does not end."
    described: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": f"mergeline: {signature.target}",
            "version": __version__,
            "description": f"Predicts {signature.target} ({signature.task}) with the model {sha256}.",
        },
        "paths": {
            "/predict": {
                "post": _posted(
                    "predict",
                    "Score one row or many.",
                    request,
                    rows,
                    predictions,
                    problem,
                    scored,
                    requirement,
                )
            },
            "/invocations": {
                "post": _posted(
                    "invocations",
                    "The same, as Amazon SageMaker asks for it.",
                    request,
                    {"one row": rows["one row"]},
                    predictions,
                    problem,
                    scored,
                    requirement,
                )
            },
            "/labels": {
                "post": _posted(
                    "addLabels",
                    "Tell what turned out for predictions that were made.",
                    labels,
                    _labels(signature),
                    accepted,
                    problem,
                    {"accepted": {"value": {"accepted": 1}}},
                    requirement,
                )
            },
            "/healthz": _got("healthz", "The process answers.", (200,)),
            "/readyz": _got("readyz", ready, (200, 503)),
            "/ping": _got("ping", "The same, as Amazon SageMaker asks for it.", (200, 503)),
            "/status": _got("status", "The release, latency, drift and log, for a person's page.", (200,)),
            "/metrics": _got("metrics", "Metrics of all workers, for Prometheus.", (200,), "text/plain"),
            "/openapi.json": _got("openapi", "This description.", (200,)),
        },
        "components": {"schemas": components},
    }
    if not logged:
        del described["paths"]["/labels"]
    if guarded:
        described["components"]["securitySchemes"] = {
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            "bearer": {"type": "http", "scheme": "bearer"},
        }
    return described


def _posted(
    name: str,
    said: str,
    request: dict[str, Any],
    examples: dict[str, Any],
    answer: dict[str, Any],
    problem: dict[str, Any],
    answers: dict[str, Any],
    security: list[dict[str, Any]],
) -> dict[str, Any]:
    refusals = {
        str(status): {"description": text, "content": {"application/problem+json": {"schema": problem}}}
        for status, text in REFUSALS.items()
    }
    operation = {
        "operationId": name,
        "summary": said,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": request, "examples": examples}},
        },
        "responses": {
            "200": {
                "description": "Done.",
                "content": {"application/json": {"schema": answer, "examples": answers}},
            },
            **refusals,
        },
    }
    return {**operation, "security": security} if security else operation


def _got(name: str, said: str, statuses: tuple[int, ...], media_type: str = "application/json") -> dict[str, Any]:
    content = {media_type: {"schema": {"type": "string"} if media_type == "text/plain" else {"type": "object"}}}
    responses = {str(status): {"description": said, "content": content} for status in statuses}
    return {"get": {"operationId": name, "summary": said, "responses": responses}}


# ---- Examples ------------------------------------------------------------------------------------------------------


def shown_rows(signature: Signature) -> list[dict[str, Any]]:
    """Return the known samples without anybody's personal values, as rows that a client may send."""
    return [
        {name: None if name in signature.personal else value for name, value in sample.row.items()}
        for sample in signature.samples
    ]


def _requests(signature: Signature) -> dict[str, Any]:
    rows = [{"features": row} for row in shown_rows(signature)]
    gaps = {"features": dict.fromkeys([feature.name for feature in signature.features])}
    return {
        "one row": {"value": {"rows": rows[:1]}},
        "many rows": {"value": {"rows": rows}},
        "with its entity and time": {
            "value": {"rows": [{**row, "event_time": "2030-01-31T08:00:00Z", "entity_id": "e-17"} for row in rows[:1]]}
        },
        "nothing known": {"value": {"rows": [gaps]}},
    }


def _answers(signature: Signature, sha256: str) -> dict[str, Any]:
    sample = signature.samples[0]
    scores = list(sample.scores)
    score = scores[1] if signature.task is Task.BINARY else max(scores)
    answer: dict[str, Any] = {
        "request_id": EXAMPLE_ID,
        "model_sha256": sha256,
        "variant": "champion",
        "score": score,
        "decision": None,
    }
    if signature.task is Task.BINARY and signature.threshold is not None:
        answer["decision"] = signature.classes[int(score >= signature.threshold)]
    if signature.task is Task.MULTICLASS:
        answer["decision"] = signature.classes[scores.index(score)]
        answer["scores"] = dict(zip(signature.classes, scores, strict=True))
    return {"one row": {"value": {"predictions": [answer]}}}


def _labels(signature: Signature) -> dict[str, Any]:
    label: Any = 1.5 if signature.task is Task.REGRESSION else signature.classes[0]
    return {"one label": {"value": {"labels": [{"request_id": EXAMPLE_ID, "label": label, "source": "billing"}]}}}
