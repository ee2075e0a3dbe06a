"""`decide` and `heartbeat` as a person runs them: a log as the server writes it, real Git, a webhook that listens."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import github_issues  # noqa: F401 - declares its routes
import pytest
from github_api import GitHub, served
from github_state import ACTIONS, Hub, token
from planted_log import PlantedLog

from mergeline.cli import main
from mergeline.commands import decide as verbs
from mergeline.commands import promotion
from mergeline.commands.evidence import Place, gather
from mergeline.commands.settings import load_params
from mergeline.errors import DataError, DegradationFound, ServiceError
from mergeline.heartbeat import KEY, Beat, exposition, read_beat
from mergeline.layout import PRODUCTION
from mergeline.monitor.decide import Considered, Decision, Outcome
from mergeline.monitor.decide.decision import Beside
from mergeline.monitor.windows import Window
from mergeline.params.decide import Action, Trigger
from mergeline.release.manifests import Release, format_release
from mergeline.webhook import address_of, send

NOW = dt.datetime(2013, 9, 30, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
WEEK = Window(NOW - 7 * DAY, NOW)
BEFORE = Window(NOW - 14 * DAY, NOW - 7 * DAY)
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
HERE = "octo/model"


@pytest.fixture
def log(tmp_path: Path) -> PlantedLog:
    (tmp_path / "params.yaml").write_text(PARAMS)
    return PlantedLog.at(tmp_path / ".mergeline" / "log")


def place(root: Path, log: PlantedLog, **environment: str) -> Place:
    return Place(root, log.store, load_params(root), NOW, "origin", environment)


def made(root: Path, log: PlantedLog, request: str | None = None) -> Decision:
    return verbs.make(place(root, log), request)


# ---- The verb --------------------------------------------------------------------------------------------------------


def run(root: Path, *arguments: str) -> int:
    return main(["--root", str(root), *arguments])


def test_a_decision_is_kept_in_the_log_and_again_gives_the_same_bytes(
    tmp_path: Path, log: PlantedLog, capsys: pytest.CaptureFixture[str]
) -> None:
    log.predict(NOW - DAY, 100)
    log.drift(WEEK, "distance", weighted=0.3, sustained=True)
    assert run(tmp_path, "decide", "--now", "2013-09-30") == 0
    assert capsys.readouterr().out.startswith("Get labels: what the model looks at has moved: drift.outcome is drift")
    (key,) = log.store.keys("decisions/")
    first = log.store.read(key)
    assert key == "decisions/date=2013-09-30/20130930T000000Z.json"
    assert run(tmp_path, "decide", "--now", "2013-09-30T00:00:00+00:00", "--json") == 0
    assert json.loads(capsys.readouterr().out) == json.loads(first)
    assert log.store.read(key) == first
    assert (tmp_path / ".mergeline/decide/decision.md").read_text().startswith("**Get labels.**")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["decide", "--now", "soon"], 2, "expected a time"),
        (["decide", "--request", " "], 2, "--request: expected a reason"),
        (["decide", "act"], 3, "decision.json: no such record; mergeline decide writes it"),
        (["decide", "issue"], 3, "no such record"),
        (["decide", "guess"], 2, "invalid choice"),
        (["heartbeat"], 5, "no run has ended well yet"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_its_exit_code(
    tmp_path: Path, log: PlantedLog, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str
) -> None:
    assert log.store.keys("") == []
    try:
        found = run(tmp_path, *arguments)
    except SystemExit as err:
        found = int(err.code or 0)
    assert found == code
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("key", ["drift/2013-09-23--2013-09-30.json", "performance/2013-09-23--2013-09-30.json", KEY])
def test_a_record_that_is_damaged_is_refused_by_its_place(tmp_path: Path, log: PlantedLog, key: str) -> None:
    log.store.put(key, b"{}")
    with pytest.raises(DataError, match=key.replace(".", r"\.")):
        made(tmp_path, log)


# ---- Acting: real Git ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Clone:
    """A clone of a bare origin whose main has had two releases in production."""

    root: Path

    def git(self, *arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(self.root), *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, message: str, **files: str) -> None:
        for name, text in files.items():
            path = self.root / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("add", "--all")
        self.git("commit", "-q", "-m", message)
        self.git("push", "-q", "origin", "HEAD:main")

    def branches(self) -> list[str]:
        return [line.split("refs/heads/")[1] for line in self.git("ls-remote", "--heads", "origin").splitlines()]

    def decided(self, action: Action, **more: Any) -> None:
        """Leave the record of a decision."""
        from mergeline.monitor.decide import Evidence, as_record, decide
        from mergeline.params.decide import DecideParams

        found = replace(decide(Evidence(NOW), DecideParams()), action=action, rule="planted", why=("it rains",), **more)
        path = self.root / verbs.RECORD
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(as_record(found)))


def released(sha: str) -> str:
    return format_release(Release(sha * 64, "s3://models/x", "2" * 64, "x@sha256:" + "9" * 64))


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clone:
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "tests")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "tests@example.org")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    origin, root = tmp_path / "origin.git", tmp_path / "clone"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(origin)], check=True)
    subprocess.run(["git", "clone", "-q", str(origin), str(root)], check=True, capture_output=True)
    made = Clone(root)
    (root / ".gitignore").write_text("/.mergeline/\n")
    made.git("checkout", "-q", "-B", "main")
    template = Path(__file__).parents[1]
    settings = {name: (template / name.replace("__", "/")).read_text() for name in (
        "k8s__components__challenger__deployment.yaml", "k8s__overlays__production__autoscaler.yaml")}  # fmt: skip
    made.commit("start", **{"params.yaml": PARAMS, "data.dvc": "old\n"}, **settings)
    production = PRODUCTION.as_posix().replace("/", "__")
    made.commit("first", **{production: released("1")})
    made.commit("second", **{production: released("3")})
    made.git("remote", "set-head", "origin", "main")
    return made


def test_r11_a_retraining_is_one_branch_with_the_new_partition_however_often_it_is_decided(clone: Clone) -> None:
    clone.decided(Action.RETRAIN)
    assert "no new partition" in verbs.act(clone.root, "origin", {})
    assert clone.branches() == ["main"]
    (clone.root / "data.dvc").write_text("new\n")
    (clone.root / "params.yaml").write_text(PARAMS.replace("07-01", "10-01"))
    (clone.root / "k8s/components/challenger/deployment.yaml").write_text("a change that is no part of it\n")
    said = [verbs.act(clone.root, "origin", {}) for _ in range(3)]
    assert said[0].startswith("proposed on retrain/auto")
    assert said[1] == said[2] == "retrain/auto proposes it already; merge it into main"
    assert clone.branches() == ["main", "retrain/auto"]
    clone.git("fetch", "-q", "origin")
    assert clone.git("diff", "--name-only", "origin/main", "origin/retrain/auto").split() == ["data.dvc", "params.yaml"]
    message = clone.git("log", "-1", "--format=%B", "origin/retrain/auto")
    assert message.startswith("Train again: planted\n\nit rains\n\nDecided-At: 2013-09-30T00:00:00+00:00")


def test_r11_twin_a_base_that_has_moved_under_the_partition_is_not_overwritten(clone: Clone) -> None:
    head = clone.git("rev-parse", "HEAD")
    clone.commit("a person fed the table", **{"data.dvc": "a person's\n"})
    clone.git("reset", "-q", "--hard", head)
    (clone.root / "data.dvc").write_text("new\n")
    clone.decided(Action.RETRAIN)
    with pytest.raises(Exception, match="main has another than this checkout"):
        verbs.act(clone.root, "origin", {})
    assert clone.branches() == ["main"]


def test_a_rollback_is_the_release_before_byte_for_byte(clone: Clone) -> None:
    clone.decided(Action.ROLL_BACK)
    assert verbs.act(clone.root, "origin", {}).startswith("proposed on rollback/production")
    clone.git("fetch", "-q", "origin")
    assert clone.git("show", f"origin/rollback/production:{PRODUCTION}") + "\n" == released("1")


def test_a_share_and_bounds_are_a_commit_of_one_line_each_and_nothing_is_silently_missed(clone: Clone) -> None:
    share = Beside("back off", Action.CHALLENGER_SHARE, "it fails", share=0.05)
    bounds = Beside("room", Action.SCALE_BOUNDS, "it is slow", replicas=(4, 30))
    clone.decided(Action.WAIT, beside=(share, bounds))
    assert [line.partition(";")[0] for line in verbs.act(clone.root, "origin", {}).splitlines()] == [
        "proposed on decide/challenger-share", "proposed on decide/scale-bounds",
    ]  # fmt: skip
    clone.git("fetch", "-q", "origin")
    for branch, lines in (
        ("decide/challenger-share", ['-              value: "0.1"', '+              value: "0.05"']),
        ("decide/scale-bounds", ["-  minReplicas: 3", "-  maxReplicas: 20", "+  minReplicas: 4", "+  maxReplicas: 30"]),
    ):
        diff = clone.git("diff", "--unified=0", "origin/main", f"origin/{branch}").splitlines()
        assert [line for line in diff if line[:1] in "+-" and line[:3] not in ("+++", "---")] == lines
    clone.commit("another layout", **{verbs.SHARE_FILE.as_posix().replace("/", "__"): "share: none\n"})
    with pytest.raises(DataError, match="expected the setting that challenger share changes"):
        verbs.act(clone.root, "origin", {})


def not_asked(outcome: Outcome = Outcome.NOT) -> dict[str, Any]:
    """What a decision holds in which no rule asks for a change, each for one reason."""
    actions = (Action.ROLL_BACK, Action.CHALLENGER_SHARE, Action.SCALE_BOUNDS)
    return {"considered": tuple(Considered(f"r{each}", Trigger.ERRORS, each, outcome, "so") for each in actions)}


CHANGED = ["decide/challenger-share", "decide/scale-bounds", "rollback/production"]


@pytest.fixture
def proposed(clone: Clone) -> Clone:
    """A clone whose last decision has taken production back, and changed a share and bounds."""
    share = Beside("back off", Action.CHALLENGER_SHARE, "it fails", share=0.05)
    clone.decided(Action.ROLL_BACK, beside=(share, Beside("room", Action.SCALE_BOUNDS, "it is slow", replicas=(4, 30))))
    verbs.act(clone.root, "origin", {})
    clone.git("push", "-q", "origin", "HEAD:refs/heads/retrain/auto")
    assert clone.branches() == [*CHANGED[:2], "main", "retrain/auto", CHANGED[2]]
    return clone


def test_what_no_rule_asks_for_any_more_is_withdrawn_once_and_a_retraining_stays(proposed: Clone) -> None:
    clone = proposed
    clone.git("fetch", "-q", "origin")
    base = clone.git("rev-parse", "HEAD")
    clone.commit("main moves on", **{"another.txt": "x\n"})
    clone.git("checkout", "-q", "--detach", f"origin/{CHANGED[0]}")
    clone.git("merge", "-q", "--no-edit", "origin/main")  # as the button "Update branch" does it
    clone.git("push", "-q", "origin", f"HEAD:refs/heads/{CHANGED[0]}")
    clone.git("checkout", "-q", "--detach", base)
    clone.decided(Action.WAIT, **not_asked())
    said = [verbs.act(clone.root, "origin", {}) for _ in range(2)]
    assert sorted(said[0].splitlines()) == [f"{each} is removed: no rule asks for it any more" for each in CHANGED]
    assert said[1].startswith("nothing to propose: Wait")
    assert clone.branches() == ["main", "retrain/auto"]


@pytest.mark.parametrize("outcome", [Outcome.HELD_BACK, Outcome.FORESTALLED, Outcome.UNKNOWN])
def test_the_twin_what_a_rule_asks_for_that_waits_or_cannot_tell_stays(proposed: Clone, outcome: Outcome) -> None:
    proposed.decided(Action.WAIT, **not_asked(outcome))
    assert verbs.act(proposed.root, "origin", {}).startswith("nothing to propose")
    assert set(CHANGED) < set(proposed.branches())


def test_r8_what_a_person_has_proposed_or_committed_to_is_not_withdrawn(proposed: Clone) -> None:
    clone = proposed
    clone.git("push", "-q", "origin", "--delete", CHANGED[2])
    promotion.rollback(clone.root, "origin", None)
    clone.git("fetch", "-q", "origin")
    for branch, files in ((CHANGED[0], {"mine.txt": "x\n"}), (CHANGED[1], {})):
        clone.git("checkout", "-q", "--detach", f"origin/{branch}")
        for name, text in files.items():
            (clone.root / name).write_text(text)
            clone.git("add", name)
        clone.git("commit", "-q", "--amend" if not files else "--allow-empty", "-m", "a person's\n\nDecided-At: now")
        clone.git("push", "-q", "-f", "origin", f"HEAD:refs/heads/{branch}")
    clone.git("checkout", "-q", "main")
    clone.decided(Action.WAIT, **not_asked())
    assert verbs.act(clone.root, "origin", {}).startswith("nothing to propose")
    assert set(CHANGED) < set(clone.branches())


def test_what_git_says_of_production_and_of_a_retraining_is_evidence(clone: Clone, tmp_path: Path) -> None:
    log = PlantedLog.at(tmp_path / "log")
    now = dt.datetime.now(dt.UTC)
    here = Place(clone.root, log.store, load_params(clone.root), now, "origin", {})
    found = gather(here, None)
    assert (found.model.sha256, found.model.has_earlier, found.retraining.is_open) == ("3" * 64, True, False)
    assert found.model.released_at is not None
    assert found.retraining.ended_at is None
    (clone.root / "data.dvc").write_text("new\n")
    clone.decided(Action.RETRAIN)
    verbs.act(clone.root, "origin", {})
    clone.git("fetch", "-q", "origin")
    assert gather(here, None).retraining.is_open is True
    clone.commit("merged", **{"data.dvc": "new\n"})
    after = gather(replace(here, at=now + DAY), None).retraining
    assert (after.is_open, after.ended_at is not None) == (False, True)
    early = gather(replace(here, at=NOW), None)  # of a replay: nothing of this had happened
    assert (early.model.released_at, early.retraining.ended_at) == (None, None)


# ---- GitHub ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def github(clone: Clone) -> Iterator[GitHub]:
    may = {**ACTIONS, "issues": "write", "pull_requests": "write"}
    hub = Hub({"tokens": {"ghs_1": token("github-actions[bot]", may)}})
    hub.add(HERE, git=str(clone.root.parent / "origin.git"))
    with served(hub) as running:
        yield running


def environment(github: GitHub) -> dict[str, str]:
    return {"GITHUB_API_URL": github.url, "GITHUB_REPOSITORY": HERE, "GITHUB_TOKEN": "ghs_1"}


def test_r11_the_issue_follows_the_decision_and_is_closed_when_nothing_is_to_be_done(
    clone: Clone, github: GitHub
) -> None:
    clone.decided(Action.RETRAIN)
    said = [verbs.keep_issue(clone.root, environment(github)) for _ in range(3)]
    assert said == ["#1 opened", "#1 stands as it is", "#1 stands as it is"]
    clone.decided(Action.WAIT)
    assert verbs.keep_issue(clone.root, environment(github)) == "#1 closed"
    clone.decided(Action.ASK_FOR_LABELS)
    assert verbs.keep_issue(clone.root, environment(github)) == "#1 opened again"
    (issue,) = github.hub.repository(HERE)["issues"]
    assert issue["title"] == "Monitoring: get labels (planted)"
    assert issue["labels"] == ["monitoring"]


def test_r11_what_github_says_of_the_retraining_holds_back_the_next_one(
    clone: Clone, github: GitHub, tmp_path: Path
) -> None:
    log = PlantedLog.at(tmp_path / "log")
    here = Place(clone.root, log.store, load_params(clone.root), NOW, "origin", environment(github))
    assert gather(here, None).retraining.is_open is False
    clone.git("push", "-q", "origin", "HEAD:refs/heads/retrain/auto")
    github.hub.pull(HERE, "retrain/auto", "github-actions[bot]")
    github.hub.pull(HERE, "retrain/auto", "somebody", **{"from": "fork/model"})
    found = gather(here, "now").retraining
    assert (found.is_open, found.name) == (True, "#1")
    assert verbs.make(here, "now").action is Action.WAIT
    github.hub.repository(HERE)["issues"][0]["state"] = "closed"
    github.hub.repository(HERE)["issues"][0]["closed_at"] = "2013-09-27T00:00:00Z"
    assert gather(here, None).retraining.ended_at == NOW - 3 * DAY
    early = [gather(replace(here, at=NOW - days * DAY), None).retraining for days in (4, 21)]
    assert [(each.is_open, each.name, each.ended_at) for each in early] == [(True, "#1", None), (False, None, None)]


def test_a_branch_whose_pull_request_is_over_makes_room_for_the_next_one(clone: Clone, github: GitHub) -> None:
    names = environment(github)
    clone.decided(Action.RETRAIN)
    (clone.root / "data.dvc").write_text("new\n")
    verbs.act(clone.root, "origin", names)
    clone.git("fetch", "-q", "origin")
    clone.git("checkout", "-q", "-f", "--detach", "origin/retrain/auto")
    clone.git("commit", "-q", "--allow-empty", "-m", "results, recorded")
    clone.git("push", "-q", "origin", "HEAD:refs/heads/retrain/auto")
    clone.git("checkout", "-q", "main")
    (clone.root / "data.dvc").write_text("newer\n")
    github.hub.pull(HERE, "retrain/auto", "github-actions[bot]")
    with pytest.raises(Exception, match="which is somebody's own"):
        verbs.act(clone.root, "origin", names)
    recorded = clone.git("ls-remote", "origin", "refs/heads/retrain/auto").split()[0]
    github.hub.repository(HERE)["issues"][0]["state"] = "closed"
    clone.git("commit", "-q", "--allow-empty", "-m", "a person's")
    clone.git("push", "-q", "-f", "origin", "HEAD:refs/heads/retrain/auto")
    clone.git("reset", "-q", "--soft", "HEAD~1")
    with pytest.raises(Exception, match="which is somebody's own"):  # R8: another commit than the one that was closed
        verbs.act(clone.root, "origin", names)
    clone.git("push", "-q", "-f", "origin", f"{recorded}:refs/heads/retrain/auto")
    assert verbs.act(clone.root, "origin", names).startswith("proposed on retrain/auto")


# ---- The webhook -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Hook:
    """A chat's webhook on loopback: what it was told, and the statuses that it answers with, 200 when they are used."""

    url: str = ""
    told: list[str] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Say nothing."""

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status = made.statuses.pop(0) if made.statuses else 200
            made.told += [body["text"]] if status == 200 else []
            self.send_response(status)
            if status in (301, 302):
                self.send_header("Location", made.url)
            self.end_headers()
            self.wfile.write(b"ok" if status == 200 else b"no_service")

    server = HTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}/services/secret"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_alert_is_told_once_and_once_that_it_is_over(clone: Clone, hook: Hook, tmp_path: Path) -> None:
    log = PlantedLog.at(tmp_path / "log")
    names = {"MERGELINE_WEBHOOK": hook.url}
    clone.decided(Action.RETRAIN)
    for _ in range(3):
        verbs.notify(clone.root, log.store, names, strict=True)
    assert hook.told == ["*[warning] Train again on the newest labelled rows*\nit rains"]
    held = Considered("planted", Trigger.PERFORMANCE, Action.RETRAIN, Outcome.HELD_BACK, "the cool-down")
    clone.decided(Action.WAIT, considered=(held,))
    assert verbs.notify(clone.root, log.store, names, strict=True) == "0 messages sent, 1 alerts stand"
    clone.decided(Action.WAIT)
    for _ in range(2):
        verbs.notify(clone.root, log.store, names, strict=True)
    assert hook.told[1:] == ["*[resolved] Train again on the newest labelled rows*"]
    clone.decided(Action.RETRAIN)
    verbs.notify(clone.root, log.store, names, strict=True)
    assert len(hook.told) == 3


def test_a_webhook_that_refuses_costs_a_warning_an_exit_code_where_asked_and_is_told_later(
    clone: Clone, hook: Hook, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MERGELINE_WEBHOOK", hook.url)
    monkeypatch.setenv("MERGELINE_LOG", str(tmp_path / "log"))
    clone.decided(Action.RETRAIN)
    hook.statuses[:] = [404, 404]
    assert main(["--root", str(clone.root), "decide", "notify", "--strict"]) == 7
    store = PlantedLog.at(tmp_path / "log").store
    assert "0 messages" in verbs.notify(clone.root, store, {"MERGELINE_WEBHOOK": hook.url}, strict=False)
    assert "secret" not in caplog.text
    assert hook.told == []
    assert main(["--root", str(clone.root), "decide", "notify"]) == 0
    assert len(hook.told) == 1


def test_a_fault_is_tried_again_and_a_redirect_is_not_followed(hook: Hook) -> None:
    hook.statuses[:] = [503, 429]
    send(hook.url, {"text": "x"}, sleep=lambda _: None)
    assert hook.told == ["x"]
    for planted in ([302], [500, 500, 500]):
        hook.statuses[:] = planted
        with pytest.raises(ServiceError, match=r"^MERGELINE_WEBHOOK: the webhook of 127\.0\.0\.1 answers \d+"):
            send(hook.url, {"text": "x"}, sleep=lambda _: None)
    assert hook.told == ["x"]
    assert hook.statuses == []


@pytest.mark.parametrize("url", ["http://chat.example/x", "chat", "https:///x", "file:///etc/passwd", "https://a b/"])
def test_an_address_that_is_not_safe_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(Exception, match="MERGELINE_WEBHOOK: expected https://HOST") as caught:
        address_of({"MERGELINE_WEBHOOK": url})
    assert url not in str(caught.value)
    assert address_of({"MERGELINE_WEBHOOK": ""}) is None


# ---- The heartbeat ---------------------------------------------------------------------------------------------------


def test_r12_a_schedule_that_has_died_is_noticed_and_told_once(
    tmp_path: Path, log: PlantedLog, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MERGELINE_WEBHOOK", hook.url)
    assert run(tmp_path, "heartbeat", "--beat", "--now", "2013-09-30") == 0
    assert read_beat(log.store) == Beat(NOW, 30.0)
    assert run(tmp_path, "heartbeat", "--notify", "--now", "2013-10-01") == 0
    late = [run(tmp_path, "heartbeat", "--notify", "--now", "2013-10-02") for _ in range(2)]
    assert late == [5, 5]
    assert hook.told == [
        "*[critical] The scheduled check is silent*\nthe last run ended well 48.0 hours ago, 30 are allowed"
    ]
    assert run(tmp_path, "heartbeat", "--beat", "--now", "2013-10-02") == 0
    assert run(tmp_path, "heartbeat", "--notify", "--now", "2013-10-02") == 0
    assert hook.told[1:] == ["*[resolved] The scheduled check is silent*"]


def test_a_heartbeat_of_a_time_to_come_is_no_sign_of_life(tmp_path: Path, log: PlantedLog) -> None:
    assert run(tmp_path, "heartbeat", "--beat", "--now", "2013-10-02") == 0
    with pytest.raises(DegradationFound, match=r"ended well 48\.0 hours from now, by a clock that goes wrong; see"):
        verbs.heartbeat(log.store, read_beat(log.store), NOW, {})
    assert verbs.heartbeat(log.store, Beat(NOW + DAY / 500, 30), NOW, {}).endswith("ended well 0.0 hours ago")


def test_the_alerts_of_a_decision_and_of_the_heartbeat_do_not_close_each_other(
    clone: Clone, hook: Hook, tmp_path: Path
) -> None:
    log = PlantedLog.at(tmp_path / "log")
    names = {"MERGELINE_WEBHOOK": hook.url}
    clone.decided(Action.RETRAIN)
    verbs.notify(clone.root, log.store, names, strict=True)
    with pytest.raises(Exception, match="no run has ended well yet"):
        verbs.heartbeat(log.store, None, NOW, names)
    verbs.notify(clone.root, log.store, names, strict=True)
    assert len(hook.told) == 2


def test_prometheus_reads_the_heartbeat() -> None:
    from prometheus_client.parser import text_string_to_metric_families

    found = {
        sample.name: sample.value
        for family in text_string_to_metric_families(exposition(Beat(NOW, 30)))
        for sample in family.samples
    }
    assert found == {
        "mergeline_check_last_success_timestamp_seconds": NOW.timestamp(),
        "mergeline_check_allowed_seconds": 108_000,
    }
    assert "timestamp_seconds 0\n" in exposition(None)
