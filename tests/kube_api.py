"""A small server that speaks enough of the Kubernetes API for kubectl to apply, diff, patch and follow a rollout.

It listens on loopback, keeps what `kube_cluster` keeps, and records what it is asked. It takes server-side applies and
merge patches and deletions, and no other way to change an object.
"""

from __future__ import annotations

import copy
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from kube_cluster import Cluster, Object, Refused


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind that the server knows."""

    api: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def prefix(self) -> str:
        return f"apis/{self.api}" if "/" in self.api else f"api/{self.api}"


KINDS = (
    Kind("v1", "Namespace", "namespaces", namespaced=False),
    Kind("v1", "ConfigMap", "configmaps"),
    Kind("v1", "Service", "services"),
    Kind("v1", "ServiceAccount", "serviceaccounts"),
    Kind("v1", "Pod", "pods"),
    Kind("v1", "ResourceQuota", "resourcequotas"),
    Kind("apps/v1", "Deployment", "deployments"),
    Kind("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
    Kind("batch/v1", "Job", "jobs"),
    Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
    Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    Kind("rbac.authorization.k8s.io/v1", "Role", "roles"),
    Kind("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings"),
    Kind("argoproj.io/v1alpha1", "AnalysisTemplate", "analysistemplates"),
    Kind("argoproj.io/v1alpha1", "Application", "applications"),
    Kind("argoproj.io/v1alpha1", "AppProject", "appprojects"),
    Kind("argoproj.io/v1alpha1", "Rollout", "rollouts"),
    Kind("ray.io/v1", "RayCluster", "rayclusters"),
    Kind("external-secrets.io/v1", "ExternalSecret", "externalsecrets"),
    Kind("monitoring.coreos.com/v1", "PrometheusRule", "prometheusrules"),
    Kind("monitoring.coreos.com/v1", "ServiceMonitor", "servicemonitors"),
)
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]
QUERY = ("dryRun", "fieldManager", "fieldValidation", "force")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was made, and the status of its answer."""

    method: str
    path: str
    query: dict[str, str]
    status: int


@dataclass(frozen=True, slots=True)
class Server:
    """Where a cluster is served, and what was asked of it."""

    url: str
    asked: list[Asked]


@contextmanager
def served(cluster: Cluster) -> Iterator[Server]:
    """Serve a cluster on a free port of loopback."""
    asked: list[Asked] = []

    class Handler(_Handler):
        pass

    Handler.cluster, Handler.asked = cluster, asked
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield Server(f"http://127.0.0.1:{server.server_port}", asked)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cluster: Cluster
    asked: list[Asked]

    def log_message(self, *args: Any) -> None:
        """Say nothing: `Server.asked` has it all."""

    def do(self) -> None:
        address = urlsplit(self.path)
        query = dict(parse_qsl(address.query, keep_blank_values=True))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = address.path.strip("/")
        try:
            status, answer = 200, _described(path)
            if answer is None:
                status, answer = self._object(path, query, body)
        except Refused as err:
            status = err.status
            answer = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status}
            answer |= {"reason": err.reason, "message": str(err)}
        self.asked.append(Asked(self.command, path, query, status))
        if answer is not None:
            self._answer(status, answer)

    do_GET = do  # noqa: N815
    do_POST = do  # noqa: N815
    do_PATCH = do  # noqa: N815
    do_DELETE = do  # noqa: N815

    def _object(self, path: str, query: dict[str, str], body: bytes) -> tuple[int, Object | None]:
        log = re.fullmatch(r"api/v1/namespaces/([^/]+)/pods/([^/]+)/log", path)
        if log:
            self._write(200, "text/plain", self.cluster.log(log[1], log[2]).encode())
            return 200, None
        for kind in KINDS:
            way = rf"{re.escape(kind.prefix)}(?:/namespaces/([^/]+))?/{kind.plural}(?:/([^/]+))?"
            found = re.fullmatch(way, path)
            if found and (kind.namespaced or not found[1]):
                return self._answered(kind, found[1], found[2], query, body)
        raise Refused(404, "NotFound", f"the server could not find the requested resource {path}")

    def _answered(
        self, kind: Kind, namespace: str | None, name: str | None, query: dict[str, str], body: bytes
    ) -> tuple[int, Object | None]:
        if self.command == "GET" and name:
            return 200, self.cluster.find(kind.kind, namespace, name)
        if self.command == "GET" and query.get("watch") in ("true", "1"):
            self._watch(kind, namespace, query)
            return 200, None
        if self.command == "GET":
            with self.cluster.changed:
                version, items = str(self.cluster.version), self._listed(kind, namespace, query)
            metadata = {"resourceVersion": version}
            return 200, {"kind": f"{kind.kind}List", "apiVersion": kind.api, "metadata": metadata, "items": items}
        if self.command == "DELETE" and name:
            self.cluster.remove((kind.kind, namespace, name))
            return 200, {"kind": "Status", "apiVersion": "v1", "status": "Success"}
        content = self.headers.get("Content-Type", "")
        if self.command != "PATCH" or content not in (APPLY, MERGE) or not name:
            raise Refused(
                405, "MethodNotAllowed", f"expected an apply or a merge patch, found {self.command} {content}"
            )
        dry_run = query.get("dryRun") == "All"
        key = (kind.kind, namespace, name)
        new, is_new = self.cluster.put(key, json.loads(body), merge=content == MERGE, dry_run=dry_run)
        return (201 if is_new else 200), new

    def _listed(self, kind: Kind, namespace: str | None, query: dict[str, str]) -> list[Object]:
        fields, labels = _selected(query, "fieldSelector"), _selected(query, "labelSelector")
        return [
            copy.deepcopy(each)
            for (own, place, name), each in self.cluster.objects.items()
            if own == kind.kind
            and namespace in (None, place)
            and fields.get("metadata.name", name) == name
            and labels.items() <= each["metadata"].get("labels", {}).items()
        ]

    def _watch(self, kind: Kind, namespace: str | None, query: dict[str, str]) -> None:
        """Tell of changes, line by line, until the client leaves or half a minute is over."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        seen, end = int(query.get("resourceVersion") or 0), time.monotonic() + 30
        while time.monotonic() < end:
            with self.cluster.changed:
                found = self._listed(kind, namespace, query)
                new = [each for each in found if int(each["metadata"]["resourceVersion"]) > seen]
                if not new:
                    self.cluster.changed.wait(0.5)
            for each in sorted(new, key=lambda each: int(each["metadata"]["resourceVersion"])):
                seen = int(each["metadata"]["resourceVersion"])
                try:
                    self.wfile.write(json.dumps({"type": "MODIFIED", "object": each}).encode() + b"\n")
                    self.wfile.flush()
                except OSError:
                    return

    def _answer(self, status: int, answer: Object) -> None:
        self._write(status, "application/json", json.dumps(answer).encode())

    def _write(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _selected(query: dict[str, str], selector: str) -> dict[str, str]:
    return dict(re.split("==?", each, maxsplit=1) for each in query.get(selector, "").split(",") if "=" in each)


def _described(path: str) -> Object | None:
    """What the server says of itself, None for a path of objects."""
    if path == "version":
        return {"major": "1", "minor": "32", "gitVersion": "v1.32.0"}
    if path == "api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "apis":
        groups = [_group(api) for api in dict.fromkeys(kind.api for kind in KINDS if "/" in kind.api)]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    if path == "openapi/v3":
        return {"paths": {kind.prefix: {"serverRelativeURL": f"/openapi/v3/{kind.prefix}"} for kind in KINDS}}
    if path.startswith("openapi/v3/"):
        mine = [kind for kind in KINDS if kind.prefix == path.removeprefix("openapi/v3/")]
        paths = dict(_patched(kind) for kind in mine)
        return {"openapi": "3.0.0", "info": {"title": "kubernetes", "version": "1.32"}, "paths": paths}
    mine = [kind for kind in KINDS if kind.prefix == path]
    if not mine:
        return None
    resources = [
        {
            "name": kind.plural,
            "singularName": kind.kind.lower(),
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": VERBS,
        }
        for kind in mine
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": mine[0].api, "resources": resources}


def _group(api: str) -> Object:
    name, _, number = api.partition("/")
    version = {"groupVersion": api, "version": number}
    return {"name": name, "versions": [version], "preferredVersion": version}


def _patched(kind: Kind) -> tuple[str, Object]:
    """Where kubectl looks up whether a kind can be tried without being changed, and whether fields are checked."""
    place = "/namespaces/{namespace}" if kind.namespaced else ""
    group, _, version = kind.api.rpartition("/")
    named = {"group": group, "version": version, "kind": kind.kind}
    parameters = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in QUERY]
    patch = {"parameters": parameters, "x-kubernetes-group-version-kind": named, "x-kubernetes-action": "patch"}
    return f"/{kind.prefix}{place}/{kind.plural}/{{name}}", {"patch": {**patch, "responses": {}}}
