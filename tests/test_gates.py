"""gates: what each lets pass, what each stops, and the sentence that a reviewer reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from mergeline.gates import GATES
from mergeline.gates.behaviour import behaviour
from mergeline.gates.calibration import calibration
from mergeline.gates.comparable import comparable
from mergeline.gates.evidence import Contender, Evidence, SliceComparison, better_or_worse, number, within
from mergeline.gates.fairness import fairness, gaps
from mergeline.gates.floors import floors
from mergeline.gates.gate import Gate, Outcome
from mergeline.gates.improvement import Standing, improvement, promotes, standing
from mergeline.gates.latency import latency
from mergeline.gates.leakage import explained, leakage
from mergeline.gates.parity import parity
from mergeline.gates.size import MEBIBYTE, size
from mergeline.gates.slices import slices
from mergeline.gates.verdict import Verdict, judge
from mergeline.intervals import Interval
from mergeline.metrics import Metric
from mergeline.models.encoder import encode
from mergeline.models.scorer import Scorer
from mergeline.params import GateParams
from mergeline.schema import Feature, Kind, KnownSample, Signature, Task

Floats = NDArray[np.float64]
Matrix = NDArray[np.float32]
Formula = Callable[[Matrix], Floats]

PASSED, FAILED, NOT_APPLICABLE = Outcome.PASSED, Outcome.FAILED, Outcome.NOT_APPLICABLE
FEATURES = (
    Feature("amount", Kind.NUMBER),
    Feature("noise", Kind.NUMBER),
    Feature("member", Kind.BOOLEAN),
    Feature("shop", Kind.CATEGORY, ("a", "b")),
)
CLASSES = {Task.BINARY: ("no", "yes"), Task.MULTICLASS: ("low", "mid", "top"), Task.REGRESSION: ()}
PRIMARY = {Task.BINARY: "roc_auc", Task.MULTICLASS: "log_loss", Task.REGRESSION: "rmse"}


def table(rows: int = 120) -> pd.DataFrame:
    """Every kind of feature; `member` is true in one row of eight."""
    generator = np.random.default_rng(5)
    return pd.DataFrame(
        {
            "amount": generator.uniform(10, 90, rows),
            "noise": generator.normal(size=rows),
            "member": np.arange(rows) % 8 == 0,
            "shop": np.where(np.arange(rows) % 3 == 0, "a", "b"),
        }
    )


def binary(matrix: Matrix) -> Floats:
    """More for a larger amount and for a member."""
    positive = 1 / (1 + np.exp(-((matrix[:, 0].astype(np.float64) - 50) / 20 + matrix[:, 2])))
    return np.column_stack([1 - positive, positive])


def multiclass(matrix: Matrix) -> Floats:
    scale = (matrix[:, :1].astype(np.float64) - 50) / 20
    powers = np.exp(np.concatenate([-scale, 0 * scale, scale], axis=1))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def regression(matrix: Matrix) -> Floats:
    return 2.0 * matrix[:, :1].astype(np.float64)


FORMULAS: dict[Task, Formula] = {Task.BINARY: binary, Task.MULTICLASS: multiclass, Task.REGRESSION: regression}


class Formulated:
    """A scorer that is one formula of the encoded rows."""

    def __init__(self, signature: Signature, formula: Formula) -> None:
        self.signature = signature
        self.formula = formula

    def score(self, rows: pd.DataFrame) -> Floats:
        return self.score_matrix(encode(rows, self.signature.features))

    def score_matrix(self, matrix: Matrix) -> Floats:
        return self.formula(matrix)


def known_samples(formula: Formula, off: float = 0.0) -> tuple[KnownSample, ...]:
    """Two rows and their scores, the second one's `off` what the formula says."""
    rows = table(2)
    scores = formula(encode(rows, FEATURES))
    records: list[dict[str, Any]] = json.loads(rows.to_json(orient="records", double_precision=15))
    return tuple(
        KnownSample(row, tuple(score + shift))
        for row, score, shift in zip(records, scores, np.array([0.0, off]), strict=True)
    )


def contender(
    task: Task = Task.BINARY,
    formula: Formula | None = None,
    samples: tuple[KnownSample, ...] | None = None,
    parity_difference: Any = 1e-7,
    size_bytes: int = 1000,
    threshold: float | None = 0.5,
) -> Contender:
    used = formula or FORMULAS[task]
    kept = known_samples(used) if samples is None else samples
    threshold = threshold if task is Task.BINARY else None
    signature = Signature(task, "bought", FEATURES, CLASSES[task], threshold, kept)
    scorer: Any = Formulated(signature, used)
    return Contender("c" * 64, scorer, {"parity_difference": parity_difference}, None, size_bytes)


def interval(estimate: float, low: float, high: float, confidence: float = 0.95) -> Interval:
    return Interval(estimate, low, high, "by hand", confidence)


def metric(name: str, estimate: float, greater_is_better: bool | None = True) -> Metric:
    return Metric(name, interval(estimate, estimate - 0.01, estimate + 0.01), greater_is_better, 120)


def evidence(task: Task = Task.BINARY, rows: int = 120, **changes: Any) -> Evidence:
    """A candidate that is better than its champion by 0.031 (0.024 to 0.038) and passes all default gates."""
    held = table(rows)
    matrix = encode(held, FEATURES)
    candidate = changes.get("candidate") or contender(task)
    name = PRIMARY[task]
    mine, theirs = (metric(name, value, task is Task.BINARY) for value in (0.78, 0.749))
    made = Evidence(
        task=task,
        primary=mine,
        primary_name=name,
        rows=held,
        target=np.random.default_rng(8).integers(0, max(2, len(CLASSES[task])), rows).astype(float),
        matrix=matrix,
        candidate=candidate,
        candidate_scores=candidate.scorer.score_matrix(matrix),
        candidate_metrics=(mine,),
        champion=contender(task),
        champion_metrics=(theirs,),
        difference=interval(0.031, 0.024, 0.038),
        slices=(),
        refusal=None,
        same=None,
        latency_ratio=None,
    )
    return replace(made, **changes)


def policy(**sections: Any) -> GateParams:
    return GateParams.model_validate(sections)


# ---- What is said of numbers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (0.03149, "0.031"),
        (-0.5, "-0.500"),
        (0.001, "0.001"),
        (0.00099, "0.001"),
        (0.00002, "2e-05"),
        (999.9996, "1000.000"),
        (1000.0, "1,000"),
        (-1234567.0, "-1,234,567"),
    ],
)
def test_a_number_has_as_many_digits_as_a_person_reads(value: float, text: str) -> None:
    assert number(value) == text


def test_an_interval_is_read_from_its_low_to_its_high_end_whatever_its_sign() -> None:
    found = interval(-0.031, -0.038, -0.024, 0.995)
    assert within(found) == "-0.031 (99.5 % -0.038 to -0.024)"
    assert within(found, -1) == "0.031 (99.5 % 0.024 to 0.038)"


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (interval(0.031, 0.024, 0.038), "better by 0.031 (95 % 0.024 to 0.038)"),
        (interval(-0.031, -0.038, -0.024), "worse by 0.031 (95 % 0.024 to 0.038)"),
        (interval(-0.002, -0.006, 0.004), "worse by 0.002 (95 % -0.004 to 0.006)"),
        (interval(0.0, 0.0, 0.0), "better by 0 (95 % 0 to 0)"),
    ],
)
def test_a_difference_is_said_as_better_or_worse(found: Interval, text: str) -> None:
    assert better_or_worse(found) == text


def test_a_primary_metric_without_a_label_is_called_by_its_name() -> None:
    assert evidence().label == "ROC AUC"
    assert evidence(primary_name="accuracy").label == "accuracy"


@pytest.mark.parametrize(
    ("name", "unit"), [("roc_auc", 1.0), ("r2", 1.0), ("rmse", 12.0), ("log_loss", 12.0), ("mae", 12.0)]
)
def test_a_margin_of_a_metric_without_an_upper_bound_is_a_share_of_the_champions_value(name: str, unit: float) -> None:
    found = evidence(primary_name=name, champion_metrics=(metric("other", 7.0), metric(name, 12.0)))
    assert found.unit() == unit
    assert replace(found, champion_metrics=()).unit() == 1.0


# ---- All gates -------------------------------------------------------------------------------------------------------


def test_the_gates_stand_in_the_order_of_the_report_and_carry_their_own_names() -> None:
    assert list(GATES) == [
        *("comparable", "improvement", "floors", "slices", "calibration", "latency", "size"),
        *("parity", "behaviour", "leakage", "fairness"),
    ]
    for name, gate in GATES.items():
        assert gate(evidence(), policy()).name == name


@pytest.mark.parametrize("task", Task)
def test_a_sound_candidate_of_any_task_fails_no_gate(task: Task) -> None:
    found = {name: gate(evidence(task), policy()) for name, gate in GATES.items()}
    assert [each.evidence for each in found.values() if each.outcome is FAILED] == []
    for gate in found.values():
        json.dumps(gate.as_dict(), allow_nan=False)
        assert gate.evidence


def test_no_limit_is_written_as_a_negative_zero() -> None:
    """`-0.0` in a record would differ from `0.0` for no reason that a reader could see."""
    compared = evidence(slices=(part("a", interval(0.0, -0.1, 0.1)),))
    strict = policy(slices={"margin": 0.0})
    for gate in (improvement(compared, strict), slices(compared, strict)):
        assert str(gate.threshold) == "0.0"


# ---- comparable ------------------------------------------------------------------------------------------------------


def test_comparable_passes_and_says_how_many_rows_judge() -> None:
    assert comparable(evidence(rows=1200), policy()) == Gate(
        "comparable", PASSED, "both models are judged on the same 1,200 rows, seen by neither"
    )
    alone = comparable(evidence(champion=None), policy())
    assert alone.evidence == "the candidate and the baseline are judged on the same 120 rows, seen by neither"


def test_comparable_fails_with_the_reason_of_the_refusal() -> None:
    assert comparable(evidence(refusal="the champion has seen June"), policy()) == Gate(
        "comparable", FAILED, "the champion has seen June"
    )


# ---- improvement -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "margin", "found"),
    [
        (0.011, 0.05, 0.01, Standing.BETTER),
        (0.01, 0.05, 0.01, Standing.TIE),
        (-0.05, -0.01, 0.01, Standing.TIE),
        (-0.05, -0.011, 0.01, Standing.WORSE),
        (0.0, 0.05, 0.0, Standing.TIE),
        (-0.05, 0.0, 0.0, Standing.TIE),
        (0.001, 0.05, 0.0, Standing.BETTER),
        (-0.05, -0.001, 0.0, Standing.WORSE),
    ],
)
def test_the_whole_interval_must_lie_beyond_the_margin(low: float, high: float, margin: float, found: Standing) -> None:
    assert standing(interval((low + high) / 2, low, high), margin) is found


@pytest.mark.parametrize(
    ("difference", "champion", "expected"),
    [
        (
            interval(0.031, 0.024, 0.038),
            True,
            (PASSED, "better by 0.031 (95 % 0.024 to 0.038) in ROC AUC, more than 0 is asked"),
        ),
        (
            interval(0.002, -0.004, 0.008),
            True,
            (PASSED, "better by 0.002 (95 % -0.004 to 0.008) in ROC AUC: no difference beyond 0 can be told"),
        ),
        (
            interval(-0.031, -0.038, -0.024),
            True,
            (FAILED, "worse by 0.031 (95 % 0.024 to 0.038) in ROC AUC, at most 0 is allowed"),
        ),
        (
            interval(0.031, 0.024, 0.038),
            False,
            (PASSED, "better by 0.031 (95 % 0.024 to 0.038) in ROC AUC than the baseline, more than 0 is asked"),
        ),
        (
            interval(0.002, -0.004, 0.008),
            False,
            (FAILED, "better by 0.002 (95 % -0.004 to 0.008) in ROC AUC than the baseline, more than 0 is asked"),
        ),
    ],
)
def test_improvement_bears_a_tie_with_a_champion_but_not_with_a_baseline(
    difference: Interval, champion: bool, expected: tuple[Outcome, str]
) -> None:
    found = evidence(difference=difference, champion=contender() if champion else None)
    assert improvement(found, policy()) == Gate("improvement", *expected, difference.estimate, 0.0)


def test_improvement_allows_a_loss_within_the_margin_in_the_metrics_own_unit_or_as_a_share() -> None:
    lost = interval(-0.031, -0.038, -0.024)
    assert improvement(evidence(difference=lost), policy(improvement={"margin": 0.024})).outcome is PASSED
    assert improvement(evidence(difference=lost), policy(improvement={"margin": 0.0239})).outcome is FAILED
    errors = evidence(
        Task.REGRESSION,
        difference=interval(-3, -4, -2),
        champion_metrics=(metric("rmse", 200.0, greater_is_better=False),),
    )
    assert improvement(errors, policy(improvement={"margin": 0.01})).outcome is PASSED
    gate = improvement(errors, policy(improvement={"margin": 0.0099}))
    said = "worse by 3.000 (95 % 2.000 to 4.000) in RMSE, at most 1.980 is allowed"
    assert (gate.outcome, gate.evidence, gate.value) == (FAILED, said, -3)
    assert gate.threshold == pytest.approx(-1.98)


def test_improvement_fails_where_the_holdout_does_not_define_the_metric_and_is_silent_after_a_refusal() -> None:
    undefined = improvement(evidence(difference=None), policy())
    assert (undefined.outcome, undefined.evidence) == (
        FAILED,
        "ROC AUC is not defined on this holdout; judge by another",
    )
    refused = improvement(evidence(difference=None, refusal="seen"), policy())
    assert (refused.outcome, refused.evidence) == (NOT_APPLICABLE, "nothing could be compared")


@pytest.mark.parametrize(
    ("low", "high", "settings", "promoted"),
    [
        (0.001, 0.02, {}, True),
        (0.0, 0.02, {}, False),
        (-0.009, 0.02, {"margin": 0.01}, False),
        (-0.009, 0.02, {"margin": 0.01, "non_inferiority": True}, True),
        (-0.01, 0.02, {"margin": 0.01, "non_inferiority": True}, False),
        (0.0, 0.0, {"margin": 0.01, "non_inferiority": True}, False),
    ],
)
def test_non_inferiority_promotes_a_tie_that_is_not_worse_and_no_model_that_answers_alike(
    low: float, high: float, settings: dict[str, Any], promoted: bool
) -> None:
    found = interval((low + high) / 2, low, high)
    assert promotes(found, policy(improvement=settings).improvement, 1.0) is promoted


def test_non_inferiority_takes_its_margin_in_the_unit_of_the_metric() -> None:
    settings = policy(improvement={"margin": 0.01, "non_inferiority": True}).improvement
    assert promotes(interval(0.0, -1.9, 1.9), settings, 200.0)
    assert not promotes(interval(0.0, -2.0, 1.9), settings, 200.0)


# ---- floors ----------------------------------------------------------------------------------------------------------

MEASURED = (metric("roc_auc", 0.78), metric("log_loss", 0.5, False), metric("predicted_positive_share", 0.4, None))


def test_floors_hold_at_their_limit_for_gains_and_for_losses() -> None:
    found = evidence(candidate_metrics=MEASURED)
    assert floors(found, policy(floors={"roc_auc": 0.78, "log_loss": 0.5})) == Gate(
        "floors", PASSED, "ROC AUC 0.780, at least 0.780 is asked; log loss 0.500, at most 0.500 is asked", 0.78, 0.78
    )


@pytest.mark.parametrize(
    ("limits", "said", "value"),
    [
        ({"roc_auc": 0.7801}, "ROC AUC 0.780, at least 0.780 is asked", 0.78),
        ({"log_loss": 0.4999}, "log loss 0.500, at most 0.500 is asked", 0.5),
        ({"roc_auk": 0.5}, "roc_auk has no value on this holdout, 0.500 is asked", None),
        (
            {"predicted_positive_share": 0.1},
            "predicted_positive_share has no value on this holdout, 0.100 is asked",
            0.4,
        ),
    ],
)
def test_floors_stop_a_metric_beyond_its_limit_and_one_that_does_not_exist(
    limits: dict[str, float], said: str, value: float | None
) -> None:
    found = floors(evidence(candidate_metrics=MEASURED), policy(floors=limits))
    assert found == Gate("floors", FAILED, said, value, next(iter(limits.values())))


def test_floors_show_the_number_of_the_one_that_failed_and_are_not_applicable_without_any() -> None:
    found = floors(evidence(candidate_metrics=MEASURED), policy(floors={"roc_auc": 0.7, "log_loss": 0.4}))
    assert (found.outcome, found.value, found.threshold) == (FAILED, 0.5, 0.4)
    assert floors(evidence(), policy()) == Gate("floors", NOT_APPLICABLE, "no floor is set")


# ---- slices ----------------------------------------------------------------------------------------------------------


def part(value: str, difference: Interval | None) -> SliceComparison:
    return SliceComparison("origin", value, 300, 0.7, 0.712, difference)


def test_slices_pass_and_name_the_least_of_those_that_were_judged() -> None:
    found = slices(
        evidence(
            slices=(
                part("EWR", interval(0.02, 0.01, 0.03, 0.975)),
                part("JFK", interval(-0.005, -0.02, 0.01, 0.975)),
                part("LGA", None),
            )
        ),
        policy(),
    )
    said = "the least of 2: slice origin=JFK worse by 0.005 (97.5 % -0.010 to 0.020), limit 0.010"
    assert found == Gate("slices", PASSED, said, -0.005, -0.01)


def test_slices_fail_where_the_whole_interval_of_one_lies_below_the_margin() -> None:
    lost, kept = interval(-0.012, -0.013, -0.011, 0.975), interval(-0.05, -0.1, 0.0, 0.975)
    found = slices(evidence(slices=(part("JFK", kept), part("LGA", lost))), policy())
    said = "slice origin=LGA worse by 0.012 (97.5 % 0.011 to 0.013), limit 0.010"
    assert found == Gate("slices", FAILED, said, -0.012, -0.01)
    at_the_limit = interval(-0.012, -0.014, -0.01)
    assert slices(evidence(slices=(part("LGA", at_the_limit),)), policy()).outcome is PASSED


def test_slices_name_those_that_lost_most_and_count_the_others() -> None:
    parts = tuple(part(f"S{at}", interval(-0.02 - at / 100, -0.09, -0.011)) for at in range(5))
    found = slices(evidence(slices=parts), policy())
    assert found.evidence.count("slice origin=") == 3
    assert found.evidence.endswith("; and 2 slices more, limit 0.010")


def test_slices_name_the_worst_first_and_show_its_value() -> None:
    found = slices(
        evidence(slices=(part("JFK", interval(-0.02, -0.03, -0.011)), part("LGA", interval(-0.04, -0.05, -0.03)))),
        policy(),
    )
    assert found.value == -0.04
    assert found.evidence.startswith("slice origin=LGA worse by 0.040")
    assert "; slice origin=JFK worse by 0.020" in found.evidence


@pytest.mark.parametrize(("task", "limit"), [(Task.REGRESSION, 2.0), (Task.MULTICLASS, 2.0), (Task.BINARY, 0.01)])
def test_the_margin_of_an_error_is_a_share_of_the_champions(task: Task, limit: float) -> None:
    champions = (metric(PRIMARY[task], 200.0),)
    within_it = interval(-limit - 1, -limit - 2, -limit)
    found = slices(evidence(task, slices=(part("LGA", within_it),), champion_metrics=champions), policy())
    assert (found.outcome, found.threshold) == (PASSED, -limit)
    beyond = interval(-limit - 1, -limit - 2, -limit * 1.001)
    assert slices(evidence(task, slices=(part("LGA", beyond),), champion_metrics=champions), policy()).outcome is FAILED


def test_slices_without_rows_enough_judge_nothing() -> None:
    found = slices(evidence(slices=(part("LGA", None),)), policy())
    assert found == Gate("slices", NOT_APPLICABLE, "no slice has rows enough to be judged")
    assert slices(evidence(refusal="seen"), policy()).evidence == "nothing could be compared"


# ---- calibration, latency, size, parity ------------------------------------------------------------------------------


def miscalibrated(low: float) -> Evidence:
    error = Metric("expected_calibration_error", interval(0.14, low, 0.18), False, 120)
    return evidence(candidate_metrics=(metric("roc_auc", 0.78), error))


def test_calibration_fails_where_even_the_low_end_of_the_error_is_over_the_limit() -> None:
    said = "expected calibration error 0.140 (95 % 0.101 to 0.180), at most 0.100 is allowed"
    assert calibration(miscalibrated(0.101), policy()) == Gate("calibration", FAILED, said, 0.14, 0.1)
    assert calibration(miscalibrated(0.1), policy()).outcome is PASSED


def test_calibration_is_not_asked_of_other_tasks_or_without_a_limit() -> None:
    assert calibration(evidence(Task.REGRESSION), policy()).outcome is NOT_APPLICABLE
    without = calibration(miscalibrated(0.9), policy(calibration={"max_error": None}))
    assert without == Gate("calibration", NOT_APPLICABLE, "no limit is set")


def test_latency_fails_where_the_candidate_is_slower_with_confidence_and_records_no_time() -> None:
    said = "scoring takes more than 3.000 times the champion's time"
    slow = evidence(latency_ratio=interval(3.4, 3.01, 3.8))
    assert latency(slow, policy()) == Gate("latency", FAILED, said, None, 3.0)
    unsure = latency(evidence(latency_ratio=interval(3.4, 3.0, 3.8)), policy())
    assert (unsure.outcome, unsure.evidence) == (PASSED, "scoring takes not more than 3.000 times the champion's time")


def test_latency_needs_a_champion_and_a_limit() -> None:
    assert latency(evidence(), policy()).evidence == "there is no other model to be slower than"
    slow = evidence(latency_ratio=interval(9, 8, 10))
    assert latency(slow, policy(latency={"max_ratio": None})).outcome is NOT_APPLICABLE


@pytest.mark.parametrize(("extra", "outcome"), [(0, PASSED), (1, FAILED)])
def test_size_fails_from_the_first_byte_over_its_limit(extra: int, outcome: Outcome) -> None:
    found = size(evidence(candidate=contender(size_bytes=2 * MEBIBYTE + extra)), policy(size={"max_mib": 2.0}))
    said = "the model file has 2.000 MiB, at most 2.000 is allowed"
    assert (found.outcome, found.evidence, found.threshold) == (outcome, said, 2.0)


def test_size_is_not_asked_without_a_limit() -> None:
    assert size(evidence(), policy(size={"max_mib": None})) == Gate("size", NOT_APPLICABLE, "no limit is set")


@pytest.mark.parametrize(
    ("found", "outcome", "said"),
    [
        (1e-5, PASSED, "served and native scores differ by 1e-05 at most, 1e-05 is allowed"),
        (1.1e-5, FAILED, "served and native scores differ by 1.1e-05 at most, 1e-05 is allowed"),
        (0, PASSED, "served and native scores differ by 0 at most, 1e-05 is allowed"),
        (float("nan"), FAILED, "served and native scores differ by nan at most, 1e-05 is allowed"),
        (None, FAILED, "training noted no difference between native and served scores"),
        ("small", FAILED, "training noted no difference between native and served scores"),
    ],
)
def test_parity_goes_by_what_training_noted(found: Any, outcome: Outcome, said: str) -> None:
    gate = parity(evidence(candidate=contender(parity_difference=found)), policy())
    assert (gate.outcome, gate.evidence) == (outcome, said)


# ---- behaviour -------------------------------------------------------------------------------------------------------


def behaves(
    formula: Formula | None = None, task: Task = Task.BINARY, samples: Any = None, **settings: Any
) -> tuple[Outcome, str]:
    found = behaviour(evidence(task, candidate=contender(task, formula, samples)), policy(behaviour=settings))
    assert found.value == (0 if found.outcome is PASSED else found.evidence.count(";") + 1)
    return found.outcome, found.evidence


@pytest.mark.parametrize("task", Task)
def test_behaviour_counts_the_checks_that_hold(task: Task) -> None:
    assert behaves(task=task) == (PASSED, "3 checks hold: the known samples, finite scores, one row as many")


def test_a_known_sample_that_scores_otherwise_fails() -> None:
    assert behaves(samples=known_samples(binary, 0.01)) == (
        FAILED,
        "a known sample scores 0.010 off what was recorded",
    )
    assert behaves(samples=known_samples(binary, 9e-6))[0] is PASSED


def test_a_known_value_of_a_regression_may_differ_by_the_rounding_of_its_size() -> None:
    def large(matrix: Matrix) -> Floats:
        return 1e4 * regression(matrix)

    assert behaves(large, Task.REGRESSION, known_samples(large, 10.0))[0] is PASSED
    assert behaves(large, Task.REGRESSION, known_samples(large, 30.0))[0] is FAILED


def test_a_signature_without_samples_or_with_one_that_cannot_be_read_fails() -> None:
    assert behaves(samples=()) == (FAILED, "the signature holds no known sample")
    unread = (KnownSample({"amount": 5.0, "noise": 0.0, "member": True}, (0.5, 0.5)),)
    assert behaves(samples=unread) == (
        FAILED,
        "a known sample cannot be scored (shop: expected a column of this name, found none)",
    )


def test_a_score_that_is_no_number_fails() -> None:
    found = evidence()
    found.candidate_scores[7] = np.nan
    assert behaviour(found, policy()).evidence == "1 rows have no finite score"


def ends(matrix: Matrix) -> Floats:
    """The first row over the last, per row; 0 for a row alone, and of another sign in another order."""
    return np.full(len(matrix), float(matrix[0, 0]) - float(matrix[-1, 0]))


@pytest.mark.parametrize(
    "shift",
    [
        pytest.param(lambda matrix: 0.01 * np.arange(len(matrix)), id="a score by the row's position"),
        pytest.param(lambda matrix: np.full(len(matrix), 0.001 * len(matrix)), id="a score by the number of rows"),
        pytest.param(lambda matrix: matrix[:, 0] - matrix[:, 0].mean(), id="a score by the other rows"),
        pytest.param(lambda matrix: ends(matrix) < 0, id="a score by rising ends"),
        pytest.param(lambda matrix: ends(matrix) > 0, id="a score by falling ends"),
    ],
)
def test_a_score_that_depends_on_the_other_rows_fails(shift: Formula) -> None:
    def shifted(matrix: Matrix) -> Floats:
        return regression(matrix) + shift(matrix)[:, None]

    outcome, said = behaves(shifted, Task.REGRESSION)
    assert outcome is FAILED
    assert "off the same row among others" in said


def test_invariance_holds_for_what_the_model_does_not_read_and_fails_for_what_it_does() -> None:
    assert behaves(invariant=["noise", "shop"]) == (
        PASSED,
        "5 checks hold: the known samples, finite scores, one row as many, invariant to noise, invariant to shop",
    )
    outcome, said = behaves(invariant=["noise", "amount"])
    assert outcome is FAILED
    assert said.startswith("amount moves a score by 0.")
    assert said.endswith(" and must not move any")


def test_invariance_bears_its_tolerance_and_what_is_no_feature() -> None:
    def by_shop(matrix: Matrix) -> Floats:
        return 0.5 * matrix[:, 3:].astype(np.float64)

    # half of 120 rows is a multiple of three: the shops would fall on themselves
    found = evidence(Task.REGRESSION, rows=122, candidate=contender(Task.REGRESSION, by_shop))
    for tolerance, outcome in ((0.5, PASSED), (0.49, FAILED)):
        asked = policy(behaviour={"invariant": ["shop"], "tolerance": tolerance})
        assert behaviour(found, asked).outcome is outcome
    assert behaves(invariant=["colour"])[1].endswith("not even a feature: colour")


@pytest.mark.parametrize("task", [Task.BINARY, Task.REGRESSION])
def test_a_direction_holds_or_fails_by_the_mean_score(task: Task) -> None:
    assert behaves(task=task, directions={"amount": "up"}) == (
        PASSED,
        "4 checks hold: the known samples, finite scores, one row as many, amount raises it",
    )
    outcome, said = behaves(task=task, directions={"amount": "down"})
    assert outcome is FAILED
    assert said.startswith("amount must lower the score, it moves it by ")
    for direction in ("up", "down"):  # not moved at all
        assert behaves(task=task, directions={"noise": direction})[0] is PASSED


def test_the_direction_of_a_rare_flag_is_told_between_its_ends() -> None:
    assert behaves(directions={"member": "up"})[0] is PASSED
    assert behaves(directions={"member": "down"})[0] is FAILED


def test_a_direction_that_cannot_be_told_fails() -> None:
    assert behaves(task=Task.MULTICLASS, directions={"amount": "up"})[1] == (
        "the direction of amount cannot be told of this model"
    )
    assert behaves(directions={"colour": "up"})[1] == "the direction of colour cannot be told of this model"
    assert behaves(directions={"shop": "up"})[1] == "the direction of shop cannot be told: it is no number here"
    empty = evidence()
    empty.matrix[:, 1] = np.nan
    assert behaviour(empty, policy(behaviour={"directions": {"noise": "up"}})).outcome is FAILED


def test_every_broken_check_is_named() -> None:
    _, said = behaves(samples=(), directions={"amount": "down", "shop": "up"})
    assert [each.split(" ")[0] for each in said.split("; ")] == ["the", "amount", "the"]


def test_a_real_model_behaves(candidate: Any) -> None:
    """The fitted model's own samples, scored through ONNX from their JSON."""
    from tables import orders

    scorer = Scorer(candidate.model, candidate.signature)
    real = Contender("d" * 64, scorer, candidate.record.as_dict(), None, len(candidate.model))
    matrix = encode(orders(), candidate.signature.features)
    found = replace(evidence(), candidate=real, matrix=matrix, candidate_scores=scorer.score_matrix(matrix))
    asked = policy(behaviour={"directions": {"amount": "up"}})
    assert behaviour(found, asked).outcome is PASSED
    assert behaviour(found, policy(behaviour={"invariant": ["amount"]})).outcome is FAILED
    assert parity(found, asked).outcome is PASSED


# ---- leakage ---------------------------------------------------------------------------------------------------------

NUMBER, CATEGORY = Feature("x", Kind.NUMBER), Feature("x", Kind.CATEGORY, ("a", "b"))
NAN = float("nan")


@pytest.mark.parametrize(
    ("column", "feature", "target", "share"),
    [
        pytest.param([0, 0, 1, 1] * 2, NUMBER, [0, 0, 1, 1] * 2, 1.0, id="a number that is the answer"),
        pytest.param([NAN, NAN, 1, 1] * 2, NUMBER, [1, 1, 0, 0] * 2, 1.0, id="a gap that is the answer"),
        pytest.param(
            [2, 2, 2, 2, 3, 3, 3, 3], CATEGORY, [1.5, 2.5] * 2 + [5.5, 6.5] * 2, 1 - 8 / 34, id="a regression"
        ),
        pytest.param([2, 2, 2, 2, 3, 3] * 2, CATEGORY, [0, 0, 1, 1, 2, 2] * 2, 0.5, id="one class of three"),
        pytest.param([2, 2, 3, 3, 1, 1] * 2, CATEGORY, [0, 0, 1, 1, 2, 2] * 2, 1.0, id="three classes of three"),
        pytest.param([0, 0, 2, 2] * 2, CATEGORY, [0, 0, 1, 1] * 2, 1.0, id="a missing category that is the answer"),
        pytest.param([2, 3] * 4, CATEGORY, [0.5, 1.5] * 4, 0.0, id="groups that the other half does not have"),
        pytest.param(
            [2] * 8 + [3] * 4,
            CATEGORY,
            [0.5, 0.5, 0.5, 0.5, 0.5, 2.5, 0.5, 2.5] + [20.5] * 4,
            1 - 12 / 1020,
            id="each half predicts the other",
        ),
        pytest.param(
            [2] * 4 + [3] * 4 + [1, 0],
            CATEGORY,
            [0.5] * 4 + [10.5] * 4 + [5.5, 5.5],
            1.0,
            id="a group that the other half does not have is given the mean of all",
        ),
        pytest.param([NAN] * 8, NUMBER, [0, 0, 1, 1] * 2, 0.0, id="a column without a value"),
        pytest.param([1.0] * 8, NUMBER, [0, 0, 1, 1] * 2, 0.0, id="a constant column"),
        pytest.param([0, 0, 1, 1] * 2, NUMBER, [1] * 8, 0.0, id="a constant class"),
        pytest.param([0, 0, 1, 1] * 2, NUMBER, [0.1] * 8, 0.0, id="a constant value"),
    ],
)
def test_the_explained_share_is_the_one_computed_by_hand(
    column: list[float], feature: Feature, target: list[float], share: float
) -> None:
    found = explained(np.array(column, dtype=np.float32), feature, np.array(target, dtype=float))
    assert found == pytest.approx(share, abs=1e-12)


def test_a_number_that_knows_nothing_and_a_category_of_single_rows_explain_nothing() -> None:
    generator = np.random.default_rng(4)
    target = generator.integers(0, 2, 4000).astype(float)
    assert explained(generator.normal(size=4000).astype(np.float32), NUMBER, target) < 0.01
    assert explained(np.arange(2, 4002, dtype=np.float32), CATEGORY, target) < 0.01


@pytest.mark.parametrize(("task", "limit"), [(Task.BINARY, 0.6), (Task.MULTICLASS, 0.6), (Task.REGRESSION, 0.95)])
def test_leakage_fails_where_one_feature_knows_the_answer(task: Task, limit: float) -> None:
    found = evidence(task, rows=4000)
    answer = found.target if task is not Task.REGRESSION else np.linspace(0, 1, 4000)
    found.matrix[:, 1] = answer
    found = replace(found, target=answer)
    gate = leakage(found, policy())
    assert (gate.outcome, gate.threshold) == (FAILED, limit)
    assert gate.value is not None
    said = f"noise alone explains {number(gate.value)} of the target, at most {number(limit)} is usual"
    assert gate.evidence == said
    assert gate.value > 0.98
    assert leakage(found, policy(leakage={"max_explained": 1.0})).outcome is PASSED


def test_leakage_passes_an_honest_table_and_names_its_strongest_feature() -> None:
    found = evidence(rows=4000)
    found = replace(found, target=(found.matrix[:, 0] > 50).astype(float))
    noisy = np.where(np.random.default_rng(6).random(4000) < 0.25, 1 - found.target, found.target)
    gate = leakage(replace(found, target=noisy), policy())
    assert gate.outcome is PASSED
    assert gate.value == pytest.approx(0.25, abs=0.05)  # a quarter of the answers turned: (1 - 2 / 4) ** 2
    assert gate.evidence.startswith("amount alone explains 0.")


def test_a_gain_that_is_too_good_to_be_true_fails_and_says_so_alone() -> None:
    gate = leakage(evidence(difference=interval(0.201, 0.19, 0.21)), policy())
    said = "a gain of 0.201 in ROC AUC is too good to be true, at most 0.200 is usual"
    assert gate == Gate("leakage", FAILED, said, 0.201, 0.2)
    knowing = evidence(difference=interval(0.201, 0.19, 0.21))
    knowing.matrix[:, 1] = knowing.target
    both = leakage(knowing, policy())
    assert both == Gate(
        "leakage", FAILED, f"noise alone explains 1.000 of the target, at most 0.600 is usual; {said}", 1.0, 0.6
    )
    assert leakage(evidence(difference=interval(0.2, 0.19, 0.21)), policy()).outcome is PASSED
    assert leakage(evidence(difference=interval(0.3, 0.2, 0.4), champion=None), policy()).outcome is PASSED
    assert leakage(evidence(difference=interval(0.3, 0.2, 0.4)), policy(leakage={"max_gain": None})).outcome is PASSED


def test_a_gain_in_an_error_is_judged_as_a_share_of_the_champions() -> None:
    champions = (metric("rmse", 10.0, greater_is_better=False),)
    for gain, outcome in ((2.0, PASSED), (2.1, FAILED)):
        found = evidence(Task.REGRESSION, difference=interval(gain, 1, 3), champion_metrics=champions)
        assert leakage(found, policy()).outcome is outcome


def test_a_model_without_a_feature_has_nothing_to_leak() -> None:
    bare = contender()
    bare.scorer.signature = replace(bare.signature, features=())
    assert leakage(evidence(candidate=bare), policy()).outcome is NOT_APPLICABLE


# ---- fairness --------------------------------------------------------------------------------------------------------


def groups(*counts: tuple[str | None, int, int], threshold: float = 0.5) -> Evidence:
    """Per group so many hits of so many positives, and as many negatives that are all called positive."""
    rows, scores, target = [], [], []
    for name, hits, positives in counts:
        rows += [name] * (2 * positives)
        scores += [threshold] * hits + [threshold - 0.01] * (positives - hits) + [0.99] * positives
        target += [1.0] * positives + [0.0] * positives
    found = evidence(rows=len(rows), candidate=contender(threshold=threshold))
    return replace(
        found,
        rows=found.rows.assign(sex=pd.Series(rows, dtype=object)),
        target=np.array(target),
        candidate_scores=np.column_stack([1 - np.array(scores), scores]),
    )


def protects(*columns: str, **settings: Any) -> GateParams:
    return policy(fairness={"columns": list(columns), **settings})


def test_the_gap_of_two_true_positive_rates_is_newcombes_published_one() -> None:
    """56 of 70 against 48 of 80: 0.2, 0.0524 to 0.3339 (Newcombe, Statistics in Medicine 17, 1998, table II, 10)."""
    (found,) = gaps(groups(("b", 48, 80), ("a", 56, 70)), protects("sex").fairness)
    assert found.groups == ("a", "b")
    assert found.difference.estimate == pytest.approx(0.2)
    assert (round(found.difference.low, 4), round(found.difference.high, 4)) == (0.0524, 0.3339)
    assert found.difference.confidence == 0.95


def test_fairness_fails_beyond_its_limit_and_holds_at_it() -> None:
    found = groups(("a", 56, 70), ("b", 48, 80))
    gate = fairness(found, protects("sex", max_gap=0.05))
    said = "true positive rate of sex=a over b by 0.200 (95 % 0.052 to 0.334), at most 0.050 is allowed"
    assert (gate.outcome, gate.evidence, gate.threshold) == (FAILED, said, 0.05)
    assert gate.value == pytest.approx(0.2)
    low = gaps(found, protects("sex").fairness)[0].difference.low
    assert fairness(found, protects("sex", max_gap=low)).outcome is PASSED
    assert fairness(found, protects("sex")).outcome is PASSED


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.9])
def test_a_row_is_called_by_the_candidates_own_threshold(threshold: float) -> None:
    (found,) = gaps(groups(("a", 60, 60), ("b", 30, 60), threshold=threshold), protects("sex").fairness)
    assert found.difference.estimate == pytest.approx(0.5)


def test_the_confidence_holds_for_all_pairs_of_all_columns_together() -> None:
    found = groups(("a", 50, 60), ("b", 40, 60), (None, 55, 60))
    pairs = gaps(found, protects("sex").fairness)
    assert [each.groups for each in pairs] == [("(missing)", "a"), ("(missing)", "b"), ("a", "b")]
    assert {round(each.difference.confidence, 6) for each in pairs} == {round(1 - 0.05 / 3, 6)}
    both = gaps(found, protects("sex", "shop", min_rows=20).fairness)
    assert len(both) == 4
    assert {round(each.difference.confidence, 6) for each in both} == {round(1 - 0.05 / 4, 6)}
    for three, four in zip(pairs, both, strict=False):
        assert four.difference.low < three.difference.low


def test_fairness_shows_the_widest_gap_of_those_that_fail() -> None:
    found = fairness(groups(("a", 600, 600), ("b", 300, 600), ("c", 100, 600)), protects("sex"))
    assert found.evidence.startswith("true positive rate of sex=a over c by 0.833 (98.33 % ")


def test_small_groups_are_left_out_by_the_rows_that_count() -> None:
    found = groups(("a", 70, 70), ("b", 0, 80))
    assert fairness(found, protects("sex", min_rows=70)).outcome is FAILED
    alone = fairness(found, protects("sex", min_rows=71))
    assert alone == Gate("fairness", NOT_APPLICABLE, "no two groups have 71 rows that count")


def test_a_protected_column_that_is_gone_fails_and_without_one_there_is_nothing_to_ask() -> None:
    gone = fairness(evidence(), protects("sex", "shop"))
    assert (gone.outcome, gone.evidence) == (FAILED, "the table has no sex, which the policy protects")
    assert fairness(evidence(), policy()) == Gate("fairness", NOT_APPLICABLE, "no protected column is named")


def test_of_several_classes_the_accuracy_is_compared() -> None:
    found = evidence(Task.MULTICLASS, rows=200)
    target = found.candidate_scores.argmax(axis=1).astype(float)
    target[:50] = (target[:50] + 1) % 3  # the first group is never called right in half of its rows
    found = replace(found, target=target, rows=found.rows.assign(sex=["f"] * 100 + ["m"] * 100))
    gate = fairness(found, protects("sex"))
    assert gate.outcome is FAILED
    assert gate.value == pytest.approx(0.5)
    assert gate.evidence.startswith("accuracy of sex=m over f by 0.500 (95 % ")


def test_of_a_regression_the_errors_are_compared_as_shares_of_the_mean_error() -> None:
    found = evidence(Task.REGRESSION, rows=200)
    error = np.array(([3.0, 5.0] * 50) + ([1.0, 3.0] * 50))  # means 4 and 2, of all rows 3
    found = replace(
        found,
        target=found.candidate_scores[:, 0] + error * np.where(np.arange(200) % 3, 1, -1),
        rows=found.rows.assign(sex=["f"] * 100 + ["m"] * 100),
    )
    (gap,) = gaps(found, protects("sex").fairness)
    assert gap.groups == ("f", "m")
    assert gap.difference.estimate == pytest.approx(2 / 3)
    half = 1.959964 * np.sqrt(2 * (100 / 99) / 100) / 3
    assert gap.difference.high - gap.difference.estimate == pytest.approx(half, rel=1e-5)
    assert fairness(found, protects("sex")).evidence.startswith("error of sex=f over m by 0.667 (95 % ")


def test_errors_that_are_all_nothing_are_equal() -> None:
    found = evidence(Task.REGRESSION, rows=200)
    found = replace(found, target=found.candidate_scores[:, 0], rows=found.rows.assign(sex=["f"] * 100 + ["m"] * 100))
    assert fairness(found, protects("sex")).outcome is PASSED


# ---- The verdict -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "settings", "verdict", "sentence"),
    [
        pytest.param({}, {}, "promote", "better by 0.031 ROC AUC (95 % 0.024 to 0.038): promoted", id="better"),
        pytest.param(
            {"champion": None},
            {},
            "promote",
            "better by 0.031 ROC AUC than a baseline (95 % 0.024 to 0.038): promoted",
            id="a first model",
        ),
        pytest.param(
            {"difference": interval(0.002, -0.004, 0.008)},
            {},
            "hold",
            "better by 0.002 ROC AUC (95 % -0.004 to 0.008): a tie, the release stays as it is",
            id="a tie",
        ),
        pytest.param(
            {"difference": interval(0.002, -0.004, 0.008)},
            {"improvement": {"margin": 0.005, "non_inferiority": True}},
            "promote",
            "better by 0.002 ROC AUC (95 % -0.004 to 0.008): promoted",
            id="not inferior",
        ),
        pytest.param(
            {"difference": interval(-0.031, -0.038, -0.024)},
            {},
            "reject",
            "worse by 0.031 ROC AUC (95 % 0.024 to 0.038): rejected",
            id="worse",
        ),
        pytest.param(
            {"difference": interval(0.002, -0.004, 0.008), "champion": None},
            {},
            "reject",
            "better by 0.002 ROC AUC than a baseline (95 % -0.004 to 0.008);"
            " a first model must be better with confidence: rejected",
            id="a first model that is no better than a baseline",
        ),
        pytest.param(
            {"slices": (part("LGA", interval(-0.012, -0.013, -0.011, 0.995)),)},
            {},
            "reject",
            "better by 0.031 ROC AUC (95 % 0.024 to 0.038);"
            " slice origin=LGA worse by 0.012 (99.5 % 0.011 to 0.013), limit 0.010: rejected",
            id="a slice lost",
        ),
        pytest.param(
            {},
            {"floors": {"roc_auc": 0.8}, "size": {"max_mib": 0.0001}},
            "reject",
            "better by 0.031 ROC AUC (95 % 0.024 to 0.038); ROC AUC 0.780, at least 0.800 is asked;"
            " the model file has 0.001 MiB, at most 0.0001 is allowed: rejected",
            id="two gates failed",
        ),
        pytest.param(
            {"difference": None, "champion_metrics": (), "refusal": "the champion has seen June"},
            {},
            "reject",
            "the champion has seen June: rejected",
            id="refused",
        ),
        pytest.param(
            {"difference": None},
            {},
            "reject",
            "ROC AUC is not defined on this holdout; judge by another: rejected",
            id="not defined",
        ),
    ],
)
def test_the_sentence_gives_the_verdict_and_its_reason(
    changes: dict[str, Any], settings: dict[str, Any], verdict: str, sentence: str
) -> None:
    found = judge(evidence(**changes), policy(**settings))
    assert (found.verdict, found.sentence) == (verdict, sentence)
    assert [each.name for each in found.gates] == list(GATES)


def test_the_same_model_is_held_whatever_the_gates_would_say() -> None:
    same = "the candidate is the model that production serves"
    found = judge(evidence(same=same, refusal="seen"), policy(floors={"roc_auc": 2.0}))
    assert found.verdict is Verdict.HOLD
    assert found.sentence == f"{same}: the release stays as it is"
    assert [each.name for each in found.gates] == list(GATES)
    assert {(each.outcome, each.evidence) for each in found.gates} == {(NOT_APPLICABLE, same)}


def test_the_margin_of_the_verdict_is_in_the_unit_of_the_metric() -> None:
    found = evidence(
        Task.REGRESSION, difference=interval(1.0, -0.5, 2.5), champion_metrics=(metric("rmse", 200.0, False),)
    )
    settings = {"margin": 0.01, "non_inferiority": True}
    assert (
        judge(found, policy(improvement=settings)).sentence == "better by 1.000 RMSE (95 % -0.500 to 2.500): promoted"
    )
    strict = policy(improvement={**settings, "margin": 0.001})
    assert judge(found, strict).verdict is Verdict.HOLD
