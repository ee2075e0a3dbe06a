"""Pods are restricted and replaced with care, in every overlay with every component; what is not is refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from kube_manifests import OVERLAYS, Object, combinations, one, pod_of, rendered
from kube_policy import ANALYSIS, confined, measured, opened, restricted, stays_up, templates, unsafe

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
        assert "Deployment mergeline" in dict(templates(objects))
        assert list(unsafe(objects)) == [], sorted(chosen)
        labels = next(each for each in objects if each["kind"] == "Namespace")["metadata"]["labels"]
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


FIRST = f"{POD}.containers.0"
APPARMOR = "container.apparmor.security.beta.kubernetes.io/"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (f"{POD}.hostNetwork", True, "hostNetwork is on"),
        (f"{POD}.volumes.0", {"name": "disk", "hostPath": {"path": "/"}}, "volume disk is of kind hostPath"),
        (f"{POD}.securityContext.sysctls", [{"name": "a", "value": "b"}], "the pod sets sysctls"),
        (f"{POD}.securityContext.runAsNonRoot", GONE, "server: may run as root"),
        (f"{POD}.securityContext.runAsNonRoot", False, "the pod: runs as root"),
        (f"{POD}.securityContext.runAsUser", 0, "the pod: runs as root"),
        (f"{POD}.securityContext.seccompProfile", GONE, "server: has no seccomp profile"),
        (f"{POD}.securityContext.seccompProfile", {"type": "Unconfined"}, "the pod: has another seccomp profile"),
        (f"{FIRST}.securityContext.seccompProfile", {"type": "Unconfined"}, "server: has another seccomp profile"),
        (f"{POD}.securityContext.appArmorProfile", {"type": "Unconfined"}, "the pod: has no AppArmor profile"),
        (f"{FIRST}.securityContext.appArmorProfile", {"type": "Unconfined"}, "server: has no AppArmor profile"),
        ("spec.template.metadata.annotations", {f"{APPARMOR}server": "unconfined"}, "server: has no AppArmor profile"),
        (f"{POD}.securityContext.seLinuxOptions", {"type": "spc_t"}, "the pod: has SELinux options of its own"),
        (f"{FIRST}.securityContext.seLinuxOptions", {"user": "root"}, "server: has SELinux options of its own"),
        (f"{FIRST}.securityContext.seLinuxOptions", {"role": "system"}, "server: has SELinux options of its own"),
        (f"{POD}.securityContext.windowsOptions", {"hostProcess": True}, "the pod: is a process of the host"),
        (f"{FIRST}.securityContext.windowsOptions", {"hostProcess": True}, "server: is a process of the host"),
        (f"{FIRST}.livenessProbe.httpGet.host", "10.0.0.1", "server: a probe or a hook names a host"),
        (
            f"{FIRST}.lifecycle",
            {"preStop": {"tcpSocket": {"host": "10.0.0.1"}}},
            "server: a probe or a hook names a host",
        ),
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
    pod = pod_of(planted(rendered("production"), "Deployment", path, value))
    assert said in [*restricted(pod), *confined(pod)]


@pytest.mark.parametrize(
    "context",
    [
        {"appArmorProfile": {"type": "RuntimeDefault"}},
        {"seLinuxOptions": {"type": "container_t", "level": "s0:c1"}},
        {"windowsOptions": {"hostProcess": False}},
        {"seccompProfile": {"type": "Localhost", "localhostProfile": "ours.json"}},
    ],
)
def test_what_the_standard_allows_is_let_through(context: Object) -> None:
    pod = pod_of(copy.deepcopy(rendered("production")))
    pod["spec"]["securityContext"] |= context
    pod["spec"]["containers"][0]["securityContext"] |= context
    assert [*restricted(pod), *confined(pod)] == []


LOOSE = {"metadata": {"labels": {"app": "other"}}, "spec": {"containers": [{"name": "shell", "image": "busybox"}]}}
METRIC = {"name": "job", "provider": {"job": {"spec": {"template": LOOSE}}}}


@pytest.mark.parametrize(
    "other",
    [
        {"kind": "Deployment", "metadata": {"name": "other"}, "spec": {"template": LOOSE}},
        {"kind": "CronJob", "metadata": {"name": "other"}, "spec": {"jobTemplate": {"spec": {"template": LOOSE}}}},
        {"kind": "Pod", "metadata": {"name": "other"}, "spec": LOOSE["spec"]},
        {"kind": "AnalysisTemplate", "metadata": {"name": "other"}, "spec": {"metrics": [METRIC]}},
    ],
    ids=lambda other: other["kind"],
)
def test_s9_another_pod_is_looked_at_wherever_it_comes_from(other: Object) -> None:
    assert f"{other['kind']} other: shell: may gain privileges" in unsafe([*rendered("production"), other])


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
        ("HorizontalPodAutoscaler", "", None, "not one autoscaler for the Rollout"),
        ("HorizontalPodAutoscaler", "spec.scaleTargetRef.kind", "Deployment", "not one autoscaler for the Rollout"),
        ("HorizontalPodAutoscaler", "spec.scaleTargetRef.apiVersion", "apps/v1", "not one autoscaler for the Rollout"),
        ("HorizontalPodAutoscaler", "spec.scaleTargetRef.name", "other", "an autoscaler of something else"),
        ("HorizontalPodAutoscaler", "spec.minReplicas", 1, "one pod is no reserve"),
    ],
)
def test_r10_a_manifest_that_may_take_the_service_down_is_refused(kind: str, path: str, value: Any, said: str) -> None:
    objects = planted(rendered("production", ["canary"]), kind, path, value)
    assert any(each.startswith(said) for each in stays_up(objects))


def test_r10_the_autoscaler_of_the_deployment_names_it() -> None:
    objects = rendered("production")
    assert list(stays_up(objects)) == []
    wrong = planted(objects, "HorizontalPodAutoscaler", "spec.scaleTargetRef.name", "other")
    assert list(stays_up(wrong)) == ["not one autoscaler for the Deployment", "an autoscaler of something else"]


# ---- The network -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_comes_in_or_goes_out_that_is_not_named(overlay: str) -> None:
    for chosen in combinations():
        objects = rendered(overlay, chosen)
        assert list(opened(objects)) == [], sorted(chosen)
        chosen_pods = one(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"]
        assert chosen_pods.items() <= pod_of(objects)["metadata"]["labels"].items()


OPEN = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}]}
NOBODY = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "nobody"}}}


@pytest.mark.parametrize("kind", ["NetworkPolicy", "CiliumNetworkPolicy"])
def test_a_policy_more_is_refused(kind: str) -> None:
    more = {"apiVersion": "networking.k8s.io/v1", "kind": kind, "metadata": {"name": "open"}, "spec": OPEN}
    assert list(opened([*rendered("production"), more])) == [f"the {kind} open is none of ours"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.ingress.0.from", [NOBODY]),
        ("spec.ingress.0.ports", GONE),
        ("spec.ingress", GONE),
        ("spec.egress.0.to.0", {"namespaceSelector": {}}),
        ("spec.egress.2.to.0.ipBlock.except", GONE),
        ("spec.egress.2.ports.0.port", 80),
        ("spec.policyTypes", ["Ingress"]),
        ("spec.podSelector.matchLabels", {"app": "other"}),
    ],
)
def test_a_policy_that_says_something_else_is_refused(path: str, value: Any) -> None:
    objects = rendered("production")
    closed = [each for each in objects if each["metadata"]["name"] != "deny-all"]
    deny = one(objects, "NetworkPolicy", "deny-all")
    wrong = [*planted(closed, "NetworkPolicy", path, value), deny]
    assert list(opened(wrong)) == ["the NetworkPolicy mergeline is none of ours"]


def test_a_policy_that_is_gone_is_missed() -> None:
    wrong = planted(rendered("production"), "NetworkPolicy", "", None)
    assert list(opened(wrong)) == ["there is no NetworkPolicy deny-all", "there is no NetworkPolicy mergeline"]


# ---- The canary ------------------------------------------------------------------------------------------------------


def test_the_canary_takes_over_the_pods_of_the_deployment() -> None:
    objects = rendered("production", ["canary"])
    rollout, pod = one(objects, "Rollout")["spec"], pod_of(objects)
    assert rollout["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert "template" not in rollout


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_r16_every_share_of_the_canary_is_measured_before_the_next(overlay: str) -> None:
    objects = rendered(overlay, ["canary"])
    assert list(measured(objects)) == []
    steps = one(objects, "Rollout")["spec"]["strategy"]["canary"]["steps"]
    assert [step["setWeight"] for step in steps if "setWeight" in step] == [5, 25, 50, 100]
    template = one(objects, "AnalysisTemplate", "mergeline-canary")["spec"]
    needed = {each["name"] for each in template["args"] if "value" not in each}
    assert {each["name"] for each in ANALYSIS["args"]} == needed
    assert all("count" in metric or "interval" not in metric for metric in template["metrics"])


STEPS = "spec.strategy.canary.steps"
ARGS = f"{STEPS}.2.analysis.args"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (f"{ARGS}.0.valueFrom.podTemplateHashValue", "Latest", "an analysis does not compare"),
        (f"{ARGS}.1.valueFrom.podTemplateHashValue", "Stable", "an analysis does not compare"),
        (f"{ARGS}.0.name", "canary-hash", "an analysis does not compare"),
        (f"{STEPS}.2.analysis.templates.0.templateName", "other", "an analysis does not compare"),
        (f"{STEPS}.5", {"pause": {"duration": "5m"}}, "a share is not measured"),
        ("spec.strategy.canary.analysis", ANALYSIS, "an analysis in the background"),
        ("spec.rollbackWindow", {"revisions": 3}, "a release that failed may come back"),
        ("spec.workloadRef.name", "other", "the Rollout takes over no Deployment"),
        ("spec.workloadRef.kind", "ReplicaSet", "the Rollout takes over no Deployment"),
    ],
)
def test_r16_a_rollout_that_does_not_measure_is_refused(path: str, value: Any, said: str) -> None:
    wrong = list(measured(planted(rendered("production", ["canary"]), "Rollout", path, value)))
    assert len(wrong) == 1
    assert wrong[0].startswith(said)


def test_what_tells_stable_and_canary_apart_is_scraped() -> None:
    objects = rendered("production", ["canary", "monitoring"])
    [label] = one(objects, "ServiceMonitor")["spec"]["podTargetLabels"]
    for metric in one(objects, "AnalysisTemplate", "mergeline-canary")["spec"]["metrics"]:
        assert label.replace("-", "_") in metric["provider"]["prometheus"]["query"]
