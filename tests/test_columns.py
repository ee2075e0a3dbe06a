"""columns: many columns that are parts of one hold what columns of their own would."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from mergeline.serve.columns import (
    NO_TEXT,
    NO_TIME,
    PackedText,
    coded_columns,
    constant_column,
    dictionary,
    no_texts,
    no_times,
    number_columns,
    packed,
    text_column,
    time_column,
    time_type,
)

NAN = float("nan")
ROWS = 13  # not a whole number of bytes, so that the bits of the second column begin within one


@pytest.mark.parametrize("columns", [0, 1, 3])
@pytest.mark.parametrize("gaps", [False, True])
def test_number_columns_are_those_of_the_rows_of_an_array(columns: int, gaps: bool) -> None:
    values = np.arange(float(columns * ROWS)).reshape(columns, ROWS)
    if gaps:
        values[:, 5::4] = NAN
    made = number_columns(values)
    assert [each.to_pylist() for each in made] == [[None if np.isnan(v) else v for v in row] for row in values.tolist()]
    assert [each.null_count for each in made] == [2 * gaps] * columns


def test_an_array_whose_rows_lie_apart_is_read_row_by_row() -> None:
    values = np.arange(12.0).reshape(4, 3).T
    assert [each.to_pylist() for each in number_columns(values)] == values.tolist()


def test_coded_columns_have_each_a_dictionary_of_its_own() -> None:
    codes = np.array([[0, 1, -1] * 5, [2, -1, 0] * 5], np.int32)
    first, second = coded_columns(codes, [dictionary(["a", "b"]), dictionary(["x", "y", "z"])])
    assert first.type == second.type == pa.dictionary(pa.int32(), pa.string())
    assert first.to_pylist() == ["a", "b", None] * 5
    assert second.to_pylist() == ["z", None, "x"] * 5
    assert coded_columns(codes[:0], []) == []


def test_a_code_behind_the_end_of_its_dictionary_is_refused() -> None:
    codes = np.array([[0, 1], [0, 1]], np.int32)
    with pytest.raises(ValueError, match=r"expected codes below \[2, 1\], found up to \[1, 1\]"):
        coded_columns(codes, [dictionary(["a", "b"]), dictionary(["x"])])


def test_texts_of_several_parts_keep_their_gaps() -> None:
    gone = PackedText(b"", np.full(2, NO_TEXT, np.int32))
    parts = [packed(["a", None, "\xe9"]), gone, packed(["", "bc"])]
    assert text_column(parts).to_pylist() == ["a", None, "\xe9", None, None, "", "bc"]
    assert text_column([packed(["a", "bc"])]).to_pylist() == ["a", "bc"]
    assert text_column([packed([])]).to_pylist() == []


def test_a_time_is_missing_where_it_is_said_to_be() -> None:
    assert time_column(np.array([0, -5, NO_TIME])).cast(pa.int64()).to_pylist() == [0, -5, None]
    assert time_column(np.array([-5, 7])).null_count == 0


@pytest.mark.parametrize("rows", [0, 1, 7, 8, 9, 100])
def test_a_column_of_one_value_has_as_many_rows_as_are_asked_for(rows: int) -> None:
    for value, kind in ((1, pa.int32()), (1.0, pa.float64()), ("1", pa.dictionary(pa.int32(), pa.string()))):
        made = constant_column(value, rows)
        assert (made.type, made.to_pylist()) == (kind, [value] * rows)
    for made, kind in ((no_times(rows), time_type()), (no_texts(rows), pa.string())):
        assert (made.type, made.to_pylist()) == (kind, [None] * rows)
