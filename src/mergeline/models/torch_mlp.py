"""The torch family: entity embeddings beside standardised numbers, a multi-layer perceptron, seeded, stopped early.

Entity embeddings: Guo and Berkhahn (2016), "Entity Embeddings of Categorical Variables". Optimiser: AdamW (Loshchilov
and Hutter, 2019). This module imports torch as a whole, so it is imported only when the family is chosen.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from mergeline.errors import ConfigurationError
from mergeline.models.family import Fitted, Fitting, Problem
from mergeline.models.torch_training import learn
from mergeline.schema import Kind, Task

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from mergeline.params import Preprocessing, TorchMlp

OPSET = 18
MAX_EMBEDDING = 50
SCORING_ROWS = 65_536


@dataclass(frozen=True, slots=True)
class Scaling:
    """What the training rows say of the number columns (each float32 of one value a column)."""

    fill: NDArray[np.float32]
    mean: NDArray[np.float32]
    spread: NDArray[np.float32]


class Network(nn.Module):
    """Embedded categories and standardised numbers, their missing flags beside them, through `hidden` layers.

    The target of a regression is standardised inside, by `center` and `spread`.
    """

    def __init__(self, problem: Problem, scaling: Scaling, settings: TorchMlp, target: NDArray[np.float64]) -> None:
        super().__init__()
        self.numbers = [i for i, feature in enumerate(problem.features) if feature.kind is not Kind.CATEGORY]
        self.categories = [i for i, feature in enumerate(problem.features) if feature.kind is Kind.CATEGORY]
        self.regression = problem.task is Task.REGRESSION
        codes = [problem.features[i].codes for i in self.categories]
        self.embeddings = nn.ModuleList([nn.Embedding(count, _embedding_width(count)) for count in codes])
        self.fill: torch.Tensor
        self.mean: torch.Tensor
        self.scale: torch.Tensor
        self.register_buffer("fill", torch.from_numpy(scaling.fill))
        self.register_buffer("mean", torch.from_numpy(scaling.mean))
        self.register_buffer("scale", torch.from_numpy(scaling.spread))
        self.center: torch.Tensor
        self.spread: torch.Tensor
        center, spread = (np.mean(target), np.std(target) or 1.0) if self.regression else (0.0, 1.0)
        self.register_buffer("center", torch.tensor(center, dtype=torch.float64))
        self.register_buffer("spread", torch.tensor(spread, dtype=torch.float64))
        widths = [2 * len(self.numbers) + sum(map(_embedding_width, codes)), *settings.hidden]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(settings.dropout)]
        self.body = nn.Sequential(*layers, nn.Linear(widths[-1], problem.classes))

    def raw(self, features: torch.Tensor) -> torch.Tensor:
        """Return logits, or the standardised prediction of a regression: (rows, classes)."""
        parts = []
        if self.numbers:
            values = features[:, self.numbers]  # (rows, numbers)
            missing = torch.isnan(values)
            parts = [(torch.where(missing, self.fill, values) - self.mean) / self.scale, missing.float()]
        for position, embed in zip(self.categories, self.embeddings, strict=True):
            parts.append(embed(features[:, position].long()))  # (rows, embedding width)
        output: torch.Tensor = self.body(torch.cat(parts, dim=1))
        return output

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return scores: (rows, classes)."""
        output = self.raw(features)
        if not self.regression:
            return torch.softmax(output, dim=1)
        return output.double() * self.spread + self.center  # float32 has no digits for a target like 2013 ± 0.01


@dataclass(frozen=True, slots=True)
class FittedNetwork:
    """A fitted network, in evaluation mode."""

    native: Network
    rounds: int
    width: int
    flavor: str = "pytorch"

    def predict(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return scores of shape (rows, classes), (rows, 1) for a regression."""
        with torch.no_grad():
            parts = [self.native(part).numpy() for part in torch.split(torch.from_numpy(matrix), SCORING_ROWS)]
        return np.concatenate(parts).astype(np.float64)

    def to_onnx(self) -> onnx.ModelProto:
        """Return the network as one ONNX graph, without the exporter's notes (they hold paths of the machine)."""
        with _quiet_exporter():
            program = torch.onnx.export(
                self.native,
                (torch.zeros(2, self.width),),
                dynamo=True,
                verbose=False,
                input_names=["features"],
                output_names=["scores"],
                dynamic_shapes=({0: torch.export.Dim("rows")},),
                opset_version=OPSET,
            )
        if program is None:
            raise ConfigurationError("torch.onnx.export gave no program; install the locked version of torch")
        model: onnx.ModelProto = program.model_proto
        for node in model.graph.node:
            del node.metadata_props[:]
        return model


def fit(fitting: Fitting) -> Fitted:
    """Fit the network; keep the epoch with the lowest loss on the tuning rows, or run as many epochs as given."""
    problem, training, params = fitting.problem, fitting.training, fitting.params
    numbers = [i for i, feature in enumerate(problem.features) if feature.kind is not Kind.CATEGORY]
    scaling = _scaling(training.matrix[:, numbers], params.preprocessing)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(params.seed)
        network = Network(problem, scaling, params.torch_mlp, training.target)
        epochs = learn(network, fitting)
    network.eval()
    return FittedNetwork(network, epochs, training.matrix.shape[1])


def _embedding_width(codes: int) -> int:
    """Half the number of codes, at most 50: the rule of thumb of the fastai library."""
    return min(MAX_EMBEDDING, (codes + 1) // 2)


def _scaling(numbers: NDArray[np.float32], settings: Preprocessing) -> Scaling:
    """Fill value, mean and standard deviation of each column; an empty or a constant column is left as it is."""
    width = numbers.shape[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column without any value
        average = np.nanmedian if settings.imputation == "median" else np.nanmean
        fill = np.nan_to_num(average(numbers.astype(np.float64), axis=0)).astype(np.float32)
    if settings.scaling == "none":
        return Scaling(fill, np.zeros(width, dtype=np.float32), np.ones(width, dtype=np.float32))
    filled = np.where(np.isnan(numbers), fill, numbers).astype(np.float64)
    spread = filled.std(axis=0)
    return Scaling(fill, filled.mean(axis=0).astype(np.float32), np.where(spread > 0, spread, 1).astype(np.float32))


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep the exporter's talk (missing torchvision operators, its own deprecations) out of the terminal."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registration.level
    registration.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        registration.setLevel(level)
