"""A file of the prediction log as the drift check sees it: what its footer says, and its columns by row group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mergeline.errors import DataError
from mergeline.monitor.drift import column
from mergeline.monitor.drift.column import Values
from mergeline.schema import SCORE

if TYPE_CHECKING:
    import pyarrow.parquet as pq

SCHEMA_VERSION = 1  # as monitor.logfiles has it, which loads the experiments
FEATURE_PREFIX = "feature_"
TS, EVENT_TIME, REQUEST_ID = "ts", "event_time", "request_id"
VERSION, MODEL, VARIANT, RATE = "schema_version", "model_sha256", "variant", "sampling_rate"
NEEDED = (VERSION, REQUEST_ID, TS, MODEL, VARIANT, SCORE, RATE)
VALUES_AT_ONCE = 300_000  # columns that are in memory together: counted while they are in the processor's cache


@dataclass(frozen=True, slots=True)
class Facts:
    """What a file's footer says: rows, and the first and the last moment of requests and of events.

    Times are microseconds since 1970; None where the writer left them out. Rows are put into windows by the times of
    their events: those of the requests where no row has one, None where only some rows have.
    """

    key: str
    rows: int
    moments: tuple[int, int] | None
    events: tuple[int, int] | None


class LogFile:
    """An open file of the log; raises DataError for bytes that are no such file, or one that a later version wrote."""

    def __init__(self, key: str, file: pq.ParquetFile) -> None:
        self.key = key
        self._file = file
        self.schema = file.schema_arrow
        absent = [name for name in NEEDED if name not in self.schema.names]
        if absent:
            raise DataError(f"{key}: expected the column {absent[0]}, found none; see what wrote the file")

    @property
    def features(self) -> set[str]:
        """The features that it has columns for."""
        return {name.removeprefix(FEATURE_PREFIX) for name in self.schema.names if name.startswith(FEATURE_PREFIX)}

    @property
    def has_event_times(self) -> bool:
        """Whether rows may have a time of their own."""
        return EVENT_TIME in self.schema.names

    def facts(self) -> Facts:
        """Return what its footer says."""
        metadata = self._file.metadata
        moments, _ = self._range(TS)
        events, empty = self._range(EVENT_TIME) if self.has_event_times else (None, True)
        return Facts(self.key, metadata.num_rows, moments, moments if empty else events)

    def variants(self) -> set[str]:
        """The variants whose rows it may hold."""
        return {
            text
            for group in self.groups()
            for _, chunks in self.read(group, [VARIANT])
            for text in one(chunks, column.texts).texts
        }

    def groups(self) -> range:
        """The numbers of its row groups."""
        return range(self._file.num_row_groups)

    def rows(self, group: int) -> int:
        """The rows of a row group."""
        return int(self._file.metadata.row_group(group).num_rows)

    def read(self, group: int, names: Sequence[str]) -> Iterator[tuple[str, list[Any]]]:
        """Yield the columns of a row group, each with its chunks (`pyarrow.Array`), few of them in memory at once."""
        at_once = max(1, VALUES_AT_ONCE // max(1, self.rows(group)))
        for start in range(0, len(names), at_once):
            chosen = list(names[start : start + at_once])
            table = self._file.read_row_group(group, columns=chosen, use_threads=False)
            columns = [(name, table[name].chunks) for name in chosen]
            del table  # its memory is taken again by the next columns
            while columns:
                yield columns.pop(0)

    def constant(self, group: int, name: str) -> Any:
        """The one value of a column in a row group where the footer tells that it has no other; else None."""
        found = self._told(group, name)
        if found is None or not found.has_min_max or found.null_count or found.min != found.max:
            return None
        return found.min

    def span(self, group: int, name: str) -> tuple[int, int] | None:
        """The least and the greatest value of a column of times, as far as the footer tells and no row has none."""
        found = self._told(group, name)
        if found is None or not found.has_min_max or found.null_count:
            return None
        return int(found.min_raw), int(found.max_raw)

    def checked_version(self, found: Any) -> None:
        """Raise DataError where a row has another version than the log's; `found` are its `Values` or one version."""
        if not isinstance(found, Values):
            found = Values(np.array([found]), None)
        if len(found) and (found.known is not None or (found.values != SCHEMA_VERSION).any()):
            raise DataError(
                f"{self.key}: expected schema_version {SCHEMA_VERSION}, found {found.values.max():g}; use a newer"
                " mergeline"
            )

    def _told(self, group: int, name: str) -> Any:
        """A column's statistics, None where the writer left them out."""
        found = self._file.metadata.row_group(group).column(self.schema.names.index(name)).statistics
        return found if found is not None and found.has_null_count else None

    def _range(self, name: str) -> tuple[tuple[int, int] | None, bool]:
        """The least and the greatest value of a column of times, None where it is not told; whether it has no value."""
        low, high, nulls = [], [], 0
        for group in self.groups():
            found = self._told(group, name)
            if found is None:
                return None, False
            nulls += found.null_count
            if found.has_min_max:
                low.append(int(found.min_raw))
                high.append(int(found.max_raw))
            elif found.null_count < self.rows(group):
                return None, False
        if nulls == self._file.metadata.num_rows:
            return None, True
        return (None, False) if nulls else ((min(low), max(high)), False)


@contextmanager
def opened(key: str, source: Any, categories: Sequence[str] = ()) -> Iterator[LogFile]:
    """Give the file at a path or in a buffer; columns of these features come as positions in a dictionary."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    coded = [MODEL, VARIANT, *(f"{FEATURE_PREFIX}{name}" for name in categories)]
    try:
        with pq.ParquetFile(source, read_dictionary=coded) as file:
            yield LogFile(key, file)
    except (pa.ArrowException, OSError) as err:
        raise DataError(f"{key}: not a whole file of the log ({str(err).splitlines()[0]}); restore it") from err


def one(chunks: Sequence[Any], read: Any) -> Values:
    """Return the chunks of a column as one; positions in the dictionaries of several chunks become those in one."""
    parts = [read(chunk) for chunk in chunks]
    if len(parts) == 1:
        return parts[0]  # type: ignore[no-any-return]
    parts = _one_dictionary(parts)
    if not parts:
        return Values(np.zeros(0), None)
    known = None
    if any(part.known is not None for part in parts):
        known = np.concatenate([np.ones(len(part), np.uint8) if part.known is None else part.known for part in parts])
    return Values(np.concatenate([part.values for part in parts]), known, parts[0].texts)


def _one_dictionary(parts: list[Values]) -> list[Values]:
    places: dict[str, int] = {}
    if not any(part.texts for part in parts):
        return parts
    for part in parts:
        for text in part.texts:
            places.setdefault(text, len(places))
    texts = tuple(places)
    return [
        replace(part, values=_moved(part.values, [places[text] for text in part.texts]), texts=texts) for part in parts
    ]


def _moved(values: NDArray[Any], places: Sequence[int]) -> NDArray[np.int32]:
    found: NDArray[np.int32] = np.array([*places, 0], dtype=np.int32)[values]
    return found


def request_hashes(file: LogFile, group: int) -> NDArray[np.uint64]:
    """Return a hash of each row's request id and variant: what a prediction is counted once by."""
    import hashlib

    found = dict(file.read(group, [REQUEST_ID, VARIANT]))
    variants = one(found[VARIANT], column.texts)
    names = [variants.texts[place] for place in variants.values]
    ids = [text for chunk in found[REQUEST_ID] for text in chunk.to_pylist()]
    digests = [
        hashlib.blake2b(f"{variant}\x00{request}".encode(), digest_size=8).digest()
        for request, variant in zip(ids, names, strict=True)
    ]
    return np.frombuffer(b"".join(digests), dtype=np.uint64)
