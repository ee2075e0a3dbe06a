"""What a whole process costs, and how two of them compare.

This module and the programs that use it import the standard library alone: a child starts with its parent's peak of
memory on its account (Linux keeps it across exec), so the parent has to stay small.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

SHOWN_LINES = 15

T = TypeVar("T")


class FailedCommandError(RuntimeError):
    """A command that was to be measured did not end well."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process cost, with the processes that it started and waited for.

    `wall_s` and `cpu_s` (user and system) are seconds; `peak_mb` is the resident memory, in MiB, of the largest one.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float


@dataclass(frozen=True, slots=True)
class Summary:
    """Median, smallest and largest of several runs."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Summary:
        """Summarise at least one value.

        >>> Summary.of([3.0, 1.0, 2.0])
        Summary(median=2.0, low=1.0, high=3.0)
        """
        return cls(statistics.median(values), min(values), max(values))

    def sentence(self) -> str:
        """Return it as text.

        >>> Summary(0.5, 0.25, 12.0).sentence()
        '0.500 (0.250 to 12.0)'
        """
        return f"{number(self.median)} ({number(self.low)} to {number(self.high)})"


def number(value: float) -> str:
    """Return a figure with as many places as it deserves.

    >>> number(0.12345), number(1.2345), number(12.345), number(0.00042), number(0)
    ('0.123', '1.23', '12.3', '0.00042', '0')
    """
    if abs(value) < 0.1:
        return f"{value:.2g}"
    return f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def ratio(ours: Sequence[float], peers: Sequence[float]) -> Summary:
    """Return the ratios of paired runs: the first of ours to the first of the peer's, and so on.

    Runs side by side meet the same load, so the median of their ratios moves less than the ratio of the medians.

    >>> ratio([2.0, 30.0, 4.0], [1.0, 10.0, 4.0])
    Summary(median=2.0, low=1.0, high=3.0)
    """
    return Summary.of([one / other for one, other in zip(ours, peers, strict=True)])


def difference(ours: Sequence[float], peers: Sequence[float]) -> Summary:
    """Return the differences of paired runs, ours less the peer's.

    >>> difference([2.0, 30.0, 4.0], [1.0, 10.0, 4.0])
    Summary(median=1.0, low=0.0, high=20.0)
    """
    return Summary.of([one - other for one, other in zip(ours, peers, strict=True)])


def alternate(runs: int, contenders: Mapping[str, Callable[[], T]]) -> dict[str, list[T]]:
    """Run the contenders in turn, A B A B, `runs` times each; return what each of them returned, in order.

    >>> turns = iter("abcd")
    >>> alternate(2, {"one": lambda: next(turns), "other": lambda: next(turns)})
    {'one': ['a', 'c'], 'other': ['b', 'd']}
    """
    found: dict[str, list[T]] = {name: [] for name in contenders}
    for _ in range(runs):
        for name, contender in contenders.items():
            found[name].append(contender())
    return found


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> tuple[Usage, str]:
    """Run a command to its end; return what it cost, and what it wrote, errors included.

    Raises `FailedCommandError` with the last lines where its exit code is not 0.
    """
    log = folder / ".benchmark.log"
    with log.open("wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, used = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    text = log.read_text(encoding="utf-8", errors="replace")
    log.unlink()
    if process.returncode:
        last = "\n".join(text.splitlines()[-SHOWN_LINES:])
        raise FailedCommandError(f"{' '.join(command)}: exit code {process.returncode}\n{last}")
    bytes_a_unit = 1 if sys.platform == "darwin" else 1024
    return Usage(wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss * bytes_a_unit / 2**20), text
