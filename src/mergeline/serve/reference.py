"""The reference at `/docs`: every operation of an OpenAPI description as tables, examples and a command."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from mergeline.report.escape import page

ORIGIN = '<span class="origin">http://localhost:8080</span>'
SHOWN_EXAMPLES = 4
LONGEST_EXAMPLE = 60
SPANS = (("minimum", "maximum", ""), ("minLength", "maxLength", " characters"), ("minItems", "maxItems", " items"))

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a JSON body: its dotted place with `[]` after a list, and what the schema says of it.

    `examples` are the first few as JSON texts, `more_examples` how many there are beside them.
    """

    place: str
    types: str
    is_required: bool
    limits: str
    said: str
    examples: tuple[str, ...]
    more_examples: int


def members(schema: Json, components: Json, example: Any = None) -> Iterator[Member]:
    """Yield every member of a body, depth first in the schema's order; what `example` holds stands as their example."""
    yield from _below("", schema, components, example)


def operations(described: Json) -> str:
    """Return all operations as HTML."""
    components = described["components"]["schemas"]
    return "\n".join(
        _operation(method.upper(), path, operation, components)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    )


def contents(described: Json) -> str:
    """Return links to all operations as HTML."""
    return " ".join(
        f'<a href="#{operation["operationId"]}">{method.upper()} {page(path)}</a>'
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    )


# ---- Members ---------------------------------------------------------------------------------------------------------


def _below(place: str, schema: Json, components: Json, example: Any) -> Iterator[Member]:
    schema = _resolved(schema, components)
    required = schema.get("required", ())
    for name, each in schema.get("properties", {}).items():
        inner = f"{place}.{name}" if place else name
        yield from _member(inner, each, components, _part(example, name), is_required=name in required)
    if isinstance(schema.get("additionalProperties"), Mapping):
        first = next(iter(example.values()), None) if isinstance(example, Mapping) else None
        yield from _member(f"{place}.*", schema["additionalProperties"], components, first, is_required=False)


def _member(place: str, schema: Json, components: Json, example: Any, *, is_required: bool) -> Iterator[Member]:
    options = [_resolved(option, components) for option in _resolved(schema, components).get("anyOf", [schema])]
    known = [option for option in options if option.get("type") != "null"]
    types = " or ".join(dict.fromkeys(str(option.get("type", "any")) for option in options))
    said = " ".join(str(each["description"]) for each in (schema, *known) if "description" in each)
    given = [value for option in known for value in option.get("examples", ())]
    if not given and not isinstance(example, Mapping | list):
        given = [example]
    texts = [_json(value) for value in given if value is not None]
    yield Member(
        place,
        types,
        is_required,
        "; ".join(filter(None, map(_limits, known))),
        said,
        tuple(texts[:SHOWN_EXAMPLES]),
        max(0, len(texts) - SHOWN_EXAMPLES),
    )
    for option in known:
        if option.get("type") == "array":
            yield from _below(f"{place}[]", option["items"], components, _part(example, 0))
        else:
            yield from _below(place, option, components, example)


def _resolved(schema: Json, components: Json) -> Json:
    if "$ref" not in schema:
        return schema
    found: Json = components[schema["$ref"].rpartition("/")[2]]
    return found


def _part(example: Any, key: str | int) -> Any:
    try:
        return example[key]
    except (KeyError, IndexError, TypeError):
        return None


def _limits(schema: Json) -> str:
    spans = [_span(schema.get(low), schema.get(high), unit) for low, high, unit in SPANS]
    return ", ".join(filter(None, [*spans, schema.get("format", "")]))


def _span(low: Any, high: Any, unit: str) -> str:
    """From the least to the most.

    >>> _span(1, 256, " characters"), _span(None, 1000, ""), _span(None, None, "")
    ('1 to 256 characters', 'at most 1,000', '')
    """
    if low is None and high is None:
        return ""
    if low is None or high is None:
        return f"at most {_number(high)}{unit}" if low is None else f"at least {_number(low)}{unit}"
    return f"{_number(low)} to {_number(high)}{unit}"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) and abs(value) < 10**9 else f"{value:.4g}"


# ---- HTML ------------------------------------------------------------------------------------------------------------


def _operation(method: str, path: str, operation: Json, components: Json) -> str:
    name = operation["operationId"]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    parts = [
        f'<section aria-labelledby="{name}"><h2 id="{name}"><code>{method} {page(path)}</code></h2>',
        f"<p>{page(operation['summary'])}</p>",
        '<p class="note">Needs the API key.</p>' if operation.get("security") else "",
        _command(name, method, path, body, is_guarded=bool(operation.get("security"))),
        _body("Request", body, components, is_request=True) if body else "",
        *(f"<h3>Answer {status}</h3>{_answer(each, components)}" for status, each in _good(operation)),
        _statuses(operation),
        "</section>",
    ]
    return "\n".join(part for part in parts if part)


def _good(operation: Json) -> list[tuple[str, Json]]:
    """The answers with members to show."""
    return [(status, each) for status, each in operation["responses"].items() if "examples" in _content(each)[1]]


def _content(answer: Json) -> tuple[str, Json]:
    media_type, content = next(iter(answer["content"].items()))
    return media_type, content


def _answer(answer: Json, components: Json) -> str:
    return _body("", _content(answer)[1], components, is_request=False)


def _body(title: str, content: Json, components: Json, *, is_request: bool) -> str:
    examples = [(name, each["value"]) for name, each in content["examples"].items()]
    rows = "".join(
        _row(member, is_request=is_request) for member in members(content["schema"], components, examples[0][1])
    )
    columns = ["name", "type", *(["required"] if is_request else []), "limits and meaning", "examples"]
    head = "".join(f'<th scope="col">{column}</th>' for column in columns)
    table = f'<table class="stacked members"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    shown = "".join(_example(name, value) for name, value in examples)
    return f'{f"<h3>{title}</h3>" if title else ""}<div class="scroll">{table}</div>{shown}'


def _example(name: str, value: Any) -> str:
    block = f'<div class="code"><pre tabindex="0">{_escaped(_json(value, 1))}</pre></div>'
    return f"<details><summary>Example: {page(name)}</summary>{block}</details>"


def _row(member: Member, *, is_request: bool) -> str:
    examples = ", ".join(f"<code>{page(text, LONGEST_EXAMPLE)}</code>" for text in member.examples)
    more = f" and {member.more_examples} more" if member.more_examples else ""
    said = ". ".join(page(text) for text in (member.limits, member.said) if text)
    required = f'<td data-column="required">{"yes" if member.is_required else "no"}</td>' if is_request else ""
    return (
        f'<tr><th scope="row">{_place(member.place)}</th><td data-column="type">{page(member.types)}</td>'
        f'{required}<td class="words{"" if said else " empty"}">{said}</td>'
        f'<td class="words{"" if examples else " empty"}">{examples}{more}</td></tr>'
    )


def _place(place: str) -> str:
    """The place of a member, the start of that of a feature set apart."""
    start = "rows[].features."
    if place.startswith(start):
        return f"<code><small>{start}</small>{page(place.removeprefix(start))}</code>"
    return f"<code>{page(place)}</code>"


def _statuses(operation: Json) -> str:
    rows = "".join(
        f'<tr><th scope="row">{status} {HTTPStatus(int(status)).phrase}</th>'
        f'<td class="words">{page(answer["description"])}</td><td><code>{page(_content(answer)[0])}</code></td></tr>'
        for status, answer in operation["responses"].items()
    )
    head = '<th scope="col">status</th><th scope="col">meaning</th><th scope="col">media type</th>'
    return (
        f'<h3>Answers</h3><div class="scroll"><table class="stacked"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _command(name: str, method: str, path: str, body: Json | None, *, is_guarded: bool) -> str:
    """The operation as a line for a shell, with the first example as its body."""
    lines = [f"curl -sS {ORIGIN}{_escaped(path)}"]
    if is_guarded:
        lines.append("-H 'X-API-Key: YOUR-KEY'")
    if body is not None:
        first = next(iter(body["examples"].values()))["value"]
        quoted = _json(first).replace("'", "'\\''")
        lines += ["-H 'Content-Type: application/json'", f"-d '{_escaped(quoted)}'"]
    text = " \\\n  ".join(lines)
    button = (
        f'<button type="button" class="copy" data-copies="{name}-command" hidden>Copy the {method} command</button>'
    )
    return f'<div class="code"><pre tabindex="0" class="wrap" id="{name}-command">{text}</pre></div>{button}'


def _json(value: Any, indent: int | None = None) -> str:
    """JSON that a person can read; escaped to ASCII where a character of it cannot be seen."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return text if text.replace("\n", "").isprintable() else json.dumps(value, indent=indent)


def _escaped(text: str) -> str:
    """The exact text for the content of an element."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
