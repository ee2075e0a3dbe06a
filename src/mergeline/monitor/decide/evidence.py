"""What a decision rests on: one record a source, in which None is what is not known."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

from mergeline.params.conditions import Value

DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Traffic:
    """The requests that came in the window, whichever model answered them, and how many of them failed."""

    rows: int | None = None
    failed: int | None = None

    @property
    def share(self) -> float | None:
        """The share that failed; None of no request."""
        return self.failed / self.rows if self.rows and self.failed is not None else None


@dataclass(frozen=True, slots=True)
class Errors:
    """Those of them that production's model answered since it last came, and how many of these failed."""

    rows: int | None = None
    failed: int | None = None

    @property
    def share(self) -> float | None:
        """The share that failed; None of no prediction."""
        return self.failed / self.rows if self.rows and self.failed is not None else None


@dataclass(frozen=True, slots=True)
class Drift:
    """What the drift check says; words as in `mergeline.params.conditions`.

    `weighted` is the share of the model's importance that the `features` hold which moved. `found` names the record.
    """

    outcome: str | None = None
    severity: str | None = None
    sustained: bool | None = None
    weighted: float | None = None
    score: bool | None = None
    features: tuple[str, ...] = ()
    found: str | None = None


@dataclass(frozen=True, slots=True)
class Performance:
    """What late labels say of the model against its holdout, and what its scores alone let expect."""

    outcome: str | None = None
    estimate: str | None = None
    mature: bool | None = None
    coverage: float | None = None
    found: str | None = None


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels that the model has not seen, and when the last one was handed in."""

    new_rows: int | None = None
    shift: bool | None = None
    last_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """The model that production serves: since when, and how new the data are that it knows.

    released_at: when its release came, with another image a new one; served_at: when the model came, with whatever
    image. What brings back an earlier release leaves both as they were, and moves `deployed_at`, when the release last
    came. has_earlier: whether there is a release to go back to; has_other: whether that one has another model.
    """

    sha256: str | None = None
    released_at: dt.datetime | None = None
    data_until: dt.datetime | None = None
    has_earlier: bool | None = None
    served_at: dt.datetime | None = None
    deployed_at: dt.datetime | None = None
    has_other: bool | None = None


@dataclass(frozen=True, slots=True)
class Retraining:
    """The pull request that carries new data: whether one waits, its name, and when the last one ended."""

    is_open: bool | None = None
    name: str | None = None
    ended_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Partition:
    """The table's next partition: whether `collect` would make it now, its name, and why not, None where it would."""

    due: bool | None = None
    name: str | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A person's wish for a retraining, in that person's words; None where nobody asked."""

    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Canary:
    """Whether production serves two models."""

    under_way: bool | None = None


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """When the last run before this one ended well; None where there was none."""

    last_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known at a moment, in UTC; `since` is where the window begins that the log was read from."""

    at: dt.datetime
    since: dt.datetime | None = None
    traffic: Traffic = field(default_factory=Traffic)
    errors: Errors = field(default_factory=Errors)
    drift: Drift = field(default_factory=Drift)
    performance: Performance = field(default_factory=Performance)
    labels: Labels = field(default_factory=Labels)
    model: Model = field(default_factory=Model)
    partition: Partition = field(default_factory=Partition)
    retraining: Retraining = field(default_factory=Retraining)
    request: Request = field(default_factory=Request)
    canary: Canary = field(default_factory=Canary)
    heartbeat: Heartbeat = field(default_factory=Heartbeat)

    def facts(self, every_days: float | None, heartbeat_hours: float) -> dict[str, Value | None]:
        """Return every fact of `mergeline.params.conditions.FACTS`; None for one that is not known."""
        moved = None if self.drift.outcome is None else len(self.drift.features)
        age = self._days_since(self.model.data_until)
        return {
            "errors.rows": self.errors.rows,
            "errors.share": self.errors.share,
            "traffic.rows": self.traffic.rows,
            "traffic.failed": self.traffic.share,
            "drift.outcome": self.drift.outcome,
            "drift.severity": self.drift.severity,
            "drift.sustained": self.drift.sustained,
            "drift.features": moved,
            "drift.weighted": self.drift.weighted,
            "drift.score": self.drift.score,
            "performance.outcome": self.performance.outcome,
            "performance.estimate": self.performance.estimate,
            "performance.mature": self.performance.mature,
            "performance.coverage": self.performance.coverage,
            "labels.new_rows": self.labels.new_rows,
            "labels.shift": self.labels.shift,
            "labels.days_since_last": self._days_since(self.labels.last_at),
            "release.age_days": self._days_since(self.model.released_at),
            "model.served_days": self._days_since(self.model.served_at),
            "model.age_days": age,
            "data.partition_due": self.partition.due,
            "retraining.open": self.retraining.is_open,
            "retraining.days_since_last": self._days_since(self.retraining.ended_at),
            "request.made": self.request.reason is not None,
            "schedule.due": every_days is not None and age is not None and age >= every_days,
            "canary.under_way": self.canary.under_way,
            "heartbeat.missed": self._missed(heartbeat_hours),
        }

    def _days_since(self, moment: dt.datetime | None) -> float | None:
        """Days, rounded to what a person reads; a moment that lies ahead, by another clock, is now."""
        if moment is None:
            return None
        return round(max(0.0, (self.at - moment).total_seconds()) / DAY_S, 2)

    def _missed(self, allowed_hours: float) -> int:
        """How many runs did not happen before this one."""
        if self.heartbeat.last_at is None:
            return 0
        return max(0, int((self.at - self.heartbeat.last_at).total_seconds() / 3600 / allowed_hours))
