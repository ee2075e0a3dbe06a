"""The section `weekly`: what the service costs, and what the team counts over the log and its labels."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field, field_validator, model_validator

from mergeline.params.conditions import Test, number_test
from mergeline.params.section import Section, refuse, suggestion

NotNegative = Annotated[float, Field(ge=0)]
# What every row of the log has beside the features; label and decision are texts, such as true or a class.
COLUMNS: Final = ("label", "decision", "score", "latency_ms", "status", "variant", "entity_id")
HOURS_A_WEEK = 168


class Of(StrEnum):
    """What is made of the rows that are counted."""

    COUNT = "count"
    SUM = "sum"
    MEAN = "mean"
    SHARE = "share"


def row_test(raw: Any) -> Test:
    """Return the test of a column as it stands in `params.yaml`.

    A text that begins with a sign compares numbers; any other text, true, false or a list of them is the value itself.

    >>> row_test("> 3").holds(4.0), row_test("JFK").holds("JFK"), row_test(True).holds("true")
    (True, True, True)
    """
    if isinstance(raw, str) and raw.lstrip()[:1] in ("<", ">", "="):
        return number_test(raw)
    listed = raw if isinstance(raw, list | tuple) else [raw]
    if not listed or not all(isinstance(each, str | bool) for each in listed):
        raise ValueError(f'expected a text, a list of texts or a comparison such as ">= 3", found {raw!r}')
    texts = [str(each).lower() if isinstance(each, bool) else each for each in listed]
    return Test(" or ".join(texts), frozenset(texts))


class Prices(Section):
    """What the service costs: `servers` at `server_hour` each, asked or not, and a sum `a_week` for the rest."""

    currency: Annotated[str, Field(min_length=1, max_length=8)] = "USD"
    servers: NotNegative = 0.0
    server_hour: NotNegative = 0.0
    a_week: NotNegative = 0.0

    @property
    def of_a_week(self) -> float | None:
        """The whole of a week; None where nothing has a price."""
        found = self.servers * self.server_hour * HOURS_A_WEEK + self.a_week
        return found or None


class BusinessMetric(Section):
    """A figure over the answers of champions and challengers, those of a shadow are none.

    `where` maps columns to tests that a row must pass to be counted; a row without a label passes no test of it.
    `share` is that of the rows that pass `where` among those that pass `among`; the other three take rows that pass
    both. `sum` and `mean` are of `column`. A column is a feature, or one of label, decision, score, latency_ms, status,
    variant and entity_id.
    """

    name: Annotated[str, Field(min_length=1, max_length=80)]
    of: Of
    column: Annotated[str, Field(min_length=1)] | None = None
    where: dict[str, Any] = Field(default_factory=dict)
    among: dict[str, Any] = Field(default_factory=dict)
    unit: Annotated[str, Field(max_length=20)] = ""

    @field_validator("of", mode="before")
    @classmethod
    def _known(cls, raw: Any) -> Any:
        known = [str(each) for each in Of]
        if not isinstance(raw, str) or raw not in known:
            close = suggestion(raw, known) if isinstance(raw, str) else ""
            raise ValueError(f"expected one of {', '.join(known)}, found {raw!r}{close}")
        return Of(raw)

    @model_validator(mode="after")
    def _whole(self) -> BusinessMetric:
        problems = []
        for where, tests in (("where", self.where), ("among", self.among)):
            for name, raw in tests.items():
                try:
                    if row_test(raw).empty:
                        problems.append(f"{where}.{name}: {raw!r} never holds")
                except ValueError as err:
                    problems.append(f"{where}.{name}: {err}")
        if (self.column is None) is (self.of in (Of.SUM, Of.MEAN)):
            problems.append("expected column with sum and mean, and with no other")
        if self.of is Of.SHARE and not self.where:
            problems.append("expected where: without it a share is always 1")
        refuse(problems)
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return tuple(dict.fromkeys([*([self.column] if self.column else []), *self.where, *self.among]))


class WeeklyParams(Section):
    """What `mergeline report --week` adds to what the log says by itself."""

    prices: Prices = Prices()
    metrics: Annotated[tuple[BusinessMetric, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> WeeklyParams:
        names = [each.name for each in self.metrics]
        refuse([f"metrics: {name!r} is the name of two" for name in sorted(set(names)) if names.count(name) > 1])
        return self

    @property
    def features(self) -> tuple[str, ...]:
        """The features that the metrics read."""
        read = (name for each in self.metrics for name in each.columns)
        return tuple(dict.fromkeys(name for name in read if name not in COLUMNS))
