"""The verb `report --week`: a week of the log, of the checks and of the decisions, as Markdown, HTML and JSON."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mergeline import files
from mergeline.commands.settings import load_params
from mergeline.errors import DataError
from mergeline.layout import VALIDATION
from mergeline.logstore import LogStore, open_log
from mergeline.monitor import weekly, weekly_log, weekly_page
from mergeline.monitor.decide import Decision, parse_record
from mergeline.monitor.drift.record import FOLDER as DRIFT
from mergeline.monitor.drift.record import DriftRecord
from mergeline.monitor.performance.record import FOLDER as PERFORMANCE
from mergeline.monitor.performance.record import WindowPerformance
from mergeline.monitor.windows import Window
from mergeline.params import Params

if TYPE_CHECKING:
    import pandas as pd

FOLDER = files.LOCAL_STATE / "weekly"
COLLECTED, DECISIONS = "collect/", "decisions/"
DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Place:
    """The repository, the log, its settings, the time that the report is of, and the moment at which it is made."""

    root: Path
    store: LogStore
    settings: Params
    window: Window
    now: dt.datetime


def report(root: Path, log: str, day: dt.date, *, as_json: bool) -> str:
    """Write the report of a day's week under `.mergeline/weekly/`; return the names of its files, or its JSON."""
    name, window = weekly.week_of(day)
    place = Place(root, open_log(log, root), load_params(root), window, dt.datetime.now(dt.UTC))
    made = week(place, name)
    text = json.dumps(made.as_record(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    written = [FOLDER / f"{name}.{kind}" for kind in ("md", "html", "json")]
    for path, content in zip(written, (weekly_page.markdown(made), weekly_page.html(made), text), strict=True):
        files.write_text(root / path, content)
    return text.rstrip() if as_json else ", ".join(map(str, written))


def week(place: Place, name: str) -> weekly.Weekly:
    """Return the week. Raises `DataError` for a record or a file of the log that is damaged."""
    rows = _rows(place)
    days = weekly.days(rows, place.window)
    drifts = tuple(
        DriftRecord.from_json(text, key) for key, text in _records(place, DRIFT) if _overlaps(text, place.window)
    )
    performances = tuple(
        WindowPerformance.from_json(text, key)
        for key, text in _records(place, PERFORMANCE)
        if _overlaps(text, place.window)
    )
    decisions = tuple(_decisions(place))
    total = sum(each.rows for each in days)
    return weekly.Weekly(
        name=name,
        window=place.window,
        days=days,
        sides=weekly.sides(rows),
        labelled=int((rows["label"].notna() & (rows["variant"] != weekly.SHADOW)).sum()),
        cost=weekly.cost(place.settings.weekly.prices, total),
        figures=tuple(weekly.figure(each, rows) for each in place.settings.weekly.metrics),
        drift=weekly.drift_seen(drifts),
        performance=weekly.performance_seen(performances),
        quality=_quality(place, drifts),
        decisions=weekly.decided(each for each in decisions if each.evidence.at <= place.window.end),
        recommendations=weekly.recommendations(decisions),
    )


def _rows(place: Place) -> pd.DataFrame:
    """The week's predictions with the labels that there are by now."""
    from mergeline.monitor.labels import join

    read, ahead = place.store.read, DAY * (place.settings.drift.ahead_days + 1)  # who asks may ask ahead
    day = (place.window.start - ahead).date()
    columns = [weekly.FEATURE_PREFIX + each for each in place.settings.weekly.features]
    keys = weekly_log.since(place.store.keys("predictions/"), day)
    wanted = ["decision", "entity_id", *columns]
    rows = weekly_log.predictions(keys, read, place.window.start, place.window.end, wanted)
    labels = weekly_log.labels(weekly_log.since(place.store.keys("labels/"), place.window.start.date()), read)
    joined = join(rows, labels[labels["label_ts"] <= place.now]).rows
    return joined.reindex(columns=[*joined.columns, *(each for each in wanted if each not in joined)])


def _records(place: Place, folder: str) -> Iterator[tuple[str, str]]:
    """The records of a folder of the log, the oldest first, with their places."""
    for key in place.store.keys(folder):
        if key.endswith(".json") and key.count("/") == 1:
            yield f"{place.store.url}: {key}", place.store.read(key).decode("utf-8", "replace")


def _overlaps(text: str, window: Window) -> bool:
    """Whether a record's window lies in the week, in part; a record that cannot be read is looked at, and refused."""
    try:
        found = Window.from_dict(json.loads(text)["window"])
    except (ValueError, KeyError, TypeError, DataError):
        return True
    return found.start < window.end and found.end > window.start


def _decisions(place: Place) -> Iterator[Decision]:
    """The decisions for moments of the week, and those of the day after it, which look back at its end."""
    for key in place.store.keys(DECISIONS):
        where = f"{place.store.url}: {key}"
        try:
            raw = json.loads(place.store.read(key))
        except ValueError as err:
            raise DataError(f"{where}: not JSON ({err}); remove it") from err
        made = parse_record(raw, where)
        if place.window.start < made.evidence.at <= place.window.end + DAY:
            yield made


def _quality(place: Place, drifts: tuple[DriftRecord, ...]) -> weekly.Quality:
    found = _collected(place)
    return weekly.Quality(
        duplicates=sum(each.apart.duplicates for each in drifts),
        late=sum(each.apart.late for each in drifts),
        ahead=max((each.apart.ahead for each in drifts), default=0),
        partition=str(found["partition"]) if found else None,
        held_up={str(reason): int(count) for reason, count in ((found or {}).get("reasons") or {}).items()},
        failed_expectations=_failed_expectations(place.root),
    )


def _collected(place: Place) -> dict[str, Any] | None:
    """The record of the newest partition that was collected."""
    keys = [key for key in place.store.keys(COLLECTED) if key.endswith(".json")]
    if not keys:
        return None
    try:
        found: dict[str, Any] = json.loads(place.store.read(keys[-1]))
        return found if "partition" in found else None
    except (ValueError, TypeError) as err:
        raise DataError(f"{place.store.url}: {keys[-1]}: not JSON ({err}); remove it") from err


def _failed_expectations(root: Path) -> tuple[str, ...]:
    if not (root / VALIDATION).exists():
        return ()
    told = files.read_json(root / VALIDATION, "mergeline validate").get("expectations", ())
    return tuple(f"{each['column']}: {each['rule']}" for each in told if not each["passed"])
