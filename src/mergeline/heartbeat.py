"""The last run of a schedule that ended well, kept beside the log, so that a schedule that has died is noticed."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass

from mergeline.errors import DataError
from mergeline.logstore import LogStore

KEY = "heartbeats/drift.json"
VERSION = 1
CLOCKS_APART_S = 300  # clocks may differ by five minutes


@dataclass(frozen=True, slots=True)
class Beat:
    """When the last run ended well, UTC, and how old it may get before it counts as missed."""

    at: dt.datetime
    allowed_hours: float

    def age_hours(self, now: dt.datetime) -> float:
        """How old it is; one that lies ahead by no more than clocks differ is new, any other has an age below 0."""
        age_s = (now - self.at).total_seconds()
        return (0.0 if -CLOCKS_APART_S <= age_s < 0 else age_s) / 3600

    def is_overdue(self, now: dt.datetime) -> bool:
        """Whether the schedule should have run again since; a beat of a time to come tells nothing of when it ran."""
        return not 0 <= self.age_hours(now) <= self.allowed_hours


def read_beat(store: LogStore) -> Beat | None:
    """Return the last one, None where there never was one; raise `DataError` for a record that is none."""
    if KEY not in store.keys(KEY):
        return None
    try:
        raw = json.loads(store.read(KEY))
        return Beat(_moment(raw["last_success"]), float(raw["allowed_hours"]))
    except (ValueError, KeyError, TypeError, OverflowError) as err:
        raise DataError(f"{store.url}: {KEY}: no heartbeat ({err}); `mergeline heartbeat --beat` writes one") from err


def _moment(text: str) -> dt.datetime:
    """A time that says its zone: of any other is not known how long ago it was."""
    found = dt.datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"last_success: expected a time with its zone, found {text!r}")
    return found


def write_beat(store: LogStore, beat: Beat) -> None:
    """Keep a beat in place of the one before."""
    record = {
        "schema_version": VERSION,
        "last_success": beat.at.astimezone(dt.UTC).isoformat(),
        "allowed_hours": beat.allowed_hours,
    }
    store.put(KEY, (json.dumps(record, indent=2) + "\n").encode())


def exposition(beat: Beat | None) -> str:
    """Return it as Prometheus reads it, for the text file collector or a push gateway; no beat yet is the year 1970."""
    at = 0.0 if beat is None else beat.at.timestamp()
    allowed = 0.0 if beat is None else beat.allowed_hours * 3600
    return (
        "# HELP mergeline_check_last_success_timestamp_seconds When the scheduled check last ended well.\n"
        "# TYPE mergeline_check_last_success_timestamp_seconds gauge\n"
        f"mergeline_check_last_success_timestamp_seconds {at:.0f}\n"
        "# HELP mergeline_check_allowed_seconds How old that may get.\n"
        "# TYPE mergeline_check_allowed_seconds gauge\n"
        f"mergeline_check_allowed_seconds {allowed:.0f}\n"
    )
