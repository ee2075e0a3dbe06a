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
TAILS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
MAX_AMPLIFICATION = 10.0  # ONNX Runtime knows a score to about 1e-6; ten times that is the tolerance of parity


@dataclass(frozen=True, slots=True)
class Calibration:
    """Platt scaling of a binary score p: 1 / (1 + exp(-(slope * l(p) + intercept))) (Platt, 1999).

    l is the logit, continued by its tangents below `tail` and above 1 - `tail`: as steep as the logit is there, it
    would show the rounding of a score; a tangent keeps the order of the scores.
    """

    slope: float
    intercept: float
    tail: float = TAILS[0]

    @property
    def steepness(self) -> float:
        """The slope of l in its tails."""
        return 1 / (self.tail * (1 - self.tail))

    @property
    def amplification(self) -> float:
        """How much more than a score near 0 or 1 its calibrated score changes, at most."""
        ends = self.apply(np.array([[1 - self.tail, self.tail], [self.tail, 1 - self.tail]]))
        return float((abs(self.slope) * ends.prod(axis=1) * self.steepness).max())

    def logit(self, p: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return l(p), of any shape."""
        inside = np.clip(p, self.tail, 1 - self.tail)
        return np.asarray(np.log(inside / (1 - inside)) + (p - inside) * self.steepness, dtype=np.float64)

    def apply(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return calibrated scores of shape (rows, 2)."""
        calibrated = 1 / (1 + np.exp(-(self.slope * self.logit(scores[:, 1]) + self.intercept)))
        return np.column_stack([1 - calibrated, calibrated])


def fit_calibration(scores: NDArray[np.float64], target: NDArray[np.float64]) -> Calibration:
    """Fit Platt scaling to scores (rows, 2) and 0/1 targets (rows,) that the model was not fitted on.

    The tails are the shortest that do not amplify rounding; only an overconfident model needs longer ones than 1e-6.
    """
    found = _fit_calibration(scores, target, TAILS[0])
    for tail in TAILS[1:]:
        if found.amplification <= MAX_AMPLIFICATION:
            break
        found = _fit_calibration(scores, target, tail)
    return found


def _fit_calibration(scores: NDArray[np.float64], target: NDArray[np.float64], tail: float) -> Calibration:
    from sklearn.linear_model import LogisticRegression

    # practically unpenalised: two coefficients need no shrinkage
    logits = Calibration(1, 0, tail).logit(scores[:, 1])
    fitted = LogisticRegression(C=1e6).fit(logits.reshape(-1, 1), target)
    return Calibration(float(fitted.coef_[0, 0]), float(fitted.intercept_[0]), tail)


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

    column = constant("calibration_column", [1], np.int64)
    one = constant("calibration_one", 1)
    floor = constant("calibration_floor", calibration.tail)
    ceiling = constant("calibration_ceiling", 1 - calibration.tail)
    nodes = [
        ("Clip", ["positive", floor, ceiling], "inside"),
        ("Sub", [one, "inside"], "negative"),
        ("Div", ["inside", "negative"], "odds"),
        ("Log", ["odds"], "body"),
        ("Sub", ["positive", "inside"], "outside"),
        ("Mul", ["outside", constant("calibration_steepness", calibration.steepness)], "tail"),
        ("Add", ["body", "tail"], "logit"),
        ("Mul", ["logit", constant("calibration_slope", calibration.slope)], "scaled"),
        ("Add", ["scaled", constant("calibration_intercept", calibration.intercept)], "shifted"),
        ("Sigmoid", ["shifted"], "calibrated"),
        ("Sub", [one, "calibrated"], "complement"),
    ]
    graph.node.append(helper.make_node("Gather", [scores, column], ["positive"], axis=1))  # (rows, 1)
    graph.node.extend(helper.make_node(operator, inputs, [output]) for operator, inputs, output in nodes)
    graph.node.append(helper.make_node("Concat", ["complement", "calibrated"], ["calibrated_scores"], axis=1))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("calibrated_scores", onnx.TensorProto.FLOAT, [None, 2]))
