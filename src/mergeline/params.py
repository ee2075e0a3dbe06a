"""`params.yaml`, read once and checked whole: frozen records, unknown keys refused, every problem named at once."""

from __future__ import annotations

import datetime as dt
import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    model_validator,
)

from mergeline.errors import ConfigurationError
from mergeline.schema import Task
from mergeline.sources.declaration import Sources

PARAMS_FILE = "params.yaml"


class Section(BaseModel):
    """A mapping of `params.yaml`: frozen, no unknown key, no silent conversion of types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _day(value: Any) -> dt.date:
    """A date written in quotes: DVC, which reads the same file, takes no bare one."""
    if isinstance(value, dt.date):
        raise ValueError(f"expected a date in quotes (DVC takes no bare one), found {value}")
    try:
        return dt.date.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError(f'expected a date such as "2013-07-01", found {value!r}') from None


def _limit(value: Any) -> float | dt.date:
    """A number, or a date for a column of time stamps."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _day(value)
    return value


Day = Annotated[dt.date, BeforeValidator(_day)]
Limit = Annotated[float | dt.date, PlainValidator(_limit)]
Names = Annotated[tuple[str, ...], Field(strict=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Scalar = bool | int | float | str
Severity = Literal["error", "warn"]


class Holdout(Section):
    """The newest rows, kept out of everything that is fitted: the last `days` days of data, or a `share` of the rows."""

    days: Annotated[int, Field(gt=0)] | None = None
    share: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Holdout:
        if (self.days is None) == (self.share is None):
            raise ValueError("expected exactly one of days and share")
        return self


class DataParams(Section):
    """What the table means."""

    task: Annotated[Task, Field(strict=False)]
    target: str
    positive: Scalar | None = None
    time: str | None = None
    id: str | None = None
    as_of: Day | None = None
    numeric: Names = ()
    categorical: Names = ()
    holdout: Holdout

    @property
    def features(self) -> tuple[str, ...]:
        """The input columns, numeric before categorical."""
        return self.numeric + self.categorical

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that the pipeline reads, each once."""
        named = (self.id, self.time, *self.features, self.target)
        return tuple(dict.fromkeys(name for name in named if name is not None))

    @model_validator(mode="after")
    def _consistent(self) -> DataParams:
        doubled = sorted({name for name in self.features if self.features.count(name) > 1})
        if doubled:
            raise ValueError(f"expected each feature once, found {', '.join(doubled)} again")
        if not self.features:
            raise ValueError("expected at least one column under numeric or categorical")
        for role in ("target", "id"):
            if getattr(self, role) in self.features:
                raise ValueError(f"expected the {role} not to be a feature, found {getattr(self, role)!r} among them")
        if self.holdout.days is not None and self.time is None:
            raise ValueError("holdout.days needs data.time; name a time column or use holdout.share")
        return self


class ColumnRule(Section):
    """What the values of one column may be; a rule that is left out does not hold."""

    min: Limit | None = None
    max: Limit | None = None
    values: Annotated[tuple[Scalar, ...], Field(strict=False)] | None = None
    missing: Share | None = None
    severity: Severity = "error"


class ValidateParams(Section):
    """What stops the pipeline (`error`) and what is only reported (`warn`)."""

    min_rows: Annotated[int, Field(ge=1)] = 1
    max_age_days: Annotated[int, Field(ge=0)] | None = None
    time_order: Severity = "error"
    derived: Literal["error", "warn", "off"] = "warn"
    examples: Annotated[int, Field(ge=0, le=20)] = 5
    columns: dict[str, ColumnRule] = {}


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
    """Multi-layer perceptron with entity embeddings (Guo and Berkhahn, 2016), early stopping on the tuning rows."""

    hidden: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False, min_length=1)] = (128, 64)
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    epochs: Annotated[int, Field(ge=1)] = 15
    patience: Annotated[int, Field(ge=1)] = 3
    batch_rows: Annotated[int, Field(ge=2)] = 512
    learning_rate: Annotated[float, Field(gt=0)] = 0.0005
    weight_decay: Annotated[float, Field(ge=0)] = 0.0001


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
    select: Annotated[int, Field(ge=1)] | None = None


class TrainParams(Section):
    """How the candidate is made; each family keeps its settings when another one is chosen."""

    family: Family = "hist_gradient_boosting"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1
    tuning_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    threshold: Annotated[float, Field(gt=0, lt=1)] | Literal["f1"] = 0.5
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


class EvaluateParams(Section):
    """What is shown of the candidate beside its metrics."""

    slices: Names = ()
    min_slice_rows: Annotated[int, Field(ge=1)] = 200
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95


class TuneParams(Section):
    """How long the search for better settings may take."""

    trials: Annotated[int, Field(ge=1)] = 20
    minutes: Annotated[float, Field(gt=0)] = 10.0
    folds: Annotated[int, Field(ge=2)] = 3


class Params(Section):
    """The whole of `params.yaml`."""

    data: DataParams
    sources: Sources | None = None
    validation: ValidateParams = Field(default=ValidateParams(), alias="validate")
    train: TrainParams = TrainParams()
    evaluate: EvaluateParams = EvaluateParams()
    tune: TuneParams = TuneParams()

    @model_validator(mode="after")
    def _names_exist(self) -> Params:
        if self.train.calibration != "none" and self.data.task is not Task.BINARY:
            raise ValueError("train.calibration: expected none for this task, sigmoid is for a binary one")
        known = set(self.data.columns)
        for where, names in (("validate.columns", self.validation.columns), ("evaluate.slices", self.evaluate.slices)):
            for name in names:
                if name not in known:
                    raise ValueError(f"{where}: {name!r} is no column of data" + _suggestion(name, known))
        return self


def _suggestion(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def load(path: Path) -> Params:
    """Return the settings in `path`; raise `ConfigurationError` for a missing file, bad YAML and bad settings."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        raw = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as err:
        raise ConfigurationError(f"{path}: no such file; `mergeline init TABLE --target COLUMN` writes one") from err
    except UnicodeDecodeError as err:
        raise ConfigurationError(f"{path}: expected UTF-8 text, found byte {err.object[err.start]:#x}") from err
    except MarkedYAMLError as err:
        mark = err.problem_mark
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise ConfigurationError(f"{where}: not valid YAML: {err.problem}") from err
    except YAMLError as err:
        raise ConfigurationError(f"{path}: not valid YAML: {' '.join(str(err).split())}") from err
    return parse(raw, str(path))


def parse(raw: Any, where: str = PARAMS_FILE) -> Params:
    """Return the settings in a parsed YAML document; every problem is named, each with its dotted key."""
    if not isinstance(raw, dict):
        raise ConfigurationError(f"{where}: expected a mapping of sections, found {raw!r}")
    try:
        return Params.model_validate(raw)
    except ValidationError as err:
        problems = [_problem(detail) for detail in err.errors()]
        raise ConfigurationError(f"{where}: " + "; ".join(dict.fromkeys(problems))) from err


def _problem(detail: Any) -> str:
    """One pydantic error as `dotted.key: what was expected, found what`."""
    key = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return f"{key}: unknown key{_suggestion(str(detail['loc'][-1]), _known_keys(detail['loc'][:-1]))}"
    if detail["type"] == "missing":
        return f"{key}: missing"
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "value_error":
        return f"{key}: {message}" if key else message
    return f"{key}: {message[0].lower()}{message[1:]}, found {detail['input']!r}"


def _known_keys(location: tuple[int | str, ...]) -> set[str]:
    """The keys that the section at this place of `params.yaml` may have."""
    section: Any = Params
    for part in location:
        fields = getattr(section, "model_fields", {})
        field = next((f for name, f in fields.items() if part in (name, f.alias)), None)
        section = field.annotation if field else None
    return {field.alias or name for name, field in getattr(section, "model_fields", {}).items()}
