"""How long a week's check takes as a whole process, beside the peers and beside reading the same columns."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.drift.environments import ROOT, python
from benchmarks.findings import Goal, Table
from benchmarks.measurement import Summary, Usage, alternate, ratio, run
from benchmarks.part import Part

HERE = Path(__file__).parent
OURS, WITH_CLASSIFIER, SCAN = "mergeline drift", "mergeline drift, with the classifier", "the bare scan"
BY_HAND = "pandas and scipy, the same statistics"
SLOW_PEERS = {"evidently": "with_evidently.py", "NannyML": "with_nannyml.py", "whylogs": "with_whylogs.py"}
MILLION = 1_000_000
PEER_RUNS = 2
NOTE = (
    "Twenty columns: 13 numbers, 6 categories (of 4 to 1,000 values), the score; reference: 200,000 rows, ours as its"
    " stored profile. Ours reads the prediction log, with its times, ids of release and variant and sampling rate, and"
    " writes its record, up to two threads counting; the scan reads the twenty columns of the same files with one;"
    " the peers a plain file of the same rows. The goals are without the classifier, which is on by default. The"
    " classifier adds the import of scikit-learn and three fits on 4,000 rows."
)


def million(folder: Path, runs: int) -> Part:
    """A million rows, with all peers."""
    _prepare(folder, MILLION)
    usages = alternate(runs, _own(folder))
    by_hand = alternate(max(2, runs // 2), {BY_HAND: _process(folder, [sys.executable, _peer("pandas_scipy.py"), "."])})
    peers = {name: _process(folder, [python(name.lower()), _peer(script), "."]) for name, script in SLOW_PEERS.items()}
    usages |= by_hand | alternate(PEER_RUNS, peers)
    ours = _median(usages[OURS])
    goals = (
        _over_scan("a million rows", usages, 2.5),
        _memory("a million rows", usages[OURS]),
        Goal("evidently's wall over ours, 1 million", 50, "times", _times(usages["evidently"], ours), is_least=True),
        Goal(f"{BY_HAND}: wall over ours", 10, "times", _times(usages[BY_HAND], ours), is_least=True),
    )
    return Part("A million rows", (Table.of_usages(usages),), goals, (NOTE,), usages)


def ten_million(folder: Path, runs: int) -> Part:
    """Ten million rows, against the limit alone."""
    return _against_the_scan(folder, runs, 10 * MILLION, "ten million rows")


def huge(folder: Path, runs: int) -> Part:
    """A hundred million rows."""
    return _against_the_scan(folder, min(runs, 2), 100 * MILLION, "a hundred million rows")


def _against_the_scan(folder: Path, runs: int, rows: int, name: str) -> Part:
    _prepare(folder, rows)
    usages = alternate(runs, _own(folder))
    goals = (_over_scan(name, usages, 1.6), _memory(name, usages[OURS]))
    return Part(name.capitalize(), (Table.of_usages(usages),), goals, (), usages)


def _over_scan(name: str, usages: Mapping[str, list[Usage]], limit: float) -> Goal:
    found = ratio([each.wall_s for each in usages[OURS]], [each.wall_s for each in usages[SCAN]])
    return Goal(f"{name}: wall over the bare scan's", limit, "times", found)


def _memory(name: str, usages: list[Usage]) -> Goal:
    return Goal(f"{name}: peak memory", 250, "MiB", Summary.of([each.peak_mb for each in usages]))


def _median(usages: list[Usage]) -> float:
    return Summary.of([each.wall_s for each in usages]).median


def _times(peer: list[Usage], ours: float) -> Summary:
    return Summary.of([each.wall_s / ours for each in peer])


def _prepare(folder: Path, rows: int) -> None:
    run([sys.executable, str(HERE / "prepare.py"), str(folder), str(rows)], folder, _environment())


def _own(folder: Path) -> dict[str, Callable[[], Usage]]:
    def check(root: str) -> Callable[[], Usage]:
        options = ["--candidate", "../model", "--keep", "--log", "../log", "--until", "2024-05-13"]
        command = [sys.executable, "-m", "mergeline", "--root", root, "drift", *options]

        def call() -> Usage:
            shutil.rmtree(folder / "log" / "drift", ignore_errors=True)
            return run(command, folder, _environment())[0]

        return call

    return {
        SCAN: _process(folder, [sys.executable, str(HERE / "scan.py"), "log"]),
        OURS: check("plain"),
        WITH_CLASSIFIER: check("whole"),
    }


def _process(folder: Path, command: list[str]) -> Callable[[], Usage]:
    return lambda: run(command, folder, _environment())[0]


def _peer(script: str) -> str:
    return str(HERE / "peers" / script)


def _environment() -> dict[str, str]:
    """Our own package and these programs can be imported; nothing reports on its use."""
    quiet = {"DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1", "WHYLOGS_NO_ANALYTICS": "True"}
    return {**os.environ, "PYTHONPATH": str(ROOT), **quiet}
