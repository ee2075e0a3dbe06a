"""Long training as a Job: what the cluster gets, what its pod does, and that the pull request then trains nothing."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from kube_api import Server, served
from kube_jobs import Jobs, Run, run_as_process
from kube_manifests import K8S, Object, one, render
from kube_policy import POLICIES, confined, restricted
from repositories import Repository, bare_environment, commit
from test_kubernetes import objections
from tools import tool
from warm import start as warm
from warm.client import VARIABLE

from mergeline.commands.training_job import PINS, here
from mergeline.errors import ConfigurationError, ServiceError, VerificationError
from mergeline.layout import LOCK, RECORDS
from mergeline.training_job.cluster import Kubectl
from mergeline.training_job.handover import Handover, open_handover
from mergeline.training_job.manifest import Named, Wanted, filled

IMAGE = "ghcr.io/owner/trainer@sha256:" + "7" * 64
NAMESPACE = "mergeline-training"
COMMIT, BASE = "a" * 40, "b" * 40
WANTED = Wanted(COMMIT, BASE, f"s3://team/jobs/{COMMIT}/branch.bundle", "s3://team/jobs", IMAGE)


@pytest.fixture(scope="module")
def place() -> list[Object]:
    """Where Jobs run, as an administrator applies it."""
    return render(K8S / "training")


@pytest.fixture(scope="module")
def job() -> Object:
    """The Job of a commit."""
    return filled(render(K8S / "training/job"), WANTED)


def variables(job: Object) -> dict[str, str]:
    [container] = job["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each["value"] for each in container["env"]}


# ---- What the cluster is given ---------------------------------------------------------------------------------------


def test_kubernetes_accepts_the_place_and_the_job(place: list[Object], job: Object) -> None:
    assert {each["kind"] for each in place} == {
        *("Namespace", "ServiceAccount", "NetworkPolicy", "ResourceQuota", "Role", "RoleBinding"),
    }
    assert [said for each in [*place, job] for said in objections(each)] == []


def test_the_twin_a_job_with_a_field_that_is_not_known_is_refused(job: Object) -> None:
    planted = copy.deepcopy(job)
    planted["spec"]["activeDeadlineSecond"] = 60
    assert any("activeDeadlineSecond" in said for said in objections(planted))


def test_s9_the_pod_is_restricted_and_the_namespace_enforces_it(place: list[Object], job: Object) -> None:
    template = job["spec"]["template"]
    assert [*restricted(template), *confined(template)] == []
    labels = one(place, "Namespace", NAMESPACE)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    for which, value in (("runAsUser", 0), ("runAsNonRoot", False)):
        planted = copy.deepcopy(template)
        planted["spec"]["securityContext"][which] = value
        assert "the pod: runs as root" in [*restricted(planted)]


def test_a_job_ends_and_goes_and_is_tried_again_only_for_what_may_pass(job: Object) -> None:
    spec = job["spec"]
    assert 0 < spec["activeDeadlineSeconds"] <= 6 * 3600  # what GitHub gives the job that waits
    assert spec["ttlSecondsAfterFinished"] > 0
    assert spec["template"]["spec"]["restartPolicy"] == "Never"  # as a podFailurePolicy needs
    disrupted, refused = spec["podFailurePolicy"]["rules"]
    assert disrupted == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert refused["onExitCodes"] == {"containerName": "trainer", "operator": "NotIn", "values": [7]}


def test_a_job_waits_for_the_nodes_that_take_nothing_else(job: Object) -> None:
    pod = job["spec"]["template"]["spec"]
    cluster = (K8S.parent / "terraform/cluster.tf").read_text()
    [toleration] = pod["tolerations"]
    assert f'taints   = ["{toleration["key"]}"]' in cluster
    (label,) = pod["nodeSelector"]
    assert f'labels          = {{ "{label}" = each.key }}' in cluster


def test_only_names_credentials_and_https_go_out(place: list[Object]) -> None:
    found = {each["metadata"]["name"]: each["spec"] for each in place if each["kind"] == "NetworkPolicy"}
    assert found["deny-all"] == POLICIES["deny-all"]
    assert "ingress" not in found["trainer"]
    assert found["trainer"]["egress"] == POLICIES["mergeline"]["egress"]


def test_the_policy_is_of_the_pods_that_the_job_makes(place: list[Object], job: Object) -> None:
    [policy] = [each for each in place if each["metadata"]["name"] == "trainer" and each["kind"] == "NetworkPolicy"]
    selector = policy["spec"]["podSelector"]["matchLabels"].items()
    assert selector <= job["spec"]["template"]["metadata"]["labels"].items()
    assert job["metadata"]["namespace"] == policy["metadata"]["namespace"] == NAMESPACE


def test_who_starts_jobs_cannot_change_what_binds_them(place: list[Object]) -> None:
    rules = one(place, "Role", "training-jobs")["rules"]
    changed = {
        resource for rule in rules for resource in rule["resources"] if set(rule["verbs"]) - {"get", "list", "watch"}
    }
    assert changed == {"jobs"}
    account = one(place, "ServiceAccount", "trainer")
    assert account["automountServiceAccountToken"] is False
    assert all(each["kind"] == "Group" for each in one(place, "RoleBinding", "training-jobs")["subjects"])


def test_the_commit_names_the_job_and_reaches_its_pod(job: Object) -> None:
    assert job["metadata"]["name"] == f"train-{COMMIT}"
    found = variables(job)
    assert (found["COMMIT"], found["BASE"]) == (COMMIT, BASE)
    assert (found["BUNDLE"], found["MERGELINE_JOBS"]) == (WANTED.bundle, WANTED.jobs)
    longer = filled([job], Wanted(COMMIT, None, "b", "j", IMAGE, 60))
    assert longer["spec"]["activeDeadlineSeconds"] == 60
    assert variables(longer)["BASE"] == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(lambda job: job["spec"].pop("activeDeadlineSeconds"), "would never end", id="no deadline"),
        pytest.param(lambda job: job["metadata"].pop("namespace"), "namespace", id="no namespace"),
        pytest.param(lambda job: job.update(kind="CronJob"), "one kind Job, found 0", id="another kind"),
        pytest.param(
            lambda job: job["spec"]["template"]["spec"]["containers"][0].update(name="other"),
            "one name trainer, found 0",
            id="another container",
        ),
    ],
)
def test_a_manifest_that_is_no_training_job_is_refused(job: Object, change: Callable[[Any], Any], said: str) -> None:
    planted = copy.deepcopy(job)
    change(planted)
    with pytest.raises(ConfigurationError, match=said):
        filled([planted], WANTED)


def test_an_image_without_a_digest_is_refused(job: Object) -> None:
    with pytest.raises(ConfigurationError, match="--image: expected NAME@sha256:DIGEST"):
        filled([job], Wanted(COMMIT, None, "b", "j", "ghcr.io/owner/trainer:latest"))


# ---- A team and its cluster ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Team:
    """A checkout whose DVC remote both sides reach, and a cluster that `kubectl` finds by KUBECONFIG."""

    here: Repository
    cluster: Jobs
    server: Server
    pods: list[str] = field(default_factory=list)

    @property
    def jobs(self) -> Path:
        return self.here.root.parent / "jobs"

    @property
    def commit(self) -> str:
        return self.here.tool("git", "rev-parse", "HEAD").stdout.strip()

    def train(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Have the commit trained, as a workflow's step does."""
        given = ("--image", IMAGE, "--manifests", str(K8S / "training/job"), *arguments)
        home = self.here.root.parent
        own = {"KUBECONFIG": str(home / "kubeconfig"), "HOME": str(home), "MERGELINE_JOBS": str(self.jobs)}
        environment = {**self.here.environment(), **own}
        return warm.run(("training-job", *given), self.here.root, environment)

    def kubectl(self, *arguments: str, content: str) -> None:
        """Run kubectl as a person does."""
        [program] = tool("kubectl")
        environment = os.environ | {"KUBECONFIG": str(self.here.root.parent / "kubeconfig")}
        subprocess.run(
            [program, *arguments], env=environment, input=content, text=True, check=True, capture_output=True
        )

    def change(self, **params: Any) -> None:
        """Commit other settings."""
        self.here.change_params({name.replace("__", "."): value for name, value in params.items()})
        commit(self.here, "Try something")

    def pod(self, job: Object) -> tuple[int, str]:
        """Run the Job's command as a process, in an empty folder and with nothing but what the image has."""
        folder = self.here.root.parent / f"pod-{len(self.pods) + 1}"
        self.pods.append(job["metadata"]["name"])
        tools = warm._started()
        environment = bare_environment(folder.with_name("nowhere"))
        environment |= {VARIABLE: str(tools / "socket"), "PATH": f"{tools}{os.pathsep}{environment['PATH']}"}
        return run_as_process(job, folder, environment)

    def started(self) -> int:
        """How often a Job was created."""
        return sum(each.method == "PATCH" and each.status == 201 for each in self.server.asked if "/jobs/" in each.path)


def play(team: Team, runs: Run) -> None:
    team.cluster.runs = runs


@pytest.fixture(scope="module")
def shared(ran: Repository, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository that ran, whose data lie in a DVC remote that both sides reach."""
    here = ran.copy_to(tmp_path_factory.mktemp("shared") / "repository")
    assert here.run("remote", str(here.root.parent / "remote")).returncode == 0
    pushed = here.tool("dvc", "push", "--quiet")
    assert pushed.returncode == 0, pushed.stderr
    commit(here, "A remote for all")
    here.tool("git", "update-ref", "refs/remotes/origin/main", "HEAD")
    return here


@pytest.fixture
def team(shared: Repository, tmp_path: Path) -> Iterator[Team]:
    tool("kubectl")
    cluster = Jobs(objections)
    cluster.objects["Namespace", None, NAMESPACE] = {"kind": "Namespace", "metadata": {"name": NAMESPACE}}
    with served(cluster) as server:
        _kubeconfig(tmp_path / "kubeconfig", server.url)
        team = Team(shared.copy_to(tmp_path / "repository"), cluster, server)
        cluster.runs = team.pod
        yield team


def _kubeconfig(path: Path, url: str) -> None:
    cluster = {"name": "c", "cluster": {"server": url}}
    context = {"name": "c", "context": {"cluster": "c", "user": ""}}
    whole = {"apiVersion": "v1", "kind": "Config", "clusters": [cluster], "contexts": [context]}
    path.write_text(json.dumps({**whole, "current-context": "c"}))


def test_what_the_job_trained_a_pull_request_does_not_train_again(team: Team, tmp_path: Path) -> None:
    """The Job's own command runs as a process in an empty folder; a fresh clone then runs no stage. And the twin."""
    team.change(train__hist_gradient_boosting={"iterations": 21, "leaves": 8})
    clone = Repository(tmp_path / "clone")
    subprocess.run(["git", "clone", "-q", team.here.root, clone.root], env=team.here.environment(), check=True)
    done = team.train()
    assert done.returncode == 0, done.stderr
    assert f"{team.commit}: trained by Job train-{team.commit}" in done.stdout
    assert team.pods == [f"train-{team.commit}"]
    assert list(team.jobs.glob("*/*")) == [team.jobs / team.commit / "results.json"]  # the bundle is gone

    asked = len(team.server.asked)
    fresh = Team(clone, team.cluster, team.server)
    again = fresh.train()
    assert "trained by an earlier Job" in again.stdout, again.stderr
    assert len(team.server.asked) == asked
    assert not (clone.root / "data").exists()
    for verb in (("pull",), ("repro", "--pull", "--no-track")):
        ran = clone.run(*verb)
        assert ran.returncode == 0, ran.stderr
    assert "ran      nothing" in ran.stdout

    clone.change_params({"train.hist_gradient_boosting": {"iterations": 22, "leaves": 8}})
    assert "ran      train" in clone.run("repro", "--pull", "--no-track").stdout


def test_what_ran_before_a_stage_failed_is_kept_and_the_stages_exit_code_comes_back(team: Team) -> None:
    pipeline = team.here.root / "dvc.yaml"
    pipeline.write_text(pipeline.read_text().replace("cmd: mergeline compare", "cmd: exit 4"))
    team.change(train__hist_gradient_boosting={"iterations": 23, "leaves": 8})
    done = team.train()
    assert done.returncode == 4, done.stderr
    assert "failed to reproduce 'compare'" in done.stderr  # the pod's log
    assert team.cluster.find("Job", NAMESPACE, f"train-{team.commit}")["status"]["conditions"][0]["reason"] == (
        "PodFailurePolicy"
    )
    assert len(team.pods) == 1  # a stage that refused is not asked again
    assert team.train().stdout == f"{team.commit}: its model is made, no Job\n"
    ran = team.here.run("repro", "--pull", "--no-track")
    assert ran.returncode == 4
    assert "'train' didn't change" in ran.stderr


def test_a_commit_that_is_trained_starts_nothing(team: Team) -> None:
    done = team.train()
    assert (done.returncode, done.stdout) == (0, f"{team.commit}: its model is made, no Job\n"), done.stderr
    assert team.server.asked == []


def test_a_second_call_finds_the_job_that_runs(team: Team) -> None:
    """Whoever started it may have been killed. And a Job that ends well and leaves nothing has not done its part."""
    team.change(train__seed=1)
    ends = threading.Event()
    play(team, lambda job: (int(not ends.wait(30)), ""))
    printed = team.train("--print")
    assert printed.returncode == 0, printed.stderr
    assert team.server.asked == []
    team.kubectl("apply", "--server-side", "-f", "-", content=printed.stdout)
    assert team.started() == 1
    threading.Timer(3, ends.set).start()
    done = team.train()
    assert f"train-{team.commit}: found" in done.stderr
    assert team.started() == 1
    assert done.returncode == 7
    assert "ended well and left no model" in done.stderr


@pytest.mark.parametrize(
    ("ended", "tries", "code", "said"),
    [
        pytest.param(None, 1, 7, "not done after 14400 s; `--minutes` gives it more", id="past its deadline"),
        pytest.param((3, "validate: refused"), 1, 3, "validate: refused", id="the data"),
        pytest.param((7, "no answer"), 3, 7, "BackoffLimitExceeded, exit code 7", id="a service, tried again"),
        pytest.param((137, ""), 1, 7, "killed, most often for memory", id="killed"),
    ],
)
def test_a_job_that_fails_says_why(ended: tuple[int, str] | None, tries: int, code: int, said: str, team: Team) -> None:
    team.change(train__seed=1)
    played: list[str] = []

    def plays(job: Object) -> tuple[int, str] | None:
        played.append(job["metadata"]["name"])
        return ended

    play(team, plays)
    done = team.train()
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert len(played) == tries
    assert not list(team.jobs.glob("*/*"))
    play(team, lambda job: None)
    assert "ended before" in team.train().stderr  # whoever asks again wants another try
    assert team.started() == 2


def test_a_cluster_that_does_not_answer_is_an_outside_service(team: Team) -> None:
    team.change(train__seed=1)
    _kubeconfig(team.here.root.parent / "kubeconfig", "http://127.0.0.1:9")
    done = team.train()
    assert done.returncode == 7
    assert done.stderr.startswith("mergeline: kubectl get: ")
    assert len(done.stderr.splitlines()) == 1


NAMED = Named(NAMESPACE, "train-1", 0)


def test_a_job_that_the_cluster_never_ends_is_given_up(team: Team) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(team.here.root.parent / "kubeconfig"))
        job = filled(render(K8S / "training/job"), WANTED)
        play(team, lambda job: (int(threading.Event().wait(20)), ""))
        kubectl = Kubectl(every_s=0.01, tries=2, slack_s=0)
        kubectl.start(job)
        found = Named(NAMESPACE, f"train-{COMMIT}", 0)
        with pytest.raises(ServiceError, match="not ended by the cluster, past its deadline of 0 s"):
            kubectl.wait(found)
        kubectl.remove(found)
        with pytest.raises(ServiceError, match="taken away by somebody"):
            kubectl.wait(found)
    with pytest.raises(ConfigurationError, match="not installed"):
        Kubectl(program="kubectl-of-nobody").find(NAMED)


# ---- What is handed over ---------------------------------------------------------------------------------------------


def test_a_bundle_of_another_commit_is_refused_before_anything_runs(job: Object, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "other")
    repository.root.mkdir()
    repository.tool("git", "init", "-q", "-b", "main")
    for name in ("user.name", "user.email"):
        repository.tool("git", "config", name, "tests")
    (repository.root / "src/mergeline").mkdir(parents=True)
    (repository.root / "src/mergeline/__init__.py").write_text("")
    (repository.root / "src/mergeline/__main__.py").write_text("import sys\nprint('the branch runs', *sys.argv[1:])\n")
    commit(repository, "one")
    base = repository.tool("git", "rev-parse", "HEAD").stdout.strip()
    (repository.root / "more").write_text("")
    commit(repository, "two")
    sha = repository.tool("git", "rev-parse", "HEAD").stdout.strip()
    handover = open_handover(str(tmp_path / "jobs"), repository.root, sha)
    handover.send(repository.root, base)
    tools = tmp_path / "bin"  # as the image has it: the branch's code is what runs
    tools.mkdir()
    (tools / "mergeline").write_text('#!/bin/sh\nexec python -m mergeline "$@"\n')
    (tools / "mergeline").chmod(0o755)
    environment = bare_environment(tmp_path)
    environment["PATH"] = f"{tools}{os.pathsep}{environment['PATH']}"
    ours = filled([job], Wanted(sha, base, handover.bundle, "j", IMAGE))
    assert run_as_process(ours, tmp_path / "1", environment) == (
        0,
        f"the branch runs training-job --here --base {base}\n",
    )
    other = filled([job], Wanted(COMMIT, base, handover.bundle, "j", IMAGE))
    code, said = run_as_process(other, tmp_path / "2", environment)
    assert code == 6
    assert "the branch runs" not in said
    missing = filled([job], Wanted(sha, base, f"{handover.bundle}.gone", "j", IMAGE))
    assert run_as_process(missing, tmp_path / "3", environment)[0] == 7


@pytest.fixture
def left(tmp_path: Path) -> Handover:
    """What a Job left for a commit."""
    (tmp_path / "pod").mkdir()
    (tmp_path / "pod" / LOCK).write_text("schema: '2.0'\n")
    handover = open_handover(str(tmp_path / "jobs"), tmp_path / "pod", COMMIT)
    handover.leave(tmp_path / "pod")
    return handover


def test_results_come_back_by_the_list_of_records(left: Handover, tmp_path: Path) -> None:
    assert left.take(tmp_path / "here") is True
    assert (tmp_path / "here" / LOCK).read_text() == "schema: '2.0'\n"
    assert Handover(left.store, BASE).take(tmp_path / "there") is False


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param({"commit": BASE, "files": {}}, f"are those of {BASE}", id="another commit's"),
        pytest.param({"commit": COMMIT, "files": {"src/mergeline/cli.py": ""}}, "src/mergeline/cli.py", id="code"),
        pytest.param({"commit": COMMIT, "files": {"../dvc.lock": ""}}, "../dvc.lock", id="elsewhere"),
        pytest.param({"commit": COMMIT, "files": {"dvc.lock": 1}}, "hold more than records", id="no text"),
        pytest.param({"commit": COMMIT}, "cannot be read", id="no files"),
        pytest.param([], "cannot be read", id="no record"),
    ],
)
def test_other_results_are_refused(content: Any, said: str, left: Handover, tmp_path: Path) -> None:
    left.store.put(f"{COMMIT}/results.json", json.dumps(content).encode())
    with pytest.raises(VerificationError, match=re.escape(said)):
        left.take(tmp_path / "here")
    assert not (tmp_path / "here").exists()


def test_every_record_is_one_that_record_commits() -> None:
    assert {"dvc.lock", "models/manifest.json"} <= {path.as_posix() for path in RECORDS}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(("--jobs", ".mergeline/jobs"), "a folder of this checkout, which no pod reaches", id="folder"),
        pytest.param(("--jobs", "gs://team"), "begins with gs:", id="address"),
        pytest.param(("--image", "trainer:1"), "expected NAME@sha256:DIGEST", id="image"),
        pytest.param(("--manifests", "k8s/none"), "no such folder", id="manifests"),
        pytest.param(("--base", "nobody"), "--base: 'nobody' is no branch", id="base"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(arguments: tuple[str, ...], said: str, team: Team) -> None:
    team.change(train__seed=1)
    done = team.train(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert team.server.asked == []


def test_a_change_that_is_not_committed_is_not_left_behind_in_silence(team: Team) -> None:
    team.here.change_params({"train.seed": 1})
    done = team.train()
    assert (done.returncode, done.stderr.split(";")[0]) == (2, "mergeline: params.yaml: not committed as it is")


def test_an_image_of_other_pins_trains_nothing(repository: Repository, tmp_path: Path) -> None:
    for name, text in (("image.lock", "numpy==1\n"), ("branch.lock", "numpy==2\n")):
        (tmp_path / name).write_text(text)
    (repository.root / "requirements").mkdir()
    (repository.root / "requirements/runtime.lock").write_text("numpy==2\n")
    with pytest.raises(ConfigurationError, match="build the trainer's image anew"):
        here(repository.root, None, str(tmp_path), {PINS: str(tmp_path / "image.lock")})
    commit(repository, "a lock")
    (repository.root / "params.yaml").write_text(
        ""
    )  # the twin: with the same lock it goes on, here to the next question
    with pytest.raises(ConfigurationError, match="not committed"):
        here(repository.root, None, str(tmp_path), {PINS: str(tmp_path / "branch.lock")})
