"""Which files of the log earlier checks knew, so that one that comes later is noticed, however old its rows are."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mergeline.monitor.drift.logfile import Facts

KEY = "drift-files.json"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Seen:
    """The files that were there when the window that ends at `until` was checked, with their rows.

    rows: None of a file that was not opened, since all that it holds was asked before the first window.
    """

    until: dt.datetime
    rows: Mapping[str, int | None]

    def to_json(self) -> str:
        """Return it as the text that is kept."""
        record = {"version": VERSION, "until": self.until.isoformat(), "files": dict(sorted(self.rows.items()))}
        return json.dumps(record, indent=0) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Seen | None:
        """Return what `to_json` wrote; what cannot be read is none, and is written anew."""
        try:
            raw = json.loads(text)
            rows = {str(key): None if rows is None else int(rows) for key, rows in raw["files"].items()}
            return cls(dt.datetime.fromisoformat(raw["until"]), rows) if raw["version"] == VERSION else None
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def after(self, until: dt.datetime, keys: Iterable[str], facts: Iterable[Facts]) -> Seen:
        """Return it for a later check, which found these files and opened some of them."""
        opened = {each.key: each.rows for each in facts}
        return Seen(until, {key: opened.get(key, self.rows.get(key)) for key in keys})

    def new_days(self, keys: Iterable[str]) -> set[str]:
        """Return the days (folders) in which a file lies that was not there."""
        return {_day(key) for key in keys if key not in self.rows}

    def new(self, keys: Iterable[str], facts: Iterable[Facts]) -> frozenset[str]:
        """Return the files that were not there; those that stand in the place of others of their day are none.

        They do where they hold no more rows than the files of the day that are gone, as files that were put together.
        """
        there = set(keys)
        gone: dict[str, float] = {}
        for key, rows in self.rows.items():
            if key not in there:
                gone[_day(key)] = gone.get(_day(key), 0) + (float("inf") if rows is None else rows)
        found = [each for each in facts if each.key not in self.rows]
        come: dict[str, int] = {}
        for each in found:
            come[_day(each.key)] = come.get(_day(each.key), 0) + each.rows
        return frozenset(each.key for each in found if come[_day(each.key)] > gone.get(_day(each.key), 0))


def _day(key: str) -> str:
    return "/".join(key.split("/")[:2])
