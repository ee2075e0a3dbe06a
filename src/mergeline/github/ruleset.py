"""The rules of the default branch: what those that are there come to, and what puts the wanted ones in place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mergeline.errors import DataError

NAME, FILE = "main", ".github/rulesets/main.json"  # what is wanted, as GitHub takes it
CHECK = "gate"
ACTIONS = 15368  # GitHub Actions among the apps of github.com
ANY_APP = -1  # of classic protection
SQUASH = "squash"


@dataclass(frozen=True, slots=True)
class Check:
    """A required check; `app` is the one that has to set it, None where any app and whoever may set a status can."""

    name: str
    app: int | None


@dataclass(frozen=True, slots=True)
class Rules:
    """What all rulesets and the protection of a branch demand together.

    `methods` are the ways of merging that rules allow, None where they say nothing; `bypass` names who may pass them
    by, None where the token may not see it.
    """

    pull_request: bool = False
    checks: frozenset[Check] = frozenset()
    up_to_date: bool = False
    code_owners: bool = False
    dismiss_stale: bool = False
    no_force_push: bool = False
    no_deletion: bool = False
    methods: frozenset[str] | None = None
    bypass: tuple[str, ...] | None = ()

    @property
    def any(self) -> bool:
        """Whether anything is demanded at all."""
        return self.pull_request or bool(self.checks) or self.no_force_push or self.no_deletion

    @property
    def gate(self) -> frozenset[int | None]:
        """The apps that have to set the template's own check, None among them for any; empty where none is required."""
        return frozenset(each.app for each in self.checks if each.name == CHECK)


def command(repository: str, standing: int | None) -> str:
    """Return what puts the template's ruleset in place: made anew, or in place of the one of its name."""
    method, place = ("PUT", f"/{standing}") if standing is not None else ("POST", "")
    return f"gh api -X {method} repos/{repository}/rulesets{place} --input {FILE}"


def summed(
    rules: Iterable[Mapping[str, Any]], protection: Mapping[str, Any] | None, bypass: tuple[str, ...] | None
) -> Rules:
    """Return what rules of rulesets and classic protection come to; GitHub lets the strictest hold."""
    listed = list(rules)
    try:
        reviews = [each.get("parameters", {}) for each in listed if each["type"] == "pull_request"]
        checks = [each.get("parameters", {}) for each in listed if each["type"] == "required_status_checks"]
        types = {each["type"] for each in listed}
        found = Rules(
            pull_request=bool(reviews),
            checks=frozenset(
                Check(check["context"], check.get("integration_id"))
                for each in checks
                for check in each["required_status_checks"]
            ),
            up_to_date="merge_queue" in types or any(each["strict_required_status_checks_policy"] for each in checks),
            code_owners=any(each.get("require_code_owner_review") for each in reviews),
            dismiss_stale=any(each.get("dismiss_stale_reviews_on_push") for each in reviews),
            no_force_push="non_fast_forward" in types,
            no_deletion="deletion" in types,
            methods=_methods(reviews),
            bypass=bypass,
        )
        return _with_protection(found, protection) if protection is not None else found
    except (KeyError, TypeError, AttributeError) as err:
        raise DataError(f"rules of the default branch: not as GitHub describes them ({err!r}); see to the API") from err


def _methods(reviews: list[Mapping[str, Any]]) -> frozenset[str] | None:
    named = [frozenset(each["allowed_merge_methods"]) for each in reviews if each.get("allowed_merge_methods")]
    return frozenset.intersection(*named) if named else None


def _with_protection(rules: Rules, protection: Mapping[str, Any]) -> Rules:
    checks = protection.get("required_status_checks") or {}
    reviews = protection.get("required_pull_request_reviews") or {}
    named = {Check(each["context"], _app(each.get("app_id"))) for each in checks.get("checks", [])}
    # `contexts` repeats the names alone
    named |= {Check(each, None) for each in checks.get("contexts", []) if each not in {check.name for check in named}}
    passes = () if _enabled(protection, "enforce_admins") else ("administrators",)
    # a ruleset that demands the same binds administrators too
    bypass = rules.bypass if rules.pull_request and rules.gate else passes
    return Rules(
        pull_request=rules.pull_request or bool(reviews),
        checks=rules.checks | named,
        up_to_date=rules.up_to_date or bool(checks.get("strict")),
        code_owners=rules.code_owners or bool(reviews.get("require_code_owner_reviews")),
        dismiss_stale=rules.dismiss_stale or bool(reviews.get("dismiss_stale_reviews")),
        no_force_push=rules.no_force_push or not _enabled(protection, "allow_force_pushes"),
        no_deletion=rules.no_deletion or not _enabled(protection, "allow_deletions"),
        methods=rules.methods,
        bypass=None if rules.bypass is None else bypass,
    )


def _app(number: int | None) -> int | None:
    return None if number == ANY_APP else number


def _enabled(protection: Mapping[str, Any], name: str) -> bool:
    return bool((protection.get(name) or {}).get("enabled"))
