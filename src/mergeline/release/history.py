"""What an environment served, from the first release to the one of now: the history of one file on one branch."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from mergeline.release.manifests import Release


@dataclass(frozen=True, slots=True)
class Deployment:
    """A commit on the base branch that changed what an environment serves.

    `content` is the release file as it last was with this release; `deployed_at` is when the commit came to the branch.
    """

    environment: str
    commit: str
    author: str
    email: str
    deployed_at: dt.datetime
    message: str
    release: Release
    content: bytes

    @property
    def subject(self) -> str:
        """The first line of the commit's message."""
        return self.message.partition("\n")[0]


def standing(deployments: Sequence[Deployment]) -> tuple[Deployment, ...]:
    """Return the deployments that no later one took back, the oldest first; the last one serves now.

    A deployment that brings back the release of an earlier one takes back everything between the two: so a rollback,
    and a second one after it, each go one step further back, and never to the release that was left.
    """
    stack: list[Deployment] = []
    for each in deployments:
        earlier = next((at for at, other in enumerate(stack) if other.release == each.release), None)
        if earlier is None:
            stack.append(each)
        else:
            del stack[earlier + 1 :]
    return tuple(stack)
