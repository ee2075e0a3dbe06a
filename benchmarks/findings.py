"""What a benchmark found: tables of figures and goals that are met or missed, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.machine import Machine
from benchmarks.measurement import Summary, Usage, number


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure (median, smallest, largest of the runs) and the most, or with `is_least` the least, that it may be.

    Both are in `unit`.
    """

    name: str
    limit: float
    unit: str
    value: Summary
    is_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the median keeps the limit."""
        return self.value.median >= self.limit if self.is_least else self.value.median <= self.limit

    @property
    def share(self) -> float | None:
        """The median as a multiple of the limit; None of a limit of 0."""
        return self.value.median / self.limit if self.limit else None

    def cells(self) -> tuple[str, ...]:
        """Return verdict, name, figure, limit, and the share of the limit."""
        share = "" if self.share is None else f"{self.share:.2f}"
        figure = f"{self.value.sentence()} {self.unit}"
        limit = f"at {'least' if self.is_least else 'most'} {number(self.limit)} {self.unit}"
        return ("met" if self.met else "**missed**", self.name, figure, limit, share)


@dataclass(frozen=True, slots=True)
class Table:
    """Figures under column names."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @classmethod
    def of_usages(cls, usages: dict[str, list[Usage]]) -> Table:
        """Return medians, smallest to largest of the walls, a row a contender."""
        rows = []
        for name, each in usages.items():
            wall = Summary.of([usage.wall_s for usage in each])
            cpu = Summary.of([usage.cpu_s for usage in each])
            peak = Summary.of([usage.peak_mb for usage in each])
            spread = f"{number(wall.low)} to {number(wall.high)}"
            rows.append(
                (
                    name,
                    number(wall.median),
                    spread,
                    number(cpu.median),
                    number(cpu.low),
                    f"{peak.median:.0f}",
                    str(len(each)),
                )
            )
        return cls(("", "wall s", "wall, min to max", "cpu s", "cpu, min", "peak MiB", "runs"), tuple(rows))


@dataclass(frozen=True, slots=True)
class Section:
    """One part of a benchmark, the machine on which it ran, and how busy that was at the start and at the end.

    `usages` and `figures` are the single runs: whole processes, and whatever else was measured.
    """

    name: str
    title: str
    machine: Machine
    load: tuple[float, float]
    stretch: tuple[Summary, Summary]
    notes: tuple[str, ...]
    tables: tuple[Table, ...]
    goals: tuple[Goal, ...]
    usages: dict[str, list[Usage]]
    figures: dict[str, list[dict[str, float]]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the record as JSON's types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Section:
        """Return the section that `as_dict` wrote."""
        return cls(
            name=raw["name"],
            title=raw["title"],
            machine=Machine(**raw["machine"]),
            load=(raw["load"][0], raw["load"][1]),
            stretch=(Summary(**raw["stretch"][0]), Summary(**raw["stretch"][1])),
            notes=tuple(raw["notes"]),
            tables=tuple(Table(tuple(each["columns"]), tuple(map(tuple, each["rows"]))) for each in raw["tables"]),
            goals=tuple(Goal(**{**each, "value": Summary(**each["value"])}) for each in raw["goals"]),
            usages={name: [Usage(**one) for one in each] for name, each in raw["usages"].items()},
            figures=raw.get("figures", {}),
        )

    def busy(self) -> str:
        """Return how busy the machine was, as a line."""
        first, last = self.stretch
        high = max(first.high, last.high)
        return (
            f"Load {self.load[0]:.1f} at the start, {self.load[1]:.1f} at the end; a loop on one core took"
            f" {first.median:.2f} and {last.median:.2f} times its processor time, {high:.2f} at most."
        )


def markdown(title: str, sections: Sequence[Section]) -> str:
    """Return the page of results: goals first, then the figures of each section."""
    goals = Table(
        ("", "goal", "found: median (min to max)", "limit", "found / limit"),
        tuple(goal.cells() for section in sections for goal in section.goals),
    )
    parts = [f"# {title}", "Written by the program; see README.md for what is measured and how.", _grid(goals)]
    for section in sections:
        parts += [f"## {section.title}", section.machine.sentence() + ". " + section.busy()]
        parts += section.notes
        parts += map(_grid, section.tables)
    return "\n\n".join(parts) + "\n"


def to_json(sections: Sequence[Section]) -> str:
    """Return the sections with every single run."""
    return json.dumps([section.as_dict() for section in sections], indent=1) + "\n"


def _grid(table: Table) -> str:
    lines = [table.columns, tuple("---" for _ in table.columns), *table.rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
