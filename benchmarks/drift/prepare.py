"""Write a prediction log of one week, the same rows as a plain file, the reference, and a model's folder.

Usage: prepare.py FOLDER ROWS
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.drift.population import CATEGORIES, NUMBERS, REFERENCE_ROWS, SCORE, drawn, texts
from mergeline.monitor.profile import profile_of
from mergeline.release.store import model_of
from mergeline.schema import FIRST_CATEGORY_CODE, Feature, Kind, Signature, Task
from mergeline.serve.logschema import STATISTICS

START = dt.datetime(2024, 5, 6, tzinfo=dt.UTC)
WEEK_US = 7 * 86_400_000_000
FILE_ROWS, GROUP_ROWS = 500_000, 100_000
FEATURES = (
    *(Feature(name, Kind.NUMBER) for name in NUMBERS),
    *(Feature(name, Kind.CATEGORY, tuple(texts(name))) for name in CATEGORIES),
)


def columns(rows: int, seed: int) -> dict[str, Any]:
    """The columns as Arrow has them."""
    found = {}
    for name, values in drawn(rows, seed).items():
        if name in CATEGORIES:
            found[name] = pa.DictionaryArray.from_arrays(pa.array(values), pa.array(texts(name)))
        else:
            found[name] = pa.array(values, mask=np.isnan(values))
    return found


def model(folder: Path) -> str:
    """Write a model's folder of the reference; return its SHA-256."""
    raw = drawn(REFERENCE_ROWS, 0)
    matrix = np.column_stack(
        [raw[each.name] + (FIRST_CATEGORY_CODE if each.kind is Kind.CATEGORY else 0) for each in FEATURES]
    ).astype(np.float32)
    folder.mkdir(parents=True)
    (folder / "profile.json").write_text(profile_of(matrix, FEATURES, raw[SCORE]).to_json(), encoding="utf-8")
    signature = Signature(Task.BINARY, "target", FEATURES, ("no", "yes"), 0.5)
    (folder / "signature.json").write_text(signature.to_json(), encoding="utf-8")
    held = [{"feature": each.name, "loss_increase": 0.01} for each in FEATURES]
    (folder / "training.json").write_text(json.dumps({"importance": held}), encoding="utf-8")
    reference = pa.table(columns(REFERENCE_ROWS, 0))
    pq.write_table(reference, folder / "reference.parquet", compression="zstd")
    pq.write_table(reference, folder.parent / "reference.parquet", compression="zstd")
    return model_of(folder).sha256


def log(folder: Path, rows: int, sha256: str) -> None:
    """Write the log in files of many row groups, as a week of them would be put together, and one plain file."""
    plain: pq.ParquetWriter | None = None
    for number, start in enumerate(range(0, rows, FILE_ROWS)):
        size = min(FILE_ROWS, rows - start)
        held = columns(size, 1 + number)
        table = pa.table(held)
        plain = plain or pq.ParquetWriter(folder / "current.parquet", table.schema, compression="zstd")
        plain.write_table(table, row_group_size=GROUP_ROWS)
        moments = (np.arange(start, start + size) * (WEEK_US / rows)).astype(np.int64) + round(START.timestamp() * 1e6)
        times = pa.array(moments, pa.timestamp("us", "UTC"))

        def same(text: str, size: int = size) -> Any:
            return pa.DictionaryArray.from_arrays(pa.array(np.zeros(size, np.int32)), pa.array([text]))

        logged = {
            "schema_version": pa.array(np.ones(size, np.int32)),
            "request_id": pa.array([f"{at:032x}" for at in range(start, start + size)]),
            "ts": times,
            "event_time": times,
            "entity_id": pa.nulls(size, pa.string()),
            "model_sha256": same(sha256),
            "variant": same("champion"),
            **{f"feature_{name}": column for name, column in held.items() if name != SCORE},
            SCORE: held[SCORE],
            "decision": same("no"),
            "latency_ms": pa.array(np.full(size, 0.3)),
            "status": pa.array(np.full(size, 200, np.int32)),
            "sampling_rate": pa.array(np.ones(size)),
        }
        day = START + dt.timedelta(microseconds=int(moments[0]) - round(START.timestamp() * 1e6))
        file = folder / "log" / f"predictions/date={day:%Y-%m-%d}/hour={day:%H}/{number:05d}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        coded = [name for name, column in logged.items() if pa.types.is_dictionary(column.type)]
        with pq.ParquetWriter(
            file,
            pa.table(logged).schema,
            compression="snappy",
            use_dictionary=coded,
            write_statistics=list(STATISTICS),
            store_schema=False,
        ) as writer:
            writer.write_table(pa.table(logged), row_group_size=GROUP_ROWS)
            writer.add_key_value_metadata({"mergeline.task": "binary", "mergeline.classes": '["no", "yes"]'})
    if plain:
        plain.close()


PARAMS = """\
data: {task: binary, target: target, numeric: [n0], holdout: {share: 0.1}}
drift: {classifier_rows: %d}
"""

if __name__ == "__main__":
    place = Path(sys.argv[1])
    log(place, int(sys.argv[2]), model(place / "model"))
    for name, classifier_rows in (("plain", 0), ("whole", 2000)):
        (place / name).mkdir()
        (place / name / "params.yaml").write_text(PARAMS % classifier_rows, encoding="utf-8")
