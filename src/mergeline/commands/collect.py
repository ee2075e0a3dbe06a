"""The verb `collect`: the next partition of the table, from the log and the labels that came for it."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mergeline import files
from mergeline.commands.logplace import LOG_HELP, log_url
from mergeline.commands.logrows import log_extents, read_parts
from mergeline.commands.partition import asked, joined, next_due, too_early
from mergeline.commands.performance import now_option
from mergeline.errors import DataError
from mergeline.layout import DATA

if TYPE_CHECKING:
    import pandas as pd

    from mergeline.commands.verb import Verb
    from mergeline.logstore import LogStore
    from mergeline.monitor.collect.collected import Collected, Standing
    from mergeline.monitor.performance.rows import Extent
    from mergeline.monitor.windows import Window
    from mergeline.params import Params

logger = logging.getLogger(__name__)

FOLDER = "collect/"  # in the log store: what became of each partition, and what was held up
TAKEN, LATE = ".taken.parquet", ".late.parquet"  # of a partition, there: its requests, and what came late for others


@dataclass(frozen=True, slots=True)
class Record:
    """What became of the next partition.

    `written`: whether it is new in `data/`; else `reason` says why not. `answers` of the log in its time, how many of
    them have a label, how many rows the partition has, and how many rows each reason holds up (a row can have several).
    `by_request`: rows of the partition whose time is that of the request, which named none of its event. `late`: how
    many rows of earlier partitions' time came, or got their label, after those were collected, by reason.
    """

    partition: str | None
    written: bool
    reason: str
    answers: int = 0
    labelled: int = 0
    rows: int = 0
    held_up: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    by_request: int = 0
    warnings: tuple[str, ...] = ()
    late: Mapping[str, int] = field(default_factory=dict)

    def text(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False)


@dataclass(frozen=True, slots=True)
class Records:
    """What became of all partitions that were due: those that were written, and `reason`, why no further one was."""

    partitions: tuple[Record, ...]
    reason: str

    def text(self) -> str:
        """Return it as JSON."""
        return json.dumps({"written": bool(self.partitions), **asdict(self)}, indent=2, ensure_ascii=False)


def add_verbs(verb: Verb) -> None:
    """Declare the verbs."""
    added = verb("collect", _collect, "make the next partition of data/ from the log and the labels that came for it")
    added.add_argument("--all", action="store_true", help="make all that are due, one after the other")
    added.add_argument("--log", metavar="URL", help=LOG_HELP)
    now_option(added)
    text = "the day that freshness is judged against (default: that of --now)"
    added.add_argument("--as-of", type=dt.date.fromisoformat, metavar="DAY", help=text)


def _collect(parsed: argparse.Namespace) -> str:
    now = parsed.now or dt.datetime.now(dt.UTC)
    make = collect_all if parsed.all else collect
    return make(parsed.root, parsed.log, now=now, as_of=parsed.as_of, environment=os.environ).text()


def collect_all(
    root: Path, log: str | None, *, now: dt.datetime, as_of: dt.date | None, environment: Mapping[str, str]
) -> Records:
    """Collect partition after partition until none is due.

    One that is refused ends it: the first with its error; a later one is told as the reason, and those before it stand.
    """
    made: list[Record] = []
    while True:
        try:
            record = collect(root, log, now=now, as_of=as_of, environment=environment)
        except DataError as err:
            if not made:
                raise
            logger.warning("%s", err)
            return Records(tuple(made), str(err))
        if not record.written:
            return Records(tuple(made), record.reason)
        made.append(record)


def collect(
    root: Path, log: str | None, *, now: dt.datetime, as_of: dt.date | None, environment: Mapping[str, str]
) -> Record:
    """Write the next partition into `data/`, note it in `data.dvc` and `data.as_of`; put what is held up into the log.

    Nothing is written where no partition is over and mature. Raises `DataError` where its labels are too few or its
    good rows are none that `validate` would let through, and `ConfigurationError` for a table that no log can feed.
    """
    from mergeline import pipeline, table
    from mergeline.commands.settings import load_params
    from mergeline.logstore import open_log
    from mergeline.monitor.collect.collected import collected, refuse
    from mergeline.monitor.collect.naming import following, period_of

    settings = load_params(root)
    names = [path.stem for path in table.partitions(root / DATA)]
    for name in names:
        period_of(name)
    schema = _schema(root / DATA / f"{max(names)}.parquet")
    refuse(settings, schema.names)
    store = open_log(log_url(log, environment), root)
    pipeline.track_data(root)  # what an interrupted run left
    extents = log_extents(store)
    found = next_due(store, extents, following(names, now), settings.data.features)
    if found is None:
        return Record(None, False, f"no prediction of a time after {max(names)} that is over")
    name, window, parts = found
    rows = joined(store, parts, settings.data.features, now)
    answers, labelled = len(rows), int(rows["label"].notna().sum())
    early = too_early(window, labelled / answers, settings, now)
    if early:
        return Record(name, False, f"{name}: {early}", answers, labelled)
    _refuse_few(name, answers, labelled, settings)
    made = collected(rows, settings, _standing(root, schema, settings))
    warnings = tuple(_warnings(rows, settings))
    late = _late(store, extents, window, settings, now)
    record = Record(
        *(name, True, "", answers, labelled, made.rows, int(made.held_up.num_rows)),
        *(made.counts, made.by_request, warnings, _counts(late)),
    )
    _keep(store, record, made)
    _refuse_bad(name, store.url, made, settings)
    _keep_beside(store, name, made, late)
    _write(root, name, made, settings, as_of or now.date())
    return record


# ---- The log ---------------------------------------------------------------------------------------------------------


def _refuse_few(name: str, answers: int, labelled: int, settings: Params) -> None:
    least = settings.collect.coverage
    if labelled < least * answers:
        raise DataError(
            f"{name}: {labelled:,} of {answers:,} answers have a label, `collect.coverage` asks for {least:.0%}; labels"
            " that are missing are seldom missing at random, and nothing is collected: bring them by"
            " `mergeline labels add FILE`"
        )


def _warnings(rows: pd.DataFrame, settings: Params) -> Iterator[str]:
    import numpy as np

    from mergeline.monitor.performance.selection import bias_of

    here = rows["label"].notna().to_numpy()
    score = rows["score"].to_numpy(dtype=np.float64, na_value=np.nan)
    good = np.isfinite(score)
    bias = bias_of(score[here & good], score[~here & good], settings.performance.bias)
    if bias is not None and bias.found:
        yield f"labels are missing not at random: scores of those without one lie apart ({bias.distance:.2f})"
    least = float(rows["sampling_rate"].min())
    if least < 1:
        yield f"the log is a sample: as few as {least:.0%} of the requests are in it"


def _keep(store: LogStore, record: Record, made: Collected) -> None:
    """Put the record, and the rows that are held up with their reasons, into the log store."""
    store.put(f"{FOLDER}{record.partition}.parquet", _parquet(made.held_up))
    store.put(f"{FOLDER}{record.partition}.json", (record.text() + "\n").encode())


def _keep_beside(store: LogStore, name: str, made: Collected, late: pd.DataFrame | None) -> None:
    """Put the requests that the partition is of into the log store, and the rows that came too late for others."""
    import pyarrow as pa

    from mergeline.monitor.collect.collected import as_logged

    store.put(f"{FOLDER}{name}{TAKEN}", _parquet(pa.table({"request_id": pa.array(made.taken, pa.string())})))
    if late is not None and len(late):
        store.put(f"{FOLDER}{name}{LATE}", _parquet(as_logged(late)))


def _late(
    store: LogStore, extents: Mapping[str, Extent | None], window: Window, settings: Params, now: dt.datetime
) -> pd.DataFrame | None:
    """The rows of partitions collected before, as far back as windows are looked at again; each is told once."""
    import pandas as pd

    from mergeline.monitor.collect.collected import REASON
    from mergeline.monitor.collect.late import late
    from mergeline.monitor.collect.naming import period_of

    wanted, keys = settings.performance, store.keys(FOLDER)
    back = window.start - dt.timedelta(days=wanted.window_days * wanted.revisit)
    found = []
    for name in sorted(key[len(FOLDER) : -len(TAKEN)] for key in keys if key.endswith(TAKEN)):
        before = period_of(name)
        if not back < before.end <= window.start:
            continue
        parts = read_parts(store, extents, [before], settings.data.features)
        if any(asked(part) for part in parts):
            held: dict[str, str] = dict(_columns(store, f"{name}.parquet", "request_id", REASON))
            taken = [request for (request,) in _columns(store, f"{name}{TAKEN}", "request_id")]
            rows = joined(store, parts, settings.data.features, now)
            found.append(late(rows, name, settings.data.target, taken, held))
    if not found:
        return None
    names = [
        key[len(FOLDER) :]
        for key in keys
        if key.endswith(LATE) and period_of(key[len(FOLDER) : -len(LATE)]).end <= window.start
    ]
    told = {request for each in names for (request,) in _columns(store, each, "request_id")}
    whole: pd.DataFrame = pd.concat(found, ignore_index=True)
    return whole[~whole["request_id"].isin(told)]


def _counts(late: pd.DataFrame | None) -> dict[str, int]:
    from mergeline.monitor.collect.collected import REASON

    return {} if late is None else {str(why): int(rows) for why, rows in late[REASON].value_counts().items()}


def _columns(store: LogStore, name: str, *columns: str) -> Iterator[tuple[Any, ...]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(store.read(FOLDER + name)), columns=list(columns))
    except (pa.ArrowException, OSError) as err:
        raise DataError(f"{FOLDER}{name}: not a whole Parquet file ({str(err).splitlines()[0]}); restore it") from err
    return zip(*(table[each].to_pylist() for each in columns), strict=True)


def _parquet(table: Any) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    body: bytes = sink.getvalue().to_pybytes()
    return body


# ---- The table -------------------------------------------------------------------------------------------------------


def _schema(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_schema(path)
    except (pa.ArrowException, OSError) as err:
        raise DataError(f"{path}: not a whole Parquet file ({str(err).splitlines()[0]})") from err


def _standing(root: Path, schema: Any, settings: Params) -> Standing:
    from mergeline import table
    from mergeline.models.encoder import category_text
    from mergeline.monitor.collect.collected import Standing

    data = settings.data
    ids, classes = set[str](), set[str]()
    for path in table.partitions(root / DATA):
        rows = table.read_partition(path, [data.target, *([data.id] if data.id else [])])
        classes |= set(category_text(rows[data.target]).dropna().unique())
        ids |= set(category_text(rows[data.id]).dropna()) if data.id else set()
    return Standing(schema, frozenset(ids), frozenset(classes))


def _refuse_bad(name: str, url: str, made: Collected, settings: Params) -> None:
    from mergeline.monitor.collect.rules import refusals

    rows = made.table.to_pandas(ignore_metadata=True, date_as_object=False)
    problems = list(refusals(rows, settings))
    if made.rows and not problems:
        return
    most = max(made.counts.items(), key=lambda each: each[1], default=None)
    held = f"; {most[1]:,} rows are held up by {most[0]!r}" if most else ""
    raise DataError(
        f"{name}: {problems[0] if problems else 'no row is good'}{held}; nothing is collected, see"
        f" {FOLDER}{name}.parquet in {url}"
    )


def _write(root: Path, name: str, made: Collected, settings: Params, as_of: dt.date) -> None:
    """Note the day, then write the partition whole or not at all, then note its hash: any start again ends the same."""
    from mergeline import params, pipeline
    from mergeline.params_file import edited

    if settings.data.as_of not in (None, as_of):
        path = root / params.PARAMS_FILE
        files.write_text(path, edited(path.read_text(encoding="utf-8"), {("data", "as_of"): as_of}))
    files.write_bytes(root / DATA / f"{name}.parquet", _parquet(made.table))
    pipeline.track_data(root)
