"""`python -m sample.demo.year`: a model of January to March, and the rest of the year, week by week, into docs/.

Each week's flights are asked of a real server and told what became of them, three days late; then the three checks of
the schedule run as the workflow runs them. docs/a-year.md is what they said. Takes some ten minutes.
"""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sample.demo.acts import Story, first_pull_request
from sample.demo.place import Place, make_place
from sample.demo.traffic import replay
from sample.demo.watch import check, is_written

from mergeline import files
from mergeline.errors import MergelineError
from mergeline.files import LOCAL_STATE
from mergeline.monitor.drift.record import DriftRecord
from mergeline.monitor.performance.record import WindowPerformance

TEMPLATE = Path(__file__).parents[2]
PAGE = TEMPLATE / "docs" / "a-year.md"
MONTHS = tuple(f"2013-{month:02}" for month in range(4, 13))
FIRST = dt.datetime(2013, 4, 1, tzinfo=dt.UTC)
WEEK = dt.timedelta(days=7)
MOST_NAMED = 3
HEAD = """# A year of flights, watched

A model is trained on January to March 2013 and never again. From April to December each week's flights are asked of a
real server, which logs them; what became of a flight is told three days after it. Every Monday `mergeline drift`,
`performance` and `decide` look at what they can know by then. `python -m sample.demo.year` made this page.

{story}

| week from | flights | drift | moved most | ROC AUC of the newest judged week | late | decision |
|---|---|---|---|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Week:
    """What the checks said at the end of a week."""

    start: dt.datetime
    rows: int
    late: float
    drift: DriftRecord
    performance: WindowPerformance | None
    decision: dict[str, Any]


def watched(place: Place, story: Story) -> Iterator[Week]:
    """Let the weeks go by, and yield what was said at the end of each."""
    import pandas as pd

    server = story.running()
    settings = story.settings
    flights = pd.concat([story.month(month) for month in MONTHS], ignore_index=True)
    times = flights[str(settings.data.time)].dt.tz_localize("UTC")
    start, asked = FIRST, 0
    while start + WEEK <= dt.datetime(2014, 1, 1, tzinfo=dt.UTC):
        rows = flights[(times >= start) & (times < start + WEEK)]
        asked += replay(server.url, rows, settings).rows
        is_written(place, asked)
        decision = check(place, start + WEEK, start + WEEK + dt.timedelta(hours=6))
        yield Week(
            start,
            len(rows),
            float(rows[settings.data.target].dropna().astype(bool).mean()),
            _newest_drift(place),
            _newest_performance(place),
            decision,
        )
        start += WEEK


def _newest_drift(place: Place) -> DriftRecord:
    path = max((place.log / "drift").glob("*.json"))
    return DriftRecord.from_json(path.read_text(encoding="utf-8"), str(path))


def _newest_performance(place: Place) -> WindowPerformance | None:
    found = sorted((place.log / "performance").glob("*--*.json"))
    records = [WindowPerformance.from_json(path.read_text(encoding="utf-8"), str(path)) for path in found]
    return next((each for each in reversed(records) if each.state.judges), None)


def page(weeks: Sequence[Week]) -> str:
    """Return the page of the weeks."""
    return HEAD.format(story=_story(weeks)) + "".join(f"{_row(week)}\n" for week in weeks)


def _row(week: Week) -> str:
    moved = sorted((each for each in week.drift.drifted if each.name != "score"), key=lambda each: -each.effect)
    named = ", ".join(f"`{each.name}` {each.effect:.0%}" for each in moved[:MOST_NAMED]) or "nothing"
    drift = f"{week.drift.severity}{', sustained' if week.drift.sustained else ''}"
    cells = [
        f"{week.start:%Y-%m-%d}",
        f"{week.rows:,}",
        drift,
        named,
        _judged(week.performance),
        f"{week.late:.0%}",
        str(week.decision["decision"]),
    ]
    return f"| {' | '.join(cells)} |"


def _judged(record: WindowPerformance | None) -> str:
    figure = record.serving.figure("roc_auc") if record and record.serving else None
    if record is None or figure is None or figure.measured is None:
        return "no labels are in yet"
    found = figure.measured
    return f"{found.estimate:.3f} ({found.low:.3f} to {found.high:.3f}), {record.state}"


def _story(weeks: Sequence[Week]) -> str:
    drifting = sum(week.drift.sustained for week in weeks)
    worse = sum(week.performance is not None and week.performance.state == "degraded" for week in weeks)
    least, most = min(weeks, key=lambda week: week.late), max(weeks, key=lambda week: week.late)
    counted: dict[str, int] = {}
    for week in weeks:
        counted[str(week.decision["decision"])] = counted.get(str(week.decision["decision"]), 0) + 1
    decisions = ", ".join(f"{name} {count} times" for name, count in sorted(counted.items(), key=lambda each: -each[1]))
    return (
        f"Of {len(weeks)} weeks, sustained drift was found in {drifting}, and the newest judged week was worse than the"
        f" holdout in {worse}.\nThe late share was lowest in the week of {least.start:%d %B} ({least.late:.0%}) and"
        f" highest in that of {most.start:%d %B} ({most.late:.0%}).\nThe decisions: {decisions}."
    )


def main() -> int:
    """Play the year and write the page; return the exit code."""
    try:
        story = Story(make_place(TEMPLATE, TEMPLATE / LOCAL_STATE / "year"))
        story.place.act = "the first model"
        first_pull_request(story)
        story.place.act = "the year"
        weeks: list[Week] = []
        try:
            for week in watched(story.place, story):
                weeks.append(week)
                print(_row(week), flush=True)
        finally:
            story.end()
    except MergelineError as err:
        print(err, file=sys.stderr)
        return err.exit_code
    files.write_text(PAGE, page(weeks))
    print(f"see {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
