"""Which releases are asked for: by status, by Git tag, by the value of a metric."""

from __future__ import annotations

import fnmatch
import math
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from mergeline.errors import ConfigurationError
from mergeline.release.ledger import Entry, Status
from mergeline.report.escape import clean

SIGNS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        ">=": operator.ge,
        "<=": operator.le,
        "!=": operator.ne,
        "==": operator.eq,
        "=": operator.eq,
        ">": operator.gt,
        "<": operator.lt,
    }
)
_CONDITION = re.compile(rf"\s*([\w.@-]+)\s*({'|'.join(SIGNS)})\s*(\S+)\s*")


@dataclass(frozen=True, slots=True)
class Condition:
    """A bound on a metric."""

    metric: str
    sign: str
    bound: float

    def holds(self, metrics: Mapping[str, float]) -> bool:
        """Whether it holds; it does not where the metric is missing."""
        return self.metric in metrics and bool(SIGNS[self.sign](metrics[self.metric], self.bound))


@dataclass(frozen=True, slots=True)
class Selection:
    """What a release has to be; what is None, or no condition, does not matter. `tag` may hold `*` and `?`.

    A release that production and staging serve has the status of both.
    """

    status: Status | None = None
    tag: str | None = None
    conditions: tuple[Condition, ...] = ()

    def select(self, entries: Sequence[Entry]) -> tuple[Entry, ...]:
        """Return the releases that fit, in their order; `ConfigurationError` for a metric that none of them has."""
        known = dict.fromkeys(name for each in entries if each.evidence for name in each.evidence.metrics)
        for condition in self.conditions:
            if known and condition.metric not in known:
                raise ConfigurationError(
                    f"--metric: no release has {condition.metric!r}, expected one of {_named(known)}"
                )
        return tuple(each for each in entries if self._fits(each))

    def _fits(self, entry: Entry) -> bool:
        metrics = entry.evidence.metrics if entry.evidence else {}
        return (
            (self.status is None or self.status in (entry.status, entry.environments.get(self.status)))
            and (self.tag is None or any(fnmatch.fnmatchcase(tag, self.tag) for tag in entry.tags))
            and all(condition.holds(metrics) for condition in self.conditions)
        )


def _named(metrics: Iterable[str]) -> str:
    """Names out of records, which are nobody's own: harmless, and not too many."""
    return clean(", ".join(sorted(clean(name, 60) for name in metrics)), 600)


def parse_selection(status: str | None, tag: str | None, metrics: Sequence[str]) -> Selection:
    """Return the selection that the options ask for; `ConfigurationError` for one that cannot be read."""
    if status is not None and status not in list(Status):
        raise ConfigurationError(f"--status: expected one of {', '.join(Status)}, found {status!a}")
    return Selection(Status(status) if status else None, tag, tuple(parse_condition(each) for each in metrics))


def parse_condition(text: str) -> Condition:
    """Return the bound on a metric that a text sets.

    >>> parse_condition("roc_auc >= 0.75")
    Condition(metric='roc_auc', sign='>=', bound=0.75)
    """
    found = _CONDITION.fullmatch(text)
    try:
        bound = float(found[3]) if found else math.nan
    except ValueError:
        bound = math.nan
    if found is None or not math.isfinite(bound):
        raise ConfigurationError(
            f"--metric: expected a metric, one of {' '.join(SIGNS)} and a number, as in 'roc_auc>=0.75', found {text!a}"
        )
    return Condition(found[1], found[2], bound)
