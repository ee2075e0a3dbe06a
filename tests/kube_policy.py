"""What a manifest must not be: a list of objections to rendered objects, empty where there are none.

The pod-security standard *restricted* as Kubernetes documents it, and what this repository asks for beyond it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Object = dict[str, Any]

ALLOWED_VOLUMES = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
)
SECCOMP = frozenset({"RuntimeDefault", "Localhost"})


def restricted(pod: Object) -> Iterator[str]:
    """Objections of the *restricted* standard to a pod's spec."""
    for host in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(host):
            yield f"{host} is on"
    for volume in pod.get("volumes", []):
        kinds = set(volume) - {"name"}
        if not kinds <= ALLOWED_VOLUMES:
            yield f"volume {volume['name']} is of kind {', '.join(kinds)}"
    whole = pod.get("securityContext", {})
    if whole.get("sysctls"):
        yield "the pod sets sysctls"
    for container in _containers(pod):
        yield from (f"{container['name']}: {said}" for said in _restricted_container(container, whole))


def _restricted_container(container: Object, whole: Mapping[str, Any]) -> Iterator[str]:
    own = container.get("securityContext", {})
    either = {**whole, **own}
    capabilities = own.get("capabilities", {})
    if own.get("privileged"):
        yield "is privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "may gain privileges"
    if "ALL" not in capabilities.get("drop", []):
        yield "keeps capabilities"
    if set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield "adds capabilities"
    if either.get("runAsNonRoot") is not True:
        yield "may run as root"
    if either.get("runAsUser") == 0:
        yield "runs as root"
    if either.get("seccompProfile", {}).get("type") not in SECCOMP:
        yield "has no seccomp profile"
    if own.get("procMount", "Default") != "Default":
        yield "unmasks /proc"
    if any(port.get("hostPort") for port in container.get("ports", [])):
        yield "takes a port of the host"


def confined(pod: Object) -> Iterator[str]:
    """Objections beyond the standard: root file system, tokens, service links, resources, ports, images."""
    if pod.get("automountServiceAccountToken") is not False:
        yield "a token of the cluster is mounted"
    if pod.get("enableServiceLinks") is not False:
        yield "other services come in as variables"
    for volume in pod.get("volumes", []):
        if "emptyDir" in volume and "sizeLimit" not in (volume["emptyDir"] or {}):
            yield f"volume {volume['name']} has no sizeLimit"
    for container in _containers(pod):
        yield from (f"{container['name']}: {said}" for said in _confined_container(container))


def _confined_container(container: Object) -> Iterator[str]:
    resources = container.get("resources", {})
    if container.get("securityContext", {}).get("readOnlyRootFilesystem") is not True:
        yield "writes to its root"
    for kind in ("requests", "limits"):
        if not {"cpu", "memory", "ephemeral-storage"} <= set(resources.get(kind, {})):
            yield f"has no {kind} of cpu, memory and ephemeral-storage"
    if "@sha256:" not in container["image"]:
        yield "its image has no digest"
    if any("protocol" not in port for port in container.get("ports", [])):
        yield "a port has no protocol"


def stays_up(objects: Iterable[Object]) -> Iterator[str]:
    """Objections to how pods are replaced (promise R10): nothing goes before something better is ready."""
    everything = list(objects)
    for each in everything:
        if each["kind"] == "Deployment":
            yield from _stays_up_deployment(each, everything)
        if each["kind"] == "Rollout":
            canary = each["spec"]["strategy"]["canary"]
            if canary.get("maxUnavailable") != 0:
                yield "the Rollout takes pods away before others are ready"
            if not each["spec"].get("progressDeadlineAbort") or not each["spec"].get("progressDeadlineSeconds"):
                yield "the Rollout waits for ever"
        if each["kind"] in ("Deployment", "Rollout") and "replicas" in each["spec"]:
            yield f"the {each['kind']} and the autoscaler both set replicas"
    scalers = [each["spec"] for each in everything if each["kind"] == "HorizontalPodAutoscaler"]
    pods = "Rollout" if any(each["kind"] == "Rollout" for each in everything) else "Deployment"
    if [scaler["scaleTargetRef"]["kind"] for scaler in scalers] != [pods]:
        yield f"no autoscaler for the {pods}"
    if any(scaler["minReplicas"] < 2 for scaler in scalers):
        yield "one pod is no reserve"


def _stays_up_deployment(deployment: Object, everything: list[Object]) -> Iterator[str]:
    spec = deployment["spec"]
    rolling = spec.get("strategy", {}).get("rollingUpdate", {})
    if spec.get("strategy", {}).get("type") != "RollingUpdate" or rolling.get("maxUnavailable") != 0:
        yield "the Deployment takes pods away before others are ready"
    if not spec.get("progressDeadlineSeconds"):
        yield "the Deployment has no deadline of its own"
    probes = {"readinessProbe": "/readyz", "livenessProbe": "/healthz", "startupProbe": "/healthz"}
    for container in spec["template"]["spec"]["containers"]:
        for probe, path in probes.items():
            if container.get(probe, {}).get("httpGet", {}).get("path") != path:
                yield f"{container['name']}: {probe} does not ask {path}"
    labels = spec["template"]["metadata"]["labels"].items()
    budgets = [each["spec"] for each in everything if each["kind"] == "PodDisruptionBudget"]
    if not any(budget["selector"]["matchLabels"].items() <= labels for budget in budgets):
        yield "no budget of disruptions for the pods"
    if any(budget.get("maxUnavailable") != 1 for budget in budgets):
        yield "a budget lets more than one pod go"


def _containers(pod: Object) -> list[Object]:
    return [*pod.get("initContainers", []), *pod.get("containers", []), *pod.get("ephemeralContainers", [])]
