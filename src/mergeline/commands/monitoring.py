"""The verbs that read and feed the prediction log: `experiment` and `labels add`."""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mergeline.commands.logplace import LOG_HELP, log_url
from mergeline.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from mergeline.commands.verb import Verb
    from mergeline.logstore import LogStore
    from mergeline.monitor.experiments.arm import Problem
    from mergeline.monitor.experiments.sides import Models
    from mergeline.monitor.logfiles import Part
    from mergeline.schema import Signature
    from mergeline.serve.labels import Label

LONGEST_ID = 64
COLUMNS = ("request_id", "label", "label_ts", "source")
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MICROSECOND = dt.timedelta(microseconds=1)
LABELS_A_FILE = 1_000_000


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a person asks of an experiment; what is None is found in the log and in params.yaml.

    `since` and `until`: the first and the last day (UTC) of predictions. `champion` and `challenger`: the first digits
    of the models' SHA-256. The rest as in `monitor.experiments.experiment.Plan`.
    """

    since: dt.date | None = None
    until: dt.date | None = None
    champion: str | None = None
    challenger: str | None = None
    share: float | None = None
    metric: str | None = None
    margin: float = 0.01
    confidence: float = 0.95


def add_verbs(verb: Verb) -> None:
    """Declare the verbs."""
    text = "say whether a challenger and the champion differ, by the log and its labels"
    _experiment_options(verb("experiment", _experiment, text))
    _labels_options(verb("labels", _labels, "feed the log with what turned out"))


def _experiment(parsed: argparse.Namespace) -> str:
    return experiment(parsed.root, parsed.log, wishes_of(parsed), as_json=parsed.json, environment=os.environ)


def _labels(parsed: argparse.Namespace) -> str:
    return add_labels(parsed.root, parsed.file, parsed.log, environment=os.environ, now=dt.datetime.now(dt.UTC))


def wishes_of(parsed: argparse.Namespace) -> Wishes:
    """Return what the command line asks of an experiment."""
    return Wishes(**{name: getattr(parsed, name) for name in Wishes.__slots__})


def _experiment_options(added: argparse.ArgumentParser) -> None:
    """Declare the options of `experiment`."""
    added.add_argument("--log", metavar="URL", help=LOG_HELP)
    for day, text in (("--since", "first day of predictions, UTC"), ("--until", "last day of predictions, UTC")):
        added.add_argument(day, type=dt.date.fromisoformat, metavar="DAY", help=text)
    for model in ("--champion", "--challenger"):
        added.add_argument(model, metavar="SHA256", help="its first digits (default: the newest in the log)")
    text = "the challenger's share that was set; without it the sample ratio is not checked"
    added.add_argument("--share", type=float, help=text)
    added.add_argument("--metric", help="default: evaluate.primary of params.yaml")
    added.add_argument("--margin", type=float, default=0.01, help="the least difference that matters (default: 0.01)")
    added.add_argument("--confidence", type=float, default=0.95, help="of the intervals (default: 0.95)")
    added.add_argument("--json", action="store_true", help="the whole record as JSON")


def _labels_options(added: argparse.ArgumentParser) -> None:
    """Declare the actions of `labels`."""
    text = "put the labels of a CSV or Parquet file into the log"
    below = added.add_subparsers(required=True, metavar="ACTION").add_parser("add", help=text, description=text)
    below.add_argument("file", type=Path, help="with request_id, label and, if known, label_ts and source")
    below.add_argument("--log", metavar="URL", help=LOG_HELP)


# ---- experiment ------------------------------------------------------------------------------------------------------


def experiment(root: Path, log: str | None, wishes: Wishes, *, as_json: bool, environment: Mapping[str, str]) -> str:
    """Return what the log says of a challenger and the champion, as text or as JSON.

    Raises DataError where there are no predictions of two models. No labels yet is a finding and no error.
    """
    from mergeline.logstore import open_log
    from mergeline.monitor import logfiles
    from mergeline.monitor.experiments.experiment import Plan
    from mergeline.monitor.experiments.experiment import experiment as compared
    from mergeline.monitor.experiments.statement import sentence, statement
    from mergeline.monitor.labels import join

    store = open_log(log_url(log, environment), root)
    parts = [logfiles.predictions_part(key, store.read(key)) for key in _keys(store, "predictions", wishes)]
    if not parts:
        raise DataError(
            f"{store.url}: expected predictions{_period(wishes)}, found none; `mergeline serve` writes them"
        )
    predictions = logfiles.frame([part.rows for part in parts])
    models = _models(predictions, wishes, store.url)
    problem = _problem(parts, models)
    labels = [logfiles.labels_part(key, store.read(key)) for key in _keys(store, "labels", wishes)]
    joined = join(predictions, logfiles.frame([logfiles.no_labels(), *labels]))
    metric = wishes.metric or _primary(root, problem)
    found = compared(joined, problem, models, Plan(metric, wishes.margin, wishes.confidence, wishes.share))
    if as_json:
        return json.dumps({**found.as_dict(), "sentence": sentence(found)}, indent=2, allow_nan=False)
    return statement(found)


def _keys(store: LogStore, kind: str, wishes: Wishes) -> Iterator[str]:
    """The files of the days asked for; a label may come long after its prediction, and never before it."""
    for key in store.keys(f"{kind}/"):
        found = re.match(rf"{kind}/date=(\d{{4}}-\d{{2}}-\d{{2}})/.*\.parquet$", key)
        if found is None:
            continue
        try:
            day = dt.date.fromisoformat(found[1])
        except ValueError:  # no day, and so no file of a server's
            continue
        late = wishes.until is not None and kind == "predictions" and day > wishes.until
        if not late and (wishes.since is None or day >= wishes.since):
            yield key


def _period(wishes: Wishes) -> str:
    since = f" since {wishes.since}" if wishes.since else ""
    return f"{since} until {wishes.until}" if wishes.until else since


def _models(predictions: pd.DataFrame, wishes: Wishes, url: str) -> Models:
    """The challenger or shadow that answered last, and the champion that answered last beside it."""
    from mergeline.monitor.experiments.sides import Kind, Models

    others = predictions[predictions["variant"].isin([kind.variant for kind in Kind])]
    challenger = _last(others, wishes.challenger)
    if challenger is None:
        known = ", ".join(sorted(predictions["variant"].unique()))
        raise DataError(
            f"{url}: expected predictions of a challenger or a shadow{_starting(wishes.challenger)}"
            f"{_period(wishes)}, found those of {known}; `mergeline serve --challenger ...` runs one"
        )
    kind = Kind.SHADOW if challenger["variant"] == Kind.SHADOW.variant else Kind.AB
    mine = others[(others["model_sha256"] == challenger["model_sha256"]) & (others["variant"] == kind.variant)]
    beside = predictions[(predictions["variant"] == "champion") & (predictions["ts"] <= mine["ts"].max())]
    champion = _last(beside, wishes.champion)
    if champion is None:
        raise DataError(
            f"{url}: expected predictions of a champion{_starting(wishes.champion)}{_period(wishes)} beside"
            f" {challenger['model_sha256'][:12]}, found none; name other models or other days"
        )
    return Models(champion["model_sha256"], challenger["model_sha256"], kind)


def _last(rows: pd.DataFrame, start: str | None) -> pd.Series | None:
    if start is not None:
        rows = rows[rows["model_sha256"].str.startswith(start)]
    if rows.empty:
        return None
    last: pd.Series = rows.iloc[int(rows["ts"].dt.tz_convert(None).to_numpy().argmax())]
    return last


def _starting(start: str | None) -> str:
    return f" whose SHA-256 starts with {start}" if start else ""


def _problem(parts: list[Part], models: Models) -> Problem:
    import pyarrow.compute as pc

    from mergeline.monitor.logfiles import one_problem

    both = {models.champion, models.challenger}
    return one_problem([part for part in parts if both & set(pc.unique(part.rows["model_sha256"]).to_pylist())])


def _primary(root: Path, problem: Problem) -> str:
    """The metric of params.yaml where it is one of the logged task, else the task's own."""
    from mergeline import params
    from mergeline.commands.settings import load_params
    from mergeline.metrics import PRIMARY_METRIC

    if (root / params.PARAMS_FILE).exists():
        settings = load_params(root)
        if settings.evaluate.primary and settings.data.task is problem.task:
            return settings.evaluate.primary
    return PRIMARY_METRIC[problem.task]


# ---- labels add ------------------------------------------------------------------------------------------------------


def add_labels(root: Path, file: Path, log: str | None, *, environment: Mapping[str, str], now: dt.datetime) -> str:
    """Put the labels of a CSV or Parquet file on the shelf, all or, where one of them is bad, none.

    Columns: request_id, label, and where they are known label_ts (ISO 8601, default `now`, UTC without a zone) and
    source. The same file again changes nothing. Raises DataError for the first bad row, with its number and column.
    """
    from mergeline.logstore import open_log
    from mergeline.serve.labels import put_labels

    store = open_log(log_url(log, environment), root)
    signature = _signature(store)
    labels = [_label(file, number, row, signature, now) for number, row in enumerate(_rows(file), start=1)]
    if not labels:
        raise DataError(f"{file}: expected labels, found no row; nothing is written")
    for start in range(0, len(labels), LABELS_A_FILE):
        put_labels(store, labels[start : start + LABELS_A_FILE])
    requests = len({label.request_id for label in labels})
    return f"{len(labels):,} labels of {requests:,} requests added to {store.url}"


def _signature(store: LogStore) -> Signature:
    """As much of the newest model's signature as a file of predictions tells."""
    from mergeline.monitor.logfiles import predictions_part
    from mergeline.schema import Signature

    keys = list(_keys(store, "predictions", Wishes()))
    if not keys:
        raise DataError(f"{store.url}: expected predictions that labels can belong to, found none; see --log")
    problem = predictions_part(keys[-1], store.read(keys[-1])).problem
    return Signature(problem.task, "", (), problem.classes, None)


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    """The rows by column; empty cells are None."""
    try:
        rows = _of_parquet(file) if file.suffix == ".parquet" else _of_csv(file)
        for row in rows:
            yield {name: None if value == "" else value for name, value in row.items()}
    except OSError as err:
        raise DataError(f"{file}: {err.strerror or err}; expected a CSV or Parquet file of labels") from err


def _of_csv(file: Path) -> Iterator[dict[str, Any]]:
    with file.open(encoding="utf-8-sig", newline="") as opened:
        reader = csv.DictReader(opened, strict=True)
        try:
            _check_columns(file, reader.fieldnames or [])
            for number, row in enumerate(reader, start=1):
                if None in row or None in row.values():
                    found = "more" if None in row else "fewer"
                    raise DataError(
                        f"{file}: row {number}: expected {len(reader.fieldnames or [])} cells, found {found}"
                    )
                yield row
        except (csv.Error, UnicodeDecodeError) as err:
            raise DataError(f"{file}: expected CSV as UTF-8, found something else ({err})") from err


def _of_parquet(file: Path) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as opened:
            _check_columns(file, opened.schema_arrow.names)
            for batch in opened.iter_batches():
                yield from batch.to_pylist()
    except pa.ArrowException as err:
        raise DataError(f"{file}: not a whole Parquet file ({str(err).splitlines()[0]})") from err


def _check_columns(file: Path, names: Sequence[str]) -> None:
    absent = [name for name in COLUMNS[:2] if name not in names]
    unknown = [name for name in names if name not in COLUMNS]
    twice = [name for name in COLUMNS if list(names).count(name) > 1]
    if absent or unknown or twice:
        found = f"no {absent[0]}" if absent else f"{unknown[0]!r} as well" if unknown else f"{twice[0]} twice"
        raise DataError(
            f"{file}: expected the columns {', '.join(COLUMNS)} (the last two may be left out), found {found}"
        )


def _label(file: Path, number: int, row: Mapping[str, Any], signature: Signature, now: dt.datetime) -> Label:
    from mergeline.serve.labels import Label, checked_label

    where = f"{file}: row {number}"
    request_id, source = row["request_id"], row.get("source")
    if not isinstance(request_id, str) or len(request_id) > LONGEST_ID:
        raise DataError(f"{where}: request_id: expected the id of an answer, found {request_id!r}; nothing is written")
    if not isinstance(source, str | None):
        raise DataError(f"{where}: source: expected text, found {source!r}; nothing is written")
    try:
        text = checked_label(_raw(row["label"], signature), signature)
        moment = _moment(row.get("label_ts"), now)
    except DataError as err:
        raise DataError(f"{where}: {err}; nothing is written") from err
    return Label(request_id, text, (moment - EPOCH) // MICROSECOND, source)


def _raw(value: Any, signature: Signature) -> Any:
    """A label as JSON would give it: CSV has text alone, and other tools write True and 1.0 for true and 1."""
    if not isinstance(value, str) or value in signature.classes:
        return value
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    try:
        return float(value)
    except ValueError:
        return value


def _moment(value: Any, now: dt.datetime) -> dt.datetime:
    if value is None:
        return now
    try:
        found = value if isinstance(value, dt.datetime) else dt.datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise DataError(f"label_ts: expected a time as ISO 8601, found {value!r}") from None
    try:
        return found.astimezone(dt.UTC) if found.tzinfo else found.replace(tzinfo=dt.UTC)
    except OverflowError:
        raise DataError(f"label_ts: expected a time within the years 1 to 9999 in UTC, found {value!r}") from None
