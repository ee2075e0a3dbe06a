"""The life of a worker: ready, then after SIGTERM not ready, waiting, draining, and last the log written out."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mergeline.serve import libraries
from mergeline.serve.requests import Receive
from mergeline.serve.settings import Ending

if TYPE_CHECKING:
    from types import FrameType

    from mergeline.serve.app import App, Send
    from mergeline.serve.labels import LabelIntake
    from mergeline.serve.predictionlog import PredictionLog

log = logging.getLogger(__name__)

TICK_S = 1.0


class Lifecycle:
    """Says whether a worker is ready, and takes it out of service in order.

    SIGTERM: not ready; `ending.wait_s` seconds of answering still; then the server closes its sockets and answers what
    is under way; then the log is flushed. SIGINT (a person at a terminal) skips the wait.
    """

    def __init__(
        self, ending: Ending, prediction_log: PredictionLog | None, intake: LabelIntake | None, *, supervised: bool
    ) -> None:
        self.is_ready = False
        self.is_leaving = False
        self._ending = ending
        self._log = prediction_log
        self._intake = intake
        self._parent = os.getppid() if supervised else None
        self._is_settled = False

    async def run(self, app: App, receive: Receive, send: Send) -> None:
        """Speak ASGI's lifespan protocol: start, tick while serving, end."""
        await receive()
        watch = app.watch
        self._take_over_sigterm()
        gc.collect()  # what the start leaves behind is free for requests, and what lives on is not looked at again
        gc.freeze()
        self.is_ready = True
        ticking = asyncio.create_task(_tick(app))
        log.info("ready", extra={"model_sha256": watch.model_sha256})
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.is_ready = False
        ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticking
        await app.close(self._ending.flush_s)
        await self._flush()
        await send({"type": "lifespan.shutdown.complete"})

    def look_after_parent(self) -> None:
        """End this worker where its supervisor was killed, which could not end it."""
        if self._parent is not None and os.getppid() != self._parent and not self.is_leaving:
            log.error("the supervisor is gone", extra={"pid": self._parent})
            os.kill(os.getpid(), signal.SIGTERM)

    def settle(self) -> None:
        """Let go, once, of what only the start needed: when the log, whose thread loads last, has its libraries."""
        if not self._is_settled and (self._log is None or self._log.has_loaded):
            self._is_settled = True
            libraries.release_pages()

    def leave(self, stop: Callable[[], Any]) -> None:
        """Become not ready, and call `stop` when the wait is over."""
        self.is_ready = False
        if self.is_leaving:
            return
        self.is_leaving = True
        log.info("leaving", extra={"seconds": self._ending.wait_s})
        asyncio.get_running_loop().call_later(self._ending.wait_s, stop)

    def _take_over_sigterm(self) -> None:
        """Put the wait before what the server does at SIGTERM."""
        loop = asyncio.get_running_loop()
        before = signal.getsignal(signal.SIGTERM)

        def on_sigterm(number: int, frame: FrameType | None) -> None:
            stop: Callable[[], Any] = (lambda: before(number, frame)) if callable(before) else loop.stop
            loop.call_soon_threadsafe(self.leave, stop)

        signal.signal(signal.SIGTERM, on_sigterm)

    async def _flush(self) -> None:
        if self._intake is not None:
            with contextlib.suppress(TimeoutError):  # a store that hangs; whoever sent the labels got no answer
                await asyncio.wait_for(self._intake.close(), self._ending.flush_s)
        if self._log is None:
            return
        whole = await asyncio.to_thread(self._log.close, self._ending.flush_s)
        stats = self._log.stats()
        level = logging.INFO if whole else logging.WARNING
        log.log(level, "log flushed", extra={"written_rows": stats.written_rows, "dropped_rows": stats.dropped_rows})


async def _tick(app: App) -> None:
    while True:
        app.tick()
        await asyncio.sleep(TICK_S)
