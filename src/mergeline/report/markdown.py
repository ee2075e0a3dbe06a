"""reports/report.md: the comment on a pull request, read by people who know no gate and by those who wrote them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from mergeline.report import charts, content
from mergeline.report.context import CodeChange, ParameterChange, PartitionChange, Records
from mergeline.report.escape import code, plain, prose
from mergeline.report.wording import (
    MEANING,
    OUTCOMES,
    POLICIES,
    SYMBOLS,
    better,
    count,
    figure,
    headline,
    interval,
    metric_label,
    short,
)

LIMIT = 60_000  # GitHub takes 65,536 characters and refuses the whole comment above that
SHOWN_SLICES = 15
SHOWN = 12
CHART_ROWS = 20
CHART_LINES = 24
NOTES = 5
NAME = 40
SENTENCE = 400
SPARE = 400  # of each folded part: its head, its summary and the line that says what was cut
CUT = "… {count} more are not shown here; the records in `reports/` and `git diff` hold them all."


@dataclass(frozen=True, slots=True)
class Folded:
    """Rows of a table in a `<details>`, made and shown as far as the comment has room for them."""

    title: str
    head: tuple[str, ...]
    rows: Iterable[str]
    size: int


Block = str | Folded
T = TypeVar("T")
METRIC_HEAD = ("metric", "champion", "candidate", "difference", "better?")
SLICE_HEAD = ("slice", "rows", "champion", "candidate", "difference", "outcome")
EXPECTATION_HEAD = ("column", "expected", "severity", "found")


def markdown(records: Records) -> str:
    """Return the report as GitHub's Markdown, at most 60,000 characters; the same records give the same text.

    Text from data is escaped: it can neither mark up, link, mention anyone nor break a table.
    """
    parts: tuple[Callable[[Records], Sequence[Block]], ...] = (
        _verdict,
        _models,
        _gates,
        _slices,
        _charts,
        _data,
        _changes,
        _holdout,
        _reproduce,
    )
    return _fitted([block for part in parts for block in part(records) if block])


def _verdict(records: Records) -> list[Block]:
    comparison = records.comparison
    verdict = comparison["verdict"]
    notes = [f"> [!NOTE]\n> {prose(note, SENTENCE)}" for note in comparison["notes"][:NOTES]]
    more = len(comparison["notes"]) - NOTES
    warning = content.holdout_warning(records.context)
    failed = content.failed_gates(comparison)
    named = f" Failed: {', '.join(code(name) for name in failed[:SHOWN])}." if failed else ""
    return [
        f"## {SYMBOLS[verdict]} {prose(headline(comparison))}",
        *notes,
        f"… and {count(more)} more notes." if more > 0 else "",
        f"**{prose(comparison['sentence'], 3 * SENTENCE)}**",
        f"{MEANING[verdict]}{named}",
        f"> [!WARNING]\n> {prose(warning, SENTENCE)}" if warning else "",
    ]


def _models(records: Records) -> list[Block]:
    comparison = records.comparison
    rows = content.metric_rows(comparison)
    table, *rest = _listed("The other metrics", METRIC_HEAD, rows, _metric_row)
    facts = [
        f"- candidate: {prose(content.model_facts(comparison['candidate']))}",
        f"- champion: {prose(content.model_facts(comparison['champion']))}",
        f"- judged on {prose(content.holdout_fact(comparison))}",
    ]
    latency = content.latency(records.context)
    return [
        "### Champion and candidate",
        "\n".join([*facts, f"- {latency[0].lower()}{latency[1:]}"] if latency else facts),
        table,
        "A positive difference is in the candidate's favour, whichever way the metric counts.",
        *rest,
    ]


def _metric_row(row: content.MetricRow) -> str:
    name, word = prose(metric_label(row.name), NAME), better(row.difference)
    if row.greater_is_better is None:
        word = "neither way"
    strong = "**" if row.primary else ""
    cells = [name, interval(row.champion), interval(row.candidate), interval(row.difference, sign=True), word]
    return _row(*(f"{strong}{cell}{strong}" for cell in cells))


def _gates(records: Records) -> list[Block]:
    listed = _listed("The other gates", ("gate", "outcome", "evidence"), content.gates(records.comparison), _gate_row)
    return ["### Gates", *listed, POLICIES[records.comparison["policy"]]]


def _gate_row(gate: dict[str, Any]) -> str:
    return _row(code(gate["name"], NAME), _outcome(gate), prose(gate["evidence"], SENTENCE))


def _outcome(record: dict[str, str]) -> str:
    said = OUTCOMES[record["outcome"]]
    return f"**{said}**" if record["outcome"] == "failed" else said


def _slices(records: Records) -> list[Block]:
    found = content.slices(records.comparison)
    if not found:
        return []
    listed = _listed("The other slices", SLICE_HEAD, found, _slice_row, SHOWN_SLICES)
    said = prose(content.slices_fact(records.comparison))
    drawn = charts.forest([_slice_line(each) for each in found[:CHART_ROWS]], common_scale=True)
    title = "Slices drawn" if len(found) <= CHART_ROWS else f"The first {CHART_ROWS} slices drawn"
    return ["### Slices", said, *listed, *_drawn(title, drawn)]


def _slice_row(each: dict[str, Any]) -> str:
    return _row(
        f"{code(each['column'], NAME)} = {code(each['value'], NAME)}",
        count(each["rows"]),
        figure(each["champion"]),
        figure(each["candidate"]),
        interval(each["difference"], sign=True),
        _outcome(each),
    )


def _slice_line(each: dict[str, Any]) -> charts.ForestRow:
    name = f"{plain(each['column'], 12)}={plain(each['value'], 16)}"
    return charts.ForestRow(name, each["difference"], "FAILED" if each["outcome"] == "failed" else "")


def _charts(records: Records) -> list[Block]:
    rows = [
        charts.ForestRow(metric_label(row.name), row.difference)
        for row in content.metric_rows(records.comparison)[:CHART_ROWS]
        if row.difference
    ]
    title = "Differences about zero, each on its own scale"
    calibrated = charts.calibration(records.curves.get("candidate", {}).get("calibration", [])[:CHART_ROWS])
    legend = ["○ predicted  ├─●─┤ observed  ◉ both"] if calibrated else []
    score = [each for each in records.curves.get("distributions", []) if each["feature"] == "score"]
    then = "Scores: then (training rows) and now (holdout)"
    drawn = [
        *_drawn(title, charts.forest(rows, common_scale=False), is_open=True),
        *_drawn("Calibration of the candidate", [*legend, *calibrated]),
        *_drawn(then, charts.distribution(score[0]) if score else []),
    ]
    return ["### Charts", *drawn] if drawn else []


def _drawn(title: str, lines: Sequence[str], *, is_open: bool = False) -> list[Block]:
    if not lines:
        return []
    more = [f"… and {len(lines) - CHART_LINES} more"] if lines[CHART_LINES:] else []
    fenced = "\n".join(["```text", *lines[:CHART_LINES], *more, "```"])
    return [f"**{title}**\n\n{fenced}" if is_open else _details(title, fenced)]


def _data(records: Records) -> list[Block]:
    facts = [f"- {fact.name}: {prose(fact.value)}" for fact in content.data_facts(records)]
    failed = content.failed_expectations(records.validation)
    partitions = list(records.validation["rows"].items())
    return [
        "### Data quality",
        "\n".join(facts),
        *_listed("The other failed expectations", EXPECTATION_HEAD, failed, _expectation_row),
        *_listed("Rows of each partition", ("partition", "rows"), partitions, _partition_row, 0),
    ]


def _expectation_row(each: dict[str, Any]) -> str:
    column, found = code(each["column"] or "table", NAME), prose(content.finding(each), 160)
    return _row(column, prose(each["rule"], 100), prose(each["severity"], 10), found)


def _partition_row(partition: tuple[str, int]) -> str:
    return _row(code(partition[0], NAME), count(partition[1]))


def _changes(records: Records) -> list[Block]:
    context = records.context
    return [
        "### What changed",
        prose(content.changes_fact(context)),
        *_listed("More partitions", ("data partition", "change"), context.data, _partition_change),
        *_listed("More parameters", ("parameter", "before", "now"), context.params, _parameter_change),
        *_listed("More files", ("code", "lines"), context.code, _code_change),
    ]


def _partition_change(change: PartitionChange) -> str:
    return _row(code(change.partition, NAME), content.data_change(change))


def _parameter_change(change: ParameterChange) -> str:
    return _row(code(change.key, NAME), *(code(text, NAME) for text in content.parameter_change(change)))


def _code_change(change: CodeChange) -> str:
    return _row(code(change.path, 2 * NAME), content.code_change(change))


def _holdout(records: Records) -> list[Block]:
    return ["### The holdout", prose(content.holdout_use(records.context))]


def _reproduce(records: Records) -> list[Block]:
    commands = [plain(command, 200) for command in records.context.commands[:SHOWN]]
    commands += ["# … and more"] if records.context.commands[SHOWN:] else []
    fenced = "\n".join(["```sh", *commands, "```"]) if commands else ""
    candidate, champion = records.comparison["candidate"], records.comparison["champion"]
    names = f"Model {code(short(candidate['sha256']))}, champion {code(short(champion['sha256']))}."
    rows = [_row(fact.name, code(fact.value, 80)) for fact in content.identities(records)]
    hashes = _details("Full hashes", "\n".join([*_table_head("what", "hash"), *rows]))
    return ["### How to reproduce", fenced, names, hashes]


# ---- Making it fit ---------------------------------------------------------------------------------------------------


def _fitted(blocks: Sequence[Block]) -> str:
    """Join the blocks; the folded ones share the room that the others leave, the first ones first."""
    room = LIMIT - sum(len(block) + 2 if isinstance(block, str) else SPARE for block in blocks)
    texts = []
    for block in blocks:
        text = block if isinstance(block, str) else _unfolded(block, room)
        room -= 0 if isinstance(block, str) else max(0, len(text) + 2 - SPARE)
        texts.append(text)
    return "\n\n".join(texts) + "\n"


def _unfolded(block: Folded, room: int) -> str:
    shown: list[str] = []
    for row in block.rows:
        room -= len(row) + 1
        if room < 0:
            break
        shown.append(row)
    left = block.size - len(shown)
    cut = f"\n\n{CUT.format(count=count(left))}" if left else ""
    table = "\n".join([*block.head, *shown]) if shown else ""
    return _details(f"{block.title} ({count(block.size)})", f"{table}{cut}".strip())


def _listed(
    title: str, names: tuple[str, ...], items: Sequence[T], row: Callable[[T], str], shown: int = SHOWN
) -> list[Block]:
    """A table of the first items, and the rest of them folded under a title."""
    head, rest = _table_head(*names), items[shown:]
    first = "\n".join([*head, *map(row, items[:shown])])
    folded = Folded(title, head, map(row, rest), len(rest))
    return [*([first] if items[:shown] else []), *([folded] if rest else [])]


def _details(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"


def _table_head(*names: str) -> tuple[str, str]:
    return _row(*names), "|" + "---|" * len(names)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
