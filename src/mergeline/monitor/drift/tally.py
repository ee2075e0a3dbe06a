"""Rows of the log counted column by column: fast while a file is read, then as sketches that can be added up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mergeline.monitor.profile import Profile
from mergeline.monitor.sketch import DROPPED_BITS, KEYS, CategoryCounts, Counts, NumberSketch
from mergeline.schema import Feature, Kind

MIDDLE = KEYS // 2  # the key of zero
INFINITY = 0x7F800000 >> DROPPED_BITS  # its key, counted from that of zero
BELOW_SIGN = np.int32(MIDDLE - 1)  # the bits of a key below its sign
NEGATIVE_ZERO = np.int32(-(2**31))


class NumberTally:
    """The histogram of one column of numbers while its values come; the same counts as `NumberSketch.of`.

    Keys are counted from that of zero. Nothing is sorted and no missing value is taken out of its column, so that a
    value costs a few nanoseconds.
    """

    def __init__(self) -> None:
        self._first = 0  # the key of `_counts[0]`
        self._counts = np.zeros(0, dtype=np.int64)
        self._missing = 0

    def add(self, values: NDArray[np.floating[Any]], known: NDArray[np.uint8] | None = None) -> None:
        """Count values [n], where NaN is missing, and whatever stands where `known` [n] is 0 and not 1."""
        missing = 0 if known is None else len(values) - int(np.count_nonzero(known))
        self._missing += missing
        if missing == len(values):
            return
        with np.errstate(over="ignore", invalid="ignore"):
            keys = values.astype(np.float32).view(np.int32)
        mask = -(known.astype(np.int32)) if missing and known is not None else None
        if mask is not None:
            keys &= mask
        negative = int(keys.min()) < 0
        zeros = int(np.count_nonzero(keys == NEGATIVE_ZERO)) if negative else 0
        keys >>= DROPPED_BITS
        if negative:  # the bits of negative numbers rise as they fall
            keys ^= (keys >> 31) & BELOW_SIGN
        first = int(keys.min()) if mask is None else self._near(keys, mask)
        keys -= first
        if mask is not None:
            keys &= mask  # the missing now stand at `first`
            least = int(keys.min())
            keys -= least
            first += least
        counts = np.bincount(keys)
        if mask is not None:
            counts[-least] -= missing
        if zeros:
            counts[-1 - first] -= zeros
            self._put(0, np.array([zeros]))
        self._put(first, counts)

    def sketch(self) -> NumberSketch:
        """Return what was counted so far."""
        kept = np.flatnonzero(self._counts)
        keys, counts = kept + self._first, self._counts[kept]
        known = (keys <= INFINITY) & (keys >= -1 - INFINITY)
        missing = self._missing + int(counts[~known].sum())
        return NumberSketch(keys[known] + MIDDLE, counts[known], missing)

    def _near(self, keys: NDArray[np.int32], mask: NDArray[np.int32]) -> int:
        """A key that the least is likely to be: that of the rows before, so that no array of the known is made."""
        return self._first if len(self._counts) else int(keys[mask != 0].min())

    def _put(self, first: int, counts: Counts) -> None:
        if not len(self._counts):
            self._first, self._counts = first, counts.astype(np.int64)
            return
        start, end = self._first, self._first + len(self._counts)
        if first < start or first + len(counts) > end:
            low, high = min(start, first), max(end, first + len(counts))
            grown = np.zeros(high - low, dtype=np.int64)
            grown[start - low : end - low] = self._counts
            self._first, self._counts = low, grown
        self._counts[first - self._first : first - self._first + len(counts)] += counts


class CategoryTally:
    """How often each category came while its values come; those that training did not keep apart together."""

    def __init__(self, categories: Sequence[str]) -> None:
        self._codes = {text: at for at, text in enumerate(categories)}
        self._categories = tuple(categories)
        self._counts = np.zeros(len(self._codes) + 1, dtype=np.int64)  # the last: any other
        self._missing = 0

    def codes(self, texts: Sequence[str]) -> NDArray[np.intp]:
        """Return the place [n] of each text among the categories; behind them all of any other."""
        other = len(self._codes)
        return np.array([self._codes.get(text, other) for text in texts], dtype=np.intp)

    def add(self, indices: NDArray[np.int32], codes: NDArray[np.intp], missing: int = 0) -> None:
        """Count values [n] that are positions in a dictionary whose texts have these `codes`."""
        self._missing += missing
        if len(indices):
            found = np.bincount(indices, minlength=len(codes))
            self._counts += np.bincount(codes, found, minlength=len(self._counts)).astype(np.int64)

    def counts(self) -> CategoryCounts:
        """Return what was counted so far."""
        *known, other = self._counts.tolist()
        return CategoryCounts(self._missing, other, dict(zip(self._categories, known, strict=True)))


ColumnTally = NumberTally | CategoryTally


def column_tally(feature: Feature) -> ColumnTally:
    """Return an empty tally of a feature."""
    return CategoryTally(feature.categories) if feature.kind is Kind.CATEGORY else NumberTally()


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """The rows with the smallest hashes, `size` at most, float64 (rows, features): numbers, and codes of categories.

    Which rows these are does not depend on how the log was read. A category's code is its place among the signature's,
    -1 missing, their number any other.
    """

    size: int
    hashes: NDArray[np.uint64]
    rows: NDArray[np.float64]

    @classmethod
    def empty(cls, size: int, features: int) -> Sample:
        """Return a sample of no row."""
        return cls(size, np.zeros(0, dtype=np.uint64), np.zeros((0, features)))

    @property
    def bound(self) -> np.uint64:
        """Rows with a greater hash than this can no longer get in."""
        return self.hashes[-1] if len(self.hashes) == self.size and self.size else np.uint64(2**64 - 1)

    def merge(self, other: Sample) -> Sample:
        """Return the sample of both logs' rows."""
        hashes = np.concatenate([self.hashes, other.hashes])
        rows = np.concatenate([self.rows, other.rows])
        order = np.lexsort((*rows.T[::-1], hashes))[: self.size]  # rows of one hash by their values
        return Sample(self.size, hashes[order], rows[order])


def hashes_of(*columns: NDArray[Any]) -> NDArray[np.uint64]:
    """Return a hash [n] of columns of 8 bytes a value (the mixer of splitmix64; Steele, Lea and Flood, 2014)."""
    found = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:
        found ^= column.view(np.uint64)
        found += np.uint64(0x9E3779B97F4A7C15)
        found ^= found >> np.uint64(30)
        found *= np.uint64(0xBF58476D1CE4E5B9)
        found ^= found >> np.uint64(27)
        found *= np.uint64(0x94D049BB133111EB)
        found ^= found >> np.uint64(31)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """The rows of one window, one release and one sampling rate as sketches, and a sample of them."""

    profile: Profile
    sample: Sample

    def merge(self, other: Tally) -> Tally:
        """Return the tally of both logs' rows."""
        return Tally(self.profile.merge(other.profile), self.sample.merge(other.sample))


@dataclass(frozen=True, slots=True)
class Span:
    """Rows, and the first and the last of their times in microseconds since 1970."""

    rows: int
    first_us: int
    last_us: int

    def merge(self, other: Span) -> Span:
        """Return the span of both."""
        return Span(self.rows + other.rows, min(self.first_us, other.first_us), max(self.last_us, other.last_us))


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """A part of the log, counted; parts merge in any order to what the whole log counts to.

    tallies: by position of the window and sampling rate, of the release that is checked. others: rows of other releases
    by window and model. challengers: their rows by window. duplicates, late, ahead: as in `record.Apart`. changes: what
    differs from the signature, by window. until_us: the latest moment of a request; None of no row.
    """

    tallies: Mapping[tuple[int, float], Tally] = field(default_factory=dict)
    others: Mapping[tuple[int, str], Span] = field(default_factory=dict)
    challengers: Mapping[int, int] = field(default_factory=dict)
    duplicates: Mapping[int, int] = field(default_factory=dict)
    late: int = 0
    ahead: int = 0
    changes: frozenset[tuple[int, str]] = frozenset()
    until_us: int | None = None

    def merge(self, other: Counted) -> Counted:
        """Return the count of both parts."""
        moments = [each.until_us for each in (self, other) if each.until_us is not None]
        return Counted(
            _merged(self.tallies, other.tallies, Tally.merge),
            _merged(self.others, other.others, Span.merge),
            _merged(self.challengers, other.challengers, int.__add__),
            _merged(self.duplicates, other.duplicates, int.__add__),
            self.late + other.late,
            self.ahead + other.ahead,
            self.changes | other.changes,
            max(moments, default=None),
        )


def _merged(own: Mapping[Any, Any], others: Mapping[Any, Any], merge: Any) -> dict[Any, Any]:
    found = dict(own)
    for key, each in others.items():
        found[key] = merge(found[key], each) if key in found else each
    return found
