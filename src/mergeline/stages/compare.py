"""Candidate against champion on the same holdout rows, and the verdict that follows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mergeline import metrics, paired
from mergeline.errors import DataError
from mergeline.gates.evidence import Contender, Evidence, SliceComparison
from mergeline.gates.verdict import judge
from mergeline.holdout import labelled, split
from mergeline.intervals import Interval
from mergeline.metrics import Metric
from mergeline.models.encoder import category_text, encode
from mergeline.paired import Judged
from mergeline.schema import Signature, Task
from mergeline.stages.comparison import Comparison, Curves, Side
from mergeline.stages.distributions import distributions
from mergeline.stages.evaluate import MISSING_SLICE, task_metrics
from mergeline.target import encode_target

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from mergeline.models.scorer import Scorer
    from mergeline.params import Params
    from mergeline.release.champion import Champion

BASELINE = {
    Task.BINARY: "a baseline that always answers the training share of the positive class",
    Task.MULTICLASS: "a baseline that always answers the training shares of the classes",
    Task.REGRESSION: "a baseline that always answers the training mean",
}
OTHER_TARGET = "production serves a model of another task or target"

Timer = Callable[["Scorer", "NDArray[np.float32]", "Scorer", "NDArray[np.float32]"], Interval]


@dataclass(frozen=True, slots=True, eq=False)
class _Holdout:
    """The rows that judge, and the targets of those that may be learned from."""

    rows: pd.DataFrame
    target: NDArray[np.float64]
    training_target: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class _Scored:
    """The champion's side, or the baseline's: scores (rows, classes) in the order of the candidate's classes."""

    judged: Judged
    metrics: tuple[Metric, ...]


def compare(
    table: pd.DataFrame,
    candidate: Contender,
    champion: Contender | None,
    standing: Champion,
    params: Params,
    timer: Timer | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> Comparison:
    """Judge both models on the holdout rows of `table` by the policy of `standing`.

    `champion` is None where a baseline stands in for it, as it does for a model of another task or target. `timer`
    gives the ratio of the scoring times, candidate over champion. Where the champion has seen the holdout, or cannot
    score it, nothing is compared and the verdict says why.
    Raises `DataError` where the candidate cannot score the holdout.
    """
    reason = standing.reason
    if champion is not None and not _same_problem(candidate, champion):
        champion, reason = None, OTHER_TARGET
    holdout = _holdout(table, candidate, params)
    matrix = encode(holdout.rows, candidate.signature.features)
    progress(f"scoring {len(holdout.rows)} rows twice")
    scores = candidate.scorer.score_matrix(matrix)
    own = Judged(scores, candidate.signature.threshold)
    refusal = _smaller(standing, params) or _refusal(holdout, candidate, champion, params)
    other: _Scored | None = None
    if refusal is None:
        try:
            other = _other(holdout, candidate, champion, params)
        except DataError as err:
            refusal = f"the champion cannot score these rows ({err})"
    progress("measuring")
    asked = standing.gates.improvement.confidence
    difference = _difference(params.primary, holdout.target, own, other.judged, candidate, asked) if other else None
    slices = _slices(holdout, own, other, candidate, standing, params) if other else ()
    measured = task_metrics(candidate.signature, holdout.target, scores, params.evaluate.confidence)
    ratio = None
    if timer and champion and refusal is None:
        progress("timing")
        ratio = timer(candidate.scorer, matrix, champion.scorer, encode(holdout.rows, champion.signature.features))
    evidence = Evidence(
        task=candidate.signature.task,
        primary=_metric(measured, params.primary),
        primary_name=params.primary,
        rows=holdout.rows,
        target=holdout.target,
        matrix=matrix,
        candidate=candidate,
        candidate_scores=scores,
        candidate_metrics=measured,
        champion=champion,
        champion_metrics=other.metrics if other else (),
        difference=difference,
        slices=slices,
        refusal=refusal,
        same=_same(candidate, champion, standing),
        latency_ratio=ratio,
    )
    return _comparison(evidence, holdout, own, other, standing, _notes(reason, standing, evidence.task), params)


def _comparison(
    evidence: Evidence,
    holdout: _Holdout,
    own: Judged,
    other: _Scored | None,
    standing: Champion,
    notes: tuple[str, ...],
    params: Params,
) -> Comparison:
    primary, confidence = evidence.primary, params.evaluate.confidence
    both = [each.name for each in evidence.candidate_metrics if each.greater_is_better is not None]
    found = [
        (name, _difference(name, holdout.target, own, other.judged, evidence.candidate, confidence) if other else None)
        for name in both
    ]
    reference = evidence.champion or evidence.candidate
    return Comparison(
        judgement=judge(evidence, standing.gates),
        notes=notes,
        primary=params.primary,
        greater_is_better=primary.greater_is_better if primary else None,
        policy=standing.policy,
        holdout=_identity(holdout.rows, params),
        candidate=_side(evidence.candidate, evidence.candidate_metrics),
        champion=_champion_side(evidence, holdout),
        difference=evidence.difference,
        differences=tuple((name, each) for name, each in found if each is not None),
        slices=evidence.slices,
        slice_margin=standing.gates.slices.margin * evidence.unit(),
        candidate_curves=_curves(evidence.task, holdout.target, own, confidence),
        champion_curves=_curves(evidence.task, holdout.target, other.judged, confidence) if other else None,
        distributions=distributions(reference.reference, holdout.rows, evidence.candidate, own.scores),
        latency_ratio=evidence.latency_ratio,
    )


def _holdout(table: pd.DataFrame, candidate: Contender, params: Params) -> _Holdout:
    rows = labelled(table, params.data)
    parts = split(rows, params.data)
    held = rows.iloc[parts.holdout].reset_index(drop=True)
    names = candidate.signature.classes
    training = encode_target(rows.iloc[parts.training], params.data, names)
    return _Holdout(held, encode_target(held, params.data, names), training)


def _smaller(standing: Champion, params: Params) -> str | None:
    """Why a branch may not judge by its holdout: the base branch's is larger, or of another kind."""
    if standing.holdout is None or standing.gates.holdout.smaller:
        return None
    mine = params.data.holdout.model_dump()
    short = [key for key, asked in standing.holdout.items() if asked is not None and not (mine.get(key) or 0) >= asked]
    if not short:
        return None
    asked, found = standing.holdout[short[0]], mine.get(short[0])
    return f"data.holdout.{short[0]} is {found}, the base branch judges by {asked}: a smaller holdout tells less"


def _refusal(holdout: _Holdout, candidate: Contender, champion: Contender | None, params: Params) -> str | None:
    """Why the two cannot be compared on these rows: one of them has seen some, or knows other classes."""
    seen = _seen("the candidate", candidate, holdout.rows, params)
    if seen or champion is None:
        return seen
    unknown = set(champion.signature.classes) - set(candidate.signature.classes)
    if unknown:
        return f"the champion answers {', '.join(sorted(unknown))}, which the candidate does not know"
    return _seen("the champion", champion, holdout.rows, params)


def _seen(whom: str, contender: Contender, rows: pd.DataFrame, params: Params) -> str | None:
    import pandas as pd

    training, data = contender.training, params.data
    if training.get("holdout_by") != data.holdout_by:
        return f"{whom} kept its holdout apart by {training.get('holdout_by')}, now it is {data.holdout_by}"
    if data.time is not None:
        first, last = (pd.to_datetime(each, utc=True) for each in (rows[data.time].iloc[0], training["last_time"]))
        if last < first:
            return None
        begins = f"the holdout begins at {_moment(rows[data.time].iloc[0])}"
        return f"{whom} was trained on rows up to {training['last_time']}, and {begins}"
    kept = training["holdout"]["share"] or 0.0
    if kept >= (data.holdout.share or 0.0):
        return None
    return f"{whom} kept {kept} of the rows apart, the holdout is {data.holdout.share} of them"


def _moment(value: Any) -> str:
    return str(value.isoformat())


def _other(holdout: _Holdout, candidate: Contender, champion: Contender | None, params: Params) -> _Scored:
    """The champion's scores on the holdout, or the baseline's."""
    names, rows = candidate.signature.classes, len(holdout.rows)
    if champion is None:
        constant = _baseline(holdout.training_target, len(names))
        judged = Judged(np.tile(constant, (rows, 1)), 0.5 if len(names) == 2 else None)
    else:
        scores = champion.scorer.score(holdout.rows)
        judged = Judged(_in_order(scores, champion.signature.classes, names), _threshold(champion.signature, names))
    if not np.isfinite(judged.scores).all():
        raise DataError("some scores are not finite")
    signature = replace(candidate.signature, threshold=judged.threshold)
    return _Scored(judged, task_metrics(signature, holdout.target, judged.scores, params.evaluate.confidence))


def _baseline(target: NDArray[np.float64], classes: int) -> NDArray[np.float64]:
    """The answer of a model without features: the class shares (DummyClassifier's `prior`), or the mean."""
    if not classes:
        return np.array([target.mean()])
    return np.bincount(target.astype(np.int64), minlength=classes) / len(target)


def _in_order(scores: NDArray[np.float64], held: tuple[str, ...], wanted: tuple[str, ...]) -> NDArray[np.float64]:
    """Scores with their columns in the candidate's order; a class that the champion never saw has probability 0."""
    if held == wanted:
        return scores
    ordered = np.zeros((len(scores), len(wanted)))
    for position, name in enumerate(held):
        ordered[:, wanted.index(name)] = scores[:, position]
    return ordered


def _threshold(signature: Signature, wanted: tuple[str, ...]) -> float | None:
    """The champion's threshold for the candidate's second class, which may be the champion's first."""
    if signature.threshold is None or signature.classes == wanted:
        return signature.threshold
    # on its threshold a row is of the champion's second class, so of the first one only behind what is left of 1
    return float(np.nextafter(1 - signature.threshold, 1.0))


def _difference(
    name: str, target: NDArray[np.float64], own: Judged, other: Judged, candidate: Contender, confidence: float
) -> Interval | None:
    signature = candidate.signature
    seed = candidate.training["seed"]
    return paired.difference(name, signature.task, target, own, other, confidence, classes=signature.classes, seed=seed)


def _slices(
    holdout: _Holdout, own: Judged, other: _Scored, candidate: Contender, standing: Champion, params: Params
) -> tuple[SliceComparison, ...]:
    """Every slice of the policy with rows enough, judged at a confidence that holds for all of them together.

    The correction is Bonferroni's over the slices that are judged: whether any fails is the same by Holm's.
    """
    policy, task = standing.gates.slices, params.data.task
    parts = [
        (column, str(value), inside)
        for column in standing.slices
        if column in holdout.rows.columns
        for value, inside in _values(holdout.rows[column])
        if int(inside.sum()) >= policy.min_rows
    ]
    judgeable = [_judgeable(holdout.target[inside], task, policy.min_class_rows) for _, _, inside in parts]
    confidence = 1 - (1 - policy.confidence) / max(1, sum(judgeable))
    found = []
    for (column, value, inside), enough in zip(parts, judgeable, strict=True):
        mine, theirs = _inside(own, inside), _inside(other.judged, inside)
        target = holdout.target[inside]
        difference = _difference(params.primary, target, mine, theirs, candidate, confidence) if enough else None
        values = [
            _estimate(params.primary, candidate, target, each, params.evaluate.confidence) for each in (mine, theirs)
        ]
        found.append(SliceComparison(column, value, int(inside.sum()), values[0], values[1], difference))
    return tuple(found)


def _values(column: pd.Series) -> list[tuple[str, NDArray[np.bool_]]]:
    values = category_text(column).fillna(MISSING_SLICE).to_numpy()
    return [(str(value), values == value) for value in sorted(set(values))]


def _judgeable(target: NDArray[np.float64], task: Task, least: int) -> bool:
    """Whether the rarest class of a slice has rows enough for an interval that holds."""
    if task is Task.REGRESSION:
        return True
    counts = np.bincount(target.astype(np.int64), minlength=2)
    return int(counts[counts > 0].min()) >= least and int((counts > 0).sum()) > 1


def _inside(judged: Judged, inside: NDArray[np.bool_]) -> Judged:
    return Judged(judged.scores[inside], judged.threshold)


def _estimate(
    name: str, candidate: Contender, target: NDArray[np.float64], judged: Judged, confidence: float
) -> float | None:
    signature = replace(candidate.signature, threshold=judged.threshold)
    found = _metric(task_metrics(signature, target, judged.scores, confidence), name)
    return found.interval.estimate if found else None


def _same(candidate: Contender, champion: Contender | None, standing: Champion) -> str | None:
    if champion is not None and _alike(candidate, champion):
        return "the candidate is the model that production serves"
    if standing.base is not None and _signature_sha256(candidate) == standing.base.signature_sha256:
        return "the candidate is the model that the base branch has"
    return None


def _alike(a: Contender, b: Contender) -> bool:
    """Whether both are the same bytes with the same signature, whatever the records beside them say."""
    return a.sha256 == b.sha256 or a.signature == b.signature


def _signature_sha256(contender: Contender) -> str:
    return hashlib.sha256(contender.signature.to_json().encode("utf-8")).hexdigest()


def _same_problem(candidate: Contender, champion: Contender) -> bool:
    """Whether both answer the same question; production may still serve the model of one that is no longer asked."""
    mine, theirs = candidate.signature, champion.signature
    return (mine.task, mine.target) == (theirs.task, theirs.target)


def _notes(reason: str | None, standing: Champion, task: Task) -> tuple[str, ...]:
    if reason is None:
        return ()
    judge_ = "the gates are this branch's own" if standing.policy == "branch" else "the gates are the base branch's"
    return (f"{reason}: {BASELINE[task]} stands in for the champion, and {judge_}",)


def _side(contender: Contender, measured: tuple[Metric, ...]) -> Side:
    training = contender.training
    rows = training["training_rows"] + training["tuning_rows"]
    return Side("model", contender.sha256, training["family"], rows, training["last_time"], measured)


def _champion_side(evidence: Evidence, holdout: _Holdout) -> Side:
    if evidence.champion is not None:
        return _side(evidence.champion, evidence.champion_metrics)
    return Side("baseline", None, None, len(holdout.training_target), None, evidence.champion_metrics)


def _identity(rows: pd.DataFrame, params: Params) -> dict[str, Any]:
    """How many rows judge, their first and last time, and a hash: the same holdout or another."""
    from pandas.util import hash_pandas_object

    data = params.data
    named = [name for name in (data.id, data.time) if name is not None] or list(data.features)
    texts = rows[[*named, data.target]].astype("string")
    digest = hashlib.sha256(np.ascontiguousarray(hash_pandas_object(texts, index=False).to_numpy()).tobytes())
    first, last = (None, None) if data.time is None else (rows[data.time].iloc[0], rows[data.time].iloc[-1])
    return {
        "rows": len(rows),
        "first_time": None if first is None else _moment(first),
        "last_time": None if last is None else _moment(last),
        "sha256": digest.hexdigest(),
    }


def _curves(task: Task, target: NDArray[np.float64], judged: Judged, confidence: float) -> Curves:
    if task is Task.MULTICLASS:
        return Curves()
    if task is Task.REGRESSION:
        return Curves(
            calibration=metrics.predicted_against_observed(target, judged.scores[:, 0], confidence=confidence)
        )
    positive = judged.scores[:, 1]
    return Curves(
        metrics.roc_curve(target, positive),
        metrics.precision_recall_curve(target, positive),
        metrics.calibration_curve(target, positive, confidence=confidence),
    )


def _metric(found: tuple[Metric, ...], name: str) -> Metric | None:
    return next((each for each in found if each.name == name), None)
