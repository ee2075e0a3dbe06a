"""The verb `drift`: whether the rows that a release answers still look like those that it was trained on."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mergeline import heap
from mergeline.commands.driftlog import Files, counted_of, facts_of, keys_of, opened, seen_by
from mergeline.commands.logplace import LOG_HELP, log_url
from mergeline.commands.serve import release_options, wanted_release
from mergeline.errors import ConfigurationError, DataError, DegradationFound, VerificationError

if TYPE_CHECKING:
    from mergeline.commands.verb import Verb
    from mergeline.logstore import LogStore
    from mergeline.monitor.drift.judge import Reference
    from mergeline.monitor.drift.logfile import Facts
    from mergeline.monitor.drift.plan import Plan
    from mergeline.monitor.drift.record import DriftRecord
    from mergeline.monitor.windows import Window
    from mergeline.params.drift import DriftParams
    from mergeline.params.engine import EngineParams

TIMELINE = 26  # windows that a page shows
TRAINING, REFERENCE = "training.json", "reference.parquet"
DAY = dt.timedelta(days=1)


def add_verbs(verb: Verb) -> None:
    """Declare the verbs."""
    text = "compare what the log holds of each window with the release's training rows (exit code 5: sustained drift)"
    added = verb("drift", _drift, text)
    release_options(added)
    added.add_argument(
        "--candidate", type=Path, metavar="FOLDER", help="the model in this folder, in place of a release"
    )
    text = "of --candidate and --model, which are looked at otherwise: keep the records, as those of a release"
    added.add_argument("--keep", action="store_true", help=text)
    added.add_argument("--folder", type=Path, help="where the release's bytes are kept (default: .mergeline/releases)")
    added.add_argument("--log", metavar="URL", help=LOG_HELP)
    text = "where the first window begins, UTC (default: the first row's day); later ones begin where the last ended"
    added.add_argument("--since", type=dt.date.fromisoformat, metavar="DAY", help=text)
    text = "look at no window that ends after this day begins (default: now)"
    added.add_argument("--until", type=dt.date.fromisoformat, metavar="DAY", help=text)
    added.add_argument("--markdown", type=Path, metavar="FILE", help="write the latest window as Markdown")
    added.add_argument("--html", type=Path, metavar="FILE", help="write a page with plots of the last windows")
    added.add_argument("--json", action="store_true", help="the records of the windows that were checked as JSON")


def _drift(parsed: argparse.Namespace) -> str:
    from mergeline.monitor.drift.record import Outcome

    heap.keep_freed()
    checked, history = check(parsed.root, parsed, os.environ, dt.datetime.now(dt.UTC))
    shown = checked or history[-1:]
    if not shown:
        return "no window has ended yet"
    _write(parsed, [*history, *checked][-TIMELINE:])
    latest = shown[-1]
    if parsed.json:
        text = json.dumps([json.loads(each.to_json()) for each in shown], indent=1, ensure_ascii=False)
    else:
        text = "\n".join(each.sentence for each in shown)
    if latest.sustained or latest.outcome is Outcome.NO_DATA:
        if parsed.json or len(shown) > 1:
            sys.stdout.write(f"{text}\n")
        raise DegradationFound(f"drift: {latest.sentence}")
    return text


def check(
    root: Path, parsed: argparse.Namespace, environment: Mapping[str, str], now: dt.datetime
) -> tuple[list[DriftRecord], list[DriftRecord]]:
    """Check the windows that ended since the last check; return their records, which the log keeps, and earlier ones.

    A look at a model that is no release's begins where it is told to and leaves nothing: the windows that it sees are
    still to be checked for the release. Raises DegradationFound where the log is empty: a server that logs nothing is
    not healthy.
    """
    from mergeline.engine.engine import running
    from mergeline.logstore import open_log
    from mergeline.monitor.drift.judge import judge
    from mergeline.monitor.drift.plan import work
    from mergeline.monitor.drift.seen import KEY, Seen

    params, engine_params = _settings(root)
    store = open_log(log_url(parsed.log, environment), root)
    looks = bool(parsed.candidate or parsed.model) and not parsed.keep
    history = [] if looks else _history(store)
    reference = _reference(root, parsed, params)
    files = Files(store)
    with running(engine_params, environment) as engine:
        keys, seen = list(keys_of(store)), seen_by(store, history)
        facts = facts_of(engine, files, opened(keys, seen, _first_day(history, parsed.since, params)))
        if not facts and not history:
            raise DegradationFound(
                f"drift: no traffic: {store.url} holds no predictions; `mergeline serve` writes them"
            )
        windows = _windows(
            store, history, parsed, partial(_first, parsed.since, facts, files, params, now), params, now
        )
        if not windows:
            return [], history
        new = seen.new(keys, facts) if seen else None
        plan = replace(_plan(reference, windows, history, params, now), new=new)
        counted = counted_of(engine, files, work(facts, plan), plan)
    checked: list[DriftRecord] = []
    for position, window in enumerate(windows):
        record = judge(window, position, counted, reference, _rules(params), [*history, *checked])
        checked.append(record)
        if not looks:
            store.put(record.key, record.to_json().encode())
    if not looks:
        known = (seen or Seen(windows[-1].end, {})).after(windows[-1].end, keys, facts)
        store.put(KEY, known.to_json().encode())
    return checked, history


def _settings(root: Path) -> tuple[DriftParams, EngineParams]:
    """The two sections that are asked here; a folder without settings has the defaults."""
    from mergeline.params.drift import DriftParams
    from mergeline.params.engine import EngineParams
    from mergeline.params.reading import PARAMS_FILE, load_sections

    if not (root / PARAMS_FILE).exists():
        return DriftParams(), EngineParams()
    found = load_sections(root / PARAMS_FILE, drift=DriftParams, engine=EngineParams)
    return found["drift"], found["engine"]


def _rules(params: DriftParams) -> Any:
    from mergeline.monitor.drift.judge import Rules

    return Rules(**{name: getattr(params, name) for name in Rules.__slots__})


def _history(store: LogStore) -> list[DriftRecord]:
    """The records of the last windows, the oldest first."""
    from mergeline.monitor.drift.record import FOLDER, DriftRecord

    keys = [key for key in store.keys(FOLDER) if key.endswith(".json")]
    records = [DriftRecord.from_json(store.read(key).decode("utf-8", "replace"), key) for key in keys[-TIMELINE:]]
    return sorted(records, key=lambda each: each.window)


# ---- Windows ---------------------------------------------------------------------------------------------------------


def _windows(
    store: LogStore,
    history: Sequence[DriftRecord],
    parsed: argparse.Namespace,
    first: Callable[[], dt.datetime],
    params: DriftParams,
    now: dt.datetime,
) -> tuple[Window, ...]:
    """The windows that have ended since the watermark: where the last record ends, or `first` where there is none."""
    from mergeline.monitor.windows import windows

    begun = _begun(store) if history and parsed.since else None
    if begun and parsed.since < begun:
        raise ConfigurationError(
            f"--since: windows were checked from {begun} on, found {parsed.since}; to begin anew, remove the records"
            f" under drift/ in {store.url}"
        )
    if history and parsed.since and parsed.since > history[-1].window.end.date():
        raise ConfigurationError(
            f"--since: windows were checked until {history[-1].window.end:%Y-%m-%d}; later ones begin there, found"
            f" {parsed.since}"
        )
    watermark = history[-1].window.end if history else first()
    end = now - dt.timedelta(hours=params.settle_hours)
    if parsed.until:
        end = min(end, _midnight(parsed.until))
    return windows(watermark, max(watermark, end), params.window_days)


def _begun(store: LogStore) -> dt.date | None:
    """The day on which the first window of all began, by the name of its record."""
    from mergeline.monitor.drift.record import FOLDER

    found = (re.match(rf"{FOLDER}(\d{{4}}-\d{{2}}-\d{{2}}).*\.json", key) for key in store.keys(FOLDER))
    return min((dt.date.fromisoformat(each[1]) for each in found if each), default=None)


def _first(
    since: dt.date | None, facts: Sequence[Facts], files: Files, params: DriftParams, now: dt.datetime
) -> dt.datetime:
    """Where the first window begins: on the day of the first row whose clocks go right."""
    from mergeline.monitor.drift.counter import earliest
    from mergeline.monitor.windows import EPOCH, MICROSECOND, microseconds, midnight

    if since:
        return _midnight(since)
    start = earliest(facts, files.source, microseconds(now), params.behind_days * DAY // MICROSECOND)
    if start is None:
        raise DataError("drift: the log's files do not tell their times; name the first day with --since")
    return midnight(EPOCH + start * MICROSECOND)


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), dt.UTC)


def _first_day(history: Sequence[DriftRecord], since: dt.date | None, params: DriftParams) -> dt.date | None:
    """The first day of requests that can hold rows of a window to come; None: any."""
    start = history[-1].window.end.date() if history else since
    return None if start is None else start - DAY * (params.ahead_days + 1)


def _plan(
    reference: Reference,
    windows: tuple[Window, ...],
    history: Sequence[DriftRecord],
    params: DriftParams,
    now: dt.datetime,
) -> Plan:
    from mergeline.monitor.drift.plan import Plan
    from mergeline.monitor.windows import MICROSECOND, microseconds

    until = next((each.log_until for each in reversed(history) if each.log_until), None)
    return Plan(
        reference.model_sha256,
        reference.features,
        windows,
        microseconds(now),
        params.ahead_days * DAY // MICROSECOND,
        None if until is None else microseconds(dt.datetime.fromisoformat(until)),
        params.classifier_rows,
        params.behind_days * DAY // MICROSECOND,
    )


# ---- The release -----------------------------------------------------------------------------------------------------


def _reference(root: Path, parsed: argparse.Namespace, params: DriftParams) -> Reference:
    """What the release was trained on, from verified bytes."""
    from mergeline.monitor.drift.judge import Reference
    from mergeline.monitor.drift.referencerows import reference_rows
    from mergeline.monitor.profile import PROFILE_FILE, Profile
    from mergeline.schema import SIGNATURE_FILE, Signature

    wanted = {PROFILE_FILE, SIGNATURE_FILE, TRAINING, *([REFERENCE] if params.classifier_rows else [])}
    sha256, content = _content(root, parsed, wanted)
    if PROFILE_FILE not in content:
        raise VerificationError(f"model {sha256}: holds no {PROFILE_FILE} to compare with; train and release it anew")
    profile = Profile.from_json(content[PROFILE_FILE].decode("utf-8", "replace"))
    signature = _parsed(SIGNATURE_FILE, content, Signature.from_json)
    training = _parsed(TRAINING, content, json.loads) if TRAINING in content else {}
    features = tuple(each for each in signature.features if each.name not in signature.personal)
    rows, reason = None, f"not available: the release holds no {REFERENCE}"
    if params.classifier_rows and REFERENCE in content:
        rows, reason = reference_rows(content[REFERENCE], features, params.classifier_rows), ""
    return Reference(sha256, features, profile, _importance(training), rows, reason)


def _content(root: Path, parsed: argparse.Namespace, wanted: set[str]) -> tuple[str, Mapping[str, bytes]]:
    """A model's SHA-256 and the bytes of its files, of the wanted ones at least."""
    from mergeline.release.fetch import fetch, local_folder
    from mergeline.release.store import model_of

    if parsed.candidate:
        folder = root / parsed.candidate
        if not folder.is_dir():
            raise ConfigurationError(f"--candidate: expected the folder of a model, found none at {folder}")
        model = model_of(folder)
        names = {each.name for each in model.files} & wanted
        return model.sha256, {name: (folder / name).read_bytes() for name in names}
    _, release = wanted_release(root, parsed)
    fetched = fetch(release, root, parsed.folder or local_folder(root, release.model_sha256))
    return fetched.model.sha256, fetched.content


def _importance(training: Any) -> dict[str, float] | None:
    """Each feature's share of what all features hold; those that hold nothing have none."""
    recorded = training.get("importance") if isinstance(training, dict) else None
    if not recorded:
        return None
    held = {str(each["feature"]): max(0.0, float(each["loss_increase"])) for each in recorded}
    whole = sum(held.values())
    return {name: each / whole for name, each in held.items()} if whole > 0 else None


def _parsed(name: str, content: Mapping[str, bytes], parse: Callable[[str], Any]) -> Any:
    try:
        return parse(content[name].decode())
    except (KeyError, ValueError, TypeError) as err:
        raise VerificationError(f"{name}: cannot be read ({err!r}); train the model anew") from err


# ---- What is written -------------------------------------------------------------------------------------------------


def _write(parsed: argparse.Namespace, records: Sequence[DriftRecord]) -> None:
    from mergeline.files import write_text

    if parsed.markdown:
        from mergeline.monitor.drift.markdown import markdown

        write_text(parsed.root / parsed.markdown, markdown(records[-1]))
    if parsed.html:
        from mergeline.monitor.drift.page import html

        write_text(parsed.root / parsed.html, html(records))
