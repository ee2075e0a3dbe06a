"""Load from wrk: so many connections, each of which sends its next request when the last one was answered."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.measurement import FailedCommandError
from benchmarks.serving.running import Running, on_a_core_of_its_own

SCRIPT = Path(__file__).parent / "post.lua"
LONGEST_ANSWER_S = 20
LOOK_S, RESTED_S, LONGEST_REST_S = 0.1, 0.3, 60.0
BUSY = 0.25  # of one core; what ticks now and then takes less


@dataclass(frozen=True, slots=True)
class Bodies:
    """Files with a request's body a line, of `rows` rows each, named by form and rows."""

    folder: Path
    rows: int

    def of(self, form: str) -> Path:
        """The file of a form."""
        return self.folder / f"{form}-{self.rows}.jsonl"

    def first(self, form: str) -> str:
        """The first body of a form."""
        with self.of(form).open(encoding="utf-8") as lines:
            return next(lines)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load found: answers a second, latencies, and the processor time of the server a request.

    `failed` counts what was no answer with status 200 and what was not answered at all.
    """

    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    requests: int
    failed: int

    def figures(self) -> dict[str, float]:
        """The figures by name."""
        return asdict(self)


def command(running: Running, bodies: Bodies, connections: int, seconds: int) -> list[str]:
    """The command of a load; SIGINT ends it early and well."""
    limits = ["-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--timeout", f"{LONGEST_ANSWER_S}s"]
    script = ["-s", str(SCRIPT), running.url(bodies.rows), "--", str(bodies.of(running.contender.form))]
    return [*on_a_core_of_its_own(), "wrk", *limits, *script]


def load(running: Running, bodies: Bodies, connections: int, seconds: int) -> Loaded:
    """Put a load on a server and wait until it rests again; raise `FailedCommandError` where a request fails."""
    before = running.cpu_s()
    done = subprocess.run(command(running, bodies, connections, seconds), capture_output=True, text=True, check=False)
    cpu_s = running.cpu_s() - before
    if done.returncode:
        raise FailedCommandError(f"wrk: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    loaded = parsed(done.stdout, cpu_s)
    if loaded.failed or not loaded.requests:
        raise FailedCommandError(f"{running.contender.name}: {loaded.failed} requests failed\n{done.stdout}")
    rest(running)
    return loaded


def rest(running: Running) -> float:
    """Wait until a server takes hardly any processor time; return how long it took some, in seconds.

    Of 64 requests that were under way when the clients went, a slow server answers each all the same: for a second,
    which would be of the turn of the next server. Raises `FailedCommandError` where it never rests.
    """
    began, before = time.monotonic(), running.cpu_s()
    busy = began
    while time.monotonic() - busy < RESTED_S:
        if time.monotonic() - began > LONGEST_REST_S:
            raise FailedCommandError(f"{running.contender.name}: still at work {LONGEST_REST_S:.0f} s after its load")
        time.sleep(LOOK_S)
        now = running.cpu_s()
        if now - before > BUSY * LOOK_S:
            busy = time.monotonic()
        before = now
    return busy - began


def parsed(text: str, cpu_s: float) -> Loaded:
    """Return what the last line of wrk's output says.

    >>> parsed('{"requests": 10, "seconds": 2.0, "failed": 0, "p50_ms": 1.0, "p99_ms": 2.0}', 0.001)
    Loaded(per_s=5.0, p50_ms=1.0, p99_ms=2.0, cpu_us=100.0, requests=10, failed=0)
    """
    found = json.loads(text.splitlines()[-1])
    requests = found["requests"]
    cpu_us = cpu_s * 1e6 / max(requests, 1)
    per_s = requests / found["seconds"]
    return Loaded(per_s, found["p50_ms"], found["p99_ms"], cpu_us, requests, found["failed"])
