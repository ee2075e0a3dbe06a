"""The settings of a repository, one frozen record a section of `params.yaml`.

What is named here is imported when it is first asked for: a command that asks for one section waits for no other.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mergeline.params.data import ColumnRule, DataParams, Holdout, ValidateParams
    from mergeline.params.drift import DriftParams
    from mergeline.params.evaluate import PRIMARY_METRICS, EvaluateParams
    from mergeline.params.gates import GateParams
    from mergeline.params.reading import PARAMS_FILE, load, load_sections, parse, parse_gates, parse_yaml
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

MODULES = {
    "data": ("ColumnRule", "DataParams", "Holdout", "ValidateParams"),
    "drift": ("DriftParams",),
    "evaluate": ("PRIMARY_METRICS", "EvaluateParams"),
    "gates": ("GateParams",),
    "reading": ("PARAMS_FILE", "load", "load_sections", "parse", "parse_gates", "parse_yaml"),
    "release": ("ReleaseParams",),
    "section": ("Scalar", "Severity"),
    "train": (
        *("Family", "HistGradientBoosting", "LogisticRegression", "Preprocessing", "RandomForest", "TorchMlp"),
        *("TrainParams", "TuneParams"),
    ),
    "whole": ("Params",),
}

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
    "load_sections",
    "parse",
    "parse_gates",
    "parse_yaml",
]


def __getattr__(name: str) -> Any:
    for module, names in MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
