"""Pods are restricted and replaced with care, in every overlay with every component; what is not is refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from kube_manifests import OVERLAYS, Object, combinations, one, pod_of, rendered
from kube_policy import confined, restricted, stays_up

GONE = object()
POD = "spec.template.spec"


def planted(objects: list[Object], kind: str, path: str, value: Any) -> list[Object]:
    """A copy of the objects with one value changed, or gone; an empty path is the object itself."""
    copies = copy.deepcopy(objects)
    if not path:
        return [each for each in copies if each["kind"] != kind]
    *way, last = path.split(".")
    place: Any = next(each for each in copies if each["kind"] == kind)
    for step in way:
        place = place[int(step)] if isinstance(place, list) else place[step]
    if value is GONE:
        del place[last]
    elif isinstance(place, list):
        place[int(last)] = value
    else:
        place[last] = value
    return copies


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_s9_every_pod_meets_the_restricted_standard_and_ours(overlay: str) -> None:
    for chosen in combinations():
        objects = rendered(overlay, chosen)
        pod = pod_of(objects)["spec"]
        assert [*restricted(pod), *confined(pod)] == [], sorted(chosen)
        labels = next(each for each in objects if each["kind"] == "Namespace")["metadata"]["labels"]
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


FIRST = f"{POD}.containers.0"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (f"{POD}.hostNetwork", True, "hostNetwork is on"),
        (f"{POD}.volumes.0", {"name": "disk", "hostPath": {"path": "/"}}, "volume disk is of kind hostPath"),
        (f"{POD}.securityContext.sysctls", [{"name": "a", "value": "b"}], "the pod sets sysctls"),
        (f"{POD}.securityContext.runAsNonRoot", GONE, "server: may run as root"),
        (f"{POD}.securityContext.runAsUser", 0, "server: runs as root"),
        (f"{POD}.securityContext.seccompProfile", {"type": "Unconfined"}, "server: has no seccomp profile"),
        (f"{FIRST}.securityContext.privileged", True, "server: is privileged"),
        (f"{FIRST}.securityContext.allowPrivilegeEscalation", GONE, "server: may gain privileges"),
        (f"{FIRST}.securityContext.capabilities.drop", ["NET_RAW"], "server: keeps capabilities"),
        (f"{FIRST}.securityContext.capabilities.add", ["SYS_ADMIN"], "server: adds capabilities"),
        (f"{FIRST}.securityContext.runAsUser", 0, "server: runs as root"),
        (f"{FIRST}.securityContext.procMount", "Unmasked", "server: unmasks /proc"),
        (f"{FIRST}.ports.0.hostPort", 80, "server: takes a port of the host"),
        (f"{POD}.initContainers.0.securityContext", GONE, "fetch: may gain privileges"),
        (f"{FIRST}.securityContext.readOnlyRootFilesystem", False, "server: writes to its root"),
        (f"{FIRST}.resources.limits", GONE, "server: has no limits of cpu, memory and ephemeral-storage"),
        (f"{FIRST}.resources.requests.memory", GONE, "server: has no requests of cpu, memory and ephemeral-storage"),
        (f"{FIRST}.image", "mergeline:latest", "server: its image has no digest"),
        (f"{FIRST}.ports.0.protocol", GONE, "server: a port has no protocol"),
        (f"{POD}.automountServiceAccountToken", GONE, "a token of the cluster is mounted"),
        (f"{POD}.enableServiceLinks", GONE, "other services come in as variables"),
        (f"{POD}.volumes.0.emptyDir.sizeLimit", GONE, "volume model has no sizeLimit"),
    ],
)
def test_s9_a_pod_that_is_less_is_refused(path: str, value: Any, said: str) -> None:
    pod = pod_of(planted(rendered("production"), "Deployment", path, value))["spec"]
    assert said in [*restricted(pod), *confined(pod)]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_r10_pods_are_replaced_by_pods_that_are_ready(overlay: str) -> None:
    for chosen in combinations():
        assert list(stays_up(rendered(overlay, chosen))) == [], sorted(chosen)


@pytest.mark.parametrize(
    ("kind", "path", "value", "said"),
    [
        ("Deployment", "spec.strategy.rollingUpdate.maxUnavailable", 1, "the Deployment takes pods away before"),
        ("Deployment", "spec.strategy.type", "Recreate", "the Deployment takes pods away before"),
        ("Deployment", "spec.progressDeadlineSeconds", GONE, "the Deployment has no deadline"),
        ("Deployment", f"{FIRST}.readinessProbe", GONE, "server: readinessProbe does not ask /readyz"),
        ("Deployment", f"{FIRST}.livenessProbe.httpGet.path", "/readyz", "server: livenessProbe does not ask"),
        ("Deployment", "spec.replicas", 1, "the Deployment and the autoscaler both set replicas"),
        ("Rollout", "spec.replicas", 1, "the Rollout and the autoscaler both set replicas"),
        ("Rollout", "spec.strategy.canary.maxUnavailable", "25%", "the Rollout takes pods away before"),
        ("Rollout", "spec.progressDeadlineAbort", GONE, "the Rollout waits for ever"),
        ("PodDisruptionBudget", "", None, "no budget of disruptions for the pods"),
        ("PodDisruptionBudget", "spec.selector.matchLabels", {"app": "other"}, "no budget of disruptions"),
        ("PodDisruptionBudget", "spec.maxUnavailable", 2, "a budget lets more than one pod go"),
        ("HorizontalPodAutoscaler", "", None, "no autoscaler for the Rollout"),
        ("HorizontalPodAutoscaler", "spec.scaleTargetRef.kind", "Deployment", "no autoscaler for the Rollout"),
        ("HorizontalPodAutoscaler", "spec.minReplicas", 1, "one pod is no reserve"),
    ],
)
def test_r10_a_manifest_that_may_take_the_service_down_is_refused(kind: str, path: str, value: Any, said: str) -> None:
    objects = planted(rendered("production", ["canary"]), kind, path, value)
    assert any(each.startswith(said) for each in stays_up(objects))


def test_nothing_comes_in_or_goes_out_that_is_not_named() -> None:
    objects = rendered("production")
    everything = one(objects, "NetworkPolicy", "deny-all")["spec"]
    assert everything == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    own = one(objects, "NetworkPolicy")["spec"]
    assert own["podSelector"]["matchLabels"].items() <= pod_of(objects)["metadata"]["labels"].items()
    ways = {
        (target.get("ipBlock", {}).get("cidr", "cluster"), port["port"])
        for rule in own["egress"]
        for target in rule["to"]
        for port in rule["ports"]
    }
    assert ways == {
        ("cluster", 53),
        ("169.254.20.10/32", 53),
        ("169.254.170.23/32", 80),
        ("0.0.0.0/0", 443),
    }
    [wide] = [
        rule["to"][0]["ipBlock"]
        for rule in own["egress"]
        if rule["to"][0].get("ipBlock", {}).get("cidr") == "0.0.0.0/0"
    ]
    assert wide["except"] == ["169.254.0.0/16"]  # the node's credentials


# ---- The canary ------------------------------------------------------------------------------------------------------


def test_the_canary_takes_over_the_pods_of_the_deployment() -> None:
    objects = rendered("production", ["canary"])
    rollout, pod = one(objects, "Rollout")["spec"], pod_of(objects)
    assert rollout["workloadRef"]["name"] == one(objects, "Deployment")["metadata"]["name"]
    assert rollout["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert "template" not in rollout
    assert rollout["rollbackWindow"] == {"revisions": 3}
    assert rollout["revisionHistoryLimit"] >= 3


def test_r16_every_share_of_the_canary_is_measured_before_the_next() -> None:
    """An analysis in the background ends well with the last step, data or not; one that is a step has to end."""
    objects = rendered("production", ["canary"])
    canary = one(objects, "Rollout")["spec"]["strategy"]["canary"]
    assert "analysis" not in canary
    assert [next(iter(step)) for step in canary["steps"]] == ["setWeight", "pause", "analysis"] * 3 + ["setWeight"]
    assert [step["setWeight"] for step in canary["steps"] if "setWeight" in step] == [5, 25, 50, 100]
    template = one(objects, "AnalysisTemplate", "mergeline-canary")["spec"]
    needed = {each["name"] for each in template["args"] if "value" not in each}
    for step in canary["steps"]:
        if "analysis" in step:
            assert step["analysis"]["templates"] == [{"templateName": "mergeline-canary"}]
            assert {each["name"] for each in step["analysis"]["args"]} == needed
    assert all("count" in metric or "interval" not in metric for metric in template["metrics"])


def test_what_tells_stable_and_canary_apart_is_scraped() -> None:
    objects = rendered("production", ["canary", "monitoring"])
    [label] = one(objects, "ServiceMonitor")["spec"]["podTargetLabels"]
    for metric in one(objects, "AnalysisTemplate", "mergeline-canary")["spec"]["metrics"]:
        assert label.replace("-", "_") in metric["provider"]["prometheus"]["query"]
