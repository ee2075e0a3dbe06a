"""From a fitted model to the ONNX bytes that are served, and the proof that both give the same scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mergeline.errors import VerificationError
from mergeline.models.family import Fitted, Problem
from mergeline.schema import OTHER_CODE, Kind, Task

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from mergeline.models.scorer import Scorer

PARITY_TOLERANCE = 1e-5
PARITY_ROWS = 20_000
PROBABILITY_FLOOR = 1e-6


@dataclass(frozen=True, slots=True)
class Calibration:
    """Platt scaling of a binary score p: 1 / (1 + exp(-(slope * logit(p) + intercept))) (Platt, 1999)."""

    slope: float
    intercept: float

    def apply(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return calibrated scores of shape (rows, 2)."""
        p = np.clip(scores[:, 1], PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
        calibrated = 1 / (1 + np.exp(-(self.slope * np.log(p / (1 - p)) + self.intercept)))
        return np.column_stack([1 - calibrated, calibrated])


def fit_calibration(scores: NDArray[np.float64], target: NDArray[np.float64]) -> Calibration:
    """Fit Platt scaling to scores (rows, 2) and 0/1 targets (rows,) that the model was not fitted on."""
    from sklearn.linear_model import LogisticRegression

    p = np.clip(scores[:, 1], PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    # practically unpenalised: two coefficients need no shrinkage
    fitted = LogisticRegression(C=1e6).fit(np.log(p / (1 - p)).reshape(-1, 1), target)
    return Calibration(float(fitted.coef_[0, 0]), float(fitted.intercept_[0]))


def export(fitted: Fitted, calibration: Calibration | None) -> bytes:
    """Return the model as ONNX bytes: one input `features`, one output of shape (rows, classes)."""
    graph = fitted.to_onnx()
    if calibration is not None:
        _append_calibration(graph, calibration)
    graph.doc_string = ""
    # the converter lists the operator sets in the order of a set of strings, which differs from process to process
    ordered = sorted(graph.opset_import, key=lambda entry: entry.domain)
    del graph.opset_import[:]
    graph.opset_import.extend(ordered)
    serialized: bytes = graph.SerializeToString(deterministic=True)
    return serialized


def parity(
    fitted: Fitted, calibration: Calibration | None, scorer: Scorer, problem: Problem, matrix: NDArray[np.float32]
) -> float:
    """Return the largest difference between native and exported scores on real rows; at most 1e-5, or it raises.

    The rows are `matrix` (at most 20,000 of them, evenly spaced), and again with each number missing and each category
    missing or never seen in turn. A regression's difference is in standard deviations of its native predictions.
    Raises `VerificationError` with the difference where it is larger.
    """
    probe = with_gaps(matrix[:: max(1, -(-len(matrix) // PARITY_ROWS))], problem)
    native = fitted.predict(probe)
    if calibration is not None:
        native = calibration.apply(native)
    scale = (float(np.std(native)) or 1.0) if problem.task is Task.REGRESSION else 1.0
    difference = np.abs(scorer.score_matrix(probe) - native).max(axis=1) / scale
    worst = int(np.nanargmax(np.where(np.isnan(difference), np.inf, difference)))
    if not difference[worst] <= PARITY_TOLERANCE:
        apart = int(np.sum(~(difference <= PARITY_TOLERANCE)))
        raise VerificationError(
            f"train: the ONNX model differs from the native one by {difference[worst]:.3g} in {apart} of {len(probe)}"
            f" rows, allowed {PARITY_TOLERANCE:g}; nothing was written"
        )
    return float(difference[worst])


def with_gaps(matrix: NDArray[np.float32], problem: Problem) -> NDArray[np.float32]:
    """Return the rows and, appended, for each feature a few of them with it missing and, if a category, unseen."""
    extra = []
    few = matrix[:: max(1, len(matrix) // 50)]
    for position, feature in enumerate(problem.features):
        for gap in (0.0, float(OTHER_CODE)) if feature.kind is Kind.CATEGORY else (np.nan,):
            rows = few.copy()
            rows[:, position] = gap
            extra.append(rows)
    return np.concatenate([matrix, *extra])


def _append_calibration(model: onnx.ModelProto, calibration: Calibration) -> None:
    """Extend the graph by Platt scaling of its second output column."""
    import onnx
    from onnx import helper, numpy_helper

    graph = model.graph
    scores = graph.output[0].name

    def constant(name: str, value: object, kind: type = np.float32) -> str:
        graph.initializer.append(numpy_helper.from_array(np.asarray(value, dtype=kind), name))
        return name

    one = constant("calibration_one", 1)
    floor = constant("calibration_floor", PROBABILITY_FLOOR)
    ceiling = constant("calibration_ceiling", 1 - PROBABILITY_FLOOR)
    nodes = [
        ("Gather", [scores, constant("calibration_column", [1], np.int64)], "positive"),  # (rows, 1)
        ("Clip", ["positive", floor, ceiling], "clipped"),
        ("Sub", [one, "clipped"], "negative"),
        ("Div", ["clipped", "negative"], "odds"),
        ("Log", ["odds"], "logit"),
        ("Mul", ["logit", constant("calibration_slope", calibration.slope)], "scaled"),
        ("Add", ["scaled", constant("calibration_intercept", calibration.intercept)], "shifted"),
        ("Sigmoid", ["shifted"], "calibrated"),
        ("Sub", [one, "calibrated"], "complement"),
    ]
    for operator, inputs, output in nodes:
        attributes = {"axis": 1} if operator == "Gather" else {}
        graph.node.append(helper.make_node(operator, inputs, [output], **attributes))
    graph.node.append(helper.make_node("Concat", ["complement", "calibrated"], ["calibrated_scores"], axis=1))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("calibrated_scores", onnx.TensorProto.FLOAT, [None, 2]))
