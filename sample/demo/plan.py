"""What tests/workflows/run.mjs is told: a workflow, its event, the repository it belongs to, where its jobs play."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY, FORK = "owner/model", "someone/fork"
HOME: Mapping[str, Any] = {"full_name": REPOSITORY, "default_branch": "main"}
SETUP = "./.github/actions/setup"
CML: Mapping[str, Any] = {"iterative/setup-cml": {"ok": False, "said": "not to be had"}}  # it cannot be installed


@dataclass(frozen=True, slots=True)
class Programs:
    """What a shell of a job calls as `mergeline` and as `dvc`."""

    mergeline: str
    dvc: str


OF_THIS_PYTHON = Programs(
    f"{shlex.quote(sys.executable)} -m mergeline", shlex.quote(str(Path(sys.executable).with_name("dvc")))
)


def plan(
    workflow: Path,
    event: str,
    payload: Mapping[str, Any],
    sha: str,
    origin: Path,
    place: Path,
    programs: Programs,
    environment: Mapping[str, str],
    actions: Mapping[str, Any] = CML,
    **more: Any,
) -> dict[str, Any]:
    """The plan of a run of `workflow` whose jobs clone `origin`, a bare repository, into folders of `place`.

    `actions` are those that cannot run here, each with its end; `more` are further fields (see workflows/run.mjs).
    """
    return {
        "workflow": str(workflow),
        "event": event,
        "payload": payload,
        "sha": sha,
        "repository": REPOSITORY,
        "origin": str(origin),
        "place": str(place / "jobs"),
        "artifacts": str(place / "artifacts"),
        "python": sys.executable,
        "mergeline": programs.mergeline,
        "dvc": programs.dvc,
        "environment": environment,
        "setup": SETUP,
        "actions": actions,
        **more,
    }


def pull_request(sha: str, branch: str, *, number: int = 7, fork: bool = False) -> dict[str, Any]:
    """The event of a pull request into main: from a branch of the repository itself, or of a fork."""
    owner = (FORK if fork else REPOSITORY).partition("/")[0]
    home = {**HOME, "full_name": FORK} if fork else HOME
    head = {"ref": branch, "sha": sha, "label": f"{owner}:{branch}", "repo": home}
    pull = {"number": number, "head": head, "base": {"ref": "main", "repo": HOME}, "user": {"login": "person"}}
    return {"action": "opened", "number": number, "pull_request": pull, "repository": HOME}


def permissions(workflow: Path) -> dict[str, dict[str, str]]:
    """What the token of each job may, by the workflow."""
    import yaml

    jobs = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]
    return {name: dict(job.get("permissions") or {}) for name, job in jobs.items()}
