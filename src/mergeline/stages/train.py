"""The candidate: fitted on the training rows alone, exported, and proven to score as its native self."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mergeline.errors import DataError
from mergeline.holdout import labelled, split, tuning_split
from mergeline.models.encoder import encode, fit_features
from mergeline.models.export import Calibration, export, fit_calibration, parity
from mergeline.models.family import Fitted, Fitting, Gang, Problem, Rows, fitter, stops_early
from mergeline.models.importance import Importance, permutation_importance
from mergeline.models.scorer import Scorer
from mergeline.monitor.profile import Labels, Profile, profile_of
from mergeline.monitor.sketch import CategoryCounts, NumberSketch
from mergeline.schema import Feature, KnownSample, Signature, Task
from mergeline.target import classes, encode_target

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from mergeline.params import Params

KNOWN_SAMPLES = 5
REFERENCE_ROWS = 200_000


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """What a person wants to know of how the model was made; no clock, path or run id in it."""

    family: str
    settings: dict[str, Any]
    seed: int
    holdout: dict[str, Any]
    holdout_by: str
    training_rows: int
    tuning_rows: int
    unlabelled_rows: int
    first_time: str | None
    last_time: str | None
    rounds: int
    threshold: float | None
    calibration: Calibration | None
    parity_difference: float
    importance: tuple[Importance, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the record as JSON's types."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Trained:
    """A candidate: the bytes to serve, their signature, how they came about, and what drift is measured against.

    `reference` holds the features of at most 200,000 training rows and the model's `score` for each (of the positive
    class, of the likeliest class, or the prediction); `profile` counts the same of all of them, and their labels.
    """

    model: bytes
    signature: Signature
    record: TrainingRecord
    reference: pd.DataFrame
    profile: Profile
    fitted: Fitted


@dataclass(frozen=True, slots=True)
class _Parts:
    """The labelled table, divided: all training rows, those fitted on, and those that only tune."""

    rows: pd.DataFrame  # training and tuning rows, oldest first
    fit: Rows
    tuning: Rows | None

    @property
    def matrix(self) -> NDArray[np.float32]:
        return np.concatenate([self.fit.matrix, self.tuning.matrix]) if self.tuning else self.fit.matrix

    @property
    def target(self) -> NDArray[np.float64]:
        return np.concatenate([self.fit.target, self.tuning.target]) if self.tuning else self.fit.target


def train(
    table: pd.DataFrame,
    params: Params,
    progress: Callable[[str], None] = lambda step: None,
    gang: Gang | None = None,
) -> Trained:
    """Fit the family of `params.train` on the rows of `table` that are not in the holdout.

    Rows without a target are left out. Early stopping, calibration and the threshold are decided on the tuning rows,
    the newest of the training rows, by a model that has not seen them; with `refit` that model is then fitted again on
    all training rows, as long as the first fit was best. Raises `DataError` for unusable rows, `ConfigurationError` for
    settings that do not fit them, and `VerificationError` where the exported model scores unlike the native one.
    """
    rows = labelled(table, params.data)
    training = split(rows, params.data).training
    names = classes(rows.iloc[training], params.data)
    features = fit_features(rows.iloc[training], params.data, params.train.preprocessing)
    parts = _divide(rows, training, features, names, params)
    problem = Problem(params.data.task, max(1, len(names)), features)
    fit = fitter(params.train.family)
    fitted = fit(Fitting(problem, parts.fit, parts.tuning, None, params.train, progress, gang))
    calibration, threshold = _decide(fitted, parts.tuning, params)
    if parts.tuning is not None and params.train.refit:
        whole = Rows(parts.matrix, parts.target)
        fitted = fit(Fitting(problem, whole, None, fitted.rounds, params.train, progress, gang))
    signature = Signature(
        params.data.task, params.data.target, features, names, threshold, personal=params.data.personal
    )
    progress("exporting")
    model = export(fitted, calibration)
    scorer = Scorer(model, signature)
    difference = parity(fitted, calibration, scorer, problem, parts.matrix)
    signature = replace(
        signature, samples=_known_samples(parts.rows, scorer), onnx_sha256=hashlib.sha256(model).hexdigest()
    )
    progress("weighing features")
    record = TrainingRecord(
        family=params.train.family,
        settings=params.train.settings.model_dump(mode="json"),
        seed=params.train.seed,
        holdout=params.data.holdout.model_dump(),
        holdout_by=params.data.holdout_by,
        training_rows=len(parts.fit.target),
        tuning_rows=len(parts.tuning.target) if parts.tuning else 0,
        unlabelled_rows=len(table) - len(rows),
        first_time=_time(parts.rows, params, first=True),
        last_time=_time(parts.rows, params, first=False),
        rounds=fitted.rounds,
        threshold=threshold,
        calibration=calibration,
        parity_difference=difference,
        importance=permutation_importance(scorer, parts.matrix, parts.target, params.train.seed),
    )
    scores = _answers(scorer.score_matrix(parts.matrix), params.data.task)
    profile = profile_of(parts.matrix, features, scores, _labels(parts.target, names))
    return Trained(model, signature, record, _reference(parts, scores, params), profile, fitted)


def _divide(
    rows: pd.DataFrame,
    training: NDArray[np.int64],
    features: tuple[Feature, ...],
    names: tuple[str, ...],
    params: Params,
) -> _Parts:
    train = params.train
    searched = train.threshold == "f1" and params.data.task is Task.BINARY
    tuned = stops_early(train) or train.calibration != "none" or searched
    chosen = rows.iloc[training].reset_index(drop=True)
    matrix, target = encode(chosen, features), encode_target(chosen, params.data, names)
    whole = Rows(matrix, target)
    fit, tuning = whole, None
    if tuned:
        parts = tuning_split(np.arange(len(chosen)), train.tuning_share)
        fit = Rows(matrix[parts.training], target[parts.training])
        tuning = Rows(matrix[parts.holdout], target[parts.holdout])
    absent = sorted(set(range(len(names))) - set(fit.target.astype(int)))
    if absent:
        raise DataError(
            f"data.target: no row to fit on has the class {names[absent[0]]!r}; {len(fit.target)} rows left"
        )
    return _Parts(chosen, fit, tuning)


def _decide(fitted: Fitted, tuning: Rows | None, params: Params) -> tuple[Calibration | None, float | None]:
    """Calibration and decision threshold, from the tuning rows alone."""
    if params.data.task is not Task.BINARY:
        return None, None
    wanted = params.train.threshold
    if tuning is None:
        return None, wanted if isinstance(wanted, float) else None
    for setting, used in (("calibration", params.train.calibration != "none"), ("threshold", wanted == "f1")):
        if used and len(np.unique(tuning.target)) < 2:
            found = f"the {len(tuning.target)} tuning rows are all of one class"
            raise DataError(f"train.{setting}: {found}; choose another train.tuning_share or train.{setting}")
    scores = fitted.predict(tuning.matrix)
    calibration = None
    if params.train.calibration == "sigmoid":
        calibration = fit_calibration(scores, tuning.target)
        scores = calibration.apply(scores)
    return calibration, best_f1_threshold(scores[:, 1], tuning.target) if wanted == "f1" else float(wanted)


def best_f1_threshold(scores: NDArray[np.float64], target: NDArray[np.float64]) -> float:
    """Return the threshold with the highest F1 (van Rijsbergen, 1979) on scores (rows,) and 0/1 targets (rows,).

    It lies halfway between two scores (below the lowest: halfway to 0), where no rounding of a score crosses it.

    >>> best_f1_threshold(np.array([0.1, 0.4, 0.6, 0.8]), np.array([0.0, 1.0, 0.0, 1.0]))
    0.25
    """
    order = np.argsort(-scores, kind="stable")
    found = np.cumsum(target[order])
    f1 = 2 * found / (np.arange(1, len(order) + 1) + max(1.0, float(target.sum())))
    above, below = scores[order], np.append(scores[order][1:], 0.0)
    parted = np.append(above[1:] != above[:-1], True)  # a threshold cannot part equal scores
    best = int(np.argmax(np.where(parted, f1, -1)))
    return float((above[best] + below[best]) / 2)


def _known_samples(rows: pd.DataFrame, scorer: Scorer) -> tuple[KnownSample, ...]:
    """A few rows, evenly spaced in time, and what the model says of them."""
    positions = np.unique(np.linspace(0, len(rows) - 1, KNOWN_SAMPLES).astype(int))
    chosen = rows.iloc[positions]
    scores = scorer.score(chosen)
    names = [feature.name for feature in scorer.signature.features]
    samples = [dict(zip(names, map(_plain, row), strict=True)) for row in chosen[names].itertuples(index=False)]
    return tuple(KnownSample(row, tuple(map(float, score))) for row, score in zip(samples, scores, strict=True))


def _plain(value: Any) -> Any:
    """A cell as JSON's type: null where missing, ISO 8601 for a time stamp."""
    import pandas as pd

    if pd.isna(value):
        return None
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    value = value.item() if isinstance(value, np.generic) else value
    return value if isinstance(value, bool | int | float | str) else str(value)


def _time(rows: pd.DataFrame, params: Params, *, first: bool) -> str | None:
    if params.data.time is None:
        return None
    return str(rows[params.data.time].iloc[0 if first else -1].isoformat())


def _answers(scores: NDArray[np.float64], task: Task) -> NDArray[np.float64]:
    """The score that a model answers with, (rows,), of all that it gives, (rows, classes)."""
    return scores[:, 1] if task is Task.BINARY else scores.max(axis=1)


def _labels(target: NDArray[np.float64], names: tuple[str, ...]) -> Labels:
    if not names:
        return NumberSketch.of(target)
    counts = np.bincount(target.astype(np.int64), minlength=len(names)).tolist()
    return CategoryCounts(0, 0, dict(zip(names, counts, strict=True)))


def _reference(parts: _Parts, scores: NDArray[np.float64], params: Params) -> pd.DataFrame:
    size = min(len(parts.rows), REFERENCE_ROWS)
    chosen = np.sort(np.random.default_rng(params.train.seed).choice(len(parts.rows), size, replace=False))
    rows = parts.rows.iloc[chosen][list(params.data.features)].reset_index(drop=True).infer_objects()
    return rows.assign(score=scores[chosen])
