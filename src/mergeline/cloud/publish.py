"""`mergeline cloud publish`: what the prediction log and its heartbeat say, as the figures that the alarms wait for."""

from __future__ import annotations

import datetime as dt
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mergeline.cloud.asking import Aws, answering
from mergeline.errors import DataError
from mergeline.heartbeat import read_beat

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mergeline.logstore import LogStore

ENVIRONMENT = "production"
OLDEST_H = 14 * 24  # that CloudWatch takes
SERVER_FAILED = 500  # the least status that is the server's own failure


@dataclass(frozen=True, slots=True)
class Place:
    """Where figures go and what they are of: the name and the region of the cloud, the address of the log."""

    name: str
    region: str
    log: str


@dataclass(frozen=True, slots=True)
class Figures:
    """What one look gives: `latency_p99_ms` and `error_share` of the hours' rows, None where there are none.

    `beat` is when the scheduled check last ended well, UTC, None where that was before these hours.
    """

    rows: int
    latency_p99_ms: float | None
    error_share: float | None
    beat: dt.datetime | None

    def data(self) -> list[dict[str, Any]]:
        """Return them as CloudWatch takes them; a figure that is not there is not sent, no beat is 0.

        A beat counts at its own time, so that one of yesterday says nothing of today, however often it is sent.
        """
        figures = {
            "LatencyP99": (self.latency_p99_ms, "Milliseconds", {}),
            "ErrorShare": (self.error_share, "None", {}),
            "DriftRuns": (0, "Count", {}) if self.beat is None else (1, "Count", {"Timestamp": self.beat}),
        }
        where = [{"Name": "Environment", "Value": ENVIRONMENT}]
        return [
            {"MetricName": name, "Value": float(value), "Unit": unit, "Dimensions": where, **at}
            for name, (value, unit, at) in figures.items()
            if value is not None
        ]


def figures(store: LogStore, now: dt.datetime, hours: int) -> Figures:
    """Return what the log says of the last whole hours and the one under way; nothing is sent."""
    beat = _beat(store, now, hours)
    columns = [_columns(key, store.read(key)) for key in _keys(store, now, hours)]
    latencies = [value for each in columns for value in each[0]]
    statuses = [value for each in columns for value in each[1]]
    if not statuses:
        return Figures(0, None, None, beat)
    failed = sum(status >= SERVER_FAILED for status in statuses)
    return Figures(len(statuses), _p99(latencies), failed / len(statuses), beat)


def _beat(store: LogStore, now: dt.datetime, hours: int) -> dt.datetime | None:
    """When the check last ended well, if that was in the hours that are published."""
    beat = read_beat(store)
    return beat.at if beat is not None and 0 <= beat.age_hours(now) <= min(hours, OLDEST_H) else None


def _keys(store: LogStore, now: dt.datetime, hours: int) -> Iterable[str]:
    for back in range(hours + 1):
        hour = now.astimezone(dt.UTC) - dt.timedelta(hours=back)
        yield from store.keys(f"predictions/date={hour:%Y-%m-%d}/hour={hour:%H}/")


def _columns(key: str, body: bytes) -> tuple[list[float], list[int]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        read = pq.read_table(io.BytesIO(body), columns=["latency_ms", "status"]).drop_null()
        return read["latency_ms"].to_pylist(), read["status"].to_pylist()
    except (pa.ArrowException, KeyError) as err:
        raise DataError(f"{key}: no file of the prediction log ({err}); see what wrote it") from err


def _p99(values: list[float]) -> float:
    """The least value that 99 of 100 do not pass.

    >>> _p99([float(each) for each in range(1, 101)])
    99.0
    """
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * 99 // 100) - 1)]


def publish(name: str, aws: Aws, found: Figures) -> str:
    """Send the figures to the cloud of this name, and say which."""
    data = found.data()
    with answering("cloudwatch"):
        aws.client("cloudwatch").put_metric_data(Namespace=f"Mergeline/{name}", MetricData=data)
    said = ", ".join(f"{each['MetricName']} {each['Value']:g}" for each in data)
    said += f" of {found.beat:%Y-%m-%d %H:%M} UTC" if found.beat else ""
    return f"published of {found.rows} predictions: {said}"
