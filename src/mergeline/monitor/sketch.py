"""One column as counts that can be added: a float-bit histogram of numbers, and how often each category came."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

KEY_BITS = 19  # of a float32: its sign, the 8 bits of its exponent, the first 10 of its mantissa
KEYS = 1 << KEY_BITS
DROPPED_BITS = 32 - KEY_BITS
SIGN = np.uint32(1 << 31)
TURNED_INFINITIES = (np.uint32(0x007FFFFF), np.uint32(0xFF800000))

BLOCK = 128
BLOCKS = KEYS // BLOCK
COUNT_BITS = 53  # counts stay whole numbers in every language that reads JSON

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


def keys_of(values: NDArray[np.floating[Any]]) -> Counts:
    """Return the key of each value, 0..2^19 - 1, in the order of the values; -0.0 has the key of 0.0.

    A value beyond float32 has the key of infinity; that of NaN lies outside those of numbers.
    """
    with np.errstate(over="ignore"):
        bits = (values.astype(np.float32) + np.float32(0)).view(np.uint32)
    # as whole numbers, the bits of positive floats rise with them, those of negative ones fall and come last
    turned = bits ^ ((bits.view(np.int32) >> 31).view(np.uint32) | SIGN)
    return (turned >> np.uint32(DROPPED_BITS)).astype(np.int64)


def _float_of(turned: NDArray[np.uint32]) -> Floats:
    """The float32 of turned bits, as float64; beyond the infinities lie NaNs, which no sketch counts."""
    turned = np.clip(turned, *TURNED_INFINITIES)
    bits = np.where(turned & SIGN, turned ^ SIGN, ~turned)
    return bits.view(np.float32).astype(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class NumberSketch:
    """How many values each key holds, and how many are missing.

    A key is the upper 19 bits of a float32, so neighbouring keys lie 0.1 % apart (2^-10) and no range has to be known
    before. Numbers, booleans (0 or 1) and days are all numbers. Two values that agree in these bits cannot be told
    apart: 16 days at today's dates, 2 in 2,048 and 3,000.
    """

    keys: Counts  # [kept] ascending
    counts: Counts  # [kept] each 1 or more
    missing: int

    @classmethod
    def of(cls, values: ArrayLike) -> NumberSketch:
        """Return the sketch of float values [n]; NaN is missing."""
        given = np.asarray(values)
        missing = np.isnan(given)
        keys = keys_of(given[~missing])
        least = int(keys.min()) if len(keys) else 0
        counts = np.bincount(keys - least)
        kept = np.flatnonzero(counts)
        return cls(kept + least, counts[kept].astype(np.int64), int(missing.sum()))

    @property
    def known(self) -> int:
        """The number of values that are not missing."""
        return int(self.counts.sum())

    @property
    def rows(self) -> int:
        """The number of values, missing ones included."""
        return self.known + self.missing

    def merge(self, other: NumberSketch) -> NumberSketch:
        """Return the sketch of both columns' values."""
        keys, own, others = self.aligned(other)
        return NumberSketch(keys, own + others, self.missing + other.missing)

    def aligned(self, other: NumberSketch) -> tuple[Counts, Counts, Counts]:
        """Return the keys of both [n], ascending, and how many values each of the two has there."""
        keys = np.union1d(self.keys, other.keys)
        aligned = np.zeros((2, len(keys)), dtype=np.int64)
        for row, each in enumerate((self, other)):
            aligned[row, np.searchsorted(keys, each.keys)] = each.counts
        return keys, aligned[0], aligned[1]

    def shares(self) -> Floats:
        """Return the share of the known values at or below each key [kept]; the last is 1."""
        return np.cumsum(self.counts) / max(1, self.known)

    def quantiles(self, shares: ArrayLike) -> Floats:
        """Return, for each share in 0..1, the smallest value that this share of the known ones reaches; NaN of none.

        Each is cut to the bits of its key: exact for whole numbers to 2,048, else up to 0.1 % nearer to zero.
        """
        wanted = np.asarray(shares, dtype=np.float64)
        if not self.known:
            return np.full(wanted.shape, np.nan)
        rank = np.clip(np.ceil(wanted * self.known), 1, self.known)
        return values_of(self.keys)[np.searchsorted(np.cumsum(self.counts), rank)]

    def as_dict(self) -> dict[str, Any]:
        """Return the sketch as JSON's types."""
        return {"missing": self.missing, "histogram": packed(self.keys, self.counts)}

    @classmethod
    def from_dict(cls, raw: Any) -> NumberSketch:
        """Return the sketch that `as_dict` gave; raise ValueError where it did not."""
        checked_names(raw, ("missing", "histogram"))
        if not isinstance(raw["histogram"], str):
            raise ValueError(f"expected a packed histogram, found {raw['histogram']!r}")  # noqa: TRY004  one error
        keys, counts = unpacked(raw["histogram"])
        return cls(keys, counts, checked_count(raw["missing"]))


@dataclass(frozen=True, slots=True)
class CategoryCounts:
    """How often each value came that training keeps apart, how often any other, and how often none."""

    missing: int
    other: int
    counts: Mapping[str, int]

    @property
    def rows(self) -> int:
        """The number of values, missing ones included."""
        return self.missing + self.other + sum(self.counts.values())

    def merge(self, other: CategoryCounts) -> CategoryCounts:
        """Return the counts of both columns' values."""
        values, own, others = self.aligned(other)
        missing, rest, *counts = (own + others).tolist()
        return CategoryCounts(missing, rest, dict(zip(values, counts, strict=True)))

    def aligned(self, other: CategoryCounts) -> tuple[tuple[str, ...], Counts, Counts]:
        """Return the values of both, sorted, and two arrays in the order of codes: missing, other, then the values."""
        values = tuple(sorted({*self.counts, *other.counts}))
        own, others = (
            np.array([each.missing, each.other, *(each.counts.get(value, 0) for value in values)], dtype=np.int64)
            for each in (self, other)
        )
        return values, own, others

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as JSON's types."""
        return {"missing": self.missing, "other": self.other, "counts": dict(self.counts)}

    @classmethod
    def from_dict(cls, raw: Any) -> CategoryCounts:
        """Return the counts that `as_dict` gave; raise ValueError where it did not."""
        checked_names(raw, ("missing", "other", "counts"))
        if not isinstance(raw["counts"], dict):
            raise ValueError(f"expected counts by value, found {raw['counts']!r}")  # noqa: TRY004  one error
        counts = {value: checked_count(count) for value, count in raw["counts"].items()}
        return cls(checked_count(raw["missing"]), checked_count(raw["other"]), counts)


def edges(keys: Counts) -> tuple[Floats, Floats]:
    """Return the smallest and the largest float32 of each key [n], as float64; a key holds both and all between."""
    first = (keys << DROPPED_BITS).astype(np.uint32)
    return _float_of(first), _float_of(first | np.uint32((1 << DROPPED_BITS) - 1))


def values_of(keys: Counts) -> Floats:
    """Return the value of each key [n] that is nearest to zero: the one whose dropped bits are none."""
    low, high = edges(keys)
    return np.where(low < 0, high, low) + 0.0


def packed(keys: Counts, counts: Counts) -> str:
    """Return a sparse histogram as short text, the same wherever it is made: no library compresses it.

    In blocks of 128 neighbouring keys that hold a value: Base64 of, least byte first, the number of blocks (2 bytes),
    each block's place (2 bytes), its smallest count (8 bytes), its width (1 byte), and then of each block 128 counts
    above the smallest in so many bits; blocks by width, then by place. 0.7 bytes a key where keys lie close together.
    """
    places, rows = np.unique(keys // BLOCK, return_inverse=True)
    dense = np.zeros((len(places), BLOCK), dtype=np.int64)
    dense[rows, keys % BLOCK] = counts
    least = dense.min(axis=1)
    above = dense - least[:, None]
    widths = np.frexp(above.max(axis=1).astype(np.float64))[1] if len(places) else np.zeros(0, dtype=np.int64)
    order = np.argsort(widths, kind="stable")
    bits = [(above[order][widths[order] == width][:, :, None] >> np.arange(width)) & 1 for width in np.unique(widths)]
    parts = [
        np.array([len(places)], dtype="<u2").tobytes(),
        places[order].astype("<u2").tobytes(),
        least[order].astype("<u8").tobytes(),
        widths[order].astype(np.uint8).tobytes(),
        *(np.packbits(each.astype(np.uint8), axis=None, bitorder="little").tobytes() for each in bits),
    ]
    return base64.b64encode(b"".join(parts)).decode("ascii")


def unpacked(text: str) -> tuple[Counts, Counts]:
    """Return the keys and the counts of `packed`; raise ValueError where it did not make the text."""
    content = base64.b64decode(text, validate=True)
    blocks = int.from_bytes(content[:2], "little")
    head = 2 + blocks * (2 + 8 + 1)
    if len(content) < max(2, head):
        raise ValueError(f"expected a histogram of {max(2, head)} bytes or more, found {len(content)}")
    places, least, widths = (
        np.frombuffer(content, dtype=kind, count=blocks, offset=2 + blocks * before).astype(np.int64)
        for kind, before in (("<u2", 0), ("<u8", 2), (np.uint8, 10))
    )
    if len(content) != head + int(widths.sum()) * BLOCK // 8:
        raise ValueError(f"expected a histogram of {head + int(widths.sum()) * BLOCK // 8} bytes, found {len(content)}")
    if len(set(places.tolist())) != blocks or (places >= BLOCKS).any():
        raise ValueError(f"expected each block once, of {BLOCKS}")
    if (widths > COUNT_BITS).any() or (least < 0).any() or (least >> COUNT_BITS).any():
        raise ValueError(f"expected counts below 2^{COUNT_BITS}")
    steps = np.diff(widths, prepend=-1)
    if (steps < 0).any():
        raise ValueError("expected the blocks by their widths")
    dense, at = np.zeros((blocks, BLOCK), dtype=np.int64), head
    for first in np.flatnonzero(steps):
        width = widths[first]
        of_width = int((widths == width).sum())
        end = at + of_width * int(width) * BLOCK // 8
        bits = np.unpackbits(np.frombuffer(content[at:end], dtype=np.uint8), bitorder="little")
        dense[first : first + of_width] = bits.reshape(of_width, BLOCK, width) @ (1 << np.arange(width))
        at = end
    order = np.argsort(places)
    counts = (dense + least[:, None])[order].ravel()
    keys = (places[order][:, None] * BLOCK + np.arange(BLOCK)).ravel()
    return keys[counts > 0], counts[counts > 0]


def checked_names(raw: Any, names: tuple[str, ...]) -> None:
    """Raise ValueError where a record of JSON has not these names and no others."""
    found = sorted(raw) if isinstance(raw, dict) else raw
    if found != sorted(names):
        raise ValueError(f"expected {', '.join(sorted(names))}, found {found!r}")


def checked_count(raw: Any) -> int:
    """Return a count of JSON; raise ValueError where it is none."""
    if not isinstance(raw, int) or isinstance(raw, bool) or not 0 <= raw < 1 << COUNT_BITS:
        raise ValueError(f"expected a count, found {raw!r}")
    return raw
