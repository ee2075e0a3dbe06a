"""The manifests: every overlay with every component is what Kubernetes accepts, and a release reaches the pods."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from kube_manifests import (
    COMPONENTS,
    K8S,
    KEY,
    OVERLAYS,
    RELEASE,
    Object,
    combinations,
    container,
    copy_to,
    environment,
    kustomize,
    one,
    pod_of,
    release,
    render,
    rendered,
    switch_on,
)

from mergeline.commands.serve import PREFIX, VARIABLES
from mergeline.release.manifests import NO_RELEASE, Release
from mergeline.serve.settings import Ending

VERSIONS = ("1.32", kubernetes_validate.latest_version())
CRDS = Path(__file__).parent / "crds"
ALL = tuple(name for name in COMPONENTS if name != "shadow")


# ---- What Kubernetes accepts -----------------------------------------------------------------------------------------


def closed(schema: Any) -> Any:
    """A schema that knows no field beside its own."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict):
        inner.setdefault("additionalProperties", False)
    return inner


def custom_schemas() -> dict[str, Any]:
    """The schema of each custom resource by `apiVersion kind`; a resource has its apiVersion, kind and metadata."""
    own: dict[str, Any] = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
    found = {}
    for file in CRDS.glob("*.yaml"):
        for name, schema in yaml.safe_load(file.read_text()).items():
            found[name] = closed(schema | {"properties": own | schema["properties"]})
    return found


SCHEMAS = custom_schemas()


def objections(each: Object) -> Iterator[str]:
    """What Kubernetes would refuse in an object; an object that nothing knows is an objection too."""
    name = f"{each['apiVersion']} {each['kind']}"
    if name in SCHEMAS:
        yield from (err.message for err in jsonschema.Draft202012Validator(SCHEMAS[name]).iter_errors(each))
        return
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(each, version, strict=True)
        except kubernetes_validate.ValidationError as err:
            yield f"{version}: {err.message}"
        except kubernetes_validate.SchemaNotFoundError as err:
            yield err.message


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_overlay_with_every_component_is_what_kubernetes_accepts(overlay: str) -> None:
    seen = set()
    for chosen in combinations(largest=2 if overlay == "production" else 1):
        for each in rendered(overlay, chosen):
            text = json.dumps(each, sort_keys=True)
            if text not in seen:
                seen.add(text)
                assert not list(objections(each)), f"{sorted(chosen)}: {each['kind']}"
    assert len(seen) > 20


@pytest.mark.parametrize(
    ("kind", "path", "value", "said"),
    [
        pytest.param("Deployment", "spec.template.spec.containers.0.imagePolicy", "Always", "imagePolicy", id="field"),
        pytest.param("Deployment", "spec.minReadySeconds", "ten", "ten", id="type"),
        pytest.param("HorizontalPodAutoscaler", "apiVersion", "autoscaling/v9", "Couldn't find schema", id="version"),
        pytest.param("Rollout", "spec.strategy.canary.steps.0.setWeights", 5, "setWeights", id="custom field"),
        pytest.param("Rollout", "spec.workloadRef.scaleDown", "slowly", "slowly", id="custom value"),
        pytest.param("Rollout", "kind", "Rollouts", "Couldn't find schema", id="custom kind"),
        pytest.param("PrometheusRule", "spec.groups.0.rules.0.for", "soon", "soon", id="custom pattern"),
        pytest.param("ServiceMonitor", "spec.endpoints", "http", "http", id="custom type"),
        pytest.param("ExternalSecret", "spec.data.0.remoteRef", {}, "key", id="custom required"),
    ],
)
def test_what_kubernetes_does_not_accept_is_refused(kind: str, path: str, value: Any, said: str) -> None:
    planted = copy.deepcopy(one_of_kind(kind))
    *way, last = path.split(".")
    place: Any = planted
    for step in way:
        place = place[int(step)] if isinstance(place, list) else place[step]
    place[last] = value
    assert not list(objections(one_of_kind(kind)))
    assert any(said in each for each in objections(planted))


def one_of_kind(kind: str) -> Object:
    return next(each for each in rendered("production", ALL) if each["kind"] == kind)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_without_a_release_renders_and_names_none(overlay: str) -> None:
    pod = pod_of(rendered(overlay, which=NO_RELEASE))
    assert {each["image"] for each in [*pod["spec"]["containers"], *pod["spec"]["initContainers"]]} == {"none"}
    assert environment(pod, "fetch")["MERGELINE_MODEL"] == "none"


def test_a_component_that_is_not_there_does_not_render(tmp_path: Path) -> None:
    overlay = copy_to(tmp_path) / "overlays/production"
    (overlay.parents[1] / "components/canary/rollout.yaml").unlink()
    assert kustomize(overlay).returncode == 0  # it is off
    switch_on(overlay, ["canary"])
    assert kustomize(overlay).returncode != 0


def test_every_component_can_be_switched_on_in_every_overlay() -> None:
    assert {each.name for each in (K8S / "components").iterdir()} == set(COMPONENTS)
    for overlay in OVERLAYS:
        named = re.findall(r"components/([a-z-]+)", (K8S / "overlays" / overlay / "kustomization.yaml").read_text())
        assert sorted(set(named)) == sorted(COMPONENTS)


def is_for_nothing(overlay: Path) -> bool:
    """Whether a public key lies in an overlay that does not ask for signatures, or none in one that does."""
    asks = "MERGELINE_KEY" in environment(pod_of(render(overlay)), "fetch")
    return asks != (overlay / "signing.pub").exists()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_with_a_public_key_asks_for_signatures(overlay: str) -> None:
    """Beside the key in an overlay stands what brings it to the pods, so that a key is never a key for nothing."""
    assert not is_for_nothing(K8S / "overlays" / overlay)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_public_key_for_nothing_is_noticed(overlay: str, tmp_path: Path) -> None:
    folder = copy_to(tmp_path) / "overlays" / overlay
    (folder / "signing.pub").write_text(KEY)
    assert is_for_nothing(folder)
    switch_on(folder, ["signed"])
    assert not is_for_nothing(folder)


# ---- How a release reaches the pods ----------------------------------------------------------------------------------


@pytest.mark.parametrize("container_name", ["fetch", "server"])
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_release_reaches_both_containers(overlay: str, container_name: str) -> None:
    pod = pod_of(rendered(overlay, ALL))
    found = environment(pod, container_name)
    assert found["MERGELINE_MODEL"] == RELEASE.model_sha256
    assert found["MERGELINE_STORE"] == RELEASE.store
    assert found["MERGELINE_RECEIPT"] == RELEASE.receipt_sha256
    assert container(pod, container_name)["image"] == RELEASE.image


def test_a_release_changes_the_pod_template_and_nothing_else() -> None:
    """So that a ReplicaSet is complete in itself, and going back to it brings the old bytes back."""
    other = Release("3" * 64, "s3://models/other", "4" * 64, "ghcr.io/owner/mergeline@sha256:" + "8" * 64)
    before, after = rendered("production", ALL), rendered("production", ALL, other)
    assert pod_of(before) != pod_of(after)
    for objects in (before, after):
        one(objects, "Deployment")["spec"].pop("template")
    assert before == after


def test_r6_going_back_to_a_release_renders_the_same_bytes(tmp_path: Path) -> None:
    overlay = copy_to(tmp_path) / "overlays/production"
    texts = []
    for which in (RELEASE, Release("3" * 64, "s3://models/flights", "4" * 64, RELEASE.image), RELEASE):
        release(overlay, which)
        texts.append(kustomize(overlay).stdout)
    assert texts[0] == texts[2] != texts[1]


def test_without_the_transformers_the_two_containers_would_run_different_images(tmp_path: Path) -> None:
    """The twin: the image is copied there and nowhere else."""
    overlay = copy_to(tmp_path) / "overlays/production"
    release(overlay, RELEASE)
    file = overlay / "kustomization.yaml"
    file.write_text(file.read_text().replace("transformers:\n  - ../../transformers\n", ""))
    pod = pod_of(render(overlay))
    assert container(pod, "server")["image"] == RELEASE.image
    assert container(pod, "fetch")["image"] != RELEASE.image


def test_the_public_key_reaches_both_containers() -> None:
    objects = rendered("production", ["signed"])
    pod = pod_of(objects)
    assert one(objects, "ConfigMap", "signing")["data"] == {"signing.pub": KEY}
    [volume] = [each for each in pod["spec"]["volumes"] if each["name"] == "signing"]
    assert volume["configMap"] == {"name": "signing"}  # not optional: without the key no pod starts
    for name in ("fetch", "server"):
        [mount] = [each for each in container(pod, name)["volumeMounts"] if each["name"] == "signing"]
        assert environment(pod, name)["MERGELINE_KEY"] == f"{mount['mountPath']}/signing.pub"
        assert "MERGELINE_KEY" not in environment(pod_of(rendered("production")), name)


@pytest.mark.parametrize(
    ("component", "expected"),
    [("challenger", {"MERGELINE_SHARE": "0.1"}), ("shadow", {"MERGELINE_SHADOW": "true"})],
)
def test_a_challenger_is_named_by_an_annotation_and_has_one_role(component: str, expected: dict[str, str]) -> None:
    found = environment(pod_of(rendered("production", [component])), "server")
    assert found["MERGELINE_CHALLENGER"] == "none"
    assert {name: found[name] for name in ("MERGELINE_SHARE", "MERGELINE_SHADOW") if name in found} == expected


def filled_in(schema: Any, each: Any, place: str = "") -> Iterator[str]:
    """The fields of an object that a cluster would fill in: Argo CD would take them out again, for ever."""
    if isinstance(each, list):
        for inner in each:
            yield from filled_in(schema.get("items", {}), inner, place)
    if isinstance(each, dict):
        for name, inner in schema.get("properties", {}).items():
            if "default" in inner and name not in each:
                yield f"{place}.{name}"
            yield from filled_in(inner, each.get(name), f"{place}.{name}")


def test_nothing_is_left_for_a_cluster_to_fill_in() -> None:
    for each in rendered("production", ALL):
        assert not list(filled_in(SCHEMAS.get(f"{each['apiVersion']} {each['kind']}", {}), each)), each["kind"]


@pytest.mark.parametrize("name", ["conversionStrategy", "decodingStrategy", "metadataPolicy", "nullBytePolicy"])
def test_what_a_cluster_would_fill_in_is_noticed(name: str) -> None:
    planted = copy.deepcopy(one_of_kind("ExternalSecret"))
    del planted["spec"]["data"][0]["remoteRef"][name]
    schema = SCHEMAS["external-secrets.io/v1 ExternalSecret"]
    assert list(filled_in(schema, planted)) == [f".spec.data.remoteRef.{name}"]


def test_the_api_key_is_read_from_the_secret_that_is_asked_for() -> None:
    objects = rendered("production", ["api-key"])
    pod, secret = pod_of(objects), one(objects, "ExternalSecret", "mergeline-api-key")["spec"]
    [volume] = [each for each in pod["spec"]["volumes"] if each["name"] == "api-key"]
    assert volume["secret"]["secretName"] == secret["target"]["name"]
    folder, name = environment(pod, "server")["MERGELINE_API_KEY_FILE"].rsplit("/", 1)
    assert name == secret["data"][0]["secretKey"]
    assert {"name": "api-key", "mountPath": folder, "readOnly": True} in container(pod, "server")["volumeMounts"]


# ---- What the server expects -----------------------------------------------------------------------------------------


def test_every_variable_is_an_option_that_the_server_reads() -> None:
    for chosen in combinations():
        objects = rendered("production", chosen)
        settings = one(objects, "ConfigMap")["data"]
        names = {*settings, *environment(pod_of(objects), "server"), *environment(pod_of(objects), "fetch")}
        assert {name.removeprefix(PREFIX).lower() for name in names} <= set(VARIABLES), sorted(chosen)
        for name, value in settings.items():
            VARIABLES[name.removeprefix(PREFIX).lower()](value)


def test_pods_are_given_more_time_to_end_than_the_server_takes() -> None:
    ending = Ending()
    pod = pod_of(rendered("production"))["spec"]
    assert pod["terminationGracePeriodSeconds"] >= ending.wait_s + ending.drain_s + ending.flush_s + 10


def test_what_the_image_expects_is_there() -> None:
    image = (K8S.parent / "Dockerfile").read_text()
    pod = pod_of(rendered("production"))["spec"]
    assert f"USER {pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}\n" in image
    [port] = container({"spec": pod}, "server")["ports"]
    assert f"EXPOSE {port['containerPort']}\n" in image
    mounts = {each["mountPath"] for each in container({"spec": pod}, "server")["volumeMounts"]}
    assert mounts == {"/model", "/log", "/tmp"}
    assert "MERGELINE_FOLDER=/model " in image


def taken(objects: list[Object], chart: str) -> set[str]:
    """The kinds that the Prometheus of kube-prometheus-stack takes by its defaults, installed under a name."""
    labels = {each["kind"]: each["metadata"].get("labels", {}) for each in objects}
    kinds = ("ServiceMonitor", "PrometheusRule")
    return {kind for kind in kinds if labels.get(kind, {}).get("release") == chart}


@pytest.mark.parametrize("chart", ["kube-prometheus-stack", "observability"])
def test_prometheus_takes_what_bears_the_name_that_stands_in_one_file(chart: str, tmp_path: Path) -> None:
    overlay = copy_to(tmp_path) / "overlays/production"
    switch_on(overlay, ["monitoring"])
    component = overlay.parents[1] / "components/monitoring"
    file = component / "selection.yaml"
    file.write_text(file.read_text().replace("release: kube-prometheus-stack", f"release: {chart}"))
    objects = render(overlay)
    assert taken(objects, chart) == {"ServiceMonitor", "PrometheusRule"}
    assert taken(objects, "another") == set()
    file = component / "servicemonitor.yaml"  # the twin: of another group, so that the label does not reach it
    file.write_text(file.read_text().replace("monitoring.coreos.com", "monitoring.example.org"))
    assert taken(render(overlay), chart) == {"PrometheusRule"}


def test_the_service_leads_to_the_port_of_the_pods() -> None:
    objects = rendered("production", ["monitoring"])
    pod, service = pod_of(objects), one(objects, "Service")
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    ports = {port["name"] for port in container(pod, "server")["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    assert all("protocol" in port for port in service["spec"]["ports"])
    monitor = one(objects, "ServiceMonitor")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert {each["port"] for each in monitor["endpoints"]} <= {port["name"] for port in service["spec"]["ports"]}
    allowed = one(objects, "NetworkPolicy")["spec"]["ingress"][0]["ports"]
    assert {port["port"] for port in allowed} == ports
