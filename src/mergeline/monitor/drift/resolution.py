"""Whether counts by key can show that a column moved: within a key they tell no value from another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mergeline.monitor.drift.record import FeatureDrift
from mergeline.monitor.profile import Profile
from mergeline.monitor.sketch import Counts, Floats, NumberSketch, edges, keys_of, values_of
from mergeline.schema import SCORE


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """The window or its reference: its counts, and a sample of its rows [n, features]; None where it has none."""

    profile: Profile
    rows: Floats | None

    def sketch(self, name: str) -> NumberSketch:
        """Return the counts of a number, or of the score."""
        return self.profile.score if name == SCORE else self.profile.numbers[name]

    def known(self, place: int | None) -> Floats:
        """Return the values of a feature that the sample knows; none of the score, which it does not hold."""
        if self.rows is None or place is None:
            return np.zeros(0)
        values = self.rows[:, place]
        return values[~np.isnan(values)]


def marked(
    features: Sequence[FeatureDrift], sides: tuple[Side, Side], order: Sequence[str], minor: float
) -> list[FeatureDrift]:
    """Return the columns, with those marked that did not drift as far as is seen, and could have by `minor` unseen.

    order: the features as the samples have them.
    """
    places = {name: place for place, name in enumerate(order)}
    found = []
    for each in features:
        if not each.drifted and (1 - each.missing_now) * (each.ks_error or 0.0) >= minor:
            now, then = (side.sketch(each.name) for side in sides)
            sample, trained = (side.known(places.get(each.name)) for side in sides)
            found.append(replace(each, resolved=resolves(now, then, sample, trained, minor / (1 - each.missing_now))))
        else:
            found.append(each)
    return found


def resolves(now: NumberSketch, then: NumberSketch, now_sample: Floats, then_sample: Floats, bound: float) -> bool:
    """Return whether less than `bound` of either side's values, as a share, may move unseen within a key.

    The samples are known values of each side; where one is empty, a key is taken for a single value if it has no
    neighbour, or is all there is and begins at a whole number.
    """
    if len(now_sample) and len(then_sample):
        return hidden(now_sample, then_sample) < bound
    keys, *sides = now.aligned(then)
    held = np.max([each / max(1, each.sum()) for each in sides], axis=0)
    far = np.diff(keys) > 1
    alone = np.append(far, True) & np.insert(far, 0, True) if len(keys) > 1 else _is_whole(keys)
    return bool(alone[held >= bound].all())


def _is_whole(keys: Counts) -> NDArray[np.bool_]:
    """Whether keys hold a whole number and no other one."""
    low, high = edges(keys)
    values = values_of(keys)
    whole: NDArray[np.bool_] = (values == np.rint(values)) & (high - low < 1)
    return whole


def hidden(now: Floats, then: Floats) -> float:
    """Return the greatest share of a side's values, 0 to 1, that a key holds beside the one that most of its rows have.

    So much may move within the key and be counted where it was. A key that holds a single value hides nothing.

    >>> hidden(np.array([1.0, 2.0, 2.0]), np.array([1.0, 2.0, 2.0])), hidden(np.array([1e6]), np.array([1e6 + 1]))
    (0.0, 1.0)
    """
    logged = np.concatenate([now, then]).astype(np.float32).astype(np.float64)
    values, place = np.unique(logged, return_inverse=True)
    sides = (place[: len(now)], place[len(now) :])
    shares = np.stack([np.bincount(each, minlength=len(values)) / len(each) for each in sides])  # [2, values]
    keys = keys_of(values)
    first = np.flatnonzero(np.diff(keys, prepend=-1))
    last = np.append(first[1:], len(keys)) - 1
    most = np.lexsort((shares.sum(axis=0), keys))[last]
    beside = np.add.reduceat(shares, first, axis=1) - shares[:, most]  # [2, keys]
    return float(beside.max())
