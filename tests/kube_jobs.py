"""A cluster that runs Jobs: the controller of Jobs, and pods that a test plays or that really run as processes.

What it takes from a real cluster: a Job's pod template never changes, a pod's failure is judged by the Job's own
podFailurePolicy and backoffLimit, a Job past its deadline is ended and its pods are gone, and pods go with their Job.
What it does not: nodes, parallel pods, suspension, and the clock of the TTL.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kube_cluster import Cluster, Key, Object, Refused

JOB_NAME = "batch.kubernetes.io/job-name"
Run = Callable[[Object], tuple[int, str] | None]


@dataclass(slots=True)
class Jobs(Cluster):
    """The objects, and the controller of Jobs.

    `runs` plays the pod of a Job: its exit code and what it said, or None for one that never ends.
    """

    runs: Run = lambda job: (0, "")
    logs: dict[str, str] = field(default_factory=dict)

    def log(self, namespace: str, pod: str) -> str:
        self.find("Pod", namespace, pod)
        return self.logs[pod]

    def remove(self, key: Key) -> None:
        Cluster.remove(self, key)
        if key[0] == "Job":
            with self.changed:
                self._remove_pods(key[2])

    def put(self, key: Key, body: Object, *, merge: bool, dry_run: bool) -> tuple[Object, bool]:
        old = self.objects.get(key)
        if key[0] == "Job" and old is not None and old["spec"]["template"] != body["spec"]["template"]:
            raise Refused(422, "Invalid", f'Job "{key[2]}" is invalid: spec.template: field is immutable')
        new, is_new = Cluster.put(self, key, body, merge=merge, dry_run=dry_run)
        if key[0] == "Job" and is_new and not dry_run:
            threading.Thread(target=self._control, args=(key, new["metadata"]["uid"]), daemon=True).start()
        return new, is_new

    def _control(self, key: Key, uid: str) -> None:
        job = self.find(*key)
        for number in range(job["spec"]["backoffLimit"] + 1):
            self._say_of(key, uid, {"active": 1, "ready": 1})
            ran = self.runs(job)
            if ran is None:
                self._end(key, uid, "Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
                with self.changed:
                    self._remove_pods(key[2])
                return
            code, said = ran
            self._pod(job, number, code, said)
            if code == 0:
                self._end(key, uid, "Complete", "CompletionsReached", "")
                return
            if _ends_the_job(job, code):
                self._end(key, uid, "Failed", "PodFailurePolicy", f"container failed with exit code {code}")
                return
        self._end(key, uid, "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")

    def _pod(self, job: Object, number: int, code: int, said: str) -> None:
        """Keep a pod that has ended."""
        name = f"{job['metadata']['name']}-{number}"
        labels = {JOB_NAME: job["metadata"]["name"]}
        metadata = {"name": name, "namespace": job["metadata"]["namespace"], "labels": labels}
        metadata["creationTimestamp"] = f"2026-01-01T00:00:{number:02}Z"
        spec = job["spec"]["template"]["spec"]
        status = [{"name": each["name"], "state": {"terminated": {"exitCode": code}}} for each in spec["containers"]]
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        with self.changed:
            self.logs[name] = said
            self._keep(("Pod", metadata["namespace"], name), {**pod, "status": {"containerStatuses": status}})

    def _remove_pods(self, job: str) -> None:
        for key, each in list(self.objects.items()):
            if key[0] == "Pod" and each["metadata"]["labels"][JOB_NAME] == job:
                del self.objects[key]

    def _end(self, key: Key, uid: str, kind: str, reason: str, message: str) -> None:
        held = {"type": kind, "status": "True", "reason": reason, "message": message}
        self._say_of(key, uid, {"active": 0, "ready": 0, "conditions": [held]})

    def _say_of(self, key: Key, uid: str, status: Object) -> None:
        """Set the status of a Job, unless it is another by now."""
        with self.changed:
            found = self.objects.get(key)
            if found is not None and found["metadata"]["uid"] == uid:
                self._keep(key, {**found, "status": status})


def _ends_the_job(job: Object, code: int) -> bool:
    """Whether the first rule for this exit code fails the Job."""
    for rule in job["spec"].get("podFailurePolicy", {}).get("rules", []):
        codes = rule.get("onExitCodes")
        if codes and (code in codes["values"]) == (codes["operator"] == "In"):
            return bool(rule["action"] == "FailJob")
    return False


def run_as_process(job: Object, folder: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    """Run the command of a Job's trainer, with its variables, in an empty folder that stands for its working one."""
    [container] = job["spec"]["template"]["spec"]["containers"]
    folder.mkdir(parents=True)
    own = {each["name"]: each["value"].replace(container["workingDir"], str(folder)) for each in container["env"]}
    done = subprocess.run(
        [*container["command"], *container["args"]],
        cwd=folder,
        env={**environment, **own},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout
