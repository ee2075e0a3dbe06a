"""What a model scores on a table of rows: each number with an interval, and the points of its plots.

Three tasks, one function each: `binary_metrics`, `multiclass_metrics`, `regression_metrics`. Each gives a tuple of
`Metric`, the task's primary metric first where it is defined.

**A metric that these rows do not define is absent from the tuple**: an AUC of one class, a precision of no positive
prediction, a mean of one row that has no interval. No rows give an empty tuple. Scores, predictions or labels that
are NaN, infinite or out of range raise DataError.
"""

from mergeline.metrics.binary import binary_metrics
from mergeline.metrics.bins import BINS, ROWS_PER_BIN, ReliabilityBin, calibration_curve, predicted_against_observed
from mergeline.metrics.curves import CURVE_POINTS, PrecisionRecallPoint, RocPoint, precision_recall_curve, roc_curve
from mergeline.metrics.losses import LARGEST_LOG_LOSS, SMALLEST_PROBABILITY
from mergeline.metrics.metric import PRIMARY_METRIC, Metric
from mergeline.metrics.multiclass import multiclass_metrics
from mergeline.metrics.regression import regression_metrics
from mergeline.metrics.rows import Codes, confusion_matrix

__all__ = [
    "BINS",
    "CURVE_POINTS",
    "LARGEST_LOG_LOSS",
    "PRIMARY_METRIC",
    "ROWS_PER_BIN",
    "SMALLEST_PROBABILITY",
    "Codes",
    "Metric",
    "PrecisionRecallPoint",
    "ReliabilityBin",
    "RocPoint",
    "binary_metrics",
    "calibration_curve",
    "confusion_matrix",
    "multiclass_metrics",
    "precision_recall_curve",
    "predicted_against_observed",
    "regression_metrics",
    "roc_curve",
]
