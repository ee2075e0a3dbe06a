"""What is said of a model's performance: by labels with an interval, before them an estimate that is called one."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import replayed
from hypothesis import given, settings
from hypothesis import strategies as st
from replayed import DAY, FIRST, SIGNATURE, asked, put_labels, put_predictions
from tables import raw_params

from mergeline.cli import main
from mergeline.commands.performance import Run, performance
from mergeline.errors import ConfigurationError, DataError, DegradationFound
from mergeline.intervals import Floats, Interval, wilson
from mergeline.logstore import FolderLog
from mergeline.metrics import Metric, binary_metrics
from mergeline.monitor.experiments.arm import Arm, Problem
from mergeline.monitor.labels import Joined
from mergeline.monitor.performance.due import due
from mergeline.monitor.performance.expected import expected
from mergeline.monitor.performance.holdout import Holdout
from mergeline.monitor.performance.measure import difference, measured
from mergeline.monitor.performance.page import html
from mergeline.monitor.performance.record import Maturity, State, WindowPerformance, judged, key_of
from mergeline.monitor.performance.window import Asked, window_of
from mergeline.monitor.performance.wording import markdown, newest, statement
from mergeline.monitor.windows import Window, windows
from mergeline.params import parse, parse_yaml
from mergeline.params.collect import CollectParams
from mergeline.params.performance import PerformanceParams
from mergeline.schema import Task

OLD, NEW = replayed.model("old"), replayed.model("new")
YES = Problem(Task.BINARY, ("no", "yes"))
WEEK = 7
RIPE = FIRST + 13 * DAY  # the first window is mature by its age, and the second is not over
EARLY = FIRST + 8 * DAY


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that has recorded two models."""
    root = replayed.repository(tmp_path_factory.mktemp("performance") / "repository")
    record = replayed.evaluation()
    replayed.released(root, OLD, record)
    replayed.released(root, NEW, {**record, "rows": 5999})
    return root


@pytest.fixture
def log(tmp_path: Path) -> FolderLog:
    return FolderLog("log", tmp_path / "log")


@pytest.fixture
def look(template: Path, log: FolderLog, tmp_path: Path) -> Callable[..., Run]:
    """Run `performance` on the log."""

    def call(now: dt.datetime = RIPE, root: Path = template, **options: Any) -> Run:
        return performance(root, str(log.path), now=now, environment={}, output=tmp_path / "out", **options)

    return call


def only(run: Run) -> WindowPerformance:
    assert len(run.records) >= 1
    return run.records[0]


def primary(record: WindowPerformance) -> Any:
    assert record.serving is not None
    found = record.serving.figure("roc_auc")
    assert found is not None
    return found


# ---- Degradation -----------------------------------------------------------------------------------------------------


class TestDegradation:
    def test_labels_that_the_scores_no_longer_tell_are_a_degradation_though_no_feature_moved(
        self, log: FolderLog, look: Callable[..., Run]
    ) -> None:
        shifted = asked(FIRST, WEEK, 2000, 1, blurred=0.5)
        put_predictions(log, shifted, OLD.sha256)
        put_labels(log, shifted)
        run = look()
        record = only(run)
        assert (record.state, record.maturity) == (State.DEGRADED, Maturity.AGE)
        assert isinstance(run.failure, DegradationFound)
        found = primary(record)
        assert found.difference.high < -0.02
        assert found.estimate == pytest.approx(found.holdout.estimate, abs=0.02), "scores alone do not see it"
        assert found.error == pytest.approx(found.measured.estimate - found.estimate)
        assert found.error < -0.05

    def test_the_twin_labels_as_the_scores_tell_them_hold(self, log: FolderLog, look: Callable[..., Run]) -> None:
        same = asked(FIRST, WEEK, 2000, 1)
        put_predictions(log, same, OLD.sha256)
        put_labels(log, same)
        run = look()
        assert (only(run).state, run.failure) == (State.HOLDS, None)
        assert abs(primary(only(run)).error) < 0.03

    def test_a_fall_within_the_margin_is_none(self, log: FolderLog, look: Callable[..., Run], tmp_path: Path) -> None:
        shifted = asked(FIRST, WEEK, 2000, 1, blurred=0.5)
        put_predictions(log, shifted, OLD.sha256)
        put_labels(log, shifted)
        lenient = replayed.repository(
            tmp_path / "lenient", replayed.PARAMS.replace("maturity_days: 5", "maturity_days: 5, margin: 0.3")
        )
        replayed.released(lenient, OLD, replayed.evaluation())
        assert only(look(root=lenient)).state is State.HOLDS

    def test_weeks_like_the_holdout_are_degraded_in_one_of_a_hundred_at_most(self) -> None:
        generator, then = np.random.default_rng(5), Metric("accuracy", wilson(4500, 6000), True, 6000)
        hits = generator.binomial(1000, 0.75, 2000)
        gaps = [difference(Metric("accuracy", wilson(int(each), 1000), True, 1000), then, 0.95) for each in hits]
        beyond = [gap is not None and gap.high < -0.02 for gap in gaps]
        assert np.mean(beyond) <= 0.01
        assert np.mean([gap is not None and gap.high < 0 for gap in gaps]) > 0.01, "the twin: without a margin"

    def test_a_loss_is_worse_where_it_is_greater(self) -> None:
        now, then = (Metric("log_loss", wilson(hits, 1000), False, 1000) for hits in (600, 400))
        found = difference(now, then, 0.95)
        assert found is not None
        assert found.estimate == pytest.approx(-0.2)
        assert found.high < 0

    def test_slices_are_compared_with_a_confidence_that_holds_for_all_of_them(
        self, log: FolderLog, look: Callable[..., Run]
    ) -> None:
        shifted = asked(FIRST, WEEK, 3000, 2, blurred=0.6)
        put_predictions(log, shifted, OLD.sha256)
        put_labels(log, shifted)
        serving = only(look()).serving
        assert serving is not None
        assert [each.value for each in serving.slices] == list(replayed.CHANNELS)
        assert {each.figure.measured.confidence for each in serving.slices if each.figure.measured} == {1 - 0.05 / 3}
        assert all(each.figure.degraded for each in serving.slices)

    def test_requests_of_one_entity_tell_less_than_as_many_of_many(self) -> None:
        some = asked(FIRST, WEEK, 1200, 3)
        label = (some.rows["label"] == "yes").to_numpy().astype(float)
        scores = np.column_stack([1 - some.score, some.score])
        once = np.repeat(np.arange(240), 5)  # each row of the first 240 five times
        alone = Arm(label[once], scores[once], np.arange(1200), 0.4)
        known = Arm(label[once], scores[once], once, 0.4)
        one, five = (measured(arm, YES, 0.95)["roc_auc"].interval for arm in (alone, known))
        assert five.high - five.low > 1.7 * (one.high - one.low)


# ---- Before labels come ----------------------------------------------------------------------------------------------


def brute_force_auc(score: Floats) -> float:
    """Over all pairs of different rows, with the scores as weights."""
    weight = score[:, None] * (1 - score)[None, :]
    np.fill_diagonal(weight, 0.0)
    won = (score[:, None] > score[None, :]) + 0.5 * (score[:, None] == score[None, :])
    return float((weight * won).sum() / weight.sum())


class TestEstimate:
    def test_the_expected_roc_auc_is_that_over_all_pairs_ties_included(self) -> None:
        score = np.round(np.random.default_rng(1).beta(2, 5, 400), 2)
        found = expected(Task.BINARY, np.column_stack([1 - score, score]), 0.4)
        assert found["roc_auc"] == pytest.approx(brute_force_auc(score), rel=1e-12)

    def test_over_labels_drawn_from_the_scores_it_is_what_is_measured_on_average(self) -> None:
        generator = np.random.default_rng(2)
        score = generator.beta(2, 4, 500)
        drawn = [binary_metrics((generator.random(500) < score).astype(int), score, 0.4) for _ in range(300)]
        found = expected(Task.BINARY, np.column_stack([1 - score, score]), 0.4)
        for name in ("roc_auc", "log_loss", "brier_score", "accuracy", "precision", "recall", "f1"):
            values = [each.interval.estimate for one in drawn for each in one if each.name == name]
            error = 4 * np.std(values) / np.sqrt(len(values))
            assert found[name] == pytest.approx(np.mean(values), abs=error + 0.002), name

    def test_the_twin_scores_that_are_not_calibrated_mislead_it(self) -> None:
        generator = np.random.default_rng(3)
        truth = generator.beta(2, 4, 5000)
        score = truth**3  # the same ranking, other probabilities
        label = (generator.random(5000) < truth).astype(int)
        found = expected(Task.BINARY, np.column_stack([1 - score, score]), 0.4)
        seen = {each.name: each.interval for each in binary_metrics(label, score, 0.4)}
        assert not seen["log_loss"].low < found["log_loss"] < seen["log_loss"].high

    def test_of_several_classes_it_knows_accuracy_and_log_loss_of_a_regression_nothing(self) -> None:
        generator = np.random.default_rng(4)
        scores = generator.dirichlet([1, 2, 3], 4000)
        label = (generator.random((4000, 1)) > scores.cumsum(axis=1)).sum(axis=1)
        found = expected(Task.MULTICLASS, scores, None)
        assert found["accuracy"] == pytest.approx((scores.argmax(axis=1) == label).mean(), abs=0.03)
        assert found["log_loss"] == pytest.approx(-np.log(scores[np.arange(4000), label]).mean(), abs=0.05)
        assert expected(Task.REGRESSION, scores[:, :1], None) == {}
        assert expected(Task.BINARY, np.empty((0, 2)), 0.4) == {}

    def test_late_labels_turn_the_estimate_into_a_figure_with_its_error(
        self, log: FolderLog, look: Callable[..., Run]
    ) -> None:
        some = asked(FIRST, WEEK, 1500, 4)
        put_predictions(log, some, OLD.sha256)
        before = look(EARLY)
        told = primary(only(before))
        assert (only(before).state, before.failure) == (State.IMMATURE, None)
        assert (told.measured, told.error) == (None, None)
        assert "estimated at" in statement(before.records)
        put_labels(log, some)
        after = primary(only(look(EARLY + 4 * DAY)))
        assert after.estimate == told.estimate
        assert after.error == after.measured.estimate - told.estimate


# ---- Labels ----------------------------------------------------------------------------------------------------------


class TestLabels:
    def test_no_label_though_it_is_time_is_an_outcome_of_its_own(
        self, log: FolderLog, look: Callable[..., Run]
    ) -> None:
        put_predictions(log, asked(FIRST, WEEK, 300, 5), OLD.sha256)
        assert only(look(EARLY)).state is State.IMMATURE
        run = look()
        assert (only(run).state, run.failure) == (State.NO_LABELS, None)
        assert "labels add" in only(run).reason

    def test_labels_of_other_requests_are_named_where_none_belongs_to_the_window(
        self, log: FolderLog, look: Callable[..., Run]
    ) -> None:
        put_predictions(log, asked(FIRST, WEEK, 300, 5), OLD.sha256)
        put_labels(log, asked(FIRST, WEEK, 300, 6, name="stranger"))
        assert any("none belongs to a prediction" in note for note in only(look()).notes)

    def test_few_labels_judge_nothing(self, log: FolderLog, look: Callable[..., Run]) -> None:
        some = asked(FIRST, WEEK, 1000, 7, blurred=1.0)
        put_predictions(log, some, OLD.sha256)
        put_labels(log, some, range(199))
        assert only(look()).state is State.FEW_LABELS
        put_labels(log, some, range(199, 400), name="more")
        assert only(look()).state is State.DEGRADED, "the twin: with a few more they do"

    def test_a_window_is_mature_by_coverage_before_its_age(self, log: FolderLog, look: Callable[..., Run]) -> None:
        some = asked(FIRST, WEEK, 1000, 8)
        put_predictions(log, some, OLD.sha256)
        put_labels(log, some, range(940), after_days=0.5)
        assert (only(look(EARLY)).state, only(look(EARLY)).maturity) == (State.IMMATURE, None)
        put_labels(log, some, range(940, 960), after_days=0.5, name="more")
        record = only(look(EARLY))
        assert (record.state, record.maturity, record.settled) == (State.HOLDS, Maturity.COVERAGE, False)

    def test_labels_that_are_missing_by_score_are_warned_of_and_at_random_are_not(
        self, log: FolderLog, look: Callable[..., Run], tmp_path: Path
    ) -> None:
        some = asked(FIRST, WEEK, 1000, 9)
        put_predictions(log, some, OLD.sha256)
        put_labels(log, some, range(0, 1000, 2))
        record = only(look())
        assert record.serving is not None
        assert record.serving.bias is not None
        assert (record.serving.bias.found, record.notes) == (False, ())
        put_labels(log, some, np.flatnonzero(some.score > np.median(some.score)).tolist(), name="high")
        record = only(look())
        assert any("missing not at random" in note for note in record.notes)

    @settings(max_examples=4, deadline=None, derandomize=True, database=None)
    @given(chance=st.randoms(use_true_random=False))
    def test_r14_shuffled_repeated_and_late_labels_give_the_same_record(
        self, template: Path, tmp_path_factory: pytest.TempPathFactory, chance: Any
    ) -> None:
        place = tmp_path_factory.mktemp("r14")
        straight, twisted = FolderLog("log", place / "a"), FolderLog("log", place / "b")
        some = asked(FIRST, WEEK, 400, 10)
        for store in (straight, twisted):
            put_predictions(store, some, OLD.sha256)
        put_labels(straight, some)
        order = list(range(400))
        chance.shuffle(order)
        cut = chance.randrange(1, 399)
        again = [chance.choice(order) for _ in range(60)]
        wrong = replace(some, rows=some.rows.assign(label="no"))
        put_labels(twisted, wrong, order, after_days=1, name="m-first")  # corrected by what comes later
        put_labels(twisted, some, order[cut:] + again, name="z")
        put_labels(twisted, some, order[:cut], name="a")
        put_predictions(twisted, some, OLD.sha256, again=True)
        records = [
            only(performance(template, str(store.path), now=RIPE, environment={}, output=place))
            for store in (straight, twisted)
        ]
        assert replace(records[1], repeated=0, corrected=0) == records[0]
        assert (records[1].repeated, records[1].corrected) == (400, int((some.rows["label"] == "yes").sum()))

    def test_a_label_is_not_known_before_its_time_and_a_wrong_clock_is_counted(
        self, log: FolderLog, look: Callable[..., Run]
    ) -> None:
        some = asked(FIRST, WEEK, 600, 11)
        put_predictions(log, some, OLD.sha256)
        put_labels(log, some, range(300), after_days=30, name="future")
        put_labels(log, some, range(300, 600), after_days=-2, name="past")
        record = only(look())
        assert (record.labelled, record.early, record.late) == (300, 300, 0)
        record = only(look(FIRST + 60 * DAY))
        assert (record.labelled, record.early, record.late) == (600, 300, 300)

    def test_labels_that_are_no_class_are_counted_apart(self, log: FolderLog, look: Callable[..., Run]) -> None:
        some = asked(FIRST, WEEK, 600, 12)
        put_predictions(log, some, OLD.sha256)
        put_labels(log, replace(some, rows=some.rows.assign(label=["maybe", *some.rows["label"][1:]])))
        serving = only(look()).serving
        assert serving is not None
        assert (serving.labelled, serving.unreadable) == (599, 1)


# ---- Releases and windows --------------------------------------------------------------------------------------------


class TestReleases:
    def test_a_release_change_in_mid_window_gives_each_model_its_own_figures(
        self, log: FolderLog, look: Callable[..., Run]
    ) -> None:
        before, after = asked(FIRST, 4, 1200, 13), asked(FIRST + 4 * DAY, 3, 900, 14, blurred=0.7)
        put_predictions(log, before, OLD.sha256)
        put_predictions(log, after, NEW.sha256)
        put_labels(log, before, name="a")
        put_labels(log, after, name="b")
        run = look()
        record = only(run)
        assert [(each.model_sha256, each.answers, each.state) for each in record.models] == [
            (NEW.sha256, 900, State.DEGRADED),
            (OLD.sha256, 1200, State.HOLDS),
        ]
        assert record.state is State.DEGRADED, "the state is that of the champion that answered last"

    def test_what_a_shadow_scores_is_no_answer(self, log: FolderLog, look: Callable[..., Run]) -> None:
        some = asked(FIRST, WEEK, 600, 15)
        put_predictions(log, some, OLD.sha256)
        put_predictions(log, some, NEW.sha256, variant="shadow")
        put_labels(log, some)
        assert [each.model_sha256 for each in only(look()).models] == [OLD.sha256]

    def test_a_model_without_a_record_in_git_is_measured_and_not_judged(
        self, log: FolderLog, look: Callable[..., Run], tmp_path: Path
    ) -> None:
        some = asked(FIRST, WEEK, 600, 16, blurred=0.9)
        put_predictions(log, some, replayed.model("unknown").sha256)
        put_labels(log, some)
        record = only(look())
        assert record.state is State.NO_HOLDOUT
        assert primary(record).measured is not None

    def test_an_evaluation_that_is_not_its_receipt_s_is_no_record_of_the_model(
        self, log: FolderLog, look: Callable[..., Run], tmp_path: Path
    ) -> None:
        some = asked(FIRST, WEEK, 600, 16, blurred=0.9)
        put_predictions(log, some, OLD.sha256)
        put_labels(log, some)
        root = replayed.repository(tmp_path / "tampered")
        replayed.released(root, OLD, replayed.evaluation(), tampered=True)
        assert only(look(root=root)).state is State.NO_HOLDOUT

    def test_a_feature_that_is_logged_only_from_mid_window_on_has_a_slice_of_its_own(
        self, log: FolderLog, look: Callable[..., Run]
    ) -> None:
        before, after = asked(FIRST, 4, 1000, 17), asked(FIRST + 4 * DAY, 3, 1000, 18)
        put_predictions(log, before, OLD.sha256, signature=replace(SIGNATURE, features=(replayed.AMOUNT,)))
        put_predictions(log, after, OLD.sha256)
        put_labels(log, before, name="a")
        put_labels(log, after, name="b")
        record = only(look())
        assert record.serving is not None
        rows = {each.value: each.figure.rows for each in record.serving.slices}
        assert rows["(missing)"] == 1000
        assert sum(rows.values()) == 2000

    def test_windows_are_those_of_the_event_and_not_of_the_request(
        self, log: FolderLog, look: Callable[..., Run]
    ) -> None:
        some = asked(FIRST, 14, 1000, 19)
        put_predictions(log, some, OLD.sha256, came=FIRST + 400 * DAY)  # replayed a year later
        put_labels(log, some)
        run = look(FIRST + 40 * DAY)
        assert sum(each.answers for each in run.records) == 1000
        assert [each.window.start for each in run.records[:2]] == [FIRST, FIRST + 7 * DAY]


class TestWindows:
    def test_no_traffic_is_recorded_and_ends_with_an_error(self, log: FolderLog, look: Callable[..., Run]) -> None:
        some = asked(FIRST, WEEK, 600, 20)
        put_predictions(log, some, OLD.sha256)
        put_labels(log, some)
        assert look(EARLY + 4 * DAY).failure is None
        run = look(FIRST + 15 * DAY)
        assert [each.state for each in run.records] == [State.HOLDS, State.NO_TRAFFIC]
        assert isinstance(run.failure, DataError)

    def test_no_prediction_at_all_is_an_error(self, look: Callable[..., Run]) -> None:
        with pytest.raises(DataError, match="expected predictions, found none"):
            look()

    def test_a_run_again_changes_no_byte_and_looks_no_settled_window_up(
        self, log: FolderLog, look: Callable[..., Run]
    ) -> None:
        some = asked(FIRST, 14, 1000, 21)
        put_predictions(log, some, OLD.sha256)
        put_labels(log, some)
        look(FIRST + 40 * DAY)
        before = {key: log.read(key) for key in log.keys("performance/")}
        look(FIRST + 40 * DAY)
        assert {key: log.read(key) for key in log.keys("performance/")} == before
        assert key_of(Window(FIRST, FIRST + 7 * DAY)) in before

    def test_r12_a_skipped_schedule_loses_no_window(self, log: FolderLog, look: Callable[..., Run]) -> None:
        some = asked(FIRST, 28, 2000, 22)
        put_predictions(log, some, OLD.sha256)
        put_labels(log, some)
        for weeks in (1, 4):
            run = look(FIRST + (7 * weeks + 1) * DAY)
        assert tuple(each.window for each in run.records) == windows(FIRST, FIRST + 29 * DAY, 7)
        assert sum(each.answers for each in run.records) == 2000

    def test_a_replay_knows_no_record_of_a_window_that_is_not_over_yet(
        self, log: FolderLog, look: Callable[..., Run]
    ) -> None:
        some = asked(FIRST, 14, 1000, 21)
        put_predictions(log, some, OLD.sha256)
        put_labels(log, some)
        assert len(look(FIRST + 15 * DAY).records) == 2
        assert len(look(EARLY).records) == 1

    @pytest.mark.parametrize("damage", [lambda body: body[: len(body) // 2], lambda _: b"no parquet"])
    @pytest.mark.parametrize("kind", ["predictions", "labels"])
    def test_a_damaged_file_is_an_error_that_names_it(
        self, log: FolderLog, look: Callable[..., Run], kind: str, damage: Callable[[bytes], bytes]
    ) -> None:
        some = asked(FIRST, WEEK, 300, 23)
        put_predictions(log, some, OLD.sha256)
        put_labels(log, some)
        key = log.keys(f"{kind}/")[0]
        log.put(key, damage(log.read(key)))
        with pytest.raises(DataError, match=f"{kind}/date=.*not a whole file of the log"):
            look()

    def test_a_damaged_record_is_an_error_that_says_what_to_do(self, log: FolderLog, look: Callable[..., Run]) -> None:
        put_predictions(log, asked(FIRST, WEEK, 300, 24), OLD.sha256)
        look()
        key = key_of(Window(FIRST, FIRST + 7 * DAY))
        log.put(key, b"{}")
        with pytest.raises(DataError, match=r"2024-05-01--2024-05-08\.json: not as `mergeline performance` writes it"):
            look()

    def test_an_unknown_branch_is_an_error(self, log: FolderLog, look: Callable[..., Run]) -> None:
        put_predictions(log, asked(FIRST, WEEK, 300, 24), OLD.sha256)
        with pytest.raises(ConfigurationError, match="--ref: 'nowhere'"):
            look(ref="nowhere")


class TestOtherTasks:
    @pytest.mark.parametrize("task", [Task.MULTICLASS, Task.REGRESSION])
    def test_several_classes_and_regressions_are_judged_too(self, task: Task) -> None:
        generator = np.random.default_rng(31)
        scores = generator.dirichlet([1, 2, 3], 900)
        truth = (generator.random((900, 1)) > scores.cumsum(axis=1)).sum(axis=1)
        classes = ("low", "mid", "top") if task is Task.MULTICLASS else ()
        label = np.array(classes)[truth] if classes else [repr(float(each)) for each in 2 * scores[:, 0] + 1]
        rows = pd.DataFrame(
            {
                "request_id": [f"r{number}" for number in range(900)],
                "entity_id": None,
                "ts": pd.Timestamp(FIRST),
                "time": pd.Timestamp(FIRST),
                "model_sha256": OLD.sha256,
                "variant": "champion",
                "score": scores.max(axis=1) if classes else scores[:, 0],
                "scores": list(scores),
                "decision": np.array(classes)[scores.argmax(axis=1)] if classes else None,
                "status": 200,
                "sampling_rate": 1.0,
                "label": label,
                "label_ts": pd.Timestamp(FIRST + DAY),
            }
        )
        better = {"log_loss": 0.3, "rmse": 0.1}
        then = {
            name: Metric(name, Interval(value, value - 0.01, value + 0.01, "normal", 0.95), False, 5000)
            for name, value in better.items()
        }
        primary = "log_loss" if classes else "rmse"
        known = {OLD.sha256: Holdout(OLD.sha256, None, primary, then, {})}
        problems = {OLD.sha256: (Problem(task, classes), None)}
        wanted = Asked(PerformanceParams(), {OLD.sha256: primary}, (), 100, RIPE, problems, known)
        record = window_of(Window(FIRST, FIRST + 7 * DAY), Joined(rows, 0, 0, 0), wanted)
        assert record.state is State.DEGRADED
        assert record.serving is not None
        found = record.serving.figure(primary)
        assert found is not None
        assert (found.estimate is None) is (task is Task.REGRESSION)
        if task is Task.REGRESSION:
            assert (
                "say nothing of the RMSE"
                in window_of(Window(FIRST, FIRST + 7 * DAY), Joined(rows.assign(label=None), 0, 0, 0), wanted).reason
            )


class TestBeginning:
    def test_r12_one_row_of_1970_begins_no_window_and_is_said(self, log: FolderLog, look: Callable[..., Run]) -> None:
        put_predictions(log, asked(FIRST, WEEK, 300, 40), OLD.sha256)
        epoch = asked(dt.datetime(1970, 1, 1, tzinfo=dt.UTC), 1, 1, 41, name="epoch")
        put_predictions(log, epoch, OLD.sha256, came=FIRST)
        run = look()
        assert [each.window for each in run.records] == [Window(FIRST, FIRST + WEEK * DAY)]
        assert run.records[0].answers == 300
        assert "1 file of the log has rows of before the first window" in run.text(as_json=False)
        assert json.loads(look().text(as_json=True))["early_files"] == 1, "and again at the next run"

    def test_r12_twin_old_events_that_are_replayed_begin_the_first_window(
        self, log: FolderLog, look: Callable[..., Run]
    ) -> None:
        put_predictions(log, asked(FIRST, WEEK, 300, 42), OLD.sha256, came=FIRST + 3650 * DAY)
        run = look(FIRST + 3650 * DAY)
        assert run.records[0].window == Window(FIRST, FIRST + WEEK * DAY)
        assert (run.records[0].answers, run.early) == (300, "")


class TestDue:
    def test_settled_windows_are_left_and_the_last_ones_are_looked_at_again(self) -> None:
        records = [record_of(window, settled=True) for window in windows(FIRST, FIRST + 70 * DAY, 7)]
        found = due(records, FIRST, FIRST + 77 * DAY, 7, 3)
        assert [each.start for each in found] == [FIRST + days * DAY for days in (56, 63, 70)]
        assert len(due(records, FIRST, FIRST + 77 * DAY, 7, 3, since=FIRST + 20 * DAY)) == 9

    def test_another_length_begins_where_the_last_window_ended(self) -> None:
        records = [record_of(window, settled=True) for window in windows(FIRST, FIRST + 14 * DAY, 7)]
        found = due(records, FIRST, FIRST + 20 * DAY, 3, 8)
        assert found == windows(FIRST + 14 * DAY, FIRST + 20 * DAY, 3)
        longer = [*records, *(record_of(each, settled=True) for each in found)]
        assert due(longer, FIRST, FIRST + 23 * DAY, 3, 1) == (Window(FIRST + 20 * DAY, FIRST + 23 * DAY),)


# ---- Records and reports ---------------------------------------------------------------------------------------------


def record_of(window: Window, state: State = State.HOLDS, *, settled: bool = False) -> WindowPerformance:
    return WindowPerformance(window, "roc_auc", state, "so it is", Maturity.AGE, settled, ())


class TestRecords:
    def test_a_record_is_read_back_as_it_was_written(self, log: FolderLog, look: Callable[..., Run]) -> None:
        some = asked(FIRST, WEEK, 1500, 25)
        put_predictions(log, some, OLD.sha256)
        put_labels(log, some, range(700))
        record = only(look())
        assert record.serving is not None
        assert record.serving.slices
        assert WindowPerformance.from_json(record.to_json()) == record

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1}', "null"])
    def test_what_is_no_record_is_refused(self, text: str) -> None:
        with pytest.raises(DataError):
            WindowPerformance.from_json(text)

    def test_a_record_of_a_later_version_is_refused_by_its_number(self) -> None:
        text = record_of(Window(FIRST, FIRST + DAY)).to_json().replace('"version": 1', '"version": 2')
        with pytest.raises(DataError, match="expected a record of version 1, found 2"):
            WindowPerformance.from_json(text)

    def test_the_newest_mature_window_is_told_and_those_that_judge_are_counted(self) -> None:
        tiles = windows(FIRST, FIRST + 28 * DAY, 7)
        states = (State.DEGRADED, State.NO_LABELS, State.HOLDS, State.IMMATURE)
        records = [record_of(each, state) for each, state in zip(tiles, states, strict=True)]
        told = newest(records)
        assert told is not None
        assert told.window == tiles[2]
        assert [each.state for each in judged(records, 8)] == [State.DEGRADED, State.HOLDS]
        assert "degraded in 1 of the last 2 windows that judge" in statement(records)

    def test_reports_are_the_same_for_the_same_records_and_escape_what_comes_from_data(
        self, log: FolderLog, look: Callable[..., Run], tmp_path: Path
    ) -> None:
        evil = '<img src=x onerror="alert(1)">@all|'
        sly = replace(SIGNATURE, features=(replayed.AMOUNT, replace(replayed.CHANNEL, categories=("app", evil, "web"))))
        some = asked(FIRST, WEEK, 1500, 26, blurred=0.8)
        put_predictions(log, some, OLD.sha256, signature=sly)
        put_labels(log, some)
        run = look()
        assert html(run.records) == html(run.records)
        page = (tmp_path / "out" / "report.html").read_text()
        assert page == html(run.records)
        assert "<img" not in page
        assert "<script" not in page
        assert "default-src 'none'" in page
        assert "<svg" in page
        text = (tmp_path / "out" / "report.md").read_text()
        assert text == markdown(run.records)
        assert "<img" not in text
        assert "@all" not in text

    def test_no_window_is_a_page_too(self, log: FolderLog, look: Callable[..., Run]) -> None:
        put_predictions(log, asked(FIRST, WEEK, 50, 27), OLD.sha256)
        assert statement(look(FIRST + 2 * DAY).records) == "no window is over yet"
        assert "No window is over yet" in html([])


class TestSettings:
    def test_absent_sections_mean_the_defaults(self) -> None:
        found = parse(raw_params())
        assert (found.performance, found.collect) == (PerformanceParams(), CollectParams())

    def test_the_page_shows_every_setting_with_its_default(self) -> None:
        page = (Path(__file__).parents[1] / "docs/performance.md").read_text(encoding="utf-8")
        shown: dict[str, Any] = {}
        for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL):
            shown |= parse_yaml(block)
        for name, made in (("performance", PerformanceParams()), ("collect", CollectParams())):
            assert shown[name] == made.model_dump()

    @pytest.mark.parametrize(
        ("section", "said"),
        [
            ({"performance": {"margins": 1}}, r"performance\.margins: unknown key; did you mean 'margin'"),
            ({"performance": {"window_days": 0}}, r"performance\.window_days: expected a number greater"),
            ({"performance": {"maturity_days": 1.5}}, r"performance\.maturity_days: expected"),
            ({"collect": {"coverage": 0.0}}, r"collect\.coverage: expected a number greater"),
            ({"collect": {"id": "order"}}, r"collect\.id: expected 'entity_id' or 'request_id'"),
        ],
    )
    def test_a_setting_that_cannot_be_meant_is_refused_by_its_key(self, section: dict[str, Any], said: str) -> None:
        with pytest.raises(ConfigurationError, match=said):
            parse({**raw_params(), **section})


# ---- The command line ------------------------------------------------------------------------------------------------


class TestCommand:
    @pytest.mark.parametrize(("blurred", "code"), [(0.0, 0), (0.6, 5)])
    def test_exit_code_5_says_that_a_model_is_degraded_and_the_record_is_printed_all_the_same(
        self,
        template: Path,
        log: FolderLog,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        blurred: float,
        code: int,
    ) -> None:
        some = asked(FIRST, WEEK, 1500, 28, blurred=blurred)
        put_predictions(log, some, OLD.sha256)
        put_labels(log, some)
        shared = ["--root", str(template), "performance", "--log", str(log.path), "--output", str(tmp_path / "out")]
        assert main([*shared, "--now", "2024-05-14", "--json"]) == code
        shown = capsys.readouterr()
        assert json.loads(shown.out)["state"] == ("degraded" if code else "holds")
        assert shown.err.startswith("mergeline: performance: 2024-05-01 to 2024-05-07") is (code == 5)

    def test_a_damaged_log_is_exit_code_3_in_one_line(
        self, template: Path, log: FolderLog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        log.put("predictions/date=2024-05-01/hour=00/x.parquet", b"no parquet")
        shared = ["--root", str(template), "performance", "--log", str(log.path), "--output", str(tmp_path / "out")]
        assert main(shared) == 3
        assert len(capsys.readouterr().err.splitlines()) == 1

    def test_a_time_that_is_none_is_exit_code_2(self, template: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            main(["--root", str(template), "performance", "--now", "soon"])
        assert ended.value.code == 2
        assert "expected a time as ISO 8601, found 'soon'" in capsys.readouterr().err
