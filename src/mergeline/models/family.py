"""What every model family takes and gives, and how one is chosen by its name in `params.yaml`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from mergeline.errors import ConfigurationError
from mergeline.schema import Feature, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from mergeline.params import TrainParams


@dataclass(frozen=True, slots=True)
class Rows:
    """Encoded rows: `matrix` float32 (rows, features); `target` float64 (rows,), a class's number or a value."""

    matrix: NDArray[np.float32]
    target: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Problem:
    """What is to be learnt: `classes` is the number of classes, 1 for a regression."""

    task: Task
    classes: int
    features: tuple[Feature, ...]


class Fitted(Protocol):
    """A fitted model in its own library.

    `native` is what MLflow keeps, in the library named by `flavor`; `rounds` is the number of boosting rounds, trees,
    epochs or solver iterations that are in it.
    """

    @property
    def native(self) -> Any:  # an estimator of whichever library
        ...

    @property
    def flavor(self) -> str: ...

    @property
    def rounds(self) -> int: ...

    def predict(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return scores of shape (rows, classes)."""
        ...

    def to_onnx(self) -> onnx.ModelProto:
        """Return a graph from float32 (rows, features) to one output of shape (rows, classes).

        Probabilities are float32, the predictions of a regression float64.
        """
        ...


class Gang(Protocol):
    """Several processes at once, on whichever machines, that reach each other and this one."""

    @property
    def host(self) -> str:
        """The address at which they reach this process."""
        ...

    def run(self, function: Callable[[Any], Any], parts: Callable[[], Sequence[Any]]) -> list[Any]:
        """Return what a module's function returns for each part, all at once; begin anew where a process is lost."""
        ...


@dataclass(frozen=True, slots=True)
class Fitting:
    """One fit: it learns from `training` alone.

    `tuning` rows, where there are any, only end it early; `rounds`, where given, fixes its length instead (a second fit
    on all training rows, as long as the first one found best). A family that can learn in several processes uses those
    of `gang`; what it learns is the same without.
    """

    problem: Problem
    training: Rows
    tuning: Rows | None
    rounds: int | None
    params: TrainParams
    progress: Callable[[str], None]
    gang: Gang | None = None


class Fit(Protocol):
    """Fits a family; deterministic for a given seed and number of threads."""

    def __call__(self, fitting: Fitting) -> Fitted: ...


def fitter(name: str) -> Fit:
    """Return the function that fits the family of this name; raise `ConfigurationError` where torch is missing."""
    if name == "torch_mlp":
        try:
            from mergeline.models import torch_mlp
        except ModuleNotFoundError as err:
            raise ConfigurationError(
                f"train.family: {name} needs {err.name}, which is not installed: `make torch`"
            ) from err
        return torch_mlp.fit
    from mergeline.models import scikit_learn

    return scikit_learn.fit


def stops_early(params: TrainParams) -> bool:
    """Whether the chosen family ends its fit by rows that it does not learn from."""
    return params.family == "torch_mlp" or (
        params.family == "hist_gradient_boosting" and params.hist_gradient_boosting.early_stopping_rounds is not None
    )
