"""`release.yaml`: what runs in one environment, as a patch that Kubernetes applies and a person can read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from mergeline.errors import VerificationError

DEPLOYMENT = "mergeline"
CONTAINER = "server"
MODEL_ANNOTATION = "mergeline.dev/model-sha256"
STORE_ANNOTATION = "mergeline.dev/model-store"
RECEIPT_ANNOTATION = "mergeline.dev/receipt-sha256"
NONE = "none"
WHERE = "release.yaml"
LONGEST_TEXT = 16_384
LONGEST_VALUE = 1_024
MOST_EVENTS = 100  # a release has 45; a reader of YAML takes a square of the depth

_SHA256 = re.compile(r"[0-9a-f]{64}")
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?"
_PATH = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(rf"(?:{_HOST}/)?{_PATH}(?:/{_PATH})*@sha256:[0-9a-f]{{64}}")


@dataclass(frozen=True, slots=True)
class Release:
    """What moves as one: the model, the store that holds its bytes, its receipt, and the server's image by digest.

    A model, its store and its receipt are there together or not at all; an image may be there without them, and they
    without it.
    """

    model_sha256: str | None
    store: str | None
    receipt_sha256: str | None
    image: str | None

    @property
    def is_release(self) -> bool:
        """Whether there is a model to serve."""
        return self.model_sha256 is not None


NO_RELEASE = Release(None, None, None, None)


@dataclass(frozen=True, slots=True)
class _Value:
    """A place in the file that a release fills."""

    name: str


TREE: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": DEPLOYMENT},
        "spec": {
            "template": {
                "metadata": {
                    "annotations": {
                        MODEL_ANNOTATION: _Value("model_sha256"),
                        STORE_ANNOTATION: _Value("store"),
                        RECEIPT_ANNOTATION: _Value("receipt_sha256"),
                    }
                },
                "spec": {"containers": [{"name": CONTAINER, "image": _Value("image")}]},
            }
        },
    }
)

# Values stand in quotes: a hash of digits alone, or of digits and one e, would be a number.
_TEXT = """\
# What runs in this environment. Staging and production hold the same lines, and a promotion copies the file.
# To go back to an earlier release, revert the commit that brought this one. "none" is a value that is not set.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {deployment}
spec:
  template:
    metadata:
      annotations:
        # The model: the SHA-256 of the list of its files. With "none" there is no release, and nothing is deployed.
        {model}: {model_sha256}
        # The store that holds the model's bytes.
        {stored}: {store}
        # The SHA-256 of models/manifest.json, which says what the model was made from.
        {receipt}: {receipt_sha256}
    spec:
      containers:
        - name: {container}
          # The server, by digest: a tag could come to mean another image.
          image: {image}
"""


def format_release(release: Release) -> str:
    """Return the text of `release.yaml`, a strategic-merge patch; `parse_release` reads it back to an equal record.

    Raises `VerificationError` for a release that a file cannot hold.
    """
    values = {name: getattr(release, name) for name in Release.__slots__}
    _checked({name: NONE if value is None else value for name, value in values.items()}, set_to_none=values)
    quoted = {name: _quoted(NONE if value is None else value) for name, value in values.items()}
    return _TEXT.format(
        deployment=DEPLOYMENT,
        container=CONTAINER,
        model=MODEL_ANNOTATION,
        stored=STORE_ANNOTATION,
        receipt=RECEIPT_ANNOTATION,
        **quoted,
    )


def parse_release(text: str) -> Release:
    """Return the release of a `release.yaml`, however it is laid out and commented.

    Only what `format_release` writes is let through: raises `VerificationError`, which names the place, for any other
    key, kind, container or value, and for YAML beyond plain mappings, lists and texts. A release file can thus change
    which bytes run, and nothing of how they run.
    """
    found = _matched(_loaded(text), TREE, "")
    return _checked(found)


def _loaded(text: str) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    _refuse_unseen(text)
    reader = YAML(typ="safe", pure=True)
    try:
        for number, event in enumerate(reader.parse(text)):
            _refuse_beyond_plain(event)
            if number > MOST_EVENTS:
                raise VerificationError(f"{WHERE}: more entries than a release has; write it anew")
        return reader.load(text)
    except (YAMLError, ValueError, RecursionError) as err:
        reason = " ".join(str(err).split())[:200]
        raise VerificationError(f"{WHERE}: cannot be read as one YAML document ({reason}); write it anew") from err


def _refuse_unseen(text: str) -> None:
    """Some readers of YAML end a line, and so a comment, at characters that others take for a part of it."""
    if len(text) > LONGEST_TEXT:
        raise VerificationError(f"{WHERE}: {len(text)} characters, expected at most {LONGEST_TEXT}; write it anew")
    unseen = next((letter for letter in text if not (letter.isprintable() or letter in "\n\r\t")), None)
    if unseen is not None:
        raise VerificationError(f"{WHERE}: holds the character {unseen!a}, expected visible text; remove it")


def _refuse_beyond_plain(event: Any) -> None:
    for kind in ("anchor", "tag"):
        if getattr(event, kind, None) is not None:
            raise VerificationError(f"{WHERE}: line {event.start_mark.line + 1} has a YAML {kind}; write the value out")
    if getattr(event, "value", None) == "<<":
        raise VerificationError(f"{WHERE}: line {event.start_mark.line + 1} merges a mapping; write its keys out")


def _matched(found: Any, expected: Any, where: str) -> dict[str, str]:
    """The values of a release in what was found, which must be as expected everywhere else."""
    if isinstance(expected, _Value):
        if not isinstance(found, str):
            raise _wrong(where, 'a text in quotes, "none" where it is not set', found)
        return {expected.name: found}
    if isinstance(expected, Mapping):
        return _matched_mapping(found, expected, where)
    if isinstance(expected, list):
        if not isinstance(found, list) or len(found) != len(expected):
            raise _wrong(where, f"a list of one, the container {CONTAINER}", found)
        return _matched(found[0], expected[0], f"{where}[0]")
    if found != expected or not isinstance(found, str):
        raise _wrong(where, repr(expected), found)
    return {}


def _matched_mapping(found: Any, expected: Mapping[str, Any], where: str) -> dict[str, str]:
    if not isinstance(found, dict):
        raise _wrong(where or "the whole", f"a mapping of {', '.join(expected)}", found)
    dotted = {key: f"{where}.{key}" if where else str(key) for key in [*found, *expected]}
    for key in found:
        if key not in expected:
            raise VerificationError(
                f"{WHERE}: {dotted[key]!r} does not belong in a release, expected {', '.join(expected)} alone; what is"
                " the same for every release belongs in the base or the overlay"
            )
    values: dict[str, str] = {}
    for key, inner in expected.items():
        if key not in found:
            raise VerificationError(f"{WHERE}: {dotted[key]}: missing; write it, with the value none if it is not set")
        values |= _matched(found[key], inner, dotted[key])
    return values


def _checked(values: Mapping[str, str], set_to_none: Mapping[str, str | None] | None = None) -> Release:
    """The release of four texts, of which `none` is a value that is not set."""
    for name, value in (set_to_none or {}).items():
        if value == NONE:
            raise _wrong(name, "None for a value that is not set", value)
    for name, (is_right, expected) in _RULES.items():
        if values[name] != NONE and not is_right(values[name]):
            raise _wrong(name, f"{expected}, or none", values[name])
    found = {name: None if value == NONE else value for name, value in values.items()}
    model = [found[name] for name in ("model_sha256", "store", "receipt_sha256")]
    if None in model and any(model):
        raise VerificationError(
            f"{WHERE}: {MODEL_ANNOTATION}, {STORE_ANNOTATION} and {RECEIPT_ANNOTATION} are not all set, expected all of"
            " them or none; a model is released with its store and its receipt"
        )
    return Release(**found)


def _is_sha256(text: str) -> bool:
    return _SHA256.fullmatch(text) is not None


def _is_image(text: str) -> bool:
    return len(text) <= LONGEST_VALUE and _IMAGE.fullmatch(text) is not None


def _is_store(text: str) -> bool:
    return 0 < len(text) <= LONGEST_VALUE and text.isprintable() and text == text.strip()


_RULES = MappingProxyType(
    {
        "model_sha256": (_is_sha256, "64 lower-case hexadecimal digits"),
        "store": (_is_store, "a folder or an address"),
        "receipt_sha256": (_is_sha256, "64 lower-case hexadecimal digits"),
        "image": (_is_image, "an image by its digest, name@sha256: and 64 hexadecimal digits"),
    }
)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _wrong(where: str, expected: str, found: Any) -> VerificationError:
    shown = ascii(found)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    return VerificationError(f"{WHERE}: {where}: expected {expected}, found {shown}; write it anew")
