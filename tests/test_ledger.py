"""What became of a release: statuses, evidence, filters, by hand and on random histories."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mergeline.errors import ConfigurationError
from mergeline.release.evidence import Evidence, parse_judgement, parse_metrics
from mergeline.release.history import Deployment, standing
from mergeline.release.ledger import (
    Entry,
    Kind,
    Ledger,
    entries_of,
    events_of,
    fates,
    find,
    reverts,
)
from mergeline.release.manifests import NO_RELEASE, Release, format_release
from mergeline.release.model import Model, ModelFile
from mergeline.release.receipt import Receipt
from mergeline.release.selection import parse_selection

START = dt.datetime(2026, 1, 5, 12, tzinfo=dt.UTC)
HEX = "0123456789abcdef"


def release_of(number: int, image: str | None = None) -> Release:
    """A release of its own for each number, whose hashes begin with its two digits; 0 is none."""
    return Release(f"{number:02x}" * 32, "s3://models", f"{255 - number:02x}" * 32, image) if number else NO_RELEASE


def deployed(
    numbers: Sequence[int], environment: str = "production", messages: Sequence[str] = (), first: int = 0
) -> tuple[Deployment, ...]:
    """One deployment a day; the commit of the n-th begins with n as eight digits."""
    return tuple(
        Deployment(
            environment=environment,
            commit=f"{first + at:08d}{environment.encode().hex()}".ljust(40, "0")[:40],
            author="a person",
            email="person@example.org",
            deployed_at=START + dt.timedelta(days=first + at),
            message=messages[at] if at < len(messages) else f"Model {number}",
            release=release_of(number),
            content=format_release(release_of(number)).encode(),
        )
        for at, number in enumerate(numbers)
    )


def statuses(numbers: Sequence[int], messages: Sequence[str] = ()) -> dict[int, str]:
    found = fates(events_of(deployed(numbers, messages=messages)))
    return {int(str(release.model_sha256)[:2], 16): str(status) for release, status in found.items()}


# ---- What happened ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([1], {1: "production"}),
        ([1, 2], {1: "superseded", 2: "production"}),
        ([1, 2, 1], {1: "production", 2: "rolled back"}),
        ([1, 2, 3, 1], {1: "production", 2: "rolled back", 3: "rolled back"}),
        ([1, 2, 3, 2], {1: "superseded", 2: "production", 3: "rolled back"}),
        ([1, 2, 1, 3], {1: "superseded", 2: "rolled back", 3: "production"}),
        ([1, 2, 1, 2], {1: "superseded", 2: "production"}),
        ([1, 0], {1: "withdrawn"}),
        ([1, 0, 2], {1: "withdrawn", 2: "production"}),
        ([1, 0, 1], {1: "production"}),
        ([1, 2, 0], {1: "superseded", 2: "withdrawn"}),
        ([], {}),
    ],
)
def test_a_release_is_what_later_deployments_made_of_it(numbers: list[int], expected: dict[int, str]) -> None:
    assert statuses(numbers) == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ('Revert "Model 1"', "rolled back"),
        ('Revert "Model 1" (#12)', "rolled back"),
        (f'Revert "Model 1"\n\nThis reverts commit {deployed([1])[0].commit}.', "rolled back"),
        ('Revert "Model 2"', "withdrawn"),
        (f'Revert "Model 1"\n\nThis reverts commit {"f" * 40}.', "withdrawn"),
        ("The end of a service", "withdrawn"),
    ],
)
def test_no_release_takes_back_only_what_its_message_reverts(message: str, expected: str) -> None:
    assert statuses([1, 0], ["Model 1", message]) == {1: expected}


def test_what_was_taken_back_to_nothing_and_comes_again_is_a_promotion() -> None:
    again = deployed([1, 0, 1], messages=["Model 1", 'Revert "Model 1"', "Again"])
    assert [each.kind for each in events_of(again)] == [Kind.PROMOTED, Kind.WITHDREW, Kind.PROMOTED]


def test_another_image_around_the_same_model_renews_it_and_an_older_one_takes_it_back() -> None:
    image = f"server@sha256:{'a' * 64}"
    first, second, third = deployed([1, 1, 1])
    renewed = Deployment(
        **{name: getattr(second, name) for name in Deployment.__slots__} | {"release": release_of(1, image)}
    )
    assert [each.kind for each in events_of([first, renewed, third])] == [Kind.PROMOTED, Kind.RENEWED, Kind.TOOK_BACK]


@given(numbers=st.lists(st.integers(1, 4), max_size=12))
def test_what_is_taken_back_is_what_stops_standing_at_that_deployment(numbers: list[int]) -> None:
    """Against `history.standing`, asked after each deployment."""
    numbers = [number for at, number in enumerate(numbers) if at == 0 or number != numbers[at - 1]]
    line = deployed(numbers)
    for at, event in enumerate(events_of(line)):
        before, after = standing(line[:at]), standing(line[: at + 1])
        assert event.took_back == tuple(each for each in before if each not in after)
        assert event.before == (line[at - 1].release if at else NO_RELEASE)
        assert (event.kind is Kind.TOOK_BACK) == (line[at] not in after)


@given(numbers=st.lists(st.integers(0, 4), max_size=14))
def test_in_any_history_the_last_one_serves_and_no_other(numbers: list[int]) -> None:
    numbers = [number for at, number in enumerate(numbers) if number != (numbers[at - 1] if at else 0)]
    found = statuses(numbers)
    assert set(found) == set(numbers) - {0}
    assert [number for number, status in found.items() if status == "production"] == [
        number for number in numbers[-1:] if number
    ]
    if 0 not in numbers:
        stands = {each.release for each in standing(deployed(numbers))}
        assert {number for number, status in found.items() if status == "rolled back"} == {
            number for number in found if release_of(number) not in stands
        }


def test_a_message_that_speaks_of_a_revert_without_naming_it_is_none() -> None:
    deployment = deployed([1])[0]
    assert reverts(f"Back\n\nThis reverts commit {deployment.commit[:12]}.", deployment)
    assert not reverts("We may have to revert Model 1", deployment)
    assert not reverts('Reverting "Model 1"', deployment)


# ---- Releases --------------------------------------------------------------------------------------------------------


def evidence_of(number: int, **metrics: float) -> Evidence:
    receipt = Receipt(
        model=Model.of([ModelFile("model.onnx", "ab" * 32, 7)]),
        dvc_lock_sha256="cd" * 32,
        data={"data": "1" * 32 + ".dir"},
        training_commit="e" * 40,
        evaluation_sha256="ef" * 32,
        champion_sha256=None,
    )
    return Evidence(f"{number:x}" * 40, receipt, "aa" * 32, metrics, None)


def ledger_of(
    production: Sequence[int],
    staging: Sequence[int] = (),
    tags: Mapping[str, tuple[str, ...]] | None = None,
    **more: Any,
) -> Ledger:
    """Staging first, then production: what each says does not depend on the other."""
    events = events_of(deployed(staging, "staging")) + events_of(deployed(production, first=len(staging)))
    return Ledger("main", "f" * 40, events, more.get("evidence", {}), tags or {}, more.get("authored", {}))


@pytest.mark.parametrize(
    ("staging", "production", "expected"),
    [
        ([1], [], {1: "staging"}),
        ([1], [1], {1: "production"}),
        ([1, 2], [1], {1: "production", 2: "staging"}),
        ([1, 2], [1, 2, 1], {1: "production", 2: "rolled back"}),
        ([1, 2, 3], [1, 2], {1: "superseded", 2: "production", 3: "staging"}),
        ([1, 2, 1], [1, 2], {1: "staging", 2: "production"}),
        ([1, 2], [], {1: "superseded", 2: "staging"}),
        ([1, 2, 3, 1], [1, 2], {1: "staging", 2: "production", 3: "rolled back"}),
    ],
)
def test_a_release_has_one_status_out_of_two_environments(
    staging: list[int], production: list[int], expected: dict[int, str]
) -> None:
    found = entries_of(ledger_of(production, staging))
    assert {int(each.model[:2], 16): str(each.status) for each in found} == expected


def test_releases_come_the_last_deployed_first_with_the_tags_of_their_commits() -> None:
    line = deployed([1, 2, 1])
    tags = {line[2].commit: ("again",), line[0].commit: ("v1",), "9" * 40: ("elsewhere",)}
    first, second = entries_of(ledger_of([1, 2, 1], tags=tags))
    assert (first.model[:2], first.tags) == ("01", ("v1", "again"))
    assert (second.model[:2], second.tags) == ("02", ())


def found_by(wanted: str | None, ledger: Ledger) -> Entry:
    return find(entries_of(ledger), wanted)


def test_a_release_is_found_by_the_beginning_of_its_model_or_commit_and_without_one_by_what_serves() -> None:
    ledger = ledger_of([1, 2], [1, 2, 3])
    assert found_by("0101", ledger).release == release_of(1)
    assert found_by("0303" * 16, ledger).release == release_of(3)
    assert found_by(deployed([1, 2], first=3)[1].commit[:8], ledger).release == release_of(2)
    assert found_by(None, ledger).release == release_of(2)
    assert found_by(None, ledger_of([], [1, 3])).release == release_of(3)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("ffff", "no release of staging or production begins so; known: 020202020202, 010101010101"),
        ("0000", "several releases begin so"),  # two commits
        ("010", "expected 4 or more digits"),
        ("main", "expected 4 or more digits"),
        ("--all", "expected 4 or more digits"),
    ],
)
def test_what_names_no_one_release_is_said(wanted: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        found_by(wanted, ledger_of([1, 2]))


def test_without_a_release_that_serves_there_is_no_default() -> None:
    with pytest.raises(ConfigurationError, match="neither production nor staging serves one now"):
        found_by(None, ledger_of([1, 0]))


# ---- Filters ---------------------------------------------------------------------------------------------------------


def selected(*metrics: str, status: str | None = None, tag: str | None = None) -> list[str]:
    """Of three releases: 1 superseded with 0.7, 2 in production with 0.8 and v2.0, 3 in staging without a record."""
    ledger = ledger_of(
        [1, 2],
        [1, 2, 3],
        {deployed([1, 2], first=3)[1].commit: ("v2.0",)},
        evidence={
            str(release_of(1).receipt_sha256): evidence_of(1, roc_auc=0.7, f1=0.5),
            str(release_of(2).receipt_sha256): evidence_of(2, roc_auc=0.8),
        },
    )
    return [each.model[:2] for each in parse_selection(status, tag, metrics).select(entries_of(ledger))]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("roc_auc>=0.7", ["02", "01"]),
        ("roc_auc > 0.7", ["02"]),
        ("roc_auc<=0.7", ["01"]),
        ("roc_auc<0.7", []),
        ("roc_auc=0.8", ["02"]),
        ("roc_auc==8e-1", ["02"]),
        ("roc_auc!=0.8", ["01"]),
        ("f1>0", ["01"]),
    ],
)
def test_a_bound_on_a_metric_selects_the_releases_that_have_it_and_hold_it(condition: str, expected: list[str]) -> None:
    assert selected(condition) == expected


def test_filters_hold_together() -> None:
    assert selected() == ["02", "01", "03"]
    assert selected(status="superseded") == ["01"]
    assert selected(status="staging") == ["03"]
    assert selected(tag="v2.*") == ["02"]
    assert selected(tag="v2") == []
    assert selected("roc_auc>0.1", "f1>0.1", status="superseded") == ["01"]
    assert selected("roc_auc>0.1", status="staging") == []


def test_what_both_environments_serve_has_the_status_of_both() -> None:
    entries = entries_of(ledger_of([1], [1]))
    assert len(parse_selection("staging", None, []).select(entries)) == 1
    assert len(parse_selection("production", None, []).select(entries)) == 1
    assert parse_selection("superseded", None, []).select(entries) == ()


@pytest.mark.parametrize(
    "condition", ["roc_auc", "roc_auc>=", ">=0.7", "roc_auc>=high", "roc_auc>=nan", "roc_auc=>0.7", "a b>1", ""]
)
def test_a_bound_that_cannot_be_read_is_one_clear_error(condition: str) -> None:
    with pytest.raises(ConfigurationError, match=r"--metric: expected a metric, one of .* found"):
        selected(condition)


def test_a_status_or_a_metric_that_there_is_not_is_said_with_those_that_there_are() -> None:
    with pytest.raises(ConfigurationError, match="--status: expected one of production, staging, superseded, rolled"):
        selected(status="live")
    with pytest.raises(ConfigurationError, match="no release has 'auc', expected one of f1, roc_auc"):
        selected("auc>0.5")


# ---- Evidence --------------------------------------------------------------------------------------------------------


def comparison(sha256: str = "ab" * 32, **changes: Any) -> bytes:
    record = {
        "verdict": "promote",
        "sentence": "better by 0.01 ROC AUC",
        "primary": "roc_auc",
        "candidate": {"sha256": sha256},
        "gates": [
            {"name": "floors", "outcome": "passed"},
            {"name": "size", "outcome": "failed"},
            {"name": "parity", "outcome": "passed"},
        ],
    }
    return json.dumps(record | changes).encode()


def test_a_verdict_is_read_with_its_gates_counted() -> None:
    found = parse_judgement(comparison(), "ab" * 32)
    assert found is not None
    assert (found.verdict, found.sentence, found.primary) == ("promote", "better by 0.01 ROC AUC", "roc_auc")
    assert found.gates == {"passed": 2, "failed": 1}
    assert found.failed == ("size",)


def test_the_twin_a_verdict_on_another_model_is_no_evidence() -> None:
    assert parse_judgement(comparison("cd" * 32), "ab" * 32) is None


@pytest.mark.parametrize(
    "content", [None, b"", b"{", b"[]", b"\xff", b'{"candidate": []}', b'{"candidate": null}', b"[" * 100_000]
)
def test_a_record_that_cannot_be_read_is_no_evidence(content: bytes | None) -> None:
    assert parse_judgement(content, "ab" * 32) is None
    assert parse_metrics(content) == {} or content == b'{"candidate": []}'


def test_a_record_with_odd_values_is_read_as_far_as_it_goes() -> None:
    found = parse_judgement(comparison(gates={"floors": "passed"}, primary=7, sentence="a\n\x1b[31mb\u202e"), "ab" * 32)
    assert found is not None
    assert (found.gates, found.primary, found.sentence) == ({}, None, "a [31mb")


def test_metrics_are_finite_numbers_alone() -> None:
    record = b'{"a": 0.5, "b": true, "c": NaN, "d": "0.5", "e": null, "f": 3, "g": 1e999, "h": 1' + b"0" * 400 + b"}"
    assert parse_metrics(record) == {"a": 0.5, "f": 3.0}


def test_the_headline_is_the_primary_metric_and_else_the_first() -> None:
    judged = parse_judgement(comparison(primary="f1"), "ab" * 32)
    evidence = evidence_of(1, roc_auc=0.7, f1=0.5)
    assert evidence.headline == ("roc_auc", 0.7)
    with_verdict = Evidence(evidence.commit, evidence.receipt, None, evidence.metrics, judged)
    assert with_verdict.headline == ("f1", 0.5)
    assert evidence_of(1).headline is None
