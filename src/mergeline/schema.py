"""What a row looks like to a model: the one description that train, evaluate, the server and drift share."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

MISSING_CODE = 0
OTHER_CODE = 1
FIRST_CATEGORY_CODE = 2
MODEL_FILE = "model.onnx"
SIGNATURE_FILE = "signature.json"
SCORE = "score"  # the model's own column beside the features, in the reference and in logs


class Task(StrEnum):
    """The kinds of problem that the pipeline knows."""

    BINARY = "binary"
    MULTICLASS = "multiclass"
    REGRESSION = "regression"


class Kind(StrEnum):
    """How the values of a feature become one float32."""

    NUMBER = "number"
    BOOLEAN = "boolean"
    DATETIME = "datetime"
    CATEGORY = "category"


@dataclass(frozen=True, slots=True)
class Feature:
    """One input column of a model.

    `categories` (of a `category` feature) holds the training values in the order of their codes: the value at position
    i has the code i + 2; 0 is a missing value, 1 a value that training did not keep apart.
    """

    name: str
    kind: Kind
    categories: tuple[str, ...] = ()

    @property
    def codes(self) -> int:
        """The number of codes that a `category` feature can take, missing and other included."""
        return FIRST_CATEGORY_CODE + len(self.categories)


@dataclass(frozen=True, slots=True)
class KnownSample:
    """A real training row as JSON and the scores that the model must give for it, on every machine, within 1e-5."""

    row: dict[str, Any]
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """All that is needed to turn a row into the model's input and its output into an answer.

    `classes` names the columns of the scores (empty for a regression); a binary model answers `classes[1]` from
    `threshold` on. The scores of a regression are in the target's own unit. `onnx_sha256` names the bytes of the model
    that this signature belongs to; None in a signature that is not written yet. `personal` names the features whose
    values a server must not keep.
    """

    task: Task
    target: str
    features: tuple[Feature, ...]
    classes: tuple[str, ...]
    threshold: float | None
    samples: tuple[KnownSample, ...] = ()
    onnx_sha256: str | None = None
    personal: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Return the text of `signature.json`; `from_json` reads it back to an equal record."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Signature:
        """Return the signature that `to_json` wrote."""
        raw = json.loads(text)
        return cls(
            task=Task(raw["task"]),
            target=raw["target"],
            features=tuple(Feature(f["name"], Kind(f["kind"]), tuple(f["categories"])) for f in raw["features"]),
            classes=tuple(raw["classes"]),
            threshold=raw["threshold"],
            samples=tuple(KnownSample(s["row"], tuple(s["scores"])) for s in raw["samples"]),
            onnx_sha256=raw["onnx_sha256"],
            personal=tuple(raw["personal"]),
        )
