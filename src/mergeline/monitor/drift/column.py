"""A column of Parquet as numpy sees it, without a copy: pyarrow's own converters would load pandas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mergeline.schema import Kind

if TYPE_CHECKING:
    import pyarrow as pa

MICROSECONDS_A_DAY = 86_400_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """Values [n] and where they are known: 1, or 0 where one is missing; None where none is.

    A category is its position in `texts`.
    """

    values: NDArray[Any]
    known: NDArray[np.uint8] | None
    texts: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    def taken(self, rows: NDArray[np.intp] | None) -> Values:
        """Return the values of these rows; None: of all."""
        if rows is None:
            return self
        return Values(self.values[rows], None if self.known is None else self.known[rows], self.texts)

    def filled(self, missing: Any) -> NDArray[Any]:
        """Return the values with `missing` where there is none."""
        return self.values if self.known is None else np.where(self.known, self.values, missing)


def is_kind(found: pa.DataType, kind: Kind) -> bool:
    """Return whether a column of this type is what the server logs for a feature of this kind."""
    import pyarrow as pa

    if kind is Kind.CATEGORY:
        return bool(_is_text(found))
    if kind is Kind.BOOLEAN:
        return bool(pa.types.is_boolean(found))
    if kind is Kind.DATETIME:
        return bool(pa.types.is_timestamp(found))
    return bool(pa.types.is_floating(found) or pa.types.is_integer(found))


def numbers(array: pa.Array) -> Values:
    """Return a column of numbers, booleans (0 and 1) or times (days since 1970) as floats."""
    import pyarrow as pa

    if pa.types.is_boolean(array.type):
        return Values(_bits(array.buffers()[1], array).astype(np.float64), _known(array))
    if pa.types.is_timestamp(array.type):
        found = moments(array)
        return Values(found.values / MICROSECONDS_A_DAY, found.known)
    plain = {pa.float64(): np.float64, pa.float32(): np.float32, pa.int64(): np.int64, pa.int32(): np.int32}
    if array.type not in plain:
        array = array.cast(pa.float64(), safe=False)
    return Values(_buffer(array, plain[array.type]).astype(np.float64, copy=False), _known(array))


def moments(array: pa.Array) -> Values:
    """Return a column of times as whole microseconds since 1970-01-01 UTC."""
    import pyarrow as pa

    if getattr(array.type, "unit", "us") != "us":
        array = array.cast(pa.timestamp("us", tz=array.type.tz), safe=False)
    return Values(_buffer(array, np.int64), _known(array))


def texts(array: pa.Array) -> Values:
    """Return a column of texts as positions in its dictionary."""
    import pyarrow as pa

    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    indices = array.indices if array.indices.type == pa.int32() else array.indices.cast(pa.int32())
    words = tuple("" if text is None else text for text in array.dictionary.to_pylist())
    return Values(_buffer(indices, np.int32), _known(indices), words)


def constant(found: Values) -> Any:
    """Return the one value of a column, its text where it has one; None where there are several, or any is missing."""
    if found.known is not None or not len(found):
        return None
    first = found.values[0]
    if found.values.min() != first or found.values.max() != first:
        return None
    return found.texts[first] if found.texts else first.item()


def _is_text(found: pa.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(found):
        found = found.value_type
    return bool(pa.types.is_string(found) or pa.types.is_large_string(found))


def _buffer(array: pa.Array, kind: Any) -> NDArray[Any]:
    if not len(array):
        return np.zeros(0, dtype=kind)
    return np.frombuffer(array.buffers()[1], kind, len(array) + array.offset)[array.offset :]


def _known(array: pa.Array) -> NDArray[np.uint8] | None:
    return _bits(array.buffers()[0], array) if array.null_count else None


def _bits(buffer: Any, array: pa.Array) -> NDArray[np.uint8]:
    """One byte for each bit of a column."""
    if not len(array):
        return np.zeros(0, dtype=np.uint8)
    end = array.offset + len(array)
    return np.unpackbits(np.frombuffer(buffer, np.uint8), count=end, bitorder="little")[array.offset :]
