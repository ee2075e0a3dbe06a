"""Live traffic: flights as requests, and what became of them as labels that come later."""

from __future__ import annotations

import datetime as dt
import http.client
import itertools
import json
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mergeline.errors import ServiceError

if TYPE_CHECKING:
    import pandas as pd

    from mergeline.params import Params

ROWS_A_REQUEST = 200
LABELS_A_REQUEST = 5_000
FLIGHTS_AT_ONCE = 4  # so that a canary at 5 % has the rows soon that its drift is measured by
LABEL_DELAY = dt.timedelta(days=3)
ORDER = 2013  # the seed of the order in which clients ask


@dataclass(frozen=True, slots=True)
class Sent:
    """What a replay came to: rows that were answered, labels that were taken, seconds."""

    rows: int
    labels: int
    seconds: float


def read_month(file: Path, settings: Params) -> pd.DataFrame:
    """Return the rows of one month of the sample, in the order of time."""
    import pandas as pd

    return pd.read_parquet(file).sort_values(str(settings.data.time)).reset_index(drop=True)


def replay(url: str, rows: pd.DataFrame, settings: Params) -> Sent:
    """Ask a server for all rows, then tell it what became of those that have a label, three days after each.

    Raises `ServiceError` where an answer is not 200.
    """
    began = time.monotonic()
    labelled = 0
    connection = _Connection(url)
    waiting: list[dict[str, Any]] = []
    for chunk, bodies in _requests(rows, settings):
        answers = connection.post("/predict", {"rows": bodies})["predictions"]
        waiting += _labels(chunk, [each["request_id"] for each in answers], settings)
        while len(waiting) >= LABELS_A_REQUEST:
            labelled += connection.post("/labels", {"labels": waiting[:LABELS_A_REQUEST]})["accepted"]
            del waiting[:LABELS_A_REQUEST]
    if waiting:
        labelled += connection.post("/labels", {"labels": waiting})["accepted"]
    return Sent(len(rows), labelled, time.monotonic() - began)


class Clients:
    """People who ask for a few flights again and again while something else happens; used as a context.

    They ask in no order of time. A canary is over in a minute; in the order of time it would see the first days of a
    month alone, and how far their scores lie from those of training says which days they are, not what the model is
    worth. `answered` and `failed` count their requests.
    """

    def __init__(self, url: str, rows: pd.DataFrame, settings: Params, a_second: float = 150.0) -> None:
        self.answered = 0
        self.failed = 0
        self._url = url
        mixed = rows.sample(frac=1.0, random_state=ORDER)
        self.requests = [bodies for _, bodies in _requests(mixed, settings, FLIGHTS_AT_ONCE)]
        self._pause_s = 1 / a_second
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> Clients:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._over.set()
        self._thread.join(10)

    def _ask(self) -> None:
        connection = _Connection(self._url)
        due = time.monotonic()
        for body in itertools.cycle(self.requests):
            if self._over.is_set():
                return
            try:
                connection.post("/predict", {"rows": body})
                self.answered += 1
            except ServiceError:
                self.failed += 1
                connection = _Connection(self._url)
            due = max(due + self._pause_s, time.monotonic() - 1)
            time.sleep(max(0.0, due - time.monotonic()))


def _requests(
    rows: pd.DataFrame, settings: Params, size: int = ROWS_A_REQUEST
) -> Iterator[tuple[pd.DataFrame, list[dict[str, Any]]]]:
    """Rows, some at a time, as a request holds them: a missing value is null."""
    data = settings.data
    features = json.loads(rows[list(data.features)].to_json(orient="records", date_format="iso"))
    ids = rows[str(data.id)].astype(str)
    bodies = [
        {"features": row, "entity_id": entity, "event_time": moment.isoformat()}
        for row, entity, moment in zip(features, ids, _times(rows[str(data.time)]), strict=True)
    ]
    for start in range(0, len(rows), size):
        yield rows.iloc[start : start + size], bodies[start : start + size]


def _labels(chunk: pd.DataFrame, request_ids: Sequence[str], settings: Params) -> Iterator[dict[str, Any]]:
    values = chunk[settings.data.target].tolist()
    times = _times(chunk[str(settings.data.time)])
    for name, value, moment in zip(request_ids, values, times, strict=True):
        if value is not None and value == value:
            yield {
                "request_id": name,
                "label": value,
                "label_ts": (moment + LABEL_DELAY).isoformat(),
                "source": "replay",
            }


def _times(column: pd.Series) -> list[dt.datetime]:
    return [each.to_pydatetime().replace(tzinfo=dt.UTC) for each in column]


class _Connection:
    """One client's connection to a server, kept open."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._url = url
        self._connection = http.client.HTTPConnection(str(parts.hostname), parts.port or 80, timeout=30)

    def post(self, path: str, body: Any) -> Any:
        """Return the answer to a body; raise `ServiceError` for any but a 200."""
        try:
            self._connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            answer = self._connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as err:
            self._connection.close()
            raise ServiceError(f"{self._url}{path}: {type(err).__name__}: {err}") from err
        if answer.status != 200:
            raise ServiceError(f"{self._url}{path}: expected 200, found {answer.status}: {text[:300]!r}")
        return json.loads(text)
