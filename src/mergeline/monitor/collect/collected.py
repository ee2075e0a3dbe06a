"""Rows of the log and their labels as rows of the table, and those that are none beside them, with their reasons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mergeline.errors import ConfigurationError, DataError
from mergeline.models.encoder import category_text
from mergeline.monitor.collect.convert import converted
from mergeline.monitor.collect.rules import HeldUp, Reason, broken, identity
from mergeline.monitor.performance.rows import FEATURE_PREFIX, TIME, LogPart
from mergeline.schema import Task

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from mergeline.params import Params

ABSENT = "absent"  # the features that a row's file does not have
REASON = "reason"


@dataclass(frozen=True, slots=True)
class Standing:
    """What the table is so far: its schema (`pyarrow.Schema`), its ids and its classes, as texts."""

    schema: Any
    ids: frozenset[str]
    classes: frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class Collected:
    """`table` and `held_up` are `pyarrow.Table`: the next partition, and the rows that are not in it, as logged.

    `counts`: how many rows each reason holds up; a row can have several. `by_request`: rows whose time is that of the
    request, since it named no event. `taken`: the requests that the partition is of.
    """

    table: Any
    held_up: Any
    counts: Mapping[str, int]
    by_request: int
    taken: tuple[str, ...]

    @property
    def rows(self) -> int:
        """The rows of the partition."""
        return int(self.table.num_rows)


def refuse(params: Params, columns: Sequence[str]) -> None:
    """Raise `ConfigurationError` for a table that no log can feed; `columns` are those of its newest partition."""
    data = params.data
    if data.personal:
        raise ConfigurationError(
            f"data.personal: {', '.join(data.personal)} are in no log, and the table needs them; bring new rows from"
            " their source by `mergeline ingest`"
        )
    if data.time is None:
        raise ConfigurationError("data.time: collect needs a time column, which says what partition a row is of")
    absent = [name for name in data.columns if name not in columns]
    if absent:
        raise DataError(f"data: expected the column {absent[0]!r} in the newest partition, found none; see `validate`")
    others = [
        (where, name)
        for where, names in (
            ("evaluate.slices", params.evaluate.slices),
            ("gates.fairness.columns", params.gates.fairness.columns),
        )
        for name in names
        if name not in data.columns
    ]
    if others:
        where, name = others[0]
        raise ConfigurationError(f"{where}: {name!r} is no feature, and so in no log; leave it out, or ingest new rows")


def frame_of(parts: Sequence[LogPart], features: Sequence[str]) -> pd.DataFrame:
    """Return the rows of all parts, each with the features that its file does not have in `ABSENT`."""
    import pandas as pd

    frames = []
    for part in parts:
        absent = ", ".join(name for name in features if FEATURE_PREFIX + name not in part.rows.column_names)
        frames.append(part.rows.to_pandas().assign(**{ABSENT: absent}))
    whole: pd.DataFrame = pd.concat(frames, ignore_index=True)
    return whole


def collected(rows: pd.DataFrame, params: Params, standing: Standing) -> Collected:
    """Return the partition that labelled rows of the log make.

    rows: of one request each, with `request_id`, `entity_id`, `event_time`, `TIME`, `ABSENT`, the features and `label`
    (None where there is none yet). Types are those of the newest partition, rows in the order of time and id.
    """
    import pyarrow as pa

    rows = rows.sort_values([TIME, "request_id"], kind="stable", ignore_index=True)
    columns, bad = _columns(rows, params, standing)
    table = pa.table(columns)
    typed = table.to_pandas(ignore_metadata=True, date_as_object=False)
    found = HeldUp.none_of(len(rows))
    found.add(_reasons(rows, typed, bad, params, standing))
    if params.data.id:
        found.add(_asked_again(typed[params.data.id], found.good))
    good = found.good
    order = [params.data.time, *([params.data.id] if params.data.id else [])]
    ordered = typed[good].sort_values(order, kind="stable").index.to_numpy()
    held_up = rows[~good].drop(columns=[ABSENT]).assign(**{REASON: found.texts[~good]})
    by_request = int(rows["event_time"].isna().to_numpy()[good].sum())
    taken = tuple(rows["request_id"][good])
    return Collected(table.take(pa.array(ordered)), as_logged(held_up), found.counts, by_request, taken)


def no_label(target: str) -> str:
    """Return the reason of a row whose label has not come."""
    return f"{target}: no label yet"


def _columns(
    rows: pd.DataFrame, params: Params, standing: Standing
) -> tuple[dict[str, Any], dict[str, NDArray[np.bool_]]]:
    """Each column of the table in its type, in the order of the newest partition, and where a value could not be it."""
    columns, bad = {}, {}
    for field in standing.schema:
        if field.name in params.data.columns:
            source = rows[_source(field.name, params)].rename(field.name)
            columns[field.name], bad[field.name] = converted(source, field.type)
    return columns, bad


def _source(name: str, params: Params) -> str:
    """What the log calls a column of the table."""
    data = params.data
    if name == data.target:
        return "label"
    if name in data.features:
        return FEATURE_PREFIX + name
    return TIME if name == data.time else params.collect.id


def _reasons(
    rows: pd.DataFrame, typed: pd.DataFrame, bad: Mapping[str, Any], params: Params, standing: Standing
) -> Iterator[Reason]:
    data = params.data
    for absent in sorted(set(rows[ABSENT]) - {""}):
        yield f"not logged: {absent}", (rows[ABSENT] == absent).to_numpy()
    yield no_label(data.target), rows["label"].isna().to_numpy()
    if data.task is not Task.REGRESSION:
        label = category_text(rows["label"])
        yield (
            f"{data.target}: a class that the table does not have",
            (label.notna() & ~label.isin(standing.classes)).to_numpy(),
        )
    for name, where in bad.items():
        yield f"{name}: no {standing.schema.field(name).type}", where
    if data.id is not None:
        yield from identity(typed, data.id, params.collect.id, standing.ids)
    yield from broken(typed, params)


def _asked_again(ids: pd.Series, good: NDArray[np.bool_]) -> Iterator[Reason]:
    """Of good rows with one id the last one in time is the table's."""
    again = np.zeros(len(ids), dtype=np.bool_)
    again[good] = ids[good].duplicated(keep="last").to_numpy()
    yield f"{ids.name}: asked again later", again


def as_logged(rows: pd.DataFrame) -> Any:
    """Return rows as logged, for a file that a person reads: columns of mixed types are texts."""
    import pyarrow as pa

    return pa.table({str(name): _column(column) for name, column in rows.items()})


def _column(column: pd.Series) -> Any:
    import pandas as pd
    import pyarrow as pa

    if isinstance(column.dtype, pd.DatetimeTZDtype):
        times = pa.array(column.dt.tz_convert(None).to_numpy(dtype="datetime64[us]"))
        return times.cast(pa.timestamp("us", tz="UTC"))
    if column.dtype == object:
        missing = column.isna()
        return pa.array([None if none else str(each) for each, none in zip(column, missing, strict=True)], pa.string())
    return pa.array(column, from_pandas=True)
