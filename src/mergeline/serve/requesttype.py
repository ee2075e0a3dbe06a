"""The type of a prediction request, made from the signature, and what a client is told of a body that has another."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import numpy as np

from mergeline.schema import Feature, Kind, Signature
from mergeline.serve.problems import Problem

FLOAT32_MAX = float(np.finfo(np.float32).max)
INT64_MAX = 2**63 - 1
LONGEST_TEXT = 256  # of a category, an entity, a time stamp

_PLACE = re.compile(r"^(?P<said>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)
_NAMED = re.compile(r"^Object (?:missing required|contains unknown) field `(?P<name>.*)`$", re.DOTALL)


def request_type(signature: Signature, max_rows: int) -> type[msgspec.Struct]:
    """Return the msgspec type of a request; a feature may have any name, so the attributes are numbered."""
    names = {f"f{position}": feature.name for position, feature in enumerate(signature.features)}
    features = msgspec.defstruct(
        "Features",
        [
            (attribute, _type(feature, personal=feature.name in signature.personal))
            for attribute, feature in zip(names, signature.features, strict=True)
        ],
        rename=names,
        forbid_unknown_fields=True,
        gc=False,
    )
    event_time = Annotated[
        dt.datetime | None, msgspec.Meta(description="When it happened, where that is not now; logged, never scored.")
    ]
    entity_id = Annotated[
        Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_TEXT)] | None,
        msgspec.Meta(description="Whom it is about: keeps to one variant; logged, never scored."),
    ]
    row = msgspec.defstruct(
        "Row",
        [("features", features), ("event_time", event_time, None), ("entity_id", entity_id, None)],
        forbid_unknown_fields=True,
        gc=False,
    )
    rows = Annotated[list[row], msgspec.Meta(min_length=1, extra_json_schema={"maxItems": max_rows})]  # type: ignore[valid-type]
    return msgspec.defstruct("PredictRequest", [("rows", rows)], forbid_unknown_fields=True)


def invalid(said: str) -> Problem:
    """Return the 422 for what msgspec says of a body; its place becomes the field.

    >>> invalid("Expected `float | null`, got `str` - at `$.rows[0].features.seats`").field
    'rows[0].features.seats'
    >>> invalid("Object missing required field `seats` - at `$.rows[2].features`").detail
    'rows[2].features.seats: missing; send null where the value is not known'
    """
    found = _PLACE.match(said)
    said, path = (found["said"], found["path"] or "$") if found else (said, "$")
    where = path.removeprefix("$").removeprefix(".")
    named = _NAMED.match(said)
    if named:
        where = f"{where}.{named['name']}" if where else named["name"]
        missing = said.startswith("Object missing")
        said = "missing; send null where the value is not known" if missing else "unknown; remove it"
        if missing and "features." not in where:
            said = "missing"
    else:
        said = f"{said[0].lower()}{said[1:]}".replace("`", "").replace(", got ", ", found ")
    return Problem(422, f"{where or 'the body'}: {said}", where or None)


# ---- A feature -----------------------------------------------------------------------------------------------------


def _type(feature: Feature, *, personal: bool) -> Any:
    if feature.kind is Kind.NUMBER:
        return Annotated[float, msgspec.Meta(ge=-FLOAT32_MAX, le=FLOAT32_MAX)] | None
    if feature.kind is Kind.BOOLEAN:
        return bool | None
    if feature.kind is Kind.DATETIME:
        return (
            Annotated[str, msgspec.Meta(max_length=LONGEST_TEXT, description="ISO 8601; UTC where no offset is given")]
            | None
        )
    return _category_type(feature.categories, shown=() if personal else feature.categories)


def _category_type(categories: Sequence[str], shown: Sequence[str]) -> Any:
    """Text, and numbers or truth values only where training had them: a number in place of a text is a mistake."""
    length = max([LONGEST_TEXT, *map(len, categories)])
    known = {"examples": list(shown)} if shown else None
    kinds: Any = Annotated[str, msgspec.Meta(max_length=length, extra_json_schema=known)]
    if any(map(_is_number, categories)):
        whole = Annotated[int, msgspec.Meta(ge=-INT64_MAX, le=INT64_MAX)]
        kinds = kinds | whole | Annotated[float, msgspec.Meta(ge=-FLOAT32_MAX, le=FLOAT32_MAX)]
    if not {"true", "false"}.isdisjoint(categories):
        kinds |= bool
    return kinds | None


def is_text(categories: Sequence[str]) -> bool:
    """Return whether a value can only come as text; the type itself would not say so, it carries examples."""
    return not any(map(_is_number, categories)) and {"true", "false"}.isdisjoint(categories)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
