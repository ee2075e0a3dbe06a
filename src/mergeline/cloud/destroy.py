"""`mergeline cloud destroy`: empty what holds something, let Terraform take away what it made, say what is left."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mergeline.cloud.asking import Aws, answering, unless_absent
from mergeline.cloud.made import FOLDER, KEPT, Made, keep, terraform
from mergeline.errors import ConfigurationError, ServiceError, VerificationError

log = logging.getLogger(__name__)

BOOTSTRAP = FOLDER / "bootstrap"
AT_ONCE = 1000  # objects that S3 deletes in one request
IMAGES_AT_ONCE = 100  # that ECR does
HELD = "ImageReferencedByManifestList"  # an image of an index, which has to go first
TO_BE_DELETED = ("PendingDeletion", "PendingReplicaDeletion")
# What EC2 shows for a while after its end, by its kind in an ARN: its states then, and how they are asked for.
GONE = ("shutting-down", "terminated", "deleting", "deleted")
ENDS: dict[str, Callable[[Any, str], list[str]]] = {
    "natgateway": lambda ec2, named: [
        each["State"] for each in ec2.describe_nat_gateways(NatGatewayIds=[named])["NatGateways"]
    ],
    "instance": lambda ec2, named: [
        each["State"]["Name"]
        for some in ec2.describe_instances(InstanceIds=[named])["Reservations"]
        for each in some["Instances"]
    ],
    "volume": lambda ec2, named: [each["State"] for each in ec2.describe_volumes(VolumeIds=[named])["Volumes"]],
}


def destroy(root: Path, made: Made, aws: Aws, typed: str, environment: Mapping[str, str], *, with_state: bool) -> str:
    """Destroy everything and return what is left; raise `VerificationError` where that is more than nothing.

    `typed` has to be the name of what is destroyed. Run again, it goes on where it stopped.
    """
    if typed.strip() != made.name:
        raise ConfigurationError(f"destroy: expected the name {made.name!r}, found {typed.strip()!r}; nothing was done")
    keep(root, made)
    buckets = list(made.buckets.values())
    with answering(f"AWS in {made.region}"):
        for bucket in buckets:
            empty_bucket(aws.client("s3"), bucket)
        for image in ("server", "trainer"):
            empty_registry(aws.client("ecr"), f"{made.name}/{image}")
    log.info("terraform destroy, which takes a quarter of an hour on AWS ...")
    terraform(root, environment, "destroy", "-auto-approve", "-input=false", "-no-color", "-parallelism=30")
    kept = [made.variables["TERRAFORM_STATE"]]
    if with_state:
        with answering(f"AWS in {made.region}"):
            empty_bucket(aws.client("s3"), kept.pop())
        terraform(root, environment, "destroy", "-auto-approve", "-input=false", "-no-color", within=BOOTSTRAP)
    with answering(f"AWS in {made.region}"):
        forget_logs(aws.client("logs"), made.name)
        left = sorted(set(_left(made, aws)) - {f"bucket {each}" for each in kept})
    if left:
        raise VerificationError(f"destroy: {len(left)} are left: {', '.join(left)}; run it again")
    if not kept:
        (root / KEPT).unlink()
    waiting = "keys of KMS are deleted after their waiting time"
    return f"left: nothing{f' but the bucket of the state, {kept[0]}' if kept else ''}; {waiting}"


def empty_bucket(s3: Any, bucket: str) -> None:
    """Delete every version of every object, locks notwithstanding, and every upload that was begun."""
    if unless_absent(lambda: s3.head_bucket(Bucket=bucket)) is None:
        return
    deleted = 0
    for page in s3.get_paginator("list_object_versions").paginate(
        Bucket=bucket, PaginationConfig={"PageSize": AT_ONCE}
    ):
        listed = [
            {"Key": each["Key"], "VersionId": each["VersionId"]}
            for kind in ("Versions", "DeleteMarkers")
            for each in page.get(kind, ())
        ]
        if listed:
            given = {"Objects": listed, "Quiet": True}
            refused = s3.delete_objects(Bucket=bucket, Delete=given, BypassGovernanceRetention=True).get("Errors", ())
            for each in refused:
                raise ServiceError(
                    f"{bucket}: {each['Key']}: {each['Message']}; ask one who may pass by locks to do it"
                )
            deleted += len(listed)
    for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
        for each in page.get("Uploads", ()):
            s3.abort_multipart_upload(Bucket=bucket, Key=each["Key"], UploadId=each["UploadId"])
    log.info("%s: %d versions deleted", bucket, deleted)


def empty_registry(ecr: Any, name: str) -> None:
    """Delete every image, in passes: what an index names goes in the pass after the index."""
    while digests := _digests(ecr, name):
        failures: list[dict[str, Any]] = []
        for first in range(0, len(digests), IMAGES_AT_ONCE):
            given = [{"imageDigest": each} for each in digests[first : first + IMAGES_AT_ONCE]]
            failures += ecr.batch_delete_image(repositoryName=name, imageIds=given).get("failures", ())
        for each in failures:
            if each["failureCode"] != HELD or len(failures) >= len(digests):
                said = f"{each.get('imageId', {}).get('imageDigest')}: {each.get('failureReason')}"
                raise ServiceError(f"{name}: {said}; delete that image by hand, then run this again")


def _digests(ecr: Any, name: str) -> list[str]:
    pages = unless_absent(lambda: list(ecr.get_paginator("list_images").paginate(repositoryName=name)))
    return sorted({each["imageDigest"] for page in pages or () for each in page["imageIds"]})


def forget_logs(logs: Any, name: str) -> None:
    """Delete the groups of logs that a service has made again while Terraform took its own away."""
    for group in _logs(logs, name):
        unless_absent(lambda group=group: logs.delete_log_group(logGroupName=group))  # type: ignore[misc]
        log.info("%s: deleted", group)


def _logs(logs: Any, name: str) -> list[str]:
    """Our groups of logs; of SageMaker's the endpoint's alone, as the name of another cloud may begin with ours."""
    below = (f"/{name}/", f"/aws/eks/{name}/", f"/aws/sagemaker/Endpoints/{name}")
    pages = [
        page for each in below for page in logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=each)
    ]
    found = [each["logGroupName"] for page in pages for each in page["logGroups"]]
    return [each for each in found if each.startswith(below[:2]) or each == below[2]]


def is_going(arn: str, aws: Aws) -> bool:
    """Whether it is gone, or is but for its waiting time; the index of tags knows such things for an hour or so."""
    named = arn.rpartition("/")[2]
    if ":kms:" in arn:
        return str(aws.client("kms").describe_key(KeyId=arn)["KeyMetadata"]["KeyState"]) in TO_BE_DELETED
    for kind, ask in ENDS.items():
        if f":{kind}/" in arn:
            states = unless_absent(lambda ask=ask: ask(aws.client("ec2"), named))  # type: ignore[misc]
            return all(each in GONE for each in states or ())
    return False


def _left(made: Made, aws: Aws) -> Iterator[str]:
    """What bears the project's tag, or begins with its name: by the index of tags, and by the services themselves."""
    tagged = aws.client("resourcegroupstaggingapi").get_paginator("get_resources")
    for page in tagged.paginate(TagFilters=[{"Key": "Project", "Values": [made.name]}]):
        for each in page["ResourceTagMappingList"]:
            arn = each["ResourceARN"]
            if ":s3:::" not in arn and not is_going(arn, aws):
                yield arn
    buckets = aws.client("s3").list_buckets()["Buckets"]
    yield from (f"bucket {each['Name']}" for each in buckets if each["Name"].startswith(f"{made.name}-{made.account}-"))
    path = f"/{made.name}/"
    iam = aws.client("iam")
    yield from (f"role {each['RoleName']}" for each in iam.list_roles(PathPrefix=path)["Roles"])
    yield from (f"policy {each['PolicyName']}" for each in iam.list_policies(PathPrefix=path)["Policies"])
    yield from (f"log group {each}" for each in _logs(aws.client("logs"), made.name))
    yield from (f"cluster {each}" for each in aws.client("eks").list_clusters()["clusters"] if each == made.name)
