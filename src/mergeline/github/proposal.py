"""The one pull request of a branch: what it should say, and what that asks for. Nothing is read or sent here."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from mergeline.report.escape import clean

LARGEST_TITLE = 200
LARGEST_BLOCK = 60_000  # of the 65,536 characters that GitHub takes, the rest is a person's
WIDTH = 100
BEGIN, END = "<!-- mergeline: from the commit -->", "<!-- mergeline: end -->"
_BLOCK = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
_TICKS = re.compile(r"`{3,}")


class Step(StrEnum):
    """What there is to do about a branch."""

    OPEN = "open"
    UPDATE = "update"
    NOTHING = "nothing"
    CLOSED = "closed"  # a person closed exactly this proposal
    MERGED = "merged"  # exactly this proposal was merged


@dataclass(frozen=True, slots=True)
class Pull:
    """A pull request that was opened from the branch; `sha` is its last commit, which stays when it is closed."""

    number: int
    title: str
    body: str
    is_open: bool
    merged: bool
    sha: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the pull request should be; `tip` is the branch's commit, `message` that of its first one."""

    tip: str
    message: str
    labels: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The first line of the message."""
        return clean(self.message.partition("\n")[0], LARGEST_TITLE)

    @property
    def block(self) -> str:
        """The rest of the message between two hidden marks, word for word.

        In a code block nothing is a mention or a link, and when GitHub makes the description the message of the merge
        commit, its trailers still stand each on a line.
        """
        text = self.message.partition("\n")[2].strip()
        fence = "`" * (1 + max([2, *(len(each) for each in _TICKS.findall(text))]))
        inside = f"{fence}text\n{_wrapped(text)[:LARGEST_BLOCK]}\n{fence}\n" if text else ""
        return f"{BEGIN}\n{inside}{END}"


@dataclass(frozen=True, slots=True)
class Plan:
    """The step, for which pull request, and what changes: title and description None where they stay."""

    step: Step
    number: int | None = None
    title: str | None = None
    body: str | None = None
    labels: tuple[str, ...] = ()


def planned(pulls: Iterable[Pull], wanted: Wanted) -> Plan:
    """Return what makes one open pull request propose the branch.

    What a person wrote around the marks stays, and so does a title that a person changed, until the proposal itself is
    another one. What a person closed is not opened again as long as the branch is what was closed.
    """
    ordered = sorted(pulls, key=lambda each: each.number)
    current = next((each for each in ordered if each.is_open), None)
    if current is None:
        last = next((each for each in reversed(ordered) if each.sha == wanted.tip), None)
        if last is not None:
            return Plan(Step.MERGED if last.merged else Step.CLOSED, last.number)
        return Plan(Step.OPEN, None, wanted.title, wanted.block, wanted.labels)
    has = {label.lower() for label in current.labels}
    missing = tuple(label for label in wanted.labels if label.lower() not in has)
    title, body = _texts(current, wanted)
    changes = body is not None or bool(missing)
    return Plan(Step.UPDATE if changes else Step.NOTHING, current.number, title, body, missing)


def _texts(current: Pull, wanted: Wanted) -> tuple[str | None, str | None]:
    """The title and the description as they should be; None each where it stays as it is."""
    standing = current.body.replace("\r\n", "\n")
    found = _BLOCK.search(standing)
    if found is None:  # a person's own description
        return None, f"{standing.rstrip()}\n\n{wanted.block}".lstrip()
    if found[0] == wanted.block:
        return None, None
    title = wanted.title if wanted.title != current.title else None
    return title, f"{standing[: found.start()]}{wanted.block}{standing[found.end() :]}"


def _wrapped(text: str) -> str:
    lines = (
        textwrap.wrap(line, WIDTH, break_long_words=False, break_on_hyphens=False) or [""] for line in text.split("\n")
    )
    return "\n".join(line for wrapped in lines for line in wrapped)
