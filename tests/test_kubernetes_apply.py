"""kubectl brings the manifests to a cluster: applies, compares, follows a rollout, one that fails included."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from kube_api import Server, served
from kube_cluster import Cluster
from kube_manifests import RELEASE, Object, copy_to, release, switch_on
from kube_policy import confined, restricted
from test_kubernetes import ALL, objections
from tools import tool

from mergeline.release.manifests import MODEL_ANNOTATION, NO_RELEASE, Release

NAMESPACE = "mergeline-production"
NEXT = Release("3" * 64, "s3://models/flights", "4" * 64, RELEASE.image)
BROKEN = Release("b" * 64, "s3://models/flights", "4" * 64, RELEASE.image)


def starts(template: Object) -> bool:
    """Pods that the namespace admits, with a model whose bytes are those of its hash."""
    if [*restricted(template), *confined(template)]:
        return False
    return template["metadata"]["annotations"][MODEL_ANNOTATION] in (RELEASE.model_sha256, NEXT.model_sha256)


@dataclass(frozen=True, slots=True)
class Team:
    """A checkout's production overlay, and kubectl with a cluster."""

    cluster: Cluster
    overlay: Path
    server: Server

    def kubectl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run kubectl; it keeps what it learns of a cluster in a home of its own."""
        [program] = tool("kubectl")
        home = {"HOME": str(self.overlay.parents[2]), "KUBECONFIG": os.devnull}
        inherited = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        command = [str(program), "--server", self.server.url, *arguments]
        return subprocess.run(command, env=inherited | home, capture_output=True, text=True, check=False)

    def apply(self, which: Release) -> subprocess.CompletedProcess[str]:
        """Write a release and apply the overlay."""
        release(self.overlay, which)
        return self.kubectl("apply", "--server-side", "-k", str(self.overlay))

    def diff(self, which: Release) -> subprocess.CompletedProcess[str]:
        """Write a release and compare the overlay with the cluster."""
        release(self.overlay, which)
        return self.kubectl("diff", "--server-side", "-k", str(self.overlay))

    def follow(self) -> subprocess.CompletedProcess[str]:
        """Wait for the rollout as a deployment step does."""
        return self.kubectl("rollout", "status", "deployment/mergeline", "-n", NAMESPACE, "--timeout", "20s")

    def deployment(self) -> Object:
        return self.cluster.find("Deployment", NAMESPACE, "mergeline")

    def serves(self) -> str | None:
        """The model of the pods that are ready."""
        template = self.cluster.serving(NAMESPACE)
        return str(template["metadata"]["annotations"][MODEL_ANNOTATION]) if template else None


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    cluster = Cluster(objections, starts)
    with served(cluster) as server:
        yield Team(cluster, copy_to(tmp_path) / "overlays/production", server)


def test_a_release_is_applied_and_its_rollout_followed(team: Team) -> None:
    applied = team.apply(RELEASE)
    assert applied.returncode == 0, applied.stderr
    assert "deployment.apps/mergeline serverside-applied" in applied.stdout
    followed = team.follow()
    assert followed.returncode == 0, followed.stderr
    assert "successfully rolled out" in followed.stdout
    assert team.serves() == RELEASE.model_sha256
    strict = {each.query["fieldValidation"] for each in team.server.asked if each.method == "PATCH"}
    assert strict == {"Strict"}


def test_everything_with_every_component_is_applied_and_then_there_is_no_difference(team: Team) -> None:
    switch_on(team.overlay, ALL)
    assert team.apply(RELEASE).returncode == 0
    same = team.diff(RELEASE)
    assert (same.returncode, same.stdout) == (0, ""), same.stderr
    kinds = {kind for kind, _, _ in team.cluster.objects}
    assert {"Deployment", "Rollout", "PrometheusRule", "ServiceMonitor", "ExternalSecret"} <= kinds


def test_a_promotion_differs_in_the_lines_of_the_release_alone(team: Team) -> None:
    team.apply(RELEASE)
    found = team.diff(NEXT)
    assert found.returncode == 1, found.stderr
    lines = [line for line in found.stdout.splitlines() if line[:1] in "+-" and not line.startswith(("+++", "---"))]
    changed = [line for line in lines if "generation:" not in line]
    assert sorted(line.split(":")[0].strip("+- ") for line in changed) == [
        *["mergeline.dev/model-sha256"] * 2,
        *["mergeline.dev/receipt-sha256"] * 2,
    ]
    assert team.deployment()["spec"]["template"]["metadata"]["annotations"][MODEL_ANNOTATION] == RELEASE.model_sha256


def test_r10_a_release_that_never_gets_ready_leaves_the_old_pods(team: Team) -> None:
    team.apply(RELEASE)
    team.follow()
    team.apply(BROKEN)
    failed = team.follow()
    assert failed.returncode != 0
    assert "exceeded its progress deadline" in failed.stderr
    assert team.serves() == RELEASE.model_sha256
    assert team.deployment()["status"]["availableReplicas"] == team.deployment()["spec"]["replicas"]


def test_r6_a_revert_after_a_failed_rollout_is_followed_to_its_end(team: Team) -> None:
    for which in (RELEASE, NEXT, BROKEN):
        team.apply(which)
        followed = team.follow()
        assert (followed.returncode == 0) is (which is not BROKEN)
    assert team.apply(NEXT).returncode == 0
    assert team.follow().returncode == 0
    assert team.serves() == NEXT.model_sha256


def test_without_a_release_no_pod_is_ever_ready(team: Team) -> None:
    assert team.apply(NO_RELEASE).returncode == 0
    assert team.follow().returncode != 0
    assert team.serves() is None


def test_s9_pods_that_are_not_restricted_never_start(team: Team) -> None:
    file = team.overlay.parents[1] / "base/deployment.yaml"
    file.write_text(file.read_text().replace("runAsNonRoot: true", "runAsNonRoot: false"))
    assert team.apply(RELEASE).returncode == 0
    assert team.follow().returncode != 0
    assert team.serves() is None


def test_a_field_that_kubernetes_does_not_know_is_refused(team: Team) -> None:
    file = team.overlay.parents[1] / "base/deployment.yaml"
    file.write_text(file.read_text().replace("minReadySeconds:", "minReadySecond:"))
    refused = team.apply(RELEASE)
    assert refused.returncode != 0
    assert "minReadySecond" in refused.stderr
    assert ("Deployment", NAMESPACE, "mergeline") not in team.cluster.objects


@pytest.mark.parametrize("replicas", ["", "  replicas: 1\n"], ids=["ours", "twin"])
def test_what_the_autoscaler_set_survives_a_release(team: Team, replicas: str) -> None:
    """The twin: with `replicas` in the manifest every release would throw the pods away that the load asks for."""
    file = team.overlay.parents[1] / "base/deployment.yaml"
    file.write_text(file.read_text().replace("  minReadySeconds:", f"{replicas}  minReadySeconds:"))
    team.apply(RELEASE)
    scaled = team.kubectl(
        *("patch", "deployment", "mergeline", "-n", NAMESPACE, "--type", "merge", "-p", '{"spec":{"replicas":7}}')
    )
    assert scaled.returncode == 0, scaled.stderr
    team.apply(NEXT)
    assert team.deployment()["spec"]["replicas"] == (1 if replicas else 7)


def test_a_cluster_that_is_not_there_is_an_error(team: Team) -> None:
    [program] = tool("kubectl")
    command = [str(program), "--server", "http://127.0.0.1:9", "apply", "--server-side", "-k", str(team.overlay)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
