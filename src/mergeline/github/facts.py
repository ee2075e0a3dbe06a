"""What `doctor` has seen of a repository; None is what the token may not see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mergeline.github.checkout import Checkout
from mergeline.github.plan import Plan
from mergeline.github.ruleset import Rules


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment; `branches` are those that may use it, None for any, with `protected` the protected ones."""

    name: str
    branches: tuple[str, ...] | None
    protected: bool
    secrets: frozenset[str]


@dataclass(frozen=True, slots=True)
class Facts:
    """A repository as GitHub and the checkout show it; `hidden` says of what is None what GitHub answered.

    `workflows` is how Actions is set up, `merging` how pull requests are merged, `ruleset` the id of the template's own
    one. Where there is classic protection that the token may not see, `rules` are not `all_rules`. `checkout` is what
    the files say.
    """

    repository: str
    branch: str
    plan: Plan
    plan_seen: bool
    token: str
    variables: Mapping[str, str] | None
    secrets: frozenset[str] | None
    environments: tuple[Environment, ...] | None
    rules: Rules | None
    all_rules: bool
    ruleset: int | None
    merging: Mapping[str, Any] | None
    workflows: Mapping[str, Any] | None
    checkout: Checkout
    code_owners_errors: tuple[str, ...] | None
    hidden: Mapping[str, str] = field(default_factory=dict)
