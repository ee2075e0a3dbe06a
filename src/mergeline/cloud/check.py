"""`mergeline cloud check`: whether what Terraform made is still as it has to be. Nothing is changed."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mergeline.cloud.asking import Aws, answering, unless_absent
from mergeline.cloud.made import APPLY, Made

STATE = "terraform -chdir=terraform/bootstrap apply"
IMAGES = ("server", "trainer")
LOOKED_AT = (
    "buckets: public access, versions, encryption, TLS, of models write-once and locks",
    "registries: tags, scans",
    "the key that signs",
    "roles of workflows: their boundary, who becomes them",
    "who hears an alarm",
)
NOT_LOOKED_AT = "cluster, nodes, roles of pods, policies, network, alarms, budget: `terraform plan` compares them"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it has to be, and the command that mends it."""

    name: str
    said: str
    mend: str = APPLY


def checked(made: Made, aws: Aws) -> tuple[Finding, ...]:
    """Return all that is wrong."""
    with answering(f"AWS in {made.region}"):
        return (
            *_buckets(made, aws),
            *_registries(made, aws),
            *_key(made, aws),
            *_roles(made, aws),
            *_alarms(made, aws),
        )


# ---- Buckets ---------------------------------------------------------------------------------------------------------


def _buckets(made: Made, aws: Aws) -> Iterator[Finding]:
    s3 = aws.client("s3")
    for name, bucket in {**made.buckets, "state": made.variables["TERRAFORM_STATE"]}.items():
        mend = STATE if name == "state" else APPLY
        if unless_absent(lambda bucket=bucket: s3.head_bucket(Bucket=bucket)) is None:  # type: ignore[misc]
            yield Finding(bucket, "there is no such bucket", mend)
            continue
        for said in _bucket(s3, bucket, is_store=name == "models"):
            yield Finding(bucket, said, mend)


def _bucket(s3: Any, bucket: str, *, is_store: bool) -> Iterator[str]:
    public = unless_absent(lambda: s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"])
    if not public or not all(public.values()):
        yield "public access is not blocked"
    if s3.get_bucket_versioning(Bucket=bucket).get("Status") != "Enabled":
        yield "old versions are not kept"
    rules = unless_absent(lambda: s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"])
    ways = [each.get("ApplyServerSideEncryptionByDefault", {}).get("SSEAlgorithm") for each in rules or ()]
    if ways != ["aws:kms"]:
        yield "objects are not encrypted by a key of KMS"
    policy = unless_absent(lambda: json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])) or {"Statement": []}
    denied = [each["Condition"] for each in policy["Statement"] if each["Effect"] == "Deny" and "Condition" in each]
    if not any(each.get("Bool", {}).get("aws:SecureTransport") == "false" for each in denied):
        yield "requests without TLS are not refused"
    if not is_store:
        return
    if not any(each.get("Null", {}).get("s3:if-none-match") == "true" for each in denied):
        yield "a key may be written twice (promise S6)"
    lock = unless_absent(lambda: s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"])
    if not lock or "Rule" not in lock:
        yield "what is stored is not locked"


# ---- The rest --------------------------------------------------------------------------------------------------------


def _registries(made: Made, aws: Aws) -> Iterator[Finding]:
    ecr = aws.client("ecr")
    for name in (f"{made.name}/{each}" for each in IMAGES):
        found = unless_absent(lambda name=name: ecr.describe_repositories(repositoryNames=[name])["repositories"])  # type: ignore[misc]
        if not found:
            yield Finding(name, "there is no such registry of images")
            continue
        if found[0]["imageTagMutability"] != "IMMUTABLE":
            yield Finding(name, "a tag may come to mean another image")
        if not found[0]["imageScanningConfiguration"]["scanOnPush"]:
            yield Finding(name, "images are not scanned")


def _key(made: Made, aws: Aws) -> Iterator[Finding]:
    alias = made.variables["AWS_KMS_KEY"]
    kms = aws.client("kms")
    found = unless_absent(lambda: kms.describe_key(KeyId=alias)["KeyMetadata"])
    if not found or not found["Enabled"]:
        yield Finding(alias, "there is no such key, or it is switched off; nothing can be signed")
    elif (found["KeyUsage"], found["KeySpec"]) != ("SIGN_VERIFY", "ECC_NIST_P256"):
        yield Finding(alias, f"expected a key that signs on P-256, found {found['KeySpec']}")


def _roles(made: Made, aws: Aws) -> Iterator[Finding]:
    iam = aws.client("iam")
    boundary = f"arn:{made.partition}:iam::{made.account}:policy/{made.name}/{made.name}-boundary"
    arns = [value for name, value in {**made.variables, **made.pushes}.items() if name.endswith("_ROLE")]
    for name in sorted(arn.rpartition("/")[2] for arn in arns):
        role = unless_absent(lambda name=name: iam.get_role(RoleName=name)["Role"])  # type: ignore[misc]
        if role is None:
            yield Finding(name, "there is no such role")
            continue
        if role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn") != boundary:
            yield Finding(name, "our boundary does not bound what it may be given (promise S11)")
        if not _is_for(role["AssumeRolePolicyDocument"], made.subjects):
            yield Finding(name, f"others than environments of {made.repository} may become it (promise S2)")


def _is_for(document: Mapping[str, Any], repositories: Collection[str]) -> bool:
    """Whether tokens of this repository's environments alone fit, by their whole subject with the ids in it."""
    for statement in document["Statement"]:
        if set(statement.get("Condition", {})) != {"StringEquals"}:
            return False
        wanted = statement["Condition"]["StringEquals"]
        subjects: Any = next((value for key, value in wanted.items() if key.endswith(":sub")), [])
        for each in [subjects] if isinstance(subjects, str) else subjects:
            kind, _, rest = each.partition(":")
            whose, _, where = rest.partition(":")
            if kind != "repo" or whose not in repositories:
                return False
            if not where.startswith("environment:") or "*" in each:
                return False
        if not subjects or not any(key.endswith(":aud") for key in wanted):
            return False
    return True


def _alarms(made: Made, aws: Aws) -> Iterator[Finding]:
    topic = f"arn:{made.partition}:sns:{made.region}:{made.account}:{made.name}-alarms"
    sns = aws.client("sns")
    listed = unless_absent(lambda: sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"])
    if not listed:
        yield Finding(f"{made.name}-alarms", "nobody is told of an alarm")
    elif all(each["SubscriptionArn"] == "PendingConfirmation" for each in listed):
        yield Finding(f"{made.name}-alarms", "nobody has confirmed yet", "follow the link in the mail from AWS")


def printed(made: Made, findings: tuple[Finding, ...]) -> str:
    """Return the findings for a terminal, each with what mends it, and what was looked at."""
    lines = [f"{made.name} in {made.region}, account {made.account}"]
    for each in findings:
        lines += [f"wrong:  {each.name}: {each.said}", f"          {each.mend}"]
    lines += [f"looked at: {each}" for each in LOOKED_AT]
    lines.append(f"not looked at: {NOT_LOOKED_AT}")
    return "\n".join([*lines, f"{len(findings)} wrong" if findings else "what was looked at is as it has to be"])
