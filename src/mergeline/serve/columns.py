"""Arrow columns straight from numpy: pyarrow's own converters would load pandas, and cost more of the GIL.

Most steps of numpy and Arrow let go of the GIL. The thread then waits until the event loop lets go of it, and the event
loop waits after that until the thread's next step does: the fewer steps, the better.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NO_TIME = -(2**63)  # stands for a missing time among microseconds since 1970-01-01 UTC
NO_TEXT = -1  # stands for a missing text among lengths
REMEMBERED = 1_024  # dictionaries and columns of one value


@dataclass(frozen=True, slots=True)
class PackedText:
    """Texts end to end as UTF-8, and the length of each in bytes (int32), NO_TEXT for a missing one."""

    data: bytes
    lengths: NDArray[np.int32]


def packed(texts: Sequence[str | None]) -> PackedText:
    """Return the texts of a column as their bytes; what is no Unicode (a lone surrogate) becomes a question mark."""
    import numpy as np

    gaps = None in texts
    there = ["" if text is None else text for text in texts] if gaps else cast(Sequence[str], texts)
    joined = "".join(there)
    data = joined.encode("utf-8", "replace")
    if len(data) == len(joined):
        lengths = np.fromiter(map(len, there), np.int32, len(there))
    else:
        lengths = np.fromiter((len(text.encode("utf-8", "replace")) for text in there), np.int32, len(there))
    if gaps:
        lengths[[text is None for text in texts]] = NO_TEXT
    return PackedText(data, lengths)


def text_column(parts: Sequence[PackedText]) -> Any:
    """Return a string column of packed texts, one part after the other."""
    import numpy as np
    import pyarrow as pa

    lengths = joined([part.lengths for part in parts])
    gaps = lengths.min(initial=0) == NO_TEXT
    offsets = np.empty(len(lengths) + 1, np.int32)
    offsets[0] = 0
    np.cumsum(np.maximum(lengths, 0) if gaps else lengths, dtype=np.int32, out=offsets[1:])
    buffers = [pa.py_buffer(offsets), pa.py_buffer(b"".join([part.data for part in parts]))]
    return _column(pa.string(), len(lengths), lengths != NO_TEXT if gaps else None, buffers)


def number_column(values: NDArray[np.float64]) -> Any:
    """Return a double column; NaN is missing."""
    return number_columns(values[None])[0]


def number_columns(values: NDArray[np.float64]) -> list[Any]:
    """Return the double columns of an array of shape (columns, rows), as parts of one; NaN is missing."""
    import numpy as np
    import pyarrow as pa

    whole = np.ascontiguousarray(values).ravel()
    there = np.equal(whole, whole) if np.isnan(whole.min(initial=0.0)) else None  # itself is what NaN is not
    return _parts(_column(pa.float64(), len(whole), there, [pa.py_buffer(whole)]), values.shape)


def boolean_column(values: NDArray[np.float64]) -> Any:
    """Return a boolean column of 0 and 1; NaN is missing."""
    import numpy as np
    import pyarrow as pa

    there = ~np.isnan(values)
    return _column(pa.bool_(), len(there), there, [_bits((values != 0) & there)])


def time_column(microseconds: NDArray[np.int64]) -> Any:
    """Return a UTC time stamp column; NO_TIME is missing."""
    import numpy as np
    import pyarrow as pa

    there = np.not_equal(microseconds, NO_TIME) if microseconds.min(initial=0) == NO_TIME else None
    return _column(time_type(), len(microseconds), there, [pa.py_buffer(microseconds)])


def no_times(rows: int) -> Any:
    """Return a time stamp column in which all are missing."""
    return _first(rows, _nulls, time_type())


def no_texts(rows: int) -> Any:
    """Return a string column in which all are missing."""
    import pyarrow as pa

    return _first(rows, _nulls, pa.string())


def constant_column(value: float | str, rows: int) -> Any:
    """Return a column of one value: of int32 for an int, double for a float, dictionary-encoded for a text."""
    return _first(rows, _constant, value)


def integer_column(values: NDArray[np.int32]) -> Any:
    """Return an int32 column without gaps."""
    import pyarrow as pa

    return _column(pa.int32(), len(values), None, [pa.py_buffer(values)])


def coded_column(codes: NDArray[np.int32], values: Any) -> Any:
    """Return a dictionary-encoded string column: a code is a position in a `dictionary`, a negative one is missing."""
    return coded_columns(codes[None], [values])[0]


def coded_columns(codes: NDArray[np.int32], values: Sequence[Any]) -> list[Any]:
    """Return the dictionary-encoded columns of codes of shape (columns, rows), with the `dictionary` of each column.

    Raises `ValueError` for a code behind the end of its dictionary.
    """
    import numpy as np
    import pyarrow as pa

    ends = [len(texts) for texts in values]
    highest = codes.max(axis=1, initial=-1).tolist()
    if any(code >= end for code, end in zip(highest, ends, strict=True)):
        raise ValueError(f"expected codes below {ends}, found up to {highest}")
    whole = np.ascontiguousarray(codes).ravel()
    indices = _parts(_column(pa.int32(), len(whole), whole >= 0, [pa.py_buffer(whole)]), codes.shape)
    return [  # safe looks for such codes, column by column
        pa.DictionaryArray.from_arrays(index, texts, safe=False) for index, texts in zip(indices, values, strict=True)
    ]


def dictionary(values: Sequence[str]) -> Any:
    """Return the texts that the codes of a column stand for."""
    return text_column([packed(values)])


@lru_cache(maxsize=REMEMBERED)
def known_dictionary(values: tuple[str, ...]) -> Any:
    """Return the `dictionary` of texts that come with a signature; it is made once."""
    return dictionary(values)


def few_texts_column(texts: Sequence[str | None]) -> Any:
    """Return a dictionary-encoded string column of texts that repeat; None is missing."""
    import numpy as np

    numbers: dict[str, int] = {}
    codes = [-1 if text is None else numbers.setdefault(text, len(numbers)) for text in texts]
    return coded_column(np.array(codes, np.int32), dictionary(list(numbers)))


def list_column(values: NDArray[np.float64]) -> Any:
    """Return a column of lists of doubles from shape (rows, length); a row that holds a NaN is missing."""
    import numpy as np
    import pyarrow as pa

    there: NDArray[np.bool_] = ~np.any(np.isnan(values), axis=1)
    offsets = np.zeros(len(values) + 1, np.int32)
    np.cumsum(there * np.int32(values.shape[1]), out=offsets[1:])
    inner = number_column(values[there].ravel())
    return _column(pa.list_(pa.float64()), len(there), there, [pa.py_buffer(offsets)], [inner])


def time_type() -> Any:
    """Return the type of all times in a log: microseconds, UTC."""
    import pyarrow as pa

    return pa.timestamp("us", tz="UTC")


def parquet_bytes(columns: dict[str, Any], metadata: dict[str, str], statistics: Sequence[str]) -> bytes:
    """Return one Parquet file of one row group; dictionary columns are written as such, others plainly.

    Snappy: zstd makes it a third smaller at nearly twice the processor's time, which answers need more. The Arrow
    schema is left out, so that a reader finds plain strings in dictionary columns as well.
    """
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    table = pa.Table.from_arrays(list(columns.values()), names=list(columns))
    sink = pa.BufferOutputStream()
    with ParquetWriter(
        sink,
        table.schema,
        compression="snappy",
        use_dictionary=[name for name, column in columns.items() if pa.types.is_dictionary(column.type)],
        write_statistics=list(statistics),
        store_schema=False,
    ) as writer:
        writer.write_table(table, row_group_size=max(1, table.num_rows))
        writer.add_key_value_metadata(metadata)
    return bytes(sink.getvalue().to_pybytes())


def joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return arrays one after the other; the only one as it is."""
    import numpy as np

    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _parts(whole: Any, shape: tuple[int, ...]) -> list[Any]:
    """A column of columns times rows, end to end, as these columns."""
    columns, rows = shape
    return [whole.slice(at * rows, rows) for at in range(columns)]


def _first(rows: int, make: Callable[[Any, int], Any], value: Any) -> Any:
    """The first rows of a longer column of one value, which is remembered."""
    return make(value, 1 << rows.bit_length()).slice(0, rows)


@lru_cache(maxsize=REMEMBERED)
def _nulls(kind: Any, rows: int) -> Any:
    import pyarrow as pa

    return pa.nulls(rows, kind)


@lru_cache(maxsize=REMEMBERED, typed=True)
def _constant(value: float | str, rows: int) -> Any:
    import numpy as np

    if isinstance(value, str):
        return coded_column(np.zeros(rows, np.int32), dictionary([value]))
    if isinstance(value, int):
        return integer_column(np.full(rows, value, np.int32))
    return number_column(np.full(rows, value))


def _column(
    kind: Any, rows: int, there: NDArray[np.bool_] | None, buffers: list[Any], children: list[Any] | None = None
) -> Any:
    """A column with the validity bits of `there`, or without any where nothing is missing."""
    import numpy as np
    import pyarrow as pa

    missing = 0 if there is None else rows - int(np.count_nonzero(there))
    validity = _bits(there) if there is not None and missing else None
    return pa.Array.from_buffers(kind, rows, [validity, *buffers], missing, children=children)


def _bits(flags: NDArray[np.bool_]) -> Any:
    import numpy as np
    import pyarrow as pa

    return pa.py_buffer(np.packbits(flags, bitorder="little"))
