"""What `decide` rests on, read from the log, from Git and from GitHub; what came after the moment is not known."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mergeline.commands.partition import standing as partition
from mergeline.commands.retraining import standing as retraining
from mergeline.commands.served import base_commit
from mergeline.commands.served import standing as served
from mergeline.heartbeat import read_beat
from mergeline.layout import CANDIDATE, PRODUCTION
from mergeline.logstore import LogStore
from mergeline.monitor import weekly_log
from mergeline.monitor.decide import (
    Canary,
    Drift,
    Errors,
    Evidence,
    Heartbeat,
    Labels,
    Model,
    Performance,
    Request,
    Traffic,
)
from mergeline.monitor.decide.spread import spread
from mergeline.monitor.drift.record import FOLDER as DRIFT
from mergeline.monitor.drift.record import DriftRecord, Outcome
from mergeline.monitor.performance.record import FOLDER as PERFORMANCE
from mergeline.monitor.performance.record import State, WindowPerformance
from mergeline.monitor.profile import PROFILE_FILE
from mergeline.monitor.windows import Window
from mergeline.params import Params
from mergeline.release.fetch import fetch, local_folder, wanted_of
from mergeline.release.store import model_of

if TYPE_CHECKING:
    import pandas as pd

    from mergeline.monitor.profile import Profile

CHAMPION, SHADOW = "champion", "shadow"
FAILED = 500
CANARY = dt.timedelta(hours=2)
DAY = dt.timedelta(days=1)
INSTANT = dt.timedelta(microseconds=1)
NEVER = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
EVER = (dt.datetime.min.replace(tzinfo=dt.UTC), dt.datetime.max.replace(tzinfo=dt.UTC))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a decision is made: the repository, the log, its settings, and the moment that it is made for."""

    root: Path
    store: LogStore
    settings: Params
    at: dt.datetime
    remote: str
    environment: Mapping[str, str]


def gather(place: Place, request: str | None) -> Evidence:
    """Return all that is known at a moment. Raises as the readers do for a record or a file that is damaged."""
    since = place.at - dt.timedelta(hours=place.settings.decide.look_back_hours)
    rows = _asked(place, since)
    base = base_commit(place.root)
    model = served(place.root, base, place.settings, place.at)
    performances = _performances(place, model)
    beat = read_beat(place.store)
    return Evidence(
        at=place.at,
        since=since,
        traffic=Traffic(*_counts(rows)),
        errors=Errors(*_counts(_of_release(rows, model))),
        drift=_drift(place, model),
        performance=_performance(performances, place.at),
        labels=_labels(place, model, performances),
        model=model,
        partition=partition(place.root, base, place.store, place.settings, place.at),
        retraining=retraining(place.root, place.remote, place.at, base, place.environment),
        request=Request(request),
        canary=Canary(_two_models(rows, place.at)),
        heartbeat=Heartbeat(_known(beat.at, place.at) if beat else None),
    )


def _asked(place: Place, since: dt.datetime) -> pd.DataFrame:
    """The requests that came since a moment, whatever time they ask about; a shadow answers none."""
    keys = weekly_log.since(place.store.keys("predictions/"), (since - DAY).date())
    rows = weekly_log.predictions(keys, place.store.read, *EVER)
    return rows[(rows["ts"] >= since) & (rows["ts"] < place.at) & (rows["variant"] != SHADOW)]


def _keys_about(place: Place, start: dt.datetime) -> list[str]:
    """The files of predictions that may hold rows about a moment or a later one: who asks may ask ahead."""
    ahead = DAY * (place.settings.drift.ahead_days + 1)
    return weekly_log.since(place.store.keys("predictions/"), (start - ahead).date())


def _counts(rows: pd.DataFrame) -> tuple[int, int]:
    """How many requests there are, and how many of them failed."""
    return len(rows), int((rows["status"] >= FAILED).sum())


def _of_release(rows: pd.DataFrame, model: Model) -> pd.DataFrame:
    """What production's model answered as the champion since it came; where none is known, any champion."""
    mine = rows[rows["variant"] == CHAMPION]
    if model.sha256 is not None:
        mine = mine[mine["model_sha256"] == model.sha256]
    return mine if model.deployed_at is None else mine[mine["ts"] >= model.deployed_at]


def _two_models(rows: pd.DataFrame, at: dt.datetime) -> bool:
    """Whether the last hours' answers came from two models, one of them a challenger or not."""
    last = rows[rows["ts"] >= at - CANARY]
    return len(last[["variant", "model_sha256"]].drop_duplicates()) > 1


# ---- Records of other checks -----------------------------------------------------------------------------------------


def newest(store: LogStore, folder: str, at: dt.datetime) -> Iterable[tuple[str, str]]:
    """Yield the records of a folder of the log that were about time before a moment, the newest first."""
    for key in reversed(store.keys(folder)):
        if key.endswith(".json"):
            text = store.read(key).decode("utf-8", "replace")
            if _end_of(text) <= at:
                yield key, text


def _end_of(text: str) -> dt.datetime:
    """Where the window of a record ends; a record that cannot be read is looked at and then refused."""
    try:
        return dt.datetime.fromisoformat(json.loads(text)["window"]["end"])
    except (ValueError, KeyError, TypeError):
        return NEVER


def _is_stale(window: Window, at: dt.datetime, wait_days: float = 0) -> bool:
    """Whether two more windows should have been looked at since; `wait_days` is what one waits for its labels."""
    return at - window.end > 2 * (window.end - window.start) + DAY * (1 + wait_days)


def _is_of(model: Model, sha256: str) -> bool:
    """Whether a record is about the model that production serves; where that is not known, about whichever is."""
    return model.sha256 in (None, sha256)


def _drift(place: Place, model: Model) -> Drift:
    """The newest record, of production's model; that a window from before it came has none of its rows is right."""
    found = next(iter(newest(place.store, DRIFT, place.at)), None)
    if found is None:
        return Drift()
    record = DriftRecord.from_json(found[1], f"{place.store.url}: {found[0]}")
    before = model.deployed_at is not None and record.window.end <= model.deployed_at
    missed = record.outcome is Outcome.NO_DATA and before
    if missed or _is_stale(record.window, place.at) or not _is_of(model, record.model_sha256):
        return Drift()
    score = record.score
    return Drift(
        outcome=str(record.outcome),
        severity=str(record.severity),
        sustained=record.sustained,
        weighted=record.weighted,
        score=score.drifted if score else None,
        features=tuple(each.name for each in record.drifted if each is not score),
        found=found[0],
    )


def _performances(place: Place, model: Model) -> tuple[WindowPerformance, ...]:
    """The newest windows of production's model, as far back as the newest one that judges and is not too old to."""
    found = []
    for key, text in newest(place.store, PERFORMANCE, place.at):
        record = WindowPerformance.from_json(text, f"{place.store.url}: {key}")
        if _is_stale(record.window, place.at, place.settings.performance.maturity_days):
            break
        if record.serving is not None and not _is_of(model, record.serving.model_sha256):
            continue
        if not record.settled and not record.state.judges and _is_stale(record.window, place.at):
            continue
        found.append(record)
        if record.state.judges:
            break
    return tuple(found)


def _performance(records: tuple[WindowPerformance, ...], at: dt.datetime) -> Performance:
    """The newest window that judges; where none does, what the newest one that is over for long enough says of labels.

    The estimate is always that of the newest window, which waits for no label and so is older sooner.
    """
    if not records:
        return Performance()
    told = records[-1] if records[-1].state.judges else next((each for each in records if each.settled), records[0])
    return Performance(
        outcome=str(told.state),
        estimate=None if _is_stale(records[0].window, at) else _estimate(records[0]),
        mature=told.maturity is not None,
        coverage=told.coverage,
        found=told.window.name,
    )


def _estimate(record: WindowPerformance) -> str | None:
    """Whether what the scores let expect lies below the holdout's interval by more than the margin."""
    figure = record.serving.figure(record.primary) if record.serving else None
    if figure is None or figure.estimate is None or figure.holdout is None:
        return None
    better = figure.greater_is_better is not False
    short = figure.holdout.low - figure.estimate if better else figure.estimate - figure.holdout.high
    return str(State.DEGRADED if short > (figure.margin or 0.0) else State.HOLDS)


# ---- Labels ----------------------------------------------------------------------------------------------------------


def _labels(place: Place, model: Model, records: tuple[WindowPerformance, ...]) -> Labels:
    """Labelled predictions about times after the newest row the model knows; a corrected label counts once."""
    after = model.data_until
    keys = weekly_log.since(place.store.keys("labels/"), after.date() if after else None)
    rows = weekly_log.labels(keys, place.store.read)
    known = rows[(rows["label_ts"] <= place.at) & rows["label"].notna()]
    labelled = set(known["request_id"])
    new = _asked_about(place, labelled, after)
    theirs = known[known["request_id"].isin(new or _asked_about(place, labelled, None))]
    last = _came(theirs, place.at).max().to_pydatetime() if len(theirs) else _first_answer(place)
    return Labels(len(new), _shift(place, model, records, known), last)


def _came(labels: pd.DataFrame, at: dt.datetime) -> pd.Series:
    """When each label was handed in, for a label may tell of a day long past.

    One that was handed in after the moment is of a replay, which is told everything at once: there it came when it
    turned out.
    """
    found: pd.Series = labels["received_ts"].where(labels["received_ts"] <= at, labels["label_ts"])
    return found


def _asked_about(place: Place, labelled: set[str], after: dt.datetime | None) -> set[str]:
    """Those of the labelled requests that the log holds, and that ask about a time after a moment."""
    start = NEVER if after is None else after + INSTANT
    keys = weekly_log.since(place.store.keys("predictions/"), None) if after is None else _keys_about(place, start)
    found: set[str] = set()
    for key in keys if labelled else ():
        rows = weekly_log.predictions([key], place.store.read, start, place.at)
        found |= labelled.intersection(rows["request_id"])
    return found


def _first_answer(place: Place) -> dt.datetime | None:
    """When the first request came that was answered, from which on labels were to be waited for."""
    for key in weekly_log.since(place.store.keys("predictions/"), None):
        rows = weekly_log.predictions([key], place.store.read, *EVER)
        times = rows["ts"][(rows["status"] < FAILED) & (rows["ts"] <= place.at)]
        if len(times):
            first: dt.datetime = times.min().to_pydatetime()
            return first
    return None


def _shift(place: Place, model: Model, records: tuple[WindowPerformance, ...], labels: pd.DataFrame) -> bool | None:
    """Whether the labels of the newest window that judges are spread otherwise than those of training."""
    judged = records[-1] if records and records[-1].state.judges else None
    if judged is None or judged.serving is None:
        return None
    profile = _profile(place, model)
    if profile is None or profile.labels is None:
        return None
    from mergeline.monitor.labels import join

    start, end = judged.window.start, judged.window.end
    rows = weekly_log.predictions(_keys_about(place, start), place.store.read, start, end)
    own = (rows["variant"] == CHAMPION) & (rows["model_sha256"] == judged.serving.model_sha256)
    mine = rows[own & (rows["status"] < FAILED)]
    values = join(mine[["request_id", "variant", "ts"]], labels).rows["label"].dropna()
    found = spread(*_counted(profile, values))
    return None if found is None else found.moved


def _counted(profile: Profile, values: pd.Series) -> tuple[list[int], list[int]]:
    """Training's labels and the window's, counted by class, or of a regression by groups of its target."""
    from mergeline.monitor.groups import NumberGroups
    from mergeline.monitor.sketch import NumberSketch

    if isinstance(profile.labels, NumberSketch):
        groups = NumberGroups.of(profile.labels)
        return groups.reference(profile.labels).tolist(), groups.count(values.astype("float64").to_numpy()).tolist()
    assert profile.labels is not None  # noqa: S101 - for types: the caller has looked
    then, now = profile.labels.counts, values.value_counts()
    return list(then.values()), [int(now.get(name, 0)) for name in then]


def _profile(place: Place, model: Model) -> Profile | None:
    """The profile of the model that production serves: the checkout's own, else the release's, verified."""
    from mergeline.monitor.profile import Profile

    own, file = place.root / CANDIDATE, place.root / PRODUCTION
    if model.sha256 is None:
        return None
    if (own / PROFILE_FILE).exists() and model_of(own).sha256 == model.sha256:
        return Profile.from_json((own / PROFILE_FILE).read_text(encoding="utf-8"), str(own / PROFILE_FILE))
    wanted = wanted_of(file, None)
    if wanted.model_sha256 != model.sha256:
        return None
    fetched = fetch(wanted, place.root, local_folder(place.root, model.sha256))
    return Profile.from_json(fetched.content[PROFILE_FILE].decode("utf-8", "replace"))


def _known(moment: dt.datetime, at: dt.datetime) -> dt.datetime | None:
    return moment if moment <= at else None
