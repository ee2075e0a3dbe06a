"""What rendered manifests really run: the pods of a release, and nothing beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mergeline.errors import VerificationError
from mergeline.release.manifests import (
    CONTAINER,
    DEPLOYMENT,
    MODEL_ANNOTATION,
    NONE,
    RECEIPT_ANNOTATION,
    STORE_ANNOTATION,
    Release,
)

FETCH = "fetch"
WORKLOADS = frozenset(
    {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Pod", "Job", "CronJob"}
)
READ = {
    "MERGELINE_MODEL": MODEL_ANNOTATION,
    "MERGELINE_STORE": STORE_ANNOTATION,
    "MERGELINE_RECEIPT": RECEIPT_ANNOTATION,
}


def refuse_other(objects: Sequence[Mapping[str, Any]], release: Release, *, signed: bool) -> None:
    """Raise `VerificationError` where the pods do not run this release, or something else runs beside them.

    Annotations are what a release sets, and variables what a pod reads: each has to be the other, in both containers,
    with the image of the release and the image's own command. With `signed` both have to ask for a signature.
    """
    for said in _problems(objects, release, signed=signed):
        raise VerificationError(f"the manifests {said}; see the overlay and its components")


def _problems(objects: Sequence[Mapping[str, Any]], release: Release, *, signed: bool) -> Iterator[str]:
    workloads = [each for each in objects if each.get("kind") in WORKLOADS]
    own = [each for each in workloads if (each["kind"], each["metadata"]["name"]) == ("Deployment", DEPLOYMENT)]
    if not own:
        yield f"render no Deployment {DEPLOYMENT}"
        return
    yield from (f"also run {each['kind']} {each['metadata']['name']}" for each in workloads if each is not own[0])
    pod = own[0]["spec"]["template"]
    annotations = pod["metadata"].get("annotations") or {}
    wanted = zip(READ.values(), (release.model_sha256, release.store, release.receipt_sha256), strict=True)
    for name, value in wanted:
        if annotations.get(name) != value:
            yield f"render {name} as {annotations.get(name)!r}, expected {value!r}"
    containers = [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]
    names = [each["name"] for each in containers]
    if names != [FETCH, CONTAINER]:
        yield f"render the containers {', '.join(names)}, expected {FETCH} and {CONTAINER}"
    for container in containers:
        yield from _container_problems(container, release, signed=signed)


def _container_problems(container: Mapping[str, Any], release: Release, *, signed: bool) -> Iterator[str]:
    name = container["name"]
    image = release.image or NONE
    if container["image"] != image:
        yield f"render {name} with the image {container['image']}, expected {image}"
    if container.get("command") or container.get("args", []) != ([FETCH] if name == FETCH else []):
        yield f"render {name} with a command of its own"
    variables = container.get("env") or []
    for variable, annotation in READ.items():
        field = {"fieldRef": {"fieldPath": f"metadata.annotations['{annotation}']"}}
        found = [each for each in variables if each["name"] == variable]
        if [each.get("valueFrom") for each in found] != [field] or any("value" in each for each in found):
            yield f"let {name} read {variable} from elsewhere than {annotation}"
    if signed and not any(each["name"] == "MERGELINE_KEY" and each.get("value") for each in variables):
        yield f"hold a public key, and {name} does not ask for a signature"
