"""Candidate against champion on the same holdout rows, and the verdict that follows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mergeline import metrics, paired
from mergeline.errors import DataError
from mergeline.gates.evidence import Contender, Evidence, SliceComparison
from mergeline.gates.verdict import judge
from mergeline.intervals import Interval
from mergeline.metrics import Metric
from mergeline.models.encoder import category_text, encode
from mergeline.paired import Judged
from mergeline.schema import Task
from mergeline.stages.comparison import Comparison, Curves, Side
from mergeline.stages.distributions import distributions
from mergeline.stages.evaluate import MISSING_SLICE, task_metrics
from mergeline.stages.opponent import BASELINE, Holdout, Opponent, holdout_of, moment, opponent, refusal, same_problem

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from mergeline.models.scorer import Scorer
    from mergeline.params import Params
    from mergeline.release.champion import Champion

OTHER_TARGET = "production serves a model of another task or target"

Timer = Callable[["Scorer", "NDArray[np.float32]", "Scorer", "NDArray[np.float32]"], Interval]


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
    if champion is not None and not same_problem(candidate, champion):
        champion, reason = None, OTHER_TARGET
    holdout = holdout_of(table, candidate, params)
    matrix = encode(holdout.rows, candidate.signature.features)
    progress(f"scoring {len(holdout.rows)} rows twice")
    scores = candidate.scorer.score_matrix(matrix)
    own = Judged(scores, candidate.signature.threshold)
    refused = refusal(holdout, candidate, champion, standing, params)
    other: Opponent | None = None
    if refused is None:
        try:
            other = opponent(holdout, candidate, champion, params)
        except DataError as err:
            refused = f"the champion cannot score these rows ({err})"
    progress("measuring")
    asked = standing.gates.improvement.confidence
    difference = _difference(params.primary, holdout.target, own, other.judged, candidate, asked) if other else None
    slices = _slices(holdout, own, other, candidate, standing, params) if other else ()
    measured = task_metrics(candidate.signature, holdout.target, scores, params.evaluate.confidence)
    ratio = None
    if timer and champion and refused is None:
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
        refusal=refused,
        same=_same(candidate, champion, standing),
        latency_ratio=ratio,
    )
    return _comparison(evidence, holdout, own, other, standing, _notes(reason, standing, evidence.task), params)


def _comparison(
    evidence: Evidence,
    holdout: Holdout,
    own: Judged,
    other: Opponent | None,
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


def _difference(
    name: str, target: NDArray[np.float64], own: Judged, other: Judged, candidate: Contender, confidence: float
) -> Interval | None:
    signature = candidate.signature
    seed = candidate.training["seed"]
    return paired.difference(name, signature.task, target, own, other, confidence, classes=signature.classes, seed=seed)


def _slices(
    holdout: Holdout, own: Judged, other: Opponent, candidate: Contender, standing: Champion, params: Params
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


def _notes(reason: str | None, standing: Champion, task: Task) -> tuple[str, ...]:
    if reason is None:
        return ()
    judge_ = "the gates are this branch's own" if standing.policy == "branch" else "the gates are the base branch's"
    return (f"{reason}: {BASELINE[task]} stands in for the champion, and {judge_}",)


def _side(contender: Contender, measured: tuple[Metric, ...]) -> Side:
    training = contender.training
    rows = training["training_rows"] + training["tuning_rows"]
    return Side("model", contender.sha256, training["family"], rows, training["last_time"], measured)


def _champion_side(evidence: Evidence, holdout: Holdout) -> Side:
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
        "first_time": None if first is None else moment(first),
        "last_time": None if last is None else moment(last),
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
