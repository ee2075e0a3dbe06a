"""Logs as the server writes them and a model's folder, of rows drawn at random, for the tests of drift."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mergeline.logstore import FolderLog
from mergeline.monitor.profile import Profile, profile_of
from mergeline.release.store import model_of
from mergeline.schema import Feature, Kind, Signature, Task
from mergeline.serve.logschema import Entry, LogSchema

FEATURES = (
    Feature("amount", Kind.NUMBER),
    Feature("weight", Kind.NUMBER),
    Feature("member", Kind.BOOLEAN),
    Feature("since", Kind.DATETIME),
    Feature("channel", Kind.CATEGORY, ("app", "shop", "web")),
)
SIGNATURE = Signature(Task.BINARY, "bought", FEATURES, ("no", "yes"), 0.5)
IMPORTANCE = {"amount": 0.05, "member": 0.03, "channel": 0.02, "since": 0.01, "weight": 0.0001}
OTHER_MODEL = "f" * 64
START = dt.datetime(2024, 5, 6, tzinfo=dt.UTC)
WEEK = dt.timedelta(days=7)
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
REFERENCE_ROWS = 20_000

Matrix = NDArray[np.float64]


def us(moment: dt.datetime) -> int:
    return round(moment.timestamp() * 1e6)


def drawn(rows: int, seed: int) -> tuple[Matrix, Matrix]:
    """Rows [rows, features] as the server has them, and scores [rows, classes]; each draw comes from one population."""
    generator = np.random.default_rng(seed)
    amount = generator.normal(50, 10, rows)
    amount[generator.random(rows) < 0.05] = np.nan
    columns = (
        amount,
        generator.lognormal(0, 1, rows),
        generator.integers(0, 2, rows),
        19_000 + generator.integers(0, 400, rows),
        2 + generator.choice(3, rows, p=[0.5, 0.3, 0.2]),
    )
    score = generator.beta(2, 5, rows)
    return np.column_stack(columns).astype(np.float64), np.column_stack([1 - score, score])


def reference(seed: int = 1) -> Profile:
    matrix, scores = drawn(REFERENCE_ROWS, seed)
    return profile_of(matrix.astype(np.float32), FEATURES, scores[:, 1])


def model_folder(folder: Path, *, importance: bool = True, rows: bool = True) -> str:
    """Write what the check needs of a model; return its SHA-256."""
    folder.mkdir(parents=True)
    (folder / "profile.json").write_text(reference().to_json(), encoding="utf-8")
    (folder / "signature.json").write_text(SIGNATURE.to_json(), encoding="utf-8")
    held = [{"feature": name, "loss_increase": value} for name, value in IMPORTANCE.items()] if importance else []
    (folder / "training.json").write_text(json.dumps({"importance": held}), encoding="utf-8")
    if rows:
        matrix, _ = drawn(REFERENCE_ROWS, 1)
        texts = np.array(["", "", *FEATURES[4].categories])[matrix[:, 4].astype(int)]
        columns: dict[str, Any] = {
            "amount": pa.array(matrix[:, 0], from_pandas=True),
            "weight": matrix[:, 1],
            "member": matrix[:, 2].astype(bool),
            "since": pa.array((matrix[:, 3] * DAY_US).astype("datetime64[us]")),
            "channel": pa.array(texts.tolist()),
        }
        pq.write_table(pa.table(columns), folder / "reference.parquet")
    return model_of(folder).sha256


class Log:
    """A log in a folder, to which requests are added as one server's file an hour."""

    def __init__(self, folder: Path, model_sha256: str) -> None:
        self.store = FolderLog(str(folder), folder)
        self.folder = folder
        self.model = model_sha256
        self._files = 0

    def add(
        self,
        start: dt.datetime,
        rows: tuple[Matrix, Matrix],
        *,
        model: str | None = None,
        variant: str = "champion",
        rate: float = 1.0,
        length: dt.timedelta = WEEK,
        asked: dt.timedelta = dt.timedelta(minutes=1),
        ids: Sequence[str] | None = None,
        texts: dict[tuple[int, int], str] | None = None,
        files: int = 1,
    ) -> list[str]:
        """Spread rows evenly over the time from `start` on; a file's were asked for so long after its last event."""
        model = model or self.model
        values, scores = rows
        times = us(start) + (np.arange(len(values)) * (length / dt.timedelta(microseconds=1)) / len(values)).astype(int)
        names = list(ids or (f"{self._files}-{at}" for at in range(len(values))))
        schema = LogSchema(SIGNATURE, {model: SIGNATURE}, rate)
        keys = []
        for part in np.array_split(np.arange(len(values)), files):
            entry = Entry(
                request_ids=[names[at] for at in part],
                ts_us=int(times[part[-1]]) + asked // dt.timedelta(microseconds=1),
                values=values[part],
                scores=scores[part],
                latency_ms=0.3,
                variant=variant,
                model_sha256=model,
                texts=texts,
                event_times=times[part].tolist(),
            )
            ((group, piece),) = schema.pack([entry]).items()
            keys.append(self.put(schema.parquet(group, [piece]), group.hour))
        return keys

    def put(self, body: bytes, hour: int) -> str:
        """Put a file of the log beside the others."""
        self._files += 1
        day = dt.datetime.fromtimestamp(hour * 3600, dt.UTC)
        key = f"predictions/date={day:%Y-%m-%d}/hour={day:%H}/{self._files:04d}.parquet"
        self.store.put(key, body)
        return key
