"""The section `gates`: what a candidate must be before it may take the place of the model that runs.

The policy that judges a pull request is the base branch's; a change of this section holds from its merge on.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mergeline.params.section import Names, Section

Confidence = Annotated[float, Field(gt=0.5, lt=1)]
NotNegative = Annotated[float, Field(ge=0)]
Direction = Literal["up", "down"]


class HoldoutGate(Section):
    """`budget`: how often the same holdout may judge before the report warns: each choice flatters the chosen.

    `smaller`: whether a branch may judge by a smaller `data.holdout` than the base's, which tells less.
    """

    budget: Annotated[int, Field(ge=1)] | None = 20
    smaller: bool = False


class ImprovementGate(Section):
    """When a candidate is better, worse, or neither, by the interval of the primary metric's paired difference.

    Better: the whole interval lies above `margin`; worse: the whole interval lies below -`margin`; else a tie. With
    `non_inferiority`, a tie whose interval lies above -`margin` is promoted too (newer data, same quality). A margin is
    in the metric's own unit or, for a metric without an upper bound (log loss, errors), a share of the champion's.
    """

    confidence: Confidence = 0.95
    margin: NotNegative = 0.0
    non_inferiority: bool = False


class SlicesGate(Section):
    """How much worse than the champion any slice may be; unit of `margin` as in `improvement`.

    `confidence` holds for all slices of `evaluate.slices` together. Slices with fewer rows, or fewer rows of a class,
    are shown and not judged.
    """

    margin: NotNegative = 0.01
    confidence: Confidence = 0.95
    min_rows: Annotated[int, Field(ge=2)] = 200
    min_class_rows: Annotated[int, Field(ge=2)] = 30


class CalibrationGate(Section):
    """The largest expected calibration error of a binary model's probabilities, 0 to 1."""

    max_error: Annotated[float, Field(gt=0, le=1)] | None = 0.1


class LatencyGate(Section):
    """How many times the champion's scoring time the candidate may take, both measured in one process."""

    max_ratio: Annotated[float, Field(gt=0)] | None = 3.0


class SizeGate(Section):
    """The largest model file, in mebibytes."""

    max_mib: Annotated[float, Field(gt=0)] | None = 100.0


class ParityGate(Section):
    """The largest difference between the native model's scores and the served one's, as `train` measured it."""

    tolerance: Annotated[float, Field(gt=0)] = 1e-5


class BehaviourGate(Section):
    """What the scores must and must not depend on, whatever the data say.

    `invariant`: features whose value must not change a score by more than `tolerance`. `directions`: features that must
    raise (`up`) or lower (`down`) the mean score when they go from their lower to their upper quartile. For a binary
    model the score is that of the positive class; `directions` is not for a multiclass one.
    """

    invariant: Names = ()
    directions: dict[str, Direction] = Field(default_factory=dict)
    tolerance: NotNegative = 1e-5


class LeakageGate(Section):
    """Signs that a feature knows the answer.

    `max_explained`: the share of the target's variance that one feature alone may explain on the holdout, 0 to 1;
    0.6 for classes and 0.95 for a regression where it is left out. `max_gain`: the rise of the primary metric over a
    model in production that is too good to be true, unit as in `improvement`.
    """

    max_explained: Annotated[float, Field(gt=0, le=1)] | None = None
    max_gain: Annotated[float, Field(gt=0)] | None = 0.2


class FairnessGate(Section):
    """How far apart the groups of a protected column may be.

    Binary: the true positive rate (equal opportunity, Hardt, Price and Srebro, 2016); multiclass: the accuracy;
    regression: the mean absolute error, as a share of that of all rows. Groups of fewer than `min_rows` rows that count
    are left out.
    """

    columns: Names = ()
    max_gap: Annotated[float, Field(gt=0)] = 0.1
    confidence: Confidence = 0.95
    min_rows: Annotated[int, Field(ge=2)] = 50


class GateParams(Section):
    """The policy: one section a gate; `floors` names the least value of a metric, or the largest of a loss."""

    holdout: HoldoutGate = HoldoutGate()
    improvement: ImprovementGate = ImprovementGate()
    floors: dict[str, float] = Field(default_factory=dict)
    slices: SlicesGate = SlicesGate()
    calibration: CalibrationGate = CalibrationGate()
    latency: LatencyGate = LatencyGate()
    size: SizeGate = SizeGate()
    parity: ParityGate = ParityGate()
    behaviour: BehaviourGate = BehaviourGate()
    leakage: LeakageGate = LeakageGate()
    fairness: FairnessGate = FairnessGate()
