"""Changing `params.yaml` as a person would: a few values, with every comment and every other line left as it is."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Mapping
from typing import Any


def edited(text: str, changes: Mapping[tuple[str, ...], Any]) -> str:
    """Return the text with the values at the given key paths set; sections that are not there are added.

    A date is written in quotes: DVC, which reads the same file, takes no bare one.

    >>> print(edited("train:\\n  seed: 1   # any number\\n", {("train", "seed"): 7}), end="")
    train:
      seed: 7   # any number
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 10_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    document = yaml.load(text)
    for (*sections, key), value in changes.items():
        section = document
        for name in sections:
            section = section.setdefault(name, {})
        section[key] = DoubleQuotedScalarString(value.isoformat()) if isinstance(value, dt.date) else value
    stream = io.StringIO()
    yaml.dump(document, stream)
    return stream.getvalue()
