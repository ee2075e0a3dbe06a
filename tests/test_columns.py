"""columns: many columns that are parts of one hold what columns of their own would."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from mergeline.serve.columns import coded_columns, dictionary, number_columns

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
