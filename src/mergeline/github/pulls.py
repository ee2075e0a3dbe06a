"""The verb `pull-request`: one open pull request for a branch of this repository, opened or brought up to date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from mergeline.errors import ConfigurationError
from mergeline.github.client import FORBIDDEN, USUAL, Client, Patience, Refused, Unanswered
from mergeline.github.proposal import Plan, Pull, Step, Wanted, planned
from mergeline.github.run import Run

UNPROCESSABLE = 422
LOOKS = 3


def pull_request(
    branch: str,
    base: str | None,
    labels: Sequence[str],
    environment: Mapping[str, str],
    *,
    draft: bool,
    patience: Patience = USUAL,
) -> str:
    """See to it that one open pull request proposes the branch; return what was done. Nothing is ever closed.

    It is looked at again where an answer was lost, or another run came first.
    """
    run = Run.of(environment)
    client, repository = run.client(patience), run.named()
    into = base or str(client.get(f"/repos/{repository}")["default_branch"])
    if branch == into:
        raise ConfigurationError(f"pull-request: {branch} is the branch to be merged into; name another one")
    for look in range(1, LOOKS + 1):
        wanted = _wanted(client, repository, branch, into, tuple(dict.fromkeys(labels)))
        if isinstance(wanted, str):
            return wanted
        pulls = _pulls(client, repository, branch, into)
        plan = planned(pulls, wanted)
        if plan.step is Step.MERGED and not _landed(client, repository, branch, into):
            plan = planned((each for each in pulls if not each.merged), wanted)
        try:
            return _done(client, repository, branch, into, plan, draft=draft)
        except Unanswered as err:
            if not err.lost or look == LOOKS:
                raise
        except Refused as err:
            if not (plan.step is Step.OPEN and "already exists" in err.said) or look == LOOKS:
                raise
    raise AssertionError("no look")


def _wanted(client: Client, repository: str, branch: str, base: str, labels: tuple[str, ...]) -> Wanted | str:
    """What the pull request should be, or why there is none to open."""
    head = client.find(f"/repos/{repository}/git/ref/heads/{quote(branch, safe='/')}")
    if head is None:
        return f"nothing to open: {repository} has no branch {branch}"
    span = f"{quote(base, safe='/')}...{quote(branch, safe='/')}"
    compared = client.find(f"/repos/{repository}/compare/{span}")
    if compared is None:
        raise ConfigurationError(f"pull-request: {repository} has no branch {base} that {branch} could be merged into")
    own = [each for each in compared["commits"] if len(each["parents"]) < 2]
    if not own:
        return f"nothing to open: {base} has all of {branch}"
    return Wanted(str(head["object"]["sha"]), str(own[0]["commit"]["message"]), labels)


def _pulls(client: Client, repository: str, branch: str, base: str) -> list[Pull]:
    """Every pull request from this branch of this repository; one of a fork's branch of this name is none."""
    owner = repository.partition("/")[0]
    query = f"state=all&head={quote(f'{owner}:{branch}', safe='')}&base={quote(base, safe='')}"
    return [
        Pull(
            number=int(each["number"]),
            title=str(each["title"]),
            body=str(each.get("body") or ""),
            is_open=each["state"] == "open",
            merged=bool(each.get("merged_at")),
            sha=str(each["head"]["sha"]),
            labels=tuple(str(label["name"]) for label in each.get("labels", [])),
        )
        for each in client.pages(f"/repos/{repository}/pulls?{query}")
        if _is_own(each, repository, branch, base)
    ]


def _is_own(told: dict[str, Any], repository: str, branch: str, base: str) -> bool:
    home = str((told["head"].get("repo") or {}).get("full_name", ""))
    return home.lower() == repository.lower() and told["head"]["ref"] == branch and told["base"]["ref"] == base


def _landed(client: Client, repository: str, branch: str, base: str) -> bool:
    """Whether the base has, to the byte, what the branch changes; after a rollback it has not any more."""
    span = f"{quote(base, safe='/')}...{quote(branch, safe='/')}"
    for each in client.get(f"/repos/{repository}/compare/{span}")["files"]:
        place = f"{quote(each['filename'], safe='/')}?ref={quote(base, safe='')}"
        there = client.find(f"/repos/{repository}/contents/{place}")
        if (None if each["status"] == "removed" else each["sha"]) != (there and there["sha"]):
            return False
    return True


def _done(client: Client, repository: str, branch: str, base: str, plan: Plan, *, draft: bool) -> str:
    at = f"/repos/{repository}"
    if plan.step is Step.CLOSED:
        return f"#{plan.number} proposed this and was closed; it stays closed until {branch} changes"
    if plan.step is Step.MERGED:
        return f"#{plan.number} proposed this and was merged"
    if plan.step is Step.NOTHING:
        return f"#{plan.number} proposes it already"
    number, said = plan.number, "brought up to date"
    if plan.step is Step.OPEN:
        body = {"title": plan.title, "body": plan.body, "head": branch, "base": base}
        number, said = _opened(client, at, body, draft=draft)
    elif plan.body is not None:
        changes = {"title": plan.title, "body": plan.body}
        client.ask("PATCH", f"{at}/pulls/{number}", {name: text for name, text in changes.items() if text is not None})
    if plan.labels:
        client.ask("POST", f"{at}/issues/{number}/labels", {"labels": list(plan.labels)})
    return f"#{number} {said}: {branch} into {base}"


def _opened(client: Client, at: str, body: dict[str, Any], *, draft: bool) -> tuple[int, str]:
    """The number of a new pull request; a plan without drafts gets one that is none."""
    try:
        return int(client.ask("POST", f"{at}/pulls", {**body, "draft": draft}).json["number"]), "opened"
    except Refused as err:
        if draft and err.status == UNPROCESSABLE and "draft" in err.said.lower():
            made = client.ask("POST", f"{at}/pulls", {**body, "draft": False}).json["number"]
            return int(made), "opened, not as a draft, which this plan does not have"
        if err.status == FORBIDDEN and "not permitted to create" in err.said:
            mend = f"`gh api -X PUT {at[1:]}/actions/permissions/workflow -F can_approve_pull_request_reviews=true`"
            text = f"pull-request: this repository lets no workflow open one; open it by hand, or {mend}"
            raise Refused(text, err.status, err.said) from err
        raise
