"""Who answers a request: the champion, or a challenger for a sticky share of the keys; a shadow only listens."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from mergeline.errors import ConfigurationError
from mergeline.schema import FIRST_CATEGORY_CODE, MISSING_CODE, OTHER_CODE, Feature, Kind
from mergeline.serve.loading import Served
from mergeline.serve.rows import Rows

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Role(StrEnum):
    """What a variant is for."""

    CHAMPION = "champion"
    CHALLENGER = "challenger"
    SHADOW = "shadow"


class Variant:
    """A model in its role, which reads the rows that clients send to the champion.

    Raises `ConfigurationError` where it needs a feature that the champion's clients do not send.
    """

    def __init__(self, role: Role, served: Served, asked: Sequence[Feature]) -> None:
        self.name = role.value
        self.sha256 = served.sha256
        self.served = served
        self.signature = served.signature
        self.classes = served.signature.classes
        self._same = tuple(asked) == served.signature.features
        self._columns = () if self._same else _columns(served.signature.features, asked)

    def matrix(self, rows: Rows) -> NDArray[np.float32]:
        """Return the rows as this model reads them: float32 (rows, its features)."""
        if self._same:
            return rows.matrix
        values = np.empty((len(rows), len(self._columns)), dtype=np.float32)
        for position, column in enumerate(self._columns):
            values[:, position] = column.read(rows)
        return values

    def score(self, rows: Rows) -> NDArray[np.float64]:
        """Return the scores of the rows: float64 (rows, classes), or (rows, 1) of a regression."""
        return self.served.scorer.score_matrix(self.matrix(rows))


@dataclass(frozen=True, slots=True)
class Split:
    """Which keys the challenger answers: a `share` of them, the same ones whenever they come again.

    A key belongs to the challenger where the hash of challenger and key, as a number in [0, 1), lies below the share:
    so a larger share keeps all keys that a smaller one has, and two experiments divide the keys independently.
    """

    challenger_sha256: str
    share: float

    def takes(self, key: str) -> bool:
        """Whether the challenger answers the requests of a key.

        >>> [Split("0" * 64, share).takes("N14228") for share in (0.0, 1.0)]
        [False, True]
        """
        digest = hashlib.blake2b(key.encode(), key=self.challenger_sha256[:32].encode(), digest_size=8).digest()
        return int.from_bytes(digest) < self.share * 2**64


@dataclass(frozen=True, slots=True)
class Traffic:
    """All variants of a server: at most one of challenger and shadow beside the champion."""

    champion: Variant
    challenger: Variant | None = None
    split: Split | None = None
    shadow: Variant | None = None

    @property
    def variants(self) -> tuple[Variant, ...]:
        return tuple(each for each in (self.champion, self.challenger, self.shadow) if each is not None)

    @classmethod
    def of(cls, champion: Served, other: Served | None, share: float | None) -> Traffic:
        """Return the traffic of a champion alone, with a challenger for a share, or (no share) with a shadow."""
        asked = champion.signature.features
        first = Variant(Role.CHAMPION, champion, asked)
        if other is None:
            return cls(first)
        if (other.signature.task, other.signature.target) != (champion.signature.task, champion.signature.target):
            raise ConfigurationError(
                f"the challenger predicts {other.signature.target} ({other.signature.task}), the champion"
                f" {champion.signature.target} ({champion.signature.task}); they answer different questions"
            )
        if other.signature.classes != champion.signature.classes:
            raise ConfigurationError(
                f"the challenger answers the classes {', '.join(other.signature.classes)}, the champion"
                f" {', '.join(champion.signature.classes)}; their scores would not mean the same"
            )
        if share is None:
            return cls(first, shadow=Variant(Role.SHADOW, other, asked))
        return cls(first, Variant(Role.CHALLENGER, other, asked), Split(other.sha256, share))


@dataclass(frozen=True, slots=True)
class _Column:
    """Where a feature stands in the champion's rows and, for a category, the model's own code of each of its codes."""

    position: int
    recoded: NDArray[np.float32] | None
    codes: dict[str, int]

    def read(self, rows: Rows) -> NDArray[np.floating[Any]]:
        """The column as the model reads it; a category that is another to the champion may be one that it knows."""
        found = rows.values[:, self.position]
        if self.recoded is None:
            return found
        values = self.recoded[found.astype(np.int64)]
        for (row, position), text in (rows.texts or {}).items():
            if position == self.position:
                values[row] = self.codes.get(text, OTHER_CODE)
        return values


def _columns(features: Sequence[Feature], asked: Sequence[Feature]) -> tuple[_Column, ...]:
    by_name = {feature.name: position for position, feature in enumerate(asked)}
    columns = []
    for feature in features:
        position = by_name.get(feature.name)
        if position is None or asked[position].kind is not feature.kind:
            found = "it is not sent" if position is None else f"it is sent as {asked[position].kind}"
            raise ConfigurationError(
                f"the challenger reads {feature.name} as {feature.kind}, but {found} to the champion; promote it"
                " without an experiment, or train it on the champion's features"
            )
        columns.append(_column(position, feature, asked[position]))
    return tuple(columns)


def _column(position: int, feature: Feature, asked: Feature) -> _Column:
    if feature.kind is not Kind.CATEGORY:
        return _Column(position, None, {})
    codes = {name: number + FIRST_CATEGORY_CODE for number, name in enumerate(feature.categories)}
    recoded = [MISSING_CODE, OTHER_CODE, *(codes.get(name, OTHER_CODE) for name in asked.categories)]
    return _Column(position, np.array(recoded, dtype=np.float32), codes)
