"""`params.yaml`, read once and checked whole: unknown keys refused, problems named together."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin

from pydantic import RootModel, ValidationError

from mergeline.errors import ConfigurationError
from mergeline.params.section import SECTIONS, Section, suggestion

if TYPE_CHECKING:
    from mergeline.params.gates import GateParams
    from mergeline.params.whole import Params

PARAMS_FILE = "params.yaml"
PLAIN_WORDS = {  # pydantic's, ours
    "Input should be": "expected",
    "expected greater": "expected a number greater",
    "expected less": "expected a number less",
    "a valid tuple": "a list",
    "a valid string": "text",
}

S = TypeVar("S", bound=Section)
Place = tuple[int | str, ...]  # the keys and positions that lead to a value


def load(path: Path) -> Params:
    """Return the settings in `path`; raise `ConfigurationError` for a missing file, bad YAML and bad settings."""
    return parse(_read(path), str(path))


def load_sections(path: Path, **kinds: type[Section]) -> Mapping[str, Any]:
    """Return some sections of the settings in `path` by name, each of its kind; raise `ConfigurationError` as `load`.

    What stands in the others is not looked at: a mistake there does not silence who asks for these.
    """
    raw = _read(path)
    if not isinstance(raw, dict) or not set(raw) <= set(SECTIONS):
        parse(raw, str(path))  # raises
    return {name: _validated(kind, raw.get(name, {}), str(path), (name,)) for name, kind in kinds.items()}


def _read(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as err:
        raise ConfigurationError(f"{path}: no such file; `mergeline init TABLE --target COLUMN` writes one") from err
    except OSError as err:
        raise ConfigurationError(f"{path}: expected a readable file, found {err.strerror}") from err
    except UnicodeDecodeError as err:
        raise ConfigurationError(f"{path}: expected UTF-8 text, found byte {err.object[err.start]:#x}") from err
    return parse_yaml(text, str(path))


def parse_yaml(text: str, where: str = PARAMS_FILE) -> Any:
    """Return what a YAML text holds; raise `ConfigurationError` with the place where it is not YAML."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return YAML(typ="safe").load(text)
    except MarkedYAMLError as err:
        mark = err.problem_mark
        place = f"{where}:{mark.line + 1}:{mark.column + 1}" if mark else where
        raise ConfigurationError(f"{place}: not valid YAML: {err.problem}") from err
    except YAMLError as err:
        raise ConfigurationError(f"{where}: not valid YAML: {' '.join(str(err).split())}") from err


def parse(raw: Any, where: str = PARAMS_FILE) -> Params:
    """Return the settings in a parsed YAML document; every problem is named, each with its dotted key."""
    from mergeline.params.whole import Params

    if not isinstance(raw, dict):
        found = "nothing" if raw is None else reprlib.repr(raw)
        raise ConfigurationError(f"{where}: expected a mapping of sections, found {found}")
    return _validated(Params, raw, where)


def parse_gates(raw: Any, where: str) -> GateParams:
    """Return the policy in the `gates` section alone, as it stands on another branch; nothing is the default policy."""
    from mergeline.params.gates import GateParams

    return _validated(GateParams, {} if raw is None else raw, where)


def unknown_keys(raw: Any, kind: type[Section]) -> tuple[Place, ...]:
    """Return the places of the keys that a section must not have; of code that is newer than this, perhaps."""
    try:
        kind.model_validate(raw)
    except ValidationError as err:
        return tuple(detail["loc"] for detail in err.errors() if detail["type"] == "extra_forbidden")
    return ()


def without(raw: Any, places: Iterable[Place]) -> Any:
    """Return a copy without these keys.

    >>> without({"a": {"b": 1, "c": 2}}, [("a", "b")])
    {'a': {'c': 2}}
    """
    copy = deepcopy(raw)
    for place in places:
        inner = value_at(copy, place[:-1])
        if isinstance(inner, dict):
            inner.pop(place[-1], None)
    return copy


def value_at(raw: Any, place: Place) -> Any:
    """Return what stands at a place; None where there is none."""
    for part in place:
        inside = part in raw if isinstance(raw, dict) else isinstance(raw, list) and part in range(len(raw))
        raw = raw[part] if inside else None
    return raw


def _validated(kind: type[S], raw: Any, where: str, within: Place = ()) -> S:
    try:
        return kind.model_validate(raw)
    except ValidationError as err:
        problems = [_problem(detail, raw, kind, within) for detail in err.errors()]
        raise ConfigurationError(f"{where}: " + "; ".join(dict.fromkeys(problems))) from err


def _problem(detail: Any, raw: Any, kind: type[Section], within: Place) -> str:
    """One pydantic error as `dotted.key: what was expected, found what`, of a section that lies `within` another."""
    problem, location = detail["type"], detail["loc"]
    if problem == "missing":
        return f"{_dotted((*within, *location))}: missing"
    if problem == "invalid_key":
        return f"{_dotted((*within, *location))}: expected a key that is text"
    if problem == "extra_forbidden":
        closest = suggestion(str(location[-1]), _known_keys(location[:-1], kind))
        return f"{_dotted((*within, *location))}: unknown key{closest}"
    key = _dotted((*within, *_written(location, raw)))
    if problem == "value_error":
        message = detail["msg"].removeprefix("Value error, ")
        return f"{key}: {message}" if key else message
    message = "expected a mapping" if problem in ("model_type", "dict_type") else detail["msg"]
    for theirs, ours in PLAIN_WORDS.items():
        message = message.replace(theirs, ours)
    said = f"{message[0].lower()}{message[1:]}, found {reprlib.repr(detail['input'])}"
    return f"{key}: {said}" if key else said


def _dotted(location: Sequence[int | str]) -> str:
    return ".".join(map(str, location))


def _written(location: Sequence[int | str], raw: Any) -> Sequence[int | str]:
    """The part of a place that stands in the file; behind it pydantic names the branch of a union."""
    for depth, part in enumerate(location):
        inside = isinstance(raw, dict) and part in raw
        if not inside and not (isinstance(raw, list) and isinstance(part, int)):
            return location[:depth]
        raw = raw[part]
    return location


def _known_keys(location: Sequence[int | str], kind: type[Section]) -> set[str]:
    """The keys that the section at this place may have."""
    section: Any = kind
    for part in location:
        section = _section(section)
        if get_origin(section) is dict:
            section = get_args(section)[1]
            continue
        fields = getattr(section, "model_fields", {})
        section = next((field.annotation for name, field in fields.items() if part in (name, field.alias)), None)
    fields = getattr(_section(section), "model_fields", {})
    return {field.alias or name for name, field in fields.items()}


def _section(annotation: Any) -> Any:
    """What stands in an `X | None` and in a model that is a mapping itself."""
    if get_origin(annotation) is UnionType:
        annotation = get_args(annotation)[0]
    if isinstance(annotation, type) and issubclass(annotation, RootModel):
        return annotation.model_fields["root"].annotation
    return annotation
