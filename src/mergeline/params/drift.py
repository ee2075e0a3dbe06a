"""The section `drift`: how the rows that a model answers are compared with those that it was trained on."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from mergeline.params.section import Section, Share

Count = Annotated[int, Field(ge=1)]


class DriftParams(Section):
    """What a window is, and from where on a column in it has drifted.

    Windows are of `window_days` and checked `settle_hours` after they end. A column has drifted where the share of its
    rows that lie elsewhere is `minor` or more (severe from `major` on) and its corrected p-value is below `alpha`; the
    drift is sustained where that holds of the latest window and of `k` among the last `n`. A window of fewer than
    `min_rows` rows is not judged. A feature matters that holds `importance` of the model's permutation importance.
    `classifier_rows` of each side are used to tell window and reference apart; 0 leaves that out. An event may lie
    `ahead_days` after the moment of its request, and `behind_days` before it; what lies further is a clock that goes
    wrong. Old events may be asked about, and so `behind_days` is wide.
    """

    window_days: Count = 7
    settle_hours: Annotated[float, Field(ge=0)] = 1.0
    minor: Annotated[float, Field(gt=0, lt=1)] = 0.05
    major: Annotated[float, Field(gt=0, lt=1)] = 0.15
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.01
    k: Count = 3
    n: Count = 4
    min_rows: Annotated[int, Field(ge=50)] = 500
    importance: Share = 0.02
    classifier_rows: Annotated[int, Field(ge=0, le=20_000)] = 2000
    ahead_days: Annotated[float, Field(ge=0)] = 7.0
    behind_days: Annotated[float, Field(ge=0, le=36_500)] = 7305.0

    @model_validator(mode="after")
    def _in_order(self) -> DriftParams:
        if self.minor > self.major:
            raise ValueError(f"expected minor not above major, found {self.minor} and {self.major}")
        if self.k > self.n:
            raise ValueError(f"expected k not above n, found {self.k} and {self.n}")
        return self
