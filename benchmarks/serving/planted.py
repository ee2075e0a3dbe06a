"""The model server on a log whose shelf is slow, fails, and whose writer is killed, in turn; otherwise as it is.

Usage, in a repository with a release in staging: planted.py PORT LOG COUNTS
COUNTS gets, at the end, how often each was planted, as JSON.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from mergeline.commands.serve import serve_options, settings_of
from mergeline.errors import ServiceError
from mergeline.logstore import LogStore, open_log
from mergeline.serve import assembly, predictionlog
from mergeline.serve.logschema import LogSchema
from mergeline.serve.logwriter import LogSettings
from mergeline.serve.server import serve

PHASES = ("well", "maker killed", "slow", "well", "failing", "putter killed")
PHASE_S = 0.7
SLOW_S = 0.2
# small files and a short queue, so that much happens in a short time, and rows are dropped too
LOG = LogSettings(batch_rows=1_000, queue_rows=10_000, retry_seconds=0.05, longest_retry_seconds=0.4)

planted: Counter[str] = Counter()


def phase() -> str:
    """What is planted now."""
    return PHASES[int(time.monotonic() / PHASE_S) % len(PHASES)]


class PlantedLog:
    """A shelf that by turns works, is slow, fails before or after the file lies there, or ends who puts."""

    def __init__(self, store: LogStore) -> None:
        self._store = store
        self._number = itertools.count()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def put(self, key: str, body: bytes) -> None:
        """Put a file, or not."""
        now, late = phase(), next(self._number) % 2 == 1
        if now == "slow":
            planted["a put was slow"] += 1
            time.sleep(SLOW_S)
        elif now == "failing":
            planted["a put failed"] += 1
            self._put_first(late, key, body)
            raise ServiceError("planted")
        elif now == "putter killed":
            planted["a thread died while it put a file"] += 1
            self._put_first(late, key, body)
            raise SystemExit
        self._store.put(key, body)

    def _put_first(self, late: bool, key: str, body: bytes) -> None:
        """What fails may have been done all the same."""
        if late:
            self._store.put(key, body)


class PlantedSchema(LogSchema):
    """Makes files, and in its phase ends every other time the thread that asks for one."""

    made = itertools.count()

    def parquet(self, *arguments: Any) -> bytes:
        """Return a file, or end the thread."""
        if phase() == "maker killed" and next(self.made) % 2:
            planted["the writer died while it made a file"] += 1
            raise SystemExit
        return super().parquet(*arguments)


def main(port: str, log: str, counts: Path) -> None:
    """Serve until a signal comes."""
    assembly.open_log = lambda url, root: PlantedLog(open_log(url, root))  # type: ignore[attr-defined]
    predictionlog.LogSchema = PlantedSchema  # type: ignore[attr-defined]
    parser = argparse.ArgumentParser()
    serve_options(parser)
    parsed = parser.parse_args(["--environment", "staging", "--port", port, "--log", log, "--wait-seconds", "0"])
    try:
        serve(replace(settings_of(Path(), parsed, {}), log=LOG))
    finally:  # a server that was told to end exits
        counts.write_text(json.dumps(planted), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
