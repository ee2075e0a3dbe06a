"""The process: a socket, one worker or several under a supervisor, and logs as JSON lines."""

from __future__ import annotations

import datetime as dt
import json
import logging
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mergeline import heap
from mergeline.errors import ConfigurationError
from mergeline.serve.settings import Settings

if TYPE_CHECKING:
    from types import FrameType

    import uvicorn

    from mergeline.serve.app import App

log = logging.getLogger(__name__)

KEEP_ALIVE_S = 75
BACKLOG = 2_048
OWN_FIELDS = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "color_message"}


def serve(settings: Settings) -> None:
    """Serve until a signal ends it; SIGTERM is a good end.

    The release is fetched, verified, loaded and proven before a port is opened. Raises `VerificationError` where it is
    not what it must be, `ConfigurationError` where the port is taken.
    """
    from mergeline.serve.assembly import assemble, load_traffic, rehearse

    log_as_json()
    heap.keep_some()
    with _terminated_well():
        if settings.workers == 1:
            traffic = load_traffic(settings)
            _run(_config(settings, assemble(settings, traffic)))
            return
        rehearse(settings)
        with tempfile.TemporaryDirectory(prefix="mergeline-serve-") as folder:
            _supervise(replace(settings, state=Path(folder)))


@dataclass(frozen=True, slots=True)
class Worker:
    """Makes the application in a worker's own process."""

    settings: Settings

    def __call__(self) -> App:
        from mergeline.serve.assembly import assemble, load_traffic

        log_as_json()
        heap.keep_some()
        return assemble(self.settings, load_traffic(self.settings))


def _run(config: uvicorn.Config) -> None:
    import uvicorn

    class Server(uvicorn.Server):
        """uvicorn's, which knows in the end whether a person interrupted it: the event loop may lose the signal."""

        interrupted = False

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            self.interrupted |= sig == signal.SIGINT
            super().handle_exit(sig, frame)

    server = Server(config)
    server.run(sockets=[_bound(config)])
    if server.interrupted:
        raise KeyboardInterrupt


def _supervise(settings: Settings) -> None:
    from uvicorn.supervisors import Multiprocess

    class Supervisor(Multiprocess):
        """uvicorn's, which lets go of the port at the end: what its workers no longer take must be refused at once."""

        def terminate_all(self) -> None:
            for listening in self.sockets:
                listening.close()
            super().terminate_all()

    config = _config(settings, Worker(settings))
    Supervisor(config, sockets=[_bound(config)]).run()


def _config(settings: Settings, app: Any) -> uvicorn.Config:
    import uvicorn

    from mergeline.serve.connection import Connection

    return uvicorn.Config(
        app,
        factory=isinstance(app, Worker),
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        http=Connection,
        loop="uvloop",
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(settings.ending.drain_s)),
    )


def _bound(config: uvicorn.Config) -> Any:
    import socket

    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((config.host, config.port))
    except OSError as err:
        listening.close()
        raise ConfigurationError(f"{config.host}:{config.port}: {err.strerror}; choose another --port") from err
    listening.set_inheritable(True)
    host, port = listening.getsockname()[:2]
    log.info("listening", extra={"url": f"http://{f'[{host}]' if ':' in host else host}:{port}"})
    return listening


@contextmanager
def _terminated_well() -> Iterator[None]:
    """Let SIGTERM end the process with 0: while it loads, and when the server, done, raises the signal once more."""
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


# ---- Logs ----------------------------------------------------------------------------------------------------------


class JsonLines(logging.Formatter):
    """A record as one line of JSON: time (UTC), level, logger, message, what was given as `extra`, the traceback.

    In ASCII: a client's text may hold U+2028 or another character at which a reader of logs would break the line.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in record.__dict__.items() if name not in OWN_FIELDS}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def log_as_json() -> None:
    """Write all logs of this process to stderr, a line of JSON each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("botocore").setLevel(logging.WARNING)
    threading.excepthook = _log_death


def _log_death(died: threading.ExceptHookArgs) -> None:
    """A thread's end by an exception, as a line like all others."""
    name = died.thread.name if died.thread else "unknown"
    why = (died.exc_type, died.exc_value or died.exc_type(), died.exc_traceback)
    log.error("a thread died", exc_info=why, extra={"thread_name": name})
