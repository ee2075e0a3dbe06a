"""Blocks of the prediction log, step by step: from the queue to files, through failures, each row once or counted."""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import accumulate
from typing import TYPE_CHECKING

from mergeline.errors import DataError, ServiceError
from mergeline.serve.ids import Ids
from mergeline.serve.logschema import Entry, Group, LogSchema, Piece

if TYPE_CHECKING:
    from mergeline.logstore import LogStore

log = logging.getLogger(__name__)

# at once: in which the event loop waits, less than a millisecond; to be woken more often costs it more
PACKED_ENTRIES, PACKED_ROWS = 512, 5_120
DEATHS = 3  # of writer threads by the same rows, until these are given up
LONGEST_RETRY_AT_THE_END_S = 0.25


@dataclass(frozen=True, slots=True)
class LogSettings:
    """How the log is written.

    A file holds about `batch_rows` rows, or those of `batch_seconds`. At most `queue_rows` rows wait in memory, most of
    them as Parquet, then new ones are dropped. `sampling_rate` (0 to 1) is the share of rows that are logged. A write
    that failed is tried again after `retry_seconds`, then after twice as many, up to `longest_retry_seconds`.
    """

    batch_rows: int = 5_000
    batch_seconds: float = 30.0
    queue_rows: int = 100_000
    sampling_rate: float = 1.0
    retry_seconds: float = 0.5
    longest_retry_seconds: float = 30.0


class Doing(StrEnum):
    """What a writer is at, so that its successor knows what it died of."""

    PACKING = "packing"
    MAKING = "making"
    PUTTING = "putting"


@dataclass(slots=True)
class Block:
    """The rows of a file to be; the key is chosen once, so that writing it again replaces it."""

    group: Group
    key: str
    opened_s: float
    pieces: list[Piece] = field(default_factory=list)
    rows: int = 0
    deaths: int = 0


@dataclass(frozen=True, slots=True)
class Made:
    """A file that is not on the shelf yet."""

    key: str
    rows: int
    body: bytes


class Putting(threading.Thread):
    """One put in a thread of its own, so that rows are packed and made files, which are small, while it lasts."""

    def __init__(self, store: LogStore, made: Made, when_over: Callable[[], object]) -> None:
        super().__init__(name="prediction-log-put", daemon=True)
        self.made = made
        self.is_put = False
        self.is_over = False
        self.failure: ServiceError | None = None
        self._store = store
        self._when_over = when_over

    def run(self) -> None:
        """Put the file; note whether it is on the shelf or what the shelf said, neither where this thread dies."""
        try:
            self._store.put(self.made.key, self.made.body)
            self.is_put = True
        except ServiceError as err:
            self.failure = err
        finally:
            self.is_over = True
            self._when_over()


class LogWriter:
    """Takes entries from `queue` and puts files; one thread at a time calls `step`, or `put`, again and again.

    A row is in the queue, in a block, in a made file, written or given up, and stays where it is when a call raises:
    the next one, from whichever thread, goes on there, after `after_death`. Given up, with a count, is what does not
    fit the signatures, and what has killed a thread three times. `when_over` is called, in a thread of its own, when
    a file is on the shelf or could not be put, and `put` has something to do.
    """

    def __init__(
        self,
        store: LogStore,
        schema: LogSchema,
        settings: LogSettings,
        clock: Callable[[], float] = time.monotonic,
        when_over: Callable[[], object] = lambda: None,
    ) -> None:
        self.queue: list[Entry] = []
        self.written_rows = 0
        self.given_up_rows = 0
        self.failed_writes = 0
        self.dead_puts = 0
        self._store = store
        self._schema = schema
        self._settings = settings
        self._clock = clock
        self._when_over = when_over
        self._blocks: dict[Group, Block] = {}
        self._made: deque[Made] = deque()
        self._names = Ids()
        self._doing = Doing.PUTTING
        self._alone = 0  # so many of the first entries are packed one by one, because one of them is no good
        self._deaths_alone = 0
        self._making: Block | None = None
        self._putting: Putting | None = None
        self._retry_at_s = 0.0
        self._retry_s = settings.retry_seconds
        self._settling = threading.Lock()
        self._abandoned = False

    @property
    def settled_rows(self) -> int:
        """The rows that are written or given up."""
        return self.written_rows + self.given_up_rows

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits to be written."""
        return not (self.queue or self._blocks or self._made)

    @property
    def waits_to_retry(self) -> bool:
        """Whether there are files, none of which is being put."""
        return bool(self._made) and self._putting is None

    def step(self, closing: bool = False) -> None:
        """Pack what is queued, make files of what is due (of all, where the log is `closing`), put one at a time.

        A few entries, fewer than half of those just packed, stay in the queue if the log is not closing: with the next
        ones they are one piece.
        """
        left = len(self.queue)
        while left > 0:
            taken = self._pack_some()
            self.put(closing)
            left -= taken
            if left < taken // 2 and not closing:
                break
            time.sleep(0)  # lets go of the GIL, for which the event loop may wait
        for block in list(self._blocks.values()):
            if closing or self._clock() - block.opened_s >= self._settings.batch_seconds:
                self._make(block)
        self.put(closing)

    def put(self, closing: bool = False) -> None:
        """See how the last put went, if it is over, and begin the next one, if it is time.

        It does not wait for a put: a slow one lasts over many calls, one that failed is begun again later.
        """
        self._doing = Doing.PUTTING
        if closing:
            self._retry_at_s = min(self._retry_at_s, self._clock() + LONGEST_RETRY_AT_THE_END_S)
        if self._putting is not None:
            if not self._putting.is_over and self._putting.is_alive():  # it may die before it can say anything
                return
            ended, self._putting = self._putting, None
            self._settle(ended)
            if not ended.is_put:
                return  # to be tried again, in a later call
        if self._made and self._clock() >= self._retry_at_s:
            putting = Putting(self._store, self._made[0], self._when_over)
            putting.start()
            self._putting = putting

    def after_death(self) -> None:
        """Note what the last `step` or `put` died of, and give up what has now killed too often."""
        if self._doing is Doing.PACKING and self.queue:
            self._deaths_alone += 1 if self._alone else 0
            self._alone = max(1, self._alone, min(PACKED_ENTRIES, len(self.queue)))
            if self._deaths_alone >= DEATHS:
                self._give_up_first("rows that killed the writer")
        elif self._doing is Doing.MAKING and self._making is not None:
            block = self._making
            block.deaths += 1
            if block.deaths >= DEATHS and self._blocks.pop(block.group, None) is not None:
                self._give_up(block.rows, "a block that killed the writer")

    def abandon(self, accepted_rows: int) -> None:
        """Count what is left of `accepted_rows` as given up; what a hanging write does later is counted no more."""
        with self._settling:
            self._abandoned = True
            self.given_up_rows += accepted_rows - self.settled_rows

    # ---- Packing ---------------------------------------------------------------------------------------------------

    def _pack_some(self) -> int:
        """Move the first entries of the queue into blocks; return how many have left it."""
        self._doing = Doing.PACKING
        entries = self._first_entries()
        try:
            pieces = self._schema.pack(entries)
        except DataError as err:
            if len(entries) == 1:
                self._give_up_first(str(err))
                return 1
            self._alone = len(entries)
            return 0
        blocks = [self._block(group) for group in pieces]
        for block, piece in zip(blocks, pieces.values(), strict=True):
            block.pieces.append(piece)
            block.rows += piece.rows
        self._leave(len(entries))
        for block in blocks:
            if block.rows >= self._settings.batch_rows:
                self._make(block)
        return len(entries)

    def _first_entries(self) -> list[Entry]:
        first = self.queue[: 1 if self._alone else PACKED_ENTRIES]
        ends = list(accumulate([len(entry.request_ids) for entry in first]))
        return first[: bisect_left(ends, min(PACKED_ROWS, self._settings.batch_rows)) + 1]

    def _leave(self, count: int) -> None:
        del self.queue[:count]
        self._alone = max(0, self._alone - count)
        self._deaths_alone = 0

    def _block(self, group: Group) -> Block:
        block = self._blocks.get(group)
        if block is None:
            hour = dt.datetime.fromtimestamp(group.hour * 3600, dt.UTC)
            key = f"predictions/{hour:date=%Y-%m-%d/hour=%H}/{self._names.next()}.parquet"
            block = self._blocks[group] = Block(group, key, self._clock())
        return block

    # ---- Files -----------------------------------------------------------------------------------------------------

    def _make(self, block: Block) -> None:
        """Make a block a file, which takes a fifth of its memory while it waits."""
        self._doing, self._making = Doing.MAKING, block
        self._made.append(Made(block.key, block.rows, self._schema.parquet(block.group, block.pieces)))
        del self._blocks[block.group]

    def _settle(self, ended: Putting) -> None:
        if ended.is_put:
            self._retry_s = self._settings.retry_seconds
            self._made.popleft()
            with self._settling:
                self.written_rows += 0 if self._abandoned else ended.made.rows
            return
        self.failed_writes += 1
        self.dead_puts += ended.failure is None
        self._retry_at_s = self._clock() + self._retry_s
        why = ended.failure or "its thread died"
        log.warning("%s: not written, next try in %.1f s (%s)", ended.made.key, self._retry_s, why)
        self._retry_s = min(2 * self._retry_s, self._settings.longest_retry_seconds)

    def _give_up_first(self, why: str) -> None:
        rows = len(self.queue[0].request_ids)
        self._leave(1)
        self._give_up(rows, why)

    def _give_up(self, rows: int, why: str) -> None:
        log.error("%d rows of the prediction log are given up: %s", rows, why)
        with self._settling:
            self.given_up_rows += 0 if self._abandoned else rows
