"""The alarm is right as often as it says: hardly ever on rows like those of training, nearly always on what moved."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from mergeline.monitor.drift.judge import Reference, Rules, judge
from mergeline.monitor.drift.record import DriftRecord, Outcome, Severity
from mergeline.monitor.drift.tally import Counted, Sample, Tally
from mergeline.monitor.profile import Profile, profile_of
from mergeline.monitor.windows import Window
from mergeline.schema import Feature, Kind

NUMBERS, CATEGORIES = 4, 1
LABELS = tuple(f"value {at}" for at in range(30))
FEATURES = (
    *(Feature(f"number {at}", Kind.NUMBER) for at in range(NUMBERS)),
    *(Feature(f"category {at}", Kind.CATEGORY, LABELS) for at in range(CATEGORIES)),
)
REFERENCE_ROWS = 15_000
START = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
WEEK = dt.timedelta(days=7)
ROWS = 5000

Matrix = NDArray[np.float32]
Plant = Callable[[Matrix], None]


@dataclass(frozen=True, slots=True)
class Population:
    """The rows of training and their profile."""

    matrix: Matrix
    scores: NDArray[np.float64]
    profile: Profile

    @property
    def reference(self) -> Reference:
        return Reference("a" * 64, FEATURES, self.profile)

    def window(self, generator: np.random.Generator, rows: int, plant: Plant | None = None) -> Profile:
        """A window of rows drawn from those of training, with what is planted."""
        chosen = generator.integers(0, REFERENCE_ROWS, rows)
        matrix = self.matrix[chosen]
        if plant:
            plant(matrix)
        return profile_of(matrix, FEATURES, self.scores[chosen])


@pytest.fixture(scope="module")
def population() -> Population:
    """Numbers of all shapes, one with gaps; a category of which a few values are frequent and most are rare."""
    generator = np.random.default_rng(11)
    numbers = [
        generator.normal(0, 1, REFERENCE_ROWS),
        generator.normal(100, 1, REFERENCE_ROWS),
        generator.lognormal(0, 1, REFERENCE_ROWS),
        np.where(generator.random(REFERENCE_ROWS) < 0.1, np.nan, generator.exponential(1, REFERENCE_ROWS)),
    ]
    codes = [2 + np.minimum(generator.zipf(1.4, REFERENCE_ROWS), len(LABELS)) - 1 for _ in range(CATEGORIES)]
    matrix = np.column_stack([*numbers, *codes]).astype(np.float32)
    scores = generator.beta(2, 5, REFERENCE_ROWS)
    return Population(matrix, scores, profile_of(matrix, FEATURES, scores))


def judged(
    population: Population, profile: Profile, history: Sequence[DriftRecord] = (), rules: Rules | None = None
) -> DriftRecord:
    number = len(history)
    window = Window(START + number * WEEK, START + (number + 1) * WEEK)
    tally = Tally(profile, Sample.empty(0, len(FEATURES)))
    return judge(window, 0, Counted(tallies={(0, 1.0): tally}), population.reference, rules or Rules(), history)


def found(population: Population, plant: Plant | None, *, windows: int, rows: int = ROWS, seed: int = 1) -> float:
    """The share of windows that are called drifted."""
    generator = np.random.default_rng(seed)
    records = [judged(population, population.window(generator, rows, plant)) for _ in range(windows)]
    return sum(record.outcome is Outcome.DRIFT for record in records) / windows


def mean_by(sigmas: float) -> Plant:
    """Move a standard normal number."""

    def plant(matrix: Matrix) -> None:
        matrix[:, 0] += sigmas

    return plant


def category_by(share: float) -> Plant:
    """Let this share of the rows have one category that is not the most frequent."""

    def plant(matrix: Matrix) -> None:
        matrix[: int(share * len(matrix)), NUMBERS] = 3

    return plant


def missing_by(share: float) -> Plant:
    def plant(matrix: Matrix) -> None:
        matrix[: int(share * len(matrix)), 2] = np.nan

    return plant


@pytest.mark.parametrize(("windows", "rows"), [(500, 1000), (60, 5000)])
def test_of_windows_drawn_from_the_reference_at_most_one_in_a_hundred_alarms(
    population: Population, windows: int, rows: int
) -> None:
    assert found(population, None, windows=windows, rows=rows) <= 0.01


def test_the_twin_p_values_alone_would_alarm_on_shifts_of_no_size(population: Population) -> None:
    """A twentieth of a standard deviation: at a million rows certain, and of no use to know."""
    many = _many(population, mean_by(0.05))
    by_both = judged(population, many)
    assert by_both.features[1].p_corrected < 1e-4
    assert by_both.outcome is Outcome.NONE
    by_p_alone = judged(population, many, rules=replace(Rules(), minor=1e-9))
    assert by_p_alone.outcome is Outcome.DRIFT


def test_the_twin_the_effect_alone_would_alarm_on_few_rows(population: Population) -> None:
    generator = np.random.default_rng(2)
    records = [judged(population, population.window(generator, 500)) for _ in range(60)]
    alone = [max(each.effect for each in record.features) >= Rules().minor for record in records]
    assert sum(record.outcome is Outcome.DRIFT for record in records) <= 1
    assert sum(alone) > 12


def _many(population: Population, plant: Plant) -> Profile:
    """A window of a million rows."""
    return population.window(np.random.default_rng(0), 1_000_000, plant)


@pytest.mark.parametrize(
    ("plant", "least", "most"),
    [
        pytest.param(mean_by(0.1), 0.0, 0.35, id="mean, 0.1 sigma: below what matters"),
        pytest.param(mean_by(0.25), 0.99, 1.0, id="mean, 0.25 sigma"),
        pytest.param(mean_by(0.5), 0.99, 1.0, id="mean, 0.5 sigma"),
        pytest.param(category_by(0.03), 0.0, 0.1, id="a category takes 3 % of the rows: below what matters"),
        pytest.param(category_by(0.1), 0.99, 1.0, id="a category takes 10 % of the rows"),
        pytest.param(missing_by(0.03), 0.0, 0.1, id="3 % missing: below what matters"),
        pytest.param(missing_by(0.1), 0.99, 1.0, id="10 % missing"),
    ],
)
def test_planted_shifts_are_found_with_the_power_that_is_stated(
    population: Population, plant: Plant, least: float, most: float
) -> None:
    assert least <= found(population, plant, windows=30) <= most


def test_a_smaller_threshold_finds_a_tenth_of_a_standard_deviation(population: Population) -> None:
    generator = np.random.default_rng(3)
    rules = replace(Rules(), minor=0.03)
    records = [judged(population, population.window(generator, ROWS, mean_by(0.1)), rules=rules) for _ in range(30)]
    assert sum(record.outcome is Outcome.DRIFT for record in records) / 30 >= 0.9


def test_severity_follows_the_size(population: Population) -> None:
    generator = np.random.default_rng(4)
    severities = [judged(population, population.window(generator, ROWS, mean_by(by))).severity for by in (0, 0.25, 0.5)]
    assert severities == [Severity.NONE, Severity.MINOR, Severity.MAJOR]


def test_slow_drift_over_eight_weeks_is_sustained_before_it_ends(population: Population) -> None:
    """A mean that moves by a sixteenth of a standard deviation a week; six times in six."""
    sustained = []
    for seed in range(6):
        generator, history = np.random.default_rng(seed), list[DriftRecord]()
        for number in range(8):
            window = population.window(generator, ROWS, mean_by((number + 1) / 16))
            history.append(judged(population, window, history))
        sustained.append(next(number for number, record in enumerate([*history, history[-1]]) if record.sustained))
    assert max(sustained) <= 5
    assert min(sustained) >= 3


def test_one_bad_week_is_drift_and_not_sustained(population: Population) -> None:
    generator, history = np.random.default_rng(5), list[DriftRecord]()
    for by in (0, 0, 0.5, 0, 0, 0):
        history.append(judged(population, population.window(generator, ROWS, mean_by(by)), history))
    assert [record.outcome is Outcome.DRIFT for record in history] == [False, False, True, False, False, False]
    assert not any(record.sustained for record in history)


def test_different_columns_that_move_in_turn_are_no_sustained_drift(population: Population) -> None:
    """Chance and weather move another column each week; what lasts moves the same one."""
    generator, history = np.random.default_rng(6), list[DriftRecord]()
    for number in range(4):

        def plant(matrix: Matrix, column: int = number) -> None:
            matrix[:, column] += 3 if column != 2 else 0.5

        history.append(judged(population, population.window(generator, ROWS, plant), history))
    assert [record.outcome for record in history] == [Outcome.DRIFT] * 4
    assert not any(record.sustained for record in history)
