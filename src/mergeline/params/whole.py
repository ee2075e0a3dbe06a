"""The whole of `params.yaml`, and what its sections must agree on."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field, model_validator

from mergeline.params.collect import CollectParams
from mergeline.params.data import ColumnRule, DataParams, ValidateParams
from mergeline.params.decide import DecideParams
from mergeline.params.drift import DriftParams
from mergeline.params.engine import EngineParams
from mergeline.params.evaluate import PRIMARY_METRICS, EvaluateParams
from mergeline.params.gates import GateParams
from mergeline.params.performance import PerformanceParams
from mergeline.params.release import ReleaseParams
from mergeline.params.section import Section, refuse, suggestion
from mergeline.params.train import TrainParams, TuneParams
from mergeline.params.weekly import WeeklyParams
from mergeline.schema import Task
from mergeline.sources.declaration import Sources


class Params(Section):
    """The whole of `params.yaml`."""

    data: DataParams
    sources: Sources | None = None
    validation: ValidateParams = Field(default=ValidateParams(), alias="validate")
    train: TrainParams = TrainParams()
    evaluate: EvaluateParams = EvaluateParams()
    gates: GateParams = GateParams()
    release: ReleaseParams = ReleaseParams()
    tune: TuneParams = TuneParams()
    drift: DriftParams = DriftParams()
    engine: EngineParams = EngineParams()
    decide: DecideParams = DecideParams()
    weekly: WeeklyParams = WeeklyParams()
    performance: PerformanceParams = PerformanceParams()
    collect: CollectParams = CollectParams()

    @property
    def primary(self) -> str:
        """The metric that the verdict turns on."""
        return self.evaluate.primary or PRIMARY_METRICS[self.data.task][0]

    @model_validator(mode="after")
    def _names_exist(self) -> Params:
        problems = []
        if self.train.calibration != "none" and self.data.task is not Task.BINARY:
            problems.append("train.calibration: expected none for this task, sigmoid is for a binary one")
        limits = self.validation.columns.get(self.data.time or "", ColumnRule())
        if any(isinstance(limit, int | float) for limit in (limits.min, limits.max)):
            problems.append(f"validate.columns.{self.data.time}: expected dates as limits of data.time, found numbers")
        primaries = PRIMARY_METRICS[self.data.task]
        if self.primary not in primaries:
            problems.append(f"evaluate.primary: expected one of {', '.join(primaries)}, found {self.primary!r}")
        wanted, there = self.train.torch_mlp.workers, self.engine.workers
        if self.engine.name == "ray" and wanted > there:
            problems.append(f"train.torch_mlp.workers: expected at most engine.workers, {there}, found {wanted}")
        problems += self._unknown_columns()
        refuse(problems)
        return self

    def _unknown_columns(self) -> Iterator[str]:
        """Each place that names a column, or a feature, that `data` does not."""
        behaviour = self.gates.behaviour
        columns, features = "column", "feature"
        for where, names, kind in (
            ("validate.columns", self.validation.columns, columns),
            ("evaluate.slices", self.evaluate.slices, columns),
            ("gates.fairness.columns", self.gates.fairness.columns, columns),
            ("gates.behaviour.invariant", behaviour.invariant, features),
            ("gates.behaviour.directions", behaviour.directions, features),
            ("weekly.metrics", self.weekly.features, features),
        ):
            known = set(self.data.columns if kind == columns else self.data.features)
            for name in names:
                if name not in known:
                    yield f"{where}: {name!r} is no {kind} of data{suggestion(name, known)}"
