"""The run of a workflow, as its environment describes it; on a laptop most of it is not there."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mergeline.errors import ConfigurationError
from mergeline.github.client import USUAL, Client, Patience

API = "https://api.github.com"
DEPENDABOT = "dependabot[bot]"
REPOSITORY = re.compile(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Into:
    """The branch that a run's pull request, or its place in the merge queue, is to be merged into; and the default one.

    Empty where the event does not name it.
    """

    branch: str
    default: str


@dataclass(frozen=True, slots=True)
class Run:
    """Whose run it is, where its API is, which pull request started it.

    `read_only` says that GitHub gave the run a token that may only read, whatever the workflow asks for: the branch
    lies in a fork, or Dependabot pushed it. `page` is the address of the run for a person. `into` is None where nothing
    is to be merged.
    """

    repository: str | None
    api: str
    token: str | None
    pull_request: int | None
    read_only: bool
    summary: Path | None
    page: str | None
    into: Into | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Run:
        """Read the variables that GitHub sets; an empty one is none."""
        event = _event(environment.get("GITHUB_EVENT_PATH"))
        repository = environment.get("GITHUB_REPOSITORY") or None
        if repository and REPOSITORY.fullmatch(repository) is None:
            raise ConfigurationError("GITHUB_REPOSITORY: expected OWNER/NAME, found another text")
        summary, server, run_id = (
            environment.get(f"GITHUB_{name}") or None for name in ("STEP_SUMMARY", "SERVER_URL", "RUN_ID")
        )
        return cls(
            repository=repository,
            api=environment.get("GITHUB_API_URL") or API,
            token=(environment.get("GITHUB_TOKEN") or environment.get("GH_TOKEN") or "").strip() or None,
            pull_request=_number(event),
            read_only=_read_only(event),
            summary=Path(summary) if summary else None,
            page=f"{server}/{repository}/actions/runs/{run_id}" if server and repository and run_id else None,
            into=_into(event),
        )

    def named(self) -> str:
        """The repository; raises `ConfigurationError` where nothing names it."""
        if self.repository is None:
            raise ConfigurationError("GITHUB_REPOSITORY: not set; set it to OWNER/NAME")
        return self.repository

    def client(self, patience: Patience = USUAL) -> Client:
        """A client with the run's token; raises `ConfigurationError` where there is none."""
        if self.token is None:
            raise ConfigurationError(
                "GITHUB_TOKEN: not set; in a workflow `env: GITHUB_TOKEN: ${{ github.token }}`, on a laptop"
                " `export GITHUB_TOKEN=$(gh auth token)`"
            )
        return Client(self.api, self.token, patience)


def _event(path: str | None) -> dict[str, Any]:
    """What started the run; empty where nothing says so."""
    if not path:
        return {}
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise ConfigurationError(
            "GITHUB_EVENT_PATH: names no file of JSON; name the pull request by --pull-request"
        ) from err
    return found if isinstance(found, dict) else {}


def _number(event: Mapping[str, Any]) -> int | None:
    """The pull request of an event, or of a comment on one."""
    pull, issue = _part(event, "pull_request"), _part(event, "issue")
    number = pull.get("number") or (issue.get("number") if issue.get("pull_request") else None)
    return number if isinstance(number, int) and number > 0 else None


def _into(event: Mapping[str, Any]) -> Into | None:
    pull, group = _part(event, "pull_request"), _part(event, "merge_group")
    if not pull and not group:
        return None
    branch = _part(pull, "base").get("ref") or str(group.get("base_ref") or "").removeprefix("refs/heads/")
    return Into(str(branch or ""), str(_part(event, "repository").get("default_branch") or ""))


def _read_only(event: Mapping[str, Any]) -> bool:
    pull = _part(event, "pull_request")
    if not pull:
        return False
    head, base = (_part(_part(pull, name), "repo").get("full_name") for name in ("head", "base"))
    return head is None or head != base or _part(event, "sender").get("login") == DEPENDABOT


def _part(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = record.get(key)
    return found if isinstance(found, dict) else {}
