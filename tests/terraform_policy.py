"""What a policy of AWS says to one request: statements, wildcards and the conditions that this template uses.

An operator that is not known here is an error and never a yes.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]
Context = Mapping[str, str]


def says(document: Document, action: str, resource: str, context: Context, principal: str = "*") -> bool | None:
    """Return False for an explicit deny, True for an allow, None where no statement fits.

    >>> says({"Statement": {"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}}, "s3:GetObject", "a", {})
    True
    """
    effects = {each["Effect"] for each in statements(document) if _fits(each, action, resource, context, principal)}
    return False if "Deny" in effects else True if "Allow" in effects else None


def statements(document: Document) -> list[Mapping[str, Any]]:
    """The statements of a document, one or many."""
    return [dict(each) for each in many(document["Statement"])]


def many(value: Any) -> list[Any]:
    """What may stand alone or in a list, as a list."""
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]


def like(pattern: str, value: str) -> bool:
    """Whether a value has the form of a pattern with * and ?; brackets are letters like others.

    >>> like("repo:a/*", "repo:a/b"), like("[a]", "a")
    (True, False)
    """
    parts = [{"*": ".*", "?": "."}.get(each, re.escape(each)) for each in pattern]
    return re.fullmatch("".join(parts), value, re.DOTALL) is not None


def _fits(statement: Mapping[str, Any], action: str, resource: str, context: Context, principal: str) -> bool:
    known = {"Sid", "Effect", "Action", "Resource", "Principal", "Condition"}
    assert statement.keys() <= known, statement.keys() - known
    return (
        any(like(each.lower(), action.lower()) for each in many(statement["Action"]))
        and any(like(each, resource) for each in many(statement.get("Resource", "*")))
        and _is_meant(statement.get("Principal", "*"), principal)
        and all(
            _holds(operator, key, [str(each) for each in many(wanted)], context)
            for operator, keys in statement.get("Condition", {}).items()
            for key, wanted in keys.items()
        )
    )


def _is_meant(named: Any, principal: str) -> bool:
    if named == "*":
        return True
    return principal in [each for kind in named.values() for each in many(kind)]


def _holds(operator: str, key: str, wanted: Iterable[str], context: Context) -> bool:
    """Whether a condition holds: of a key that is not there, a positive one does not, and a negative one does."""
    value = {name.lower(): each for name, each in context.items()}.get(key.lower())
    if operator == "Null":
        return list(wanted) == [str(value is None).lower()]
    if operator.endswith("IfExists") and value is None:
        return True
    match operator.removesuffix("IfExists"):
        case "StringEquals":
            return value is not None and value in wanted
        case "StringNotEquals":
            return value is None or value not in wanted
        case "StringLike":
            return value is not None and any(like(each, value) for each in wanted)
        case "Bool":
            return value is not None and value.lower() in wanted
    raise AssertionError(f"{operator}: not known here")


def grants(document: str) -> dict[str, set[str]]:
    """Each action that a policy allows, with the resources that it is allowed on."""
    found: dict[str, set[str]] = {}
    for each in statements(json.loads(document)):
        assert each["Effect"] == "Allow", each
        for action in many(each["Action"]):
            found.setdefault(action, set()).update(many(each["Resource"]))
    return found


def widest(actions: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """The actions that no pattern of an allow-list has."""
    listed = list(patterns)
    return sorted(each for each in actions if not any(fnmatch.fnmatchcase(each, pattern) for pattern in listed))
