"""`params.yaml`, read once and checked whole: frozen records, unknown keys refused, problems named together."""

from __future__ import annotations

import datetime as dt
import difflib
import math
import reprlib
from collections.abc import Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    RootModel,
    ValidationError,
    model_validator,
)

from mergeline.errors import ConfigurationError
from mergeline.schema import Task
from mergeline.sources.declaration import Sources

PARAMS_FILE = "params.yaml"
SCORE = "score"  # the model's own column beside the features, in the reference and in logs
PLAIN_WORDS = {  # pydantic's, ours
    "Input should be": "expected",
    "expected greater": "expected a number greater",
    "expected less": "expected a number less",
    "a valid tuple": "a list",
    "a valid string": "text",
}


class Section(BaseModel):
    """A mapping of `params.yaml`: frozen, no unknown key, no silent conversion of types, no infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _day(value: Any) -> dt.date:
    """A date written in quotes: DVC, which reads the same file, takes no bare one."""
    if isinstance(value, dt.date):
        # a ValueError, not a TypeError: of those alone pydantic makes one of its problems
        raise ValueError(f"expected a date in quotes (DVC takes no bare one), found {value}")  # noqa: TRY004
    try:
        return dt.date.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError(f'expected a date such as "2013-07-01", found {value!r}') from None


def _limit(value: Any) -> float | dt.date:
    """A number, or a date for a column of time stamps."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _day(value)
    if not math.isfinite(value):
        raise ValueError(f"expected a finite number, found {value}")
    return value


def _scalar(value: Any) -> bool | int | float | str:
    if isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ValueError(f"expected a number, a text, true or false, found {reprlib.repr(value)}")


def _threshold(value: Any) -> float | Literal["f1"]:
    if value == "f1":
        return "f1"
    if isinstance(value, float) and 0 < value < 1:
        return value
    raise ValueError(f"expected f1 or a number between 0 and 1, found {reprlib.repr(value)}")


Day = Annotated[dt.date, BeforeValidator(_day)]
Limit = Annotated[float | dt.date, PlainValidator(_limit)]
Names = Annotated[tuple[str, ...], Field(strict=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Scalar = Annotated[bool | int | float | str, PlainValidator(_scalar)]
Threshold = Annotated[float | Literal["f1"], PlainValidator(_threshold)]
Severity = Literal["error", "warn"]


class Holdout(Section):
    """The newest rows, kept out of everything that is fitted: those of the last `days`, or a `share` of all rows."""

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
        problems = []
        doubled = sorted({name for name in self.features if self.features.count(name) > 1})
        if doubled:
            problems.append(f"expected each feature once, found {', '.join(doubled)} again")
        if not self.features:
            problems.append("expected at least one column under numeric or categorical")
        problems += [
            f"expected the {role} not to be a feature, found {getattr(self, role)!r} among them"
            for role in ("target", "id")
            if getattr(self, role) in self.features
        ]
        if self.target in (self.id, self.time):
            problems.append(f"expected the target not to be the id or the time, found {self.target!r}")
        if SCORE in self.features:
            problems.append(f"expected no feature called {SCORE!r}, which is the model's own column; rename it")
        if self.holdout.days is not None and self.time is None:
            problems.append("holdout.days needs data.time; name a time column or use holdout.share")
        _raise(problems)
        return self


class ColumnRule(Section):
    """What the values of one column may be; a rule that is left out does not hold."""

    min: Limit | None = None
    max: Limit | None = None
    values: Annotated[tuple[Scalar, ...], Field(strict=False)] | None = None
    missing: Share | None = None
    severity: Severity = "error"

    @model_validator(mode="after")
    def _in_order(self) -> ColumnRule:
        low, high = self.min, self.max
        if low is None or high is None:
            return self
        if isinstance(low, dt.date) is not isinstance(high, dt.date):
            raise ValueError(f"expected min and max to be two numbers or two dates, found {low} and {high}")
        if low > high:  # type: ignore[operator]  # two numbers or two dates
            raise ValueError(f"expected min not above max, found {low} and {high}")
        return self


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
        problems = []
        if self.train.calibration != "none" and self.data.task is not Task.BINARY:
            problems.append("train.calibration: expected none for this task, sigmoid is for a binary one")
        limits = self.validation.columns.get(self.data.time or "", ColumnRule())
        if any(isinstance(limit, int | float) for limit in (limits.min, limits.max)):
            problems.append(f"validate.columns.{self.data.time}: expected dates as limits of data.time, found numbers")
        known = set(self.data.columns)
        for where, names in (("validate.columns", self.validation.columns), ("evaluate.slices", self.evaluate.slices)):
            problems += [
                f"{where}: {name!r} is no column of data{_suggestion(name, known)}"
                for name in names
                if name not in known
            ]
        _raise(problems)
        return self


def _raise(problems: Sequence[str]) -> None:
    if problems:
        raise ValueError("; ".join(problems))


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
    except OSError as err:
        raise ConfigurationError(f"{path}: expected a readable file, found {err.strerror}") from err
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
        found = "nothing" if raw is None else reprlib.repr(raw)
        raise ConfigurationError(f"{where}: expected a mapping of sections, found {found}")
    try:
        return Params.model_validate(raw)
    except ValidationError as err:
        problems = [_problem(detail, raw) for detail in err.errors()]
        raise ConfigurationError(f"{where}: " + "; ".join(dict.fromkeys(problems))) from err


def _problem(detail: Any, raw: Any) -> str:
    """One pydantic error as `dotted.key: what was expected, found what`."""
    kind, location = detail["type"], detail["loc"]
    if kind == "missing":
        return f"{_dotted(location)}: missing"
    if kind == "invalid_key":
        return f"{_dotted(location)}: expected a key that is text"
    if kind == "extra_forbidden":
        return f"{_dotted(location)}: unknown key{_suggestion(str(location[-1]), _known_keys(location[:-1]))}"
    key = _dotted(_written(location, raw))
    if kind == "value_error":
        message = detail["msg"].removeprefix("Value error, ")
        return f"{key}: {message}" if key else message
    message = "expected a mapping" if kind in ("model_type", "dict_type") else detail["msg"]
    for theirs, ours in PLAIN_WORDS.items():
        message = message.replace(theirs, ours)
    return f"{key}: {message[0].lower()}{message[1:]}, found {reprlib.repr(detail['input'])}"


def _dotted(location: Sequence[int | str]) -> str:
    return ".".join(map(str, location))


def _written(location: Sequence[int | str], raw: Any) -> Sequence[int | str]:
    """The part of a place that stands in the file; behind it pydantic names the branch of a union."""
    for depth, part in enumerate(location):
        inside = isinstance(raw, dict) and part in raw
        if not inside and not (isinstance(raw, list) and isinstance(part, int)):
            return location[:depth]
        raw = raw[part]
    return location


def _known_keys(location: Sequence[int | str]) -> set[str]:
    """The keys that the section at this place of `params.yaml` may have."""
    section: Any = Params
    for part in location:
        section = _section(section)
        if get_origin(section) is dict:
            section = get_args(section)[1]
            continue
        fields = getattr(section, "model_fields", {})
        section = next((field.annotation for name, field in fields.items() if part in (name, field.alias)), None)
    fields = getattr(_section(section), "model_fields", {})
    return {field.alias or name for name, field in fields.items()}


def _section(annotation: Any) -> Any:
    """What stands in an `X | None` and in a model that is a mapping itself."""
    if get_origin(annotation) is UnionType:
        annotation = get_args(annotation)[0]
    if isinstance(annotation, type) and issubclass(annotation, RootModel):
        return annotation.model_fields["root"].annotation
    return annotation
