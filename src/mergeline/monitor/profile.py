"""The reference profile: what the training rows and their scores looked like, as counts that can be added."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mergeline.errors import DataError, VerificationError
from mergeline.monitor.sketch import CategoryCounts, NumberSketch, checked_count, checked_names
from mergeline.schema import Feature, Kind

PROFILE_FILE = "profile.json"
VERSION = 1
PARTS = ("version", "rows", "numbers", "categories", "score", "labels")

Sketch = TypeVar("Sketch", NumberSketch, CategoryCounts)
Labels = NumberSketch | CategoryCounts | None


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """Rows as one sketch a feature, one of the model's score and, where they are known, one of the labels.

    The score is the one that a model answers with: of the positive class, of the likeliest class, or the prediction.
    `labels` are counts by class, or the target of a regression. Profiles of parts of a table merge into that of the
    whole, in any order, to the same text.
    """

    rows: int
    numbers: Mapping[str, NumberSketch]
    categories: Mapping[str, CategoryCounts]
    score: NumberSketch
    labels: Labels = None
    version: int = VERSION

    def merge(self, other: Profile) -> Profile:
        """Return the profile of both tables' rows; raise `DataError` where they have not the same columns."""
        for what, own, others in (
            ("numbers", sorted(self.numbers), sorted(other.numbers)),
            ("categories", sorted(self.categories), sorted(other.categories)),
            ("labels", type(self.labels).__name__, type(other.labels).__name__),
        ):
            if own != others:
                raise DataError(f"profile.{what}: expected {own}, found {others}; merge profiles of one signature")
        return Profile(
            self.rows + other.rows,
            {name: each.merge(other.numbers[name]) for name, each in self.numbers.items()},
            {name: each.merge(other.categories[name]) for name, each in self.categories.items()},
            self.score.merge(other.score),
            _merged_labels(self.labels, other.labels),
        )

    def to_json(self) -> str:
        """Return the text of `profile.json`: the same bytes for the same rows, in whatever order they came."""
        record = {
            "version": self.version,
            "rows": self.rows,
            "numbers": {name: each.as_dict() for name, each in self.numbers.items()},
            "categories": {name: each.as_dict() for name, each in self.categories.items()},
            "score": self.score.as_dict(),
            "labels": self.labels.as_dict() if self.labels else None,
        }
        return json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str = PROFILE_FILE) -> Profile:
        """Return the profile that `to_json` wrote.

        Raises `VerificationError`, which names the place `where` the text was found, for one of another version and
        for one that is damaged: not JSON, parts missing, or columns that do not all count the same rows.
        """
        raw = _read(where, json.loads, text)
        version = raw.get("version") if isinstance(raw, dict) else None
        if version != VERSION:
            made = "train with this release of mergeline, or serve with the one that trained"
            raise VerificationError(f"{where}: expected a profile of version {VERSION}, found {version!r}; {made}")
        _read(where, lambda record: checked_names(record, PARTS), raw)
        found = cls(
            _read(f"{where}: rows", checked_count, raw["rows"]),
            _columns(f"{where}: numbers", NumberSketch.from_dict, raw["numbers"]),
            _columns(f"{where}: categories", CategoryCounts.from_dict, raw["categories"]),
            _read(f"{where}: score", NumberSketch.from_dict, raw["score"]),
            _read(f"{where}: labels", _labels_from, raw["labels"]),
        )
        found._check(where)
        return found

    def _check(self, where: str) -> None:
        named: dict[str, Labels] = {**self.numbers, **self.categories, "score": self.score, "labels": self.labels}
        for name, each in named.items():
            if each is not None and each.rows != self.rows:
                raise _damaged(f"{where}: {name}", f"expected {self.rows} rows, found {each.rows}")


def profile_of(
    matrix: NDArray[np.float32], features: Sequence[Feature], scores: NDArray[np.float64], labels: Labels = None
) -> Profile:
    """Return the profile of encoded rows, float32 (rows, features), and their scores (rows,).

    A number is itself, NaN where missing; a category is its code: 0 missing, 1 other, i + 2 the value i. Raises
    `DataError` where the shapes do not fit each other.
    """
    if matrix.shape != (len(scores), len(features)):
        expected = (len(scores), len(features))
        raise DataError(f"profile: expected a matrix of (rows, features) {expected}, found {matrix.shape}")
    columns = dict(zip(features, matrix.T, strict=True))
    return Profile(
        len(scores),
        {each.name: NumberSketch.of(column) for each, column in columns.items() if each.kind is not Kind.CATEGORY},
        {each.name: _counted(each, column) for each, column in columns.items() if each.kind is Kind.CATEGORY},
        NumberSketch.of(scores),
        labels,
    )


def _counted(feature: Feature, codes: NDArray[np.float32]) -> CategoryCounts:
    missing, other, *counts = np.bincount(codes.astype(np.int64), minlength=feature.codes).tolist()
    return CategoryCounts(missing, other, dict(zip(feature.categories, counts, strict=True)))


def _merged_labels(own: Labels, others: Labels) -> Labels:
    if isinstance(own, NumberSketch) and isinstance(others, NumberSketch):
        return own.merge(others)
    if isinstance(own, CategoryCounts) and isinstance(others, CategoryCounts):
        return own.merge(others)
    return None


def _labels_from(raw: Any) -> Labels:
    if raw is None:
        return None
    return CategoryCounts.from_dict(raw) if "counts" in raw else NumberSketch.from_dict(raw)


def _columns(where: str, make: Callable[[Any], Sketch], raw: Any) -> dict[str, Sketch]:
    if not isinstance(raw, dict):
        raise _damaged(where, f"expected columns by name, found {raw!r}")
    return {name: _read(f"{where}.{name}", make, each) for name, each in raw.items()}


def _read(where: str, make: Callable[[Any], Any], raw: Any) -> Any:
    try:
        return make(raw)
    except (ValueError, TypeError) as err:
        raise _damaged(where, str(err)) from err


def _damaged(where: str, found: str) -> VerificationError:
    return VerificationError(f"{where}: {found}; restore the model's files together, or train anew")
