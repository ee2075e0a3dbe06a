"""Measure the verdict: `python -m benchmarks.verdict`, from the root of the repository.

Writes results.md and results.json beside this file. With --only, the named parts are measured again and the others
stay as they are.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.findings import Section, markdown, to_json
from benchmarks.machine import Machine, load, stretch
from benchmarks.pipeline.parts import Part
from benchmarks.verdict.delong import delong
from benchmarks.verdict.whole import whole

# A part is a function of a scratch folder and a number of runs; its name here is its word for --only.
PARTS: dict[str, Callable[[Path, int], Part]] = {"delong": delong, "whole": whole}
PACKAGES = ("numpy", "scipy", "scikit-learn", "pandas", "onnxruntime")
HERE = Path(__file__).parent


def main() -> int:
    """Measure, print the goals, write the results; a missed goal is no failure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verdict", description="Measure the verdict.")
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each contender (default: 5)")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=f"measure only {', '.join(PARTS)}")
    parsed = parser.parse_args()
    for name in parsed.only or PARTS:
        measured = _measured(name, parsed.runs)
        sections = _read() | {name: measured}  # read now: another run may have written meanwhile
        _write([sections[each] for each in PARTS if each in sections])
    return 0


def _measured(name: str, runs: int) -> Section:
    print(f"{name} ...", file=sys.stderr, flush=True)
    before = load(), stretch()
    with tempfile.TemporaryDirectory(prefix="mergeline-benchmark-", ignore_cleanup_errors=True) as folder:
        part = PARTS[name](Path(folder), runs)
    after = load(), stretch()
    for goal in part.goals:
        print("  ".join(goal.cells()))
    busy = (before[0], after[0]), (before[1], after[1])
    return Section(name, part.title, Machine.here(PACKAGES), *busy, part.notes, part.tables, part.goals, part.usages)


def _read() -> dict[str, Section]:
    path = HERE / "results.json"
    if not path.exists():
        return {}
    return {raw["name"]: Section.from_dict(raw) for raw in json.loads(path.read_text(encoding="utf-8"))}


def _write(sections: list[Section]) -> None:
    (HERE / "results.json").write_text(to_json(sections), encoding="utf-8")
    (HERE / "results.md").write_text(markdown("The verdict, measured", sections), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
