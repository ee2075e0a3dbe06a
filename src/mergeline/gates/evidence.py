"""All that the gates look at: both models, the rows that judge them, and what was measured on those."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mergeline.intervals import Interval
from mergeline.metrics import Metric
from mergeline.models.scorer import Scorer
from mergeline.report.wording import metric_label
from mergeline.schema import Signature, Task

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

UNBOUNDED = ("log_loss", "rmse", "mae", "median_absolute_error")  # their margins are shares of the champion's value


@dataclass(frozen=True, slots=True, eq=False)
class Contender:
    """A model of the comparison: its id, what it runs, the record of its training, the rows that it was trained on.

    `reference` holds a sample of its training rows and its scores for them, as `train` left it; None where its bundle
    has none. `bytes` is the size of the model file.
    """

    sha256: str
    scorer: Scorer
    training: dict[str, Any]
    reference: pd.DataFrame | None
    bytes: int

    @property
    def signature(self) -> Signature:
        """What the scorer answers."""
        return self.scorer.signature


@dataclass(frozen=True, slots=True)
class SliceComparison:
    """The primary metric of both models on the rows with one value in one column.

    `difference` is signed so that positive is better, its confidence corrected for the number of slices; None where
    the rows are too few to judge, or the metric is not defined on them.
    """

    column: str
    value: str
    rows: int
    candidate: float | None
    champion: float | None
    difference: Interval | None

    @property
    def name(self) -> str:
        """Column and value, as a person writes them."""
        return f"{self.column}={self.value}"


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What `compare` measured on the holdout.

    `target` is float64 (rows,), scores float64 (rows, classes), `matrix` the candidate's encoded rows. `refusal` says
    why nothing could be compared; the champion's scores and metrics, `difference` and `slices` are then empty.
    `champion` is None where a baseline stands in for it. `same` says that the candidate is the base's model or the
    champion itself. `latency_ratio` is candidate over champion.
    """

    task: Task
    primary: Metric | None
    primary_name: str
    rows: pd.DataFrame
    target: NDArray[Any]
    matrix: NDArray[Any]
    candidate: Contender
    candidate_scores: NDArray[Any]
    candidate_metrics: tuple[Metric, ...]
    champion: Contender | None
    champion_metrics: tuple[Metric, ...]
    difference: Interval | None
    slices: tuple[SliceComparison, ...]
    refusal: str | None
    same: str | None
    latency_ratio: Interval | None

    @property
    def label(self) -> str:
        """How people call the primary metric."""
        return metric_label(self.primary_name)

    def unit(self) -> float:
        """What a margin of 1 is: the metric's own unit, or the champion's value of a metric without an upper bound."""
        if self.primary_name not in UNBOUNDED:
            return 1.0
        value = next((each for each in self.champion_metrics if each.name == self.primary_name), None)
        return abs(value.interval.estimate) if value else 1.0


def number(value: float) -> str:
    """Return a number as people read it: three decimals, or as many digits as it needs below that.

    >>> number(0.03141), number(-0.00002), number(1234.5678), number(0.0)
    ('0.031', '-2e-05', '1,235', '0')
    """
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}" if abs(value) >= 0.001 else f"{value:.1g}"


def within(interval: Interval, sign: int = 1) -> str:
    """Return `0.031 (95 % 0.024 to 0.038)`; with sign -1 of the negated quantity, its bounds in rising order."""
    low, high = (interval.low, interval.high) if sign > 0 else (-interval.high, -interval.low)
    percent = f"{interval.confidence * 100:.4g} %"
    return f"{number(sign * interval.estimate)} ({percent} {number(low)} to {number(high)})"


def better_or_worse(difference: Interval) -> str:
    """Return `better by 0.031 (95 % 0.024 to 0.038)`, or `worse by`, of a difference that is positive where better."""
    word, sign = ("worse", -1) if difference.estimate < 0 else ("better", 1)
    return f"{word} by {within(difference, sign)}"
