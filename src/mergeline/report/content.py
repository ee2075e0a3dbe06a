"""What a report says, and in which order: what failed and what counts stand first. Both reports take it from here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mergeline.report.context import CodeChange, Context, ParameterChange, PartitionChange, Records
from mergeline.report.wording import NOTHING, count, interval, metric_label, period

GATE_ORDER = ("failed", "passed", "not applicable")
QUALITIES = ("completeness", "consistency", "freshness")
WORN = "a holdout that has chosen among many models flatters the one that it chose"


@dataclass(frozen=True, slots=True)
class MetricRow:
    """A metric of both models; `difference` is positive where the candidate is better, None where not compared."""

    name: str
    primary: bool
    greater_is_better: bool | None
    candidate: dict[str, Any] | None
    champion: dict[str, Any] | None
    difference: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Fact:
    """A name and its value, one line of a list."""

    name: str
    value: str


def metric_rows(comparison: dict[str, Any]) -> tuple[MetricRow, ...]:
    """Return every metric that either model has, the primary one first."""
    candidate = {each["name"]: each for each in comparison["candidate"]["metrics"]}
    champion = {each["name"]: each for each in comparison["champion"]["metrics"]}
    differences = {each["metric"]: each for each in comparison["differences"]}
    primary = comparison["primary"]
    if comparison["difference"] is not None:
        differences[primary] = comparison["difference"]
    names = [primary, *(name for name in candidate | champion if name != primary)]
    return tuple(
        MetricRow(
            name,
            name == primary,
            _direction(name, comparison, candidate.get(name) or champion.get(name)),
            candidate.get(name),
            champion.get(name),
            differences.get(name),
        )
        for name in names
    )


def _direction(name: str, comparison: dict[str, Any], metric: dict[str, Any] | None) -> bool | None:
    if metric is None:
        return bool(comparison["greater_is_better"]) if name == comparison["primary"] else None
    direction = metric["greater_is_better"]
    return None if direction is None else bool(direction)


def gates(comparison: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the gates, failed ones first, else in their own order."""
    return sorted(comparison["gates"], key=lambda gate: GATE_ORDER.index(gate["outcome"]))


def failed_gates(comparison: dict[str, Any]) -> list[str]:
    """Return the names of the gates that failed."""
    return [gate["name"] for gate in comparison["gates"] if gate["outcome"] == "failed"]


def slices(comparison: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the slices: failed ones first, then from the worst difference to the best, the unjudged last."""
    return sorted(comparison["slices"], key=_slice_rank)


def _slice_rank(each: dict[str, Any]) -> tuple[bool, bool, float, str, str]:
    difference = each["difference"]
    estimate = difference["estimate"] if difference else 0.0
    return each["outcome"] != "failed", difference is None, estimate, each["column"], str(each["value"])


def failed_expectations(validation: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the expectations that do not hold, errors before warnings."""
    failed = [each for each in validation["expectations"] if not each["passed"]]
    return sorted(failed, key=lambda each: each["severity"] != "error")


def finding(expectation: dict[str, Any]) -> str:
    """Return where an expectation fails first: `12 of 3000 in 2013-06, such as -4`, and in how many partitions."""
    found = expectation["findings"]
    if not found:
        return NOTHING
    first = found[0]
    examples = [example["value"] for example in first.get("examples", ()) if "value" in example]
    such = f", such as {'a missing value' if examples[0] is None else examples[0]}" if examples else ""
    more = f"; and in {len(found) - 1} more" if len(found) > 1 else ""
    return f"{first['unexpected']:,} of {first['checked']:,} in {first['partition']}{such}{more}"


def data_facts(records: Records) -> list[Fact]:
    """Return the state of the data: rows, quality, expectations."""
    validation = records.validation
    rows, expectations = validation["rows"], validation["expectations"]
    kept = sum(bool(each["passed"]) for each in expectations)
    quality = validation["quality"]
    parts = [f"{name} {quality[name]:.3f}" for name in QUALITIES if quality.get(name) is not None]
    return [
        Fact("rows", f"{count(sum(rows.values()))} in {len(rows)} partition{'s' * (len(rows) != 1)}"),
        Fact("expectations", f"{kept} of {len(expectations)} hold"),
        Fact("quality", f"{quality['score']:.3f} of 1" + (f" ({', '.join(parts)})" if parts else "")),
    ]


def model_facts(contender: dict[str, Any]) -> str:
    """Return what a model is and was trained on, in a line."""
    if contender["kind"] == "baseline":
        return "a baseline that learns nothing from the features"
    family = str(contender["family"]).replace("_", " ")
    when = period(contender)
    rows = f"trained on {count(contender['training_rows'])} rows"
    return f"{family}, {rows}" + (f", {when}" if when else "")


def holdout_fact(comparison: dict[str, Any]) -> str:
    """Return the rows that judged and their time."""
    when = period(comparison["holdout"])
    return f"{count(comparison['holdout']['rows'])} rows" + (f", {when}" if when else "")


def holdout_use(context: Context) -> str:
    """Return how often the holdout has judged, and how often it may."""
    uses = context.holdout_uses
    if uses == 0:
        return "This clone's history does not know how often this holdout has judged."
    times = "1 candidate, this one" if uses == 1 else f"{uses} different candidates, this one included"
    budget = "" if context.holdout_budget is None else f" (budget: {context.holdout_budget})"
    return f"This holdout has judged {times}{budget}."


def holdout_warning(context: Context) -> str | None:
    """Return why the figures are to be doubted, once the holdout has judged more candidates than it may."""
    if not context.holdout_worn:
        return None
    return (
        f"This holdout has judged {context.holdout_uses} candidates and its budget is {context.holdout_budget}: "
        f"{WORN}. Let newer rows judge before you trust a small gain."
    )


def latency(context: Context) -> str | None:
    """Return the scoring time against the champion's."""
    if context.latency_ratio is None:
        return None
    return f"Scoring takes {context.latency_ratio:.2f} times as long as the champion's, measured on this machine"


def changes_fact(context: Context) -> str:
    """Return against what the changes are, which kinds there are none of, or that there are none at all."""
    if context.base is None:
        return "There is no base branch to compare with, so the changes cannot be listed."
    if context.nothing_changed:
        return f"Nothing changed against {context.base}: the same data, the same parameters, the same code."
    kinds = (("data", context.data), ("parameters", context.params), ("code", context.code))
    missing = " or ".join(name for name, found in kinds if not found)
    return f"Against {context.base}." + (f" No change of {missing}." if missing else "")


def slices_fact(comparison: dict[str, Any]) -> str:
    """Return how many slices were judged, how many failed, and how sure their intervals are."""
    found = comparison["slices"]
    failed = sum(each["outcome"] == "failed" for each in found)
    judged = [each["difference"] for each in found if each["difference"]]
    said = f"{metric_label(comparison['primary'])} in {count(len(found))} slices, {count(failed)} failed."
    if not judged:
        return said
    level = f"{judged[0]['confidence'] * 100:.4g} %"
    return f"{said} Their intervals are of {level}, so that one in many is not called worse by chance."


def data_change(change: PartitionChange) -> str:
    """Return what became of a partition.

    >>> data_change(PartitionChange("2013-06", None, 28243)), data_change(PartitionChange("2013-05", 10, 8))
    ('new, 28,243 rows', '10 to 8 rows (-2)')
    """
    before, now = change.rows_before, change.rows_now
    if before is None:
        return f"new, {count(now)} rows"
    if now is None:
        return f"removed, it had {count(before)} rows"
    if before == now:
        return f"other content, {count(now)} rows as before"
    return f"{count(before)} to {count(now)} rows ({now - before:+,})"


def parameter_change(change: ParameterChange) -> tuple[str, str]:
    """Return the texts of a setting before and now."""
    return change.old if change.old is not None else "not set", change.new if change.new is not None else "not set"


def code_change(change: CodeChange) -> str:
    """Return the size of a change to a file."""
    return f"{change.lines_added:+,} −{change.lines_removed:,}"


def identities(records: Records) -> list[Fact]:
    """Return the hashes by which everything here can be found again."""
    comparison, receipt = records.comparison, records.receipt
    found = [
        ("model SHA-256", comparison["candidate"]["sha256"]),
        ("champion SHA-256", comparison["champion"]["sha256"] or "none: a baseline"),
        ("holdout SHA-256", comparison["holdout"]["sha256"]),
        ("dvc.lock SHA-256", receipt.get("dvc_lock_sha256")),
        ("commit", records.context.commit),
        ("training commit", receipt.get("training_commit")),
    ]
    return [Fact(name, str(value)) for name, value in found if value]


def primary_sentence(row: MetricRow) -> str:
    """Return the figure that decides, for both models."""
    return f"candidate {interval(row.candidate)}, champion {interval(row.champion)}"
