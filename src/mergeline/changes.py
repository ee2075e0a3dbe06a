"""What a branch changes against its base, in parameters, data and code, and how often its holdout has judged before."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mergeline import files, git
from mergeline.errors import ConfigurationError, DataError
from mergeline.layout import COMPARISON, VALIDATION
from mergeline.params import PARAMS_FILE, parse_yaml
from mergeline.report.context import CodeChange, ParameterChange, PartitionChange

CODE = ("src", "dvc.yaml")


def parameters(root: Path, base: str | None) -> tuple[ParameterChange, ...]:
    """Return the settings that are not as on the base branch, in the order of the file."""
    if base is None:
        return ()
    old = _settings(git.read(root, base, Path(PARAMS_FILE)))
    new = _settings((root / PARAMS_FILE).read_bytes())
    keys = dict.fromkeys([*new, *old])
    return tuple(ParameterChange(key, old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key))


def partitions(root: Path, base: str | None) -> tuple[PartitionChange, ...]:
    """Return the partitions whose number of rows is not as on the base branch, by the records of `validate`."""
    if base is None:
        return ()
    old, new = _rows(git.read(root, base, VALIDATION)), _rows((root / VALIDATION).read_bytes())
    names = sorted(old.keys() | new.keys())
    return tuple(
        PartitionChange(name, old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)
    )


def code(root: Path, base: str | None) -> tuple[CodeChange, ...]:
    """Return the files of code that are not as where the branch left the base."""
    found = git.line_changes(root, base, CODE) if base is not None else ()
    return tuple(CodeChange(each.path, each.added, each.removed) for each in found)


def holdout_uses(root: Path, comparison: Mapping[str, Any]) -> int:
    """Return how many different candidates this comparison's holdout has judged, this one included.

    Counted in the versions of the record that lead to HEAD: what was squashed away, or never recorded, is not known.
    """
    candidates = {comparison["candidate"]["sha256"]}
    for content in git.versions(root, "HEAD", COMPARISON):
        old = _record(content)
        if _sha256(old, "holdout") == comparison["holdout"]["sha256"]:
            candidates.add(_sha256(old, "candidate"))
    return len(candidates - {None})


def latency_ratio(timings: Path, sha256: str) -> float | None:
    """Return the ratio that this machine measured for this candidate, if it did."""
    try:
        found = files.read_json(timings, "mergeline compare")
    except DataError:
        return None
    ratio = found.get("latency_ratio") if found.get("candidate") == sha256 else None
    return None if ratio is None else float(ratio["estimate"])


def _settings(content: bytes | None) -> dict[str, str]:
    """Every value of a params.yaml by its dotted key, as text; nothing where it cannot be read."""
    if content is None:
        return {}
    try:
        raw = parse_yaml(content.decode("utf-8", "replace"))
    except ConfigurationError:
        return {}
    return dict(_leaves(raw, ())) if isinstance(raw, dict) and raw else {}


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, (*path, str(key)))
    else:
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        yield ".".join(path), text


def _sha256(record: Mapping[str, Any], name: str) -> str | None:
    part = record.get(name)
    found = part.get("sha256") if isinstance(part, dict) else None
    return found if isinstance(found, str) else None


def _rows(content: bytes | None) -> dict[str, int]:
    rows = _record(content or b"{}").get("rows")
    return rows if isinstance(rows, dict) else {}


def _record(content: bytes) -> dict[str, Any]:
    """A record of another commit; nothing where this code cannot read it."""
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
