"""The verb `training-job`: a commit is trained on a cluster, and its results come back as if it had been here."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from mergeline.errors import ConfigurationError, ServiceError
from mergeline.training_job.manifest import JOBS

if TYPE_CHECKING:
    from mergeline.commands.verb import Verb
    from mergeline.training_job.cluster import Failure, Kubectl
    from mergeline.training_job.handover import Handover
    from mergeline.training_job.manifest import Manifest, Named

MANIFESTS = Path("k8s/training/job")
LOCK = Path("requirements/runtime.lock")
IMAGE = "MERGELINE_TRAINER"
PINS = "MERGELINE_TRAINER_LOCK"  # set in the trainer's image
OWN_CODES = range(1, 7)  # of a stage; 7 is a service's, more a signal's

logger = logging.getLogger(__name__)


def add_verbs(verb: Verb) -> None:
    """Declare the verbs."""
    text = "train this commit as a Job of a cluster, unless it is trained (exit code: the failing stage's own)"
    added = verb("training-job", _training_job, text)
    text = "the branch to be merged into (default: origin's default branch)"
    added.add_argument("--base", metavar="BRANCH", help=text)
    text = f"the trainer's image, by digest (default: {IMAGE})"
    added.add_argument("--image", metavar="IMAGE", help=text)
    text = f"where commit and results are handed over (default: {JOBS}, else jobs/ below the DVC remote)"
    added.add_argument("--jobs", metavar="URL", help=text)
    text = "the most that the Job may take, the wait for a node included (default: the manifest's)"
    added.add_argument("--minutes", type=_minutes, metavar="N", help=text)
    added.add_argument("--manifests", type=Path, default=MANIFESTS, help=f"its kustomization (default: {MANIFESTS})")
    way = added.add_mutually_exclusive_group()
    way.add_argument("--print", action="store_true", help="print the Job, and start nothing")
    way.add_argument("--here", action="store_true", help="train here and hand the results over, as the Job's pod does")


def _minutes(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10_080:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to 10080, a week, found {text!r}")
    return int(text)


def _training_job(parsed: argparse.Namespace) -> str:
    from mergeline.training_job.cluster import Kubectl

    if parsed.here:
        return here(parsed.root, parsed.base, parsed.jobs, os.environ)
    return training_job(parsed.root, parsed, os.environ, Kubectl())


def training_job(root: Path, asked: argparse.Namespace, environment: Mapping[str, str], cluster: Kubectl) -> str:
    """Have HEAD trained by the cluster, put its results in place and return what happened.

    Nothing is started where the commit is trained, or was by an earlier Job; one that runs is waited for; one that
    failed is done again. Raises `StageError` with the failing stage's own exit code, and `ServiceError` where the
    cluster does not do its part.
    """
    from mergeline.training_job.handover import why_train
    from mergeline.training_job.manifest import named

    place = _handover(root, asked.jobs, environment)
    commit = place.commit
    if asked.print:
        return _as_yaml(_manifest(root, asked, environment, cluster, place))
    if not why_train(root):
        return f"{commit}: its model is made, no Job"
    if _took(root, place) and not why_train(root):
        return f"{commit}: trained by an earlier Job, its results are in place"
    manifest = _manifest(root, asked, environment, cluster, place)
    failed = _run(root, asked.base, cluster, manifest, place)
    place.clear()
    _took(root, place)
    if failed is not None:
        _refuse(failed, named(manifest))
    missing = why_train(root)
    if missing:
        raise ServiceError(f"{named(manifest).name}: ended well and left no model of this commit ({missing})")
    return f"{commit}: trained by Job {named(manifest).name}, its results are in place"


def here(root: Path, base: str | None, jobs: str | None, environment: Mapping[str, str]) -> str:
    """Put data in place, run the pipeline, push what it made and leave the results; return the summary.

    What ran before a stage failed is kept, too. Raises `ConfigurationError` where this image holds other versions of
    libraries than the commit's lock names.
    """
    from mergeline import pipeline
    from mergeline.commands.repro import repro
    from mergeline.training_job import handover

    _refuse_other_pins(root, environment)
    place = _handover(root, jobs, environment)
    _took(root, place)  # what a pod made that was taken away before its end
    pipeline.put_data_in_place(root)
    try:
        return repro(root, base=base, force=False, pull=True, tracking=False, environment=environment)
    finally:
        handover.push(root)
        place.leave(root)


def _handover(root: Path, jobs: str | None, environment: Mapping[str, str]) -> Handover:
    from mergeline import git
    from mergeline.layout import RECORDED
    from mergeline.training_job import handover

    commit = git.head_commit(root, ignoring=RECORDED)
    if commit is None:
        raise ConfigurationError(f"{root}: no commit here; a Job trains a commit")
    if commit.endswith("-dirty"):
        changed = git.changed_files(root, RECORDED)
        raise ConfigurationError(f"{changed[0]}: not committed as it is; a Job trains a commit: commit or undo it")
    url = jobs or environment.get(JOBS) or handover.beside_the_data(root)
    return handover.open_handover(url, root, commit)


def _took(root: Path, place: Handover) -> bool:
    """Put what was left for the commit in place, if anything was: the records, and what they are of."""
    from mergeline.training_job import handover

    if not place.take(root):
        return False
    handover.pull(root)
    return True


def _manifest(
    root: Path, asked: argparse.Namespace, environment: Mapping[str, str], cluster: Kubectl, place: Handover
) -> Manifest:
    from mergeline.training_job.manifest import Wanted, filled

    image = asked.image or environment.get(IMAGE)
    if not image:
        raise ConfigurationError(f"--image: not set, nor {IMAGE}; docs/training-job.md says how the image is built")
    seconds = None if asked.minutes is None else 60 * asked.minutes
    wanted = Wanted(place.commit, _base(root, asked.base), place.bundle, place.store.url, image, seconds)
    return filled(cluster.render(root / asked.manifests), wanted)


def _base(root: Path, name: str | None) -> str | None:
    """The commit of the base branch, if there is one."""
    from mergeline import git

    found = git.base_branch(root, name)
    return None if found is None else git.commit_of(root, found)


def _run(root: Path, base: str | None, cluster: Kubectl, manifest: Manifest, place: Handover) -> Failure | None:
    """Start the Job or find the one that runs, and wait for its end."""
    from mergeline.training_job.cluster import ending
    from mergeline.training_job.manifest import named

    job = named(manifest)
    found = cluster.find(job)
    ended = None if found is None else ending(found)
    if found is not None and ended is not None:  # failed, or its results are gone
        logger.info("%s: ended before (%s), done again", job.name, ended.reason or "Complete")
        cluster.remove(job)
        found = None
    if found is None:
        place.send(root, _base(root, base))
        cluster.start(manifest)
        logger.info("%s: started", job.name)
    else:
        logger.info("%s: found", job.name)
    return cluster.wait(job)


def _refuse(failed: Failure, job: Named) -> NoReturn:
    from mergeline.pipeline import StageError

    if failed.log:
        logger.info(failed.log.rstrip())
    if failed.exit_code in OWN_CODES:
        said = f"{job.name}: the pipeline ended with {failed.exit_code}; the end of its log stands above"
        raise StageError(said, failed.exit_code or 1)
    if failed.reason == "DeadlineExceeded":
        raise ServiceError(f"{job.name}: not done after {job.deadline_s} s; `--minutes` gives it more")
    code = "" if failed.exit_code is None else f", exit code {failed.exit_code}"
    hint = "; killed, most often for memory: see resources in k8s/training/job" if failed.exit_code == 137 else ""
    raise ServiceError(f"{job.name}: {failed.reason}{code}: {failed.said}{hint}")


def _refuse_other_pins(root: Path, environment: Mapping[str, str]) -> None:
    """Raise `ConfigurationError` where the image was built from another lock than the commit's."""
    built_from = environment.get(PINS)
    if built_from and Path(built_from).read_bytes() != (root / LOCK).read_bytes():
        raise ConfigurationError(f"{LOCK}: not the lock that this image was built from; build the trainer's image anew")


def _as_yaml(manifest: Manifest) -> str:
    import io

    from ruamel.yaml import YAML

    text, writer = io.StringIO(), YAML()
    writer.default_flow_style = False
    writer.dump(manifest, text)
    return text.getvalue().rstrip()
