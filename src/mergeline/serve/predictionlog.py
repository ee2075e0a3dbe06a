"""The prediction log: what was scored goes to the shelf in the background and never slows or fails an answer."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from mergeline.serve.logschema import Entry, LogSchema
from mergeline.serve.logwriter import LONGEST_RETRY_AT_THE_END_S, PACKED_ROWS, LogSettings, LogWriter

if TYPE_CHECKING:
    from mergeline.logstore import LogStore
    from mergeline.schema import Signature

__all__ = ["Entry", "LogSettings", "LogStats", "PredictionLog"]

log = logging.getLogger(__name__)

REST_S = 0.5  # between two steps of the same writer, at most
TICK_S = 0.02  # the same at the end, and between two looks whether it is time to put again what could not be put
DOUBLINGS = 6  # of the wait before a new writer, from `retry_seconds` on


@dataclass(frozen=True, slots=True)
class LogStats:
    """Counts since the start: every row that was given to the log is written, dropped or queued.

    Rows that the sampling passed over were not given to it. `queued_rows` counts all that are in memory.
    """

    written_rows: int
    dropped_rows: int
    queued_rows: int
    failed_writes: int
    writer_restarts: int


class PredictionLog:
    """A bounded queue before a background thread that puts Parquet files on the shelf.

    `signature` is the champion's, whose features are logged, `signatures` those of all variants by model SHA-256.
    What was accepted and not dropped is in the log exactly once. A writer that dies is replaced by another one, which
    goes on where it stopped. `has_loaded` says that the writer has the libraries that it needs.
    """

    def __init__(
        self,
        store: LogStore,
        signature: Signature,
        signatures: Mapping[str, Signature],
        settings: LogSettings | None = None,
    ) -> None:
        # before pyarrow is first imported: its own allocator keeps 20 MB more of what a block took
        os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
        self._settings = settings or LogSettings()
        self.has_loaded = False
        schema = LogSchema(signature, signatures, self._settings.sampling_rate)
        self._wake = threading.Event()
        self._writer = LogWriter(store, schema, self._settings, when_over=self._wake.set)
        self._accept = self._writer.queue.append
        self._accepted_rows = 0
        self._unpacked_rows = 0  # since the writer was last woken
        self._packed_at = min(PACKED_ROWS, self._settings.batch_rows, max(1, self._settings.queue_rows // 4))
        self._rest_s = min(REST_S, max(TICK_S, self._settings.batch_seconds / 10))
        self._step_at_s = 0.0  # time.monotonic
        self._refused_rows = 0
        self._restarts = 0
        self._deaths_in_a_row = 0
        self._closing = False
        self._ended = False
        self._finished = threading.Event()
        self._replacing = threading.Lock()
        with self._replacing:
            self._thread = self._started(0.0)

    # ---- On the event loop -----------------------------------------------------------------------------------------

    def add(self, entry: Entry) -> None:
        """Queue the rows of an entry, or drop them and count; always called from the same thread.

        A row is sampled by its request id alone, so that all variants log the same requests.
        """
        rows = len(entry.request_ids)
        if self._settings.sampling_rate < 1.0:
            entry = _sampled(entry, self._settings.sampling_rate)
            rows = len(entry.request_ids)
        writer = self._writer
        waiting = self._accepted_rows - writer.written_rows - writer.given_up_rows
        if waiting + rows > self._settings.queue_rows or self._closing:
            self._refused_rows += rows
            self._replace_dead()
        elif rows:
            self._accepted_rows += rows
            self._accept(entry)
            self._unpacked_rows += rows
            if self._unpacked_rows >= self._packed_at:  # to wake the writer costs the event loop a turn
                self._unpacked_rows = 0
                self._step_at_s = 0.0
                self._wake.set()

    def stats(self) -> LogStats:
        """Return the counts of now; see to it that there is a writer."""
        self._replace_dead()
        writer = self._writer
        written, given_up = writer.written_rows, writer.given_up_rows
        return LogStats(
            written_rows=written,
            dropped_rows=self._refused_rows + given_up,
            queued_rows=self._accepted_rows - written - given_up,
            failed_writes=writer.failed_writes,
            writer_restarts=self._restarts + writer.dead_puts,
        )

    def close(self, timeout_s: float) -> bool:
        """Write what is queued, as far as `timeout_s` lets; return whether all got out. The rest counts as dropped."""
        self._closing = True
        self._replace_dead()
        self._wake.set()
        if not self._ended and not self._finished.wait(timeout_s):
            self._ended = True
            self._writer.abandon(self._accepted_rows)
            self._wake.set()
        return self._finished.is_set()

    # ---- In the background -----------------------------------------------------------------------------------------

    def _started(self, wait_s: float) -> threading.Thread:
        thread = threading.Thread(target=self._write, args=(wait_s,), name="prediction-log", daemon=True)
        thread.start()
        return thread

    def _write(self, wait_s: float) -> None:
        """Write until the log is closed; of whatever this thread dies, another one goes on in its place."""
        try:
            if wait_s:
                self._wait_after_death(wait_s)
            import pyarrow.parquet  # noqa: F401  while the server starts, not with the first file

            self.has_loaded = True
            if wait_s:
                self._writer.after_death()
                self._step_at_s = 0.0
            while not self._ended:
                closing = self._closing
                self._step_or_put(closing)
                self._deaths_in_a_row = 0
                if closing and self._writer.is_idle:
                    self._finished.set()
                    self._ended = True
                is_soon = closing or self._writer.waits_to_retry
                self._wake.wait(TICK_S if is_soon else max(0.0, self._step_at_s - time.monotonic()))
                self._wake.clear()
        finally:
            if not self._ended:
                died_of = sys.exc_info()[0]
                log.error(
                    "the writer of the prediction log died of %s, another one goes on", died_of and died_of.__name__
                )
                with self._replacing:  # the successor may die before it is known as such
                    self._replace()

    def _step_or_put(self, closing: bool) -> None:
        """Let the writer step where that is due, else see to its files alone, so that a few rows are no piece."""
        now = time.monotonic()
        if closing or now >= self._step_at_s:
            self._step_at_s = now + self._rest_s
            self._writer.step(closing)
        else:
            self._writer.put()

    def _wait_after_death(self, wait_s: float) -> None:
        self._wake.clear()
        self._wake.wait(min(wait_s, LONGEST_RETRY_AT_THE_END_S) if self._closing else wait_s)

    def _replace(self) -> None:
        wait_s = self._settings.retry_seconds * 2**self._deaths_in_a_row
        self._restarts += 1
        self._deaths_in_a_row = min(self._deaths_in_a_row + 1, DOUBLINGS)
        self._thread = self._started(max(wait_s, TICK_S))

    def _replace_dead(self) -> None:
        """Start a writer where a dying one could not, for want of memory or threads; wait for nobody who does."""
        if not self._replacing.acquire(blocking=False):
            return
        try:
            if not self._ended and not self._thread.is_alive():
                self._replace()
        except RuntimeError:
            log.exception("the prediction log has no writer")
        finally:
            self._replacing.release()


def _sampled(entry: Entry, rate: float) -> Entry:
    """The entry with those rows alone whose request ids, hashed, fall into the share `rate`."""
    kept = [at for at, name in enumerate(entry.request_ids) if _position(name) < rate]
    if len(kept) == len(entry.request_ids):
        return entry
    places = {at: place for place, at in enumerate(kept)}
    texts = entry.texts or {}
    try:
        return msgspec.structs.replace(
            entry,
            request_ids=[entry.request_ids[at] for at in kept],
            values=entry.values[kept],
            scores=None if entry.scores is None else entry.scores[kept],
            texts={(places[row], column): text for (row, column), text in texts.items() if row in places},
            event_times=entry.event_times and [entry.event_times[at] for at in kept],
            entity_ids=entry.entity_ids and [entry.entity_ids[at] for at in kept],
        )
    except (IndexError, TypeError):
        return entry  # does not fit together, which the writer finds and counts; nothing is raised on the event loop


def _position(request_id: str) -> float:
    """Where a request lies between 0 and 1; a hash of its own, so that it says nothing about the request's variant."""
    digest = hashlib.blake2b(request_id.encode("utf-8", "replace"), digest_size=6, person=b"log-sampling").digest()
    return int.from_bytes(digest) / 2**48
