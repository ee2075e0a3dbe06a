"""Labels and scores, checked before anything is computed of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mergeline import intervals
from mergeline.errors import DataError
from mergeline.intervals import Floats

Codes = NDArray[np.int64]


def confusion_matrix(labels: ArrayLike, predicted: ArrayLike, classes: int) -> Codes:
    """Rows by label (first axis) and prediction (second axis): int64 [k, k]. Both are codes 0..k-1 [n].

    >>> confusion_matrix([0, 1, 1], [0, 0, 1], classes=2).tolist()
    [[1, 0], [1, 1]]
    """
    label, prediction = codes(labels, classes), codes(predicted, classes, "predicted")
    same_rows(label, prediction)
    return np.bincount(label * classes + prediction, minlength=classes * classes).reshape(classes, classes)


def codes(values: ArrayLike, classes: int, name: str = "labels") -> Codes:
    """Whole numbers from 0 to classes - 1 [n]; DataError otherwise."""
    row = intervals.finite(values, name)
    code = row.astype(np.int64)
    if row.size and ((code != row).any() or code.min() < 0 or code.max() >= classes):
        found = f"{row.min():g} to {row.max():g}" if (code == row).all() else "fractions"
        raise DataError(f"{name}: expected whole numbers from 0 to {classes - 1}, found {found}; encode the classes")
    return code


def probabilities_of(values: ArrayLike, name: str) -> Floats:
    """Finite values from 0 to 1, in their shape; DataError names them otherwise."""
    row = intervals.finite(values, name)
    if row.size and not (row.min() >= 0 and row.max() <= 1):
        found = f"{row.min():g} to {row.max():g}"
        raise DataError(f"{name}: expected probabilities from 0 to 1, found {found}; score with predict_proba")
    return row


def distributions(values: ArrayLike, classes: int) -> Floats:
    """Probabilities [n, classes] whose rows sum to 1; DataError otherwise."""
    row = probabilities_of(values, "probabilities")
    if row.ndim != 2 or row.shape[1] != classes:
        raise DataError(f"probabilities: expected a column a class, {classes}, found {row.shape}; match the classes")
    # Scores are float32 in ONNX: a sum is exact to about 1e-6.
    if row.size and np.abs(row.sum(axis=1) - 1).max() > 1e-3:
        raise DataError("probabilities: expected rows that sum to 1, found rows that do not; score with predict_proba")
    return row


def same_rows(labels: Codes | Floats, values: Codes | Floats) -> None:
    """Raise DataError unless each row has one label and one value."""
    if labels.ndim != 1 or labels.shape != values.shape:
        raise DataError(f"labels: expected one a row like {values.shape}, found {labels.shape}; score the same rows")


def both_classes(label: Codes) -> bool:
    """Whether 0 and 1 both have rows."""
    return bool(len(label)) and 0 < int(label.sum()) < len(label)
