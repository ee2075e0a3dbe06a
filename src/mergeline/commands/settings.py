"""The settings of the repository that a command works on."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import mergeline
from mergeline import params
from mergeline.errors import ConfigurationError
from mergeline.layout import LOCK
from mergeline.params import Params
from mergeline.params.reading import Place, unknown_keys, value_at, without

logger = logging.getLogger(__name__)

TWO = "if its code comes with this branch, merge the code first, with a default, and set it in a second pull request"


def load_params(root: Path) -> Params:
    """Return the settings of the repository at `root`."""
    return params.load(root / params.PARAMS_FILE)


def load_judged(root: Path) -> Params:
    """Return the settings of a branch that the default branch's code judges, which may be older than the branch's.

    A key that this code does not know is left out where dvc.lock has it with the same value: a stage of the branch has
    read it. Raises `ConfigurationError` for any other, as `load_params` does.
    """
    try:
        return load_params(root)
    except ConfigurationError as err:
        if _is_of(root):
            raise
        raw, unknown = _newer(root)
        if not unknown:
            raise ConfigurationError(f"{err}; the default branch's code reads this: {TWO}") from err
        named = ", ".join(".".join(map(str, place)) for place in unknown)
        try:
            found = params.parse(without(raw, unknown), str(root / params.PARAMS_FILE))
        except ConfigurationError as other:
            raise ConfigurationError(f"{other}; the default branch's code reads this: {TWO}") from err
    logger.warning(
        "warning: %s: unknown to the default branch's code, which judges; this branch's stages read it", named
    )
    return found


def _is_of(root: Path) -> bool:
    """Whether this code is that of the repository itself."""
    return Path(mergeline.__file__).resolve().is_relative_to((root / "src").resolve())


def _newer(root: Path) -> tuple[Any, tuple[Place, ...]]:
    """What params.yaml holds, and its unknown keys, if dvc.lock has recorded every one of them."""
    try:
        text, lock = ((root / name).read_text(encoding="utf-8") for name in (params.PARAMS_FILE, LOCK))
    except (OSError, UnicodeDecodeError):
        return None, ()
    raw = params.parse_yaml(text)
    found = unknown_keys(raw, Params)
    recorded = _recorded(params.parse_yaml(lock, str(LOCK)))
    return raw, found if all(_is_recorded(recorded, raw, place) for place in found) else ()


def _recorded(lock: Any) -> list[tuple[Place, Any]]:
    """The parameters that stages have read, each with its place and its value."""
    stages = value_at(lock, ("stages",))
    every = stages.values() if isinstance(stages, dict) else ()
    read = (value_at(stage, ("params", params.PARAMS_FILE)) for stage in every)
    return [
        (tuple(str(key).split(".")), value) for each in read if isinstance(each, dict) for key, value in each.items()
    ]


def _is_recorded(recorded: list[tuple[Place, Any]], raw: Any, place: Place) -> bool:
    inside = [value_at(value, place[len(start) :]) for start, value in recorded if place[: len(start)] == start]
    wanted = value_at(raw, place)
    return bool(inside) and all(each == wanted for each in inside)
