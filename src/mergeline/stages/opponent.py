"""Who the candidate is compared with: the champion or a baseline, on rows that neither of the two has seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mergeline.errors import DataError
from mergeline.gates.evidence import Contender
from mergeline.holdout import labelled, split
from mergeline.metrics import Metric
from mergeline.paired import Judged
from mergeline.schema import Signature, Task
from mergeline.stages.evaluate import task_metrics
from mergeline.target import encode_target

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from mergeline.params import Params
    from mergeline.release.champion import Champion

BASELINE = {
    Task.BINARY: "a baseline that always answers the training share of the positive class",
    Task.MULTICLASS: "a baseline that always answers the training shares of the classes",
    Task.REGRESSION: "a baseline that always answers the training mean",
}


@dataclass(frozen=True, slots=True, eq=False)
class Holdout:
    """The rows that judge, and the targets of those that may be learned from."""

    rows: pd.DataFrame
    target: NDArray[np.float64]
    training_target: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Opponent:
    """The champion's side, or the baseline's: scores (rows, classes) in the order of the candidate's classes."""

    judged: Judged
    metrics: tuple[Metric, ...]


def holdout_of(table: pd.DataFrame, candidate: Contender, params: Params) -> Holdout:
    """Return the rows of `table` that judge; raise `DataError` for a class that the candidate does not know."""
    rows = labelled(table, params.data)
    parts = split(rows, params.data)
    held = rows.iloc[parts.holdout].reset_index(drop=True)
    names = candidate.signature.classes
    training = encode_target(rows.iloc[parts.training], params.data, names)
    return Holdout(held, encode_target(held, params.data, names), training)


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


def refusal(
    holdout: Holdout, candidate: Contender, champion: Contender | None, standing: Champion, params: Params
) -> str | None:
    """Return why the two cannot be compared on these rows: too few, seen by one of them, or of other classes."""
    smaller = _smaller(standing, params)
    if smaller:
        return smaller
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
        begins = f"the holdout begins at {moment(rows[data.time].iloc[0])}"
        return f"{whom} was trained on rows up to {training['last_time']}, and {begins}"
    kept = training["holdout"]["share"] or 0.0
    if kept >= (data.holdout.share or 0.0):
        return None
    return f"{whom} kept {kept} of the rows apart, the holdout is {data.holdout.share} of them"


def moment(value: Any) -> str:
    """Return a time stamp as the records have it."""
    return str(value.isoformat())


def opponent(holdout: Holdout, candidate: Contender, champion: Contender | None, params: Params) -> Opponent:
    """Return the champion's scores on the holdout, or the baseline's; raise `DataError` where it cannot score them."""
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
    return Opponent(judged, task_metrics(signature, holdout.target, judged.scores, params.evaluate.confidence))


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


def same_problem(candidate: Contender, champion: Contender) -> bool:
    """Whether both answer the same question; production may still serve the model of one that is no longer asked."""
    mine, theirs = candidate.signature, champion.signature
    return (mine.task, mine.target) == (theirs.task, theirs.target)
