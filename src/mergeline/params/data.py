"""The sections `data` and `validate`: what the table means, and what its values may be."""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from mergeline.params.section import Day, Limit, Names, Scalar, Section, Severity, Share, refuse, suggestion
from mergeline.schema import SCORE, Task

_IN_NO_NAME = re.compile(r"[\"\\`\x00-\x1f\x7f]")


def servable(name: str) -> bool:
    """Return whether the server can take a feature of this name, and name it where it refuses a request.

    >>> servable("it's 5 < 6"), servable('5"'), servable("a`b")
    (True, False, False)
    """
    return not _IN_NO_NAME.search(name)


class Holdout(Section):
    """The newest rows, kept out of everything that is fitted: those of the last `days`, or a `share` of all rows."""

    days: Annotated[int, Field(gt=0)] | None = None
    share: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Holdout:
        if (self.days is None) == (self.share is None):
            raise ValueError("expected exactly one of days and share")
        return self


class DataParams(Section):
    """What the table means."""

    task: Annotated[Task, Field(strict=False)]
    target: str
    positive: Scalar | None = None
    time: str | None = None
    id: str | None = None
    as_of: Day | None = None
    numeric: Names = ()
    categorical: Names = ()
    personal: Names = ()  # features whose values no log keeps
    holdout: Holdout

    @property
    def features(self) -> tuple[str, ...]:
        """The input columns, numeric before categorical."""
        return self.numeric + self.categorical

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that the pipeline reads, each once."""
        named = (self.id, self.time, *self.features, self.target)
        return tuple(dict.fromkeys(name for name in named if name is not None))

    @property
    def holdout_by(self) -> str:
        """What decides whether a row is in the holdout, in words: two models that agree on it can be compared."""
        if self.time is not None:
            return f"the time in {self.time}"
        return f"a hash of {self.id or ', '.join(self.features)}"

    @model_validator(mode="after")
    def _consistent(self) -> DataParams:
        problems = []
        doubled = sorted({name for name in self.features if self.features.count(name) > 1})
        if doubled:
            problems.append(f"expected each feature once, found {', '.join(doubled)} again")
        problems += [
            f"expected features without quotes, backslashes, backticks and control signs, found {name!r}; rename it"
            for name in self.features
            if not servable(name)
        ]
        if not self.features:
            problems.append("expected at least one column under numeric or categorical")
        problems += [
            f"expected the {role} not to be a feature, found {getattr(self, role)!r} among them"
            for role in ("target", "id")
            if getattr(self, role) in self.features
        ]
        problems += [
            f"personal: {name!r} is no feature{suggestion(name, self.features)}"
            for name in self.personal
            if name not in self.features
        ]
        if self.target in (self.id, self.time):
            problems.append(f"expected the target not to be the id or the time, found {self.target!r}")
        if SCORE in self.features:
            problems.append(f"expected no feature called {SCORE!r}, which is the model's own column; rename it")
        if self.holdout.days is not None and self.time is None:
            problems.append("holdout.days needs data.time; name a time column or use holdout.share")
        refuse(problems)
        return self


class ColumnRule(Section):
    """What the values of one column may be; a rule that is left out does not hold."""

    min: Limit | None = None
    max: Limit | None = None
    values: Annotated[tuple[Scalar, ...], Field(strict=False)] | None = None
    missing: Share | None = None
    severity: Severity = "error"

    @model_validator(mode="after")
    def _in_order(self) -> ColumnRule:
        low, high = self.min, self.max
        if low is None or high is None:
            return self
        if isinstance(low, dt.date) is not isinstance(high, dt.date):
            raise ValueError(f"expected min and max to be two numbers or two dates, found {low} and {high}")
        if low > high:  # type: ignore[operator]  # two numbers or two dates
            raise ValueError(f"expected min not above max, found {low} and {high}")
        return self


class ValidateParams(Section):
    """What stops the pipeline (`error`) and what is only reported (`warn`)."""

    min_rows: Annotated[int, Field(ge=1)] = 1
    max_age_days: Annotated[int, Field(ge=0)] | None = None
    time_order: Severity = "error"
    derived: Literal["error", "warn", "off"] = "warn"
    examples: Annotated[int, Field(ge=0, le=20)] = 5
    columns: dict[str, ColumnRule] = Field(default_factory=dict)
