"""The search spaces: where each setting of a family may lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Setting: TypeAlias = int | float | tuple[int, ...]
DIGITS = 3  # of a setting; more would be noise in params.yaml


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `low` to `high`; on a `log` scale each order of magnitude is as likely."""

    low: float
    high: float
    kind: Literal["whole", "real"] = "real"
    log: bool = False

    def around(self, current: Setting) -> BaseDistribution:
        """Return the range as Optuna takes it, widened to the current value."""
        from optuna.distributions import FloatDistribution, IntDistribution

        here = float(current) if isinstance(current, int | float) else self.low
        low, high = min(self.low, here), max(self.high, here)
        if self.kind == "whole":
            return IntDistribution(int(low), int(high), log=self.log)
        return FloatDistribution(low, high, log=self.log and low > 0)

    def setting(self, suggested: Any) -> Setting:
        """Return a suggestion with as many digits as a person would write."""
        return int(suggested) if self.kind == "whole" else float(f"{suggested:.{DIGITS}g}")


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few layouts; to Optuna each goes by its text."""

    options: tuple[tuple[int, ...], ...]

    def around(self, current: Setting) -> BaseDistribution:
        """Return the layouts as Optuna takes them, with the current one."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(list(dict.fromkeys(map(suggestion, (*self.options, current)))))

    def setting(self, suggested: Any) -> Setting:
        """Return the layout of a text."""
        return tuple(int(width) for width in suggested.split("-"))


def suggestion(setting: Setting) -> Any:
    """Return a setting as Optuna takes it.

    >>> suggestion((128, 64)), suggestion(0.1)
    ('128-64', 0.1)
    """
    return "-".join(map(str, setting)) if isinstance(setting, tuple) else setting


# By the name of the family, then of its setting. What only costs time (trees, epochs, a solver's iterations) is no
# question of quality and stays as it is.
SPACES: Mapping[str, Mapping[str, Range | Choice]] = {
    "hist_gradient_boosting": {
        "iterations": Range(50, 500, "whole", log=True),
        "learning_rate": Range(0.01, 0.3, log=True),
        "leaves": Range(4, 127, "whole", log=True),
        "min_leaf_rows": Range(2, 200, "whole", log=True),
        "l2": Range(0, 10),
    },
    "random_forest": {
        "depth": Range(3, 24, "whole"),
        "min_leaf_rows": Range(1, 100, "whole", log=True),
        "feature_share": Range(0.1, 1.0),
    },
    "logistic_regression": {"c": Range(1e-4, 1e4, log=True)},
    "torch_mlp": {
        "hidden": Choice(((32,), (64,), (64, 32), (128, 64), (256, 128), (128, 64, 32))),
        "dropout": Range(0, 0.5),
        "learning_rate": Range(1e-4, 1e-2, log=True),
        "weight_decay": Range(1e-6, 1e-1, log=True),
        "batch_rows": Range(64, 1024, "whole", log=True),
    },
}
