"""What the drift check found in one window of time: the record that is kept, and that decisions are made from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from mergeline.errors import DataError
from mergeline.monitor.windows import Window

VERSION = 1
FOLDER = "drift/"  # of the log


class Outcome(StrEnum):
    """What a window came to."""

    NONE = "none"
    DRIFT = "drift"
    TOO_FEW_ROWS = "too few rows"
    NO_DATA = "no data"


class Severity(StrEnum):
    """How far a column lies from its reference."""

    NONE = "none"
    MINOR = "minor"
    MAJOR = "major"

    @property
    def rank(self) -> int:
        """0, 1 or 2."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True)
class Shape:
    """A column as shares of its rows, `then` (the reference) and `now` (the window), for plots.

    `edges` (of a number, one more than shares) are in the column's unit, its outer bins hold what lies beyond;
    `labels` are the categories. With the missing shares of the column each side sums to 1.
    """

    labels: tuple[str, ...]
    edges: tuple[float, ...]
    then: tuple[float, ...]
    now: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class FeatureDrift:
    """One column of the window beside its reference; a number is None where there was nothing to compute it from.

    kind: number, boolean, datetime or category; the model's score is a number called `score`.
    importance: its share, 0 to 1, of the model's permutation importance; None for the score and where none is recorded.
    matters: whether drift of it counts: the score, features from the importance floor on, all where none is recorded.
    rows: the window's rows, missing ones included. missing_then, missing_now: shares of all rows, 0 to 1.
    psi, js (distance, base 2, 0 to 1), kl (now against then, nats): over the reference's groups, missing included.
    ks: the Kolmogorov-Smirnov distance of the known values, 0 to 1, at most `ks_error` too small.
    wasserstein: the mean distance that a value would have to move, in the column's own unit (days for a datetime), at
    most `wasserstein_error` off.
    chi_squared: of categories, with its `degrees` of freedom.
    effect: the share of the window's rows, 0 to 1, that lie elsewhere: of numbers `ks` times the share that is known,
    or the change of the missing share where that is larger; of categories the total variation distance.
    p: without drift, how likely as much or more is; p_corrected: after Benjamini and Hochberg over all columns of the
    window.
    drifted: effect and p_corrected both say so. windows_drifted: windows with drift of it among the last n, this one
    included. sustained: drifted now and in k of the last n.
    resolved: whether the counts would have shown drift of it; False where its values lie so close together, for how
    far from zero they are, that what moves may be counted where it was.
    """

    name: str
    kind: str
    importance: float | None
    matters: bool
    rows: int
    missing_then: float
    missing_now: float
    psi: float | None
    js: float | None
    kl: float | None
    ks: float | None
    ks_error: float | None
    wasserstein: float | None
    wasserstein_error: float | None
    chi_squared: float | None
    degrees: int | None
    effect: float
    p: float
    p_corrected: float
    drifted: bool
    severity: Severity
    windows_drifted: int
    sustained: bool
    shape: Shape
    resolved: bool = True

    @classmethod
    def from_dict(cls, raw: Any) -> FeatureDrift:
        """Return the column that `asdict` made."""
        shape = {name: tuple(raw["shape"][name]) for name in ("labels", "edges", "then", "now")}
        return cls(**{**raw, "severity": Severity(raw["severity"]), "shape": Shape(**shape)})


@dataclass(frozen=True, slots=True)
class OtherRelease:
    """Champion's rows of the window that another release than the one checked answered, and their times (ISO 8601)."""

    model_sha256: str
    rows: int
    first: str
    last: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """Rows of the window that were logged at this rate."""

    rate: float
    rows: int


@dataclass(frozen=True, slots=True)
class Apart:
    """Rows that were left out of the figures, by why.

    duplicates: request ids of the same variant that stand in the log more than once (`duplicate_files` whole copies of
    files). late: rows of an earlier window that were asked for, or put into the log, after it was checked. ahead: rows
    whose time lies in the future, or further after the moment of the request than is allowed (clock skew), in all files
    that were read. behind: rows whose time lies further before the request than is allowed, in all files that were
    read. challengers: rows of challengers and shadows.
    """

    duplicates: int = 0
    duplicate_files: int = 0
    late: int = 0
    ahead: int = 0
    challengers: int = 0
    behind: int = 0


@dataclass(frozen=True, slots=True)
class Classifier:
    """How well rows of the window can be told from reference rows, on a bounded sample; None where it was not tried.

    auc: out of fold, 0.5 where they cannot be told apart; without drift it is above `bound` one time in a thousand.
    rows: of each side. reason: why there is no figure.
    """

    auc: float | None = None
    bound: float | None = None
    rows: int = 0
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class DriftRecord:
    """What the check found in one window for one release; the same log and the same profile give the same record.

    severity: the worst of the columns that matter and drifted. sustained: some column that matters is. unscored: rows
    without a score, which the model failed on. importance_known: whether the release records importances.
    weighted: the share of the model's importance, 0 to 1, held by features that drifted (their share of all features
    where no importance is recorded). moved: the mean effect of the features, weighted by importance, 0 to 1.
    log_until: the latest moment of a request that was read, ISO 8601; None of an empty log.
    """

    window: Window
    model_sha256: str
    outcome: Outcome
    severity: Severity
    sustained: bool
    sentence: str
    rows: int
    reference_rows: int
    unscored: int
    importance_known: bool
    weighted: float
    moved: float
    features: tuple[FeatureDrift, ...]
    schema_changes: tuple[str, ...] = ()
    other_releases: tuple[OtherRelease, ...] = ()
    sampling: tuple[Sampling, ...] = ()
    apart: Apart = Apart()
    classifier: Classifier = Classifier()
    log_until: str | None = None
    settings: Mapping[str, Any] | None = None
    version: int = VERSION

    @property
    def key(self) -> str:
        """Where it is kept in the log."""
        return f"{FOLDER}{self.window.name}.json"

    @property
    def drifted(self) -> tuple[FeatureDrift, ...]:
        """The columns that drifted, whether they matter or not."""
        return tuple(each for each in self.features if each.drifted)

    @property
    def unresolved(self) -> tuple[FeatureDrift, ...]:
        """The columns of which cannot be told whether they drifted, whether they matter or not."""
        return tuple(each for each in self.features if not each.resolved)

    @property
    def score(self) -> FeatureDrift | None:
        """The model's score, first of the columns; None where there were too few rows to look at any."""
        return next((each for each in self.features if each.name == "score"), None)

    def to_json(self) -> str:
        """Return the text of the record; the same record gives the same bytes."""
        raw = {**asdict(self), "window": self.window.as_dict()}
        return json.dumps(raw, indent=1, ensure_ascii=False, allow_nan=False, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str = "a drift record") -> DriftRecord:
        """Return the record that `to_json` wrote; raise `DataError`, which names the place, for any other text."""
        try:
            raw = json.loads(text)
            found = raw["version"]
        except (ValueError, KeyError, TypeError) as err:
            raise _unreadable(where, str(err)) from err
        if found != VERSION:
            raise _unreadable(where, f"version {found!r}, expected {VERSION}")
        try:
            return cls(
                **{
                    **{each.name: raw[each.name] for each in fields(cls)},
                    "window": Window.from_dict(raw["window"]),
                    "outcome": Outcome(raw["outcome"]),
                    "severity": Severity(raw["severity"]),
                    "features": tuple(map(FeatureDrift.from_dict, raw["features"])),
                    "schema_changes": tuple(raw["schema_changes"]),
                    "other_releases": tuple(OtherRelease(**each) for each in raw["other_releases"]),
                    "sampling": tuple(Sampling(**each) for each in raw["sampling"]),
                    "apart": Apart(**raw["apart"]),
                    "classifier": Classifier(**raw["classifier"]),
                }
            )
        except (ValueError, KeyError, TypeError) as err:
            raise _unreadable(where, str(err)) from err


def _unreadable(where: str, found: str) -> DataError:
    return DataError(f"{where}: cannot be read ({found}); remove it, and `mergeline drift` writes the window's anew")
