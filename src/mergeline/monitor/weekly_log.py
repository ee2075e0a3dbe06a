"""Rows of a stretch of time from the files of the prediction log: the columns that are asked for, and no others."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from mergeline.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_DAY = re.compile(r"(?:predictions|labels)/date=(\d{4}-\d{2}-\d{2})/.*\.parquet")
MOMENT = "moment"
BASE = ("request_id", "ts", "event_time", "variant", "model_sha256", "status", "latency_ms", "score")
LABELS = ("request_id", "label", "label_ts", "received_ts")


def since(keys: Iterable[str], day: dt.date | None) -> list[str]:
    """Return the keys of files of a day, UTC, or later ones; all where no day is given."""
    found = []
    for key in keys:
        matched = _DAY.fullmatch(key)
        if matched is not None and (day is None or matched[1] >= day.isoformat()):
            found.append(key)
    return found


def predictions(
    keys: Sequence[str],
    read: Callable[[str], bytes],
    start: dt.datetime,
    end: dt.datetime,
    columns: Iterable[str] = (),
) -> pd.DataFrame:
    """Return the predictions whose time lies from `start` on and before `end`, each once a variant.

    The time, `moment`, is that of the event where the request carries one, else of the request. A column that a file
    does not have, of an earlier schema, is missing there. Raises `DataError` for bytes that are no file of the log.
    """
    import pandas as pd

    wanted = list(dict.fromkeys([*BASE, *columns]))
    parts = [_part(key, read(key), start, end, wanted) for key in keys]
    rows = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*wanted, MOMENT])
    return rows.drop_duplicates(["request_id", "variant"], ignore_index=True)


def labels(keys: Sequence[str], read: Callable[[str], bytes]) -> pd.DataFrame:
    """Return all rows of files of labels; raise `DataError` for bytes that are none."""
    import pyarrow as pa

    from mergeline.monitor.logfiles import labels_part, no_labels

    found: pd.DataFrame = pa.concat_tables([no_labels(), *(labels_part(key, read(key)) for key in keys)]).to_pandas()
    return found


def _part(key: str, body: bytes, start: dt.datetime, end: dt.datetime, wanted: Sequence[str]) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(pa.BufferReader(body)) as file:
            held = set(file.schema_arrow.names)
            absent = [name for name in ("request_id", "ts", "variant", "status") if name not in held]
            if absent:
                raise DataError(f"{key}: expected the column {absent[0]}, found none; see what wrote the file")
            table = file.read(columns=[name for name in wanted if name in held])
    except (pa.ArrowException, OSError) as err:
        raise DataError(f"{key}: not a whole file of the log ({str(err).splitlines()[0]}); restore it") from err
    moment = pc.coalesce(table["event_time"], table["ts"]) if "event_time" in held else table["ts"]
    within = pc.and_(
        pc.greater_equal(moment, pa.scalar(start, moment.type)), pc.less(moment, pa.scalar(end, moment.type))
    )
    return _frame(table.append_column(MOMENT, moment).filter(within))


def _frame(table: Any) -> pd.DataFrame:
    """The rows as a frame; coded texts become plain ones, so that files with other codes fit together."""
    import pyarrow as pa

    for at, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(at, field.name, table.column(at).cast(field.type.value_type))
    found: pd.DataFrame = table.to_pandas()
    return found
