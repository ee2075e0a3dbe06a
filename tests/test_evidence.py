"""The evidence of a decision: what the log, the checks and Git say of the model that serves, and what they do not."""

from __future__ import annotations

import datetime as dt
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from planted_log import MODEL, OTHER, PlantedLog, microseconds

from mergeline.commands.evidence import Place, gather
from mergeline.commands.performance import performance
from mergeline.commands.settings import load_params
from mergeline.heartbeat import Beat, write_beat
from mergeline.layout import PRODUCTION, RETIREMENTS
from mergeline.monitor.decide import Decision, decide
from mergeline.monitor.decide import Outcome as Held
from mergeline.monitor.drift.record import Outcome
from mergeline.monitor.performance.record import State
from mergeline.monitor.profile import Profile
from mergeline.monitor.sketch import CategoryCounts, NumberSketch
from mergeline.monitor.windows import Window
from mergeline.params.decide import Action, DecideParams
from mergeline.release.manifests import Release, format_release
from mergeline.release.retirement import Phase, Retirement, format_retirements
from mergeline.serve.labels import Label, labels_table

NOW = dt.datetime(2013, 9, 30, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
HOUR = dt.timedelta(hours=1)
WEEK = Window(NOW - 7 * DAY, NOW)
BEFORE = Window(NOW - 14 * DAY, NOW - 7 * DAY)
AS_OF = dt.datetime(2013, 7, 1, tzinfo=dt.UTC)
PARAMS = """\
data:
  task: binary
  target: late
  id: id
  time: at
  as_of: "2013-07-01"
  numeric: [distance]
  categorical: [origin]
  holdout: {share: 0.2}
"""
LABELLED_AS_TRAINING = Profile(
    10_000, {}, {}, NumberSketch.of(np.zeros(1)), CategoryCounts(0, 0, {"false": 6800, "true": 3200})
)


@pytest.fixture
def log(tmp_path: Path) -> PlantedLog:
    (tmp_path / "params.yaml").write_text(PARAMS)
    return PlantedLog.at(tmp_path / ".mergeline" / "log")


def place(root: Path, log: PlantedLog) -> Place:
    return Place(root, log.store, load_params(root), NOW, "origin", {})


def test_the_evidence_is_what_the_log_and_the_checks_left_in_it(tmp_path: Path, log: PlantedLog) -> None:
    ids = log.predict(NOW - DAY, 600, failed=30)
    log.predict(NOW - 3 * DAY, 50, failed=50)  # before the hours that are looked at
    log.label(ids[:400], NOW - DAY / 2, [True] * 100 + [False] * 300)
    log.label(ids[:100], NOW - DAY / 4, [False] * 100)  # corrected, and so not counted twice
    log.label(ids[400:], NOW + DAY, [True] * 200)  # not known yet
    log.drift(BEFORE)
    log.drift(WEEK, "distance", "score", weighted=0.3, sustained=True)
    log.performance(BEFORE, State.DEGRADED)
    log.performance(WEEK, State.IMMATURE, estimate=0.70)
    write_beat(log.store, Beat(NOW - DAY, 30))
    found = gather(place(tmp_path, log), "a reason")
    assert (found.errors.rows, found.errors.failed) == (600, 30)
    assert found.labels.new_rows == 400
    assert found.labels.last_at == NOW - DAY / 4
    assert found.drift.features == ("distance",)
    assert (found.drift.sustained, found.drift.weighted, found.drift.score) == (True, 0.3, True)
    assert (found.performance.outcome, found.performance.mature) == ("degraded", True)
    assert found.performance.estimate == "degraded"
    assert found.canary.under_way is False
    assert found.heartbeat.last_at == NOW - DAY
    assert found.model.data_until == dt.datetime(2013, 7, 1, tzinfo=dt.UTC)


def test_an_empty_log_is_no_traffic_and_nothing_else_is_known(tmp_path: Path, log: PlantedLog) -> None:
    found = gather(place(tmp_path, log), None)
    assert (found.errors.rows, found.labels.new_rows, found.labels.last_at) == (0, 0, None)
    assert (found.drift.outcome, found.performance.outcome, found.labels.shift) == (None, None, None)


def test_a_check_that_has_not_run_for_weeks_says_nothing_of_today(tmp_path: Path, log: PlantedLog) -> None:
    log.drift(Window(NOW - 30 * DAY, NOW - 23 * DAY), "distance", weighted=0.3, sustained=True)
    assert gather(place(tmp_path, log), None).drift.outcome is None
    log.drift(Window(NOW + DAY, NOW + 8 * DAY), "distance")  # another clock's
    assert gather(place(tmp_path, log), None).drift.outcome is None
    log.drift(BEFORE, "distance")
    assert gather(place(tmp_path, log), None).drift.outcome == "drift"


@pytest.mark.parametrize(
    ("hours", "variant", "model", "under_way"),
    [
        (1, "champion", OTHER, True),
        (1, "challenger", OTHER, True),
        (1, "shadow", OTHER, False),
        (20, "champion", OTHER, False),
    ],
)
def test_a_canary_is_two_models_that_answer_in_the_last_hours(
    tmp_path: Path, log: PlantedLog, hours: int, variant: str, model: str, *, under_way: bool
) -> None:
    log.predict(NOW - dt.timedelta(hours=1), 30)
    log.predict(NOW - dt.timedelta(hours=hours), 30, model=model, variant=variant, name="other")
    assert gather(place(tmp_path, log), None).canary.under_way is under_way


@pytest.mark.parametrize(("late", "shift"), [(700, True), (330, False)])
def test_labels_that_are_spread_otherwise_than_in_training_are_seen_without_any_feature(
    tmp_path: Path, log: PlantedLog, monkeypatch: pytest.MonkeyPatch, late: int, *, shift: bool
) -> None:
    monkeypatch.setattr("mergeline.commands.evidence._profile", lambda *_: LABELLED_AS_TRAINING)
    ids = log.predict(BEFORE.start + DAY, 1000)
    log.label(ids, NOW - DAY, [number < late for number in range(1000)])
    assert gather(place(tmp_path, log), None).labels.shift is None  # not mature, and so not looked at
    log.performance(BEFORE, State.HOLDS)
    assert gather(place(tmp_path, log), None).labels.shift is shift


def test_labels_of_requests_that_nobody_made_and_of_rows_that_the_model_knows_are_no_new_rows(
    tmp_path: Path, log: PlantedLog
) -> None:
    known = log.predict(AS_OF - DAY, 40)
    log.label([*known, *(f"nobody-{number}" for number in range(50))], NOW - DAY, [True] * 90)
    assert gather(place(tmp_path, log), None).labels.new_rows == 0
    early = log.predict(AS_OF - 5 * DAY, 30, about=AS_OF + DAY, name="early")  # asked before, about a day after
    late = log.predict(NOW - 2 * DAY, 20, about=AS_OF - DAY, name="late")  # the other way round
    log.label([*early, *late], NOW - DAY, [True] * 50)
    assert gather(place(tmp_path, log), None).labels.new_rows == 30


def test_the_last_label_is_of_a_request_that_the_log_holds_however_old(tmp_path: Path, log: PlantedLog) -> None:
    log.label(["nobody-1", "nobody-2"], NOW - DAY, [True, False])
    log.predict(AS_OF - 9 * DAY, 30, failed=30, name="failed")
    assert gather(place(tmp_path, log), None).labels.last_at is None
    old = log.predict(AS_OF - 5 * DAY, 30, name="old")
    assert gather(place(tmp_path, log), None).labels.last_at == AS_OF - 5 * DAY
    log.label(old, AS_OF + DAY, [True] * 30)
    assert gather(place(tmp_path, log), None).labels.last_at == AS_OF + DAY
    new = log.predict(NOW - 9 * DAY, 30, name="new")
    log.label(new, NOW - 2 * DAY, [True] * 30)
    assert gather(place(tmp_path, log), None).labels.last_at == NOW - 2 * DAY


def told(log: PlantedLog, request: str, turned_out: dt.datetime, came: dt.datetime) -> None:
    """A label that was handed in at another moment than the one that it tells of."""
    labels = labels_table([Label(request, "true", microseconds(turned_out))], microseconds(came))
    log.store.put(f"labels/{came:date=%Y-%m-%d}/{request}-{turned_out:%Y%m%d}.parquet", labels)


@pytest.mark.parametrize("turned_out", [NOW - 20 * DAY, dt.datetime(1, 1, 2, tzinfo=dt.UTC)])
def test_a_label_came_when_it_was_handed_in_however_old_what_it_tells(
    tmp_path: Path, log: PlantedLog, turned_out: dt.datetime
) -> None:
    first, second, third = log.predict(NOW - 40 * DAY, 3)
    told(log, first, turned_out, NOW - DAY)
    assert gather(place(tmp_path, log), None).labels.last_at == NOW - DAY
    told(log, second, NOW - 2 * DAY, NOW - 3 * DAY)  # the twin: one that tells of a later day, and came before
    assert gather(place(tmp_path, log), None).labels.last_at == NOW - DAY
    told(log, third, NOW - HOUR, NOW - HOUR)
    assert gather(place(tmp_path, log), None).labels.last_at == NOW - HOUR


def test_in_a_replay_which_is_told_all_at_once_a_label_came_when_it_turned_out(tmp_path: Path, log: PlantedLog) -> None:
    first, second = log.predict(NOW - 40 * DAY, 2)
    told(log, first, NOW - 20 * DAY, NOW + 4000 * DAY)
    found = gather(place(tmp_path, log), None)
    assert found.labels.last_at == NOW - 20 * DAY
    assert decide(found, DecideParams()).rule == "labels have stopped"
    told(log, second, NOW - 2 * DAY, NOW + 4000 * DAY)
    assert decide(gather(place(tmp_path, log), None), DecideParams()).rule is None


@pytest.mark.parametrize("about", [NOW + DAY, NOW - 40 * DAY, dt.datetime(9999, 12, 31, tzinfo=dt.UTC)])
def test_failures_are_those_of_the_last_hours_whatever_day_the_requests_ask_about(
    tmp_path: Path, log: PlantedLog, about: dt.datetime
) -> None:
    log.predict(NOW - 11 * HOUR, 600, failed=600, about=about)
    log.predict(NOW - 3 * DAY, 50, failed=50, about=NOW - HOUR, name="older")
    log.predict(NOW - HOUR, 10, model=OTHER, about=about, name="other")
    found = gather(place(tmp_path, log), None)
    assert (found.traffic.rows, found.traffic.failed) == (610, 600)
    assert found.canary.under_way is True


# ---- Of the model that serves ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Released:
    """A repository in which models came to production, a log beside it, and what is decided now."""

    root: Path
    log: PlantedLog

    def release(self, model: str, at: dt.datetime, image: str = "9") -> None:
        release = Release(model, "s3://models/x", "2" * 64, "x@sha256:" + image * 64)
        self.commit(PRODUCTION, format_release(release), at)

    def commit(self, file: Path, text: str, at: dt.datetime) -> None:
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        when = {"GIT_AUTHOR_DATE": at.isoformat(), "GIT_COMMITTER_DATE": at.isoformat()}
        for arguments in (["add", "--all"], ["commit", "-q", "-m", f"change {file}"]):
            subprocess.run(["git", "-C", str(self.root), *arguments], check=True, env=NAMES | when)

    def decided(self) -> Decision:
        return decide(gather(place(self.root, self.log), None), DecideParams())


NAMES = {
    "PATH": "/usr/bin:/bin",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    **{f"GIT_{who}_{what}": "t@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}


@pytest.fixture
def production(tmp_path: Path, log: PlantedLog, monkeypatch: pytest.MonkeyPatch) -> Released:
    """One release that is over, and `MODEL`, for two months; the store of their profiles is not there."""
    monkeypatch.setattr("mergeline.commands.evidence._profile", lambda *_: LABELLED_AS_TRAINING)
    subprocess.run(["git", "init", "-q", "-b", "main", str(tmp_path)], check=True, env=NAMES)
    (tmp_path / ".gitignore").write_text("/.mergeline/\n")
    made = Released(tmp_path, log)
    made.release("c" * 64, NOW - 90 * DAY)
    made.release(MODEL, NOW - 60 * DAY)
    return made


def test_a_new_release_is_not_taken_back_for_what_the_model_before_it_lost(production: Released) -> None:
    log = production.log
    ids = log.predict(BEFORE.start + DAY, 1000)
    log.label(ids, NOW - 5 * DAY, [number < 320 for number in range(1000)])
    log.drift(WEEK)
    log.performance(BEFORE, State.DEGRADED)
    log.performance(WEEK, State.IMMATURE, estimate=0.5)
    assert production.decided().rule == "the model does worse"
    production.release(OTHER, NOW - DAY)
    found = production.decided()
    assert (found.action, found.facts["performance.outcome"], found.facts["labels.shift"]) == (Action.WAIT, None, None)
    assert found.facts["performance.estimate"] is None
    log.performance(WEEK, State.DEGRADED, model=OTHER)
    log.drift(WEEK, model=OTHER)
    log.label(log.predict(WEEK.start, 1000, model=OTHER, name="new"), NOW, [number < 320 for number in range(1000)])
    assert production.decided().action is Action.ROLL_BACK, "the twin: it does worse itself"


def degraded(log: PlantedLog, model: str = MODEL) -> None:
    """Labels say that a model does worse, on rows like those it was trained on."""
    ids = log.predict(BEFORE.start + DAY, 1000, model=model, name=model[:4])
    log.label(ids, NOW - 5 * DAY, [number < 320 for number in range(1000)])
    log.performance(BEFORE, State.DEGRADED, model=model)
    log.drift(WEEK, model=model)


def test_an_old_model_in_a_new_image_is_not_taken_back_for_doing_worse(production: Released) -> None:
    production.release(MODEL, NOW - 2 * DAY, image="8")
    degraded(production.log)
    found = production.decided()
    assert (found.action, found.rule) == (Action.RETRAIN, "the model does worse")
    assert (found.facts["release.age_days"], found.facts["model.served_days"]) == (2, 60)
    production.log.predict(NOW - 5 * HOUR, 1000, failed=300, every_s=1, name="image")
    assert production.decided().rule == "a new release fails", "the twin: an image that fails is taken back"


def test_a_new_model_that_does_worse_is_not_taken_back_to_itself(production: Released) -> None:
    degraded(production.log, OTHER)
    production.release(OTHER, NOW - 3 * DAY)
    assert production.decided().action is Action.ROLL_BACK, "the twin: another model was served before"
    production.release(OTHER, NOW - DAY, image="8")
    found = production.decided()
    assert (found.action, found.facts["model.served_days"]) == (Action.RETRAIN, 3)
    held = next(each for each in found.considered if each.rule.startswith("a new release does worse"))
    assert (held.outcome, "the same model" in held.why) == (Held.HELD_BACK, True)


def test_a_release_that_a_rollback_brings_back_is_no_new_one(production: Released) -> None:
    """What goes on failing after it lies elsewhere: a second rollback would go to a model that nobody chose."""
    production.release(OTHER, NOW - 2 * DAY)
    production.release(MODEL, NOW - 6 * HOUR)
    production.log.predict(NOW - 5 * HOUR, 1000, failed=300, every_s=1)
    degraded(production.log)
    found = production.decided()
    assert (found.action, [each.rule for each in found.beside]) == (Action.RETRAIN, ["predictions fail"])
    assert (found.facts["release.age_days"], found.facts["model.served_days"]) == (60, 60)
    production.release(OTHER, NOW - 5.5 * HOUR)
    production.log.predict(NOW - 5 * HOUR, 1000, failed=300, every_s=1, model=OTHER, name="again")
    again = production.decided()
    assert again.rule == "a new release fails", "the twin: what was taken back and is tried again is new"
    assert again.facts["release.age_days"] == 0.23


def test_what_a_release_answered_before_it_was_taken_back_to_is_not_counted(production: Released) -> None:
    production.log.predict(NOW - 20 * HOUR, 100, failed=100, every_s=1)
    production.release(OTHER, NOW - 19 * HOUR)
    assert production.decided().evidence.errors.rows == 0
    production.release(MODEL, NOW - 6 * HOUR)
    production.log.predict(NOW - 5 * HOUR, 10, name="back")
    assert production.decided().evidence.errors.rows == 10


def test_a_retired_model_is_nothing_to_go_back_to(production: Released) -> None:
    production.release(OTHER, NOW - DAY)
    production.log.predict(NOW - 5 * HOUR, 1000, failed=300, every_s=1, model=OTHER)

    def retire(at: dt.datetime, *models: str) -> None:
        gone = [Retirement(each, at.date(), Phase.RETIRED) for each in models]
        production.commit(RETIREMENTS, format_retirements(gone), at)

    retire(NOW - 10 * HOUR, "c" * 64)
    assert production.decided().action is Action.ROLL_BACK, "the twin: one model of before is left"
    retire(NOW + HOUR, "c" * 64, MODEL)
    assert production.decided().action is Action.ROLL_BACK, "what came later is not known"
    retire(NOW - HOUR, MODEL, "c" * 64)
    found = production.decided()
    assert found.action is Action.WAIT
    assert found.evidence.model.has_earlier is False


def test_labels_are_spread_otherwise_by_those_of_the_serving_model_alone(production: Released) -> None:
    log = production.log
    log.label(log.predict(BEFORE.start, 1000, model=OTHER, name="other"), NOW - DAY, [True] * 1000)
    mine = log.predict(BEFORE.start + 3 * DAY, 1000, name="mine")
    log.label(mine, NOW - 2 * DAY, [number < 320 for number in range(1000)])
    log.performance(BEFORE, State.HOLDS)
    assert production.decided().facts["labels.shift"] is False
    log.label(mine, NOW - HOUR, [True] * 1000)
    assert production.decided().facts["labels.shift"] is True


def test_a_fix_is_not_taken_back_for_the_failures_before_it(production: Released) -> None:
    production.release(OTHER, NOW - 4 * HOUR)
    production.log.predict(NOW - 20 * HOUR, 1000, failed=300)
    production.log.predict(NOW - 5 * HOUR, 30, failed=30, model=OTHER, name="trial")  # before it was released
    production.log.predict(NOW - 3 * HOUR, 1000, every_s=10, model=OTHER, name="fix")
    found = production.decided()
    assert (found.action, [each.rule for each in found.beside]) == (Action.WAIT, ["predictions fail"])
    assert (found.evidence.errors.rows, found.evidence.errors.failed) == (1000, 0)
    assert found.evidence.traffic.rows == 2030
    production.log.predict(NOW - 2 * HOUR, 600, failed=600, every_s=5, model=OTHER, name="worse")
    assert production.decided().rule == "a new release fails", "the twin: it fails itself"


@pytest.mark.parametrize(("variant", "alarm"), [("challenger", ["predictions fail"]), ("shadow", [])])
def test_a_champion_is_not_taken_back_for_what_another_model_fails(
    production: Released, variant: str, alarm: list[str]
) -> None:
    production.release(OTHER, NOW - 2 * DAY)
    production.log.predict(NOW - 20 * HOUR, 1000, model=OTHER, name="champion")
    production.log.predict(NOW - 20 * HOUR, 1000, failed=1000, variant=variant, name="second")
    found = production.decided()
    assert (found.action, [each.rule for each in found.beside]) == (Action.WAIT, alarm)


def test_drift_of_the_model_before_trains_nothing_again(production: Released) -> None:
    production.log.label(production.log.predict(NOW - 2 * DAY, 1500, every_s=10), NOW - DAY, [True] * 1500)
    production.log.drift(WEEK, "distance", weighted=0.5, sustained=True)
    assert production.decided().rule == "what the model looks at has moved"
    production.release(OTHER, NOW - DAY)
    found = production.decided()
    assert (found.action, found.facts["drift.outcome"]) == (Action.WAIT, None)


def test_a_release_that_answers_nobody_while_others_do_is_told_and_one_that_came_after_the_window_is_not(
    production: Released,
) -> None:
    production.log.predict(NOW - DAY, 600, model=OTHER)
    production.log.drift(BEFORE, outcome=Outcome.NO_DATA)
    assert [each.rule for each in production.decided().beside] == ["other models answer"]
    production.release(OTHER, BEFORE.end + HOUR)
    production.log.drift(BEFORE, outcome=Outcome.NO_DATA, model=OTHER)
    assert production.decided().beside == ()


@pytest.mark.parametrize(
    ("failed", "state", "rule"),
    [
        (300, "no answers", None),
        (299, "no labels", "no label came though it is time"),
    ],
)
def test_nobody_is_asked_for_labels_of_a_window_in_which_every_request_failed(
    production: Released, failed: int, state: str, rule: str | None
) -> None:
    production.log.predict(BEFORE.start - 7 * DAY, 300, failed=failed)
    run = performance(production.root, None, now=NOW, environment={})
    assert str(run.records[0].state) == state
    found = production.decided()
    assert (found.rule, found.facts["performance.outcome"]) == (rule, state)


@pytest.mark.parametrize(
    ("days", "state", "outcome"),
    [
        (200, State.DEGRADED, None),
        (40, State.DEGRADED, None),
        (28, State.DEGRADED, "degraded"),  # labels take two weeks, and two windows more are waited for
        (28, State.IMMATURE, None),
        (14, State.IMMATURE, "immature"),
    ],
)
def test_a_window_judges_until_two_more_should_have_been_judged(
    production: Released, days: int, state: State, outcome: str | None
) -> None:
    production.log.performance(Window(NOW - (days + 7) * DAY, NOW - days * DAY), state, estimate=0.5)
    found = production.decided().facts
    assert found["performance.outcome"] == outcome
    assert found["performance.estimate"] == ("degraded" if days <= 14 else None)
