"""The command line that all benchmarks share: measure the named parts, print the goals, write the results."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.findings import Section, markdown, to_json
from benchmarks.machine import Machine, load, stretch
from benchmarks.part import Part


@dataclass(frozen=True, slots=True)
class Program:
    """A benchmark: its parts (functions of a scratch folder and a number of runs) and where its results lie.

    packages: whose versions are noted; needs: packages that must be there, each with the command that installs it.
    """

    folder: Path
    title: str
    parts: Mapping[str, Callable[[Path, int], Part]]
    packages: tuple[str, ...]
    needs: Mapping[str, str] = field(default_factory=dict)

    def main(self) -> int:
        """Measure, print the goals, write the results; a missed goal is no failure."""
        names = ", ".join(self.parts)
        parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{self.folder.name}", description=self.title)
        parser.add_argument("--runs", type=int, default=5, help="counted runs of each contender (default: 5)")
        parser.add_argument("--only", nargs="+", choices=self.parts, metavar="PART", help=f"measure only {names}")
        parsed = parser.parse_args()
        for package, remedy in self.needs.items():
            if importlib.util.find_spec(package) is None:
                print(f"{package} is not installed; `{remedy}` installs it", file=sys.stderr)
                return 1
        for name in parsed.only or self.parts:
            measured = self._measured(name, parsed.runs)
            sections = self._read() | {name: measured}  # read now: another run may have written meanwhile
            self._write([sections[each] for each in self.parts if each in sections])
        return 0

    def _measured(self, name: str, runs: int) -> Section:
        print(f"{name} ...", file=sys.stderr, flush=True)
        before = load(), stretch()
        with tempfile.TemporaryDirectory(prefix="mergeline-benchmark-", ignore_cleanup_errors=True) as folder:
            part = self.parts[name](Path(folder), runs)
        after = load(), stretch()
        for goal in part.goals:
            print("  ".join(goal.cells()))
        machine = Machine.here(self.packages)
        busy = (before[0], after[0]), (before[1], after[1])
        return Section(name, part.title, machine, *busy, part.notes, part.tables, part.goals, part.usages, part.figures)

    def _read(self) -> dict[str, Section]:
        path = self.folder / "results.json"
        if not path.exists():
            return {}
        return {raw["name"]: Section.from_dict(raw) for raw in json.loads(path.read_text(encoding="utf-8"))}

    def _write(self, sections: list[Section]) -> None:
        (self.folder / "results.json").write_text(to_json(sections), encoding="utf-8")
        (self.folder / "results.md").write_text(markdown(self.title, sections), encoding="utf-8")
