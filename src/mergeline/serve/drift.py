"""Live drift: how far the rows that a server answered lately lie from those that its model was trained on."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mergeline.errors import VerificationError
from mergeline.monitor.groups import CategoryGroups, Groups, NumberGroups
from mergeline.monitor.profile import PROFILE_FILE, Profile
from mergeline.monitor.sketch import Counts
from mergeline.schema import SCORE, SIGNATURE_FILE, Feature, Kind

WINDOW_ROWS = 5000
MIN_ROWS = 200  # without drift, ten groups pass 0.1 one time in fifty; of 100 rows one time in three
YOUNG_S = 60.0  # counts that a worker has not renewed for so long are of one that has ended
ONE_IN_A_THOUSAND = 3.0902  # the normal quantile of 0.999

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WindowCounts:
    """Rows counted in the groups that a profile was cut into, by feature and under `score`.

    Position 0 counts the missing, 1 what training did not know (a category's other values, numbers beyond the lowest
    and the highest of training), then come the groups. `grouping` names the groups: only counts in the same groups can
    be added or compared.
    """

    grouping: str
    rows: int
    groups: Mapping[str, tuple[int, ...]]

    def merge(self, other: WindowCounts) -> WindowCounts:
        """Return the counts of both workers' rows; raise `VerificationError` where their groups are others."""
        if self.grouping != other.grouping:
            raise VerificationError(
                f"drift: expected counts in the groups {self.grouping}, found {other.grouping}; the workers serve"
                " different models"
            )
        groups = {
            name: tuple(a + b for a, b in zip(counts, other.groups[name], strict=True))
            for name, counts in self.groups.items()
        }
        return WindowCounts(self.grouping, self.rows + other.rows, groups)


@dataclass(frozen=True, slots=True)
class Gauge:
    """A feature's population stability index and what it would be without drift.

    `psi` is None, and with it the other two, where the window or the reference has fewer than 200 rows. Rows drawn
    from the reference have an index of about `expected` on average, and one above `bound` one time in a thousand;
    neighbouring requests that resemble each other have more. `groups` are those with a row in either, `rows` those of
    the window.
    """

    psi: float | None
    expected: float | None
    bound: float | None
    groups: int
    rows: int


class DriftWindow:
    """The rows that were scored last, and their counts in groups of the profile.

    `add` belongs on the event loop: two copies into memory that was taken at the start, under a microsecond for one
    row. The counting is left to whoever asks. Raises `VerificationError` where the profile has not these features.
    """

    def __init__(self, profile: Profile, features: Sequence[Feature], window_rows: int = WINDOW_ROWS) -> None:
        score = NumberGroups.of(profile.score)
        parts: dict[str, tuple[Groups, Counts]] = {each.name: _grouped(profile, each) for each in features}
        parts[SCORE] = score, score.reference(profile.score)
        self._groups = {name: groups for name, (groups, _) in parts.items()}
        counted = {name: tuple(counts.tolist()) for name, (_, counts) in parts.items()}
        self.reference = WindowCounts(_name(self._groups), profile.rows, counted)
        self._size = window_rows
        self._values = np.zeros((window_rows, len(features)), dtype=np.float32)
        self._scores = np.zeros(window_rows)
        self._at = 0
        self._full = False

    def add(self, values: NDArray[np.floating[Any]], scores: NDArray[np.float64]) -> None:
        """Take in scored rows: values (rows, features) as the model reads them, scores (rows,); both are copied."""
        at = self._at
        end = at + len(scores)
        if end >= self._size:
            self._wrap(values, scores)
            return
        self._values[at:end] = values
        self._scores[at:end] = scores
        self._at = end

    def counts(self) -> WindowCounts:
        """Return the counts of the window as it is now; milliseconds for 5,000 rows of 20 features."""
        filled = self._size if self._full else self._at
        columns = (*self._values[:filled].T.copy(), self._scores[:filled].copy())
        counted = {
            name: tuple(groups.count(column).tolist())
            for (name, groups), column in zip(self._groups.items(), columns, strict=True)
        }
        return WindowCounts(self.reference.grouping, filled, counted)

    def _wrap(self, values: NDArray[np.floating[Any]], scores: NDArray[np.float64]) -> None:
        """Fill to the end and go on from the start; of more rows than the window the last stay."""
        values, scores = values[-self._size :], scores[-self._size :]
        first = self._size - self._at
        self._values[self._at :] = values[:first]
        self._scores[self._at :] = scores[:first]
        self._at = len(scores) - first
        self._values[: self._at] = values[first:]
        self._scores[: self._at] = scores[first:]
        self._full = True


def _grouped(profile: Profile, feature: Feature) -> tuple[Groups, Counts]:
    """The groups of a feature and the profile's own counts in them."""
    if feature.kind is not Kind.CATEGORY and feature.name in profile.numbers:
        sketch = profile.numbers[feature.name]
        numbers = NumberGroups.of(sketch)
        return numbers, numbers.reference(sketch)
    counted = profile.categories.get(feature.name)
    if feature.kind is Kind.CATEGORY and counted and sorted(counted.counts) == sorted(feature.categories):
        categories = CategoryGroups.of(counted, feature.categories)
        return categories, categories.reference(counted)
    raise VerificationError(
        f"{PROFILE_FILE}: expected the {feature.kind} {feature.name!r} of {SIGNATURE_FILE}, found no column like it;"
        " restore the model's files together"
    )


def _name(groups: Mapping[str, Groups]) -> str:
    parted = [(name, each.parted()) for name, each in groups.items()]
    return hashlib.sha256(json.dumps(parted).encode()).hexdigest()[:16]


# ---- The index -------------------------------------------------------------------------------------------------------


def psi(counts: WindowCounts, reference: WindowCounts) -> dict[str, Gauge]:
    """Return the gauge of each feature and of the score, from a window's counts and `DriftWindow.reference`."""
    if counts.grouping != reference.grouping:
        raise VerificationError(
            f"drift: expected counts in the groups {reference.grouping}, found {counts.grouping}; ask the same model"
        )
    return {name: _gauge(counts.groups[name], groups) for name, groups in reference.groups.items()}


def _gauge(current: Sequence[int], reference: Sequence[int]) -> Gauge:
    rows, known = sum(current), sum(reference)
    groups = sum(a > 0 or b > 0 for a, b in zip(current, reference, strict=True))
    if min(rows, known) < MIN_ROWS:
        return Gauge(None, None, None, groups, rows)
    scale, free = 1 / rows + 1 / known, groups - 1
    return Gauge(stability_index(current, reference), scale * free, scale * _chi_squared(free), groups, rows)


def stability_index(current: Sequence[int], reference: Sequence[int]) -> float:
    """Return the population stability index of counts in the same groups: sum (p - q) ln(p / q), 0 where p is q.

    p and q are the shares of current and reference rows. So that an empty group does not make it infinite, half a row
    of the smaller side is added, as a share, to every group of both: p = (n_i / n + h) / (1 + groups h) with
    h = 0.5 / min(n, m), and so for q; one row in a group that the other side does not know then weighs little.
    Lewis (1994), An Introduction to Credit Scoring; Siddiqi (2006), Credit Risk Scorecards. By custom 0.1 is worth a
    look and 0.25 a shift. Without drift it is (1/n + 1/m) times a chi-squared of groups - 1 degrees of freedom
    (Yurdakul and Naranjo, 2020, Journal of Risk Model Validation 14).

    >>> round(stability_index([300, 700], [500, 500]), 4)
    0.1691
    """
    n, m = sum(current), sum(reference)
    half = 0.5 / min(n, m)
    whole = 1 + len(current) * half
    shares = [((a / n + half) / whole, (b / m + half) / whole) for a, b in zip(current, reference, strict=True)]
    return math.fsum((p - q) * math.log(p / q) for p, q in shares)


def _chi_squared(free: int) -> float:
    """The 0.999 quantile of chi-squared within 4 % (Wilson and Hilferty, 1931); 0 where nothing is free."""
    if free < 1:
        return 0.0
    spread = 2 / (9 * free)
    return free * (1 - spread + ONE_IN_A_THOUSAND * math.sqrt(spread)) ** 3


# ---- Several workers -------------------------------------------------------------------------------------------------


def write_counts(folder: Path, worker: int | str, counts: WindowCounts) -> None:
    """Put a worker's counts in the folder that the workers of one server share, in one step.

    Nothing is flushed to the disk: after a crash of the machine there is no server whose counts these would be.
    """
    record = {"grouping": counts.grouping, "rows": counts.rows, "groups": counts.groups}
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f".{worker}.new"
    beside.write_text(json.dumps(record), encoding="utf-8")
    beside.replace(folder / f"{worker}.json")


def read_counts(folder: Path, now: float, grouping: str) -> WindowCounts | None:
    """Return the merged counts of the workers that wrote in the minute before `now` (seconds since 1970); None of none.

    Counts in other groups are of a model that is served no longer and are left out; so is, with a warning, a file that
    is none of counts.
    """
    merged: WindowCounts | None = None
    for path in sorted(folder.glob("*.json")):
        try:
            if now - path.stat().st_mtime > YOUNG_S:
                continue
            found = _counts_of(json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as err:
            _log.warning("%s: no counts of a worker (%s); left out", path, err)
            continue
        if found.grouping == grouping:
            merged = merged.merge(found) if merged else found
    return merged


def _counts_of(raw: Any) -> WindowCounts:
    groups = {name: tuple(map(int, counts)) for name, counts in raw["groups"].items()}
    return WindowCounts(raw["grouping"], int(raw["rows"]), groups)
