"""The settings of a repository, one frozen record a section of `params.yaml`."""

from mergeline.params.data import ColumnRule, DataParams, Holdout, ValidateParams
from mergeline.params.drift import DriftParams
from mergeline.params.evaluate import PRIMARY_METRICS, EvaluateParams
from mergeline.params.gates import GateParams
from mergeline.params.reading import PARAMS_FILE, load, parse, parse_gates, parse_yaml
from mergeline.params.release import ReleaseParams
from mergeline.params.section import Scalar, Severity
from mergeline.params.train import (
    Family,
    HistGradientBoosting,
    LogisticRegression,
    Preprocessing,
    RandomForest,
    TorchMlp,
    TrainParams,
    TuneParams,
)
from mergeline.params.whole import Params

__all__ = [
    "PARAMS_FILE",
    "PRIMARY_METRICS",
    "ColumnRule",
    "DataParams",
    "DriftParams",
    "EvaluateParams",
    "Family",
    "GateParams",
    "HistGradientBoosting",
    "Holdout",
    "LogisticRegression",
    "Params",
    "Preprocessing",
    "RandomForest",
    "ReleaseParams",
    "Scalar",
    "Severity",
    "TorchMlp",
    "TrainParams",
    "TuneParams",
    "ValidateParams",
    "load",
    "parse",
    "parse_gates",
    "parse_yaml",
]
