"""The shadow scores what the champion has answered, in a thread of its own, for the log alone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mergeline.serve.rows import Rows
from mergeline.serve.variants import Variant

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from numpy.typing import NDArray

log = logging.getLogger(__name__)

MOST_WAITING_ROWS = 10_000

Keep = Callable[[Rows, Sequence[str], int, "NDArray[np.float64] | None", float], None]


class Shadow:
    """Scores rows behind the answers; a shadow that is slow, fails or cannot keep up concerns no client.

    `keep` gets rows, ids, time, scores (None where it failed, or where more than 10,000 rows wait for it) and its
    latency in milliseconds, on the event loop.
    """

    def __init__(self, variant: Variant, keep: Keep) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._variant = variant
        self._keep = keep
        self._pool: ThreadPoolExecutor = ThreadPoolExecutor(1, thread_name_prefix="shadow")
        self._waiting: set[asyncio.Task[None]] = set()
        self._waiting_rows = 0

    def listen(self, rows: Rows, ids: Sequence[str], ts_us: int) -> None:
        """Take over rows that were answered; returns at once."""
        if self._waiting_rows + len(rows) > MOST_WAITING_ROWS:
            log.warning("the shadow cannot keep up", extra={"request_id": ids[0]})
            self._keep(rows, ids, ts_us, None, 0.0)
            return
        self._waiting_rows += len(rows)
        task = asyncio.create_task(self._score(rows, ids, ts_us))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def close(self, timeout_s: float) -> None:
        """Return when nothing waits for the shadow any more, or after `timeout_s` seconds."""
        if self._waiting:
            await asyncio.wait(self._waiting, timeout=timeout_s)
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _score(self, rows: Rows, ids: Sequence[str], ts_us: int) -> None:
        started = time.perf_counter()
        scores: NDArray[np.float64] | None = None
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._pool, self._variant.score, rows)
            if np.isfinite(found).all():
                scores = found
            else:
                log.warning("the shadow has no finite score", extra={"request_id": ids[0]})
        except Exception as err:  # noqa: BLE001 - the runtime's exceptions share no base, and no client is to notice
            log.warning("the shadow failed", extra={"request_id": ids[0], "reason": str(err)[:200]})
        finally:
            self._waiting_rows -= len(rows)
        self._keep(rows, ids, ts_us, scores, (time.perf_counter() - started) * 1e3)
