"""A prediction log as the server writes it, for a model of two features, and the records that checks leave in it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mergeline.intervals import Interval
from mergeline.logstore import LogStore, open_log
from mergeline.monitor.drift.record import DriftRecord, FeatureDrift, Outcome, Severity, Shape
from mergeline.monitor.performance.record import Figure, Maturity, ModelFigures, State, WindowPerformance, key_of
from mergeline.monitor.windows import Window
from mergeline.schema import Feature, Kind, Signature, Task
from mergeline.serve.labels import Label, labels_table
from mergeline.serve.logschema import Entry, LogSchema

SIGNATURE = Signature(
    Task.BINARY,
    "late",
    (Feature("distance", Kind.NUMBER), Feature("origin", Kind.CATEGORY, ("EWR", "JFK"))),
    ("false", "true"),
    0.5,
)
MODEL, OTHER = "a" * 64, "b" * 64
HOUR_US = 3_600_000_000


def microseconds(moment: dt.datetime) -> int:
    return int(moment.timestamp()) * 1_000_000


@dataclass(frozen=True, slots=True)
class PlantedLog:
    """A log in a folder."""

    store: LogStore

    @classmethod
    def at(cls, folder: Path) -> PlantedLog:
        return cls(open_log(str(folder), Path()))

    def predict(
        self,
        start: dt.datetime,
        rows: int,
        *,
        failed: int = 0,
        every_s: float = 60.0,
        model: str = MODEL,
        variant: str = "champion",
        name: str = "r",
        about: dt.datetime | None = None,
    ) -> list[str]:
        """Rows that come from `start` on, the last `failed` of them without a score; `origin` changes from row to row.

        about: the time of the event that all of them ask of.
        """
        schema = LogSchema(SIGNATURE, {MODEL: SIGNATURE, OTHER: SIGNATURE}, 1.0)
        ids = [f"{name}-{start:%Y%m%d%H}-{number}" for number in range(rows)]
        entries = [
            Entry(
                request_ids=[request],
                ts_us=microseconds(start) + int(number * every_s * 1e6),
                values=np.array([[100.0 + number % 50, 2.0 + number % 2]]),
                scores=np.array([[0.7, 0.3]]) if number < rows - failed else None,
                latency_ms=float(1 + number % 10),
                variant=variant,
                model_sha256=model,
                status=200 if number < rows - failed else 500,
                event_times=[microseconds(about)] if about else None,
            )
            for number, request in enumerate(ids)
        ]
        for group, piece in schema.pack(entries).items():
            moment = dt.datetime.fromtimestamp(group.hour * 3600, dt.UTC)
            key = f"predictions/{moment:date=%Y-%m-%d/hour=%H}/{name}-{variant}-{model[:4]}.parquet"
            self.store.put(key, schema.parquet(group, [piece]))
        return ids

    def label(self, ids: Sequence[str], at: dt.datetime, late: Sequence[bool]) -> None:
        """What turned out, known at a moment."""
        labels = [
            Label(request, str(value).lower(), microseconds(at)) for request, value in zip(ids, late, strict=True)
        ]
        self.store.put(f"labels/{at:date=%Y-%m-%d}/{ids[0]}-{at:%H}.parquet", labels_table(labels, microseconds(at)))

    def drift(
        self,
        window: Window,
        *drifted: str,
        weighted: float = 0.0,
        sustained: bool = False,
        model: str = MODEL,
        outcome: Outcome | None = None,
    ) -> None:
        """The record of a drift check."""
        shape = Shape((), (0.0, 1.0), (1.0,), (1.0,))
        features = tuple(
            FeatureDrift(
                name=each, kind="number", importance=0.5, matters=True, rows=1000, missing_then=0.0, missing_now=0.0,
                psi=0.3, js=0.2, kl=0.2, ks=0.2, ks_error=0.0001, wasserstein=1.0, wasserstein_error=0.001,
                chi_squared=None, degrees=None, effect=0.2, p=1e-9, p_corrected=1e-8, drifted=each in drifted,
                severity=Severity.MAJOR if each in drifted else Severity.NONE, windows_drifted=2, sustained=sustained,
                shape=shape,
            )
            for each in ("score", "distance", "origin")
        )  # fmt: skip
        record = DriftRecord(
            window=window,
            model_sha256=model,
            outcome=outcome or (Outcome.DRIFT if drifted else Outcome.NONE),
            severity=Severity.MAJOR if drifted else Severity.NONE,
            sustained=sustained,
            sentence="planted",
            rows=1000,
            reference_rows=10_000,
            unscored=0,
            importance_known=True,
            weighted=weighted,
            moved=0.1,
            features=features,
        )
        self.store.put(record.key, record.to_json().encode())

    def performance(
        self,
        window: Window,
        state: State,
        *,
        labelled: int = 900,
        estimate: float = 0.74,
        measured: float = 0.75,
        model: str = MODEL,
    ) -> None:
        """The record of a window's labels, of a model whose holdout is 0.74 to 0.76."""
        around = Interval(measured, measured - 0.01, measured + 0.01, "delong", 0.95)
        holdout = Interval(0.75, 0.74, 0.76, "delong", 0.95)
        figure = Figure("roc_auc", True, labelled, around if state.judges else None, holdout, None, 0.02, estimate)
        found = ModelFigures(model, 1000, 0, labelled, 0, state, "planted", (figure,), (), None)
        maturity = Maturity.AGE if state.judges else None
        record = WindowPerformance(window, "roc_auc", state, "planted", maturity, state.judges, (found,))
        self.store.put(key_of(window), record.to_json().encode())
