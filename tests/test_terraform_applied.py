"""terraform/ applied by the real provider to AWS on loopback: what it makes, who may do what, and how it ends.

Promises S2, S6, S7 and S11. What loopback does not prove: quotas, versions that AWS still has, and roles, which are
read here instead (`terraform_policy.py`).
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from promoted import Promoted
from repositories import TEMPLATE, Repository
from terraform_policy import grants, many, says, statements, widest
from terraform_runs import Cloud, applied, begin, left, needed, run, shared_folder, told

from mergeline.errors import VerificationError
from mergeline.logstore import open_log
from mergeline.release.store import open_store

HOST = "token.actions.githubusercontent.com"
ROLES = {"train", "monitor", "release", "image", "plan", "apply", "deploy"}
REPOSITORY = "acme@12/model@345"


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Where the cloud of this run lives."""
    needed()
    return begin(shared_folder(tmp_path_factory, worker_id))


@pytest.fixture(scope="module")
def cloud(life: Path) -> Cloud:
    """The cloud after its first and second plan; tests change nothing that another one looks at."""
    return applied(life)


@pytest.fixture
def account(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of somebody who uses the cloud."""
    settings = {key: value for key, value in cloud.environment.items() if key.startswith("AWS_")}
    settings |= {"AWS_DEFAULT_REGION": settings["AWS_REGION"], "MLFLOW_S3_ENDPOINT_URL": settings["AWS_ENDPOINT_URL"]}
    for key, value in settings.items():
        monkeypatch.setenv(key, value)
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    return settings


# ---- From nothing to nothing -----------------------------------------------------------------------------------------


def test_it_applies_and_a_second_plan_changes_nothing(cloud: Cloud) -> None:
    assert re.search(r"Apply complete! Resources: (\d+) added, 0 changed, 0 destroyed", cloud.done["apply"].said)
    assert "No changes. Your infrastructure matches the configuration." in cloud.done["again"].said
    changes = [each["change"]["actions"] for each in cloud.plan["resource_changes"]]
    assert len(changes) > 100
    assert set(map(tuple, changes)) == {("no-op",)}


def test_a_change_behind_its_back_is_seen_and_the_state_moves_to_its_bucket(cloud: Cloud, tmp_path: Path) -> None:
    with cloud.forked(tmp_path / "terraform") as other:
        s3 = other.client("s3")
        s3.put_public_access_block(
            Bucket="mergeline-123456789012-models",
            PublicAccessBlockConfiguration={"BlockPublicAcls": False, "IgnorePublicAcls": True,
                                            "BlockPublicPolicy": True, "RestrictPublicBuckets": True},
        )  # fmt: skip
        (other.folder / "backend_override.tf").unlink()
        state = "mergeline-123456789012-state"
        moved = run(
            other.folder, other.environment, "init", "-migrate-state", "-force-copy", f"-backend-config=bucket={state}"
        )
        assert moved.code == 0, moved.said
        [key] = [each["Key"] for each in s3.list_objects_v2(Bucket=state)["Contents"]]
        assert s3.head_object(Bucket=state, Key=key)["ServerSideEncryption"] == "aws:kms"
        s3.put_object(Bucket=state, Key=f"{key}.tflock", Body=b'{"ID": "another run"}')
        locked = run(other.folder, other.environment, "untaint", "aws_sns_topic.alarms")
        assert locked.code == 1
        assert "Error acquiring the state lock" in locked.said
        done = run(other.folder, other.environment, "plan", "-detailed-exitcode", "-lock=false")
    assert done.code == 2, done.said
    assert re.findall(r"# (\S+) will be", done.said) == ['aws_s3_bucket_public_access_block.main["models"]']
    assert "Plan: 0 to add, 1 to change, 0 to destroy." in done.said


def test_what_was_made_and_used_is_destroyed_by_one_command_and_nothing_is_left(life: Path, cloud: Cloud) -> None:
    gone = told(life, "gone")
    assert gone["destroy"].code == 0, gone["destroy"].said
    assert "left: nothing; keys of KMS are deleted after their waiting time" in gone["destroy"].said
    assert gone["left"].said == ""  # by another way of looking
    assert len(left(cloud.port)) > 20


def test_the_table_of_costs_counts_what_is_planned_and_small_is_under_ten_dollars_a_day(cloud: Cloud) -> None:
    text = (TEMPLATE / "docs/cloud.md").read_text()
    rows = re.findall(r"^\| (.+?) \| (\d+) \| (\d+) \| ([\d.]+) \|$", text, re.MULTILINE)
    nodes = cloud.planned("aws_eks_node_group")['aws_eks_node_group.main["serving"]']["scaling_config"][0]["min_size"]
    interfaces = [
        each for each in cloud.planned("aws_vpc_endpoint").values() if each["vpc_endpoint_type"] == "Interface"
    ]
    assert {what.split(",")[0]: int(standard) for what, _, standard, _ in rows if "t3" not in what} == {
        "cluster": len(cloud.planned("aws_eks_cluster")),
        "NAT gateway and its address": len(cloud.planned("aws_nat_gateway")),
        "nodes": nodes,
        "their disks": nodes,
        "interface endpoints": len(interfaces) * len(interfaces[0]["subnet_ids"]),
        "keys of KMS": len(cloud.planned("aws_kms_key")) + 1,
        "alarms": len(cloud.planned("aws_cloudwatch_metric_alarm")),
    }
    small, standard = (sum(int(row[column]) * float(row[3]) for row in rows) for column in (1, 2))
    assert small < 10
    assert f"`small` comes to {small:.0f} dollars a day, `standard` to {standard:.0f}" in text
    assert f", or {round(3 * small)}0 and {round(3 * standard)}0 a month" in text


# ---- Who becomes a role (S2) -----------------------------------------------------------------------------------------


def trust(cloud: Cloud, role: str) -> dict[str, Any]:
    """The trust policy of a role as it was made."""
    found: dict[str, Any] = cloud.client("iam").get_role(RoleName=f"mergeline-{role}")["Role"][
        "AssumeRolePolicyDocument"
    ]
    return found


def assumes(document: dict[str, Any], claims: dict[str, str]) -> bool:
    """Whether GitHub's token with these claims becomes the role."""
    federated = f"arn:aws:iam::123456789012:oidc-provider/{HOST}"
    context = {f"{HOST}:{name}": value for name, value in claims.items()}
    return says(document, "sts:AssumeRoleWithWebIdentity", "*", context, federated) is True


def subject(rest: str, repository: str = REPOSITORY, aud: str = "sts.amazonaws.com") -> dict[str, str]:
    return {"sub": f"repo:{repository}:{rest}", "aud": aud}


OWN = {"train": ["train"], "deploy": ["staging", "production"]}
STRANGERS = {
    "a fork with the same name": subject("environment:{own}", "someone@99/model@678"),
    "a fork of the same owner": subject("environment:{own}", "acme@12/model-fork@678"),
    "a repository that took the name of one that is gone": subject("environment:{own}", "acme@12/model@999"),
    "an owner who took the name": subject("environment:{own}", "acme@77/model@345"),
    "the old form of the subject": subject("environment:{own}", "acme/model"),
    "the default branch without the environment": subject("ref:refs/heads/main"),
    "another branch": subject("ref:refs/heads/other"),
    "a tag": subject("ref:refs/tags/v1"),
    "a pull request": subject("pull_request"),
    "another environment": subject("environment:other"),
    "an environment that begins with the name": subject("environment:{own}-2"),
    "the same in capitals": subject("environment:{OWN}"),
    "another audience": subject("environment:{own}", aud="https://github.com/acme"),
    "no subject": {"aud": "sts.amazonaws.com"},
    "no audience": {"sub": f"repo:{REPOSITORY}:environment:{{own}}"},
    "nothing": {},
}


@pytest.mark.parametrize("role", sorted(ROLES))
def test_s2_a_role_is_for_the_environment_of_this_repository_and_for_nobody_else(cloud: Cloud, role: str) -> None:
    document = trust(cloud, role)
    for own in OWN.get(role, [role]):
        assert assumes(document, subject(f"environment:{own}"))
        for who, claims in STRANGERS.items():
            filled = {name: value.replace("{own}", own).replace("{OWN}", own.upper()) for name, value in claims.items()}
            assert not assumes(document, filled), who
    others = {
        each
        for role_, names in {name: OWN.get(name, [name]) for name in ROLES}.items()
        if role_ != role
        for each in names
    }
    assert not any(assumes(document, subject(f"environment:{each}")) for each in others)


def test_s2_twin_a_pattern_where_a_name_has_to_be_lets_others_in(cloud: Cloud) -> None:
    text = json.dumps(trust(cloud, "train"))
    loose = json.loads(text.replace("StringEquals", "StringLike").replace("environment:train", "*"))
    assert assumes(loose, subject("pull_request"))
    without = json.loads(text)
    del statements(without)[0]["Condition"]["StringEquals"][f"{HOST}:sub"]
    assert assumes(without, {"aud": "sts.amazonaws.com"})


def test_s2_the_old_form_is_taken_where_it_is_asked_for_and_pods_are_no_workflow(cloud: Cloud) -> None:
    document = trust(cloud, "train")
    [sub] = many(statements(document)[0]["Condition"]["StringEquals"][f"{HOST}:sub"])
    assert sub == "repo:acme@12/model@345:environment:train"
    both = json.loads(json.dumps(document))
    statements(both)[0]["Condition"]["StringEquals"][f"{HOST}:sub"] = [sub, "repo:acme/model:environment:train"]
    assert assumes(both, subject("environment:train", "acme/model"))
    pod = trust(cloud, "pod-production")
    assert not assumes(pod, subject("environment:production"))
    given = says(pod, "sts:AssumeRole", "*", {"aws:SourceAccount": "123456789012"}, "pods.eks.amazonaws.com")
    assert (
        given,
        says(pod, "sts:AssumeRole", "*", {"aws:SourceAccount": "999999999999"}, "pods.eks.amazonaws.com"),
    ) == (True, None)


# ---- What a role may (S11) -------------------------------------------------------------------------------------------

READ = {"s3:ListBucket", "s3:GetObject", "kms:Decrypt"}
ADD = {"s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:ListBucketMultipartUploads",
       "kms:GenerateDataKey"}  # fmt: skip
SIGN = {"kms:DescribeKey", "kms:GetPublicKey", "kms:Sign"}
PULL = {
    "ecr:GetAuthorizationToken",
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:GetDownloadUrlForLayer",
}
SEE = {
    "autoscaling:DescribeAutoScalingGroups",
    "autoscaling:DescribeAutoScalingInstances",
    "autoscaling:DescribeScalingActivities",
    "ec2:DescribeImages",
    "ec2:DescribeInstanceTypes",
    "ec2:DescribeLaunchTemplateVersions",
    "ec2:GetInstanceTypesFromInstanceRequirements",
}
ALLOWED = {
    "train": READ | ADD | {"eks:DescribeCluster"},
    "monitor": READ | ADD | {"cloudwatch:PutMetricData"},
    "release": READ | SIGN | {"s3:PutObject", "kms:GenerateDataKey"},
    "image": SIGN | PULL | {"ecr:CompleteLayerUpload", "ecr:DescribeImages", "ecr:InitiateLayerUpload", "ecr:PutImage",
                            "ecr:UploadLayerPart"},
    "deploy": {"eks:DescribeCluster"},
    "pod-training": READ | ADD,
    "pod-staging": READ | {"s3:PutObject", "kms:GenerateDataKey"},
    "pod-production": READ | {"s3:PutObject", "kms:GenerateDataKey"},
    "pod-autoscaler": SEE | {"eks:DescribeNodegroup", "autoscaling:SetDesiredCapacity",
                             "autoscaling:TerminateInstanceInAutoScalingGroup"},
    "cluster": {"kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:ListGrants"},
    "flow-logs": {"logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"},
    "sagemaker": READ | PULL | {"logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"},
    # Terraform's own: no pattern either, and nothing that reads what is stored
    "plan": READ | {"*:Describe*", "*:List*", "iam:Get*", "s3:GetBucket*", "s3:Get*Configuration", "kms:GetKey*",
                    "ecr:GetLifecyclePolicy", "sns:Get*Attributes", "budgets:ViewBudget", "sts:GetCallerIdentity"},
}  # fmt: skip
ALLOWED["apply"] = ALLOWED["plan"] | {
    "s3:PutObject", "s3:DeleteObject", "kms:GenerateDataKey", "s3:PutBucket*", "s3:PutEncryptionConfiguration",
    "s3:PutLifecycleConfiguration", "ec2:*", "eks:*", "ecr:Put*", "ecr:*agResource", "kms:CreateGrant",
    "kms:EnableKeyRotation", "kms:PutKeyPolicy", "kms:*agResource", "kms:UpdateKeyDescription", "iam:*Role*",
    "iam:*agPolicy", "iam:*agOpenIDConnectProvider",
    "logs:*LogGroup", "logs:PutRetentionPolicy", "logs:*agResource", "cloudwatch:*Alarm*", "cloudwatch:*agResource",
    "sns:CreateTopic", "sns:SetTopicAttributes", "sns:*ubscribe", "sns:*agResource", "budgets:ModifyBudget",
    "budgets:*agResource", "sagemaker:*",
}  # fmt: skip
EVERYWHERE = SEE | {"ecr:GetAuthorizationToken", "cloudwatch:PutMetricData"}  # AWS knows no resource for them


def permitted(cloud: Cloud) -> dict[str, str]:
    """The policy of each role, by its short name, from the plan's JSON."""
    found = cloud.planned("aws_iam_role_policy").values()
    return {str(each["role"]).removeprefix("mergeline-"): str(each["policy"]) for each in found}


def too_much(policies: dict[str, str]) -> list[str]:
    """What a policy allows beyond its list: an action, a pattern for one, or everything where one thing is meant."""
    found = []
    for role, policy in policies.items():
        allowed = grants(policy)
        found += [f"{role}: {action}" for action in widest(allowed, ALLOWED.get(role, ()))]
        found += [f"{role}: {action} is a pattern" for action in allowed if "*" in action]
        if role not in ("plan", "apply"):
            wide = {action for action, resources in allowed.items() if "*" in resources} - EVERYWHERE
            found += [f"{role}: {action} on everything" for action in sorted(wide)]
    return found


def test_s11_each_role_may_what_its_list_says_and_no_more(cloud: Cloud) -> None:
    policies = permitted(cloud)
    assert policies.keys() == ALLOWED.keys() >= ROLES
    assert too_much(policies) == []


@pytest.mark.parametrize(
    ("role", "planted", "expected"),
    [
        ("train", {"Action": "*", "Resource": "*"}, "train: *"),
        ("train", {"Action": "s3:*", "Resource": "arn:aws:s3:::mergeline-123456789012-dvc/*"}, "train: s3:*"),
        ("pod-production", {"Action": "s3:GetObject", "Resource": "*"}, "s3:GetObject on everything"),
        ("release", {"Action": "s3:DeleteObject", "Resource": "a"}, "release: s3:DeleteObject"),
        ("deploy", {"Action": "eks:UpdateClusterConfig", "Resource": "a"}, "deploy: eks:UpdateClusterConfig"),
        ("pod-autoscaler", {"Action": "autoscaling:SetDesiredCapacity", "Resource": "*"}, "Capacity on everything"),
        ("pod-autoscaler", {"Action": "autoscaling:UpdateAutoScalingGroup", "Resource": "a"}, "UpdateAutoScalingGroup"),
        ("apply", {"Action": "iam:CreateAccessKey", "Resource": "a"}, "apply: iam:CreateAccessKey"),
        ("apply", {"Action": "ec2:*", "Resource": "a"}, "ec2:* is a pattern"),
    ],
)  # fmt: skip
def test_s11_twin_a_planted_star_is_caught(cloud: Cloud, role: str, planted: dict[str, str], expected: str) -> None:
    document = json.loads(permitted(cloud)[role])
    document["Statement"].append({"Effect": "Allow"} | planted)
    assert any(expected in each for each in too_much({role: json.dumps(document)}))


MODELS, PREDICTIONS = "arn:aws:s3:::mergeline-123456789012-models", "arn:aws:s3:::mergeline-123456789012-predictions"


@pytest.mark.parametrize(
    ("role", "action", "resource", "may"),
    [
        ("pod-production", "s3:GetObject", f"{MODELS}/sha256/a", True),
        ("pod-production", "s3:PutObject", f"{MODELS}/sha256/a", False),
        ("pod-production", "s3:DeleteObject", f"{MODELS}/sha256/a", False),
        ("pod-production", "s3:PutObject", f"{PREDICTIONS}/production/predictions/a", True),
        ("pod-production", "s3:PutObject", f"{PREDICTIONS}/staging/predictions/a", False),
        ("pod-production", "s3:GetObject", f"{PREDICTIONS}/production/predictions/a", False),
        ("pod-production", "s3:GetObject", "arn:aws:s3:::mergeline-123456789012-dvc/a", False),
        ("train", "s3:PutObject", f"{MODELS}/sha256/a", True),
        ("train", "s3:DeleteObject", f"{MODELS}/sha256/a", False),
        ("train", "s3:PutObject", f"{MODELS}/signatures/a", False),  # whose junk, put first, would stop a release
        ("pod-training", "s3:PutObject", f"{MODELS}/signatures/a", False),
        ("train", "s3:GetObject", f"{PREDICTIONS}/production/predictions/a", False),
        ("release", "s3:PutObject", f"{MODELS}/sha256/a", False),
        ("release", "s3:PutObject", f"{MODELS}/signatures/a", True),
        ("monitor", "s3:PutObject", f"{MODELS}/sha256/a", False),
        ("monitor", "s3:GetObject", f"{PREDICTIONS}/production/predictions/a", True),
        ("monitor", "s3:PutObject", "arn:aws:s3:::mergeline-123456789012-dvc/a", True),
        ("plan", "s3:GetObject", f"{MODELS}/sha256/a", False),
        ("plan", "s3:PutObject", "arn:aws:s3:::mergeline-123456789012-state/mergeline/terraform.tfstate", False),
        ("apply", "s3:GetObject", f"{MODELS}/sha256/a", False),
        ("apply", "s3:DeleteBucket", MODELS, False),
        ("apply", "kms:ScheduleKeyDeletion", "*", False),
    ],
)  # fmt: skip
def test_s11_who_may_what_with_what_is_stored(cloud: Cloud, role: str, action: str, resource: str, may: bool) -> None:
    by_s3 = {"kms:ViaService": "s3.eu-central-1.amazonaws.com"}
    assert (says(json.loads(permitted(cloud)[role]), action, resource, by_s3) is True) == may


def test_s11_no_role_is_without_the_boundary_and_a_role_that_makes_roles_cannot_leave_it_out(cloud: Cloud) -> None:
    boundary = "arn:aws:iam::123456789012:policy/mergeline/mergeline-boundary"
    roles = cloud.planned("aws_iam_role")
    assert {each["permissions_boundary"] for each in roles.values()} == {boundary}
    assert {each["path"] for each in roles.values()} == {"/mergeline/"}
    apply = json.loads(permitted(cloud)["apply"])
    role, other = "arn:aws:iam::123456789012:role/mergeline/new", "arn:aws:iam::123456789012:role/Admin"
    for action in ("iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy"):
        assert says(apply, action, role, {"iam:PermissionsBoundary": boundary}) is True
        assert says(apply, action, role, {}) is None
        assert says(apply, action, other, {"iam:PermissionsBoundary": boundary}) is None
    [document] = [each["policy"] for each in cloud.planned("aws_iam_policy").values()]
    for action in ("iam:CreateUser", "iam:CreateAccessKey", "iam:CreatePolicyVersion", "s3:BypassGovernanceRetention"):
        assert says(json.loads(document), action, "*", {}) is False


# ---- What no role can ever be given (S11) ----------------------------------------------------------------------------

ACCOUNT_OF = "arn:aws:iam::123456789012"
BOUNDARY = f"{ACCOUNT_OF}:policy/mergeline/mergeline-boundary"
OURS, ITSELF, ADMIN = (f"{ACCOUNT_OF}:role/{each}" for each in ("mergeline/new", "mergeline/mergeline-apply", "Admin"))
BOUNDED, OTHERWISE = (
    {"iam:PermissionsBoundary": each} for each in (BOUNDARY, "arn:aws:iam::aws:policy/AdministratorAccess")
)
STATE = "arn:aws:s3:::mergeline-123456789012-state/mergeline/terraform.tfstate"
BEYOND = [
    ("iam:PutRolePolicy", ITSELF, BOUNDED),  # the first link of the chain: `apply` gives itself more
    *((action, ITSELF, BOUNDED) for action in ("iam:AttachRolePolicy", "iam:PutRolePermissionsBoundary")),
    *((action, ITSELF, {}) for action in ("iam:UpdateAssumeRolePolicy", "iam:DeleteRole", "iam:UpdateRole")),
    *((action, OURS, context) for context in ({}, OTHERWISE) for action in (
        "iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy", "iam:PutRolePermissionsBoundary")),
    *((action, f"{ACCOUNT_OF}:role/evil", context) for context in ({}, BOUNDED) for action in (
        "iam:CreateRole", "iam:AttachRolePolicy", "iam:PutRolePolicy")),
    *((action, ADMIN, BOUNDED) for action in ("iam:UpdateAssumeRolePolicy", "iam:PassRole", "iam:DeleteRole")),
    *((action, BOUNDARY, {}) for action in ("iam:CreatePolicyVersion", "iam:DeletePolicy", "iam:CreatePolicy")),
    ("iam:DeleteRolePermissionsBoundary", OURS, BOUNDED),
    ("iam:CreateUser", f"{ACCOUNT_OF}:user/evil", {}),
    ("sts:AssumeRole", ADMIN, {}),
    ("s3:DeleteObject", "arn:aws:s3:::other-team/x", {}),
    ("s3:GetObject", "arn:aws:s3:::other-team/x", {}),
    ("s3:DeleteObject", f"{MODELS}/sha256/a", {}),
    ("s3:DeleteObjectVersion", f"{MODELS}/sha256/a", {}),
    ("s3:DeleteBucket", MODELS, {}),
    ("s3:DeleteObject", STATE, {}),
    ("kms:ScheduleKeyDeletion", "*", {}),
    ("kms:PutKeyPolicy", "arn:aws:kms:eu-central-1:123456789012:key/other", {}),
    ("eks:CreateAccessEntry", "arn:aws:eks:eu-central-1:123456789012:cluster/other", {}),
]  # fmt: skip


def bounds(cloud: Cloud) -> dict[str, Any]:
    """The boundary's document."""
    [document] = [json.loads(each["policy"]) for each in cloud.planned("aws_iam_policy").values()]
    found: dict[str, Any] = document
    return found


def test_s11_whoever_may_change_roles_comes_by_no_step_beyond_the_boundary(cloud: Cloud) -> None:
    document = bounds(cloud)
    passed = [(action, on) for action, on, context in BEYOND if says(document, action, on, context)]
    assert passed == []
    for action in ("iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy"):  # what is its work goes on
        assert says(document, action, OURS, BOUNDED) is True


def test_s11_twin_a_boundary_that_names_services_alone_lets_the_chain_through(cloud: Cloud) -> None:
    wide = {"Effect": "Allow", "Action": ["iam:*", "s3:*", "kms:*", "eks:*"], "Resource": "*"}
    document = {"Statement": [wide, *(each for each in statements(bounds(cloud)) if each.get("Sid") != "NeverItself")]}
    passed = [(action, on) for action, on, context in BEYOND if says(document, action, on, context)]
    assert ("iam:PutRolePolicy", ITSELF) in passed
    assert ("iam:CreateRole", f"{ACCOUNT_OF}:role/evil") in passed
    assert len(passed) > len(BEYOND) / 2


def capped(policy: str, document: dict[str, Any]) -> list[str]:
    """What a role's own policy grants and the boundary takes away."""
    found = []
    for each in statements(json.loads(policy)):
        conditions = [pair for keys in each.get("Condition", {}).values() for pair in keys.items()]
        context = {key: str(many(wanted)[0]) for key, wanted in conditions}
        found += [
            f"{action} on {resource}"
            for action in many(each["Action"])
            for resource in many(each["Resource"])
            if says(document, action, resource, context) is not True
        ]
    return found


def test_s11_the_boundary_takes_nothing_from_a_role_that_its_own_policy_gives(cloud: Cloud) -> None:
    document = bounds(cloud)
    assert {role: lost for role, policy in permitted(cloud).items() if (lost := capped(policy, document))} == {}
    narrow = {"Statement": [each for each in statements(document) if each["Sid"] != "OurKeys"]}
    assert any("kms:Sign" in each for each in capped(permitted(cloud)["release"], narrow))


# ---- What Terraform's own roles have to be able to do ----------------------------------------------------------------


@pytest.mark.parametrize("role", ["plan", "apply"])
def test_the_state_is_read_whether_s3_names_the_bucket_or_the_object_to_kms_and_no_other_bucket_is(
    cloud: Cloud, role: str
) -> None:
    policy = json.loads(permitted(cloud)[role])

    def decrypts(arn: str) -> bool | None:
        told = {"kms:ViaService": "s3.eu-central-1.amazonaws.com", "kms:EncryptionContext:aws:s3:arn": arn}
        return says(policy, "kms:Decrypt", "arn:aws:kms:eu-central-1:123456789012:key/a", told)

    bucket = STATE.partition("/")[0]
    assert (decrypts(bucket), decrypts(STATE)) == (True, True)
    assert (decrypts(f"{bucket}-2"), decrypts(f"{MODELS}/sha256/a"), decrypts(MODELS)) == (None, None, None)


def test_every_bucket_has_a_key_of_its_own_so_that_kms_is_told_of_the_bucket(cloud: Cloud) -> None:
    s3 = cloud.client("s3")
    for name in ("state", "dvc", "models", "predictions", "mlflow"):
        bucket = f"mergeline-123456789012-{name}"
        [rule] = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
        assert rule["BucketKeyEnabled"] is True, bucket


def test_apply_changes_the_tags_of_what_is_ours_and_takes_nobody_elses_by_a_tag(cloud: Cloud) -> None:
    apply = json.loads(permitted(cloud)["apply"])
    network = "arn:aws:ec2:eu-central-1:123456789012:vpc/vpc-1"
    project, expires = {"aws:RequestTag/Project": "mergeline"}, {"aws:RequestTag/Expires": "2031-01-31"}
    ours, others = ({"aws:ResourceTag/Project": each} for each in ("mergeline", "other"))
    assert says(apply, "ec2:CreateTags", network, ours | expires) is True
    assert says(apply, "ec2:CreateTags", network, project | {"ec2:CreateAction": "CreateSubnet"}) is True
    assert says(apply, "ec2:CreateTags", network, others | expires) is None
    assert says(apply, "ec2:CreateTags", network, others | project) is None
    provider = f"{ACCOUNT_OF}:oidc-provider/{HOST}"
    for action, on in (
        ("iam:TagPolicy", BOUNDARY),
        ("iam:TagOpenIDConnectProvider", provider),
        ("iam:TagRole", ITSELF),
    ):
        assert says(apply, action, on, {}) is says(bounds(cloud), action, on, {}) is True
        assert says(apply, action, f"{on}-2", {}) is (True if action == "iam:TagRole" else None)


def test_no_policy_is_longer_than_aws_takes_also_for_the_longest_name_and_region(cloud: Cloud) -> None:
    def longest(policy: str) -> int:
        text = json.dumps(json.loads(policy), separators=(",", ":"))
        return len(text.replace("mergeline", "m" * 20).replace("eu-central-1", "ap-southeast-1"))

    assert max(longest(each) for each in permitted(cloud).values()) <= 10240  # of all that lie in one role
    [boundary] = [each["policy"] for each in cloud.planned("aws_iam_policy").values()]
    assert longest(boundary) <= 6144
    assert longest(json.dumps({"Sid": "mergeline"})) == len('{"Sid":"mergeline"}') + 11  # it counts the longer name


def test_a_node_group_runs_instances_of_a_template_in_any_subnet_and_none_without(cloud: Cloud) -> None:
    apply = json.loads(permitted(cloud)["apply"])
    at = "arn:aws:ec2:eu-central-1:123456789012"
    template = {"ec2:LaunchTemplate": f"{at}:launch-template/lt-1", "ec2:IsLaunchTemplateResource": "false"}
    for kind in ("subnet/subnet-1", "instance/*", "volume/*"):
        assert says(apply, "ec2:RunInstances", f"{at}:{kind}", template) is True
        assert says(apply, "ec2:RunInstances", f"{at}:{kind}", {}) is None


def test_an_add_on_has_the_newest_version_that_runs_on_the_cluster_and_not_the_default(cloud: Cloud) -> None:
    eks = cloud.client("eks")
    found = {
        each: eks.describe_addon(clusterName="mergeline", addonName=each)["addon"]["addonVersion"]
        for each in eks.list_addons(clusterName="mergeline")["addons"]
    }
    assert len(found) == 5
    assert set(found.values()) == {"v1.1.0-eksbuild.1"}


# ---- What is stored (S6, S7) -----------------------------------------------------------------------------------------


def test_s6_a_model_is_stored_once_and_never_replaced(cloud: Cloud, account: dict[str, str], tmp_path: Path) -> None:
    from botocore.exceptions import ClientError

    store = open_store(cloud.outputs["model_store"], tmp_path)
    (tmp_path / "model.onnx").write_bytes(os.urandom(6 << 20))
    sha256 = store.put(tmp_path / "model.onnx")
    assert store.put(tmp_path / "model.onnx") == sha256
    s3, bucket = cloud.client("s3"), cloud.outputs["model_store"].removeprefix("s3://")
    named = {"Bucket": bucket, "Key": f"sha256/{sha256}"}
    for given in ({}, {"IfNoneMatch": "*"}):  # by the bucket's policy, and by S3 itself
        with pytest.raises(ClientError, match=r"403|AccessDenied|PreconditionFailed"):
            s3.put_object(**named, Body=b"other", **given)
    with pytest.raises(ClientError, match=r"403|AccessDenied"):
        s3.put_object(Bucket=bucket, Key="sha256/new", Body=b"new")
    version = s3.head_object(**named)["VersionId"]
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.delete_object(**named, VersionId=version)
    head = s3.head_object(**named)
    assert (head["ObjectLockMode"], head["ServerSideEncryption"]) == ("GOVERNANCE", "aws:kms")


def test_s6_twin_what_comes_into_a_deleted_ones_place_is_refused_when_it_is_read(
    cloud: Cloud, account: dict[str, str], tmp_path: Path
) -> None:
    store = open_store(cloud.outputs["model_store"], tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"the model that was reviewed")
    sha256 = store.put(tmp_path / "model.onnx")
    named = {"Bucket": cloud.outputs["model_store"].removeprefix("s3://"), "Key": f"sha256/{sha256}"}
    cloud.client("s3").delete_object(**named)
    cloud.client("s3").put_object(**named, Body=b"another model of that length", IfNoneMatch="*")
    with pytest.raises(VerificationError):
        store.get(sha256, tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


def test_s7_dvc_pushes_and_pulls_and_refuses_an_object_that_was_overwritten(
    cloud: Cloud, account: dict[str, str], ran: Repository, tmp_path: Path
) -> None:
    here = ran.copy_to(tmp_path / "repository")
    assert here.run("remote", cloud.outputs["dvc_remote"]).returncode == 0
    pushed = here.tool("dvc", "push", "data.dvc", **account)
    assert pushed.returncode == 0, pushed.stderr

    def pulled() -> Any:
        shutil.rmtree(here.root / "data")
        shutil.rmtree(here.root / ".dvc/cache")
        return here.run("pull", **account)

    assert pulled().stdout == "data/ from remote\n"
    s3, bucket = cloud.client("s3"), cloud.outputs["dvc_remote"].removeprefix("s3://")
    largest = max(s3.list_objects_v2(Bucket=bucket)["Contents"], key=lambda each: each["Size"])
    s3.put_object(Bucket=bucket, Key=largest["Key"], Body=os.urandom(largest["Size"]))
    done = pulled()
    assert done.returncode == 7
    assert "holds others in their place" in done.stderr


def test_the_prediction_log_and_mlflows_artifacts_are_put_and_read(
    cloud: Cloud, account: dict[str, str], tmp_path: Path
) -> None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    log = open_log(cloud.outputs["prediction_logs"]["production"], tmp_path)
    log.put("predictions/date=2030-01-01/hour=00/a.parquet", b"rows")
    assert [log.read(key) for key in log.keys("predictions/")] == [b"rows"]
    (tmp_path / "model.txt").write_text("native")
    artifacts = get_artifact_repository(f"{cloud.outputs['mlflow_artifacts']}/1/run/artifacts")
    artifacts.log_artifact(str(tmp_path / "model.txt"))  # type: ignore[no-untyped-call]
    assert [each.path for each in artifacts.list_artifacts()] == ["model.txt"]


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"ServerSideEncryption": "AES256"}, id="without KMS"),
        pytest.param(
            {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "arn:aws:kms:eu-central-1:1:key/other"}, id="other"
        ),
        pytest.param({"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}, id="the caller's own"),
    ],
)
def test_what_is_not_encrypted_by_our_key_is_refused(cloud: Cloud, given: dict[str, str]) -> None:
    from botocore.exceptions import ClientError

    with pytest.raises(ClientError, match=r"403|AccessDenied"):
        cloud.client("s3").put_object(Bucket="mergeline-123456789012-dvc", Key="a", Body=b"a", **given)


def test_the_twin_without_its_statement_a_key_of_the_callers_own_is_taken(cloud: Cloud) -> None:
    given = {"s3:x-amz-server-side-encryption-customer-algorithm": "AES256"}
    for each in cloud.planned("aws_s3_bucket_policy").values():
        document, at = json.loads(each["policy"]), f"arn:aws:s3:::{each['bucket']}/a"
        given |= {"s3:if-none-match": "*", "aws:SecureTransport": "true"}
        assert says(document, "s3:PutObject", at, given) is False
        rest = [part for part in statements(document) if part["Sid"] != "NoKeyOfCallers"]
        assert says({"Statement": rest}, "s3:PutObject", at, given) is None


def test_the_cluster_encrypts_its_secrets_by_our_key_and_by_no_other(cloud: Cloud) -> None:
    policy = json.loads(permitted(cloud)["cluster"])
    [key] = [each["arn"] for each in cloud.planned("aws_kms_key").values() if each["key_usage"] == "ENCRYPT_DECRYPT"]
    other = "arn:aws:kms:eu-central-1:123456789012:key/other"
    for action in ("kms:Encrypt", "kms:Decrypt", "kms:ListGrants", "kms:DescribeKey"):
        assert says(policy, action, key, {}) is says(bounds(cloud), action, key, {}) is True
        assert says(policy, action, other, {}) is None
    assert says(bounds(cloud), "kms:Encrypt", other, {}) is None


def test_an_image_goes_by_age_alone_and_never_within_two_years(cloud: Cloud) -> None:
    policies = cloud.planned("aws_ecr_lifecycle_policy")
    assert len(policies) == 2
    for each in policies.values():
        [rule] = json.loads(each["policy"])["rules"]
        told = rule["selection"]
        assert (told["tagStatus"], told["countType"], told["countUnit"]) == ("untagged", "sinceImagePushed", "days")
        assert told["countNumber"] >= 730


def test_every_bucket_refuses_what_comes_without_tls(cloud: Cloud) -> None:
    policies = cloud.planned("aws_s3_bucket_policy")
    assert len(policies) == 4
    for each in policies.values():
        document, at = json.loads(each["policy"]), f"arn:aws:s3:::{each['bucket']}"
        for action, resource in (("s3:GetObject", f"{at}/a"), ("s3:ListBucket", at)):
            assert says(document, action, resource, {"aws:SecureTransport": "false"}) is False
            assert says(document, action, resource, {"aws:SecureTransport": "true"}) is None


def test_a_pull_request_is_recorded_promoted_verified_and_fetched_on_the_buckets(
    cloud: Cloud, account: dict[str, str], reviewed: Promoted
) -> None:
    here = reviewed
    here.change_params({"release.store": cloud.outputs["model_store"]})
    assert here.run("remote", cloud.outputs["dvc_remote"]).returncode == 0
    here.commit("Keep models and data on the buckets")
    for verb in ("repro", "record", "gate"):
        done = here.run(verb, **account)
        assert done.returncode == 0, done.stderr
    here.merge("better")
    here.promote()
    release = "k8s/overlays/production/release.yaml"
    assert cloud.outputs["model_store"] in (here.root / release).read_text()
    for arguments in (["verify", "--environment", "production"], ["fetch", "--release", release, "--folder", "model"]):
        done = here.run(*arguments, **account)
        assert done.returncode == 0, done.stderr
    assert list((here.root / "model").rglob("model.onnx"))
