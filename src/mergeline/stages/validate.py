"""The checks that data must pass before a model learns from them, run by Great Expectations.

Two suites: one on the rows of each partition (ranges, categories, missing values, unique ids), and one on a small table
of facts with a row a partition (types, row counts, order, overlap, age). One partition is in memory at a time.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mergeline.errors import DataError
from mergeline.schema import Task
from mergeline.stages.expectations import Check, Finding, Inspector
from mergeline.stages.facts import TableFacts

if TYPE_CHECKING:
    import pandas as pd

    from mergeline.params import ColumnRule, Params, Severity

SHOWN_FAILURES = 3


@dataclass(frozen=True, slots=True)
class Outcome:
    """One rule and how it fared: `findings` is empty where it held everywhere."""

    column: str | None
    rule: str
    severity: Severity
    partitions: int
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether the rule held in every partition."""
        return not self.findings

    def sentence(self) -> str:
        """Return column, rule, rows and one example, for an error line."""
        column = f"column {self.column!r}: " if self.column else ""
        return f"{column}expected {self.rule}, found {self.findings[0].sentence()}"


@dataclass(frozen=True, slots=True)
class Quality:
    """Shares from 0 to 1 of how good the data are; `score` is their mean.

    `completeness`: cells that hold a value. `consistency`: checked cells that kept their rule. `freshness`: 1 up to an
    age of `validate.max_age_days`, falling in a straight line to 0 at twice that; None without a time or a limit.
    """

    completeness: float
    consistency: float
    freshness: float | None

    @property
    def score(self) -> float:
        """The mean of the parts that there are."""
        parts = [part for part in (self.completeness, self.consistency, self.freshness) if part is not None]
        return sum(parts) / len(parts)

    def as_dict(self) -> dict[str, float | None]:
        """Return score and parts, rounded to six places."""
        parts = {"score": self.score, **asdict(self)}
        return {name: None if part is None else round(part, 6) for name, part in parts.items()}


@dataclass(frozen=True, slots=True)
class Validation:
    """What `validate` found; `pages` are Great Expectations' own documents (HTML by file name)."""

    rows: dict[str, int]
    outcomes: tuple[Outcome, ...]
    quality: Quality
    pages: dict[str, str]

    @property
    def blocking(self) -> tuple[Outcome, ...]:
        """The failed rules that stop the pipeline."""
        return tuple(each for each in self.outcomes if not each.passed and each.severity == "error")

    def as_dict(self) -> dict[str, Any]:
        """Return the record as JSON's types, the failed rules first."""
        ordered = sorted(self.outcomes, key=lambda each: (each.passed, each.severity != "error"))
        return {
            "success": not self.blocking,
            "rows": self.rows,
            "quality": self.quality.as_dict(),
            "expectations": [{"passed": each.passed, **asdict(each)} for each in ordered],
        }

    def raise_if_blocked(self, where: str) -> None:
        """Raise `DataError` with column, rule and rows of the blocking failures, if there are any."""
        if not self.blocking:
            return
        texts = [outcome.sentence() for outcome in self.blocking[:SHOWN_FAILURES]]
        if len(self.blocking) > SHOWN_FAILURES:
            texts.append(f"and {len(self.blocking) - SHOWN_FAILURES} more")
        raise DataError(f"validate: {'; '.join(texts)} (all of it in {where})")


def validate(
    partitions: Mapping[str, Callable[[], pd.DataFrame]],
    params: Params,
    progress: Callable[[str], None] = lambda step: None,
) -> Validation:
    """Check each partition, in the mapping's order (oldest first), and the table that they make.

    `partitions` maps names to functions that load the rows. Where `validate.columns` says nothing of a feature, the
    newest partition is held against the earlier ones. Bad data raise nothing here: see `Validation.raise_if_blocked`.
    """
    inspector = Inspector(params.validation.examples, params.data.id)
    facts = TableFacts(params)
    found: list[tuple[Check, Finding | None]] = []
    newest = list(partitions)[-1]
    for name, load in partitions.items():
        progress(name)
        found += _check_partition(name, load(), params, facts, inspector, newest=name == newest)
        gc.collect()  # Great Expectations ties the rows into circles: several partitions would be in memory
    found += inspector.facts(facts.frame(), facts.checks(), facts.examples)
    return Validation(facts.rows, _outcomes(found), _quality(facts, inspector, params), inspector.pages)


def _check_partition(
    name: str, rows: pd.DataFrame, params: Params, facts: TableFacts, inspector: Inspector, *, newest: bool
) -> list[tuple[Check, Finding | None]]:
    """Check the rows and note their facts. A function of its own: the rows are gone before the next are read."""
    usable = facts.add(name, rows)
    checks = row_checks(params, usable) + (facts.derived_checks(usable) if newest else [])
    found = inspector.rows(name, rows, checks, keep_page=newest)
    facts.remember(rows, usable)
    return found


def row_checks(params: Params, usable: Mapping[str, str]) -> list[Check]:
    """Return the checks of a partition's rows, on the columns (with their types) that are there and of a right type."""
    data, checks = params.data, []
    if data.id is not None and data.id in usable:
        checks += [Check.unique(data.id), Check.present(data.id, 0, "error")]
    if data.time is not None and data.time in usable:
        checks.append(Check.present(data.time, 0, "error"))
    for name, kind in usable.items():
        rule = params.validation.columns.get(name)
        if rule:
            checks += _written_checks(name, rule)
        learnt = name in data.numeric or (name == data.target and data.task is Task.REGRESSION)
        bounded = rule and rule.severity == "error" and None not in (rule.min, rule.max)
        if learnt and kind == "number" and not bounded:
            checks.append(Check.finite(name))
    return checks


def _written_checks(name: str, rule: ColumnRule) -> list[Check]:
    """What `validate.columns` says of one column."""
    checks = []
    if rule.missing is not None:
        checks.append(Check.present(name, rule.missing, rule.severity))
    if rule.values is not None:
        checks.append(Check.within(name, rule.values, rule.severity))
    if rule.min is not None or rule.max is not None:
        checks.append(Check.between(name, rule.min, rule.max, rule.severity))
    return checks


def _outcomes(found: Sequence[tuple[Check, Finding | None]]) -> tuple[Outcome, ...]:
    """The findings of all partitions under their rule."""
    gathered: dict[tuple[str | None, str, Severity], list[Finding | None]] = {}
    for check, finding in found:
        gathered.setdefault((check.column, check.rule, check.severity), []).append(finding)
    return tuple(
        Outcome(column, rule, severity, len(findings), tuple(each for each in findings if each is not None))
        for (column, rule, severity), findings in gathered.items()
    )


def _quality(facts: TableFacts, inspector: Inspector, params: Params) -> Quality:
    limit, age = params.validation.max_age_days, facts.age_days
    freshness = None
    if limit is not None and age is not None:
        freshness = min(1.0, max(0.0, 2 - age / limit)) if limit else float(age <= 0)
    return Quality(
        completeness=1 - facts.missing / facts.cells if facts.cells else 0.0,
        consistency=1 - inspector.unexpected / inspector.checked if inspector.checked else 0.0,
        freshness=freshness,
    )
