"""A small log of predictions, in the server's own format, with labels that can be made worse than the scores say."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mergeline.intervals import Floats
from mergeline.logstore import LogStore
from mergeline.metrics import binary_metrics
from mergeline.release.model import Model, ModelFile
from mergeline.release.receipt import Receipt, format_receipt
from mergeline.schema import Feature, Kind, Signature, Task
from mergeline.serve.labels import Label, labels_table
from mergeline.serve.logschema import Entry, LogSchema

FIRST = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
CHANNELS = ("app", "desk", "web")
AMOUNT, CHANNEL = Feature("amount", Kind.NUMBER), Feature("channel", Kind.CATEGORY, CHANNELS)
SIGNATURE = Signature(Task.BINARY, "bought", (AMOUNT, CHANNEL), ("no", "yes"), 0.4)
PARAMS = """\
data:
  task: binary
  target: bought
  positive: "yes"
  time: placed
  id: order
  as_of: "2024-05-01"
  numeric: [amount]
  categorical: [channel]
  holdout: {days: 5}
evaluate: {slices: [channel], min_slice_rows: 100}
performance: {maturity_days: 5}
"""


def model(name: str) -> Model:
    """A model that has no bytes here; the log and the receipt know it by its SHA-256."""
    return Model.of([ModelFile("model.onnx", hashlib.sha256(name.encode()).hexdigest(), 1)])


def us(moment: dt.datetime) -> int:
    return round(moment.timestamp() * 1_000_000)


@dataclass(frozen=True, slots=True)
class Asked:
    """Requests as they were logged, and what turned out; `blurred` of the labels know nothing of the score."""

    rows: pd.DataFrame
    values: Floats
    score: Floats


def asked(
    start: dt.datetime, days: float, rows: int, seed: int, blurred: float = 0.0, name: str = "r", entities: int = 0
) -> Asked:
    """So many requests in a stretch of time. Labels are drawn from the scores: the scores are calibrated."""
    generator = np.random.default_rng(seed)
    amount = generator.normal(size=rows)
    channel = generator.integers(0, 3, rows)
    score = 1 / (1 + np.exp(1.2 - 1.5 * amount - 0.6 * (channel - 1)))
    told = generator.random(rows) < np.where(generator.random(rows) < blurred, score.mean(), score)
    times = us(start) + np.sort(generator.integers(0, int(days * 86_400_000_000), rows))
    frame = pd.DataFrame(
        {
            "request_id": [f"{name}-{seed}-{number}" for number in range(rows)],
            "entity_id": [f"e{number % entities}" if entities else f"{name}{seed}o{number}" for number in range(rows)],
            "time_us": times,
            "label": np.where(told, "yes", "no"),
        }
    )
    return Asked(frame, np.column_stack([amount, channel + 2.0]), score)


def put_predictions(
    store: LogStore,
    given: Asked,
    model_sha256: str,
    *,
    variant: str = "champion",
    signature: Signature = SIGNATURE,
    by_event: bool = True,
    came: dt.datetime | None = None,
    again: bool = False,
    rate: float = 1.0,
) -> None:
    """Log the requests, a file a day; `came`: when all of them were asked, where not at their own time."""
    schema = LogSchema(signature, {model_sha256: signature}, rate)
    times = given.rows["time_us"].to_numpy()
    day = times // 86_400_000_000
    for number in np.unique(day):
        chosen = np.flatnonzero(day == number)
        entry = Entry(
            given.rows["request_id"].iloc[chosen].tolist(),
            us(came) if came else int(times[chosen[0]]),
            given.values[chosen][:, : len(signature.features)],
            np.column_stack([1 - given.score[chosen], given.score[chosen]]),
            0.5,
            variant,
            model_sha256,
            event_times=times[chosen].tolist() if by_event else None,
            entity_ids=given.rows["entity_id"].iloc[chosen].tolist(),
        )
        for group, piece in schema.pack([entry]).items():
            at = dt.datetime.fromtimestamp(group.hour * 3600, dt.UTC)
            name = f"{variant}-{given.rows['request_id'].iloc[0]}-{number}{'-again' * again}"
            store.put(f"predictions/date={at:%Y-%m-%d}/hour={at:%H}/{name}.parquet", schema.parquet(group, [piece]))


def put_labels(
    store: LogStore, given: Asked, rows: Sequence[int] | None = None, *, after_days: float = 3.0, name: str = "labels"
) -> None:
    """Put labels of the requests, or of some, on the shelf; known so many days after the event."""
    some = given.rows if rows is None else given.rows.iloc[list(rows)]
    lag = round(after_days * 86_400_000_000)
    labels = [
        Label(*found)
        for found in zip(some["request_id"], some["label"], (some["time_us"] + lag).astype(int), strict=True)
    ]
    store.put(
        f"labels/date=2026-01-01/{name}.parquet", labels_table(labels, us(dt.datetime(2026, 1, 1, tzinfo=dt.UTC)))
    )


def evaluation(seed: int = 99, rows: int = 6000) -> dict[str, Any]:
    """What `evaluate` would record of the model on rows like those that are asked."""
    holdout = asked(FIRST, 1, rows, seed)
    label = (holdout.rows["label"] == "yes").to_numpy().astype(int)
    slices = []
    for code, value in enumerate(CHANNELS):
        inside = holdout.values[:, 1] == code + 2
        auc = binary_metrics(label[inside], holdout.score[inside], 0.4)[0]
        slices.append({"column": "channel", "value": value, "rows": int(inside.sum()), "metric": auc.as_dict()})
    metrics = [each.as_dict() for each in binary_metrics(label, holdout.score, 0.4)]
    return {"primary": "roc_auc", "rows": rows, "metrics": metrics, "slices": slices}


def released(root: Path, made: Model, record: dict[str, Any], *, tampered: bool = False) -> None:
    """Commit a model's receipt and evaluation, as `record` does."""
    content = json.dumps(record, indent=2)
    sha256 = hashlib.sha256(content.encode()).hexdigest()
    receipt = Receipt(made, "0" * 64, {}, None, sha256, None)
    for path, text in (
        ("models/manifest.json", format_receipt(receipt)),
        ("reports/evaluation.json", content + " " * tampered),
    ):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    git(root, "add", "--all")
    git(root, "commit", "-q", "-m", f"record {made.sha256[:8]}")


def repository(root: Path, params: str = PARAMS) -> Path:
    """A Git repository with params.yaml alone."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "params.yaml").write_text(params)
    git(root, "init", "-q", "-b", "main")
    git(root, "config", "user.name", "tests")
    git(root, "config", "user.email", "tests@example.org")
    git(root, "add", "params.yaml")
    git(root, "commit", "-q", "-m", "start")
    return root


def git(root: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(root), *arguments], check=True, capture_output=True)
