"""One value or name as text: quoted for YAML, kept by dvc.lock or not, shown to a person."""

from __future__ import annotations

import datetime as dt
import io
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

SHOWN = 8
YAML_1_1_WORDS = frozenset({"yes", "no", "on", "off", "y", "n", "true", "false", "null", "none", "nan", "inf"})
PLAIN_NAME = re.compile(r"[^\W\d]\w*(?:[ -]\w+)*")


def scalar(value: Any) -> Any:
    """Return text in quotes unless every YAML reader takes it for text as it stands, a date as quoted text."""
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString, SingleQuotedScalarString

    if isinstance(value, dt.date):
        return DoubleQuotedScalarString(value.isoformat())
    if not isinstance(value, str) or (PLAIN_NAME.fullmatch(value) and value.lower() not in YAML_1_1_WORDS):
        return value
    return SingleQuotedScalarString(value) if value.isprintable() else DoubleQuotedScalarString(value)


def kept(value: Any) -> bool:
    r"""Return whether dvc.lock, which DVC writes with ruamel.yaml as it comes, gives a value back as it was.

    >>> kept("a: b, #c"), kept("a\x85b")
    (True, False)
    """
    from ruamel.yaml import YAML

    held = {"params": {"key": value, **({value: 1} if isinstance(value, str) else {})}}
    stream = io.StringIO()
    YAML().dump(held, stream)
    return bool(YAML(typ="safe").load(stream.getvalue()) == held)


def plain(name: str) -> str:
    """Return a name, in quotes unless it is a few plain words."""
    return name if PLAIN_NAME.fullmatch(name) else repr(name)


def listed(names: Iterable[str]) -> str:
    """Return the first names of many, and how many more there are."""
    every = [plain(name) for name in names]
    return ", ".join(every[:SHOWN]) + (f" and {len(every) - SHOWN} more" if len(every) > SHOWN else "")


def short(value: Any) -> str:
    """Return a value as Python writes it, cut at 40 signs."""
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= 40 else f"{text[:37]}..."
