"""The log as the verb `drift` reads it: its keys, what its footers say, and what its files count to."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial, reduce
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mergeline.engine.engine import Engine
    from mergeline.logstore import LogStore
    from mergeline.monitor.drift.logfile import Facts
    from mergeline.monitor.drift.plan import Plan, Work
    from mergeline.monitor.drift.record import DriftRecord
    from mergeline.monitor.drift.seen import Seen
    from mergeline.monitor.drift.tally import Counted

CACHED_BYTES = 64 * 2**20  # of files that do not lie in a folder, so that small logs are asked for once
THREADS = 2  # that count where one process does everything; each holds a row group
PREDICTIONS = re.compile(r"predictions/date=\d{4}-\d{2}-\d{2}/.*\.parquet")


def keys_of(store: LogStore) -> Iterator[str]:
    """Return the keys of all files of predictions."""
    return (key for key in store.keys("predictions/") if PREDICTIONS.fullmatch(key))


def opened(keys: Iterable[str], seen: Seen | None, first: dt.date | None) -> list[str]:
    """Return the files that can hold rows of a window to come, and those of days to which a file was added since."""
    keys = list(keys)
    days = seen.new_days(keys) if seen else set()
    least = f"predictions/date={first or ''}"
    return [key for key in keys if key >= least or "/".join(key.split("/")[:2]) in days]


def seen_by(store: LogStore, history: Sequence[DriftRecord]) -> Seen | None:
    """Return the files that the last check knew; None where that is not known of the last record's check."""
    from mergeline.monitor.drift.seen import KEY, Seen

    found = Seen.from_json(store.read(KEY).decode("utf-8", "replace")) if KEY in store.keys(KEY) else None
    return found if found and history and found.until == history[-1].window.end else None


class Files:
    """The log's files as something that pyarrow opens: paths in a folder, else buffers."""

    def __init__(self, store: LogStore) -> None:
        from mergeline.logstore import FolderLog

        self._store = store
        self._folder = store.path if isinstance(store, FolderLog) else None
        self._cached: dict[str, bytes] = {}
        self._room = CACHED_BYTES

    def __reduce__(self) -> tuple[Any, ...]:
        return Files, (self._store,)  # another process reads what it needs

    def source(self, key: str) -> Any:
        """Return what to open for a key."""
        import pyarrow as pa

        if self._folder is not None:
            return str(self._folder / key)
        body = self._cached.get(key)
        if body is None:
            body = self._store.read(key)
            if len(body) <= self._room:
                self._cached[key] = body
                self._room -= len(body)
        return pa.BufferReader(body)

    def facts(self, keys: Iterable[str]) -> Iterator[Facts]:
        """Yield what the files' footers say."""
        from mergeline.monitor.drift import logfile

        for key in keys:
            with logfile.opened(key, self.source(key)) as file:
                yield file.facts()


def facts_of(engine: Engine, files: Files, keys: Sequence[str]) -> list[Facts]:
    """Return what all footers say, read in parts."""
    from mergeline.engine.engine import divided

    parts = engine.map(partial(_facts_of, files), divided(keys, engine))
    return [each for found in parts for each in found]


def _facts_of(files: Files, keys: Sequence[str]) -> list[Facts]:
    return list(files.facts(keys))


def counted_of(engine: Engine, files: Files, works: Sequence[Work], plan: Plan) -> Counted:
    """Return what all files count to: each part by itself, then merged."""
    from mergeline.engine.engine import divided
    from mergeline.monitor.drift.counter import count
    from mergeline.monitor.drift.tally import Counted

    threads = THREADS if engine.workers == 1 else 1
    parts = engine.map(partial(count, open_file=files.source, plan=plan, threads=threads), divided(works, engine))
    return reduce(Counted.merge, parts, Counted())
