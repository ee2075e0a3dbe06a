"""The columns of one window while files are read, and the choice of the rows that are kept."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mergeline.monitor.drift.column import Values
from mergeline.monitor.drift.plan import Plan
from mergeline.monitor.drift.tally import (
    CategoryTally,
    ColumnTally,
    NumberTally,
    Sample,
    Tally,
    column_tally,
    hashes_of,
)
from mergeline.monitor.profile import Profile
from mergeline.schema import Feature

Rows = NDArray[np.intp] | None  # positions; None: all


class WindowTally:
    """The columns of one window at one sampling rate while files are read."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._tallies: dict[str, ColumnTally] = {each.name: column_tally(each) for each in plan.features}
        self._places = {each.name: at for at, each in enumerate(plan.features)}
        self._score = NumberTally()
        self._rows = 0
        self._sample = Sample.empty(plan.sample_rows, len(plan.features))
        self._chosen: NDArray[np.intp] | None = None
        self._hashes = np.zeros(0, dtype=np.uint64)
        self._kept = np.zeros((0, 0))

    def choose(self, ts: NDArray[np.int64], score: Values, rows: Rows) -> None:
        """Choose the rows that may get into the sample."""
        hashes = hashes_of(ts, np.ascontiguousarray(score.filled(np.nan)))
        if rows is not None:
            hashes = hashes[rows]
        near = np.flatnonzero(hashes <= self._sample.bound)
        if len(near) > self._sample.size:
            highest = np.partition(hashes[near], self._sample.size - 1)[self._sample.size - 1]
            near = near[hashes[near] <= highest]
        self._chosen = near if rows is None else rows[near]
        self._hashes = hashes[near]
        self._kept = np.full((len(near), len(self._places)), np.nan)

    def score(self, values: Values, rows: Rows) -> None:
        """Count the scores of some rows."""
        found = values.taken(rows)
        self._rows += len(found)
        self._score.add(found.values, found.known)

    def add(self, feature: Feature, values: Values, rows: Rows) -> None:
        """Count a feature of some rows."""
        tally, found = self._tallies[feature.name], values.taken(rows)
        if isinstance(tally, NumberTally):
            tally.add(found.values, found.known)
        else:
            _count_texts(tally, found)
        if self._chosen is not None:
            kept = values.taken(self._chosen)
            self._kept[:, self._places[feature.name]] = _coded(tally, kept)

    def end(self) -> None:
        """End a row group."""
        if self._chosen is not None and len(self._chosen):
            self._sample = self._sample.merge(Sample(self._sample.size, self._hashes, self._kept))
        self._chosen = None

    def tally(self) -> Tally:
        """Return the sketches."""
        numbers = {name: each.sketch() for name, each in self._tallies.items() if isinstance(each, NumberTally)}
        categories = {name: each.counts() for name, each in self._tallies.items() if isinstance(each, CategoryTally)}
        return Tally(Profile(self._rows, numbers, categories, self._score.sketch()), self._sample)


def _count_texts(tally: CategoryTally, found: Values) -> None:
    codes = tally.codes(found.texts)
    if found.known is None:
        tally.add(found.values, codes)
    else:
        there = found.known != 0
        tally.add(found.values[there], codes, int(np.count_nonzero(~there)))


def _coded(tally: ColumnTally, found: Values) -> NDArray[np.float64]:
    """Values as the sample has them."""
    if isinstance(tally, NumberTally):
        return np.asarray(found.filled(np.nan), dtype=np.float64)
    codes = np.append(tally.codes(found.texts), 0).astype(np.float64)
    coded: NDArray[np.float64] = codes[found.values]
    return coded if found.known is None else np.where(found.known, coded, -1.0)
