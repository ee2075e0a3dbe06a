"""AWS on loopback for Terraform: moto, and of EKS what moto lacks. `python terraform_moto.py PROCESS` prints its port.

moto 5.2 has no add-ons, access entries, access policies and pod identities, and forgets settings of clusters and node
groups, so that a second plan would replace them. Both is mended before and behind moto's own application. It reads
bucket policies without their conditions; here they are read with them (`terraform_policy.py`). Roles are not enforced.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

Body = dict[str, Any]
ACCOUNT = "123456789012"


class Missing(Exception):
    """What was asked for is not there."""


@dataclass
class Kind:
    """One kind of thing below a cluster: where it lies, what names it, and how an answer wraps one and many."""

    path: str
    key: str
    one: str
    many: str
    make: Callable[[Body, str], Body]
    lists_whole: bool = False
    there: dict[tuple[str, str], Body] = field(default_factory=dict)

    def answer(self, method: str, cluster: str, name: str | None, body: Body, region: str) -> Body:
        if name is None and method == "POST":
            made = {"clusterName": cluster, "tags": body.get("tags", {}), "createdAt": time.time()}
            made |= {"modifiedAt": time.time()} | self.make(
                body, f"arn:aws:eks:{region}:{ACCOUNT}:{self.path}/{cluster}"
            )
            self.there[cluster, made[self.key]] = made
            return {self.one: made}
        if name is None:
            found = [each for (where, _), each in self.there.items() if where == cluster]
            return {self.many: found if self.lists_whole else [each[self.key] for each in found]}
        if (cluster, name) not in self.there:
            raise Missing
        if method == "DELETE":
            return {self.one: self.there.pop((cluster, name))}
        if method == "POST":
            self.there[cluster, name].update(
                {key: value for key, value in body.items() if key in self.there[cluster, name]}
            )
        return {self.one: self.there[cluster, name]}


def addon(body: Body, arn: str) -> Body:
    extra = {key: body[key] for key in ("configurationValues", "serviceAccountRoleArn") if body.get(key)}
    return extra | {
        "addonName": body["addonName"], "addonArn": f"{arn}/{body['addonName']}/1", "status": "ACTIVE",
        "addonVersion": body.get("addonVersion", "v1.0.0-eksbuild.1"), "health": {"issues": []},
    }  # fmt: skip


def entry(body: Body, arn: str) -> Body:
    return {
        "principalArn": body["principalArn"], "kubernetesGroups": body.get("kubernetesGroups") or [],
        "accessEntryArn": f"{arn}/role/{uuid.uuid4()}", "type": body.get("type", "STANDARD"),
        "username": body.get("username") or body["principalArn"],
    }  # fmt: skip


def pod(body: Body, arn: str) -> Body:
    name = f"a-{uuid.uuid4().hex[:17]}"
    return {
        "namespace": body["namespace"], "serviceAccount": body["serviceAccount"], "roleArn": body["roleArn"],
        "associationId": name, "associationArn": f"{arn}/{name}", "disableSessionTags": False,
    }  # fmt: skip


ENTRIES = Kind("access-entries", "principalArn", "accessEntry", "accessEntries", entry)
KINDS = (
    Kind("addons", "addonName", "addon", "addons", addon),
    ENTRIES,
    Kind("pod-identity-associations", "associationId", "association", "associations", pod, lists_whole=True),
)
POLICIES: dict[tuple[str, str], dict[str, Body]] = {}  # of an access entry
REMEMBERED: dict[str, Body] = {}  # of a cluster or node group by its path, what moto forgets


def policies(method: str, cluster: str, principal: str, policy: str | None, body: Body) -> Body:
    """The policies of an access entry."""
    if (cluster, principal) not in ENTRIES.there:
        raise Missing
    held = POLICIES.setdefault((cluster, principal), {})
    if method == "POST":
        held[body["policyArn"]] = {"associatedAt": time.time(), "modifiedAt": time.time(), **body}
        return {"clusterName": cluster, "principalArn": principal, "associatedAccessPolicy": held[body["policyArn"]]}
    if method == "DELETE":
        if policy not in held:
            raise Missing
        del held[policy]
        return {}
    return {"clusterName": cluster, "principalArn": principal, "associatedAccessPolicies": list(held.values())}


def versions(asked: Body) -> Body:
    """Two versions of an add-on, as AWS lists them: the newest first."""
    runs_on = {"clusterVersion": asked["kubernetesVersion"], "defaultVersion": False}
    listed = [{"addonVersion": f"v1.{minor}.0-eksbuild.1", "compatibilities": [runs_on]} for minor in (1, 0)]
    return {"addons": [{"addonName": asked["addonName"], "addonVersions": listed}]}


def lacking(method: str, path: str, body: Body, region: str) -> Body | None:
    """The answer to what moto does not know; None for everything else."""
    parts = [unquote(each) for each in path.strip("/").split("/")]
    match parts:
        case ["addons", "supported-versions"]:
            return versions(body)
        case ["clusters", cluster, "access-entries", principal, "access-policies", *rest]:
            return policies(method, cluster, principal, rest[0] if rest else None, body)
        case ["clusters", cluster, kind, *rest]:
            for each in KINDS:
                if each.path == kind:
                    return each.answer(method, cluster, rest[0] if rest else None, body, region)
    return None


def mended(method: str, path: str, sent: Body, answer: Body) -> Body:
    """moto's answer about a cluster or a node group, with what it forgot."""
    if "cluster" in answer:
        cluster = answer["cluster"]
        if method == "POST" and path == "/clusters":
            access = {"authenticationMode": "CONFIG_MAP", "bootstrapClusterCreatorAdminPermissions": True}
            REMEMBERED[cluster["name"]] = {
                "accessConfig": access | sent.get("accessConfig", {}),
                "upgradePolicy": {"supportType": "EXTENDED"} | sent.get("upgradePolicy", {}),
            }
        cluster |= REMEMBERED.get(cluster["name"], {})
        network = cluster.setdefault("resourcesVpcConfig", {})
        network |= {"clusterSecurityGroupId": "sg-0123456789abcdef0", "vpcId": "vpc-0123456789abcdef0"}
        network["publicAccessCidrs"] = network.get("publicAccessCidrs") or ["0.0.0.0/0"]
    if "nodegroup" in answer:
        group = answer["nodegroup"]
        name = f"{group['clusterName']}/{group['nodegroupName']}"
        if method == "POST" and path.endswith("/node-groups"):
            REMEMBERED[name] = {key: sent[key] for key in ("updateConfig",) if key in sent}
        group.pop("remoteAccess", None)
        group.get("resources", {}).pop("remoteAccessSecurityGroup", None)
        group |= REMEMBERED.get(name, {})
    return answer


class Cloud:
    """The WSGI application: EKS by this module, everything else by moto."""

    def __init__(self, moto: Any) -> None:
        self.moto = moto

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        checksum = next((key for key in environ if key.startswith("HTTP_X_AMZ_CHECKSUM_")), None)
        if checksum:  # S3 takes the checksum itself for the name of its algorithm, too
            environ.setdefault("HTTP_X_AMZ_SDK_CHECKSUM_ALGORITHM", checksum.rpartition("_")[2])
        region = re.search(r"Credential=[^/]+/\d+/([^/]+)/eks/", environ.get("HTTP_AUTHORIZATION", ""))
        if region is None:
            answer: Iterable[bytes] = self.moto(environ, start)
            return answer
        raw = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        path = str(environ.get("RAW_URI") or environ["PATH_INFO"]).split("?")[0]
        body = json.loads(raw) if raw else dict(parse_qsl(environ.get("QUERY_STRING", "")))
        try:
            told = lacking(environ["REQUEST_METHOD"], path, body, region[1])
        except Missing:
            return self._told(
                start, "404 Not Found", {"message": f"no {path}"}, [("x-amzn-ErrorType", "ResourceNotFoundException")]
            )
        if told is not None:
            return self._told(start, "200 OK", told, [])
        return self._mended(environ, start, path, raw, body)

    def _mended(
        self, environ: dict[str, Any], start: Callable[..., Any], path: str, raw: bytes, body: Body
    ) -> Iterable[bytes]:
        environ["wsgi.input"] = io.BytesIO(raw)
        began: list[Any] = []
        data = b"".join(self.moto(environ, lambda *given: began.append(given)))
        status, headers = began[0][:2]
        if not status.startswith("200") or not data.startswith(b"{"):
            start(status, headers)
            return [data]
        kept = [each for each in headers if each[0].lower() not in ("content-length", "content-type")]
        return self._told(start, status, mended(environ["REQUEST_METHOD"], path, body, json.loads(data)), kept)

    def _told(
        self, start: Callable[..., Any], status: str, body: Body, headers: list[tuple[str, str]]
    ) -> Iterable[bytes]:
        data = json.dumps(body).encode()
        start(status, [*headers, ("Content-Type", "application/json"), ("Content-Length", str(len(data)))])
        return [data]


# ---- What a bucket's policy says -------------------------------------------------------------------------------------


def permission(bucket: Any, action: str, resource: str) -> Any:
    """In place of moto's own reading: the policy with its conditions, asked about the request that is under way."""
    from flask import request
    from moto.iam.access_control import PermissionResult
    from terraform_policy import says

    if bucket.policy is None:
        return PermissionResult.NEUTRAL
    headers = {name.lower(): value for name, value in request.headers.items()}
    keys = {
        f"s3:{name}": value
        for name, value in headers.items()
        if name == "if-none-match" or name.startswith("x-amz-server")
    }
    is_part = "partNumber" in request.args or "uploads" in request.args
    keys |= {"s3:ObjectCreationOperation": str(not is_part).lower()}
    keys |= {"aws:SecureTransport": headers.get("x-test-transport", "true")}  # there is no TLS on loopback
    if request.method == "POST" and {"uploads", "uploadId"} & request.args.keys():
        action = "s3:PutObject"  # what begins and completes an upload in parts is one
    said = says(json.loads(bucket.policy), action, resource, keys)
    return {False: PermissionResult.DENIED, True: PermissionResult.PERMITTED, None: PermissionResult.NEUTRAL}[said]


# ---- Budgets and launch templates ------------------------------------------------------------------------------------


def subscribers(response: Any) -> str:
    """The subscribers of a budget's notification, which moto keeps and does not tell."""
    account, name = response._get_param("AccountId"), response._get_param("BudgetName")
    wanted = response._get_param("Notification")
    budget = response.backend.budgets[account][name]
    found = next(each.subscribers for each in budget.notifications if each.details.items() >= wanted.items())
    return json.dumps({"Subscribers": found})


def with_tags(create: Callable[[Any], str], tags: dict[str, Any]) -> Callable[[Any], str]:
    """The creation of a budget, which keeps its tags."""

    def created(response: Any) -> str:
        tags[response._get_param("Budget")["BudgetName"]] = response._get_param("ResourceTags", [])
        return create(response)

    return created


def without_own_tags(create: Callable[..., Any]) -> Callable[..., Any]:
    """The creation of a launch template, whose own tags are none of the instances that it makes."""

    def created(backend: Any, name: str, description: str, data: Body, tags: Any) -> Any:
        kept = [each for each in data.get("TagSpecifications", []) if each["ResourceType"] != "launch-template"]
        return create(backend, name, description, data | {"TagSpecifications": kept}, tags)

    return created


def mend() -> None:
    """Put in place of moto's own what this module knows better."""
    from moto.budgets.responses import BudgetsResponse
    from moto.ec2.models.launch_templates import LaunchTemplateBackend
    from moto.s3.models import FakeBucket

    tags: dict[str, Any] = {}

    def listed(response: Any) -> str:
        return json.dumps({"ResourceTags": tags.get(response._get_param("ResourceARN").rpartition("/")[2], [])})

    own: Any = BudgetsResponse
    own.describe_subscribers_for_notification = subscribers
    own.create_budget = with_tags(own.create_budget, tags)
    own.list_tags_for_resource = listed
    templates: Any = LaunchTemplateBackend
    templates.create_launch_template = without_own_tags(templates.create_launch_template)
    buckets: Any = FakeBucket
    buckets.get_permission = permission


# ---- The process -----------------------------------------------------------------------------------------------------


class Process:
    """The server, and copies of it: a copy has all that was made until then, and a port of its own."""

    def __init__(self, until: int, application: Any) -> None:
        self.until = until
        self.application = application

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/fork":
            answer: Iterable[bytes] = self.application(environ, start)
            return answer
        reading, writing = os.pipe()
        process = os.fork()
        if process == 0:
            os.close(reading)
            self.serve(lambda port: os.write(writing, f"{port}\n".encode()))
        os.close(writing)
        with os.fdopen(reading) as told:
            data = json.dumps({"port": int(told.readline()), "process": process}).encode()
        start("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(data)))])
        return [data]

    def serve(self, tell: Callable[[int], object]) -> None:
        """Serve on a free port, as long as the process that it is for is there."""
        from werkzeug.serving import make_server

        server = make_server("127.0.0.1", 0, self, threaded=True)
        os.environ["MOTO_PORT"] = str(server.server_port)
        threading.Thread(target=self._end, daemon=True).start()
        tell(server.server_port)
        server.serve_forever()

    def _end(self) -> None:
        while True:
            time.sleep(1)
            try:
                os.kill(self.until, 0)
            except ProcessLookupError:
                os._exit(0)


def main() -> None:
    """Serve until the process that is named is gone, on a free port that is printed first."""
    os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    mend()
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # a copy that ends leaves nothing behind
    process = Process(int(sys.argv[1]), Cloud(DomainDispatcherApplication(create_backend_app)))
    process.serve(lambda port: os.write(1, f"{port}\n".encode()))


if __name__ == "__main__":
    main()
