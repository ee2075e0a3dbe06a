"""`mergeline` with something planted: `python planted_server.py PLANT[,PLANT...] ARGUMENT...`."""

from __future__ import annotations

import functools
import itertools
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from mergeline.cli import main
from mergeline.errors import ServiceError

SECRET = "planted: the inside of the server"

Act = Callable[[Callable[[], None]], None]  # gets a put that it does, or not


class Shelf:
    """A log store before another one, whose puts go through `act`."""

    def __init__(self, behind: Any, act: Act) -> None:
        self.url = behind.url
        self._behind = behind
        self._act = act

    def put(self, key: str, body: bytes) -> None:
        self._act(lambda: self._behind.put(key, body))

    def keys(self, prefix: str) -> list[str]:
        found: list[str] = self._behind.keys(prefix)
        return found

    def read(self, key: str) -> bytes:
        content: bytes = self._behind.read(key)
        return content


# ---- Stores of the log -----------------------------------------------------------------------------------------------


def good(put: Callable[[], None]) -> None:
    put()


def slow(put: Callable[[], None]) -> None:
    time.sleep(0.3)
    put()


def failing(_put: Callable[[], None]) -> None:
    raise ServiceError(SECRET)


def unclear(put: Callable[[], None]) -> None:
    """The bytes are there, and the answer says that they are not."""
    put()
    raise ServiceError(SECRET)


def killed(_put: Callable[[], None]) -> None:
    sys.exit(SECRET)


def killed_late(put: Callable[[], None]) -> None:
    put()
    sys.exit(SECRET)


def hanging(_put: Callable[[], None]) -> None:
    threading.Event().wait()


def shelf(*acts: Act) -> None:
    """Let every log store act in turn."""
    from mergeline import logstore

    whole, turns = logstore.open_log, itertools.cycle(acts)

    def in_turn(put: Callable[[], None]) -> None:
        next(turns)(put)

    def open_log(url: str, root: Any) -> Any:
        return Shelf(whole(url, root), in_turn)

    patch("mergeline.logstore.open_log", open_log).start()


# ---- Settings that have no option ------------------------------------------------------------------------------------


def log_settings(**values: Any) -> None:
    from mergeline.serve.logwriter import LogSettings

    patch("mergeline.serve.logwriter.LogSettings", functools.partial(LogSettings, **values)).start()


def short_body() -> None:
    from mergeline.serve.settings import Limits

    patch("mergeline.serve.settings.Limits", functools.partial(Limits, body_timeout_s=0.5)).start()


def short_head() -> None:
    patch("mergeline.serve.connection.HEAD_TIMEOUT_S", 0.5).start()


def short_ending() -> None:
    from mergeline.serve.settings import Ending

    patch("mergeline.serve.settings.Ending", functools.partial(Ending, drain_s=1.0, flush_s=1.0)).start()


# ---- Mistakes in the code --------------------------------------------------------------------------------------------


def dying_writer() -> None:
    """Every fortieth step of the log's writer ends its thread."""
    from mergeline.serve.logwriter import LogWriter

    step, count = LogWriter.step, itertools.count(1)

    def dying(self: LogWriter, closing: bool = False) -> None:
        if next(count) % 40 == 0:
            sys.exit(SECRET)
        step(self, closing)

    patch.object(LogWriter, "step", dying).start()


def raising() -> None:
    """Every request with an entity hits a mistake."""
    from mergeline.serve.predict import Predictor

    predict = Predictor.predict

    async def raises(self: Predictor, body: bytes, request_id: str) -> Any:
        answer = await predict(self, body, request_id)
        if b"entity_id" in body:
            raise RuntimeError(SECRET)
        return answer

    patch.object(Predictor, "predict", raises).start()


def telling() -> None:
    """Every answer to a bad request says where the server's code lies."""
    from mergeline.serve.problems import Problem

    body = Problem.body

    def tells(self: Problem, request_id: str) -> bytes:
        self.detail = f'Traceback (most recent call last): File "{__file__}"'
        return body(self, request_id)

    patch.object(Problem, "body", tells).start()


def growing() -> None:
    """Nothing that comes in is ever let go."""
    from mergeline.serve.requests import Bodies

    read, kept = Bodies.read, list[bytes]()

    async def keeps(self: Bodies, *arguments: Any) -> bytes:
        body = await read(self, *arguments)
        kept.append(body + bytes(16_384))
        return body

    patch.object(Bodies, "read", keeps).start()


def failing_shadow() -> None:
    from mergeline.serve.variants import Variant

    score = Variant.score

    def fails(self: Variant, rows: Any) -> Any:
        if self.name == "shadow":
            raise RuntimeError(SECRET)
        return score(self, rows)

    patch.object(Variant, "score", fails).start()


def held(is_held: Callable[[Any, Any], bool]) -> None:
    """What is held is not scored before the file that `PLANTED_GO` names is there."""
    from mergeline.serve.variants import Variant

    score, go = Variant.score, Path(os.environ["PLANTED_GO"])

    def waits(self: Variant, rows: Any) -> Any:
        while is_held(self, rows) and not go.exists():
            time.sleep(0.01)
        return score(self, rows)

    patch.object(Variant, "score", waits).start()


def failing_keep() -> None:
    """What was answered cannot be handed over to the log."""
    from mergeline.serve.predictionlog import PredictionLog

    def fails(self: PredictionLog, entry: Any) -> None:
        raise RuntimeError(SECRET)

    patch.object(PredictionLog, "add", fails).start()


def slow_start() -> None:
    """Loading says that it has begun, and takes its time."""
    from mergeline.serve.loading import check_samples

    def slowly(scorer: Any) -> None:
        logging.getLogger("planted").info("loading")
        time.sleep(2)
        check_samples(scorer)

    patch("mergeline.serve.loading.check_samples", slowly).start()


def short_of_a_row() -> None:
    """The model gives no score for the last of several rows."""
    from mergeline.serve.variants import Variant

    score = Variant.score

    def cut(self: Variant, rows: Any) -> Any:
        return score(self, rows)[: max(1, len(rows) - 1)]

    patch.object(Variant, "score", cut).start()


PLANTS: dict[str, Callable[[], None]] = {
    "slow-log": lambda: shelf(slow),
    "failing-log": lambda: shelf(failing),
    "hanging-log": lambda: shelf(hanging),
    "log-in-turn": lambda: shelf(slow, failing, killed, unclear, killed_late, good, good),
    "small-queue": lambda: log_settings(queue_rows=20, retry_seconds=0.05),
    "quick-retry": lambda: log_settings(retry_seconds=0.02, longest_retry_seconds=0.1),
    "short-body": short_body,
    "short-head": short_head,
    "short-ending": short_ending,
    "dying-writer": dying_writer,
    "raising": raising,
    "telling": telling,
    "growing": growing,
    "failing-shadow": failing_shadow,
    "held-shadow": lambda: held(lambda variant, rows: variant.name == "shadow"),
    "held-batches": lambda: held(lambda variant, rows: len(rows) > 100),
    "failing-keep": failing_keep,
    "slow-start": slow_start,
    "short-of-a-row": short_of_a_row,
}


if __name__ == "__main__":
    for name in sys.argv[1].split(","):
        PLANTS[name]()
    sys.exit(main(sys.argv[2:]))
