"""drift.yml, rehearsed: nothing set up, inputs that have moved three times over, a service that is well, no traffic."""

from __future__ import annotations

import datetime as dt
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import github_issues  # noqa: F401 - declares its routes
import numpy as np
import pandas as pd
import pytest
import test_rehearsal
import yaml
from github_api import GitHub, served
from github_state import Hub, token
from rehearsal import WORKFLOWS, Job, Origin, make_fresh, rehearse, results, rights
from repositories import MONTHS, TEMPLATE, flights
from sample.demo.plan import HOME, REPOSITORY

from mergeline.commands.decide import SHARE_FILE
from mergeline.logstore import LogStore, open_log
from mergeline.models.encoder import encode
from mergeline.models.scorer import Scorer
from mergeline.monitor.decide import Considered, Decision, Drift, Evidence, Outcome, as_record, decide
from mergeline.monitor.decide.decision import Beside
from mergeline.params.decide import Action, DecideParams, Trigger
from mergeline.serve.labels import Label, labels_table
from mergeline.serve.logschema import Entry, LogSchema

DRIFT = WORKFLOWS / "drift.yml"
WEEKLY = 700
RULES = [
    {"name": "it does worse", "trigger": "performance", "action": "retrain"},
    {"name": "it has moved", "trigger": "drift", "action": "retrain",
     "condition": {"drift.sustained": True, "drift.weighted": "> 0"}},
    {"name": "nobody asks", "trigger": "silence", "action": "alert"},
]  # fmt: skip
shared_origin = test_rehearsal.shared_origin  # made once for all workers
origin = test_rehearsal.origin
cloud = test_rehearsal.cloud


@pytest.fixture
def github() -> Iterator[GitHub]:
    """A GitHub that takes the tokens of the workflow's jobs, each with the rights that its job asks for."""
    hub = Hub()
    for name, granted in rights(DRIFT).items():
        may = {permission.replace("-", "_"): level for permission, level in granted.items()}
        hub.state["tokens"][name] = token("github-actions[bot]", {"metadata": "read", **may})
    with served(hub) as running:
        yield running


def month_before(now: dt.datetime) -> dt.datetime:
    return (now.replace(day=1) - dt.timedelta(days=1)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def log_of(place: Path, model: Path, sha256: str, *, moved: bool) -> LogStore:
    """What servers wrote since two months ago, with labels: rows of training, of larger planes where `moved`."""
    store = open_log(str(place), place)
    scorer = Scorer.load(model)
    now = dt.datetime.now(dt.UTC)
    first = month_before(month_before(now))
    known = pd.concat([flights(month) for month in MONTHS[:2]]).dropna(subset=["late"])
    hours = int((now - first).total_seconds() // 3600) - 2
    rows = known.sample(hours * WEEKLY // 168, replace=True, random_state=5).reset_index(drop=True)
    if moved:
        rows["seats"] += 150
        rows["humidity_percent"] = (rows["humidity_percent"] + 40).clip(upper=100)
    values = encode(rows, scorer.signature.features)
    scores = scorer.score_matrix(values)
    times = [first + dt.timedelta(hours=hours * number / len(rows)) for number in range(len(rows))]
    micros = [int(each.timestamp()) * 1_000_000 for each in times]
    schema = LogSchema(scorer.signature, {sha256: scorer.signature}, 1.0)
    entries = [
        Entry([f"r{at}"], micros[at], values[at : at + 1].astype(np.float64), scores[at : at + 1], 1.0, "champion",
              sha256, event_times=[micros[at]], entity_ids=[f"new-{at}"])
        for at in range(len(rows))
    ]  # fmt: skip
    days: dict[str, list[Any]] = {}
    for group, piece in schema.pack(entries).items():
        moment = dt.datetime.fromtimestamp(group.hour * 3600, dt.UTC)
        days.setdefault(f"{moment:date=%Y-%m-%d}", []).append((group, piece))
    for day, parts in days.items():
        store.put(f"predictions/{day}/hour=00/x.parquet", schema.parquet(parts[0][0], [piece for _, piece in parts]))
    late = [str(bool(each)).lower() for each in rows["late"]]
    labels = [Label(f"r{at}", late[at], micros[at] + 3_600_000_000) for at in range(len(rows))]
    for day in {f"{each:date=%Y-%m-%d}" for each in times}:
        mine = [each for at, each in enumerate(labels) if f"{times[at]:date=%Y-%m-%d}" == day]
        store.put(f"labels/{day}/x.parquet", labels_table(mine, mine[-1].label_ts_us))
    return store


def said(jobs: dict[str, Job]) -> str:
    return "\n".join(f"== {name}: {job.result}\n{job.said}" for name, job in jobs.items())


def issues(github: GitHub) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = github.hub.repository(REPOSITORY)["issues"]
    return found


def test_a_schedule_without_a_log_ends_neutral_and_says_so(tmp_path: Path) -> None:
    fresh = make_fresh(tmp_path / "fresh")
    jobs = rehearse(fresh, DRIFT, "schedule", {"repository": HOME})
    assert results(jobs) == {
        "look": "success", "watch": "skipped", "issue": "skipped", "collect": "skipped", "propose": "skipped",
    }  # fmt: skip
    assert "**Not configured.**" in jobs["look"].summary


def test_r11_inputs_that_have_moved_make_one_issue_and_one_retraining_however_often_it_runs_and_health_closes_it(
    origin: Origin, github: GitHub, shared_origin: Origin, cloud: dict[str, str], tmp_path: Path
) -> None:
    here = origin.clone()
    here.change_params({"decide.rules": RULES})
    here.commit("Rules of our own")
    main = origin.push(here, "refs/heads/main")
    github.hub.add(REPOSITORY, git=str(origin.bare))
    github.hub.repository(REPOSITORY)["workflow_permissions"]["can_approve_pull_request_reviews"] = True
    sha = re.search(r'model-sha256: "([0-9a-f]{64})"', origin.read("main", "k8s/overlays/production/release.yaml"))
    assert sha is not None
    model = tmp_path / "model"
    from mergeline.release.store import open_store

    open_store(str(shared_origin.place / "store"), tmp_path).get_model(sha[1], model)
    place = tmp_path / "log"
    store = log_of(place, model, sha[1], moved=True)
    variables = {"MERGELINE_LOG": str(place)}

    runs = [rehearse(origin, DRIFT, "schedule", {"repository": HOME}, vars=variables, api=github.url) for _ in range(3)]
    assert set(results(runs[0]).values()) == {"success"}, said(runs[0])
    assert runs[0]["watch"].step("What follows")["said"].startswith("Train again on the newest labelled rows: it does")
    assert "seats" in runs[0]["watch"].summary
    assert "proposed on retrain/auto" in runs[0]["propose"].step("The branches that the decision asks for")["said"]
    for again in runs[1:]:
        assert (again["watch"].result, again["issue"].result) == ("success", "success"), said(again)
        assert (again["collect"].result, again["propose"].result) == ("skipped", "skipped")
        assert "a retraining is open already (#" in again["watch"].step("What follows")["said"]
    assert origin.head("main") == main
    changed = origin.git("diff", "--name-only", "main", "retrain/auto").split()
    assert changed == ["data.dvc", "params.yaml"]
    last = month_before(dt.datetime.now(dt.UTC))
    record = json.loads(runs[0]["collect"].step("All partitions that are due")["said"])
    assert [each["partition"] for each in record["partitions"]] == [f"{month_before(last):%Y-%m}", f"{last:%Y-%m}"]
    here.git("fetch", "-q", "origin")
    before, after = (here.git("show", f"origin/{each}:data.dvc") for each in ("main", "retrain/auto"))
    assert [int(re.search(r"nfiles: (\d+)", each)[1]) for each in (before, after)] == [len(MONTHS), len(MONTHS) + 2]  # type: ignore[index]
    pulls = [each for each in issues(github) if each["pull"]]
    told = [each for each in issues(github) if not each["pull"]]
    assert [each["pull"]["head"] for each in pulls] == ["retrain/auto"]
    assert [(each["state"], each["labels"]) for each in told] == [("open", ["monitoring"])]
    assert "heartbeats/drift.json" in store.keys("heartbeats/")
    kept = [json.loads(store.read(key))["decision"] for key in store.keys("decisions/")]
    assert kept[0] == "retrain"
    assert set(kept[1:]) <= {"wait"}

    shutil.rmtree(place)
    log_of(place, model, sha[1], moved=False)
    pulls[0]["state"] = "closed"
    origin.git("update-ref", "-d", "refs/heads/retrain/auto")
    variables |= {
        "MERGELINE_CLOUD": "ours",
        "AWS_REGION": "us-east-1",
        "AWS_MONITOR_ROLE": "arn:aws:iam::1:role/monitor",
    }
    well = rehearse(
        origin, DRIFT, "schedule", {"repository": HOME}, vars=variables, api=github.url,
        actions={test_rehearsal.ROLE: {"ok": True, "env": cloud}},
    )  # fmt: skip
    assert (well["watch"].result, well["issue"].result) == ("success", "success"), said(well)
    assert well["watch"].step("What follows")["said"].startswith("Wait: no rule asks for anything")
    assert [each["state"] for each in issues(github) if not each["pull"]] == ["closed"]
    assert "retrain/auto" not in origin.git("for-each-ref")
    assert runs[0]["watch"].step("What the alarms of the cloud wait for")["outcome"] == "skipped"
    published = well["watch"].step("What the alarms of the cloud wait for")["said"]
    assert re.fullmatch(
        r"published of \d+ predictions: (LatencyP99 1, ErrorShare 0, )?DriftRuns 1 of [0-9: -]+ UTC\n", published
    )


def test_a_log_without_traffic_is_red_has_no_heartbeat_and_is_told(
    origin: Origin, github: GitHub, tmp_path: Path
) -> None:
    github.hub.add(REPOSITORY, git=str(origin.bare))
    here = origin.clone()
    here.change_params({"decide.rules": RULES})
    here.commit("Rules of our own")
    origin.push(here, "refs/heads/main")
    place = tmp_path / "log"
    jobs = rehearse(origin, DRIFT, "schedule", {"repository": HOME}, vars={"MERGELINE_LOG": str(place)}, api=github.url)
    assert (jobs["watch"].result, jobs["issue"].result) == ("failure", "success"), said(jobs)
    assert jobs["watch"].step("A heartbeat")["outcome"] == "skipped"
    assert not (place / "heartbeats").exists()
    (told,) = issues(github)
    assert "nobody asks" in told["body"]


@pytest.mark.parametrize(("outcome", "code"), [("no data", 1), ("none", 0), ("drift", 0), (None, 0)])
def test_a_window_in_which_the_release_answered_nobody_is_red_and_no_heartbeat_though_drift_is_a_finding(
    tmp_path: Path, outcome: str | None, code: int
) -> None:
    steps = {each["name"]: each for each in yaml.safe_load(DRIFT.read_text())["jobs"]["watch"]["steps"]}
    record = as_record(decide(Evidence(dt.datetime.now(dt.UTC), drift=Drift(outcome)), DecideParams()))
    (tmp_path / "decision").mkdir()
    (tmp_path / "decision/decision.json").write_text(json.dumps(record, indent=2))

    def run(step: str, **names: str) -> int:
        return subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", steps[step]["run"]],
            cwd=tmp_path, env={"PATH": "/usr/bin:/bin", **names}, check=False,
        ).returncode  # fmt: skip

    assert run("Does the release answer") == code
    said = {"DRIFT": "success", "PERFORMANCE": "success", "ANSWERS": "failure" if code else "success"}
    assert run("Both checks ended well, of what the release answers", **said) == code
    assert "steps.answers.outcome == 'success'" in steps["A heartbeat"]["if"]


def test_without_a_partition_the_run_is_red_and_all_but_the_retraining_is_proposed_and_what_is_over_withdrawn(
    origin: Origin, github: GitHub, tmp_path: Path
) -> None:
    github.hub.add(REPOSITORY, git=str(origin.bare))
    github.hub.repository(REPOSITORY)["workflow_permissions"]["can_approve_pull_request_reviews"] = True
    here = origin.clone()
    (here.root / SHARE_FILE).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(TEMPLATE / SHARE_FILE, here.root / SHARE_FILE)
    here.commit("A challenger")
    origin.push(here, "refs/heads/main")
    share = Beside("back off", Action.CHALLENGER_SHARE, "it fails", share=0.05)
    asked = replace(decide(Evidence(dt.datetime.now(dt.UTC)), DecideParams()), action=Action.RETRAIN, rule="r")
    over = Considered("back off", Trigger.PERFORMANCE, Action.CHALLENGER_SHARE, Outcome.NOT, "it holds")

    def run(decision: Decision, *, retrain: bool) -> dict[str, Job]:
        outputs = {"decided": "true", "retrain": str(retrain).lower(), "act": "true"}
        return rehearse(
            origin, DRIFT, "schedule", {"repository": HOME}, vars={"MERGELINE_LOG": str(tmp_path / "log")},
            api=github.url, given={"look": {"result": "success"}, "watch": {"result": "success", "outputs": outputs},
                                   "issue": {"result": "success"}},
            artifacts={"decision": {"decision.json": json.dumps(as_record(decision)).encode()}},
        )  # fmt: skip

    jobs = run(replace(asked, beside=(share,)), retrain=True)
    assert (jobs["collect"].result, jobs["propose"].result) == ("failure", "success"), said(jobs)
    assert "expected predictions, found none" in jobs["collect"].said
    told = jobs["propose"].step("The branches that the decision asks for")["said"]
    assert "data.dvc holds no new partition" in told
    assert "proposed on decide/challenger-share" in told
    (pull,) = issues(github)
    assert (pull["pull"]["head"], pull["state"]) == ("decide/challenger-share", "open")
    assert "retrain/auto" not in origin.git("for-each-ref")

    jobs = run(replace(asked, action=Action.WAIT, considered=(over,)), retrain=False)
    assert (jobs["collect"].result, jobs["propose"].result) == ("skipped", "success"), said(jobs)
    assert "decide/" not in origin.git("for-each-ref")
    assert [each["state"] for each in issues(github)] == ["closed"]


@pytest.mark.parametrize(
    ("decision", "branch", "code"),
    [
        (Action.WAIT, None, 1),
        (Action.WAIT, "retrain/auto", 1),
        (Action.WAIT, "decide/scale-bounds", 0),
        (Action.WAIT, "rollback/production", 0),
        (Action.ROLL_BACK, None, 0),
        (Action.RETRAIN, None, 0),
    ],
)
def test_a_branch_to_push_and_one_to_take_back_are_seen_and_the_twin_a_day_without_either_is_none(
    tmp_path: Path, decision: Action, branch: str | None, code: int
) -> None:
    steps = {each["name"]: each for each in yaml.safe_load(DRIFT.read_text())["jobs"]["watch"]["steps"]}
    record = as_record(replace(decide(Evidence(dt.datetime.now(dt.UTC)), DecideParams()), action=decision))
    (tmp_path / "decision").mkdir()
    (tmp_path / "decision/decision.json").write_text(json.dumps(record, indent=2))
    names = {"PATH": "/usr/bin:/bin", "GIT_CONFIG_GLOBAL": "/dev/null"}

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=tmp_path, env=names, check=False, capture_output=True, text=True)

    run("git", "init", "-q")
    if branch:
        who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        run("git", *who, "commit", "-q", "--allow-empty", "-m", "x")
        assert run("git", "update-ref", f"refs/remotes/origin/{branch}", "HEAD").returncode == 0
    step = steps["Is there a branch to push, or one to take back"]
    assert run("bash", "-e", "-o", "pipefail", "-c", step["run"]).returncode == code
