"""What Terraform made, by its own outputs: the names by which everything else is found."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mergeline.errors import ConfigurationError, ServiceError

FOLDER = Path("terraform")
APPLY = f"terraform -chdir={FOLDER} apply"
KEPT = Path(".mergeline/destroy.json")  # what a destroy that failed half way needs, when Terraform has forgotten it


@dataclass(frozen=True, slots=True)
class Made:
    """The outputs that are read here; `buckets` are by what they are for, `pushes` what a pushing workflow needs.

    `subjects` are the repository as GitHub's tokens name it, by its ids.
    """

    name: str
    region: str
    repository: str
    subjects: tuple[str, ...]
    variables: Mapping[str, str]
    pushes: Mapping[str, str]
    buckets: Mapping[str, str]

    @classmethod
    def of(cls, outputs: Mapping[str, Any], where: str) -> Made:
        """Read `terraform output -json`; raise `ConfigurationError` where it is not that of this template."""
        try:
            found = {name: each["value"] for name, each in outputs.items()}
            buckets = {
                "dvc": found["dvc_remote"],
                "models": found["model_store"],
                "predictions": found["prediction_logs"]["production"],
                "mlflow": found["mlflow_artifacts"],
            }
            return cls(
                name=str(found["name"]),
                region=str(found["region"]),
                repository=str(found["repository"]),
                subjects=tuple(map(str, found["subjects"])),
                variables=dict(found["github_variables"]),
                pushes=dict(found["push_deployment"]),
                buckets={each: url.removeprefix("s3://").split("/")[0] for each, url in buckets.items()},
            )
        except (KeyError, TypeError, AttributeError) as err:
            raise ConfigurationError(
                f"{where}: expected the outputs of {FOLDER}/outputs.tf, without {err}; run `{APPLY}`"
            ) from err

    @property
    def account(self) -> str:
        """The number of the account, as the roles have it."""
        return self.variables["AWS_TRAIN_ROLE"].split(":")[4]

    @property
    def partition(self) -> str:
        """How every ARN of the account begins after `arn:`: aws, aws-us-gov or another."""
        return self.variables["AWS_TRAIN_ROLE"].split(":")[1]


def read_made(root: Path, file: Path | None, environment: Mapping[str, str]) -> Made:
    """Return what was made, from a file of `terraform output -json` or from Terraform itself."""
    if file is not None:
        try:
            return Made.of(json.loads(file.read_text(encoding="utf-8")), str(file))
        except (OSError, ValueError) as err:
            raise ConfigurationError(f"{file}: no file of `terraform output -json` ({err})") from err
    text = terraform(root, environment, "output", "-json")
    return Made.of(json.loads(text), f"{FOLDER}: output")


def read_kept(root: Path, file: Path | None, environment: Mapping[str, str]) -> Made:
    """Return what is to be destroyed: as `read_made` does, else as the destroy before this one kept it.

    Terraform has no outputs any more as soon as it has begun to destroy.
    """
    try:
        return read_made(root, file, environment)
    except ConfigurationError:
        if not (root / KEPT).is_file():
            raise
    try:
        found = json.loads((root / KEPT).read_text(encoding="utf-8"))
        return Made(**found | {"subjects": tuple(found["subjects"])})
    except (ValueError, TypeError, KeyError) as err:
        raise ConfigurationError(f"{KEPT}: expected what a destroy kept ({err}); give --outputs") from err


def keep(root: Path, made: Made) -> None:
    """Keep what `read_kept` returns."""
    (root / KEPT).parent.mkdir(exist_ok=True)
    (root / KEPT).write_text(json.dumps(asdict(made), indent=1) + "\n", encoding="utf-8")


def terraform(root: Path, environment: Mapping[str, str], *arguments: str, within: Path = FOLDER) -> str:
    """Run Terraform in a folder of the repository and return what it wrote; raise `ServiceError` where it fails."""
    folder = root / within
    if not folder.is_dir():
        raise ConfigurationError(f"{within}: no such folder here; run this in a repository of the template")
    command = ["terraform", f"-chdir={folder}", *arguments]
    try:
        done = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=False)
    except FileNotFoundError as err:
        raise ConfigurationError(
            "terraform: not installed; see https://developer.hashicorp.com/terraform/install"
        ) from err
    if done.returncode:
        said = " ".join(line.strip("╷│╵ ") for line in done.stderr.splitlines() if "Error" in line) or "no word"
        raise ServiceError(f"terraform {arguments[0]} in {within}: {said}; run it by hand to see all of it")
    return done.stdout
