"""The record of a comparison: both sides, their difference, the slices, the gates and the verdict."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from mergeline.gates.evidence import SliceComparison
from mergeline.gates.gate import Gate
from mergeline.gates.slices import worse
from mergeline.gates.verdict import Judgement
from mergeline.intervals import Interval
from mergeline.metrics import Metric, PrecisionRecallPoint, ReliabilityBin, RocPoint
from mergeline.stages.distributions import Distribution


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two that were compared, as the record shows it; of a baseline only its rows and metrics are known."""

    kind: str
    sha256: str | None
    family: str | None
    training_rows: int
    last_time: str | None
    metrics: tuple[Metric, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the record as JSON's types."""
        return {**asdict(self), "metrics": [each.as_dict() for each in self.metrics]}


@dataclass(frozen=True, slots=True)
class Curves:
    """The points of a model's plots; empty where the task has no such plot."""

    roc: tuple[RocPoint, ...] = ()
    precision_recall: tuple[PrecisionRecallPoint, ...] = ()
    calibration: tuple[ReliabilityBin, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """All that `compare` found. `holdout` identifies the rows that judged; `latency_ratio` is in no record."""

    judgement: Judgement
    notes: tuple[str, ...]
    primary: str
    greater_is_better: bool | None
    policy: str
    holdout: dict[str, Any]
    candidate: Side
    champion: Side
    difference: Interval | None
    differences: tuple[tuple[str, Interval], ...]
    slices: tuple[SliceComparison, ...]
    slice_margin: float
    candidate_curves: Curves
    champion_curves: Curves | None
    distributions: tuple[Distribution, ...]
    latency_ratio: Interval | None

    @property
    def gates(self) -> tuple[Gate, ...]:
        """The gates in the order of the report."""
        return self.judgement.gates

    def as_dict(self) -> dict[str, Any]:
        """Return the record as JSON's types, without curves and distributions."""
        return {
            "verdict": self.judgement.verdict,
            "sentence": self.judgement.sentence,
            "notes": list(self.notes),
            "primary": self.primary,
            "greater_is_better": self.greater_is_better,
            "policy": self.policy,
            "holdout": self.holdout,
            "candidate": self.candidate.as_dict(),
            "champion": self.champion.as_dict(),
            "difference": self.difference.as_dict() if self.difference else None,
            "differences": [{"metric": name, **each.as_dict()} for name, each in self.differences],
            "slices": [self._slice(each) for each in self.slices],
            "gates": [each.as_dict() for each in self.gates],
        }

    def curves(self) -> dict[str, Any]:
        """Return what the plots of the report are drawn from, as JSON's types."""
        return {
            "candidate": asdict(self.candidate_curves),
            "champion": asdict(self.champion_curves) if self.champion_curves else {},
            "distributions": [asdict(each) for each in self.distributions],
        }

    def _slice(self, each: SliceComparison) -> dict[str, Any]:
        lost = "failed" if worse(each.difference, self.slice_margin) else "passed"
        return {**asdict(each), "outcome": lost if each.difference else "not applicable"}
