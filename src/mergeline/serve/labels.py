"""Labels on their way to the shelf: what turned out, by the id of the request that it answers."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mergeline.errors import DataError, ServiceError
from mergeline.schema import Task
from mergeline.serve.ids import Ids

if TYPE_CHECKING:
    from mergeline.logstore import LogStore
    from mergeline.schema import Signature

MOST_WAITING = 100_000
CLASSES_SHOWN = 10
LONGEST_SHOWN = 60
INT64_LIMIT = 2.0**63


@dataclass(frozen=True, slots=True)
class Label:
    """What turned out for a request: `label` is what `checked_label` returns, `label_ts_us` when it was known.

    Times are microseconds since 1970-01-01 UTC. `source` says who told it.
    """

    request_id: str
    label: str
    label_ts_us: int
    source: str | None = None


def checked_label(raw: object, signature: Signature) -> str:
    """Return a raw label as the class's name; of a regression the number as Python writes it.

    A boolean and a number are written as training writes them. Raises `DataError` for what is no class, and of a
    regression for what is no finite number.

    >>> from mergeline.schema import Signature
    >>> checked_label(1.0, Signature(Task.BINARY, "paid", (), ("0", "1"), None))
    '1'
    """
    if signature.task is Task.REGRESSION:
        return repr(_finite(raw))
    text = _class_text(raw)
    if text in signature.classes:
        return text
    more = ", ..." if len(signature.classes) > CLASSES_SHOWN else ""
    allowed = ", ".join(signature.classes[:CLASSES_SHOWN]) + more
    raise DataError(f"label: expected one of {allowed}, found {_shown(raw)}")


def labels_table(labels: Sequence[Label], received_ts_us: int) -> bytes:
    """Return labels as the bytes of a Parquet file; `received_ts_us` is when they came."""
    import numpy as np

    from mergeline.serve.columns import few_texts_column, packed, parquet_bytes, text_column, time_column

    columns = {
        "request_id": text_column([packed([each.request_id for each in labels])]),
        "label": few_texts_column([each.label for each in labels]),
        "label_ts": time_column(np.array([each.label_ts_us for each in labels], np.int64)),
        "source": few_texts_column([each.source for each in labels]),
        "received_ts": time_column(np.full(len(labels), received_ts_us, np.int64)),
    }
    return parquet_bytes(columns, {}, statistics=("label_ts", "received_ts"))


def put_labels(store: LogStore, labels: Sequence[Label]) -> str:
    """Put labels on the shelf as one new file, in the folder of the day (UTC) they came in; return its key.

    Raises `ServiceError` where the shelf fails; it may hold them all the same, and may be given them again.
    """
    received_ts_us = time.time_ns() // 1000
    day = dt.datetime.fromtimestamp(received_ts_us // 1_000_000, dt.UTC)
    key = f"labels/{day:date=%Y-%m-%d}/{Ids().next()}.parquet"
    store.put(key, labels_table(labels, received_ts_us))
    return key


class LabelIntake:
    """Takes labels on an event loop: while one file is written, in a thread, newer labels gather for the next one.

    At most `most_waiting` labels wait or are being written.
    """

    def __init__(self, store: LogStore, most_waiting: int = MOST_WAITING) -> None:
        self._store = store
        self._most_waiting = most_waiting
        self._held = 0
        self._gathered: list[Label] = []
        self._next: asyncio.Future[BaseException | None] | None = None  # how it ends for the file that gathers now
        self._flusher: asyncio.Task[None] | None = None

    async def add(self, labels: Sequence[Label]) -> None:
        """Return once the labels are on the shelf; raise `ServiceError` where they are not, or too many wait."""
        if not labels:
            return
        if self._held + len(labels) > self._most_waiting:
            raise ServiceError(f"{self._store.url}: {self._held} labels wait to be written; send these again later")
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        outcome = self._next
        self._held += len(labels)
        self._gathered += labels
        if self._flusher is None:
            self._flusher = asyncio.create_task(self._flush())
        failure = await asyncio.shield(outcome)  # one request that goes away must not end the wait of the others
        if isinstance(failure, ServiceError):
            raise ServiceError(str(failure)) from failure
        if failure is not None:
            raise ServiceError(
                f"{self._store.url}: labels were not written ({failure!r}); send them again"
            ) from failure

    async def close(self) -> None:
        """Return once nothing waits or is being written any more."""
        if self._flusher is not None:
            await asyncio.wait([self._flusher])

    async def _flush(self) -> None:
        """Write file after file until no labels gather."""
        try:
            while self._next is not None:
                labels, outcome = self._gathered, self._next
                self._gathered, self._next = [], None
                failure = await _put_apart(self._store, labels)
                self._held -= len(labels)
                outcome.set_result(failure)
        finally:
            self._flusher = None


async def _put_apart(store: LogStore, labels: Sequence[Label]) -> BaseException | None:
    """Put labels in a thread of their own; return what went wrong. A store that hangs must not keep a process alive."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[BaseException | None] = loop.create_future()

    def settle(failure: BaseException | None) -> None:
        if not ended.done():
            ended.set_result(failure)

    def put() -> None:
        failure: BaseException | None = None
        try:
            put_labels(store, labels)
        except BaseException as err:  # noqa: BLE001 - those who wait are told, whatever it was
            failure = err
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, failure)

    threading.Thread(target=put, name="labels", daemon=True).start()
    return await ended


def _class_text(raw: object) -> str:
    """The text of a value, as `mergeline.models.encoder.category_text` writes it."""
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, float):
        return str(int(raw)) if raw.is_integer() and abs(raw) < INT64_LIMIT else str(raw)
    return str(raw) if isinstance(raw, str | int) else ""


def _finite(raw: object) -> float:
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        try:
            number = float(raw)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise DataError(f"label: expected a finite number, found {_shown(raw)}")


def _shown(raw: object) -> str:
    text = repr(raw)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."
