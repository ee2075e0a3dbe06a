"""What a GitHub plan has, what it lacks, and which promises of this template it therefore cannot keep."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Plan(StrEnum):
    """What counts is the plan together with who may see the repository."""

    PUBLIC = "public"
    FREE = "private, plan Free"
    TEAM = "private, plan Team or Pro"
    ENTERPRISE = "private, plan Enterprise"

    @property
    def protects(self) -> bool:
        """Whether there are rulesets, protected branches and environments."""
        return self is not Plan.FREE


@dataclass(frozen=True, slots=True)
class Limit:
    """Something that a plan lacks, the promises (promises R1 to S14) that fall with it, and what helps."""

    name: str
    promises: tuple[str, ...]
    said: str


ATTESTATIONS = Limit(
    "attestations",
    (),
    "GitHub attests builds of public repositories and on Enterprise Cloud alone; a KMS key signs instead (S10)",
)
LIMITS: dict[Plan, tuple[Limit, ...]] = {
    Plan.FREE: (
        Limit(
            "protected branches",
            ("R3", "R4", "R9"),
            "whoever may write can merge a red gate, or push to the default branch; gates report and stop nobody. "
            "Helps: plan Team, or a public repository",
        ),
        Limit(
            "code owners",
            (),
            "no review can be required. Helps: plan Team, or a public repository",
        ),
        Limit(
            "environments",
            ("S2", "S11"),
            "a role cannot be tied to an environment, so that every job of a branch could assume every role of it. "
            "Helps: plan Team, or a public repository; until then leave the roles unset",
        ),
        ATTESTATIONS,
    ),
    Plan.TEAM: (
        Limit(
            "required reviewers of environments",
            (),
            "only public repositories and plan Enterprise have them; the pull request is the approval, and is enough",
        ),
        ATTESTATIONS,
    ),
    Plan.PUBLIC: (),
    Plan.ENTERPRISE: (),
}


WITHOUT_ATTESTATIONS = tuple(plan for plan, limits in LIMITS.items() if ATTESTATIONS in limits)


def plan_of(visibility: str, name: str | None, *, upgrade_asked: bool) -> tuple[Plan, bool]:
    """Return the plan, and whether it was seen; `upgrade_asked` says that GitHub refused rules for the plan.

    `name` is what GitHub calls the owner's plan, None where the token may not see it. What is not seen is taken for
    Team where rules are to be had.

    >>> plan_of("private", None, upgrade_asked=True)
    (<Plan.FREE: 'private, plan Free'>, True)
    """
    if visibility == "public":
        return Plan.PUBLIC, True
    if visibility == "internal" or (name or "").lower().startswith(("enterprise", "business")):
        return Plan.ENTERPRISE, True
    if upgrade_asked:
        return Plan.FREE, True
    return Plan.TEAM, name is not None
