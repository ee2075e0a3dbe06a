"""A release file says which bytes run, and can say nothing else."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ruamel.yaml import YAML
from test_model import hashes

from mergeline.errors import VerificationError
from mergeline.release.manifests import NO_RELEASE, Release, format_release, parse_release

IMAGE = "ghcr.io/owner/mergeline@sha256:" + "9" * 64
WHOLE = Release("1" * 64, "s3://models/flights", "2" * 63 + "e", IMAGE)
TEXT = format_release(WHOLE)

stores = st.text(min_size=1, max_size=60).filter(
    lambda text: text.isprintable() and text == text.strip() and text != "none"
)
models = st.builds(Release, hashes, stores, hashes, st.none()) | st.just(NO_RELEASE)
images = st.none() | st.builds(
    "{}@sha256:{}".format, st.sampled_from(["mergeline", "localhost:5000/a/b", "ghcr.io/o/n"]), hashes
)
releases = st.builds(lambda model, image: replace(model, image=image), models, images)


def loaded(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def dumped(tree: Any) -> str:
    """The same in JSON, which is YAML too; ruamel's own writer leaves texts without quotes that it does not read."""
    return json.dumps(tree, ensure_ascii=False, indent=1)


@given(releases)
@example(WHOLE)
@example(NO_RELEASE)
@example(Release("1" * 64, '"#: {quoted}" \\ and more', "2" * 64, None))
def test_a_release_is_read_back_and_written_to_the_same_bytes(release: Release) -> None:
    text = format_release(release)
    assert parse_release(text) == release
    assert format_release(parse_release(text)) == text


@given(releases)
def test_the_same_content_in_another_layout_is_the_same_release(release: Release) -> None:
    assert parse_release(dumped(loaded(format_release(release)))) == release


def test_the_text_is_the_patch_that_the_documentation_shows() -> None:
    lines = [line for line in TEXT.splitlines() if not line.lstrip().startswith("#")]
    assert lines == [
        "apiVersion: apps/v1",
        "kind: Deployment",
        "metadata:",
        "  name: mergeline",
        "spec:",
        "  template:",
        "    metadata:",
        "      annotations:",
        f'        mergeline.dev/model-sha256: "{"1" * 64}"',
        '        mergeline.dev/model-store: "s3://models/flights"',
        f'        mergeline.dev/receipt-sha256: "{"2" * 63}e"',
        "    spec:",
        "      containers:",
        "        - name: server",
        f'          image: "{IMAGE}"',
    ]


def test_no_release_is_a_state_of_its_own_with_or_without_an_image() -> None:
    assert not NO_RELEASE.is_release
    assert not Release(None, None, None, IMAGE).is_release
    assert Release("1" * 64, "store", "2" * 64, None).is_release
    assert parse_release(format_release(NO_RELEASE)) == NO_RELEASE
    assert format_release(NO_RELEASE).count('"none"') == 4 + 2, "four values and two comments"


# ---- What Kubernetes makes of it -------------------------------------------------------------------------------------

BASE = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "mergeline"},
    "spec": {
        "replicas": 2,
        "template": {
            "metadata": {"labels": {"app": "mergeline"}, "annotations": {"kept": "yes"}},
            "spec": {
                "containers": [
                    {"name": "log", "image": "log"},
                    {"name": "server", "image": "none", "securityContext": {"readOnlyRootFilesystem": True}},
                ]
            },
        },
    },
}


def patched(base: Any, patch: Any) -> Any:
    """A strategic merge as far as a release needs it: mappings by key, containers by name, all else replaced."""
    if isinstance(base, dict) and isinstance(patch, dict):
        return {key: patched(base.get(key), patch[key]) if key in patch else base[key] for key in {**base, **patch}}
    if isinstance(base, list) and isinstance(patch, list):
        by_name = {each["name"]: each for each in patch}
        return [patched(each, by_name.get(each["name"], {})) for each in base]
    return patch


def test_the_patch_changes_the_annotations_and_the_image_and_nothing_else() -> None:
    expected = copy.deepcopy(BASE)
    template: Any = expected["spec"]["template"]  # type: ignore[index]
    template["metadata"]["annotations"] |= {
        "mergeline.dev/model-sha256": WHOLE.model_sha256,
        "mergeline.dev/model-store": WHOLE.store,
        "mergeline.dev/receipt-sha256": WHOLE.receipt_sha256,
    }
    template["spec"]["containers"][1]["image"] = IMAGE
    assert patched(BASE, loaded(TEXT)) == expected


@given(releases)
def test_every_annotation_is_a_text_even_one_of_digits_alone(release: Release) -> None:
    assert {type(value) for value in notes(loaded(format_release(release))).values()} == {str}


# ---- Planted failures ------------------------------------------------------------------------------------------------


def template(raw: Any) -> Any:
    return raw["spec"]["template"]


def notes(raw: Any) -> Any:
    return template(raw)["metadata"]["annotations"]


def server(raw: Any) -> Any:
    return template(raw)["spec"]["containers"][0]


@pytest.mark.parametrize(
    ("plant", "named"),
    [
        (lambda raw: raw["spec"].update(replicas=0), "spec.replicas"),
        (lambda raw: template(raw)["spec"].update(hostNetwork=True), "spec.template.spec.hostNetwork"),
        (lambda raw: template(raw)["spec"].update(serviceAccountName="root"), "serviceAccountName"),
        (lambda raw: template(raw)["spec"].update({"$patch": "replace"}), "$patch"),
        (lambda raw: server(raw).update(securityContext={"privileged": True}), "containers[0].securityContext"),
        (lambda raw: server(raw).update(command=["sh"]), "containers[0].command"),
        (lambda raw: server(raw).update(env=[]), "containers[0].env"),
        (lambda raw: server(raw).update(name="fetch"), "containers[0].name"),
        (lambda raw: template(raw)["spec"]["containers"].append({"name": "miner"}), "spec.template.spec.containers"),
        (lambda raw: template(raw)["spec"].update(initContainers=[]), "initContainers"),
        (lambda raw: notes(raw).update(other="x"), "annotations.other"),
        (lambda raw: template(raw)["metadata"].update(labels={}), "metadata.labels"),
        (lambda raw: raw.update(kind="DaemonSet"), "kind"),
        (lambda raw: raw.update(apiVersion="v1"), "apiVersion"),
        (lambda raw: raw["metadata"].update(name="other"), "metadata.name"),
        (lambda raw: raw["metadata"].update(namespace="kube-system"), "metadata.namespace"),
        (lambda raw: raw.update({1: 2}), "'1'"),
        (lambda raw: server(raw).update(image="ghcr.io/owner/mergeline:latest"), "image"),
        (lambda raw: server(raw).update(image=IMAGE.replace("@", ":latest@")), "image"),
        (lambda raw: server(raw).update(image=IMAGE + "0"), "image"),
        (lambda raw: server(raw).update(image=None), "containers[0].image"),
        (lambda raw: server(raw).pop("image"), "containers[0].image: missing"),
        (
            lambda raw: notes(raw).update({"mergeline.dev/model-sha256": "A" * 64}),
            "sha256",
        ),
        (lambda raw: notes(raw).update({"mergeline.dev/model-sha256": 7}), "sha256"),
        (lambda raw: notes(raw).update({"mergeline.dev/model-store": ""}), "store"),
        (lambda raw: notes(raw).update({"mergeline.dev/model-store": "none"}), "all set"),
        (lambda raw: raw.pop("spec"), "spec: missing"),
        (lambda raw: raw.update(metadata=[]), "metadata"),
    ],
)
def test_a_release_file_smuggles_nothing(plant: Callable[[Any], Any], named: str) -> None:
    raw = loaded(TEXT)
    plant(raw)
    with pytest.raises(VerificationError) as err:
        parse_release(dumped(raw))
    assert named in str(err.value)
    assert "\n" not in str(err.value)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("# a comment", id="a comment alone"),
        pytest.param("[" * 9000, id="nested deeper than a reader goes"),
        pytest.param(TEXT + "#" * 20_000, id="longer than any release"),
        pytest.param(TEXT + "---\n" + TEXT, id="two documents"),
        pytest.param(TEXT + "kind: Deployment\n", id="a key twice"),
        pytest.param(TEXT + "<<: {spec: {replicas: 0}}\n", id="a merged mapping"),
        pytest.param(TEXT.replace("name: mergeline", "name: &x mergeline"), id="an anchor"),
        pytest.param(TEXT.replace("name: mergeline", "name: *x"), id="an alias"),
        pytest.param(TEXT.replace("name: mergeline", "name: !!str mergeline"), id="a tag"),
        pytest.param(TEXT.replace("name: mergeline", "name: !!python/name:os.system mergeline"), id="an object"),
        pytest.param(TEXT.replace("# The model", "# x\u2028spec: {replicas: 0} # "), id="a line end for some readers"),
        pytest.param(TEXT.replace("# The model", "# x\x85spec: {replicas: 0} # "), id="another one"),
        pytest.param(TEXT.replace("# The model", "# \u202e"), id="text that runs backwards"),
        pytest.param(TEXT.replace('"' + "1" * 64 + '"', "1" * 64), id="a hash that is a number"),
    ],
)
def test_a_text_beyond_plain_yaml_is_refused(text: str) -> None:
    with pytest.raises(VerificationError, match=r"\Arelease\.yaml: [^\n]+\Z"):
        parse_release(text)


@pytest.mark.parametrize(
    "release",
    [
        Release("1" * 64, None, "2" * 64, IMAGE),
        Release(None, "store", None, IMAGE),
        Release("1" * 64, "store\nimage: x", "2" * 64, IMAGE),
        Release("1" * 64, "none", "2" * 64, IMAGE),
        Release("1" * 63, "store", "2" * 64, IMAGE),
        Release(None, None, None, "mergeline:1"),
        Release(None, None, None, "none"),
    ],
)
def test_a_release_that_could_not_be_read_back_is_not_written(release: Release) -> None:
    with pytest.raises(VerificationError):
        format_release(release)
