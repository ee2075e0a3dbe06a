"""A column cut into a few groups by its reference, so that windows of later rows can be counted and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mergeline.monitor.sketch import CategoryCounts, Counts, NumberSketch, keys_of
from mergeline.schema import FIRST_CATEGORY_CODE, MISSING_CODE, OTHER_CODE

NUMBER_GROUPS = 10
NAMED_CATEGORIES = 10
NAMED_SHARE = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class NumberGroups:
    """At most ten groups of about equal mass, cut between keys of the reference.

    Counts are int64 [2 + groups]: missing, beyond the lowest and the highest key of the reference, then each group.
    """

    cuts: Counts  # [groups + 1] the first key of each group, and the first beyond the last; none where none is known

    @classmethod
    def of(cls, sketch: NumberSketch) -> NumberGroups:
        """A key of many values goes whole where its middle lies: there can be fewer groups, and unequal ones."""
        if not sketch.known:
            return cls(np.zeros(0, dtype=np.int64))
        middles = np.cumsum(sketch.counts) - sketch.counts / 2
        group = np.floor(middles * NUMBER_GROUPS / sketch.known)
        first = np.flatnonzero(np.diff(group, prepend=-1.0))
        return cls(np.append(sketch.keys[first], sketch.keys[-1] + 1))

    def reference(self, sketch: NumberSketch) -> Counts:
        """Return the counts of a sketch."""
        return self._laid_out(sketch.keys, sketch.counts, sketch.missing)

    def count(self, column: NDArray[np.floating[Any]]) -> Counts:
        """Return the counts of values [n]; NaN is missing."""
        missing = np.isnan(column)
        return self._laid_out(keys_of(column[~missing]), None, int(missing.sum()))

    def parted(self) -> list[int]:
        """Return what parts the groups."""
        found: list[int] = self.cuts.tolist()
        return found

    def _laid_out(self, keys: Counts, weights: Counts | None, missing: int) -> Counts:
        place = np.searchsorted(self.cuts, keys, side="right")
        inside = max(2, len(self.cuts) + 1)
        counts = np.bincount(place, weights, minlength=inside).astype(np.int64)
        return np.array([missing, counts[0] + counts[-1], *counts[1:-1]])


@dataclass(frozen=True, slots=True, eq=False)
class CategoryGroups:
    """The most frequent values by themselves, the rare ones together.

    Counts are int64 [size]: missing, other, the frequent values, then the rare ones where there are any.
    """

    categories: tuple[str, ...]
    group: Counts  # [codes] the position of each code
    size: int

    @classmethod
    def of(cls, counted: CategoryCounts, categories: Sequence[str]) -> CategoryGroups:
        """Keep at most ten values apart that each hold 1 % of the rows or more; `categories` in the order of codes."""
        counts = np.array([counted.counts[value] for value in categories], dtype=np.int64)
        ranked = np.argsort(-counts, kind="stable")[:NAMED_CATEGORIES]
        named = ranked[counts[ranked] >= NAMED_SHARE * max(1, counted.rows)]
        rare = FIRST_CATEGORY_CODE + len(named)
        group = np.full(FIRST_CATEGORY_CODE + len(categories), rare)
        group[[MISSING_CODE, OTHER_CODE]] = MISSING_CODE, OTHER_CODE
        group[FIRST_CATEGORY_CODE + named] = FIRST_CATEGORY_CODE + np.arange(len(named))
        return cls(tuple(categories), group, rare + (len(named) < len(categories)))

    def reference(self, counted: CategoryCounts) -> Counts:
        """Return the counts of a column that was counted by value."""
        by_code = [counted.missing, counted.other, *(counted.counts[value] for value in self.categories)]
        return np.bincount(self.group, by_code, minlength=self.size).astype(np.int64)

    def count(self, column: NDArray[np.floating[Any]]) -> Counts:
        """Return the counts of codes [n]."""
        return np.bincount(self.group[column.astype(np.intp)], minlength=self.size)

    def parted(self) -> list[int]:
        """Return what parts the groups."""
        found: list[int] = self.group.tolist()
        return found


Groups = NumberGroups | CategoryGroups
