"""`python -m sample.demo.year`: a model of January to March, and the rest of the year, week by week, into docs/.

The year is played twice: once the model is left alone, once the decisions are followed. Each week's flights are asked
of a real server and told what became of them, three days late; then the three checks of the schedule run as the
workflow runs them. docs/a-year.md is what came of it. Takes some twenty minutes.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sample.demo.acts import Story, first_pull_request
from sample.demo.clone import make_place
from sample.demo.interruption import Interruption, interruptible
from sample.demo.place import Place
from sample.demo.traffic import replay
from sample.demo.verbs import Verbs, check
from sample.demo.watch import is_written

from mergeline import files
from mergeline.errors import DataError, DegradationFound, MergelineError
from mergeline.files import LOCAL_STATE
from mergeline.intervals import Interval
from mergeline.monitor.drift.record import DriftRecord
from mergeline.monitor.performance.record import WindowPerformance

TEMPLATE = Path(__file__).parents[2]
PAGE = TEMPLATE / "docs" / "a-year.md"
MONTHS = tuple(f"2013-{month:02}" for month in range(4, 13))
FIRST = dt.datetime(2013, 4, 1, tzinfo=dt.UTC)
END = dt.datetime(2014, 1, 1, tzinfo=dt.UTC)
WEEK = dt.timedelta(days=7)
MORNING = dt.timedelta(hours=6)
LABELS_IN = dt.timedelta(days=21)  # after the last week everything is known and mature
MOST_NAMED = 2
METRIC = "roc_auc"
HEAD = """# A year of flights, watched

A model is trained on January to March 2013. From April to December each week's flights are asked of a real server,
which logs them; what became of a flight is told three days after it. Every Monday `mergeline drift`, `performance` and
`decide` look at what they can know by then. The year is played twice: once the model is left alone, once the decisions
are followed: a retraining takes the months that are over and labelled, is judged by its gate on its own pull request,
and is promoted only where it is better. What the gate refuses is closed, and tried again when another month is over.
The numbers in brackets are the gain in ROC AUC on its holdout. `python -m sample.demo.year` made this page.

{story}

Drift is against the rows of the model that ran. ROC AUC is of all labels of a week, once they were in, with its 95 %
interval.

| week from | flights | late | drift of the model that ran; moved most | decided, and done | ROC AUC | left alone |
|---|---|---|---|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Week:
    """What the checks said at the end of a week, and what was done."""

    start: dt.datetime
    rows: int
    late: float
    drift: DriftRecord
    decision: str
    done: str


@dataclass(frozen=True, slots=True)
class Year:
    """The weeks, and the metric of each by its first day."""

    weeks: tuple[Week, ...]
    judged: Mapping[dt.datetime, Interval]


def played(folder: Path, *, follow: bool) -> Year:
    """Let the year go by in a place of its own; `follow` the decisions, or leave the model alone."""
    import pandas as pd

    place = make_place(TEMPLATE, folder)
    story = Story(place, Verbs(place))
    place.act, place.today = "the first model", FIRST
    first_pull_request(story)
    place.act = "the year"
    settings = story.settings
    flights = pd.concat([story.month(month) for month in MONTHS], ignore_index=True)
    times = flights[str(settings.data.time)].dt.tz_localize("UTC")
    weeks: list[Week] = []
    start, asked, refused = FIRST, 0, set[str]()
    try:
        while start + WEEK <= END:
            rows = flights[(times >= start) & (times < start + WEEK)]
            asked += replay(story.running().url, rows, settings).rows
            is_written(place, asked)
            place.today = start + WEEK + MORNING
            decision = str(check(place, start + WEEK, place.today)["decision"])
            done = _retrain(story, place.today, refused) if follow and decision == "retrain" else ""
            late = float(rows[settings.data.target].dropna().astype(bool).mean())
            weeks.append(Week(start, len(rows), late, _newest_drift(place), decision, done))
            print(f"{start:%Y-%m-%d}: {decision} {done}", flush=True)
            start += WEEK
    finally:
        story.end()
        place.end()
    # the windows after the last week are empty, which is a failure and no pass
    found = (0, DegradationFound.exit_code, DataError.exit_code)
    place.run("performance", "--now", (END + LABELS_IN).isoformat(), code=found)
    return Year(tuple(weeks), _judged(place))


def _retrain(story: Story, now: dt.datetime, refused: set[str]) -> str:
    """Take the months that are over and labelled, if there are any, to a pull request; return what became of it.

    What was refused once is not tried again with the same months.
    """
    place = story.place
    record = json.loads(place.run("collect", "--all", "--now", now.isoformat()).out)
    months = [str(each["partition"]) for each in record["partitions"]]
    if not months or months[-1] in refused:
        _to_main(place)
        return "no other month is over"
    place.run("decide", "act")
    place.git("fetch", "-q", "origin")
    place.git("checkout", "-q", "-f", "-B", "retrain/auto", "origin/retrain/auto")
    place.tool("dvc", "checkout", "--quiet", "--force")
    place.run("repro", "--no-track")
    place.run("record")
    gate = place.run("gate", code=(0, 4)).code
    comparison = place.record("reports/comparison.json")
    gain = f"{comparison['difference']['estimate']:+.3f}"
    if not gate:
        place.merge("retrain/auto", f"Retrain with {', '.join(months)}")
    place.git("push", "-q", "origin", "--delete", "retrain/auto")  # merged, or closed by a person
    _to_main(place)
    if gate:
        refused.add(months[-1])
        failed = [each["name"] for each in comparison["gates"] if each["outcome"] == "failed"]
        return f"refused by {', '.join(failed)} ({gain})"
    if comparison["verdict"] != "promote":
        return f"a tie ({gain}), not promoted"
    place.run("propose", "production")
    place.git("fetch", "-q", "origin")
    place.merge("origin/promote/production", f"Promote the model of {months[-1]}")
    story.serve()
    return f"promoted ({gain})"


def _to_main(place: Place) -> None:
    place.git("checkout", "-q", "-f", "main")
    place.tool("dvc", "checkout", "--quiet", "--force")


def _newest_drift(place: Place) -> DriftRecord:
    path = max((place.log / "drift").glob("*.json"))
    return DriftRecord.from_json(path.read_text(encoding="utf-8"), str(path))


def _judged(place: Place) -> dict[dt.datetime, Interval]:
    found = {}
    for path in sorted((place.log / "performance").glob("*--*.json")):
        record = WindowPerformance.from_json(path.read_text(encoding="utf-8"), str(path))
        figure = record.serving.figure(METRIC) if record.serving else None
        if figure is not None and figure.measured is not None:
            found[record.window.start] = figure.measured
    return found


# ---- The page --------------------------------------------------------------------------------------------------------


def page(followed: Year, alone: Year) -> str:
    """Return the page of both years."""
    return HEAD.format(story=_story(followed, alone)) + "".join(
        f"{_row(week, followed.judged.get(week.start), alone.judged.get(week.start))}\n" for week in followed.weeks
    )


def _row(week: Week, followed: Interval | None, alone: Interval | None) -> str:
    moved = sorted((each for each in week.drift.drifted if each.name != "score"), key=lambda each: -each.effect)
    named = ", ".join(f"`{each.name}` {each.effect:.0%}" for each in moved[:MOST_NAMED]) or "nothing"
    drift = f"{week.drift.severity}{', sustained' if week.drift.sustained else ''}; {named}"
    cells = [
        f"{week.start:%Y-%m-%d}",
        f"{week.rows:,}",
        f"{week.late:.0%}",
        drift,
        f"{week.decision}{f': {week.done}' if week.done else ''}",
        _shown(followed),
        _shown(alone),
    ]
    return f"| {' | '.join(cells)} |"


def _shown(found: Interval | None) -> str:
    return "-" if found is None else f"{found.estimate:.3f} ({found.low:.3f} to {found.high:.3f})"


def _story(followed: Year, alone: Year) -> str:
    weeks = followed.weeks
    promoted = [week for week in weeks if week.done.startswith("promoted")]
    since = promoted[0].start + WEEK if promoted else END
    both = [start for start in followed.judged if start in alone.judged and start >= since]
    better = sum(followed.judged[each].estimate > alone.judged[each].estimate for each in both)
    least, most = min(weeks, key=lambda week: week.late), max(weeks, key=lambda week: week.late)
    counted: dict[str, int] = {}
    for week in weeks:
        counted[week.decision] = counted.get(week.decision, 0) + 1
    decisions = ", ".join(f"{name} {count} times" for name, count in sorted(counted.items(), key=lambda each: -each[1]))
    means = [_mean([year.judged[each].estimate for each in both]) for year in (followed, alone)]
    text = (
        f"Decided in {len(weeks)} weeks: {decisions}. {len(promoted)} retrainings were promoted. In the {len(both)}"
        f" weeks from the first promotion on, ROC AUC was {means[0]:.3f} on average where the decisions were followed,"
        f" and {means[1]:.3f} where the model was left alone; it was higher in {better} of them. The late share was"
        f" lowest in the week of {least.start:%-d %B} ({least.late:.0%}) and highest in that of {most.start:%-d %B}"
        f" ({most.late:.0%})."
    )
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


def main() -> int:
    """Play both years and write the page; return the exit code."""
    folder = TEMPLATE / LOCAL_STATE / "year"
    try:
        with interruptible():
            followed = played(folder / "followed", follow=True)
            alone = played(folder / "alone", follow=False)
    except (MergelineError, Interruption) as err:
        print(err, file=sys.stderr)
        return err.exit_code
    files.write_text(PAGE, page(followed, alone))
    print(f"see {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
