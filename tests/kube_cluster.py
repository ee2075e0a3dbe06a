"""Objects in memory as a Kubernetes cluster keeps them, and the controller of Deployments.

What it takes from a real cluster: objects are checked before they are kept, a namespace has to be there, a dry run
changes nothing, fields that an apply leaves out go (but for those that others own: the status, and the replicas once
they are set), and a Deployment goes from its pods to new ones: old pods stay until new ones are ready, and past the
deadline it says so. What it does not: conflicts of field managers, pods, and defaults beside `replicas`.
"""

from __future__ import annotations

import copy
import datetime as dt
import threading
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]
Key = tuple[str, str | None, str]


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason = status, reason


@dataclass(slots=True)
class Cluster:
    """The objects, and the controller of Deployments.

    `objections` says what is wrong with an object that is to be kept; `starts` whether pods of a template get ready;
    `deadline_s` stands for every progressDeadlineSeconds.
    """

    objections: Callable[[Object], Iterable[str]] = lambda each: ()
    starts: Callable[[Object], bool] = lambda template: True
    deadline_s: float = 0.5
    objects: dict[Key, Object] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)
    _serving: dict[Key, Object] = field(default_factory=dict)
    _version: int = 100

    @property
    def version(self) -> int:
        """Return a number that grows with each change."""
        return self._version

    def find(self, kind: str, namespace: str | None, name: str) -> Object:
        """Return an object; raise `Refused` where it is not there."""
        found = self.objects.get((kind, namespace, name))
        if found is None:
            raise Refused(404, "NotFound", f'{kind} "{name}" not found')
        return copy.deepcopy(found)

    def serving(self, namespace: str, name: str = "mergeline") -> Object | None:
        """Return the template of the pods that are ready."""
        return self._serving.get(("Deployment", namespace, name))

    def log(self, namespace: str, pod: str) -> str:
        """What a pod said; a cluster of Deployments has no pods (see `kube_jobs`)."""
        raise Refused(404, "NotFound", f'pods "{pod}" not found')

    def remove(self, key: Key) -> None:
        """Take an object away; raise `Refused` where it is not there."""
        with self.changed:
            self.find(*key)
            del self.objects[key]
            self._version += 1
            self.changed.notify_all()

    def put(self, key: Key, body: Object, *, merge: bool, dry_run: bool) -> tuple[Object, bool]:
        """Apply or merge an object; return what it is then, and whether it is new."""
        kind, namespace, name = key
        with self.changed:
            old = self.objects.get(key)
            if namespace and ("Namespace", None, namespace) not in self.objects:
                raise Refused(404, "NotFound", f'namespaces "{namespace}" not found')
            if merge and old is None:
                raise Refused(404, "NotFound", f'{kind} "{name}" not found')
            asked = _merged(old or {}, body) if merge else body
            said = list(self.objections({key: value for key, value in asked.items() if key != "status"}))
            if said:
                raise Refused(422, "Invalid", f'{kind} "{name}" is invalid: {"; ".join(said)}')
            new = _kept(old, asked)
            if not dry_run and new != old:
                self._keep(key, new)
                if kind == "Deployment" and (old is None or new["spec"] != old["spec"]):
                    self._roll(key, new)
            return copy.deepcopy(new), old is None

    def _keep(self, key: Key, new: Object) -> None:
        self._version += 1
        new["metadata"]["resourceVersion"] = str(self._version)
        self.objects[key] = new
        self.changed.notify_all()

    # ---- The controller of Deployments -------------------------------------------------------------------------------

    def _roll(self, key: Key, new: Object) -> None:
        generation, replicas = new["metadata"]["generation"], new["spec"]["replicas"]
        template = new["spec"]["template"]
        before = replicas if key in self._serving else 0
        if self._serving.get(key) == template:
            self._say(key, generation, _progress(replicas, replicas, replicas, "NewReplicaSetAvailable"))
            return
        self._say(key, generation, _progress(before + 1, 1, before, "ReplicaSetUpdated"))
        if self.starts(template):
            self._serving[key] = template
            status = _progress(replicas, replicas, replicas, "NewReplicaSetAvailable")
            threading.Timer(0.1, self._say_later, (key, generation, status)).start()
        else:
            status = _progress(before + 1, 1, before, "ProgressDeadlineExceeded")
            threading.Timer(self.deadline_s, self._say_later, (key, generation, status)).start()

    def _say_later(self, key: Key, generation: int, status: Object) -> None:
        with self.changed:
            self._say(key, generation, status)

    def _say(self, key: Key, generation: int, status: Object) -> None:
        """Set the status of a Deployment, unless it is another by now."""
        found = self.objects.get(key)
        if found is not None and found["metadata"]["generation"] == generation:
            self._keep(key, {**found, "status": {"observedGeneration": generation, **status}})


def _progress(replicas: int, updated: int, available: int, reason: str) -> Object:
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    held = {
        "type": "Progressing",
        "status": "False" if reason == "ProgressDeadlineExceeded" else "True",
        "reason": reason,
        "lastUpdateTime": now,
        "lastTransitionTime": now,
    }
    counts = {"replicas": replicas, "updatedReplicas": updated, "readyReplicas": available}
    return {**counts, "availableReplicas": available, "conditions": [held]}


def _kept(old: Object | None, asked: Object) -> Object:
    """An object as it is kept: what was asked for, and what others own."""
    new = copy.deepcopy(asked)
    meta = new["metadata"]
    meta.pop("managedFields", None)
    if old is None:
        own = {"uid": str(uuid.uuid4()), "creationTimestamp": "2026-01-01T00:00:00Z", "generation": 0}
        own["resourceVersion"] = "0"
    else:
        own = {name: old["metadata"][name] for name in ("uid", "creationTimestamp", "generation", "resourceVersion")}
        if "status" in old:
            new["status"] = old["status"]
    if new["kind"] == "Deployment":
        new["spec"].setdefault("replicas", old["spec"]["replicas"] if old else 1)
    meta.update(own)
    if old is None or new.get("spec") != old.get("spec"):
        meta["generation"] += 1
    return new


def _merged(old: Object, patch: Object) -> Object:
    """RFC 7386."""
    new = {**old}
    for name, value in patch.items():
        if value is None:
            new.pop(name, None)
        elif isinstance(value, dict):
            new[name] = _merged(new[name] if isinstance(new.get(name), dict) else {}, value)
        else:
            new[name] = value
    return new
