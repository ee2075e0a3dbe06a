"""The section `performance`: when labels are held to be in, and how much worse than at its release a model may be."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mergeline.params.section import Section, Share


class PerformanceParams(Section):
    """How the models that run are judged by the labels that came.

    A window of `window_days` is mature, and so decides, once it is over for `maturity_days`, or once a label is there
    for a share `mature_coverage` of its answers. The last `revisit` windows are looked at again for labels that came
    later still. Fewer than `min_labels` labels judge nothing. A model is degraded where the interval of the difference
    to its holdout lies below -`margin` as a whole; the unit of `margin` is that of `gates.improvement`. `bias` is the
    largest distance (Kolmogorov and Smirnov's) between the scores of labelled and of unlabelled predictions without a
    warning. A time further than `behind_days` before the day of its request begins no window.
    """

    window_days: Annotated[int, Field(ge=1, le=366)] = 7
    maturity_days: Annotated[int, Field(ge=0)] = 14
    mature_coverage: Annotated[float, Field(gt=0, le=1)] = 0.95
    revisit: Annotated[int, Field(ge=1)] = 8
    min_labels: Annotated[int, Field(ge=2)] = 200
    margin: Annotated[float, Field(ge=0)] = 0.02
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    bias: Share = 0.1
    behind_days: Annotated[float, Field(ge=0, le=36_500)] = 7305.0
