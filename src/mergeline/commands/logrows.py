"""The rows of the log and its labels for the verbs that join them: the times of files, and what lies in a window."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from mergeline.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from mergeline.engine.engine import Engine
    from mergeline.logstore import LogStore
    from mergeline.monitor.performance.rows import Extent, LogPart
    from mergeline.monitor.windows import Window

EXTENTS = "extents.json"  # the times of each file of the log, so that none is read again for nothing
PREDICTIONS = re.compile(r"predictions/date=(\d{4}-\d{2}-\d{2})/.*\.parquet")
LABELS = re.compile(r"labels/date=(\d{4}-\d{2}-\d{2})/.*\.parquet")


def log_extents(store: LogStore, engine: Engine | None = None) -> dict[str, Extent | None]:
    """Return the times of each file of predictions; those of earlier runs are kept in the log store.

    Raises `DataError` where there is no prediction at all.
    """
    from mergeline.engine.engine import Local

    keys = [key for key in store.keys("predictions/") if PREDICTIONS.fullmatch(key)]
    known = _known(store)
    new = [key for key in keys if key not in known]
    read = dict(zip(new, (engine or Local()).map(partial(_extent_of, store), new), strict=True))
    found = {key: known[key] if key in known else read[key] for key in keys}
    if found.keys() != known.keys():
        plain = {key: None if each is None else [each.first, each.last] for key, each in sorted(found.items())}
        store.put(EXTENTS, json.dumps(plain, indent=0).encode())
    if not any(found.values()):
        raise DataError(f"{store.url}: expected predictions, found none; `mergeline serve` writes them")
    return found


def _known(store: LogStore) -> dict[str, Extent | None]:
    """What an earlier run noted; a note that cannot be read is none, and is written anew."""
    from mergeline.monitor.performance.rows import Extent

    if EXTENTS not in store.keys(EXTENTS):
        return {}
    try:
        raw = json.loads(store.read(EXTENTS))
        return {key: None if each is None else Extent(int(each[0]), int(each[1])) for key, each in raw.items()}
    except (ValueError, TypeError, AttributeError, IndexError):
        return {}


def _extent_of(store: LogStore, key: str) -> Extent | None:
    from mergeline.monitor.performance.rows import extent_of

    return extent_of(key, store.read(key))


def read_parts(
    store: LogStore,
    extents: Mapping[str, Extent | None],
    tiles: Sequence[Window],
    features: Sequence[str],
    engine: Engine | None = None,
) -> list[LogPart]:
    """Return the rows of the log that lie in some windows, file by file."""
    from mergeline.engine.engine import Local

    wanted = [key for key, each in extents.items() if each and any(each.meets(tile) for tile in tiles)]
    read = (engine or Local()).map(partial(_part_of, store, tiles, features), wanted)
    return [part for part in read if part is not None]


def _part_of(store: LogStore, tiles: Sequence[Window], features: Sequence[str], key: str) -> LogPart | None:
    from mergeline.monitor.performance.rows import part_of

    return part_of(key, store.read(key), tiles, features)


def read_labels(
    store: LogStore, parts: Iterable[LogPart], now: dt.datetime, engine: Engine | None = None
) -> pd.DataFrame:
    """Return all labels that may belong to these parts and were known; none comes before its prediction did."""
    from mergeline.engine.engine import Local
    from mergeline.monitor import logfiles

    first = min((found[1] for part in parts if (found := PREDICTIONS.fullmatch(part.key))), default="")
    keys = [key for key in store.keys("labels/") if (found := LABELS.fullmatch(key)) and found[1] >= first]
    read = (engine or Local()).map(partial(_labels_of, store), keys)
    labels = logfiles.frame([logfiles.no_labels(), *read])
    return labels[labels["label_ts"] <= now]


def _labels_of(store: LogStore, key: str) -> Any:
    from mergeline.monitor.logfiles import labels_part

    return labels_part(key, store.read(key))
