"""What probabilities over several classes score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from mergeline import intervals
from mergeline.intervals import Floats, Influence, Interval
from mergeline.metrics.influences import macro_f1_influence, roc_auc_ovr_influence
from mergeline.metrics.losses import log_loss
from mergeline.metrics.metric import Metric, average, f1, present, share
from mergeline.metrics.rows import Codes, codes, confusion_matrix, distributions, same_rows


def multiclass_metrics(
    labels: ArrayLike, probabilities: ArrayLike, classes: Sequence[str], *, confidence: float = 0.95
) -> tuple[Metric, ...]:
    """Probabilities over k classes, and the most likely class of each row (the first of equals).

    labels: codes 0..k-1 [n]; probabilities: [n, k], each row sums to 1; classes: their k names, in the order of the
    columns.

    | name | interval |
    |---|---|
    | log_loss | mean of the rows' losses, 0 to 36.04 nats |
    | accuracy, recall_CLASS | Wilson |
    | balanced_accuracy (mean recall) | MOVER of the recalls' Wilson bounds |
    | macro_f1 (mean F1) | linearised (Takahashi et al., Applied Intelligence 52, 4961-4972, 2022), or MOVER |
    | roc_auc_ovr (mean AUC of each class against the rest) | linearised DeLong, or MOVER |

    The last two hold both intervals: the first knows how the classes' errors go together, MOVER how few rows a class
    has. Means run over the classes that have rows (macro_f1: rows or predictions; roc_auc_ovr: needs two of them).
    """
    label, probability = codes(labels, classes=len(classes)), distributions(probabilities, len(classes))
    same_rows(label, probability[:, 0])
    counts = confusion_matrix(label, probability.argmax(axis=1), len(classes))
    recalls = _recalls(counts, classes, confidence)
    return present(
        (
            log_loss(probability[np.arange(len(label)), label], confidence),
            share("accuracy", int(counts.trace()), len(label), confidence),
            average("balanced_accuracy", [recall.interval for recall in recalls], len(label)),
            _macro_f1(counts, confidence),
            _roc_auc_ovr(label, probability, confidence),
            *recalls,
        )
    )


def _recalls(counts: Codes, classes: Sequence[str], confidence: float) -> tuple[Metric, ...]:
    rows = counts.sum(axis=1)
    return present(
        share(f"recall_{name}", int(hits), int(total), confidence)
        for name, hits, total in zip(classes, counts.diagonal(), rows, strict=True)
    )


def _macro_f1(counts: Codes, confidence: float) -> Metric | None:
    used = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    if not used.size:
        return None
    counts = counts[np.ix_(used, used)]
    hits = counts.diagonal()
    errors = counts.sum(axis=0) + counts.sum(axis=1) - 2 * hits
    parts = present(f1("f1", int(hit), int(error), confidence) for hit, error in zip(hits, errors, strict=True))
    by_class = intervals.average_of([part.interval for part in parts])
    influence = Influence(by_class.estimate, np.repeat(macro_f1_influence(counts).rows.ravel(), counts.ravel()))
    return Metric("macro_f1", _macro(influence, by_class, confidence), True, int(counts.sum()))


def _roc_auc_ovr(label: Codes, probability: Floats, confidence: float) -> Metric | None:
    used = np.unique(label)
    if len(used) < 2:
        return None
    parts = [intervals.delong(label == code, probability[:, code], confidence) for code in used]
    by_class = intervals.average_of(parts)
    influence = roc_auc_ovr_influence(label, probability)
    return Metric("roc_auc_ovr", _macro(influence, by_class, confidence), True, len(label))


def _macro(influence: Influence, by_class: Interval, confidence: float) -> Interval:
    if not 0 < influence.estimate < 1 or len(influence.rows) < 2:
        return by_class
    return intervals.wider(intervals.linearised(influence, confidence, scale="logit"), by_class)
