"""The Job of one commit: `k8s/training/job` with what belongs to the commit filled in."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mergeline.errors import ConfigurationError

CONTAINER = "trainer"
JOBS = "MERGELINE_JOBS"
COMMIT_ANNOTATION = "mergeline.dev/commit"
_BY_DIGEST = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a Job trains, and in what.

    `commit` and `base`, what the candidate is compared with, are whole SHA-1s. `bundle` is where the commit lies as a
    Git bundle, `jobs` where the results go. `deadline_s` of None is the manifest's own.
    """

    commit: str
    base: str | None
    bundle: str
    jobs: str
    image: str
    deadline_s: int | None = None


@dataclass(frozen=True, slots=True)
class Named:
    """A Job of a cluster by its names, with the seconds that it may take."""

    namespace: str
    name: str
    deadline_s: int


def filled(objects: Sequence[Mapping[str, Any]], wanted: Wanted) -> Manifest:
    """Return the one Job among rendered objects, filled in; its name follows from the commit alone.

    Raises `ConfigurationError` for an image without a digest and where there is not one Job with one container
    `trainer`, a namespace and a deadline.
    """
    if _BY_DIGEST.fullmatch(wanted.image) is None:
        raise ConfigurationError(f"--image: expected NAME@sha256:DIGEST, found {wanted.image!r}")
    job = copy.deepcopy(dict(_one(objects, "kind", "Job")))
    container = _one(job["spec"]["template"]["spec"]["containers"], "name", CONTAINER)
    values = {
        "COMMIT": wanted.commit,
        "BASE": wanted.base or "",
        "BUNDLE": wanted.bundle,
        JOBS: wanted.jobs,
    }
    kept = [each for each in container.get("env", []) if each["name"] not in values]
    container["env"] = [*kept, *({"name": name, "value": value} for name, value in values.items())]
    container["image"] = wanted.image
    job["metadata"]["name"] = f"train-{wanted.commit}"
    job["metadata"].setdefault("annotations", {})[COMMIT_ANNOTATION] = wanted.commit
    if wanted.deadline_s is not None:
        job["spec"]["activeDeadlineSeconds"] = wanted.deadline_s
    named(job)
    return job


def named(job: Mapping[str, Any]) -> Named:
    """Return the names and the deadline of a Job."""
    try:
        metadata = job["metadata"]
        return Named(metadata["namespace"], metadata["name"], int(job["spec"]["activeDeadlineSeconds"]))
    except KeyError as err:
        raise ConfigurationError(f"the training Job: {err} is missing; a Job without it would never end") from err


def _one(among: Sequence[Mapping[str, Any]], key: str, value: str) -> Any:
    found = [each for each in among if each.get(key) == value]
    if len(found) != 1:
        raise ConfigurationError(f"the training Job's manifest: expected one {key} {value}, found {len(found)}")
    return found[0]
