"""On what a benchmark ran, and how busy that machine was."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.measurement import Summary

LOOPS = 5
STEPS = 2_000_000


@dataclass(frozen=True, slots=True)
class Machine:
    """The facts that figures depend on; `day` is UTC."""

    day: str
    processor: str
    cores: int
    memory_gb: float
    system: str
    python: str
    packages: dict[str, str]

    @classmethod
    def here(cls, packages: Sequence[str]) -> Machine:
        """Return the facts of this machine, with the versions of the packages."""
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return cls(
            day=time.strftime("%Y-%m-%d", time.gmtime()),
            processor=_processor(),
            cores=_cores(),
            memory_gb=round(pages / 2**30, 1),
            system=f"{platform.system()} {platform.release()}",
            python=platform.python_version(),
            packages={name: version(name) for name in packages},
        )

    def sentence(self) -> str:
        """Return the facts as one line."""
        versions = ", ".join(f"{name} {found}" for name, found in self.packages.items())
        return (
            f"{self.day}: {self.processor}, {self.cores} cores, {self.memory_gb:.0f} GiB, {self.system},"
            f" Python {self.python}, {versions}"
        )


def stretch() -> Summary:
    """Return how many times its processor time a fixed loop takes: 1 on a machine with nothing else to do."""
    found = []
    for _ in range(LOOPS):
        wall, cpu = time.perf_counter(), time.process_time()
        sum(range(STEPS))
        found.append((time.perf_counter() - wall) / (time.process_time() - cpu))
    return Summary.of(found)


def load() -> float:
    """Return the number of processes that wanted to run, averaged over the last minute."""
    return os.getloadavg()[0]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            named = next((line for line in lines if line.startswith("model name")), "")
    except FileNotFoundError:
        named = ""
    return named.partition(":")[2].strip() or platform.processor() or platform.machine()
