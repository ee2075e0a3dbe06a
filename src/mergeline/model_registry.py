"""MLflow's model registry as a projection of Git: what was recorded there, and which of it each environment serves.

It can be thrown away and made again. Versions that Git does not know, of branches under way, are left alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mergeline import git
from mergeline.errors import ServiceError, VerificationError
from mergeline.layout import COMPARISON, PRODUCTION, RECEIPT, STAGING
from mergeline.release.manifests import NO_RELEASE, parse_release
from mergeline.release.receipt import Receipt, parse_receipt
from mergeline.tracking import DEFAULT_NAME, QUIET_AND_QUICK, local_database, without_credentials

if TYPE_CHECKING:
    from mlflow import MlflowClient

SCHEME = "mergeline-store"  # of a version's source: the model store holds the bytes, MLflow fetches none from there


@dataclass(frozen=True, slots=True)
class Recorded:
    """A model that a branch has recorded, as tags of a version."""

    model_sha256: str
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Projected:
    """What a sync came to: versions of Git, how many of them are new, and the version of each environment."""

    versions: int
    new: int
    aliases: Mapping[str, str]


def recorded(root: Path, commit: str) -> tuple[Recorded, ...]:
    """Return the models of a branch's history, in the order in which they came, each once."""
    found: dict[str, Recorded] = {}
    for each in git.commits(root, commit, RECEIPT):
        content = git.read(root, each.sha, RECEIPT)
        try:
            receipt = parse_receipt((content or b"").decode("utf-8", "replace"))
        except VerificationError:
            continue  # an older code's, or a slip that a later commit mended
        found.setdefault(receipt.model.sha256, Recorded(receipt.model.sha256, _tags(root, each.sha, receipt)))
    return tuple(found.values())


def served(root: Path, commit: str) -> dict[str, str | None]:
    """Return the model that each environment serves at a commit, None for no release."""
    contents = {path.parent.name: git.read(root, commit, path) for path in (STAGING, PRODUCTION)}
    releases = {
        name: NO_RELEASE if content is None else parse_release(content.decode("utf-8", "replace"))
        for name, content in contents.items()
    }
    return {name: release.model_sha256 for name, release in releases.items()}


def sync(root: Path, commit: str, environment: Mapping[str, str]) -> Projected:
    """Make the registry say what Git says at a commit: a version a recorded model, an alias an environment.

    The server is `MLFLOW_TRACKING_URI`, by default a local SQLite file. Twice changes nothing. Raises `ServiceError`
    where it does not answer or does not take a version.
    """
    for name, value in QUIET_AND_QUICK.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    uri = environment.get("MLFLOW_TRACKING_URI") or local_database(root)
    name = environment.get("MLFLOW_EXPERIMENT_NAME") or DEFAULT_NAME
    models, environments = recorded(root, commit), served(root, commit)
    try:
        client = MlflowClient(uri, uri)
        known = _versions(client, name)
        new = _register(client, name, models, known)
        aliases = _point(client, name, environments, known)
    except (MlflowException, SQLAlchemyError, OSError) as err:
        said = " ".join(str(err).split())
        shown = without_credentials(f"mlflow: {uri} does not take the registry ({said}", uri)[:300]
        raise ServiceError(f"{shown}); `mergeline sync-registry` tries again") from err
    return Projected(len(models), new, aliases)


def _tags(root: Path, commit: str, receipt: Receipt) -> dict[str, str]:
    content = git.read(root, commit, COMPARISON)
    verdict = "none" if content is None else str(_verdict(content))
    tags = {
        "model_sha256": receipt.model.sha256,
        "git_commit": receipt.training_commit or "none",
        "recorded_commit": commit,
        "dvc_lock_sha256": receipt.dvc_lock_sha256,
        "evaluation_sha256": receipt.evaluation_sha256,
        "champion_sha256": receipt.champion_sha256 or "none",
        "verdict": verdict,
    }
    return tags | {f"{name}_md5": md5 for name, md5 in receipt.data.items()}


def _verdict(content: bytes) -> object:
    try:
        return json.loads(content)["verdict"]
    except (ValueError, KeyError, TypeError):
        return "none"


def _versions(client: MlflowClient, name: str) -> dict[str, str]:
    """The newest version of each model that the registry has, by the model's SHA-256."""
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name, description="Git is the truth; `mergeline sync-registry` makes this anew.")
    found: dict[str, str] = {}
    token = None
    while True:
        page = client.search_model_versions(f"name = '{name}'", order_by=["version_number ASC"], page_token=token)
        for version in page:
            found[version.tags.get("model_sha256", "")] = str(version.version)
        token = page.token
        if not token:
            return found


def _register(client: MlflowClient, name: str, models: Sequence[Recorded], known: dict[str, str]) -> int:
    """Make the versions that are missing, add what others lack; `known` gets the new ones."""
    new = 0
    for model in models:
        if model.model_sha256 not in known:
            source = f"{SCHEME}:/sha256/{model.model_sha256}"
            made = client.create_model_version(name, source, tags=dict(model.tags))
            known[model.model_sha256] = str(made.version)
            new += 1
            continue
        version = known[model.model_sha256]
        standing = client.get_model_version(name, version).tags
        for key, value in model.tags.items():
            if standing.get(key) != value:
                client.set_model_version_tag(name, version, key, value)
    return new


def _point(
    client: MlflowClient, name: str, environments: Mapping[str, str | None], known: Mapping[str, str]
) -> dict[str, str]:
    """Set the alias of each environment, and take it away where it serves nothing that Git has recorded."""
    standing = dict(client.get_registered_model(name).aliases)
    aliases = {}
    for environment, model in environments.items():
        version = known.get(model) if model else None
        if version is not None:
            aliases[environment] = version
            if str(standing.get(environment)) != version:
                client.set_registered_model_alias(name, environment, version)
        elif environment in standing:
            client.delete_registered_model_alias(name, environment)
    return aliases
