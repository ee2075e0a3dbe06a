"""One number of a model, with its interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from mergeline import intervals
from mergeline.intervals import Interval
from mergeline.schema import Task

# The metric that the verdict turns on where params.yaml names none.
PRIMARY_METRIC: Final[Mapping[Task, str]] = MappingProxyType(
    {Task.BINARY: "roc_auc", Task.MULTICLASS: "log_loss", Task.REGRESSION: "rmse"}
)


@dataclass(frozen=True, slots=True)
class Metric:
    """One number of a model on one set of rows.

    greater_is_better: None where neither direction is (a bias, a predicted share).
    rows: the rows that the number rests on, its denominator: for a recall those of the class, for most metrics all.
    """

    name: str
    interval: Interval
    greater_is_better: bool | None
    rows: int

    def as_dict(self) -> dict[str, str | bool | int | float | None]:
        """One flat JSON object."""
        return {
            "name": self.name,
            "greater_is_better": self.greater_is_better,
            "rows": self.rows,
            **self.interval.as_dict(),
        }


def present(metrics: Iterable[Metric | None]) -> tuple[Metric, ...]:
    """Those that are defined."""
    return tuple(metric for metric in metrics if metric is not None)


def share(name: str, hits: int, rows: int, confidence: float, greater_is_better: bool | None = True) -> Metric | None:
    """A share of rows, by Wilson; None of no row."""
    if not rows:
        return None
    return Metric(name, intervals.wilson(hits, rows, confidence), greater_is_better, rows)


def average(name: str, parts: Sequence[Interval], rows: int) -> Metric | None:
    """The plain mean over classes, by MOVER; None of no class."""
    return Metric(name, intervals.average_of(parts), True, rows) if parts else None


def f1(name: str, hits: int, errors: int, confidence: float) -> Metric | None:
    """F1 of a class, with the interval of the overlap J = hits / (hits + errors); F1 = 2 J / (1 + J)."""
    rows = hits + errors
    if not rows:
        return None
    overlap = intervals.wilson(hits, rows, confidence)
    return Metric(name, overlap.transformed(lambda share: 2 * share / (1 + share)), True, rows)
