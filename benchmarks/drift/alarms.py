"""How often the alarm is wrong and how often it is right, beside evidently's defaults on the same windows."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from benchmarks.drift.environments import ROOT, python
from benchmarks.findings import Goal, Table
from benchmarks.measurement import Summary, run
from benchmarks.part import Part

HERE = Path(__file__).parent
WINDOWS, WINDOW_ROWS, REFERENCE_ROWS = 100, 5000, 50_000
SIGMAS = 0.25


def window_seed(number: int) -> int:
    """Return the seed of a window, which no reference has."""
    return 10_000 + number


def alarms(folder: Path, runs: int) -> Part:
    """Count the windows that drifted, of the reference's own rows and of rows of which one column was moved."""
    del runs  # nothing here varies from run to run
    commands = {
        "mergeline drift": [sys.executable, str(HERE / "our_alarms.py")],
        "evidently": [python("evidently"), str(HERE / "peers" / "with_evidently.py"), "alarms"],
    }
    found = {
        (name, sigmas): _counted([*command, str(WINDOWS), str(sigmas)], folder)
        for name, command in commands.items()
        for sigmas in (0.0, SIGMAS)
    }
    rows = tuple(
        (
            name,
            _share(found[name, 0.0]["any"]),
            _share(found[name, SIGMAS]["moved"]),
            _share(found[name, SIGMAS]["any"]),
        )
        for name in commands
    )
    columns = ("", "false alarms", f"{SIGMAS} sigma: the moved column found", f"{SIGMAS} sigma: any column called")
    ours, theirs = (Summary.of([found[name, SIGMAS]["moved"]]) for name in commands)
    wrong, theirs_wrong = (Summary.of([found[name, 0.0]["any"]]) for name in commands)
    goals = (
        Goal("false alarms, of 100 windows", 1, "windows", wrong),
        Goal("false alarms beside evidently's", theirs_wrong.median, "windows", wrong),
        Goal(f"found at {SIGMAS} sigma beside evidently's", theirs.median, "windows", ours, is_least=True),
    )
    note = (
        f"{WINDOWS} windows of {WINDOW_ROWS:,} rows and 20 columns, drawn as the {REFERENCE_ROWS:,} reference rows;"
        " a window alarms falsely where any column is called drifted. Both with their defaults."
    )
    return Part("Alarms", (Table(columns, rows),), goals, (note,))


def _counted(command: list[str], folder: Path) -> dict[str, int]:
    _, text = run(command, folder, {**os.environ, "PYTHONPATH": str(ROOT), "DO_NOT_TRACK": "1"})
    found: dict[str, int] = json.loads(text.splitlines()[-1])
    return found


def _share(count: int) -> str:
    return f"{count} of {WINDOWS}"
