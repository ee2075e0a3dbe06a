"""The groups of nodes of terraform/ for Cluster Autoscaler: what it may move, and whom a new node would take."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from repositories import TEMPLATE
from terraform_policy import says
from terraform_runs import Cloud, applied, begin, needed, shared_folder

GROUP = "arn:aws:autoscaling:eu-central-1:123456789012:autoScalingGroup:1f:autoScalingGroupName/eks-training-2a"
TAG = "aws:ResourceTag/k8s.io/cluster-autoscaler/{}"  # EKS puts it on each group that it makes
DISK = "k8s.io/cluster-autoscaler/node-template/resources/ephemeral-storage"
MOVES = ("autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup")


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Cloud:
    needed()
    return applied(begin(shared_folder(tmp_path_factory, worker_id)))


@pytest.fixture(scope="module")
def may(cloud: Cloud) -> dict[str, Any]:
    """The policy of the autoscaler's pod."""
    planned = cloud.planned("aws_iam_role_policy")['aws_iam_role_policy.pod["autoscaler"]']
    found: dict[str, Any] = json.loads(planned["policy"])
    return found


# ---- What it may (S11) -----------------------------------------------------------------------------------------------


def test_s11_the_autoscaler_moves_a_group_of_this_cluster_and_cannot_change_its_limits(may: dict[str, Any]) -> None:
    ours = {TAG.format("mergeline"): "owned"}
    assert [says(may, action, GROUP, ours) for action in MOVES] == [True, True]
    for action in ("UpdateAutoScalingGroup", "DeleteAutoScalingGroup", "CreateOrUpdateTags", "AttachInstances"):
        assert says(may, f"autoscaling:{action}", GROUP, ours) is None, action
    group = "arn:aws:eks:eu-central-1:123456789012:nodegroup/{}/training/1f"
    seen = [says(may, "eks:DescribeNodegroup", group.format(each), {}) for each in ("mergeline", "mergeline-2")]
    assert seen == [True, None]


@pytest.mark.parametrize(
    ("group", "tags"),
    [
        pytest.param(GROUP, {}, id="no tag"),
        pytest.param(GROUP, {TAG.format("mergeline-2"): "owned"}, id="another cluster's"),
        pytest.param(GROUP, {TAG.format("mergeline"): "shared"}, id="not owned"),
        pytest.param(GROUP, {TAG.format("enabled"): "true"}, id="for any autoscaler"),
        pytest.param(GROUP.replace("eks-", "web-"), {TAG.format("mergeline"): "owned"}, id="not made by EKS"),
    ],
)
def test_s11_twin_the_autoscaler_moves_no_other_group(may: dict[str, Any], group: str, tags: dict[str, str]) -> None:
    assert [says(may, action, group, tags) for action in MOVES] == [None, None]


def test_its_role_is_for_the_service_account_that_the_docs_install_it_with(cloud: Cloud) -> None:
    given = {
        each["role_arn"].rpartition("-pod-")[2]: (each["namespace"], each["service_account"])
        for each in cloud.planned("aws_eks_pod_identity_association").values()
    }
    text = (TEMPLATE / "docs/training-job.md").read_text()
    [command] = re.findall(r"^helm upgrade --install (.*?[^\\])$", text, re.DOTALL | re.MULTILINE)
    words = re.findall(r"--namespace (\S+)|rbac\.serviceAccount\.name=(\S+)", command)
    assert tuple("".join(each) for each in words) == given["autoscaler"]
    assert len(set(given.values())) == len(given) == 4


def test_the_docs_install_the_autoscaler_of_the_clusters_version(cloud: Cloud) -> None:
    [cluster] = cloud.planned("aws_eks_cluster").values()
    text = (TEMPLATE / "docs/training-job.md").read_text()
    [chart] = re.findall(r"--version ([\d.]+)", text)
    assert f"Chart {chart} brings it for Kubernetes {cluster['version']}" in text


# ---- Whom a node would take that is not there yet --------------------------------------------------------------------


def gib(quantity: str) -> float:
    """Room as Kubernetes writes it, in GiB.

    >>> gib("10Gi"), gib("512Mi")
    (10.0, 0.5)
    """
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", quantity).groups()  # type: ignore[union-attr]  # or the test fails
    return float(number) / (1024 if unit == "Mi" else 1)


def would_take(group: Mapping[str, Any], pod: Mapping[str, Any]) -> list[str]:
    """Why a node of an empty group would not take a pod, by what the autoscaler reads of the group."""
    tolerated = {(each["key"], each["value"]) for each in pod.get("tolerations", ())}
    taints = {(each["key"], each["value"]) for each in group["taints"]}
    asked = sum(gib(each["resources"]["requests"].get("ephemeral-storage", "0Gi")) for each in pod["containers"])
    return [
        *(["label"] if not pod.get("nodeSelector", {}).items() <= group["labels"].items() else []),
        *(["taint"] if not taints <= tolerated else []),
        *(["disk"] if asked > gib(group["tags"].get(DISK, "0Gi")) else []),
    ]


def test_a_job_fits_a_node_of_the_empty_training_group_and_of_no_other(cloud: Cloud) -> None:
    eks = cloud.client("eks")
    groups = {
        name: eks.describe_nodegroup(clusterName="mergeline", nodegroupName=name)["nodegroup"]
        for name in ("training", "serving")
    }
    training = groups["training"]
    assert training["scalingConfig"] == {"minSize": 0, "desiredSize": 0, "maxSize": 2}
    job = yaml.safe_load((TEMPLATE / "k8s/training/job/job.yaml").read_text())["spec"]["template"]["spec"]
    assert would_take(training, job) == []
    assert would_take(groups["serving"], job) == ["label"]
    server = yaml.safe_load((TEMPLATE / "k8s/base/deployment.yaml").read_text())["spec"]["template"]["spec"]
    assert would_take(training, server) == ["taint"]
    assert would_take(training | {"tags": {}}, job) == ["disk"]  # what Cluster Autoscaler says without the tag


def test_what_pods_are_told_of_a_disk_is_less_than_the_disk(cloud: Cloud) -> None:
    [template] = cloud.planned("aws_launch_template").values()
    [disk] = [each["ebs"][0]["volume_size"] for each in template["block_device_mappings"]]
    job = yaml.safe_load((TEMPLATE / "k8s/training/job/job.yaml").read_text())["spec"]["template"]["spec"]
    most = gib(job["containers"][0]["resources"]["limits"]["ephemeral-storage"])
    for group in cloud.planned("aws_eks_node_group").values():
        assert most <= gib(group["tags"][DISK]) <= 0.9 * disk


def test_nodes_have_the_clusters_version(cloud: Cloud) -> None:
    eks = cloud.client("eks")
    version = eks.describe_cluster(name="mergeline")["cluster"]["version"]
    found = {
        each: eks.describe_nodegroup(clusterName="mergeline", nodegroupName=each)["nodegroup"]["version"]
        for each in eks.list_nodegroups(clusterName="mergeline")["nodegroups"]
    }
    assert found == {"serving": version, "training": version}
