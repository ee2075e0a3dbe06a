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
PROFILES = frozenset({"RuntimeDefault", "Localhost"})  # of seccomp and of AppArmor
SELINUX = frozenset({"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"})
APPARMOR = "container.apparmor.security.beta.kubernetes.io/"
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
ANALYSIS: Object = {
    "templates": [{"templateName": "mergeline-canary"}],
    "args": [
        {"name": "stable-hash", "valueFrom": {"podTemplateHashValue": "Stable"}},
        {"name": "canary-hash", "valueFrom": {"podTemplateHashValue": "Latest"}},
    ],
}


def unsafe(objects: Iterable[Object]) -> Iterator[str]:
    """Objections to every pod that the objects bring, of the standard and beyond it."""
    for whose, template in templates(objects):
        yield from (f"{whose}: {said}" for said in (*restricted(template), *confined(template)))


def templates(objects: Iterable[Object]) -> Iterator[tuple[str, Object]]:
    """Every pod or template of one, however deep it lies, and whose it is."""
    for each in objects:
        yield from ((f"{each['kind']} {each['metadata']['name']}", found) for found in _templates(each))


def _templates(place: Any) -> Iterator[Object]:
    if isinstance(place, list):
        for inner in place:
            yield from _templates(inner)
    if isinstance(place, dict):
        spec = place.get("spec")
        if isinstance(spec, dict) and "containers" in spec:
            yield place
        for inner in place.values():
            yield from _templates(inner)


def restricted(template: Object) -> Iterator[str]:
    """Objections of the *restricted* standard to a pod or a template of one; no sysctl is one of the safe ones here."""
    pod = template["spec"]
    for name, value in template.get("metadata", {}).get("annotations", {}).items():
        if name.startswith(APPARMOR) and value != "runtime/default" and not value.startswith("localhost/"):
            yield f"{name.removeprefix(APPARMOR)}: has no AppArmor profile"
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
    yield from (f"the pod: {said}" for said in _loosened(whole))
    for container in _containers(pod):
        yield from (f"{container['name']}: {said}" for said in _restricted_container(container, whole))


def _loosened(context: Mapping[str, Any]) -> Iterator[str]:
    """What neither the pod nor a container may set."""
    selinux = context.get("seLinuxOptions", {})
    if selinux.get("type", "") not in SELINUX or selinux.get("user") or selinux.get("role"):
        yield "has SELinux options of its own"
    if context.get("appArmorProfile", {"type": "RuntimeDefault"}).get("type") not in PROFILES:
        yield "has no AppArmor profile"
    if context.get("seccompProfile", {"type": "RuntimeDefault"}).get("type") not in PROFILES:
        yield "has another seccomp profile"
    if context.get("windowsOptions", {}).get("hostProcess"):
        yield "is a process of the host"
    if context.get("runAsNonRoot") is False or context.get("runAsUser") == 0:
        yield "runs as root"


def _restricted_container(container: Object, whole: Mapping[str, Any]) -> Iterator[str]:
    own = container.get("securityContext", {})
    either = {**whole, **own}
    capabilities = own.get("capabilities", {})
    yield from _loosened(own)
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
    if "seccompProfile" not in either:
        yield "has no seccomp profile"
    if own.get("procMount", "Default") != "Default":
        yield "unmasks /proc"
    if any(port.get("hostPort") for port in container.get("ports", [])):
        yield "takes a port of the host"
    hooks = container.get("lifecycle", {}).values()
    asked = [*(container[probe] for probe in PROBES if probe in container), *hooks]
    if any(way.get(how, {}).get("host") for way in asked for how in ("httpGet", "tcpSocket")):
        yield "a probe or a hook names a host"


def confined(template: Object) -> Iterator[str]:
    """Objections beyond the standard: root file system, tokens, service links, resources, ports, images."""
    pod = template["spec"]
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
    scaled = [scaler["scaleTargetRef"] for scaler in scalers]
    yield from (
        f"not one autoscaler for the {each['kind']}" for each in _to_scale(everything) if scaled.count(each) != 1
    )
    if any(each not in _to_scale(everything) for each in scaled):
        yield "an autoscaler of something else"
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


def _to_scale(everything: list[Object]) -> list[Object]:
    """References to what has pods of its own: Rollouts, and Deployments that none of them takes over."""
    taken = [each["spec"].get("workloadRef", {}).get("name") for each in everything if each["kind"] == "Rollout"]
    return [
        _reference(each)
        for each in everything
        if each["kind"] == "Rollout" or (each["kind"] == "Deployment" and each["metadata"]["name"] not in taken)
    ]


def _reference(each: Object) -> Object:
    return {"apiVersion": each["apiVersion"], "kind": each["kind"], "name": each["metadata"]["name"]}


def measured(objects: Iterable[Object]) -> Iterator[str]:
    """Objections to a Rollout that would give a release a share of the pods before the last one was judged."""
    everything = list(objects)
    for each in everything:
        if each["kind"] != "Rollout":
            continue
        spec, canary = each["spec"], each["spec"]["strategy"]["canary"]
        if {key: spec["workloadRef"].get(key) for key in ("apiVersion", "kind", "name")} not in [
            _reference(other) for other in everything if other["kind"] == "Deployment"
        ]:
            yield "the Rollout takes over no Deployment of ours"
        if "rollbackWindow" in spec:
            yield "a release that failed may come back without a step"
        if "analysis" in canary:
            yield "an analysis in the background ends well with the last step, data or not"
        steps = canary["steps"]
        if [next(iter(step)) for step in steps] != ["setWeight", "pause", "analysis"] * 3 + ["setWeight"]:
            yield "a share is not measured before the next"
        if any(step["analysis"] != ANALYSIS for step in steps if "analysis" in step):
            yield "an analysis does not compare the canary with the stable pods"


# ---- The network -----------------------------------------------------------------------------------------------------

DNS = [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]
POLICIES: dict[str, Object] = {
    "deny-all": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
    "mergeline": {
        "podSelector": {
            "matchLabels": {"app.kubernetes.io/name": "mergeline", "app.kubernetes.io/component": "server"},
        },
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": [{"port": "http", "protocol": "TCP"}]}],
        "egress": [
            {
                "to": [
                    {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}},
                    {"ipBlock": {"cidr": "169.254.20.10/32"}},
                ],
                "ports": DNS,
            },
            {
                "to": [{"ipBlock": {"cidr": "169.254.170.23/32"}}],
                "ports": [{"port": 80, "protocol": "TCP"}],
            },
            {
                # without the node's own metadata service, which gives credentials away
                "to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}}],
                "ports": [{"port": 443, "protocol": "TCP"}],
            },
        ],
    },
}

ENGINE = {"app.kubernetes.io/component": "engine"}
OWN = [{"podSelector": {"matchLabels": ENGINE}}]
COMPONENT_POLICIES: dict[str, Object] = {
    "mergeline-engine": {
        "podSelector": {"matchLabels": ENGINE},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": OWN}],
        "egress": [{"to": OWN}, *POLICIES["mergeline"]["egress"]],
    },
}


def opened(objects: Iterable[Object]) -> Iterator[str]:
    """Objections to the network policies: policies add up, so that one more or another one opens what these close."""
    found = [each for each in objects if each["kind"].endswith("NetworkPolicy")]
    for each in found:
        name = each["metadata"]["name"]
        if each["kind"] != "NetworkPolicy" or each["spec"] != (POLICIES | COMPONENT_POLICIES).get(name):
            yield f"the {each['kind']} {name} is none of ours"
    missing = POLICIES.keys() - {each["metadata"]["name"] for each in found}
    yield from (f"there is no NetworkPolicy {name}" for name in sorted(missing))


def _containers(pod: Object) -> list[Object]:
    return [*pod.get("initContainers", []), *pod.get("containers", []), *pod.get("ephemeralContainers", [])]
