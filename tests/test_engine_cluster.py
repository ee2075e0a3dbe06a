"""The cluster of Ray under k8s/: its pods are what Kubernetes takes, and its version is the one that is tested."""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
from kube_manifests import Object, one, rendered
from kube_policy import opened, templates, unsafe
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
GONE = object()
RAY = "template.spec.containers.0"


@pytest.fixture(scope="module")
def objects() -> list[Object]:
    return rendered("production", ["ray"])


def groups(objects: list[Object]) -> list[Object]:
    """The head and the workers."""
    spec = one(objects, "RayCluster", "mergeline-engine")["spec"]
    return [spec["headGroupSpec"], *spec["workerGroupSpecs"]]


def planted(objects: list[Object], path: str, value: Any) -> list[Object]:
    """A copy with one value of the workers changed, or gone."""
    copies = copy.deepcopy(objects)
    *way, last = path.split(".")
    place: Any = groups(copies)[1]
    for step in way:
        place = place[int(step)] if isinstance(place, list) else place[step]
    if value is GONE:
        del place[last]
    else:
        place[last] = value
    return copies


def objections(objects: list[Object]) -> Iterator[str]:
    """What Kubernetes would say of the pods; the operator hands their templates on unread."""
    for group in groups(objects):
        pod = {"apiVersion": "v1", "kind": "Pod", **group["template"]}
        try:
            kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)
        except kubernetes_validate.ValidationError as err:
            yield err.message


def test_the_pods_of_head_and_workers_are_what_kubernetes_accepts(objects: list[Object]) -> None:
    assert list(objections(objects)) == []
    assert len([whose for whose, _ in templates(objects) if whose.startswith("RayCluster")]) == 2


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (f"{RAY}.imagePolicy", "Always", "imagePolicy"),
        (f"{RAY}.readinessProbe.tcpSocket", {}, "port"),
        ("template.spec.volumes.1.emptyDir.medium", 3, "3"),
    ],
)
def test_a_pod_that_kubernetes_does_not_accept_is_found(
    objects: list[Object], path: str, value: Any, said: str
) -> None:
    [found] = objections(planted(objects, path, value))
    assert said in found


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (f"{RAY}.securityContext.readOnlyRootFilesystem", GONE, "ray: writes to its root"),
        (f"{RAY}.image", "rayproject/ray:latest", "ray: its image has no digest"),
        ("template.spec.automountServiceAccountToken", GONE, "a token of the cluster is mounted"),
        ("template.spec.securityContext.runAsNonRoot", GONE, "ray: may run as root"),
    ],
)
def test_s9_a_worker_that_is_less_than_restricted_is_refused(
    objects: list[Object], path: str, value: Any, said: str
) -> None:
    assert list(unsafe(objects)) == []
    assert list(unsafe(planted(objects, path, value))) == [f"RayCluster mergeline-engine: {said}"]


def test_only_pods_of_the_cluster_reach_each_other(objects: list[Object]) -> None:
    assert list(opened(objects)) == []
    wrong = copy.deepcopy(objects)
    one(wrong, "NetworkPolicy", "mergeline-engine")["spec"]["ingress"][0]["from"] = [{"namespaceSelector": {}}]
    assert list(opened(wrong)) == ["the NetworkPolicy mergeline-engine is none of ours"]
    policy = one(objects, "NetworkPolicy", "mergeline-engine")["spec"]["podSelector"]["matchLabels"]
    assert all(policy.items() <= group["template"]["metadata"]["labels"].items() for group in groups(objects))
    server = one(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert not policy.items() <= server.items()


def test_no_process_joins_without_a_key_and_nothing_is_reported(objects: list[Object]) -> None:
    assert one(objects, "RayCluster", "mergeline-engine")["spec"]["authOptions"] == {"mode": "token"}
    for group in groups(objects):
        [container] = group["template"]["spec"]["containers"]
        assert {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"} in container["env"]


def test_a_probe_asks_the_port_that_its_pod_opens(objects: list[Object]) -> None:
    head, workers = groups(objects)
    for group, port in ((head, 6379), (workers, int(workers["rayStartParams"]["node-manager-port"]))):
        [container] = group["template"]["spec"]["containers"]
        assert [each["containerPort"] for each in container["ports"]] == [port]
        assert {container[probe]["tcpSocket"]["port"] for probe in ("readinessProbe", "livenessProbe")} == {port}


def pinned(lock: str) -> str:
    [version] = re.findall(r"^ray==(\S+)", lock, re.MULTILINE)
    return str(version)


def test_the_cluster_runs_the_version_that_the_tests_run(objects: list[Object]) -> None:
    version = pinned((ROOT / "requirements/dev.lock").read_text())
    assert one(objects, "RayCluster", "mergeline-engine")["spec"]["rayVersion"] == version
    assert pinned("ray==1.0 \\\n") != version
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    [extra] = project["optional-dependencies"]["ray"]
    assert Requirement(extra).specifier.contains(version)
    assert not re.search(r"^ray==", (ROOT / "requirements/runtime.lock").read_text(), re.MULTILINE)
