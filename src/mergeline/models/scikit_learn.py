"""The families of scikit-learn: one pipeline from the encoder's matrix to scores, exported whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

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
        if self.task is Task.REGRESSION:
            return np.asarray(self.native.predict(matrix), dtype=np.float64).reshape(-1, 1)
        return np.asarray(self.native.predict_proba(matrix), dtype=np.float64)

    def to_onnx(self) -> onnx.ModelProto:
        """Return the pipeline as one ONNX graph; the classifier's label output is cut off."""
        from skl2onnx import to_onnx
        from skl2onnx.common.data_types import FloatTensorType
        from skl2onnx.helpers.onnx_helper import select_model_inputs_outputs

        inputs = [("features", FloatTensorType([None, self.native.n_features_in_]))]
        if self.task is Task.REGRESSION:
            return to_onnx(self.native, initial_types=inputs, target_opset=OPSET)
        graph = to_onnx(self.native, initial_types=inputs, target_opset=OPSET, options={"zipmap": False})
        return select_model_inputs_outputs(graph, outputs=["probabilities"])


def fit(fitting: Fitting) -> Fitted:
    """Fit the family that `params.family` names."""
    from sklearn.pipeline import Pipeline

    problem, params, training = fitting.problem, fitting.params, fitting.training
    trees_take_all = params.family == "hist_gradient_boosting" and params.preprocessing.select is None
    steps = [("preprocess", _columns(problem, params, raw=trees_take_all))]
    if params.preprocessing.select is not None:
        steps.append(("select", _selection(problem, params.preprocessing.select)))
    preparation = Pipeline(steps)
    fitting.progress("encoding")
    # fit_transform, not fit and transform: the cross-fitted encoding keeps a row's own target out of its value
    prepared = preparation.fit_transform(training.matrix, training.target)
    estimator = _estimator(problem, params, fitting.rounds)
    fitting.progress("fitting")
    if getattr(estimator, "early_stopping", False) and fitting.tuning is not None:
        tuning = preparation.transform(fitting.tuning.matrix)
        estimator.fit(prepared, training.target, X_val=tuning, y_val=fitting.tuning.target)
    else:
        estimator.fit(prepared, training.target)
    return FittedPipeline(Pipeline([*preparation.steps, ("model", estimator)]), problem.task, _rounds(estimator))


def _columns(problem: Problem, params: TrainParams, *, raw: bool) -> Any:
    """The preparation of each group of columns; `raw` leaves numbers and narrow categories as they are."""
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import make_pipeline
    from skl2onnx.sklapi import CastTransformer

    settings = params.preprocessing
    numbers, narrow, wide = _groups(problem.features, settings.wide_from)
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
        chain = [encoder, _scaler(), CastTransformer()] if scaled else [encoder, CastTransformer()]
        groups.append(("wide", make_pipeline(*chain), wide))
    return ColumnTransformer([group for group in groups if group[2]])


def _groups(features: tuple[Feature, ...], wide_from: int) -> tuple[list[int], list[int], list[int]]:
    """Positions of numbers, narrow and wide categories."""
    categories = [i for i, feature in enumerate(features) if feature.kind is Kind.CATEGORY]
    wide = [i for i in categories if len(features[i].categories) > wide_from]
    numbers = [i for i in range(len(features)) if i not in categories]
    return numbers, [i for i in categories if i not in wide], wide


def _imputed(settings: Preprocessing, *, scaled: bool) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from skl2onnx.sklapi import CastTransformer

    imputer = SimpleImputer(strategy=settings.imputation, keep_empty_features=True)
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
