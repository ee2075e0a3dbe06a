"""How a server runs: what it serves, where it listens, what it refuses, how it ends."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from pathlib import Path

from mergeline.release.fetch import Wanted
from mergeline.serve.logwriter import LogSettings


@dataclass(frozen=True, slots=True)
class Limits:
    """What one server takes on.

    `max_rows` of one request; `max_body_bytes` of its body; `concurrency` requests that are read and answered at once
    (a worker each), more get 503; `body_timeout_s` seconds for a body to arrive.
    """

    max_rows: int = 1_000
    max_body_bytes: int = 4 << 20
    concurrency: int = 256
    body_timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Ending:
    """How a server ends after SIGTERM: `wait_s` seconds not ready but answering, so that whoever routes to it can
    notice; at most `drain_s` seconds for the answers under way; at most `flush_s` seconds for the prediction log.
    """

    wait_s: float = 5.0
    drain_s: float = 10.0
    flush_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Settings:
    """All that a worker needs to know; it can be pickled.

    `folder` is where the release's bytes are put or lie already. `share` is the challenger's (0 to 1), None for a
    shadow. `log_url` is None where nothing is logged. `sunset` is the day on
    which the model goes. `state` is a folder that several workers share, None for one.
    """

    root: Path
    environment: str
    wanted: Wanted
    folder: Path
    challenger: Wanted | None = None
    challenger_folder: Path | None = None
    share: float | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    limits: Limits = field(default_factory=Limits)
    ending: Ending = field(default_factory=Ending)
    log_url: str | None = ".mergeline/log"
    log: LogSettings = field(default_factory=LogSettings)
    api_key_file: Path | None = None
    access_log: bool = False
    sunset: dt.date | None = None
    state: Path | None = None
