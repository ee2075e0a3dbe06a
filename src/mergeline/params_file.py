"""Changing `params.yaml` as a person would: a few values, with every comment and every other line left as it is."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Mapping, Sequence
from typing import Any

from mergeline.errors import ConfigurationError


def edited(text: str, changes: Mapping[tuple[str, ...], Any]) -> str:
    r"""Return the text with the values at the given key paths set, and every other byte as it was.

    Keys and sections that are not there are added behind the last of their mapping. A date is written in quotes: DVC,
    which reads the same file, takes no bare one. Raises `ConfigurationError` for a text in which a value cannot be set
    alone, such as one behind a YAML anchor.

    >>> print(edited("train:\n  seed: 1   # any number\n", {("train", "seed"): 7}), end="")
    train:
      seed: 7   # any number
    """
    expected = _unshared(_parsed(text))
    for path, value in changes.items():
        text = _set(text, path, value)
        *sections, key = path
        section = expected
        for name in sections:
            section = section.setdefault(name, {})
        section[key] = value.isoformat() if isinstance(value, dt.date) else value
        _refuse_other_than(expected, text, f"{'.'.join(path)}: cannot be set alone; set it to {value} by hand")
    return text


def _set(text: str, path: Sequence[str], value: Any) -> str:
    """The text with one value in the place of the old one, or behind the last of the section that lacks it."""
    from ruamel.yaml import YAML

    key: Any = None
    node: Any = YAML(typ="safe", pure=True).compose(text)
    for depth, name in enumerate(path):
        entries = {each.value: (each, held) for each, held in node.value} if node.id == "mapping" else {}
        if name not in entries:
            return _added(text, node, path[depth:], value)
        key, node = entries[name]
    start, end = node.start_mark.index, _end(key, node, text)
    if _is_block(node) or start >= end:
        start = text.find(":", key.end_mark.index) + 1
        return f"{text[:start]} {_written(value)}{text[end:]}"
    return text[:start] + _written(value) + text[end:]


def _added(text: str, section: Any, path: Sequence[str], value: Any) -> str:
    for name in reversed(path[1:]):
        value = {name: value}
    entry = _entry(path[0], value)
    if not section.value:
        at = section.start_mark.index + 1
        return text[:at] + entry + text[at:]
    key, last = section.value[-1]
    end = _end(key, last, text)
    if not _is_block(section):
        return f"{text[:end]}, {entry}{text[end:]}"
    newline = "\r\n" if "\r\n" in text else "\n"
    line_end = text.find(newline, end)
    at = len(text) if line_end < 0 else line_end
    return f"{text[:at]}{newline}{' ' * section.start_mark.column}{entry}{text[at:]}"


def _is_block(node: Any) -> bool:
    """Whether a mapping or list is written over lines, without brackets."""
    return node.id != "scalar" and not node.flow_style


def _end(key: Any, node: Any, text: str) -> int:
    """Where the text of a value ends; the mark of a block, or of nothing, lies behind the comments that follow."""
    if _is_block(node):
        last = node.value[-1]
        return _end(last[0], last[1], text) if isinstance(last, tuple) else _end(None, last, text)
    if node.id == "scalar" and not text[node.start_mark.index : node.end_mark.index].strip():
        return text.find(":", key.end_mark.index) + 1
    return len(text[: node.end_mark.index].rstrip())


def _written(value: Any) -> str:
    """A value as it stands in a line of YAML."""
    return _entry("x", value).removeprefix("x: ")


def _entry(key: str, value: Any) -> str:
    """A key and its value in a line of YAML."""
    from ruamel.yaml import YAML
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    yaml = YAML()
    yaml.default_flow_style = True
    yaml.width = 1 << 20
    stream = io.StringIO()
    yaml.dump({key: DoubleQuotedScalarString(value.isoformat()) if isinstance(value, dt.date) else value}, stream)
    return stream.getvalue().strip()[1:-1]


def _refuse_other_than(expected: Any, text: str, problem: str) -> None:
    from ruamel.yaml.error import YAMLError

    try:
        found = _parsed(text)
    except YAMLError as err:
        raise ConfigurationError(f"params.yaml: {problem}") from err
    if found != expected:
        raise ConfigurationError(f"params.yaml: {problem}")


def _parsed(text: str) -> Any:
    from ruamel.yaml import YAML

    return YAML(typ="safe").load(text)


def _unshared(value: Any) -> Any:
    """A copy in which no two places share a mapping, as they do where an anchor stands for both."""
    if isinstance(value, dict):
        return {key: _unshared(held) for key, held in value.items()}
    return [_unshared(held) for held in value] if isinstance(value, list) else value
