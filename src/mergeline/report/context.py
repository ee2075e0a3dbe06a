"""What the reports are made of: the records of the stages, and what `mergeline report` learns besides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ParameterChange:
    """A setting that is not as in the base: its dotted key, its text before and now; None where it does not exist."""

    key: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True)
class PartitionChange:
    """A data partition that is not as in the base: its rows before and now; None where it does not exist."""

    partition: str
    rows_before: int | None
    rows_now: int | None


@dataclass(frozen=True, slots=True)
class CodeChange:
    """A file of code that is not as in the base, and the lines that were added and removed."""

    path: str
    lines_added: int
    lines_removed: int


@dataclass(frozen=True, slots=True)
class Context:
    """What no stage records: the changes against `base`, the holdout's history, this machine's timing, the commands.

    `base` is a Git reference (`origin/main`) or None where there is nothing to compare with. `holdout_uses` counts the
    different candidates that this holdout has judged, this one included, as far as this clone's history knows;
    `holdout_budget` is how many it may judge, None without a limit. `latency_ratio` is the candidate's time over the
    champion's, measured on this machine.
    """

    base: str | None = None
    params: tuple[ParameterChange, ...] = ()
    data: tuple[PartitionChange, ...] = ()
    code: tuple[CodeChange, ...] = ()
    holdout_uses: int = 0
    holdout_budget: int | None = None
    latency_ratio: float | None = None
    commit: str | None = None
    commands: tuple[str, ...] = ()

    @property
    def nothing_changed(self) -> bool:
        """Whether data, parameters and code are those of the base."""
        return self.base is not None and not (self.params or self.data or self.code)

    @property
    def holdout_worn(self) -> bool:
        """Whether the holdout has judged more candidates than it may."""
        return self.holdout_budget is not None and self.holdout_uses > self.holdout_budget


@dataclass(frozen=True, slots=True)
class Records:
    """All that a report shows: the parsed records of the stages, the receipt ({} before the first one), the context."""

    comparison: dict[str, Any]
    curves: dict[str, Any]
    evaluation: dict[str, Any]
    validation: dict[str, Any]
    training: dict[str, Any]
    receipt: dict[str, Any]
    context: Context
