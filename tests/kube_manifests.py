"""The manifests of `k8s/` as Kubernetes gets them: rendered by kubectl, in copies, with what is off switched on."""

from __future__ import annotations

import functools
import itertools
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from tools import tool

from mergeline.release.manifests import Release, format_release

K8S = Path(__file__).parents[1] / "k8s"
OVERLAYS = ("staging", "production")
COMPONENTS = ("monitoring", "api-key", "canary", "challenger", "shadow", "signed", "ray")
RELEASE = Release("1" * 64, "s3://models/flights", "2" * 64, "ghcr.io/owner/mergeline@sha256:" + "9" * 64)
KEY = "-----BEGIN PUBLIC KEY-----\nthrown away\n-----END PUBLIC KEY-----\n"
OFF = "# "
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C is ten times as fast

Object = dict[str, Any]


def combinations(largest: int = 1) -> list[frozenset[str]]:
    """Nothing, each component, each `largest` of them, and all; a pod has a challenger or a shadow."""
    sizes = range(largest + 1)
    chosen = [frozenset(some) for size in sizes for some in itertools.combinations(COMPONENTS, size)]
    chosen += [frozenset(COMPONENTS) - {other} for other in ("challenger", "shadow")]
    return [some for some in chosen if not some >= {"challenger", "shadow"}]


def copy_to(folder: Path) -> Path:
    """Copy `k8s/` into a folder and return the copy."""
    return Path(shutil.copytree(K8S, folder / "k8s"))


def release(overlay: Path, which: Release) -> None:
    """Write a release as `mergeline record` and `mergeline propose` do."""
    (overlay / "release.yaml").write_text(format_release(which))


def switch_on(overlay: Path, components: Iterable[str], key: str = KEY) -> None:
    """Take the comment off the line of each component, as a person does; `signed` needs the key and its ConfigMap."""
    file = overlay / "kustomization.yaml"
    lines = file.read_text().split("\n")
    for component in components:
        [line] = [at for at, text in enumerate(lines) if text.startswith(f"  {OFF}- ../../components/{component}")]
        lines[line] = lines[line].replace(OFF, "", 1)
        if component == "signed":
            start = lines.index(f"{OFF}configMapGenerator:")
            lines[start : start + 4] = [text.removeprefix(OFF) for text in lines[start : start + 4]]
            (overlay / "signing.pub").write_text(key)
    file.write_text("\n".join(lines))


def kustomize(folder: Path) -> subprocess.CompletedProcess[str]:
    """Render a folder."""
    [kubectl] = tool("kubectl")
    return subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=False)


def render(folder: Path) -> list[Object]:
    """Render a folder to its objects; it must succeed."""
    done = kustomize(folder)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr  # a warning is a failure
    return [each for each in yaml.load_all(done.stdout, LOADER) if each]


def rendered(overlay: str, components: Iterable[str] = (), which: Release = RELEASE, key: str = KEY) -> list[Object]:
    """The objects of an overlay with components and a release."""
    objects: list[Object] = json.loads(_text(overlay, frozenset(components), which, key))
    return objects


@functools.cache
def _text(overlay: str, components: frozenset[str], which: Release, key: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        place = copy_to(Path(folder)) / "overlays" / overlay
        release(place, which)
        switch_on(place, sorted(components), key)
        return json.dumps(render(place))


def one(objects: Iterable[Object], kind: str, name: str = "mergeline") -> Object:
    """The one object of a kind and name."""
    [found] = [each for each in objects if each["kind"] == kind and each["metadata"]["name"] == name]
    return found


def pod_of(objects: Iterable[Object]) -> Object:
    """The pod template of the Deployment."""
    template: Object = one(objects, "Deployment")["spec"]["template"]
    return template


def container(pod: Object, name: str) -> Object:
    """A container of a pod template, or an init container."""
    every = [*pod["spec"]["containers"], *pod["spec"]["initContainers"]]
    found: Object
    [found] = [each for each in every if each["name"] == name]
    return found


def environment(pod: Object, name: str) -> dict[str, str]:
    """The variables that a container gets: values, and annotations through the downward API."""
    found = {}
    for each in container(pod, name)["env"]:
        if "value" in each:
            found[each["name"]] = each["value"]
        else:
            path = each["valueFrom"]["fieldRef"]["fieldPath"]
            found[each["name"]] = pod["metadata"]["annotations"][path.split("'")[1]]
    return found
