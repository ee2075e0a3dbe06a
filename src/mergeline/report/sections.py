"""The sections of reports/report.html in their order; one that has nothing to show is an empty text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mergeline.report import content, curves, elements, forest, histograms
from mergeline.report.charts import ForestRow
from mergeline.report.context import Context, Records
from mergeline.report.elements import Cell, measured, numbers
from mergeline.report.escape import clean, page
from mergeline.report.wording import (
    OUTCOMES,
    POLICIES,
    better,
    bounds,
    count,
    figure,
    interval,
    metric_label,
    share,
    signed,
)

STYLES = {"failed": "failed", "passed": "passed", "not applicable": "not-applicable"}
BETTER = {"better": "better", "worse": "worse"}
DRAWN_SLICES = 30
TOLD = 8  # rows of a forest plot that are read out


def models(records: Records) -> str:
    """Champion against candidate: what they are, and every metric of both."""
    comparison = records.comparison
    rows = content.metric_rows(comparison)
    drawn = [ForestRow(metric_label(row.name), row.difference) for row in rows if row.difference]
    label = f"Difference of each metric about zero: {_told(drawn)}."
    caption = "Each row on its own scale: what counts is the side of zero. To the right the candidate is better."
    head = ("metric", "champion", "candidate", "difference", "better?")
    return elements.section(
        "Champion and candidate",
        elements.bullets(_facts(records)),
        elements.side_by_side(
            elements.figure(forest.forest(drawn, label, common_scale=False), caption),
            elements.table("Metrics of both models", head, [_metric(row) for row in rows], strong=0),
        ),
    )


def _facts(records: Records) -> list[str]:
    comparison = records.comparison
    latency = content.latency(records.context)
    first = next((row for row in comparison["candidate"]["metrics"]), None)
    return [
        f"Candidate: {content.model_facts(comparison['candidate'])}",
        f"Champion: {content.model_facts(comparison['champion'])}",
        f"Judged on {content.holdout_fact(comparison)}",
        *([f"Under each figure stands its interval of {_level(first)}"] if first else []),
        *([latency] if latency else []),
    ]


def _level(record: dict[str, Any]) -> str:
    return f"{record['confidence'] * 100:.4g} %"


def _metric(row: content.MetricRow) -> tuple[Cell, ...]:
    word = "neither way" if row.greater_is_better is None else better(row.difference)
    pair = [
        measured(figure(each["estimate"] if each else None), bounds(each)) for each in (row.champion, row.candidate)
    ]
    return Cell(metric_label(row.name)), *pair, _difference(row.difference), Cell(word, BETTER.get(word, "unclear"))


def _difference(record: dict[str, Any] | None) -> Cell:
    return measured(signed(record["estimate"] if record else None), bounds(record, sign=True))


def _told(rows: list[ForestRow]) -> str:
    """In words what a forest plot shows."""
    told = [
        f"{clean(row.label, 40)} {better(row.difference)} {interval(row.difference, sign=True)}"
        for row in rows
        if row.difference
    ]
    more = [f"and {len(told) - TOLD} more"] if len(told) > TOLD else []
    return "; ".join([*told[:TOLD], *more])


def gates(records: Records) -> str:
    """What each gate said, failed ones first."""
    rows = [
        (
            Cell(gate["name"]),
            _outcome(gate),
            Cell(gate["evidence"], "words"),
            *(_number(gate[key]) for key in ("value", "threshold")),
        )
        for gate in content.gates(records.comparison)
    ]
    policy = elements.paragraph(POLICIES[records.comparison["policy"]], "soft")
    return elements.section(
        "Gates", policy, elements.table("Gates", ("gate", "outcome", "evidence", "value", "limit"), rows)
    )


def _number(value: float | None) -> Cell:
    """A number, or a dash that a phone leaves out."""
    return Cell(figure(value), "number" if value is not None else "number none")


def _outcome(record: dict[str, Any]) -> Cell:
    return Cell(OUTCOMES[record["outcome"]], STYLES[record["outcome"]])


def ranking(records: Records) -> str:
    """The curves of both models."""
    row = content.metric_rows(records.comparison)[0]
    said = f"{metric_label(row.name)}: {content.primary_sentence(row)}."
    found = records.curves
    calibration = "On the diagonal, what was predicted came true. The bars are intervals."
    return elements.section(
        "How the models rank and predict",
        elements.plots(
            elements.figure(curves.roc(found, said), "Closer to the upper left corner is better.", "ROC"),
            elements.figure(
                curves.precision_recall(found, said), "Further up and right is better.", "Precision and recall"
            ),
            elements.figure(curves.calibration(found), calibration, "Calibration"),
        ),
    )


def slices(records: Records) -> str:
    """Both models on parts of the holdout, failed ones first."""
    found = content.slices(records.comparison)
    if not found:
        return ""
    primary = metric_label(records.comparison["primary"])
    said = content.slices_fact(records.comparison)
    drawn = [ForestRow(_slice_name(each), each["difference"], _cross(each)) for each in found[:DRAWN_SLICES]]
    label = f"Difference of {primary} in slices about zero: {_told(drawn)}."
    more = "" if len(found) <= DRAWN_SLICES else f" The first {DRAWN_SLICES} are drawn."
    caption = f"All on one scale.{more} ✗ marks a failed slice."
    head = ("slice", "outcome", "difference", "champion", "candidate", "rows")
    return elements.section(
        "Slices",
        elements.paragraph(said, "soft"),
        elements.side_by_side(
            elements.figure(forest.forest(drawn, label, common_scale=True), caption),
            elements.table("Slices", head, [_slice(each) for each in found]),
        ),
    )


def _slice(each: dict[str, Any]) -> tuple[Cell, ...]:
    plain = numbers(figure(each["champion"]), figure(each["candidate"]), count(each["rows"]))
    return Cell(_slice_name(each)), _outcome(each), _difference(each["difference"]), *plain


def _slice_name(each: dict[str, Any]) -> str:
    return f"{clean(each['column'], 60)} = {clean(each['value'], 60)}"


def _cross(each: dict[str, Any]) -> str:
    return "✗" if each["outcome"] == "failed" else ""


def distributions(records: Records) -> str:
    """Score and features, then and now."""
    figures = [
        elements.figure(
            histograms.histogram(each), f"{share(histograms.moved(each))} of the rows moved", str(each["feature"])
        )
        for each in records.curves.get("distributions", [])
    ]
    running = "the running model" if records.comparison["champion"]["kind"] == "model" else "the candidate"
    key = (
        f'<p class="soft"><span class="key"></span>then: the rows that {running} was trained on'
        '<span class="key full"></span>now: the holdout</p>'
    )
    grid = elements.plots(*figures)
    return elements.section("Data then and now", key, grid) if grid else ""


def data(records: Records) -> str:
    """The state of the data: rows, quality, what does not hold."""
    validation = records.validation
    failed = [_expectation(each) for each in content.failed_expectations(validation)]
    partitions = [(Cell(name), *numbers(count(rows))) for name, rows in validation["rows"].items()]
    facts = [f"{fact.name}: {fact.value}" for fact in content.data_facts(records)]
    listed = elements.table("Partitions", ("partition", "rows"), partitions)
    return elements.section(
        "Data quality",
        elements.bullets(facts),
        elements.table("Failed expectations", ("column", "expected", "severity", "found"), failed),
        elements.folded(f"Rows of each partition ({len(partitions)})", listed),
    )


def _expectation(each: dict[str, Any]) -> tuple[Cell, ...]:
    severity = Cell("✗ error", "failed") if each["severity"] == "error" else Cell("warning")
    found = content.finding(each)
    return Cell(each["column"] or "table"), Cell(each["rule"], "words"), severity, Cell(found, "words")


def changes(records: Records) -> str:
    """What is not as in the base."""
    said = content.changes_fact(records.context)
    return elements.section("What changed", elements.paragraph(said), *_changed(records.context))


def _changed(context: Context) -> list[str]:
    data = [(Cell(each.partition), Cell(content.data_change(each))) for each in context.data]
    params = [
        (Cell(each.key), *(Cell(text, "words named") for text in content.parameter_change(each)))
        for each in context.params
    ]
    files = [(Cell(each.path), Cell(content.code_change(each), "number")) for each in context.code]
    return [
        elements.table("Changed data", ("data partition", "change"), data),
        elements.table("Changed parameters", ("parameter", "before", "now"), params),
        elements.table("Changed code", ("code", "lines"), files),
    ]


def holdout(records: Records) -> str:
    """How often the holdout has judged."""
    return elements.section("The holdout", elements.paragraph(content.holdout_use(records.context)))


def reproduction(records: Records) -> str:
    """The commands, and the hashes to find everything by."""
    commands = "\n".join(page(command, 1000) for command in records.context.commands)
    rows = [
        f'<tr><th scope="row">{page(fact.name)}</th><td><code>{page(fact.value)}</code></td></tr>'
        for fact in content.identities(records)
    ]
    hashes = elements.scrolling("Hashes", f"<table><tbody>{''.join(rows)}</tbody></table>")
    return elements.section("How to reproduce", f"<pre>{commands}</pre>" if commands else "", hashes)


SECTIONS: tuple[Callable[[Records], str], ...] = (
    models,
    gates,
    ranking,
    slices,
    distributions,
    data,
    changes,
    holdout,
    reproduction,
)
