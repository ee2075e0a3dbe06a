"""The next partition of the table: the month or day that is over, was asked about, and has its labels."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mergeline import git
from mergeline.commands.logrows import log_extents, read_labels, read_parts
from mergeline.errors import ConfigurationError, DataError
from mergeline.layout import VALIDATION
from mergeline.monitor.decide.evidence import Partition

if TYPE_CHECKING:
    import pandas as pd

    from mergeline.logstore import LogStore
    from mergeline.monitor.performance.rows import Extent, LogPart
    from mergeline.monitor.windows import Window
    from mergeline.params import Params

SHADOW = "shadow"


def next_due(
    store: LogStore, extents: Mapping[str, Extent | None], due: Iterable[tuple[str, Window]], features: Sequence[str]
) -> tuple[str, Window, list[LogPart]] | None:
    """Return the first partition that has predictions: a time in which nothing was asked is no partition."""
    for name, window in due:
        parts = read_parts(store, extents, [window], features)
        if any(asked(part) for part in parts):
            return name, window, parts
    return None


def asked(part: LogPart) -> bool:
    """Whether rows of a file are requests, and not those of a shadow alone."""
    return bool(set(part.rows["variant"].unique().to_pylist()) - {SHADOW})


def joined(store: LogStore, parts: Sequence[LogPart], features: Sequence[str], now: dt.datetime) -> pd.DataFrame:
    """Return each request once, with the label that holds for it; what a shadow answered is the same request again."""
    from mergeline.monitor.collect.collected import frame_of
    from mergeline.monitor.labels import join

    rows = frame_of(parts, features)
    rows = rows[rows["variant"] != SHADOW]
    labels = read_labels(store, parts, now)
    found = join(rows, labels[labels["request_id"].isin(rows["request_id"])]).rows
    return found.drop_duplicates("request_id", ignore_index=True)


def too_early(window: Window, coverage: float, settings: Params, now: dt.datetime) -> str | None:
    """Return until when its labels are waited for; None where they are in."""
    from mergeline.report.wording import share

    wanted = settings.performance
    if coverage >= wanted.mature_coverage or now >= _ready(window, settings):
        return None
    until = f"wait until {_ready(window, settings):%Y-%m-%d}, or for {share(wanted.mature_coverage)}"
    return f"{share(coverage)} of the answers have a label; {until}"


def _ready(window: Window, settings: Params) -> dt.datetime:
    return window.end + dt.timedelta(days=settings.performance.maturity_days)


# ---- What a decision knows of it -------------------------------------------------------------------------------------


def standing(root: Path, base: str | None, store: LogStore, settings: Params, at: dt.datetime) -> Partition:
    """Return whether `collect` would find a partition at a moment; nothing is known where it could not look.

    The table is the one that was validated on the base branch, else in this checkout: its bytes need not be here.
    """
    from mergeline.monitor.collect.collected import refuse
    from mergeline.monitor.collect.naming import following, period_of, upcoming

    try:
        refuse(settings, settings.data.columns)
        names = [name for name in _validated(root, base) if period_of(name).start < at]
        extents = log_extents(store)
    except (ConfigurationError, DataError):  # the verbs that read them say so
        return Partition()
    if not names:
        return Partition()
    found = next((each for each in following(names, at) if _has_requests(store, extents, each[1])), None)
    if found is None:
        name, window = upcoming(names, at)
        return Partition(False, name, f"the next partition, {name}, is over on {window.end:%Y-%m-%d}")
    name, window = found
    early = _early(store, extents, window, settings, at)
    return Partition(True, name) if early is None else Partition(False, name, f"the next partition, {name}: {early}")


def _validated(root: Path, base: str | None) -> tuple[str, ...]:
    """The names of the table's partitions, as `validate` counted their rows; none where it did not."""
    content = git.read(root, base, VALIDATION) if base else None
    if content is None and (root / VALIDATION).exists():
        content = (root / VALIDATION).read_bytes()
    try:
        return tuple(json.loads(content or b"{}")["rows"])
    except (ValueError, KeyError, TypeError):
        return ()


def _has_requests(store: LogStore, extents: Mapping[str, Extent | None], window: Window) -> bool:
    """Whether anything was asked about a time: no more files are read than it takes."""
    return any(asked(part) for key, each in extents.items() for part in read_parts(store, {key: each}, [window], ()))


def _early(
    store: LogStore, extents: Mapping[str, Extent | None], window: Window, settings: Params, at: dt.datetime
) -> str | None:
    """Until when labels are waited for; none is read where it is late enough without."""
    if at >= _ready(window, settings):
        return None
    parts = read_parts(store, extents, [window], ())
    labels = joined(store, parts, (), at)["label"]
    return too_early(window, int(labels.notna().sum()) / len(labels), settings, at)
