"""How good the candidate is on rows that it has never seen: metrics with intervals, slices, calibration, confusion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mergeline import metrics
from mergeline.errors import DataError
from mergeline.holdout import labelled, split
from mergeline.metrics import Metric, PrecisionRecallPoint, ReliabilityBin, RocPoint
from mergeline.models.encoder import category_text, encode
from mergeline.models.importance import Importance, permutation_importance
from mergeline.schema import Signature, Task
from mergeline.target import encode_target

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from mergeline.models.scorer import Scorer
    from mergeline.params import Params

MISSING_SLICE = "(missing)"


@dataclass(frozen=True, slots=True)
class SliceMetric:
    """The primary metric on the holdout rows with one value in one column; None where it is not defined on them."""

    column: str
    value: str
    rows: int
    metric: Metric | None


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts of holdout rows: `counts[i][j]` have the class `classes[i]` and were called `classes[j]`."""

    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All that `evaluate` measured; `predictions` has a row for each holdout row, in the order of time."""

    primary: str
    rows: int
    first_time: str | None
    last_time: str | None
    metrics: tuple[Metric, ...]
    slices: tuple[SliceMetric, ...]
    calibration: tuple[ReliabilityBin, ...]
    confusion: Confusion | None
    roc: tuple[RocPoint, ...]
    precision_recall: tuple[PrecisionRecallPoint, ...]
    importance: tuple[Importance, ...]
    predictions: pd.DataFrame

    def metric(self, name: str) -> Metric | None:
        """Return the metric of this name, if it is defined on the holdout."""
        return next((each for each in self.metrics if each.name == name), None)

    def headline(self) -> dict[str, float]:
        """Return what `dvc metrics` shows: each metric by its name."""
        return {each.name: round(each.interval.estimate, 6) for each in self.metrics}

    def as_dict(self) -> dict[str, Any]:
        """Return the record as JSON's types, without the curves and the predictions (they are tables of their own)."""
        return {
            "primary": self.primary,
            "rows": self.rows,
            "first_time": self.first_time,
            "last_time": self.last_time,
            "metrics": [each.as_dict() for each in self.metrics],
            "slices": [_slice_dict(each) for each in self.slices],
            "confusion": asdict(self.confusion) if self.confusion else None,
            "importance": [asdict(each) for each in self.importance],
        }


def evaluate(
    table: pd.DataFrame, scorer: Scorer, params: Params, progress: Callable[[str], None] = lambda step: None
) -> Evaluation:
    """Score the holdout rows of `table` and measure the scores against their targets.

    Raises `DataError` where the holdout is empty or holds a class that the model does not know.
    """
    signature = scorer.signature
    rows = labelled(table, params.data)
    holdout = rows.iloc[split(rows, params.data).holdout].reset_index(drop=True)
    target = encode_target(holdout, params.data, signature.classes)
    progress(f"scoring {len(holdout)} rows")
    matrix = encode(holdout, signature.features)
    scores = scorer.score_matrix(matrix)
    if not np.isfinite(scores).all():
        raise DataError(f"evaluate: {int(np.sum(~np.isfinite(scores)))} scores are not finite; the model is of no use")
    progress("measuring")
    confidence = params.evaluate.confidence
    binary, classes = signature.task is Task.BINARY, signature.classes
    positive = scores[:, 1] if binary else scores[:, 0]
    return Evaluation(
        primary=params.primary,
        rows=len(holdout),
        first_time=_time(holdout, params, 0),
        last_time=_time(holdout, params, -1),
        metrics=task_metrics(signature, target, scores, confidence),
        slices=_slices(holdout, target, scores, signature, params),
        calibration=_calibration(signature.task, target, positive, confidence),
        confusion=_confusion(target, decide(signature, scores), classes) if classes else None,
        roc=metrics.roc_curve(target, positive) if binary else (),
        precision_recall=metrics.precision_recall_curve(target, positive) if binary else (),
        importance=permutation_importance(scorer, matrix, target, params.train.seed),
        predictions=_predictions(holdout, target, scores, signature, params),
    )


def task_metrics(
    signature: Signature, target: NDArray[np.float64], scores: NDArray[np.float64], confidence: float
) -> tuple[Metric, ...]:
    """Return the metrics of the signature's task for targets (rows,) and scores (rows, classes)."""
    if signature.task is Task.REGRESSION:
        return metrics.regression_metrics(target, scores[:, 0], confidence=confidence)
    if signature.task is Task.MULTICLASS:
        return metrics.multiclass_metrics(target, scores, signature.classes, confidence=confidence)
    threshold = 0.5 if signature.threshold is None else signature.threshold
    return metrics.binary_metrics(target, scores[:, 1], threshold, confidence=confidence)


def decide(signature: Signature, scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the class that each row is called, as its number: by the threshold, or the likeliest."""
    if signature.task is Task.BINARY:
        threshold = 0.5 if signature.threshold is None else signature.threshold
        return (scores[:, 1] >= threshold).astype(np.int64)
    return np.asarray(scores.argmax(axis=1), dtype=np.int64)


def _slices(
    rows: pd.DataFrame,
    target: NDArray[np.float64],
    scores: NDArray[np.float64],
    signature: Signature,
    params: Params,
) -> tuple[SliceMetric, ...]:
    """The primary metric of every slice with rows enough, the columns in the order of `evaluate.slices`."""
    found = []
    for column in params.evaluate.slices:
        values = category_text(rows[column]).fillna(MISSING_SLICE).to_numpy()
        for value in sorted(set(values)):
            inside = values == value
            count = int(inside.sum())
            if count < params.evaluate.min_slice_rows:
                continue
            measured = task_metrics(signature, target[inside], scores[inside], params.evaluate.confidence)
            metric = next((each for each in measured if each.name == params.primary), None)
            found.append(SliceMetric(column, str(value), count, metric))
    return tuple(found)


def _calibration(
    task: Task, target: NDArray[np.float64], scores: NDArray[np.float64], confidence: float
) -> tuple[ReliabilityBin, ...]:
    if task is Task.BINARY:
        return metrics.calibration_curve(target, scores, confidence=confidence)
    if task is Task.REGRESSION:
        return metrics.predicted_against_observed(target, scores, confidence=confidence)
    return ()


def _confusion(target: NDArray[np.float64], called: NDArray[np.int64], classes: tuple[str, ...]) -> Confusion:
    counts = metrics.confusion_matrix(target, called, len(classes))
    return Confusion(classes, tuple(tuple(int(count) for count in row) for row in counts))


def _predictions(
    rows: pd.DataFrame,
    target: NDArray[np.float64],
    scores: NDArray[np.float64],
    signature: Signature,
    params: Params,
) -> pd.DataFrame:
    """Id and time where there are any, the target as the model's classes or values, and the scores."""
    import pandas as pd

    named = [name for name in (params.data.id, params.data.time) if name is not None]
    names = np.array(signature.classes)
    table = rows[named].assign(target=names[target.astype(int)] if len(names) else target)
    columns = {f"score {name}": scores[:, position] for position, name in enumerate(names)} or {"score": scores[:, 0]}
    scored = pd.DataFrame(columns, dtype="float32" if len(names) else "float64")
    return pd.concat([table, scored], axis=1)


def _time(rows: pd.DataFrame, params: Params, position: int) -> str | None:
    return None if params.data.time is None else str(rows[params.data.time].iloc[position].isoformat())


def _slice_dict(each: SliceMetric) -> dict[str, Any]:
    named = {"column": each.column, "value": each.value, "rows": each.rows}
    return named | ({"metric": each.metric.as_dict()} if each.metric else {"metric": None})
