"""Arrow columns straight from numpy: pyarrow's own converters would load pandas, and cost more of the GIL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NO_TIME = -(2**63)  # stands for a missing time among microseconds since 1970-01-01 UTC
NO_TEXT = -1  # stands for a missing text among lengths


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

    lengths = np.concatenate([part.lengths for part in parts])
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(np.maximum(lengths, 0), out=offsets[1:])
    data = pa.py_buffer(b"".join([part.data for part in parts]))
    return _column(pa.string(), lengths != NO_TEXT, [pa.py_buffer(offsets), data])


def number_column(values: NDArray[np.float64]) -> Any:
    """Return a double column; NaN is missing."""
    return number_columns(values[None])[0]


def number_columns(values: NDArray[np.float64]) -> list[Any]:
    """Return the double columns of an array of shape (columns, rows); NaN is missing.

    Many are parts of one: numpy and Arrow let go of the GIL in each step, and have to wait for it again while the event
    loop is busy.
    """
    import numpy as np
    import pyarrow as pa

    whole = np.ascontiguousarray(values).ravel()
    return _parts(_column(pa.float64(), ~np.isnan(whole), [pa.py_buffer(whole)]), values.shape)


def boolean_column(values: NDArray[np.float64]) -> Any:
    """Return a boolean column of 0 and 1; NaN is missing."""
    import numpy as np
    import pyarrow as pa

    there = ~np.isnan(values)
    return _column(pa.bool_(), there, [_bits((values != 0) & there)])


def time_column(microseconds: NDArray[np.int64]) -> Any:
    """Return a UTC time stamp column; NO_TIME is missing."""
    import numpy as np
    import pyarrow as pa

    return _column(time_type(), np.not_equal(microseconds, NO_TIME), [pa.py_buffer(microseconds)])


def constant_column(value: int, rows: int) -> Any:
    """Return an int32 column of one value."""
    import numpy as np

    return integer_column(np.full(rows, value, np.int32))


def integer_column(values: NDArray[np.int32]) -> Any:
    """Return an int32 column without gaps."""
    import pyarrow as pa

    return pa.Array.from_buffers(pa.int32(), len(values), [None, pa.py_buffer(values)], 0)


def coded_column(codes: NDArray[np.int32], values: Sequence[str]) -> Any:
    """Return a dictionary-encoded string column: a code is a position in `values`, a negative one is missing."""
    return coded_columns(codes[None], [dictionary(values)])[0]


def coded_columns(codes: NDArray[np.int32], values: Sequence[Any]) -> list[Any]:
    """Return the dictionary-encoded columns of codes of shape (columns, rows), with the `dictionary` of each column."""
    import pyarrow as pa

    whole = codes.ravel()
    indices = _parts(_column(pa.int32(), whole >= 0, [pa.py_buffer(whole)]), codes.shape)
    return [pa.DictionaryArray.from_arrays(index, text) for index, text in zip(indices, values, strict=True)]


def dictionary(values: Sequence[str]) -> Any:
    """Return the texts that the codes of a column stand for."""
    return text_column([packed(values)])


def few_texts_column(texts: Sequence[str | None]) -> Any:
    """Return a dictionary-encoded string column of texts that repeat; None is missing."""
    import numpy as np

    numbers: dict[str, int] = {}
    codes = [-1 if text is None else numbers.setdefault(text, len(numbers)) for text in texts]
    return coded_column(np.array(codes, np.int32), list(numbers))


def list_column(values: NDArray[np.float64]) -> Any:
    """Return a column of lists of doubles from shape (rows, length); a row that holds a NaN is missing."""
    import numpy as np
    import pyarrow as pa

    there: NDArray[np.bool_] = ~np.any(np.isnan(values), axis=1)
    offsets = np.zeros(len(values) + 1, np.int32)
    np.cumsum(there * np.int32(values.shape[1]), out=offsets[1:])
    inner = number_column(values[there].ravel())
    return _column(pa.list_(pa.float64()), there, [pa.py_buffer(offsets)], [inner])


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


def _parts(whole: Any, shape: tuple[int, ...]) -> list[Any]:
    """A column of columns times rows, end to end, as these columns."""
    columns, rows = shape
    return [whole.slice(at * rows, rows) for at in range(columns)]


def _column(kind: Any, there: NDArray[np.bool_], buffers: list[Any], children: list[Any] | None = None) -> Any:
    """A column with the validity bits of `there`, or without any where nothing is missing."""
    import numpy as np
    import pyarrow as pa

    missing = len(there) - int(np.count_nonzero(there))
    validity = _bits(there) if missing else None
    return pa.Array.from_buffers(kind, len(there), [validity, *buffers], missing, children=children)


def _bits(flags: NDArray[np.bool_]) -> Any:
    import numpy as np
    import pyarrow as pa

    return pa.py_buffer(np.packbits(flags, bitorder="little"))
