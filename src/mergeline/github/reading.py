"""The reading of `doctor`: a repository's settings through the API, and CODEOWNERS in the checkout."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from mergeline import git
from mergeline.errors import ConfigurationError
from mergeline.github.checkout import read_checkout
from mergeline.github.client import FORBIDDEN, NOT_FOUND, Client, Refused
from mergeline.github.facts import Environment, Facts
from mergeline.github.plan import plan_of
from mergeline.github.ruleset import NAME, Rules, summed
from mergeline.github.run import REPOSITORY
from mergeline.report.escape import clean

T = TypeVar("T")
UPGRADE = "upgrade to"
MERGING = (
    *("allow_squash_merge", "allow_merge_commit", "allow_rebase_merge"),
    *("squash_merge_commit_title", "squash_merge_commit_message"),
)
_KINDS = {
    "ghs_": "a token of an app or of a workflow",
    "github_pat_": "a fine-grained personal token",
    "ghp_": "a classic personal token",
    "gho_": "a login of the gh command line",
    "ghu_": "a token of an app for a person",
}
_SCP = re.compile(r"[\w.-]+@[\w.-]+:(?!/)(.+)")


def repository_of(root: Path) -> str:
    """Return OWNER/NAME of the origin; raise `ConfigurationError` where it is no address on a server."""
    try:
        url = git.do(root, "remote", "get-url", "origin").strip()
    except ConfigurationError:
        url = ""
    parts = urlsplit(url)
    remote = _SCP.fullmatch(url)  # user@host:path
    path = parts.path if parts.hostname else (remote[1] if remote else "")
    name = path.strip("/").removesuffix(".git")
    if REPOSITORY.fullmatch(name) is None:
        text = "GITHUB_REPOSITORY: not set, and origin is no repository on a server; set it to OWNER/NAME"
        raise ConfigurationError(text)
    return name


class Reader:
    """Reads one repository; what the token may not see is kept in `hidden` with GitHub's words."""

    def __init__(self, client: Client, repository: str, token: str) -> None:
        self._client = client
        self._repository = repository
        self._at = f"/repos/{repository}"
        self._token = token
        self.hidden: dict[str, str] = {}

    def facts(self, root: Path) -> Facts:
        """Return all that can be seen."""
        told = self._client.ask("GET", self._at)
        owner, branch = told.json["owner"], str(told.json["default_branch"])
        visibility = str(told.json.get("visibility") or ("private" if told.json["private"] else "public"))
        rules, ruleset = self._rules(branch)
        upgrade = UPGRADE in self.hidden.get("rules", "").lower()
        plan, seen = plan_of(visibility, self._plan(owner, visibility), upgrade_asked=upgrade)
        if upgrade:
            self.hidden.pop("rules")
            rules = Rules()
        merging = {key: told.json[key] for key in MERGING if key in told.json}
        return Facts(
            repository=str(told.json["full_name"]),
            branch=branch,
            plan=plan,
            plan_seen=seen,
            token=self._kind(told.headers.get("x-oauth-scopes")),
            variables=self._variables(),
            secrets=self._secrets(),
            environments=self._environments() if plan.protects else (),
            rules=rules,
            all_rules="protection" not in self.hidden,
            ruleset=ruleset,
            merging=merging if len(merging) == len(MERGING) else None,
            workflows=self._try(
                "workflow permissions", lambda: self._client.get(f"{self._at}/actions/permissions/workflow")
            ),
            checkout=read_checkout(root),
            code_owners_errors=self._try("CODEOWNERS", self._errors),
            hidden=dict(self.hidden),
        )

    def _try(self, what: str, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except Refused as err:
            if err.status not in (FORBIDDEN, NOT_FOUND):
                raise
            self.hidden[what] = err.said
            return None

    def _list(self, path: str, key: str | None = None) -> list[dict[str, Any]]:
        return list(self._client.pages(f"{self._at}{path}", key))

    def _kind(self, scopes: str | None) -> str:
        kind = next((text for start, text in _KINDS.items() if self._token.startswith(start)), "a token")
        return f"{kind} with the scopes {clean(scopes, 200) or 'none'}" if scopes is not None else kind

    def _plan(self, owner: dict[str, Any], visibility: str) -> str | None:
        """What GitHub calls the owner's plan, as far as it lets the token know."""
        if visibility == "public":
            return None
        path = f"/orgs/{owner['login']}" if owner["type"] == "Organization" else "/user"
        account: dict[str, Any] | None = self._try("plan", lambda: self._client.get(path))
        self.hidden.pop("plan", None)
        if account is None or str(account.get("login")).lower() != str(owner["login"]).lower():
            return None
        return (account.get("plan") or {}).get("name")

    # ---- Variables, secrets, environments ----------------------------------------------------------------------------

    def _variables(self) -> dict[str, str] | None:
        own = self._try("variables", lambda: self._list("/actions/variables", "variables"))
        if own is None:
            return None
        shared = self._optional(lambda: self._list("/actions/organization-variables", "variables"))
        return _values([*shared, *own])

    def _secrets(self) -> frozenset[str] | None:
        own = self._try("secrets", lambda: self._list("/actions/secrets", "secrets"))
        if own is None:
            return None
        shared = self._optional(lambda: self._list("/actions/organization-secrets", "secrets"))
        return frozenset(str(each["name"]) for each in [*own, *shared])

    def _optional(self, read: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
        """A list that an account which is no organization does not have."""
        found = self._try("", read)
        self.hidden.pop("", None)
        return found or []

    def _environments(self) -> tuple[Environment, ...] | None:
        listed = self._try("environments", lambda: self._list("/environments", "environments"))
        return None if listed is None else tuple(self._environment(each) for each in listed)

    def _environment(self, told: dict[str, Any]) -> Environment:
        at = f"/environments/{quote(str(told['name']), safe='')}"
        policy = told.get("deployment_branch_policy") or {}
        branches = None
        if policy.get("custom_branch_policies"):
            listed = self._optional(lambda: self._list(f"{at}/deployment-branch-policies", "branch_policies"))
            branches = tuple(str(each["name"]) for each in listed)
        return Environment(
            name=str(told["name"]),
            branches=branches,
            protected=bool(policy.get("protected_branches")),
            secrets=frozenset(
                str(each["name"]) for each in self._optional(lambda: self._list(f"{at}/secrets", "secrets"))
            ),
        )

    # ---- Rules -------------------------------------------------------------------------------------------------------

    def _rules(self, branch: str) -> tuple[Rules | None, int | None]:
        """What binds the default branch, and the id of the template's own ruleset."""
        named = quote(branch, safe="/")
        listed = self._try("rules", lambda: self._list(f"/rules/branches/{named}"))
        if listed is None:
            return None, None
        sets = self._list("/rulesets")
        own = next((int(each["id"]) for each in sets if each.get("name") == NAME), None)
        protection = self._protection(named)
        return summed(listed, protection, self._bypass(listed)), own

    def _protection(self, branch: str) -> dict[str, Any] | None:
        """The classic protection of a branch; that there is none is shown to everybody."""
        at = f"{self._at}/branches/{branch}"
        found: dict[str, Any] | None = self._try("protection", lambda: self._client.find(f"{at}/protection"))
        if "protection" in self.hidden:
            shown = self._client.find(at) or {}
            if (shown.get("protection") or {}).get("enabled") is False:
                self.hidden.pop("protection")
        return found

    def _bypass(self, rules: Iterable[dict[str, Any]]) -> tuple[str, ...] | None:
        """Who may pass by the rulesets of these rules; None where one of them does not show it."""
        ids = dict.fromkeys(each["ruleset_id"] for each in rules)
        found: list[str] = []
        for each in ids:
            shown = self._client.find(f"{self._at}/rulesets/{each}?includes_parents=true")
            if shown is None or "bypass_actors" not in shown:
                self.hidden["bypass"] = "who may pass by a ruleset is shown to whom may change it"
                return None
            found += [
                f"{actor['actor_type']} {actor.get('actor_id') or ''}".strip() for actor in shown["bypass_actors"]
            ]
        return tuple(dict.fromkeys(found))

    def _errors(self) -> tuple[str, ...]:
        told = self._client.get(f"{self._at}/codeowners/errors")
        return tuple(f"line {each['line']}: {clean(each['kind'], 100)}" for each in told["errors"])


def _values(listed: Iterable[dict[str, Any]]) -> dict[str, str]:
    return {str(each["name"]): str(each.get("value", "")) for each in listed}
