"""A week of a model in service: what was asked and answered, what it cost, what it was worth, what is to be done."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mergeline.monitor.decide.decision import Decision
from mergeline.monitor.decide.statement import SAYS, THEN, sentence
from mergeline.monitor.drift.record import DriftRecord
from mergeline.monitor.performance.record import WindowPerformance
from mergeline.monitor.weekly_log import MOMENT
from mergeline.monitor.windows import Window
from mergeline.params.weekly import COLUMNS, BusinessMetric, Of, Prices, row_test

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1
FAILED = 500
SHADOW = "shadow"
FEATURE_PREFIX = "feature_"


@dataclass(frozen=True, slots=True)
class Day:
    """A day's predictions, and how many of them failed."""

    day: str
    rows: int
    failed: int


@dataclass(frozen=True, slots=True)
class Side:
    """A model in a role: its answers, failures and milliseconds, None where it answered nothing."""

    variant: str
    model_sha256: str
    rows: int
    failed: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True, slots=True)
class Figure:
    """A metric of the team's own; `rows` are those that it was made of. None of no row."""

    name: str
    unit: str
    value: float | None
    rows: int


@dataclass(frozen=True, slots=True)
class Cost:
    """What the week cost, whole and for 1,000 predictions; None where nothing was predicted."""

    currency: str
    whole: float
    per_thousand: float | None


@dataclass(frozen=True, slots=True)
class DriftSeen:
    """A window of the drift check."""

    window: str
    outcome: str
    severity: str
    sustained: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class PerformanceSeen:
    """A window of late labels: what was measured of the primary metric, and what had been estimated."""

    window: str
    state: str
    reason: str
    metric: str
    measured: float | None
    low: float | None
    high: float | None
    holdout: float | None
    estimate: float | None
    coverage: float | None


@dataclass(frozen=True, slots=True)
class Quality:
    """What was wrong with rows: repeated, late, ahead of time (by the drift check), held up by `collect`, expectations.

    `held_up` counts by reason in the newest partition; `failed_expectations` are those of the training table.
    """

    duplicates: int
    late: int
    ahead: int
    partition: str | None
    held_up: Mapping[str, int]
    failed_expectations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision of the week."""

    at: str
    decision: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Weekly:
    """The whole of a week; the same log and records give the same one."""

    name: str
    window: Window
    days: tuple[Day, ...]
    sides: tuple[Side, ...]
    labelled: int
    cost: Cost | None
    figures: tuple[Figure, ...]
    drift: tuple[DriftSeen, ...]
    performance: tuple[PerformanceSeen, ...]
    quality: Quality
    decisions: tuple[Decided, ...]
    recommendations: tuple[str, ...]

    @property
    def rows(self) -> int:
        """The predictions of the week, those of shadows left out."""
        return sum(each.rows for each in self.days)

    @property
    def failed(self) -> int:
        """How many of them failed."""
        return sum(each.failed for each in self.days)

    def as_record(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        plain = {key: value for key, value in asdict(self).items() if key != "window"}
        return {"schema_version": SCHEMA_VERSION, "window": self.window.as_dict(), **plain}


def week_of(day: dt.date) -> tuple[str, Window]:
    """Return the name and the time of a day's week, Monday to Sunday in UTC, as ISO 8601 counts them.

    >>> week_of(dt.date(2013, 9, 4))[0]
    '2013-W36'
    """
    year, number, weekday = day.isocalendar()
    start = dt.datetime.combine(day - dt.timedelta(days=weekday - 1), dt.time(), dt.UTC)
    return f"{year}-W{number:02d}", Window(start, start + dt.timedelta(days=7))


def days(rows: pd.DataFrame, window: Window) -> tuple[Day, ...]:
    """Return every day of a window, those without a prediction, too."""
    answered = rows[rows["variant"] != SHADOW]
    named = answered[MOMENT].dt.strftime("%Y-%m-%d") if len(answered) else answered[MOMENT]
    found = []
    for number in range((window.end - window.start).days):
        day = f"{window.start + dt.timedelta(days=number):%Y-%m-%d}"
        of_day = answered[named == day]
        found.append(Day(day, len(of_day), int((of_day["status"] >= FAILED).sum())))
    return tuple(found)


def sides(rows: pd.DataFrame) -> tuple[Side, ...]:
    """Return each model in each role, by role and by its hash."""
    found = []
    for (variant, model), part in rows.groupby(["variant", "model_sha256"], sort=True):
        answered = part[part["status"] < FAILED]["latency_ms"].astype("float64").dropna()
        p50, p95, p99 = (
            round(float(answered.quantile(share)), 3) if len(answered) else None for share in (0.5, 0.95, 0.99)
        )
        failed = int((part["status"] >= FAILED).sum())
        found.append(Side(str(variant), str(model), len(part), failed, p50, p95, p99))
    return tuple(found)


def figure(metric: BusinessMetric, rows: pd.DataFrame) -> Figure:
    """Return a metric over rows that have the column `label`, missing where none came; failures are no answers."""
    import pandas as pd

    answered = rows[(rows["variant"] != SHADOW) & (rows["status"] < FAILED)]
    base = answered[_passes(answered, metric.among)]
    passing = base[_passes(base, metric.where)]
    if metric.of is Of.COUNT:
        return Figure(metric.name, metric.unit, float(len(passing)), len(passing))
    if metric.of is Of.SHARE:
        known = base[_known(base, [*metric.where])]
        value = len(passing) / len(known) if len(known) else None
        return Figure(metric.name, metric.unit, value, len(known))
    values = pd.to_numeric(passing[_column(str(metric.column))], errors="coerce").astype("float64").dropna()
    if metric.of is Of.SUM:
        return Figure(metric.name, metric.unit, float(values.sum()), len(values))
    return Figure(metric.name, metric.unit, float(values.mean()) if len(values) else None, len(values))


def _passes(rows: pd.DataFrame, tests: Mapping[str, Any]) -> pd.Series:
    """Which rows pass all tests; a missing value passes none."""
    import pandas as pd

    found = pd.Series(data=True, index=rows.index, dtype=bool)
    for name, raw in tests.items():
        column, test = rows[_column(name)], row_test(raw)
        if test.values is None:
            numbers = pd.to_numeric(column, errors="coerce").astype("float64")
            found &= numbers.map(test.holds).astype(bool) & numbers.notna()
        else:
            found &= column.map(_text).isin(list(test.values)) & column.notna()
    return found


def _known(rows: pd.DataFrame, names: Iterable[str]) -> pd.Series:
    """Which rows have a value in all columns: a share among rows without a label would be too small."""
    import pandas as pd

    found = pd.Series(data=True, index=rows.index, dtype=bool)
    for name in names:
        found &= rows[_column(name)].notna()
    return found


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _column(name: str) -> str:
    """What the log calls a column."""
    return name if name in COLUMNS else f"{FEATURE_PREFIX}{name}"


def cost(prices: Prices, rows: int) -> Cost | None:
    """Return what a week cost; None where nothing has a price."""
    whole = prices.of_a_week
    if whole is None:
        return None
    return Cost(prices.currency, round(whole, 2), round(1000 * whole / rows, 4) if rows else None)


def drift_seen(records: Iterable[DriftRecord]) -> tuple[DriftSeen, ...]:
    """Return what the drift check said of its windows."""
    return tuple(
        DriftSeen(each.window.name, str(each.outcome), str(each.severity), each.sustained, each.sentence)
        for each in records
    )


def performance_seen(records: Iterable[WindowPerformance]) -> tuple[PerformanceSeen, ...]:
    """Return what late labels said of their windows."""
    return tuple(_seen(each) for each in records)


def _seen(record: WindowPerformance) -> PerformanceSeen:
    found = record.serving.figure(record.primary) if record.serving else None
    measured = found.measured if found else None
    return PerformanceSeen(
        window=record.window.name,
        state=str(record.state),
        reason=record.reason,
        metric=record.primary,
        measured=measured.estimate if measured else None,
        low=measured.low if measured else None,
        high=measured.high if measured else None,
        holdout=found.holdout.estimate if found and found.holdout else None,
        estimate=found.estimate if found else None,
        coverage=record.coverage,
    )


def decided(decisions: Iterable[Decision]) -> tuple[Decided, ...]:
    """Return the decisions of a week, the oldest first."""
    return tuple(Decided(each.evidence.at.isoformat(), str(each.action), sentence(each)) for each in decisions)


def recommendations(decisions: Sequence[Decision]) -> tuple[str, ...]:
    """Return what there is to do by the newest decision; that no decision was made is the first thing to see to."""
    if not decisions:
        return ("No decision was made this week: see whether the schedule of drift.yml runs (`mergeline heartbeat`).",)
    last = decisions[-1]
    found = [f"{SAYS[last.action]}. {THEN[last.action]}", *(f"Because {each}." for each in last.why)]
    return (*found, *(f"See to this: {each.rule} ({each.why})." for each in last.beside))
