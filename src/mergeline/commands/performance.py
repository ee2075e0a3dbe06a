"""The verb `performance`: from the log, the labels and the history of Git to a record of each window."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mergeline import files
from mergeline.commands.holdouts import holdouts
from mergeline.commands.logplace import LOG_HELP, log_url
from mergeline.commands.logrows import PREDICTIONS, log_extents, read_labels, read_parts
from mergeline.errors import DataError, DegradationFound, MergelineError
from mergeline.files import LOCAL_STATE

if TYPE_CHECKING:
    import pandas as pd

    from mergeline.commands.verb import Verb
    from mergeline.engine.engine import Engine
    from mergeline.logstore import LogStore
    from mergeline.monitor.performance.record import WindowPerformance
    from mergeline.monitor.performance.rows import Extent
    from mergeline.monitor.performance.window import Asked
    from mergeline.monitor.windows import Window
    from mergeline.params import Params

OUTPUT = LOCAL_STATE / "performance"
RECORD = re.compile(r"performance/[0-9T-]+--[0-9T-]+\.json")


@dataclass(frozen=True, slots=True)
class Run:
    """What a run found: the records of all windows, the names of those it looked at, and what is wrong, if anything."""

    records: tuple[WindowPerformance, ...]
    looked_at: tuple[str, ...]
    failure: MergelineError | None
    early_files: int = 0  # files with rows of before the first window

    def text(self, *, as_json: bool) -> str:
        """Return it as text, or as JSON."""
        from mergeline.monitor.performance.wording import newest, statement

        if not as_json:
            return statement(self.records) + (f"\n\n- {self.early}" if self.early else "")
        told = newest(self.records)
        record = {
            "state": str(told.state) if told else None,
            "window": told.window.as_dict() if told else None,
            "reason": told.reason if told else None,
            "looked_at": list(self.looked_at),
            "early_files": self.early_files,
            "windows": [json.loads(each.to_json()) for each in self.records],
        }
        return json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)

    @property
    def early(self) -> str:
        """What is to be known of rows that are in no window; nothing where there is none."""
        if not self.early_files:
            return ""
        who = "1 file of the log has" if self.early_files == 1 else f"{self.early_files:,} files of the log have"
        return f"{who} rows of before the first window, which are in none: they came late, or see to the clocks"


def add_verbs(verb: Verb) -> None:
    """Declare the verbs."""
    text = "say what the models that run are worth by the labels that came (exit code 5: worse than at the release)"
    added = verb("performance", _performance, text)
    added.add_argument("--log", metavar="URL", help=LOG_HELP)
    now_option(added)
    text = "look again at all windows that end after this day (UTC), however old they are"
    added.add_argument("--since", type=dt.date.fromisoformat, metavar="DAY", help=text)
    text = "the branch whose history names the models (default: origin's default branch, and HEAD)"
    added.add_argument("--ref", metavar="BRANCH", help=text)
    text = f"where report.md and report.html go (default: {OUTPUT})"
    added.add_argument("--output", type=Path, metavar="FOLDER", help=text)
    added.add_argument("--json", action="store_true", help="all records as JSON")


def _performance(parsed: argparse.Namespace) -> str:
    run = performance(
        parsed.root,
        parsed.log,
        now=parsed.now or dt.datetime.now(dt.UTC),
        environment=os.environ,
        since=parsed.since,
        ref=parsed.ref,
        output=parsed.output,
    )
    text = run.text(as_json=parsed.json)
    if run.failure is not None:
        sys.stdout.write(f"{text}\n")
        raise run.failure
    return text


def now_option(added: argparse.ArgumentParser) -> None:
    """Declare the time that counts as now, for a log that is replayed."""
    text = "the time that counts as now, ISO 8601, UTC without a zone (default: now)"
    added.add_argument("--now", type=moment, metavar="TIME", help=text)


def moment(text: str) -> dt.datetime:
    """Return a time in UTC; a day is its beginning."""
    try:
        found = dt.datetime.fromisoformat(text)
        return found.astimezone(dt.UTC) if found.tzinfo else found.replace(tzinfo=dt.UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"expected a time as ISO 8601, found {text!r}") from None


def performance(
    root: Path,
    log: str | None,
    *,
    now: dt.datetime,
    environment: Mapping[str, str],
    since: dt.date | None = None,
    ref: str | None = None,
    output: Path | None = None,
) -> Run:
    """Look at every window that is over and not settled; write its record into the log store, and the reports.

    Raises `DataError` for a log without predictions and for files that are none of a log. What is wrong with a model is
    no error here but `Run.failure`: the records are there all the same.
    """
    from mergeline.commands.settings import load_params
    from mergeline.engine.engine import running
    from mergeline.logstore import open_log
    from mergeline.monitor.performance.record import key_of

    settings = load_params(root)
    store = open_log(log_url(log, environment), root)
    before = [each for each in _records(store) if each.window.end <= now]
    with running(settings.engine, environment) as engine:
        extents = log_extents(store, engine)
        tiles = _due(store, before, extents, now, settings, since)
        found = _looked_at(root, store, tiles, extents, settings, now, ref, engine) if tiles else ()
    held = {each.window: each for each in before}
    for each in found:
        if held.get(each.window) != each:
            store.put(key_of(each.window), each.to_json().encode())
    records = tuple(sorted((held | {each.window: each for each in found}).values(), key=lambda each: each.window))
    _write(root / (output or OUTPUT), records)
    return Run(records, tuple(each.name for each in tiles), _failure(records), _early_files(records, extents))


def _failure(records: Sequence[WindowPerformance]) -> MergelineError | None:
    from mergeline.monitor.performance.record import State
    from mergeline.monitor.performance.wording import newest, period

    told = newest(records)
    if told is not None and told.state is State.DEGRADED:
        return DegradationFound(f"performance: {period(told.window)}: {told.reason}")
    if records and records[-1].state is State.NO_TRAFFIC:
        return DataError(f"performance: {period(records[-1].window)}: {records[-1].reason}")
    return None


def _write(folder: Path, records: Sequence[WindowPerformance]) -> None:
    from mergeline.monitor.performance.page import html
    from mergeline.monitor.performance.wording import markdown

    files.write_text(folder / "report.md", markdown(records))
    files.write_text(folder / "report.html", html(records))


# ---- The log ---------------------------------------------------------------------------------------------------------


def _records(store: LogStore) -> list[WindowPerformance]:
    from mergeline.monitor.performance.record import FOLDER, WindowPerformance

    keys = [key for key in store.keys(FOLDER) if RECORD.fullmatch(key)]
    found = [WindowPerformance.from_json(store.read(key).decode("utf-8", "replace"), key) for key in keys]
    return sorted(found, key=lambda each: each.window)


def _due(
    store: LogStore,
    before: Sequence[WindowPerformance],
    extents: Mapping[str, Extent | None],
    now: dt.datetime,
    settings: Params,
    since: dt.date | None,
) -> tuple[Window, ...]:
    from mergeline.monitor.performance.due import due

    wanted = settings.performance
    first = now if before else _first(store, extents, now, wanted.behind_days)
    again = dt.datetime.combine(since, dt.time(), dt.UTC) if since else None
    return due(before, first, now, wanted.window_days, wanted.revisit, again)


def _first(store: LogStore, extents: Mapping[str, Extent | None], now: dt.datetime, behind_days: float) -> dt.datetime:
    """The day of the first row whose clocks go right; of the files, those that tell of another are read for it."""
    from mergeline.monitor.performance.rows import first_time
    from mergeline.monitor.windows import EPOCH, MICROSECOND, OLDEST_REQUEST_US, microseconds, midnight

    now_us = microseconds(now)
    found: int | None = None
    behind_us = behind_days * dt.timedelta(days=1) // MICROSECOND
    for key, each in sorted(extents.items(), key=lambda item: item[1].first if item[1] else 0):
        if each is None or (found is not None and each.first >= found):
            continue
        asked = PREDICTIONS.fullmatch(key)
        day = microseconds(moment(asked[1])) if asked else each.first
        is_right = each.first >= day - behind_us and day >= now_us - OLDEST_REQUEST_US
        first = each.first if is_right else first_time(key, store.read(key), now_us, behind_us)
        if first is not None:
            found = first if found is None else min(found, first)
    if found is None:
        raise DataError(f"{store.url}: no prediction has a time that can be; see `performance.behind_days`")
    return midnight(EPOCH + found * MICROSECOND)


def _early_files(records: Sequence[WindowPerformance], extents: Mapping[str, Extent | None]) -> int:
    from mergeline.monitor.windows import microseconds

    if not records:
        return 0
    start = microseconds(records[0].window.start)
    return sum(each is not None and each.first < start for each in extents.values())


def _looked_at(
    root: Path,
    store: LogStore,
    tiles: Sequence[Window],
    extents: Mapping[str, Extent | None],
    settings: Params,
    now: dt.datetime,
    ref: str | None,
    engine: Engine,
) -> tuple[WindowPerformance, ...]:
    from mergeline.monitor.performance.rows import by_tile, problems_of
    from mergeline.monitor.performance.window import Asked

    parts = read_parts(store, extents, tiles, settings.evaluate.slices, engine)
    labels = read_labels(store, parts, now, engine)
    problems = problems_of(parts)
    asked = Asked(
        settings=settings.performance,
        primary={model: _primary(settings, problem) for model, (problem, _) in problems.items()},
        slices=settings.evaluate.slices,
        slice_rows=settings.evaluate.min_slice_rows,
        now=now,
        problems=problems,
        holdouts=holdouts(root, ref, problems),
        labels=len(labels),
    )
    frames = by_tile(parts, len(tiles))
    mine = (labels[labels["request_id"].isin(rows["request_id"])] if len(rows) else labels.iloc[:0] for rows in frames)
    return tuple(engine.map(partial(_joined, asked), zip(tiles, frames, mine, strict=True)))


def _joined(asked: Asked, part: tuple[Window, pd.DataFrame, pd.DataFrame]) -> WindowPerformance:
    """The record of one window, from its predictions and the labels of their requests."""
    from mergeline.monitor.labels import join
    from mergeline.monitor.performance.window import window_of

    tile, rows, labels = part
    return window_of(tile, join(rows, labels) if len(rows) else None, asked)


def _primary(settings: Params, problem: Any) -> str:
    from mergeline.metrics import PRIMARY_METRIC

    same = settings.evaluate.primary and settings.data.task is problem.task
    return str(settings.evaluate.primary) if same else PRIMARY_METRIC[problem.task]
