"""`releases`, `lineage`, `audit` and `dora` on real Git, as a user types them: what they say and what they refuse."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_promotion import ENVIRONMENT, PRODUCTION, STAGING, Clone, make

from mergeline import git
from mergeline.commands import history
from mergeline.commands.promotion import PROMOTION, ROLLBACK, propose_production, rollback
from mergeline.errors import ConfigurationError, MergelineError
from mergeline.git import read_many
from mergeline.release.branch import read_ledger
from mergeline.release.manifests import NO_RELEASE, Release, format_release
from mergeline.release.model import Model, ModelFile
from mergeline.release.receipt import Receipt, format_receipt
from mergeline.release.records import deployments, receipt_of

HOUR = 3600
MONDAY = 1_767_614_400  # 2026-01-05 12:00 UTC
RECEIPT = Path("models/manifest.json")
PARAMS = Path("params.yaml")
METRICS = Path("reports/metrics.json")


def run(root: Path, *arguments: str) -> str:
    """Type a command; what `mergeline.cli` does but for printing."""
    top = argparse.ArgumentParser()
    verbs = top.add_subparsers(required=True)

    def verb(name: str, call: Callable[[argparse.Namespace], str | None], text: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=text, description=text)
        added.set_defaults(run=call, root=root)
        return added

    history.add_verbs(verb)
    parsed = top.parse_args(arguments)
    said: str = parsed.run(parsed)
    return said


def record(root: Path, *arguments: str) -> Any:
    return json.loads(run(root, *arguments))


# ---- A history that is written in one go -----------------------------------------------------------------------------


def model_of(number: int) -> Model:
    return Model.of([ModelFile("model.onnx", hashlib.sha256(f"model {number}".encode()).hexdigest(), number)])


def receipt_text(number: int, training_commit: str | None = None) -> str:
    return format_receipt(
        Receipt(
            model=model_of(number),
            dvc_lock_sha256=f"{number:064x}",
            data={"data": f"{number:032x}.dir"},
            training_commit=training_commit,
            evaluation_sha256=f"{number:064x}",
            champion_sha256=model_of(number - 1).sha256 if number > 1 else None,
        )
    )


def release_of(number: int, receipt: str | None = None, image: str | None = None) -> Release:
    if not number:
        return NO_RELEASE
    text = receipt_text(number) if receipt is None else receipt
    return Release(model_of(number).sha256, "s3://models", hashlib.sha256(text.encode()).hexdigest(), image)


def records_of(number: int, training_commit: str | None = None, sentence: str = "better") -> dict[Path, str]:
    """What one `record` commits: the receipt, its records, and staging's release."""
    receipt = receipt_text(number, training_commit)
    comparison = {
        "verdict": "promote",
        "sentence": sentence,
        "primary": "roc_auc",
        "candidate": {"sha256": model_of(number).sha256},
        "gates": [{"name": "floors", "outcome": "passed"}, {"name": "size", "outcome": "not applicable"}],
    }
    return {
        RECEIPT: receipt,
        PARAMS: f"seed: {number}\n",
        METRICS: json.dumps({"f1": 0.5, "roc_auc": 0.7 + number / 100}),
        Path("reports/comparison.json"): json.dumps(comparison),
        STAGING: format_release(release_of(number, receipt)),
    }


@dataclass
class History:
    """A branch that grows by one commit an hour, written by `git fast-import` when it is asked for."""

    root: Path
    person: str = "a person <person@example.org>"
    stream: list[bytes] = field(default_factory=list)

    def add(self, files: dict[Path, str], message: str = "A change", person: str | None = None) -> None:
        at = MONDAY + len(self.stream) * HOUR
        said = message.encode()
        lines = [
            f"commit refs/heads/main\nauthor {person or self.person} {at} -0330\n".encode(),
            f"committer A Button <noreply@example.org> {at} +0000\ndata {len(said)}\n".encode() + said,
            *(
                f"\nM 100644 inline {path.as_posix()}\ndata {len(text.encode())}\n".encode() + text.encode()
                for path, text in files.items()
            ),
            b"\n\n",
        ]
        self.stream.append(b"".join(lines))

    def write(self) -> Path:
        subprocess.run(["git", "init", "-q", "-b", "main", self.root], env=ENVIRONMENT, check=True)
        self.git("fast-import", "--quiet", content=b"".join(self.stream))
        return self.root

    def git(self, *arguments: str, content: bytes | None = None) -> str:
        done = subprocess.run(
            ["git", "-C", self.root, *arguments], env=ENVIRONMENT, input=content, capture_output=True, check=True
        )
        return done.stdout.decode().strip()


def production(number: int, receipt: str | None = None, image: str | None = None) -> dict[Path, str]:
    return {PRODUCTION: format_release(release_of(number, receipt, image))}


@pytest.fixture
def told(tmp_path: Path) -> History:
    """Models 1 and 2 recorded and promoted, 2 taken back by a revert; model 3 recorded."""
    here = History(tmp_path / "told")
    here.add({STAGING: format_release(NO_RELEASE), PRODUCTION: format_release(NO_RELEASE)}, "The template")
    for number in (1, 2):
        here.add(records_of(number), f"Model {number}")
        here.add(production(number), f"Promote model {number}")
    here.add(production(1), 'Revert "Promote model 2"')
    here.add(records_of(3), "Model 3")
    here.write()
    here.git("tag", "v1.0", "main~4")  # model 1 in production
    here.git("tag", "-a", "-m", "an annotated one", "candidate", "main")
    here.git("tag", "unrelated", "main~6")
    return here


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, "/dev/null")


def short(number: int) -> str:
    return model_of(number).sha256[:12]


# ---- releases --------------------------------------------------------------------------------------------------------


def test_releases_lists_every_release_the_newest_first(told: History) -> None:
    lines = [line.split("  ") for line in run(told.root, "releases").splitlines()]
    rows = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert rows == [
        ["model", "status", "production", "staging", "verdict", "metric", "tags", "image"],
        [short(3), "staging", "–", "since 2026-01-05", "promote", "ROC AUC 0.73", "candidate", "–"],
        [short(1), "production", "since 2026-01-05", "2026-01-05", "promote", "ROC AUC 0.71", "v1.0", "–"],
        [short(2), "rolled back", "2026-01-05", "2026-01-05", "promote", "ROC AUC 0.72", "–", "–"],
    ]


def test_releases_as_json_says_all_that_the_table_says_and_each_deployment(told: History) -> None:
    found = record(told.root, "releases", "--json")
    assert [each["status"] for each in found] == ["staging", "production", "rolled back"]
    second = found[2]
    assert second["environments"] == {"staging": "superseded", "production": "rolled back"}
    assert second["evidence"]["metrics"] == {"f1": 0.5, "roc_auc": 0.72}
    assert second["evidence"]["gates"] == {"passed": 1, "not applicable": 1}
    assert second["evidence"]["commit"] == told.git("rev-parse", "main~3")
    assert [(each["environment"], each["what"], each["at"]) for each in second["deployments"]] == [
        ("staging", "promoted", "2026-01-05T15:00:00+00:00"),
        ("production", "promoted", "2026-01-05T16:00:00+00:00"),
    ]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["--status", "rolled back"], [2]),
        (["--status", "production"], [1]),
        (["--tag", "v1*"], [1]),
        (["--tag", "unrelated"], []),
        (["--metric", "roc_auc>=0.72"], [3, 2]),
        (["--metric", "roc_auc>=0.72", "--metric", "roc_auc<0.73"], [2]),
        (["--metric", "roc_auc>=0.72", "--status", "staging"], [3]),
    ],
)
def test_releases_are_filtered_in_the_table_and_in_json_alike(
    told: History, filters: list[str], expected: list[int]
) -> None:
    models = [model_of(number).sha256 for number in expected]
    assert [each["model_sha256"] for each in record(told.root, "releases", "--json", *filters)] == models
    said = run(told.root, "releases", *filters)
    assert [line[:12] for line in said.splitlines()[1:]] == [model[:12] for model in models]
    assert models or said == "no release fits"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--status", "live"], "--status: expected one of production"),
        (["--metric", "roc_auc"], "--metric: expected a metric, one of"),
        (["--metric", "auc>0.5"], "no release has 'auc', expected one of f1, roc_auc"),
        (["abcd", "--tag", "v1.0"], "expected a RELEASE or filters, found both"),
        (["ffffffff"], "no release of staging or production begins so"),
        (["main"], "expected 4 or more digits"),
        (["--ref", "nowhere"], "--ref: 'nowhere' is no branch or commit here"),
        (["--ref=--all"], "--ref: '--all' is no branch or commit here"),
    ],
)
def test_what_cannot_be_answered_is_one_line_and_exit_code_2(told: History, arguments: list[str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        run(told.root, "releases", *arguments)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_one_release_is_shown_with_its_lineage_by_model_or_by_commit(told: History) -> None:
    by_model = run(told.root, "releases", model_of(2).sha256[:8])
    assert by_model == run(told.root, "releases", told.git("rev-parse", "main~2"))
    for expected in (f"model       {model_of(2).sha256}", "status      rolled back", "verdict     promote: better"):
        assert expected in by_model
    found = record(told.root, "releases", model_of(2).sha256, "--json")
    assert found["lineage"] == record(told.root, "lineage", model_of(2).sha256)


def test_an_empty_repository_and_one_without_a_release_are_told_apart(tmp_path: Path) -> None:
    here = History(tmp_path / "empty")
    here.add({STAGING: format_release(NO_RELEASE)}, "The template")
    here.write()
    assert run(here.root, "releases") == "no release yet"
    assert record(here.root, "releases", "--json") == []
    assert run(here.root, "audit") == "nothing was promoted or taken back"
    with pytest.raises(ConfigurationError, match="neither production nor staging"):
        run(here.root, "lineage")
    unborn = History(tmp_path / "unborn").write()
    with pytest.raises(ConfigurationError, match="there is no commit yet"):
        run(unborn, "releases")
    with pytest.raises(ConfigurationError, match="not a git repository"):
        run(tmp_path, "releases")


def test_a_part_of_a_history_is_refused(told: History, tmp_path: Path) -> None:
    url = f"file://{told.root}"
    subprocess.run(["git", "clone", "-q", "--depth", "2", url, tmp_path / "shallow"], env=ENVIRONMENT, check=True)
    with pytest.raises(ConfigurationError, match="git fetch --unshallow"):
        run(tmp_path / "shallow", "releases")


def test_the_base_branch_is_read_and_not_what_is_checked_out(told: History, tmp_path: Path) -> None:
    subprocess.run(["git", "clone", "-q", told.root, tmp_path / "clone"], env=ENVIRONMENT, check=True)
    own = Clone(tmp_path / "clone")
    own.git("checkout", "-q", "-b", "retrain")
    (own.root / STAGING).write_text(format_release(release_of(9)))
    own.git("commit", "-q", "-a", "-m", "Not merged")
    assert len(record(own.root, "releases", "--json")) == 3
    assert len(record(own.root, "releases", "--json", "--ref", "retrain")) == 4
    assert record(own.root, "dora", "--json")["ref"] == "origin/main"


def test_a_template_in_a_folder_of_a_larger_repository_is_read_there(tmp_path: Path) -> None:
    here = History(tmp_path / "large")
    here.add({Path("model") / path: text for path, text in records_of(1).items()}, "Model 1")
    here.write()
    here.git("checkout", "-q", "main", "--", ".")
    assert record(here.root / "model", "releases", "--json")[0]["evidence"]["metrics"]["roc_auc"] == 0.71


# ---- lineage ---------------------------------------------------------------------------------------------------------


def test_lineage_names_what_the_model_was_made_from(tmp_path: Path) -> None:
    here = History(tmp_path / "here")
    here.add({Path("train.py"): "pass\n"}, "Better features")
    here.write()
    trained = here.git("rev-parse", "main")
    here.stream = here.stream[:1]
    here.add(records_of(1, trained), "Model 1")
    here.add(production(1, receipt_text(1, trained)), "Promote model 1")
    root = History(tmp_path / "again", stream=here.stream).write()
    found = record(root, "lineage")
    nodes = {node["kind"]: node for node in reversed(found["nodes"])}
    assert found["release"] == model_of(1).sha256
    assert nodes["code"]["commit"] == trained
    assert nodes["code"]["authored_at"] == "2026-01-05T08:30:00-03:30"
    assert nodes["data"]["md5"] == f"{1:032x}.dir"
    assert nodes["parameters"]["sha256"] == hashlib.sha256(b"seed: 1\n").hexdigest()
    assert nodes["deployment"]["author"] == "a person"
    dora = record(root, "dora", "--json")
    assert dora["lead_time"] == {"median_s": 2.0 * HOUR, "n": 1, "without": {}}


def test_lineage_as_a_picture_and_as_events(told: History) -> None:
    picture = run(told.root, "lineage", model_of(2).sha256, "--format", "mermaid")
    assert picture.startswith("flowchart LR\n")
    assert f"model {short(2)}" in picture
    lines = run(told.root, "lineage", "--format", "openlineage", "--namespace", "team").splitlines()
    events = [json.loads(line) for line in lines]
    assert {event["job"]["namespace"] for event in events} == {"team"}
    assert events[0]["eventTime"] == "2026-01-05T09:30:00-03:30"  # when the record was written
    with pytest.raises(ConfigurationError, match="--namespace: expected one line"):
        run(told.root, "lineage", "--format", "openlineage", "--namespace", "a\nb")


# ---- audit -----------------------------------------------------------------------------------------------------------


def test_audit_says_who_did_what_on_which_evidence(told: History) -> None:
    found = record(told.root, "audit", "--json")
    assert [(each["environment"], each["what"]) for each in found] == [
        *(("staging", "promoted"), ("production", "took back")),
        *(("production", "promoted"), ("staging", "promoted")),
        *(("production", "promoted"), ("staging", "promoted")),
    ]
    back = found[1]
    assert (back["from"], back["to"]) == (model_of(2).sha256, model_of(1).sha256)
    assert (back["author"], back["email"]) == ("a person", "person@example.org")
    assert back["took_back"] == [told.git("rev-parse", "main~2")]
    assert back["evidence"]["sentence"] == "better"
    assert back["receipt_sha256"] == release_of(1).receipt_sha256
    said = run(told.root, "audit").split("\n\n")[1].splitlines()
    assert said == [
        f"2026-01-05 17:00 +0000  production: took back {short(2)}, to {short(1)}",
        "  by       a person <person@example.org>",
        f'  commit   {back["commit"][:12]} Revert "Promote model 2"',
        f"  undoes   {back['took_back'][0][:12]}",
        "  verdict  promote: better",
        "  gates    1 passed, 1 not applicable",
        f"  receipt  {str(back['receipt_sha256'])[:12]}, brought by commit {told.git('rev-parse', 'main~5')[:12]}",
    ]


def test_audit_begins_on_the_day_that_is_named(told: History) -> None:
    assert len(record(told.root, "audit", "--json", "--since", "2026-01-05")) == 6
    assert run(told.root, "audit", "--since", "2026-01-06") == "nothing was promoted or taken back since 2026-01-06"


ODD = "\x1b[31m\u202eevil\u200b"


def shown(said: str) -> str:
    """What a reader of the text, or of each record of JSON in it, gets to see."""
    try:
        return json.dumps(json.loads(said), ensure_ascii=False).replace("\\u001b", "\x1b")
    except ValueError:
        return "\n".join(map(shown, said.splitlines())) if said.startswith("{") else said


def test_the_twin_an_escape_in_a_record_is_shown_for_what_it_is() -> None:
    assert shown(json.dumps({"author": "\u202e\x1b"})) == '{"author": "\u202e\x1b"}'
    assert shown('{"a": "\\u202e"}\n{"a": "\\u200b"}') == '{"a": "\u202e"}\n{"a": "\u200b"}'


def test_text_of_git_and_of_records_reaches_no_terminal_as_it_is(tmp_path: Path) -> None:
    here = History(tmp_path / "odd")
    records = {**records_of(1, sentence=f"{ODD}\nverdict reject"), METRICS: json.dumps({ODD: 0.5})}
    here.add(records, f"{ODD} Model 1", person=f"{ODD} <{ODD}@example.org>")
    here.add(production(1), f"Promote\r{ODD}")
    root = here.write()
    here.git("tag", "v\u202eevil", "main")
    for arguments in (
        *(["releases"], ["releases", "--json"], ["releases", model_of(1).sha256], ["audit"], ["audit", "--json"]),
        *(["lineage"], ["lineage", "--format", "mermaid"], ["lineage", "--format", "openlineage"], ["dora"]),
    ):
        said = shown(run(root, *arguments))
        assert "evil" in said or "dora" in arguments
        assert not set("\x1b\u202e\u200b\r") & set(said), arguments
    with pytest.raises(ConfigurationError) as caught:
        run(root, "releases", "--metric", "f1>0")
    assert "\x1b" not in str(caught.value)
    assert "evil Model 1" in run(root, "audit")
    assert "verdict  promote: [31mevil verdict reject" in run(root, "audit")


# ---- dora ------------------------------------------------------------------------------------------------------------


def test_dora_reads_production_alone(told: History) -> None:
    found = record(told.root, "dora", "--json")
    assert found["change_failure_rate"] == {"rate": 0.5, "failed": 1, "n": 2}
    assert found["time_to_restore"] == {"median_s": float(HOUR), "n": 1, "recoveries": 1}
    assert found["deployment_frequency"]["between"] == {"median_s": 2.0 * HOUR, "n": 1}
    assert found["lead_time"] == {"median_s": None, "n": 0, "without": {"no training commit is named": 2}}
    assert "change failure rate    50.0% (1 of 2 taken back)" in run(told.root, "dora")


@pytest.mark.parametrize("days", ["0", "-1", "99999999"])
def test_dora_refuses_a_period_that_is_none(told: History, days: str) -> None:
    with pytest.raises(ConfigurationError, match="--days: expected 1 to"):
        run(told.root, "dora", "--days", days)


# ---- Against what the other verbs do ---------------------------------------------------------------------------------


def test_a_real_promotion_and_a_real_rollback_are_told_as_what_they_were(tmp_path: Path) -> None:
    here = make(tmp_path)
    trained = here.git("rev-parse", "HEAD")
    for number in (1, 2):
        here.write(records_of(number, trained), f"Model {number}")
        propose_production(here.root, "origin")
        assert here.merge(PROMOTION)
    rollback(here.root, "origin", None)
    assert here.merge(ROLLBACK)
    found = record(here.root, "releases", "--json")
    assert [(each["model_sha256"], each["status"]) for each in found] == [
        (model_of(1).sha256, "production"),
        (model_of(2).sha256, "rolled back"),
    ]
    assert [each["what"] for each in record(here.root, "audit", "--json")[:2]] == ["took back", "promoted"]
    dora = record(here.root, "dora", "--json")
    assert (dora["lead_time"]["n"], dora["change_failure_rate"]["failed"]) == (2, 1)
    here.write({PRODUCTION: format_release(NO_RELEASE)}, "The end of the service")
    assert record(here.root, "releases", "--json")[0]["status"] == "withdrawn"


@settings(max_examples=8, suppress_health_check=list(HealthCheck), deadline=None)
@given(numbers=st.lists(st.integers(-1, 3), max_size=8))
def test_the_ledger_reads_the_deployments_and_receipts_that_the_other_verbs_read(
    numbers: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """0 is no release, -1 a file that cannot be read; comments and order of a file do not matter."""
    here = History(tmp_path_factory.mktemp("same") / "here")
    here.add({Path("README.md"): "#\n"})
    for at, number in enumerate(numbers):
        here.add(records_of(max(number, 1)))
        text = "replicas: 9\n" if number < 0 else f"# by hand {at}\n{format_release(release_of(number))}"
        here.add({PRODUCTION: text})
    root = here.write()
    ledger = read_ledger(root, None)
    for path in (STAGING, PRODUCTION):
        expected = deployments(root, ledger.commit, path)
        of_this = [each.deployment for each in ledger.events if each.deployment.environment == path.parent.name]
        assert of_this == list(expected)
        for each in expected:
            receipt, commit = receipt_of(root, ledger.commit, each.release)
            evidence = ledger.evidence_of(each.release)
            assert (evidence.receipt, evidence.commit) == (receipt, commit) if evidence else receipt is None


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        ("# What runs", "# What ran", ["staging"]),
        ("kind: Deployment", "kind: Job", []),
        ("      containers:", "      hostNetwork: true\n      containers:", []),
    ],
)
def test_a_file_that_holds_more_than_a_release_never_was_one(
    old: str, new: str, status: list[str], tmp_path: Path
) -> None:
    here = History(tmp_path / "more")
    text = format_release(release_of(1))
    assert old in text
    here.add({STAGING: text.replace(old, new, 1)})
    assert [each["status"] for each in record(here.write(), "releases", "--json")] == status


def test_a_receipt_that_cannot_be_read_is_no_evidence_and_no_failure(tmp_path: Path) -> None:
    here = History(tmp_path / "broken")
    broken = "{not a receipt\n"
    here.add({RECEIPT: broken, STAGING: format_release(release_of(1, broken))}, "Broken")
    (found,) = record(here.write(), "releases", "--json")
    assert (found["status"], found["evidence"]) == ("staging", None)


# ---- However long ----------------------------------------------------------------------------------------------------


def processes(root: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many processes a ledger takes to read."""
    started: list[Sequence[str]] = []
    start = subprocess.run

    def counted(command: Sequence[str], **more: Any) -> Any:
        started.append(command)
        return start(command, **more)

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "run", counted)
        read_ledger(root, None)
    return len(started)


def long_history(place: Path, models: int) -> Path:
    here = History(place)
    for number in range(1, models + 1):
        here.add(records_of(number))
        here.add({Path("README.md"): f"{number}\n"}, "Docs")
        here.add(production(number), f"Promote {number}")
    return here.write()


def test_a_longer_history_takes_no_more_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short_one, long_one = (long_history(tmp_path / str(models), models) for models in (2, 60))
    assert len(read_ledger(long_one, None).events) == 120
    assert processes(long_one, monkeypatch) == processes(short_one, monkeypatch) <= 20


def test_the_twin_one_process_a_file_grows_with_the_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def one_by_one(root: Path, names: Sequence[str], kind: str = "blob") -> dict[str, bytes | None]:
        return {name: read_many(root, [name], kind)[name] for name in names}

    short_one, long_one = (long_history(tmp_path / str(models), models) for models in (2, 12))
    monkeypatch.setattr(git, "read_many", one_by_one)
    assert processes(long_one, monkeypatch) > processes(short_one, monkeypatch) + 20


def test_objects_are_read_as_they_are_and_what_is_none_is_none(told: History) -> None:
    commit = told.git("rev-parse", "main")
    told.git("checkout", "-q", "main", "--", ".")
    names = [f"{commit}:./{STAGING}", f"{commit}:./missing", f"{commit}:./k8s", "f" * 40, commit]
    found = read_many(told.root, names)
    assert found[names[0]] == (told.root / STAGING).read_bytes()
    assert [found[name] for name in names[1:]] == [None] * 4
    assert (read_many(told.root, [commit], "commit")[commit] or b"").startswith(b"tree ")
    assert read_many(told.root, []) == {}
    with pytest.raises(MergelineError, match="git cat-file: fatal"):
        read_many(told.root / "nowhere", [commit])
    assert os.environ["GIT_CONFIG_GLOBAL"] == "/dev/null"
