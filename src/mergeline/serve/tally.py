"""What a worker counts, cheaply; and the sum of what all workers of a server counted."""

from __future__ import annotations

import json
import os
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mergeline.serve.predictionlog import LogStats

BUCKETS_S = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
FOLDER = "counts"


@dataclass(slots=True)
class Timing:
    """How long a route took: requests in each bucket of `BUCKETS_S` (upper bounds; last, those above), and seconds."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))
    seconds: float = 0.0


@dataclass(slots=True)
class Tally:
    """The counts of one worker, or of all of them.

    `requests` are counted by route and status (`predict 200`), `predictions` by variant; `log` holds the log's own
    counts, `workers` those that are ready, `running` the requests that are being answered.
    """

    requests: dict[str, int] = field(default_factory=dict)
    timings: dict[str, Timing] = field(default_factory=dict)
    predictions: dict[str, int] = field(default_factory=dict)
    log: dict[str, int] = field(default_factory=dict)
    labels: int = 0
    workers: int = 0
    running: int = 0

    # ---- On the event loop: plain additions, a fifth of what a metrics library takes ---------------------------------

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answer."""
        key = f"{route} {status}"
        self.requests[key] = self.requests.get(key, 0) + 1
        timing = self.timings.get(route)
        if timing is None:
            timing = self.timings[route] = Timing()
        timing.buckets[bisect_left(BUCKETS_S, seconds)] += 1
        timing.seconds += seconds

    def predicted(self, variant: str, rows: int) -> None:
        """Count the rows that a variant scored."""
        self.predictions[variant] = self.predictions.get(variant, 0) + rows

    # ---- Now and then ------------------------------------------------------------------------------------------------

    def state(self, stats: LogStats | None, *, ready: bool, running: int) -> None:
        """Take over how the worker and its log are now."""
        self.workers, self.running = int(ready), running
        if stats is not None:
            self.log = asdict(stats)

    def plus(self, other: Tally) -> Tally:
        """Return the sum of two."""
        timings = dict(self.timings)
        for route, timing in other.timings.items():
            mine = timings.get(route, Timing())
            buckets = [one + more for one, more in zip(mine.buckets, timing.buckets, strict=True)]
            timings[route] = Timing(buckets, mine.seconds + timing.seconds)
        return Tally(
            _sum(self.requests, other.requests),
            timings,
            _sum(self.predictions, other.predictions),
            _sum(self.log, other.log),
            self.labels + other.labels,
            self.workers + other.workers,
            self.running + other.running,
        )

    def without_gauges(self) -> Tally:
        """Return what stays true of a worker that has ended: its counts, not its state."""
        ended = {name: count for name, count in self.log.items() if name != "queued_rows"}
        return Tally(self.requests, self.timings, self.predictions, ended, self.labels)


def write_tally(state: Path, tally: Tally) -> None:
    """Put this process's counts where the other workers find them, in one step."""
    folder = state / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f".{os.getpid()}.new"
    beside.write_text(json.dumps(asdict(tally)), encoding="utf-8")
    beside.replace(folder / f"{os.getpid()}.json")


def read_tallies(state: Path) -> Tally:
    """Return the sum of all workers' counts; those that have ended count on, without their state."""
    whole = Tally()
    for path in sorted((state / FOLDER).glob("*.json")):
        found = _tally_of(json.loads(path.read_bytes()))
        whole = whole.plus(found if _is_alive(int(path.stem)) else found.without_gauges())
    return whole


def _tally_of(raw: dict[str, Any]) -> Tally:
    timings = {route: Timing(each["buckets"], each["seconds"]) for route, each in raw.pop("timings").items()}
    return Tally(timings=timings, **raw)


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {
        name: one.get(name, 0) + other.get(name, 0) for name in [*one, *(each for each in other if each not in one)]
    }


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
