"""latency: the ratio of two scoring times, by a clock that only work moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mergeline.models import latency
from mergeline.models.latency import ROWS, TURNS, scoring_ratio

Matrix = NDArray[np.float32]
MATRIX = np.zeros((2_500, 3), dtype=np.float32)
OTHER = np.zeros((2_500, 5), dtype=np.float32)


class Clock:
    """A time that stands still until somebody works."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


class Working:
    """A scorer whose every run takes what `cost` says of the number of that run, from 0."""

    def __init__(self, clock: Clock, cost: Callable[[int], float], order: list[str], name: str) -> None:
        self.clock, self.cost, self.order, self.name = clock, cost, order, name
        self.seen: list[tuple[int, ...]] = []

    def score_matrix(self, matrix: Matrix) -> NDArray[np.float64]:
        self.clock.now += self.cost(len(self.seen))
        self.seen.append(matrix.shape)
        self.order.append(self.name)
        return np.zeros((len(matrix), 2))


class Race:
    """A candidate and a champion on one clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, candidate: Callable[[int], float]) -> None:
        clock = Clock()
        monkeypatch.setattr(latency, "time", clock)
        self.order: list[str] = []
        self.candidate = Working(clock, candidate, self.order, "candidate")
        self.champion = Working(clock, lambda run: 2.0, self.order, "champion")
        scorers: list[Any] = [self.candidate, self.champion]
        self.ratio = scoring_ratio(scorers[0], MATRIX, scorers[1], OTHER)


@pytest.mark.parametrize(("cost", "ratio"), [(6.0, 3.0), (2.0, 1.0), (0.5, 0.25)])
def test_the_ratio_is_above_one_for_a_slower_candidate_and_below_for_a_faster_one(
    monkeypatch: pytest.MonkeyPatch, cost: float, ratio: float
) -> None:
    found = Race(monkeypatch, lambda run: cost).ratio
    assert (found.estimate, found.low, found.high) == (ratio, ratio, ratio)


def test_the_first_run_of_each_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    race = Race(monkeypatch, lambda run: 1e9 if run == 0 else 2.0)
    assert race.ratio.high == 1.0
    assert len(race.candidate.seen) == len(race.champion.seen) == TURNS + 1


def test_a_few_disturbed_turns_do_not_move_the_ratio_nor_many_its_low_end_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few = Race(monkeypatch, lambda run: 100.0 if run % 7 == 1 else 2.0).ratio
    assert (few.estimate, few.high) == (1.0, 1.0)
    half = Race(monkeypatch, lambda run: 100.0 if run % 2 else 2.0).ratio
    assert half.low == 1.0
    assert half.high == 50.0


def test_both_score_the_same_number_of_their_own_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    race = Race(monkeypatch, lambda run: 1.0)
    assert set(race.candidate.seen) == {(ROWS, 3)}
    assert set(race.champion.seen) == {(ROWS, 5)}


def test_they_take_turns_at_going_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run leaves behind in the machine's caches would else always fall on the same one."""
    order = Race(monkeypatch, lambda run: 1.0).order[2:]
    first = order[::2]
    assert set(zip(first, order[1::2], strict=True)) == {("candidate", "champion"), ("champion", "candidate")}
    assert abs(first.count("candidate") - first.count("champion")) == 1
