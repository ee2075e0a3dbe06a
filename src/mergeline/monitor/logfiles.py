"""The files of the prediction log and of the labels, from their bytes to rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mergeline.errors import DataError
from mergeline.monitor.experiments.arm import Problem
from mergeline.schema import Task

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

SCHEMA_VERSION = 1
SCORES = "scores"  # of several classes only


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The rows of one file of predictions (`pyarrow.Table`), and what its models answer."""

    key: str
    rows: Any
    problem: Problem


def predictions_part(key: str, body: bytes) -> Part:
    """Return what an experiment needs of a file of predictions; no feature is read.

    Raises DataError for bytes that are no such file, or one that a later version wrote.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    times = pa.timestamp("us", tz="UTC")
    needed = {
        "schema_version": pa.int32(),
        "request_id": pa.string(),
        "ts": times,
        "entity_id": pa.string(),
        "model_sha256": pa.string(),
        "variant": pa.string(),
        "score": pa.float64(),
        "decision": pa.string(),
        "status": pa.int32(),
        "sampling_rate": pa.float64(),
    }
    rows, facts = _read(key, body, needed, {SCORES: pa.list_(pa.float64())})
    versions = set(pc.unique(rows["schema_version"]).to_pylist())
    if versions - {SCHEMA_VERSION}:
        raise DataError(
            f"{key}: expected schema_version {SCHEMA_VERSION}, found {max(versions)}; use a newer mergeline"
        )
    try:
        problem = Problem(Task(facts["mergeline.task"]), tuple(json.loads(facts["mergeline.classes"])))
    except (KeyError, ValueError, TypeError) as err:
        raise DataError(f"{key}: expected mergeline.task and mergeline.classes in its metadata, found none") from err
    if problem.task is Task.MULTICLASS and SCORES not in rows.column_names:
        raise DataError(f"{key}: expected the column scores of a model of several classes; see what wrote the log")
    return Part(key, rows.drop_columns("schema_version"), problem)


def labels_part(key: str, body: bytes) -> Any:
    """Return the rows of a file of labels as a `pyarrow.Table`; raise DataError for bytes that are no such file."""
    return _read(key, body, _label_types(), {})[0]


def no_labels() -> Any:
    """A `pyarrow.Table` of labels without a row."""
    import pyarrow as pa

    return pa.schema(list(_label_types().items())).empty_table()


def _label_types() -> dict[str, pa.DataType]:
    import pyarrow as pa

    times = pa.timestamp("us", tz="UTC")
    return {"request_id": pa.string(), "label": pa.string(), "label_ts": times, "received_ts": times}


def frame(parts: Sequence[Any]) -> pd.DataFrame:
    """The rows of several `pyarrow.Table` as one frame."""
    import pyarrow as pa

    whole: pd.DataFrame = pa.concat_tables(parts, promote_options="default").to_pandas()
    return whole


def one_problem(parts: Sequence[Part]) -> Problem:
    """What the models of all parts answer; raises DataError where that is not one thing."""
    first = parts[0]
    for part in parts:
        if part.problem != first.problem:
            raise DataError(
                f"{part.key}: expected {_said(first.problem)} as in {first.key}, found {_said(part.problem)}; choose"
                " days or models that answer the same question"
            )
    return first.problem


def _said(problem: Problem) -> str:
    return f"{problem.task} of {', '.join(problem.classes)}" if problem.classes else str(problem.task)


def _read(
    key: str, body: bytes, needed: Mapping[str, pa.DataType], more: Mapping[str, pa.DataType]
) -> tuple[pa.Table, dict[str, str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(pa.BufferReader(body)) as file:
            held = set(file.schema_arrow.names)
            absent = [name for name in needed if name not in held]
            if absent:
                raise DataError(f"{key}: expected the column {absent[0]}, found none; see what wrote the file")
            types = {**needed, **{name: kind for name, kind in more.items() if name in held}}
            rows = file.read(columns=list(types)).select(list(types)).cast(pa.schema(list(types.items())))
            facts = file.metadata.metadata or {}
    except (pa.ArrowException, OSError) as err:
        raise DataError(f"{key}: not a whole file of the log ({str(err).splitlines()[0]}); restore it") from err
    return rows, {name.decode(): value.decode(errors="replace") for name, value in facts.items()}
