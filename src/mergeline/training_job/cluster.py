"""Jobs of a cluster, by kubectl: start one, wait for its end, read how it ended."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mergeline.errors import ConfigurationError, ServiceError
from mergeline.training_job.manifest import CONTAINER, Manifest, Named

logger = logging.getLogger(__name__)

REQUEST_S = 30
TAIL_LINES = 20


@dataclass(frozen=True, slots=True)
class Failure:
    """How a Job failed: the cluster's reason and words, the last pod's exit code and the end of its log, if any."""

    reason: str
    said: str
    exit_code: int | None = None
    log: str = ""


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl, with the cluster and the rights of its own configuration (KUBECONFIG).

    A cluster is asked every `every_s` seconds, less often the longer it takes; `tries` questions in a row may fail. A
    Job that the cluster has not ended `slack_s` seconds past its deadline is given up.
    """

    program: str = "kubectl"
    every_s: float = 1.0
    most_s: float = 15.0
    tries: int = 8
    slack_s: float = 120.0

    def render(self, folder: Path) -> list[Manifest]:
        """Return the objects of a kustomization."""
        from ruamel.yaml import YAML

        if not folder.is_dir():
            raise ConfigurationError(f"{folder}: no such folder, expected the kustomization of the training Job")
        done = self._run("kustomize", str(folder), KUBECONFIG=os.devnull)  # else it asks the cluster for its version
        if done.returncode:
            raise ConfigurationError(f"{folder}: {_line(done.stderr)}")
        return [dict(each) for each in YAML(typ="safe").load_all(done.stdout) if each]

    def start(self, manifest: Manifest) -> None:
        """Start a Job; one of its name that is there already must be the same."""
        self._do("apply", "--server-side", "--filename", "-", content=json.dumps(manifest))

    def find(self, job: Named) -> Manifest | None:
        """Return a Job as the cluster has it; None where it has none of this name."""
        said = self._do("get", "job", job.name, *_in(job), "--ignore-not-found", "--output", "json")
        found: Manifest | None = json.loads(said) if said.strip() else None
        return found

    def remove(self, job: Named) -> None:
        """Take a Job and its pods away, and wait until they are gone."""
        self._do("delete", "job", job.name, *_in(job), "--ignore-not-found", "--cascade", "foreground", "--wait")

    def wait(self, job: Named) -> Failure | None:
        """Wait for the end of a Job; return how it failed, None where it did not.

        Raises `ServiceError` for a cluster that does not answer, a Job that somebody took away, and one that is not
        ended when it should be.
        """
        until = time.monotonic() + job.deadline_s + self.slack_s
        pause, ready = self.every_s, None
        while True:
            found = self._found(job)
            failed = ending(found)
            if failed is not None:
                return self._explained(job, failed) if failed.reason else None
            now_ready = bool(found.get("status", {}).get("ready"))
            if now_ready != ready:
                logger.info("%s: %s", job.name, "runs" if now_ready else "waits for its pod")
            ready = now_ready
            if time.monotonic() > until:
                raise ServiceError(f"{job.name}: not ended by the cluster, past its deadline of {job.deadline_s} s")
            time.sleep(pause)
            pause = min(self.most_s, 1.5 * pause)

    def _found(self, job: Named) -> Manifest:
        """The Job as it is; a cluster that is silent for a moment is asked again."""
        for left in reversed(range(self.tries)):
            try:
                found = self.find(job)
            except ServiceError:
                if not left:
                    raise
                time.sleep(self.every_s)
                continue
            if found is None:
                raise ServiceError(f"{job.name}: taken away by somebody before it ended; run again")
            return found
        raise AssertionError("the last try returns or raises")

    def _explained(self, job: Named, failed: Failure) -> Failure:
        """The failure with what the last pod says; a cluster that has none left says nothing."""
        try:
            selector = f"batch.kubernetes.io/job-name={job.name}"
            pods = json.loads(self._do("get", "pods", *_in(job), "--selector", selector, "--output", "json"))["items"]
            if not pods:
                return failed
            last = max(pods, key=lambda each: str(each["metadata"].get("creationTimestamp", "")))
            failed = Failure(failed.reason, failed.said, exit_code(last))
            name, tail = last["metadata"]["name"], str(TAIL_LINES)
            log = self._do("logs", name, *_in(job), "--container", CONTAINER, "--tail", tail)
        except ServiceError as err:
            logger.warning("warning: %s", err)
            return failed
        return Failure(failed.reason, failed.said, failed.exit_code, log)

    def _do(self, *arguments: str, content: str | None = None) -> str:
        done = self._run(*arguments, f"--request-timeout={REQUEST_S}s", content=content)
        if done.returncode:
            raise ServiceError(f"kubectl {arguments[0]}: {_line(done.stderr)}")
        return done.stdout

    def _run(self, *arguments: str, content: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        command, whole = [self.program, *arguments], {**os.environ, **environment}
        try:
            return subprocess.run(command, input=content, env=whole, capture_output=True, text=True, check=False)
        except FileNotFoundError as err:
            raise ConfigurationError(f"{self.program}: not installed; a training Job is started by it") from err


def ending(job: Mapping[str, Any]) -> Failure | None:
    """Return how a Job ended, with no reason where it ended well; None where it goes on."""
    held = {each["type"]: each for each in job.get("status", {}).get("conditions", []) if each.get("status") == "True"}
    if "Complete" in held:
        return Failure("", "")
    if "Failed" in held:
        return Failure(held["Failed"].get("reason") or "Failed", held["Failed"].get("message") or "")
    return None


def exit_code(pod: Mapping[str, Any]) -> int | None:
    """Return the exit code of a pod's trainer; None where it has none."""
    for each in pod.get("status", {}).get("containerStatuses", []):
        if each.get("name") == CONTAINER and "terminated" in each.get("state", {}):
            return int(each["state"]["terminated"]["exitCode"])
    return None


def _in(job: Named) -> tuple[str, str]:
    return "--namespace", job.namespace


def _line(text: str) -> str:
    return " ".join(text.split())[:500]
