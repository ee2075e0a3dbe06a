"""Confidence intervals of the numbers that evaluate and compare report.

| `method` | what for | source |
|---|---|---|
| delong-logit | ROC AUC | DeLong et al. 1988 [1], one sort as Sun & Xu 2014 [2], logit scale [3] |
| delong-paired | difference of two ROC AUCs on the same rows | [1], [2] |
| clopper-pearson | all or none of the trials succeeded | Clopper & Pearson 1934 [4] |
| wilson | a share | Wilson 1927 [5] |
| normal, normal-log | a mean; a mean of losses | central limit theorem, delta method |
| linearised, -log, -logit | a smooth function of row weights | infinitesimal jackknife, Jaeckel 1972 [6] |
| linearised-paired | difference of two smooth functions on the same rows | [6], see `linearised_difference` |
| mover | mean of independent estimates | Zou & Donner 2008 [7] |
| order-statistics | median | sign test, inverted |
| folded-normal | mean absolute gap (calibration error) | an inverted test, see `mean_absolute_gap` |
| bootstrap-percentile | anything else | Efron 1979 [8] |
| unvarying | every bounded value was the same | `unanimous`, applied to "some other value" |

1. Comparing the areas under two or more correlated ROC curves. Biometrics 44, 837-845.
2. Fast implementation of DeLong's algorithm. IEEE Signal Processing Letters 21, 1389-1393.
3. Pepe, The Statistical Evaluation of Medical Tests (2003), section 5.2.
4. The use of confidence or fiducial limits illustrated in the case of the binomial. Biometrika 26, 404-413.
5. Probable inference, the law of succession, and statistical inference. JASA 22, 209-212.
6. The infinitesimal jackknife. Bell Laboratories memorandum MM 72-1215-11.
7. Construction of confidence limits about effect measures. Statistics in Medicine 27, 1693-1702.
8. Bootstrap methods: another look at the jackknife. Annals of Statistics 7, 1-26.

Every interval is two-sided and contains its estimate. The coverage stated in a docstring is that of nominal 95 %
intervals in simulations.
"""

from mergeline.intervals.gaps import mean_absolute_gap
from mergeline.intervals.interval import Floats, Interval, Scale, average_of, finite, wider
from mergeline.intervals.means import Influence, linearised, linearised_difference, mean, median
from mergeline.intervals.ranking import (
    LEAST_CLASS_ROWS,
    SMALL_CLASS,
    Placements,
    delong,
    delong_difference,
    placements,
)
from mergeline.intervals.resampling import bootstrap
from mergeline.intervals.shares import unanimous, wilson

__all__ = [
    "LEAST_CLASS_ROWS",
    "SMALL_CLASS",
    "Floats",
    "Influence",
    "Interval",
    "Placements",
    "Scale",
    "average_of",
    "bootstrap",
    "delong",
    "delong_difference",
    "finite",
    "linearised",
    "linearised_difference",
    "mean",
    "mean_absolute_gap",
    "median",
    "placements",
    "unanimous",
    "wider",
    "wilson",
]
