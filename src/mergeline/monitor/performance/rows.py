"""The rows of the prediction log that a window needs, from the bytes of its files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mergeline.errors import DataError
from mergeline.monitor.experiments.arm import Problem
from mergeline.monitor.logfiles import SCHEMA_VERSION, SCORES
from mergeline.monitor.windows import OUTSIDE, Window, microseconds, placed, too_early
from mergeline.schema import Task

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

FEATURE_PREFIX = "feature_"
TIME = "time"  # the event's where the request named one, else when the request came
TILE = "tile"  # the position of a row's window
TIMES = ("event_time", "ts")


@dataclass(frozen=True, slots=True)
class Extent:
    """The earliest and the latest time that rows of a file can have, in microseconds since 1970; both included."""

    first: int
    last: int

    def meets(self, window: Window) -> bool:
        """Whether a row of the file can lie in a window."""
        return self.first < microseconds(window.end) and microseconds(window.start) <= self.last


@dataclass(frozen=True, slots=True, eq=False)
class LogPart:
    """The rows of one file that lie in the windows asked for (`pyarrow.Table`), and what its model answers.

    `threshold` is from which score on the model says the second of two classes; None where it decides nothing.
    """

    key: str
    rows: Any
    model_sha256: str
    problem: Problem
    threshold: float | None


def extent_of(key: str, body: bytes) -> Extent | None:
    """Return the times of a file by the statistics in its footer; None of a file without rows."""
    import pyarrow.parquet as pq

    with opened(key, body) as file:
        if not file.metadata.num_rows:
            return None
        places = {name: file.schema_arrow.names.index(name) for name in TIMES if name in file.schema_arrow.names}
        groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
        bounds: list[int] = []
        for name in TIMES:
            if name not in places:
                continue
            found = [group.column(places[name]).statistics for group in groups]
            bounds += [microseconds(each) for one in found if one and one.has_min_max for each in (one.min, one.max)]
            if found and all(one is not None and one.null_count == 0 for one in found):
                break  # every row has this time, and so none needs the next one
        if not bounds:
            moments = times_of(pq.read_table(_reader(body), columns=list(places)))
            bounds = [int(moments.min()), int(moments.max())]
        return Extent(min(bounds), max(bounds))


def first_time(key: str, body: bytes, now_us: int, behind_us: int) -> int | None:
    """Return the first time of a file's rows whose clocks go right, in microseconds since 1970; None of no such row."""
    import pyarrow as pa

    with opened(key, body) as file:
        table = file.read(columns=[name for name in TIMES if name in file.schema_arrow.names])
    time = times_of(table)
    asked = table["ts"].cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_numpy()
    right = time[~too_early(time, asked, now_us, behind_us)]
    return int(right.min()) if len(right) else None


def part_of(key: str, body: bytes, tiles: Sequence[Window], features: Sequence[str] = ()) -> LogPart | None:
    """Return the rows of a file that lie in one of the windows, with `TIME` and `TILE` beside them; None of no row.

    features: names of those that are wanted; one that the file does not have is left out. Raises `DataError` for bytes
    that are no such file, or one that a later version wrote.
    """
    import pyarrow as pa

    with opened(key, body) as file:
        held = file.schema_arrow.names
        needed = _types()
        absent = [name for name in needed if name not in held]
        if absent:
            raise DataError(f"{key}: expected the column {absent[0]}, found none; see what wrote the file")
        more = [name for name in (SCORES, *(FEATURE_PREFIX + each for each in features)) if name in held]
        table = _plain(file.read(columns=[*needed, *more]), needed)
        facts = {
            name.decode(): value.decode("utf-8", "replace") for name, value in (file.metadata.metadata or {}).items()
        }
    _refuse_later(key, table)
    time = times_of(table)
    tile = placed(time, tiles)
    kept = np.flatnonzero(tile != OUTSIDE)
    if not len(kept):
        return None
    models = set(table["model_sha256"].unique().to_pylist())
    if len(models) != 1:
        raise DataError(f"{key}: expected rows of one model, found {len(models)}; see what wrote the file")
    table = table.append_column(TIME, pa.array(time, pa.timestamp("us", tz="UTC"))).append_column(TILE, pa.array(tile))
    problem, threshold = _problem(key, facts)
    return LogPart(key, table.take(pa.array(kept)), str(models.pop()), problem, threshold)


def times_of(table: pa.Table) -> Any:
    """The time of each row, int64 [n] in microseconds since 1970: the event's, else that of the request."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = pa.timestamp("us", tz="UTC")
    columns = [table[name].cast(kind) for name in TIMES if name in table.column_names]
    found = pc.coalesce(*columns).cast(pa.int64())
    return found.to_numpy()


def opened(key: str, body: bytes) -> Any:
    """Return a file of the log as a `pyarrow.parquet.ParquetFile`; raise `DataError` for bytes that are none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(_reader(body))
    except (pa.ArrowException, OSError) as err:
        raise DataError(f"{key}: not a whole file of the log ({str(err).splitlines()[0]}); restore it") from err


def by_tile(parts: Sequence[LogPart], count: int) -> list[pd.DataFrame]:
    """Return the rows of all parts by the position of their window; a feature that a part lacks is missing there."""
    import pandas as pd

    if not parts:
        return [pd.DataFrame() for _ in range(count)]
    whole = pd.concat([part.rows.to_pandas() for part in parts], ignore_index=True)
    tile = whole.pop(TILE).to_numpy()
    return [whole[tile == number].reset_index(drop=True) for number in range(count)]


def problems_of(parts: Sequence[LogPart]) -> dict[str, tuple[Problem, float | None]]:
    """Return what each model answers and its threshold; raise `DataError` where its files do not agree."""
    found: dict[str, tuple[Problem, float | None]] = {}
    for part in parts:
        said = (part.problem, part.threshold)
        if found.setdefault(part.model_sha256, said) != said:
            raise DataError(
                f"{part.key}: expected the task, classes and threshold that other files name for model"
                f" {part.model_sha256[:12]}, found others; see what wrote the log"
            )
    return found


def _reader(body: bytes) -> Any:
    import pyarrow as pa

    return pa.BufferReader(body)


def _types() -> dict[str, pa.DataType]:
    import pyarrow as pa

    times = pa.timestamp("us", tz="UTC")
    return {
        "schema_version": pa.int32(),
        "request_id": pa.string(),
        "ts": times,
        "event_time": times,
        "entity_id": pa.string(),
        "model_sha256": pa.string(),
        "variant": pa.string(),
        "score": pa.float64(),
        "decision": pa.string(),
        "status": pa.int32(),
        "sampling_rate": pa.float64(),
    }


def _plain(table: pa.Table, needed: Mapping[str, pa.DataType]) -> pa.Table:
    """The table with the types of the log, and no dictionaries: parts of it come from several files."""
    import pyarrow as pa

    fields = [
        pa.field(each.name, needed.get(each.name, each.type.value_type if _is_coded(each.type) else each.type))
        for each in table.schema
    ]
    return table.cast(pa.schema(fields)).replace_schema_metadata(None)


def _is_coded(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_dictionary(kind))


def _refuse_later(key: str, table: pa.Table) -> None:
    versions = set(table["schema_version"].unique().to_pylist())
    if versions - {SCHEMA_VERSION}:
        found = max(versions - {SCHEMA_VERSION}, key=str)
        raise DataError(f"{key}: expected schema_version {SCHEMA_VERSION}, found {found}; use a newer mergeline")


def _problem(key: str, facts: Mapping[str, str]) -> tuple[Problem, float | None]:
    try:
        problem = Problem(Task(facts["mergeline.task"]), tuple(json.loads(facts["mergeline.classes"])))
        threshold = facts.get("mergeline.threshold", "")
        return problem, float(threshold) if threshold else None
    except (KeyError, ValueError, TypeError) as err:
        raise DataError(f"{key}: expected mergeline.task and mergeline.classes in its metadata, found none") from err
