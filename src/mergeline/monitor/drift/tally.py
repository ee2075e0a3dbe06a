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
TWICE = np.int32(2 * MIDDLE - 2)  # the bits of twice a magnitude
NEGATIVE_ZERO = np.int32(-(2**31))


class Histogram:
    """Counts of whole numbers in a range that grows."""

    def __init__(self) -> None:
        self._first = 0
        self._counts = np.zeros(0, dtype=np.int64)

    @property
    def near(self) -> int | None:
        """A key that the next ones are likely to lie near or above; None before the first."""
        return self._first if len(self._counts) else None

    def put(self, first: int, counts: Counts) -> None:
        """Add counts of neighbouring keys from `first` on."""
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

    def found(self) -> tuple[Counts, Counts]:
        """Return the keys that were seen [kept] and how often each was."""
        kept = np.flatnonzero(self._counts)
        return kept + self._first, self._counts[kept]


class NumberTally:
    """The histogram of one column of numbers while its values come; the same counts as `NumberSketch.of`.

    Nothing is sorted and no missing value is taken out of its column, so that a value costs a few nanoseconds. Rows
    with negative numbers among them are counted by magnitude and sign, of which the range is short: in the order of
    the numbers all keys between the smallest negative and the smallest positive one would lie in it.
    """

    def __init__(self) -> None:
        self._positive = Histogram()  # by magnitude
        self._signed = Histogram()  # by twice the magnitude, one more for a negative number
        self._negative_zeros = 0
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
        histogram = self._positive
        least = int(keys.min())
        if least < 0:
            histogram = self._signed
            self._negative_zeros += int(np.count_nonzero(keys == NEGATIVE_ZERO))
            negative = keys < 0
            keys >>= DROPPED_BITS - 1
            keys &= TWICE
            keys |= negative
            least = int(keys.min())
        else:
            keys >>= DROPPED_BITS
            least >>= DROPPED_BITS
        if mask is None:
            keys -= least
            histogram.put(least, np.bincount(keys))
        else:
            self._put_known(histogram, keys, mask, missing)

    def sketch(self) -> NumberSketch:
        """Return what was counted so far."""
        magnitudes, more = self._positive.found()
        keys, counts = self._signed.found()
        zeros = [self._negative_zeros] * bool(self._negative_zeros)  # they stand with the negative numbers
        every = np.concatenate(
            [
                magnitudes + MIDDLE,
                np.where(keys & 1, MIDDLE - 1 - (keys >> 1), MIDDLE + (keys >> 1)),
                [MIDDLE - 1 for _ in zeros],
                [MIDDLE for _ in zeros],
            ]
        ).astype(np.int64)
        least = int(every.min(initial=KEYS))
        summed = np.bincount(every - least, np.concatenate([more, counts, [-count for count in zeros], zeros]))
        kept = np.flatnonzero(summed)
        found, summed = kept + least, summed[kept].astype(np.int64)
        known = (found >= MIDDLE - 1 - INFINITY) & (found <= MIDDLE + INFINITY)
        return NumberSketch(found[known], summed[known], self._missing + int(summed[~known].sum()))

    @staticmethod
    def _put_known(histogram: Histogram, keys: NDArray[np.int32], mask: NDArray[np.int32], missing: int) -> None:
        """Count the keys where the mask is -1: the others are given a key near by, and taken off its count."""
        first = int(keys[mask != 0].min()) if histogram.near is None else histogram.near
        keys -= first
        keys &= mask
        least = int(keys.min())
        keys -= least
        counts = np.bincount(keys)
        counts[-least] -= missing
        histogram.put(first + least, counts)


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
    by window and model. challengers: their rows by window. duplicates, late, ahead, behind: as in `record.Apart`.
    changes: what differs from the signature, by window. until_us: the latest moment of a request; None of no row.
    """

    tallies: Mapping[tuple[int, float], Tally] = field(default_factory=dict)
    others: Mapping[tuple[int, str], Span] = field(default_factory=dict)
    challengers: Mapping[int, int] = field(default_factory=dict)
    duplicates: Mapping[int, int] = field(default_factory=dict)
    late: int = 0
    ahead: int = 0
    changes: frozenset[tuple[int, str]] = frozenset()
    until_us: int | None = None
    behind: int = 0

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
            self.behind + other.behind,
        )


def _merged(own: Mapping[Any, Any], others: Mapping[Any, Any], merge: Any) -> dict[Any, Any]:
    found = dict(own)
    for key, each in others.items():
        found[key] = merge(found[key], each) if key in found else each
    return found
