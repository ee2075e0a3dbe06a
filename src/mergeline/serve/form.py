"""The form of the page at `/`: a labelled field for every feature, read off the OpenAPI description."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mergeline.report.escape import page
from mergeline.schema import Kind
from mergeline.serve.requesttype import FLOAT32_MAX
from mergeline.serve.rows import category_text

SAMPLES = "many rows"  # the example of a request that holds the known samples
HINTS = {
    Kind.NUMBER: "number",
    Kind.BOOLEAN: "yes or no",
    Kind.DATETIME: "date and time, UTC",
    Kind.CATEGORY: "text",
}


@dataclass(frozen=True, slots=True)
class Field:
    """A feature as the form asks for it.

    `values` are those of a category that the description names; there may be others. For each known sample `shown` is
    what stands in the field (a category's text, a number, true, false, UTC without a zone; None where nothing is
    known), `exact` what is sent while it still stands there.
    """

    name: str
    kind: Kind
    values: tuple[str, ...]
    shown: tuple[Any, ...]
    exact: tuple[Any, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the field as JSON's types."""
        return asdict(self)


def fields(described: Mapping[str, Any]) -> tuple[Field, ...]:
    """Return a field for every feature of a description that `mergeline.serve.openapi.describe` made, in its order."""
    properties = described["components"]["schemas"]["Features"]["properties"]
    rows = [row["features"] for row in _examples(described)[SAMPLES]["value"]["rows"]]
    return tuple(_field(name, schema, [row[name] for row in rows]) for name, schema in properties.items())


def form(asked: Sequence[Field]) -> str:
    """Return the fields as HTML; the ids are numbered, so that a feature may have any name."""
    return "\n".join(_labelled(f"f{position}", field) for position, field in enumerate(asked))


def _examples(described: Mapping[str, Any]) -> Mapping[str, Any]:
    content: Mapping[str, Any] = described["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    examples: Mapping[str, Any] = content["examples"]
    return examples


def _field(name: str, schema: Mapping[str, Any], samples: Sequence[Any]) -> Field:
    options = [option for option in schema["anyOf"] if option["type"] != "null"]
    kind = _kind(options)
    values = tuple(value for option in options for value in option.get("examples", ())) if _is_text(kind) else ()
    shown = tuple(None if value is None else _shown(kind, value) for value in samples)
    return Field(name, kind, values, shown, shown if _is_text(kind) else tuple(samples))


def _is_text(kind: Kind) -> bool:
    return kind is Kind.CATEGORY


def _kind(options: Sequence[Mapping[str, Any]]) -> Kind:
    """A category alone may be text, among other types; a time stamp is text whose description says so."""
    text = next((option for option in options if option["type"] == "string"), None)
    if text is None:
        return Kind.BOOLEAN if options[0]["type"] == "boolean" else Kind.NUMBER
    return Kind.DATETIME if str(text.get("description", "")).startswith("ISO 8601") else Kind.CATEGORY


def _shown(kind: Kind, value: Any) -> Any:
    if kind is Kind.CATEGORY:
        return category_text(value)
    if kind is Kind.BOOLEAN:
        return value
    if kind is Kind.DATETIME:
        moment = dt.datetime.fromisoformat(value)
        moment = moment.astimezone(dt.UTC) if moment.tzinfo else moment
        return moment.replace(tzinfo=None).isoformat(timespec="milliseconds" if moment.microsecond else "seconds")
    return _shortest(value)


def _shortest(value: Any) -> Any:
    """A number with no more digits than tell the float32, as which the model reads it, from others.

    >>> _shortest(39.02000045776367), _shortest(0.6350054454560667), _shortest(1013)
    (39.02, 0.6350055, 1013)
    """
    return float(str(np.float32(value))) if isinstance(value, float) and abs(value) <= FLOAT32_MAX else value


# ---- HTML ------------------------------------------------------------------------------------------------------------


def _labelled(key: str, field: Field) -> str:
    label = f'<label for="{key}">{page(field.name)} <small>{HINTS[field.kind]}</small></label>'
    wrong = f'<p class="wrong" id="{key}-wrong" hidden></p>'
    return f'<div class="field">{label}<div class="control">{_control(key, field)}</div>{wrong}</div>'


def _control(key: str, field: Field) -> str:
    if field.kind is Kind.NUMBER:
        return f'<input id="{key}" type="number" step="any" placeholder="not known">'
    if field.kind is Kind.DATETIME:
        return f'<input id="{key}" type="datetime-local" step="1">'
    if field.kind is Kind.BOOLEAN:
        return _select(key, [("true", "yes"), ("false", "no")])
    named = [(str(position), page(value) or "(empty text)") for position, value in enumerate(field.values)]
    other = f'<input id="{key}-other" type="text" aria-label="{page(field.name)}: another value" hidden>'
    return _select(key, [*named, ("other", "another value …")]) + other


def _select(key: str, options: Sequence[tuple[str, str]]) -> str:
    made = "".join(f'<option value="{value}">{text}</option>' for value, text in [("", "not known"), *options])
    return f'<select id="{key}">{made}</select>'
