"""Great Expectations at the size that a pipeline needs: checks in, findings with a few example rows out."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mergeline.errors import DataError
from mergeline.stages import data_docs

if TYPE_CHECKING:
    import pandas as pd

    from mergeline.params import Severity


SOURCE = "partitions"
EMPTY = "empty"  # the type of a column without a value: it fits every rule


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
        settings = {"column": column, "mostly": round(1 - missing, 12)}  # 1 - 0.7 is more than 0.3
        return cls(column, rule, severity, "ExpectColumnValuesToNotBeNull", settings)

    @classmethod
    def within(cls, column: str, values: Sequence[Any], severity: Severity, mostly: float = 1.0) -> Check:
        """No value but these, missing ones aside."""
        shown = ", ".join(map(str, values[:8])) + (f", ... ({len(values)} in all)" if len(values) > 8 else "")
        settings = {"column": column, "value_set": list(values), "mostly": mostly}
        return cls(column, f"{_share(mostly)}one of {shown}", severity, "ExpectColumnValuesToBeInSet", settings)

    @classmethod
    def between(cls, column: str, low: Any, high: Any, severity: Severity, mostly: float = 1.0) -> Check:
        """No value below `low` or above `high`, missing ones aside; None is no limit, a day is meant to its end."""
        limits = [(words, limit) for words, limit in (("at least", low), ("at most", high)) if limit is not None]
        rule = _share(mostly) + " and ".join(f"{words} {_number(limit)}" for words, limit in limits)
        limits_of_time = {"min_value": _moment(low, dt.time.min), "max_value": _moment(high, dt.time.max)}
        settings = {"column": column, **limits_of_time, "mostly": mostly}
        return cls(column, rule, severity, "ExpectColumnValuesToBeBetween", settings)

    @classmethod
    def finite(cls, column: str) -> Check:
        """No infinity, and nothing that float32 cannot hold."""
        limit = float(np.finfo(np.float32).max)
        settings = {"column": column, "min_value": -limit, "max_value": limit}
        return cls(column, "finite numbers", "error", "ExpectColumnValuesToBeBetween", settings)

    @classmethod
    def fact(
        cls, column: str | None, fact: str, rule: str, severity: Severity, low: int | None, high: int | None
    ) -> Check:
        """A number that each partition has, within limits."""
        settings = {"column": fact, "min_value": low, "max_value": high}
        return cls(column, rule, severity, "ExpectColumnValuesToBeBetween", settings)

    @classmethod
    def of_type(cls, column: str, fact: str, types: Sequence[str]) -> Check:
        """The type of a column's values, and so that there is such a column."""
        settings = {"column": fact, "value_set": [*types, EMPTY]}
        return cls(column, f"a column of {' or '.join(types)}", "error", "ExpectColumnValuesToBeInSet", settings)


@dataclass(frozen=True, slots=True)
class Finding:
    """Rows of one partition that break a rule: how many of how many, and the first few with their id and value.

    Of a rule on partitions it is the first one at fault; its example names the fact and its value.
    """

    partition: str
    unexpected: int
    checked: int
    examples: tuple[dict[str, Any], ...]

    def sentence(self) -> str:
        """Return it as the end of an error line."""
        first = self.examples[0] if self.examples else {}
        if "fact" in first:
            return f"{first['value']!r} in partition {self.partition} ({self.unexpected} of {self.checked} partitions)"
        row = f"row {first['row']}" + (f" (id {first['id']!r})" if "id" in first else "") if first else ""
        shown = f", such as {first['value']!r} in {row}" if first else ""
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
    _context: Any = None

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

    def facts(
        self, facts: pd.DataFrame, checks: Sequence[Check], examples: Mapping[tuple[str, str], dict[str, Any]]
    ) -> list[tuple[Check, Finding | None]]:
        """Run checks on a table of facts, a row a partition; a finding names the first partition at fault.

        `examples` has a row for a partition and a fact that counts rows; the finding then counts them too.
        """
        failed = self._failures(facts, checks, "table", keep_page=True)
        found: list[tuple[Check, Finding | None]] = []
        for position, check in enumerate(checks):
            finding = None
            if position in failed:
                result = failed[position].result
                first = result["partial_unexpected_index_list"][0]
                fact, partition = check.settings["column"], facts["partition"].iloc[first]
                value = plain(facts[fact].iloc[first])
                if (partition, fact) in examples:
                    row = examples[partition, fact]
                    finding = Finding(partition, int(value), int(facts["rows"].iloc[first]), (row,))
                else:
                    example = {"fact": fact, "value": value}
                    finding = Finding(partition, result["unexpected_count"], len(facts), (example,))
            found.append((check, finding))
        return found

    def _failures(self, rows: pd.DataFrame, checks: Sequence[Check], name: str, *, keep_page: bool) -> dict[int, Any]:
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
        from great_expectations.validator.v1_validator import Validator

        if self._context is None:
            self._context = gx.get_context(mode="ephemeral", project_config=_without_sites())
            self._context.variables.progress_bars = {"globally": False, "metric_calculations": False}
        source = self._context.data_sources.add_pandas(SOURCE)
        batches = source.add_dataframe_asset("rows").add_batch_definition_whole_dataframe("partition")
        built = [
            getattr(gx.expectations, check.expectation)(**check.settings, meta={"position": position})
            for position, check in enumerate(checks)
        ]
        suite = gx.ExpectationSuite(name="mergeline")
        suite.expectations = built
        wanted = {"result_format": detail, "partial_unexpected_count": max(1, self.examples)}
        # not Batch.validate, which loads the rows again and hashes all their cells again
        outcome = Validator(batches, wanted, {"dataframe": rows}).validate_expectation_suite(suite)
        self._context.data_sources.delete(SOURCE)  # or it would hold the rows while the next partition is read
        outcome.results.sort(key=_position)  # those that raised come first
        for check, result in zip(checks, outcome.results, strict=True):
            message = _raised(result.exception_info)
            if message is not None:
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


def _position(result: Any) -> int:
    return int(result.expectation_config.meta["position"])


def _raised(info: dict[str, Any]) -> str | None:
    """What an expectation raised, if it did: said of itself, or of each number that it needed."""
    parts = [info] if "raised_exception" in info else info.values()
    return next((str(each["exception_message"]).splitlines()[0] for each in parts if each["raised_exception"]), None)


def _without_sites() -> Any:
    """A context that makes no folder for Data Docs: by default each one leaves an empty folder on the machine."""
    from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults

    return DataContextConfig(store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False))


def _vectorized(rows: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The checked columns, numbers as int64 or float64 and times as UTC: others are compared cell by cell."""
    import pandas as pd

    checked = rows[list(dict.fromkeys(columns))].reset_index(drop=True)
    for name, column in checked.items():
        kind = column.dtype
        if pd.api.types.is_datetime64_any_dtype(kind):
            checked[name] = pd.to_datetime(column, utc=True).dt.tz_localize(None).astype("datetime64[us]")
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
    return f"{limit:.10g}" if isinstance(limit, float) else str(limit)


def _moment(limit: Any, time: dt.time) -> Any:
    """A date as the time stamp that a column of time stamps is compared with."""
    return dt.datetime.combine(limit, time) if isinstance(limit, dt.date) else limit
