"""What Argo CD is told: two applications that bring what we render and nothing else, and the word of a bad release."""

from __future__ import annotations

import copy
import datetime as dt
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from kube_manifests import K8S, OVERLAYS, Object, combinations, copy_to, one, render, rendered
from test_kubernetes import objections

URL = "https://github.com/OWNER/REPOSITORY"
MOST_KEYS = 10  # of a client_payload, by GitHub's documentation of repository_dispatch
LONGEST_EVENT = 100
TRIGGER = "mergeline-degraded"
SERVICE = "mergeline-github"
BEFORE, BROUGHT, AFTER = "2026-03-01T09:59:58Z", "2026-03-01T10:00:00Z", "2026-03-01T10:07:12Z"
JUDGED = {"Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget", "Rollout", "ExternalSecret"}  # by Argo CD
IGNORED = "argocd.argoproj.io/ignore-healthcheck"


@pytest.fixture(scope="module")
def argocd() -> list[Object]:
    return render(K8S / "argocd")


@pytest.fixture(scope="module")
def told(argocd: list[Object]) -> dict[str, Any]:
    """The settings of the notifications, read."""
    data = one(argocd, "ConfigMap", "argocd-notifications-cm")["data"]
    return {name: yaml.safe_load(text) for name, text in data.items()}


def test_everything_is_what_argo_cd_accepts(argocd: list[Object]) -> None:
    assert [list(objections(each)) for each in argocd] == [[]] * len(argocd)
    planted = copy.deepcopy(one(argocd, "Application", "mergeline-staging"))
    planted["spec"]["syncPolicy"]["automated"]["selfheal"] = True
    assert list(objections(planted))


def test_the_repository_is_named_in_one_place(argocd: list[Object], tmp_path: Path) -> None:
    place = copy_to(tmp_path) / "argocd"
    file = place / "repository.yaml"
    file.write_text(file.read_text().replace(URL, "https://github.com/team/model"))
    text = json.dumps(render(place))
    assert text.count("https://github.com/team/model") == 3
    assert "OWNER" not in text
    assert "set-from" not in text
    assert "repository" not in {each["metadata"]["name"] for each in argocd}  # read, never applied


@pytest.mark.parametrize("environment", OVERLAYS)
def test_an_application_follows_its_overlay_on_main(environment: str, argocd: list[Object]) -> None:
    spec = one(argocd, "Application", f"mergeline-{environment}")["spec"]
    assert (spec["source"]["path"], spec["source"]["targetRevision"]) == (f"k8s/overlays/{environment}", "main")
    assert (K8S.parent / spec["source"]["path"] / "kustomization.yaml").is_file()
    assert spec["syncPolicy"]["automated"] == {"prune": True, "selfHeal": True}
    assert "ServerSideApply=true" in spec["syncPolicy"]["syncOptions"]
    places = {each["metadata"].get("namespace") for each in rendered(environment)} - {None}
    assert places == {spec["destination"]["namespace"]}


def forbidden(project: Object, application: Object, objects: list[Object]) -> Iterator[str]:
    """What a project does not let an application bring."""
    spec = project["spec"]
    if application["spec"]["source"]["repoURL"] not in spec["sourceRepos"]:
        yield "another repository"
    if application["spec"]["destination"] not in spec["destinations"]:
        yield "another place"
    for each in objects:
        group, _, _ = each["apiVersion"].rpartition("/")
        place = "namespaceResourceWhitelist" if "namespace" in each["metadata"] else "clusterResourceWhitelist"
        if {"group": group, "kind": each["kind"]} not in spec[place]:
            yield f"a {each['kind']}"


@pytest.mark.parametrize("environment", OVERLAYS)
def test_the_project_lets_in_what_we_render_and_nothing_else(environment: str, argocd: list[Object]) -> None:
    project, application = one(argocd, "AppProject"), one(argocd, "Application", f"mergeline-{environment}")
    kinds = set()
    for chosen in combinations():
        objects = rendered(environment, chosen)
        kinds |= {each["kind"] for each in objects}
        assert list(forbidden(project, application, objects)) == [], sorted(chosen)
    allowed = [*project["spec"]["clusterResourceWhitelist"], *project["spec"]["namespaceResourceWhitelist"]]
    assert {each["kind"] for each in allowed} == kinds


def test_what_does_not_belong_to_the_project_is_kept_out(argocd: list[Object]) -> None:
    project, application = one(argocd, "AppProject"), one(argocd, "Application", "mergeline-production")
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "all"}}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key", "namespace": "mergeline-production"}}
    assert list(forbidden(project, application, [role, secret])) == ["a ClusterRole", "a Secret"]
    elsewhere = copy.deepcopy(application)
    elsewhere["spec"]["source"]["repoURL"] = "https://github.com/other/model"
    elsewhere["spec"]["destination"]["namespace"] = "kube-system"
    assert list(forbidden(project, elsewhere, [])) == ["another repository", "another place"]


# ---- A release that ended degraded -----------------------------------------------------------------------------------


def filled(template: str, application: Object) -> str:
    """A notification's template with an application's values: the three forms that ours uses, no other."""

    def value(path: str) -> str:
        place: Any = application
        for step in path.removeprefix(".app.").split("."):
            place = place[step]
        return str(place)

    def form(found: re.Match[str]) -> str:
        said = found[1].strip()
        if plain := re.fullmatch(r"\.app\.[\w.]+", said):
            return value(plain[0])
        if label := re.fullmatch(r'index (\.app\.[\w.]+) "([^"]+)"', said):
            place: Mapping[str, str] = application["metadata"]["labels"]
            assert label[1] == ".app.metadata.labels"
            return place[label[2]]
        if url := re.fullmatch(r"call \.repo\.FullNameByRepoURL (\.app\.[\w.]+)", said):
            return value(url[1]).removeprefix("https://github.com/").removesuffix(".git")
        raise ValueError(f"a form that no test knows: {said}")

    return re.sub(r"\{\{(.*?)\}\}", form, template)


def degraded(argocd: list[Object], environment: str = "production") -> Object:
    """An application as Argo CD sees it once its rollout was aborted."""
    application = copy.deepcopy(one(argocd, "Application", f"mergeline-{environment}"))
    operation = {"phase": "Succeeded", "finishedAt": BROUGHT, "syncResult": {"revision": "a" * 40}}
    health = {"status": "Degraded", "lastTransitionTime": AFTER}
    application["status"] = {"health": health, "operationState": operation}
    return application


def test_a_degraded_release_is_told_to_the_repository_as_an_event(told: dict[str, Any], argocd: list[Object]) -> None:
    hook = told[f"template.{TRIGGER}"]["webhook"][SERVICE]
    application = degraded(argocd)
    assert hook["method"] == "POST"
    assert filled(hook["path"], application) == "/repos/OWNER/REPOSITORY/dispatches"
    event = json.loads(filled(hook["body"], application))
    assert set(event) == {"event_type", "client_payload"}
    assert event["event_type"] == TRIGGER
    assert len(event["event_type"]) <= LONGEST_EVENT
    assert event["client_payload"] == {"environment": "production", "revision": "a" * 40, "health": "Degraded"}
    assert len(event["client_payload"]) <= MOST_KEYS


def test_a_template_that_would_not_be_filled_is_noticed(told: dict[str, Any], argocd: list[Object]) -> None:
    body = told[f"template.{TRIGGER}"]["webhook"][SERVICE]["body"]
    with pytest.raises(KeyError):
        filled(body.replace("syncResult.revision", "syncResult.revisions"), degraded(argocd))
    with pytest.raises(ValueError, match="no test knows"):
        filled(body.replace("{{.app.status.health.status}}", "{{ toJson .app }}"), degraded(argocd))
    with pytest.raises(json.JSONDecodeError):
        json.loads(filled(body.replace('"event_type":', "event_type:"), degraded(argocd)))


def test_one_event_a_commit_and_none_for_a_rollout_that_waits(told: dict[str, Any]) -> None:
    [trigger] = told[f"trigger.{TRIGGER}"]
    assert trigger["send"] == [TRIGGER]
    assert trigger["oncePer"] == "app.status?.operationState.syncResult.revision"


def fires(when: str, application: Object) -> bool:
    """Whether a trigger fires: the three forms of a condition that ours uses, no other, joined by `and`."""

    def value(path: str) -> str:
        place: Any = application
        for step in path.replace("?", "").split(".")[1:]:
            place = place[step]
        return str(place)

    def holds(said: str) -> bool:
        if equal := re.fullmatch(r"(app\.[\w.?]+) == '(\w+)'", said):
            return value(equal[1]) == equal[2]
        if within := re.fullmatch(r"(app\.[\w.?]+) in \['(\w+)'\]", said):
            return value(within[1]) == within[2]
        if later := re.fullmatch(r"time\.Parse\((app\.[\w.?]+)\)\.After\(time\.Parse\((app\.[\w.?]+)\)\)", said):
            return dt.datetime.fromisoformat(value(later[1])) > dt.datetime.fromisoformat(value(later[2]))
        raise ValueError(f"a condition that no test knows: {said}")

    return all(holds(said.strip()) for said in re.split(r"\sand\s", when))


@pytest.mark.parametrize(
    ("status", "since", "phase", "expected"),
    [
        pytest.param("Degraded", AFTER, "Succeeded", True, id="a release that was aborted"),
        pytest.param("Degraded", BEFORE, "Succeeded", False, id="its revert, whose health is still that of before"),
        pytest.param("Degraded", BROUGHT, "Succeeded", False, id="the same second"),
        pytest.param("Degraded", AFTER, "Running", False, id="a release on its way"),
        pytest.param("Suspended", AFTER, "Succeeded", False, id="a rollout that waits for a person"),
        pytest.param("Healthy", AFTER, "Succeeded", False, id="a good release"),
    ],
)
def test_the_word_is_given_for_a_release_that_was_brought_and_then_failed(
    status: str, since: str, phase: str, expected: bool, told: dict[str, Any], argocd: list[Object]
) -> None:
    application = degraded(argocd)
    application["status"]["health"] = {"status": status, "lastTransitionTime": since}
    application["status"]["operationState"]["phase"] = phase
    assert fires(told[f"trigger.{TRIGGER}"][0]["when"], application) is expected


def test_a_trigger_that_no_test_understands_is_noticed(told: dict[str, Any], argocd: list[Object]) -> None:
    """And the twin of the above: without the last condition, the revert of a bad release would be taken back too."""
    when = told[f"trigger.{TRIGGER}"][0]["when"]
    with pytest.raises(ValueError, match="no test knows"):
        fires(when.replace(" and ", " or "), degraded(argocd))
    stale = degraded(argocd)
    stale["status"]["health"]["lastTransitionTime"] = BEFORE
    assert fires(when.rpartition(" and ")[0], stale)


def swayed(objects: list[Object]) -> list[str]:
    """The kinds beside the pods' own by which Argo CD would call an application degraded, or the pods left out."""
    pods = ("Deployment", "Rollout")
    return [
        each["kind"]
        for each in objects
        if each["kind"] in JUDGED
        and (each["metadata"].get("annotations", {}).get(IGNORED) == "true") == (each["kind"] in pods)
    ]


@pytest.mark.parametrize("environment", OVERLAYS)
def test_only_pods_make_an_application_degraded(environment: str) -> None:
    for chosen in combinations():
        assert swayed(rendered(environment, chosen)) == [], sorted(chosen)


@pytest.mark.parametrize("kind", sorted(JUDGED))
def test_what_would_sway_the_health_of_an_application_is_noticed(kind: str) -> None:
    objects = copy.deepcopy(rendered("production", ["api-key", "canary"]))
    [each] = [each for each in objects if each["kind"] == kind]
    annotations = each["metadata"].setdefault("annotations", {})
    if IGNORED in annotations:
        del annotations[IGNORED]
    else:
        annotations[IGNORED] = "true"
    assert swayed(objects) == [kind]


def test_production_alone_subscribes_and_its_names_exist(told: dict[str, Any], argocd: list[Object]) -> None:
    name = f"notifications.argoproj.io/subscribe.{TRIGGER}.{SERVICE}"
    assert one(argocd, "Application", "mergeline-production")["metadata"]["annotations"] == {name: ""}
    assert "annotations" not in one(argocd, "Application", "mergeline-staging")["metadata"]
    assert {f"trigger.{TRIGGER}", f"template.{TRIGGER}", f"service.webhook.{SERVICE}"} == set(told)


def test_s1_the_token_comes_from_the_secret(told: dict[str, Any]) -> None:
    service = told[f"service.webhook.{SERVICE}"]
    assert service["url"] == "https://api.github.com"
    headers = {each["name"]: each["value"] for each in service["headers"]}
    assert headers["Authorization"] == "Bearer $github-token"
    assert "insecureSkipVerify" not in service
