"""One measured part of this benchmark, before the machine's facts are added."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.findings import Goal, Table
from benchmarks.measurement import Usage


@dataclass(frozen=True, slots=True)
class Part:
    """Tables, goals and the single runs behind them: `usages` of whole processes, `figures` of whatever else."""

    title: str
    tables: tuple[Table, ...]
    goals: tuple[Goal, ...] = ()
    notes: tuple[str, ...] = ()
    usages: dict[str, list[Usage]] = field(default_factory=dict)
    figures: dict[str, list[dict[str, float]]] = field(default_factory=dict)
