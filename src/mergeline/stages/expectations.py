"""Great Expectations at the size that a pipeline needs: checks in, findings with a few example rows out."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mergeline.errors import DataError
from mergeline.stages import data_docs

if TYPE_CHECKING:
    import pandas as pd

    from mergeline.params import Severity


@dataclass(frozen=True, slots=True)
class Check:
    """One expectation: a class of Great Expectations and its arguments; `rule` says it in words."""

    column: str | None
    rule: str
    severity: Severity
    expectation: str
    settings: dict[str, Any]

    @classmethod
    def unique(cls, column: str) -> Check:
        """No value twice."""
        return cls(column, "no value twice", "error", "ExpectColumnValuesToBeUnique", {"column": column})

    @classmethod
    def present(cls, column: str, missing: float, severity: Severity) -> Check:
        """At most the share `missing` of the rows without a value."""
        rule = f"at most {missing:.1%} missing values" if missing else "no missing value"
        settings = {"column": column, "mostly": 1 - missing}
        return cls(column, rule, severity, "ExpectColumnValuesToNotBeNull", settings)

    @classmethod
    def within(cls, column: str, values: Sequence[Any], severity: Severity, mostly: float = 1.0) -> Check:
        """No value but these, missing ones aside."""
        shown = ", ".join(map(str, values[:8])) + (f", ... ({len(values)} in all)" if len(values) > 8 else "")
        settings = {"column": column, "value_set": list(values), "mostly": mostly}
        return cls(column, f"{_share(mostly)}one of {shown}", severity, "ExpectColumnValuesToBeInSet", settings)

    @classmethod
    def between(cls, column: str, low: Any, high: Any, severity: Severity, mostly: float = 1.0) -> Check:
        """No value below `low` or above `high`, missing ones aside; None is no limit."""
        limits = [(words, limit) for words, limit in (("at least", low), ("at most", high)) if limit is not None]
        rule = _share(mostly) + " and ".join(f"{words} {_number(limit)}" for words, limit in limits)
        settings = {"column": column, "min_value": _moment(low), "max_value": _moment(high), "mostly": mostly}
        return cls(column, rule, severity, "ExpectColumnValuesToBeBetween", settings)

    @classmethod
    def finite(cls, column: str) -> Check:
        """No infinity, and nothing that float32 cannot hold."""
        limit = float(np.finfo(np.float32).max)
        settings = {"column": column, "min_value": -limit, "max_value": limit}
        return cls(column, "finite numbers", "error", "ExpectColumnValuesToBeBetween", settings)

    @classmethod
    def fact(cls, column: str | None, fact: str, rule: str, severity: Severity, low: int | None, high: int | None) -> Check:
        """A number that each partition has, within limits."""
        settings = {"column": fact, "min_value": low, "max_value": high}
        return cls(column, rule, severity, "ExpectColumnValuesToBeBetween", settings)

    @classmethod
    def of_type(cls, column: str, fact: str, types: Sequence[str]) -> Check:
        """The type of a column's values, and so that there is such a column."""
        settings = {"column": fact, "value_set": [*types, "empty"]}
        return cls(column, f"a column of {' or '.join(types)}", "error", "ExpectColumnValuesToBeInSet", settings)


@dataclass(frozen=True, slots=True)
class Finding:
    """Rows of one partition that break a rule: how many of how many, and the first few with their id and value."""

    partition: str
    unexpected: int
    checked: int
    examples: tuple[dict[str, Any], ...]

    def sentence(self) -> str:
        """Return it as the end of an error line."""
        first = self.examples[0] if self.examples else {}
        shown = f", such as {first['value']!r} in row {first.get('id', first['row'])}" if first else ""
        return f"{self.unexpected} of {self.checked} in partition {self.partition}{shown}"


@dataclass(slots=True)
class Inspector:
    """Runs checks in one ephemeral context; keeps the pages of Great Expectations and counts of cells.

    `examples` bounds the rows that are shown of a failure, `id_column` names them where the table has it.
    """

    examples: int
    id_column: str | None
    pages: dict[str, str] = field(default_factory=dict)
    checked: int = 0
    unexpected: int = 0
    _batches: Any = None

    def rows(
        self, partition: str, rows: pd.DataFrame, checks: Sequence[Check], *, keep_page: bool
    ) -> list[tuple[Check, Finding | None]]:
        """Run checks on the rows of one partition; a page is kept if asked for, and wherever a check failed."""
        rows = _vectorized(rows, [str(check.column) for check in checks])
        failed = self._failures(rows, checks, partition, keep_page=keep_page)
        findings = {position: self._finding(partition, rows, result) for position, result in failed.items()}
        self.checked += len(rows) * len(checks)
        self.unexpected += sum(finding.unexpected for finding in findings.values())
        return [(check, findings.get(position)) for position, check in enumerate(checks)]

    def facts(self, facts: pd.DataFrame, checks: Sequence[Check]) -> list[tuple[Check, Finding | None]]:
        """Run checks on a table of facts, a row a partition; a finding names the first partition at fault."""
        failed = self._failures(facts, checks, "table", keep_page=True)
        found: list[tuple[Check, Finding | None]] = []
        for position, check in enumerate(checks):
            finding = None
            if position in failed:
                result = failed[position].result
                first = result["partial_unexpected_index_list"][0]
                value = plain(facts[check.settings["column"]].iloc[first])
                example = {"row": check.settings["column"], "value": value}
                finding = Finding(facts["partition"].iloc[first], result["unexpected_count"], len(facts), (example,))
            found.append((check, finding))
        return found

    def _failures(
        self, rows: pd.DataFrame, checks: Sequence[Check], name: str, *, keep_page: bool
    ) -> dict[int, Any]:
        """Results of the failed checks by position; only they are asked again, for counts and examples.

        BOOLEAN_ONLY costs half of SUMMARY where all is well, and COMPLETE a multiple of it where something fails.
        """
        outcome = self._run(rows, checks, "BOOLEAN_ONLY")
        failed = [position for position, result in enumerate(outcome.results) if not result.success]
        if failed:
            again = self._run(rows, [checks[position] for position in failed], "SUMMARY")
            for position, result in zip(failed, again.results, strict=True):
                outcome.results[position] = result
        if keep_page or failed:
            self.pages[f"{name}.html"] = data_docs.page(outcome)
        return {position: outcome.results[position] for position in failed}

    def _run(self, rows: pd.DataFrame, checks: Sequence[Check], detail: str) -> Any:
        import great_expectations as gx

        if self._batches is None:
            context = gx.get_context(mode="ephemeral", project_config=_without_sites())
            context.variables.progress_bars = {"globally": False, "metric_calculations": False}
            source = context.data_sources.add_pandas("partitions")
            self._batches = source.add_dataframe_asset("rows").add_batch_definition_whole_dataframe("partition")
        built = [getattr(gx.expectations, check.expectation)(**check.settings) for check in checks]
        suite = gx.ExpectationSuite(name="mergeline")
        suite.expectations = built
        batch = self._batches.get_batch({"dataframe": rows})
        wanted = {"result_format": detail, "partial_unexpected_count": max(1, self.examples)}
        outcome = batch.validate(suite, result_format=wanted)
        for check, result in zip(checks, outcome.results, strict=True):
            if result.exception_info.get("raised_exception"):
                message = str(result.exception_info["exception_message"]).splitlines()[0]
                raise DataError(f"validate: column {check.column!r}: cannot check {check.rule!r}: {message}")
        return outcome

    def _finding(self, partition: str, rows: pd.DataFrame, result: Any) -> Finding:
        found = result.result
        positions = found["partial_unexpected_index_list"][: self.examples]
        column = rows[result.expectation_config.kwargs["column"]]
        examples = []
        for position in positions:
            known = {"id": plain(rows[self.id_column].iloc[position])} if self.id_column in rows.columns else {}
            examples.append({"row": int(position), **known, "value": plain(column.iloc[position])})
        return Finding(partition, int(found["unexpected_count"]), int(found["element_count"]), tuple(examples))


def _without_sites() -> Any:
    """A context that makes no folder for Data Docs: by default each one leaves an empty folder on the machine."""
    from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults

    return DataContextConfig(store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False))


def _vectorized(rows: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The checked columns, numbers as int64 or float64 and times in nanoseconds: others are compared cell by cell."""
    import pandas as pd

    checked = rows[list(dict.fromkeys(columns))].copy(deep=False)
    for name, column in checked.items():
        kind = column.dtype
        if pd.api.types.is_datetime64_any_dtype(kind):
            checked[name] = pd.to_datetime(column, utc=True).dt.tz_localize(None).astype("datetime64[ns]")
        elif pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind):
            whole = pd.api.types.is_integer_dtype(kind) and not column.hasnans
            checked[name] = column.astype("int64" if whole else "float64")
    return checked


def plain(value: Any) -> Any:
    """Return a cell as JSON's type: null where missing, text for a time stamp and for a number that is not finite."""
    import pandas as pd

    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return None
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value if isinstance(value, bool | int | float | str) else str(value)


def _share(mostly: float) -> str:
    return f"at least {mostly:.0%} of the values " if mostly < 1 else ""


def _number(limit: Any) -> str:
    return f"{limit:g}" if isinstance(limit, float) else str(limit)


def _moment(limit: Any) -> Any:
    """A date as the time stamp that a column of time stamps is compared with."""
    return dt.datetime.combine(limit, dt.time()) if isinstance(limit, dt.date) else limit
