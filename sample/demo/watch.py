"""The act in which months go by: live traffic, labels that come late, drift, lost performance, a decision."""

from __future__ import annotations

import datetime as dt
import time
from typing import TYPE_CHECKING

from sample.demo.act import Act, Fact
from sample.demo.traffic import replay

from mergeline.monitor.drift.record import DriftRecord
from mergeline.monitor.performance.record import State, WindowPerformance
from mergeline.report.wording import interval, metric_label
from mergeline.site.drift import moved

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sample.demo.acts import Story
    from sample.demo.place import Place

LIVE_MONTHS = ("2013-04", "2013-05", "2013-06")
LONGEST_FLUSH_S = 30.0
MOST_NAMED = 5
RECORDS = "*--*.json"
LABELS_IN = dt.timedelta(days=4)  # after a month its last labels, three days late, are there


def watched(story: Story) -> Act:
    """April to June through the running server; the checks find what moved, and the decision is to retrain."""
    place = story.place
    server = story.running()
    facts, rows, checked = [], 0, None
    for month in LIVE_MONTHS:
        sent = replay(server.url, story.month(month), story.settings)
        rows += sent.rows
        is_written(place, rows)
        place.go_to(_end(month) + LABELS_IN)
        last = month == LIVE_MONTHS[-1]
        checked = story.way.check(_end(month), _end(month) + LABELS_IN, act=last)
        rate = sent.rows / max(sent.seconds, 1e-3)
        facts.append(
            Fact(
                month,
                f"{sent.rows:,} flights asked ({rate:,.0f} a second), {sent.labels:,} labels;"
                f" decided: {checked.decision['decision']}",
            )
        )
    assert checked is not None  # noqa: S101  there are months
    decided = checked.decision["decision"]
    place.expect(decided == "retrain", f"a decision to retrain, found {decided}")
    named = list(checked.partitions)
    place.expect(named == list(LIVE_MONTHS), f"the partitions {', '.join(LIVE_MONTHS)}, found {named}")
    changed = place.git("diff", "--name-only", "origin/main...origin/retrain/auto").split()
    place.expect("data.dvc" in changed, f"a branch retrain/auto that names new data, found {changed}")
    drifted, lost = seen(place)
    links = (
        *story.keep("drift, feature by feature", checked.drift, "drift-report.html"),
        *story.keep("performance, week by week", checked.performance, "performance.html"),
    )
    return Act(
        2,
        "Three months of live traffic, watched",
        (
            "Every flight from April to June is asked of the running server; what became of it comes three days later."
            " Each month the check compares weeks with the training rows, joins the labels, and weighs both into one"
            " decision. It ends in a branch with the new partitions, for a pull request. A retraining after April or"
            " May alone is not followed here, because its gate would refuse it: `docs/a-year.md` follows both."
        ),
        (*facts, drifted, lost, Fact("branch", f"retrain/auto, with {', '.join(named)}")),
        links,
        story.way.how,
    )


def seen(place: Place) -> tuple[Fact, Fact]:
    """What the records of the two checks say: the columns that drifted last, and the week in which most was lost."""
    drift = DriftRecord.from_json(*_read(max((place.log / "drift").glob(RECORDS))))
    place.expect(bool(moved(drift)), "a column that drifted in the last week")
    records = [WindowPerformance.from_json(*_read(path)) for path in sorted((place.log / "performance").glob(RECORDS))]
    judged = [each for each in records if each.state.judges]
    lost = [each for each in judged if each.state is State.DEGRADED]
    place.expect(bool(lost), "a week in which late labels say that the model does worse than at its release")
    return (
        Fact(
            f"drifted, week from {drift.window.start:%Y-%m-%d}",
            f"{moved(drift, MOST_NAMED)}: the share of rows that lie elsewhere than in training",
        ),
        Fact("does worse by late labels", f"{len(lost)} of {len(judged)} weeks; most in {_worst(lost)}"),
    )


def _worst(lost: Sequence[WindowPerformance]) -> str:
    """The week whose metric lies furthest below the release's, with both intervals."""
    found = [(week, week.serving.figure(week.primary)) for week in lost if week.serving]
    known = [(week, each.difference, each) for week, each in found if each and each.difference]
    week, _, each = min(known, key=lambda one: one[1].estimate)
    measured, holdout = (interval(one.as_dict() if one else None) for one in (each.measured, each.holdout))
    return f"that from {week.window.start:%Y-%m-%d}: {metric_label(each.name)} {measured}, {holdout} at its release"


def _read(path: Path) -> tuple[str, str]:
    return path.read_text(encoding="utf-8"), str(path)


def is_written(place: Place, rows: int) -> None:
    """Wait until the log of the server holds so many rows."""
    ends = time.monotonic() + LONGEST_FLUSH_S
    found = -1
    while time.monotonic() < ends:
        found = _rows(place)
        if found >= rows:
            return
        time.sleep(0.2)
    place.expect(False, f"{rows} rows in the prediction log, found {found}")


def _rows(place: Place) -> int:
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(path).num_rows for path in (place.log / "predictions").rglob("[!.]*.parquet"))


def _end(month: str) -> dt.datetime:
    year, number = map(int, month.split("-"))
    return dt.datetime(year + number // 12, number % 12 + 1, 1, tzinfo=dt.UTC)
