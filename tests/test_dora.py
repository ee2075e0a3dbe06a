"""The four keys, by hand: a history short enough to be counted on fingers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace

import pytest
from test_ledger import START, deployed, evidence_of, ledger_of, release_of

from mergeline.release import printed
from mergeline.release.dora import Figure, FourKeys, Without, four_keys, lead_time
from mergeline.release.evidence import Evidence
from mergeline.release.ledger import Ledger, events_of

DAY = dt.timedelta(days=1)
HOUR = dt.timedelta(hours=1)
COMMIT = "e" * 40


def of(numbers: Sequence[int], until_day: int = 28, days: int | None = None) -> FourKeys:
    """The keys of one deployment to production a day."""
    return four_keys(ledger_of(numbers), START + until_day * DAY, days)


def test_a_history_counted_by_hand() -> None:
    """Models 1, 2, 3 on days 0, 1, 2; day 3 takes 2 and 3 back; day 4 brings model 4. Looked at on day 28."""
    keys = of([1, 2, 3, 1, 4])
    assert (keys.deployments, keys.recoveries, keys.failed) == (4, 1, 2)
    assert keys.failure_rate == 0.5
    assert keys.restore == Figure(1.5 * DAY, 2)  # 2 days for model 2, 1 day for model 3
    assert keys.between == Figure(DAY, 3)  # days 0, 1, 2, 4: gaps of 1, 1 and 2
    assert keys.per_week == pytest.approx(1.0)  # 4 in 28 days
    assert (keys.since, keys.until) == (START, START + 28 * DAY)


def test_staging_does_not_count() -> None:
    ledger = ledger_of([], [1, 2, 1])
    assert four_keys(ledger, START + 28 * DAY).deployments == 0


def test_without_a_deployment_there_is_no_figure() -> None:
    keys = of([])
    assert (keys.deployments, keys.failure_rate, keys.per_week, keys.since) == (0, None, None, None)
    assert keys.between == keys.lead_time == keys.restore == Figure(None, 0)
    assert "production on main, the beginning to" in printed.four_keys(keys, "main")
    assert printed.four_keys(keys, "main").count("– (n = 0") == 3


def test_with_one_deployment_there_is_no_time_between_two_and_nothing_was_restored() -> None:
    keys = of([1])
    assert (keys.deployments, keys.failure_rate) == (1, 0.0)
    assert keys.between == keys.restore == Figure(None, 0)


def test_less_than_a_week_gives_no_rate_a_week() -> None:
    assert of([1, 2], until_day=6).per_week is None
    assert of([1, 2], until_day=7).per_week == pytest.approx(2.0)


def test_a_period_counts_its_own_deployments_and_what_later_became_of_them() -> None:
    keys = of([1, 2, 3, 1, 4], until_day=5, days=4)  # from day 1 on: models 2, 3 and 4
    assert (keys.deployments, keys.failed, keys.recoveries) == (3, 2, 1)
    assert keys.per_week is None
    assert of([1, 2, 3, 1, 4], until_day=12, days=8).deployments == 1  # from day 4 on
    assert of([1, 2, 3, 1, 4], until_day=12, days=8).per_week == pytest.approx(7 / 8)


def test_a_revert_to_no_release_is_a_failure_and_the_end_of_a_service_is_none() -> None:
    for message, failed in (('Revert "Model 1"', 1), ("The end", 0)):
        events = events_of(deployed([1, 0], messages=["Model 1", message]))
        keys = four_keys(replace(ledger_of([]), events=events), START + 28 * DAY)
        assert (keys.deployments, keys.failed, keys.recoveries) == (1, failed, failed)


# ---- Lead time -------------------------------------------------------------------------------------------------------


def trained(commit: str | None, written: dt.datetime | None = None, message: str = "Model 1") -> Ledger:
    """One deployment, on day 0, of a model whose receipt names a commit that was written then."""
    evidence = evidence_of(1)
    receipt = replace(evidence.receipt, training_commit=commit)
    return replace(
        ledger_of([]),
        events=events_of(deployed([1], messages=[message])),
        evidence={str(release_of(1).receipt_sha256): Evidence("1" * 40, receipt, None, {}, None)},
        authored={COMMIT: written} if written else {},
    )


def lead(ledger: Ledger, event: int = 0) -> dt.timedelta | Without:
    return lead_time(ledger.events[event], ledger)


def test_lead_time_runs_from_the_training_commit_to_the_deployment() -> None:
    assert lead(trained(COMMIT, START - 30 * HOUR)) == 30 * HOUR


@pytest.mark.parametrize(
    ("ledger", "reason"),
    [
        (trained(None), Without.NO_COMMIT),
        (trained(f"{COMMIT}-dirty", START - DAY), Without.DIRTY),
        (trained(COMMIT), Without.NOT_HERE),
        (trained(COMMIT, START + HOUR), Without.LATER),
    ],
)
def test_a_deployment_without_lead_time_says_why(ledger: Ledger, reason: Without) -> None:
    assert lead(ledger) is reason
    keys = four_keys(ledger, START + 28 * DAY)
    assert (keys.lead_time, keys.without) == (Figure(None, 0), {reason: 1})
    assert f"1 without: {reason}" in printed.four_keys(keys, "main")


def test_without_a_receipt_the_trailer_of_the_deployment_names_the_commit() -> None:
    message = f"Promote\n\nModel-SHA256: {'01' * 32}\nTrained-From: {COMMIT}\n"
    ledger = replace(trained(None, START - DAY, message), evidence={})
    assert lead(ledger) == DAY
    assert lead(replace(trained(None, START - DAY), evidence={})) is Without.NO_COMMIT


def test_another_image_around_the_same_model_has_no_lead_time_of_its_own() -> None:
    ledger = trained(COMMIT, START - DAY)
    first, second = deployed([1, 1])
    renewed = replace(second, release=release_of(1, f"server@sha256:{'a' * 64}"))
    ledger = replace(ledger, events=events_of([first, renewed]))
    assert [lead(ledger, event) for event in (0, 1)] == [DAY, Without.SAME_MODEL]
    assert four_keys(ledger, START + 28 * DAY).deployments == 2


def test_the_figure_of_durations_is_their_median_without_those_below_zero() -> None:
    assert Figure.of([HOUR, 2 * HOUR, 9 * HOUR]) == Figure(2 * HOUR, 3)
    assert Figure.of([HOUR, 2 * HOUR, -HOUR]) == Figure(1.5 * HOUR, 2)
    assert Figure.of([-HOUR]) == Figure(None, 0)


def test_each_key_is_printed_with_what_it_is_made_of() -> None:
    assert printed.four_keys(of([1, 2, 3, 1, 4]), "origin/main").splitlines() == [
        "production on origin/main, 2026-01-05 to 2026-02-02",
        "deployment frequency   1 a week, median 24.0 hours between two (n = 4)",
        "lead time for changes  – (n = 0; 4 without: no training commit is named)",
        "change failure rate    50.0% (2 of 4 taken back)",
        "time to restore        36.0 hours (n = 2)",
    ]
