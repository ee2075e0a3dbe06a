"""The families of scikit-learn: one pipeline from the encoder's matrix to scores, exported whole."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from mergeline.errors import DataError
from mergeline.models.family import Fitted, Fitting, Problem, stops_early
from mergeline.schema import Feature, Kind, Task

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from mergeline.params import Preprocessing, TrainParams

OPSET = 18
CROSS_FITTING_FOLDS = 5


@dataclass(frozen=True, slots=True)
class FittedPipeline:
    """A fitted scikit-learn pipeline."""

    native: Any  # sklearn.pipeline.Pipeline, untyped upstream
    task: Task
    rounds: int
    flavor: str = "sklearn"

    def predict(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return scores of shape (rows, classes), (rows, 1) for a regression."""
        if self.task is not Task.REGRESSION:
            return np.asarray(self.native.predict_proba(matrix), dtype=np.float64)
        model = self.native[-1]
        standardized = np.asarray(model.regressor_.predict(self.native[:-1].transform(matrix)), dtype=np.float64)
        # not by the native predict: of a ridge it is float32, which has no digits for a target like 2013 ± 0.01
        return np.asarray(model.transformer_.inverse_transform(standardized.reshape(-1, 1)), dtype=np.float64)

    def to_onnx(self) -> onnx.ModelProto:
        """Return the pipeline as one ONNX graph; the classifier's label output is cut off."""
        from skl2onnx.helpers.onnx_helper import select_model_inputs_outputs

        width = self.native.n_features_in_
        if self.task is not Task.REGRESSION:
            graph = _converted(self.native, width, {"zipmap": False})
            selected: onnx.ModelProto = select_model_inputs_outputs(graph, outputs=["probabilities"])
            return selected
        *preparation, (name, model) = self.native.steps
        graph = _converted(type(self.native)([*preparation, (name, model.regressor_)]), width, {})
        _append_unit(graph, float(model.transformer_.mean_[0]), float(model.transformer_.scale_[0]))
        return graph


def fit(fitting: Fitting) -> Fitted:
    """Fit the family that `params.family` names; a regression learns the target in standard deviations."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.pipeline import Pipeline

    problem, params, training = fitting.problem, fitting.params, fitting.training
    target, scaled = training.target, _standardized(problem, training.target, training.target)
    trees_take_all = params.family == "hist_gradient_boosting" and params.preprocessing.select is None
    steps = [("preprocess", _columns(problem, training.matrix, params, raw=trees_take_all))]
    if params.preprocessing.select is not None:
        steps.append(("select", _selection(problem, params.preprocessing.select)))
    preparation = Pipeline(steps)
    fitting.progress("encoding")
    # fit_transform, not fit and transform: the cross-fitted encoding keeps a row's own target out of its value
    with warnings.catch_warnings():
        if params.preprocessing.select is not None:
            warnings.simplefilter("ignore")  # a code that no row has is a constant column: never selected, no news
        prepared = preparation.fit_transform(training.matrix, scaled)
    model = _estimator(problem, params, fitting.rounds)
    held: dict[str, Any] = {}
    if getattr(model, "early_stopping", False) and fitting.tuning is not None:
        held["X_val"] = preparation.transform(fitting.tuning.matrix)
        held["y_val"] = _standardized(problem, fitting.tuning.target, target)
    if problem.task is Task.REGRESSION:
        model = TransformedTargetRegressor(model, transformer=_scaler())
    fitting.progress("fitting")
    model.fit(prepared, target, **held)
    estimator = getattr(model, "regressor_", model)
    if held:
        # the rounds after the best one: scikit-learn keeps them, and has no public way to drop them
        del estimator._predictors[int(np.argmax(estimator.validation_score_[1:])) + 1 :]  # noqa: SLF001
    if params.family == "hist_gradient_boosting":
        _round_thresholds(estimator)
    if params.family == "random_forest":
        estimator.n_jobs = 1  # threads would add the trees' votes in any order, and so to another last digit
    return FittedPipeline(Pipeline([*preparation.steps, ("model", model)]), problem.task, _rounds(estimator))


def _standardized(problem: Problem, target: NDArray[np.float64], training: NDArray[np.float64]) -> NDArray[np.float64]:
    """A regression's target by mean and standard deviation of the training rows; classes as they are."""
    if problem.task is not Task.REGRESSION:
        return target
    return (target - np.mean(training)) / (np.std(training) or 1.0)


def _round_thresholds(boosting: Any) -> None:
    """Round every threshold down to float32, so that of float32 rows each stays on its side.

    The graph has no wider type, and the converter takes the nearest: from between two neighbours that may be the upper.
    """
    for tree in chain.from_iterable(boosting._predictors):  # noqa: SLF001  there is no public way to the trees
        exact = tree.nodes["num_threshold"]
        nearest = exact.astype(np.float32)
        tree.nodes["num_threshold"] = np.where(nearest > exact, np.nextafter(nearest, np.float32(-np.inf)), nearest)


def _converted(pipeline: Any, width: int, options: dict[str, Any]) -> onnx.ModelProto:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    inputs = [("features", FloatTensorType([None, width]))]
    graph: onnx.ModelProto = to_onnx(pipeline, initial_types=inputs, target_opset=OPSET, options=options)
    return graph


def _append_unit(model: onnx.ModelProto, mean: float, scale: float) -> None:
    """Extend the graph from standard deviations to the target's own unit, in float64."""
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    for name, value in (("target_scale", scale), ("target_mean", mean)):
        graph.initializer.append(numpy_helper.from_array(np.asarray(value, dtype=np.float64), name))
    graph.node.append(helper.make_node("Cast", [graph.output[0].name], ["standardized"], to=TensorProto.DOUBLE))
    graph.node.append(helper.make_node("Mul", ["standardized", "target_scale"], ["scaled_target"]))
    graph.node.append(helper.make_node("Add", ["scaled_target", "target_mean"], ["prediction"]))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("prediction", TensorProto.DOUBLE, [None, 1]))


def _columns(problem: Problem, matrix: NDArray[np.float32], params: TrainParams, *, raw: bool) -> Any:
    """The preparation of each group of columns; `raw` leaves numbers and narrow categories as they are.

    A column without a value in `matrix` is left out: boosting does not take it, and nothing can be learnt of it.
    """
    from skl2onnx.sklapi import CastTransformer
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import make_pipeline

    settings = params.preprocessing
    numbers, narrow, wide = _groups(problem.features, settings.wide_from)
    numbers = [position for position in numbers if not np.isnan(matrix[:, position]).all()]
    if not numbers + narrow + wide:
        raise DataError("train: expected a feature with a value in the rows to fit on, found none")
    if problem.task is Task.MULTICLASS:
        narrow, wide = sorted(narrow + wide), []
    trees = params.family != "logistic_regression"
    scaled = not trees and settings.scaling == "standard"
    groups: list[tuple[str, Any, list[int]]] = [
        ("numbers", "passthrough" if raw else _imputed(settings, scaled=scaled), numbers),
        ("narrow", "passthrough" if trees else _one_hot(problem.features, narrow), narrow),
    ]
    if wide:
        encoder = _target_encoder(problem, [problem.features[i] for i in wide], params.seed)
        # float32 before the fit: the graph has no wider type, and a split must fall on the same side in both
        steps = [encoder, _scaler(), CastTransformer()] if scaled else [encoder, CastTransformer()]
        groups.append(("wide", make_pipeline(*steps), wide))
    return ColumnTransformer([group for group in groups if group[2]])


def _groups(features: tuple[Feature, ...], wide_from: int) -> tuple[list[int], list[int], list[int]]:
    """Positions of numbers, narrow and wide categories."""
    categories = [i for i, feature in enumerate(features) if feature.kind is Kind.CATEGORY]
    wide = [i for i in categories if len(features[i].categories) > wide_from]
    numbers = [i for i in range(len(features)) if i not in categories]
    return numbers, [i for i in categories if i not in wide], wide


def _imputed(settings: Preprocessing, *, scaled: bool) -> Any:
    from skl2onnx.sklapi import CastTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline

    imputer = SimpleImputer(strategy=settings.imputation)
    return make_pipeline(imputer, *([_scaler()] if scaled else []), CastTransformer())


def _scaler() -> Any:
    from sklearn.preprocessing import StandardScaler

    return StandardScaler()


def _one_hot(features: tuple[Feature, ...], positions: list[int]) -> Any:
    from sklearn.preprocessing import OneHotEncoder

    codes = [np.arange(features[i].codes, dtype=np.float32) for i in positions]
    return OneHotEncoder(categories=codes, sparse_output=False, dtype=np.float32)


def _target_encoder(problem: Problem, features: list[Feature], seed: int) -> Any:
    from sklearn.model_selection import KFold, StratifiedKFold
    from sklearn.preprocessing import TargetEncoder

    binary = problem.task is Task.BINARY
    folds = StratifiedKFold if binary else KFold
    return TargetEncoder(
        categories=[np.arange(feature.codes, dtype=np.float32) for feature in features],
        target_type="binary" if binary else "continuous",
        cv=folds(CROSS_FITTING_FOLDS, shuffle=True, random_state=seed),
    )


def _selection(problem: Problem, count: int) -> Any:
    from sklearn.feature_selection import SelectKBest, f_classif, f_regression

    return SelectKBest(f_regression if problem.task is Task.REGRESSION else f_classif, k=count)


def _estimator(problem: Problem, params: TrainParams, rounds: int | None) -> Any:
    """The unfitted estimator of the family."""
    from sklearn import ensemble, linear_model

    regression = problem.task is Task.REGRESSION
    if params.family == "hist_gradient_boosting":
        boosting = params.hist_gradient_boosting
        kind = ensemble.HistGradientBoostingRegressor if regression else ensemble.HistGradientBoostingClassifier
        return kind(
            max_iter=rounds or boosting.iterations,
            learning_rate=boosting.learning_rate,
            max_leaf_nodes=boosting.leaves,
            min_samples_leaf=boosting.min_leaf_rows,
            l2_regularization=boosting.l2,
            early_stopping=stops_early(params) and rounds is None,
            n_iter_no_change=boosting.early_stopping_rounds or 1,
            random_state=params.seed,
        )
    if params.family == "random_forest":
        forest = params.random_forest
        kind = ensemble.RandomForestRegressor if regression else ensemble.RandomForestClassifier
        return kind(
            n_estimators=forest.trees,
            max_depth=forest.depth,
            min_samples_leaf=forest.min_leaf_rows,
            max_features=forest.feature_share,
            n_jobs=-1,
            random_state=params.seed,
        )
    if regression:
        return linear_model.Ridge(alpha=1 / params.logistic_regression.c)
    logistic = params.logistic_regression
    return linear_model.LogisticRegression(C=logistic.c, max_iter=logistic.iterations, random_state=params.seed)


def _rounds(estimator: Any) -> int:
    """Boosting rounds, trees, or solver iterations; 1 for a closed form."""
    if hasattr(estimator, "estimators_"):
        return len(estimator.estimators_)
    found = getattr(estimator, "n_iter_", None)
    return int(np.max(found)) if found is not None else 1
