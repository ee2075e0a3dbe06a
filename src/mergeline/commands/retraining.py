"""The branch `retrain/auto`: what Git and GitHub say of it, and the new partition that it carries."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mergeline import git
from mergeline.errors import ConfigurationError
from mergeline.github.run import Run
from mergeline.layout import DATA_FILE
from mergeline.monitor.decide import Decision, Retraining
from mergeline.params import PARAMS_FILE
from mergeline.release.proposals import Base, Proposal, propose
from mergeline.report.escape import clean

logger = logging.getLogger(__name__)

RETRAIN = "retrain/auto"
DECIDED = "Decided-At"  # the trailer of what a decision has proposed, and no person


@dataclass(frozen=True, slots=True)
class _Pull:
    """A pull request from the branch: the commit that it ended with, when it was opened, and when it ended.

    `began_at` is None where GitHub does not say, `ended_at` where it is open.
    """

    number: int
    sha: str
    is_open: bool
    began_at: dt.datetime | None
    ended_at: dt.datetime | None

    def was_open(self, at: dt.datetime) -> bool:
        """Whether it was open at a moment."""
        begun = self.began_at is None or self.began_at <= at
        return begun and (self.is_open or (self.ended_at is not None and self.ended_at > at))


def standing(root: Path, remote: str, at: dt.datetime, base: str | None, environment: Mapping[str, str]) -> Retraining:
    """Return what GitHub says of the branch, else this clone; what began or ended after a moment is not known at it."""
    run = Run.of(environment)
    if run.repository is not None and run.token is not None:
        pulls = _pulls(run)
        waits = next((f"#{each.number}" for each in pulls if each.was_open(at)), None)
        return Retraining(waits is not None, waits, _latest((each.ended_at for each in pulls), at))
    tip = git.commit_of(root, f"refs/remotes/{remote}/{RETRAIN}")
    carries = tip is not None and git.read(root, tip, DATA_FILE) != git.read(root, base or "HEAD", DATA_FILE)
    fed = git.commits(root, base, DATA_FILE) if base else ()
    return Retraining(carries, RETRAIN if carries else None, _latest((each.committed_at for each in fed[1:]), at))


def push(root: Path, remote: str, decision: Decision, environment: Mapping[str, str]) -> str:
    """Push the branch that carries the new partition, as `mergeline collect` left it in this checkout.

    A branch whose pull request is over goes first: GitHub keeps its commits with the pull request. Raises
    `ConfigurationError` where the base branch has changed the same file since this checkout was made.
    """
    names = [name for name in git.changed_files(root) if name in (DATA_FILE.as_posix(), PARAMS_FILE)]
    if DATA_FILE.as_posix() not in names:
        return f"nothing to propose: {DATA_FILE} holds no new partition; `mergeline collect` makes one"
    contents: dict[Path, bytes | None] = {Path(name): (root / name).read_bytes() for name in names}
    reasons = [clean(each, 2000) for each in decision.why]
    title = f"Train again: {clean(decision.rule or 'asked for', 60)}"
    message = "\n".join([title, "", *reasons, "", trailer(decision)])

    def plan(base: Base) -> Proposal:
        for path in contents:
            if git.read(root, base.commit, path) != git.read(root, "HEAD", path):
                raise ConfigurationError(f"{path}: {base.name} has another than this checkout; `git pull`, then again")
        return Proposal(RETRAIN, contents, message)

    _clear(root, remote, environment)
    return propose(root, remote, plan).said


def trailer(decision: Decision) -> str:
    """Return the line of a commit's message that says which decision proposes it."""
    return f"{DECIDED}: {decision.evidence.at.isoformat()}"


def _clear(root: Path, remote: str, environment: Mapping[str, str]) -> None:
    """Remove the branch where its very commit is that of a pull request that is over, and of none that is open.

    Results that were recorded on it are no longer the bot's proposal alone, and would stand in the next one's way.
    """
    run = Run.of(environment)
    if run.repository is None or run.token is None:
        return
    whole = f"refs/heads/{RETRAIN}"
    listed = git.do(root, "ls-remote", remote, whole).split()
    tip = listed[0] if listed else None
    pulls = [each for each in _pulls(run) if each.sha == tip]
    if tip is None or not pulls or any(each.is_open for each in pulls):
        return
    git.do(root, "push", "--quiet", f"--force-with-lease={whole}:{tip}", remote, f":{whole}")
    logger.info("%s: the branch of #%s, which is over, is removed", RETRAIN, pulls[0].number)


def _pulls(run: Run) -> list[_Pull]:
    """Every pull request from this branch of this repository; one of a fork's branch of this name is none."""
    client, repository = run.client(), run.named()
    head = quote(f"{repository.partition('/')[0]}:{RETRAIN}", safe="")
    return [
        _Pull(
            number=int(each["number"]),
            sha=str(each["head"]["sha"]),
            is_open=each["state"] == "open",
            began_at=_moment(each.get("created_at")),
            ended_at=_moment(each.get("closed_at")),
        )
        for each in client.pages(f"/repos/{repository}/pulls?state=all&head={head}")
        if each["head"]["ref"] == RETRAIN and _home(each).lower() == repository.lower()
    ]


def _home(told: Mapping[str, Any]) -> str:
    return str((told["head"].get("repo") or {}).get("full_name", ""))


def _moment(text: Any) -> dt.datetime | None:
    try:
        return dt.datetime.fromisoformat(text) if text else None
    except (TypeError, ValueError):
        return None


def _latest(moments: Iterable[dt.datetime | None], at: dt.datetime) -> dt.datetime | None:
    return max((each for each in moments if each is not None and each <= at), default=None)
