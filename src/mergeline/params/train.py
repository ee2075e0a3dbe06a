"""The sections `train` and `tune`: how the candidate is made, and how better settings are looked for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mergeline.params.section import Section, Threshold


class HistGradientBoosting(Section):
    """Histogram gradient boosting (scikit-learn)."""

    iterations: Annotated[int, Field(ge=1)] = 150
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.06
    leaves: Annotated[int, Field(ge=2)] = 31
    min_leaf_rows: Annotated[int, Field(ge=1)] = 20
    l2: Annotated[float, Field(ge=0)] = 0.0
    early_stopping_rounds: Annotated[int, Field(ge=1)] | None = None


class RandomForest(Section):
    """Random forest (scikit-learn)."""

    trees: Annotated[int, Field(ge=1)] = 100
    depth: Annotated[int, Field(ge=1)] = 14
    min_leaf_rows: Annotated[int, Field(ge=1)] = 20
    feature_share: Annotated[float, Field(gt=0, le=1)] = 0.3


class LogisticRegression(Section):
    """Logistic regression; for a regression task the ridge regression of the same penalty."""

    c: Annotated[float, Field(gt=0)] = 1.0
    iterations: Annotated[int, Field(ge=1)] = 500


class TorchMlp(Section):
    """Multi-layer perceptron with entity embeddings (Guo and Berkhahn, 2016), early stopping on the tuning rows.

    The rows are dealt out to `workers`, who each bring their part of every step: at once where `engine` has several
    processes, else one after another. The model depends on their number, and not on the engine.
    """

    hidden: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False, min_length=1)] = (128, 64)
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    epochs: Annotated[int, Field(ge=1)] = 15
    patience: Annotated[int, Field(ge=1)] = 3
    batch_rows: Annotated[int, Field(ge=2)] = 512
    learning_rate: Annotated[float, Field(gt=0)] = 0.0005
    weight_decay: Annotated[float, Field(ge=0)] = 0.0001
    workers: Annotated[int, Field(ge=1, le=64)] = 1


Family = Literal["hist_gradient_boosting", "random_forest", "logistic_regression", "torch_mlp"]


class Preprocessing(Section):
    """What happens to a row inside the model, before the estimator.

    A category with more than `wide_from` training values is wide: target-encoded with cross-fitting (one-hot for a
    multiclass task); of one with more than `max_categories`, the most frequent are kept and the rest share one code.
    Trees take missing numbers and category codes as they are; the other families impute and scale.
    """

    imputation: Literal["median", "mean"] = "median"
    scaling: Literal["standard", "none"] = "standard"
    wide_from: Annotated[int, Field(ge=1)] = 20
    max_categories: Annotated[int, Field(ge=1)] = 1000
    min_category_rows: Annotated[int, Field(ge=1)] = 1
    select: Annotated[int, Field(ge=2)] | None = None


class TrainParams(Section):
    """How the candidate is made; each family keeps its settings when another one is chosen."""

    family: Family = "hist_gradient_boosting"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1
    tuning_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    threshold: Threshold = 0.5
    calibration: Literal["none", "sigmoid"] = "none"
    refit: bool = True
    preprocessing: Preprocessing = Preprocessing()
    hist_gradient_boosting: HistGradientBoosting = HistGradientBoosting()
    random_forest: RandomForest = RandomForest()
    logistic_regression: LogisticRegression = LogisticRegression()
    torch_mlp: TorchMlp = TorchMlp()

    @property
    def settings(self) -> Section:
        """The settings of the chosen family."""
        settings: Section = getattr(self, self.family)
        return settings


class TuneParams(Section):
    """How long the search for better settings may take."""

    trials: Annotated[int, Field(ge=1)] = 20
    minutes: Annotated[float, Field(gt=0)] = 10.0
    folds: Annotated[int, Field(ge=2)] = 3
