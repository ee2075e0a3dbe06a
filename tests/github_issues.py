"""What GitHub knows of issues and pull requests beyond `github_talk`: creators, why and when they were closed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from github_routes import ROUTES, Call, Listed, route
from github_state import Record
from github_talk import change_issue, issues, pulls, shown_issue

Answer = Callable[[Call], Any]
CREATED_AT, CLOSED_AT = "2013-09-10T00:00:00Z", "2013-09-20T00:00:00Z"


def first(method: str, path: str, permissions: str, level: str = "read") -> Callable[[Answer], Answer]:
    """Declare an answer before the one that is there already."""
    declare = route(method, path, permissions, level)

    def put_first(answer: Answer) -> Answer:
        declare(answer)
        ROUTES.insert(0, ROUTES.pop())
        return answer

    return put_first


@first("GET", "/issues", "issues")
def issues_of_a_creator(call: Call) -> Listed:
    creator = call.query.get("creator")
    why = {each["number"]: each.get("state_reason") for each in call.here["issues"]}
    shown = [{**each, "state_reason": why[each["number"]]} for each in issues(call).items]
    return Listed([each for each in shown if creator in (None, each["user"]["login"])])


@first("PATCH", "/issues/{number}", "issues|pull_requests", "write")
def change_issue_and_why(call: Call) -> Record:
    change_issue(call)
    issue = call.found()
    issue["state_reason"] = call.body.get("state_reason", "reopened" if call.body.get("state") == "open" else None)
    return shown_issue(call, issue) | {"state_reason": issue["state_reason"]}


@first("GET", "/pulls", "pull_requests")
def pulls_with_their_ends(call: Call) -> Listed:
    begun = {each["number"]: each.get("created_at", CREATED_AT) for each in call.here["issues"]}
    ends = {each["number"]: each.get("closed_at", CLOSED_AT) for each in call.here["issues"]}
    return Listed(
        [
            {
                **each,
                "created_at": begun[each["number"]],
                "closed_at": ends[each["number"]] if each["state"] == "closed" else None,
            }
            for each in pulls(call).items
        ]
    )
