"""What each address of the GitHub REST API answers: a table of routes, each with the permission that it takes."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from github_state import LEVELS, Hub, Record


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.more = more


@dataclass(frozen=True, slots=True)
class Call:
    """A request to a route: who asks, of which repository, with what."""

    hub: Hub
    url: str
    token: Record
    repository: str
    parts: dict[str, str]
    query: dict[str, str]
    body: Record

    @property
    def here(self) -> Record:
        return self.hub.repository(self.repository)

    @property
    def login(self) -> str:
        return str(self.token["login"])

    def found(self, number: str | None = None, *, pull: bool = False) -> Record:
        """The issue or pull request of a number."""
        wanted = int(number or self.parts["number"])
        found: Record | None = next((each for each in self.here["issues"] if each["number"] == wanted), None)
        if found is None or (pull and not found["pull"]):
            raise Refused(404, "Not Found")
        return found


@dataclass(frozen=True, slots=True)
class Listed:
    """A list that is answered in pages; with a key, inside of an object that counts it."""

    items: list[Any]
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """A method and an address; `permissions` are names, one of which the token must have at `level`."""

    method: str
    pattern: re.Pattern[str]
    permissions: tuple[str, ...]
    level: str
    status: int
    answer: Callable[[Call], Any]


ROUTES: list[Route] = []


def route(method: str, path: str, permissions: str, level: str = "read", status: int = 200) -> Callable[[Any], Any]:
    """Declare the answer to an address below /repos/OWNER/NAME; `{name}` takes one part of it, `{name*}` the rest."""
    escaped = re.sub(r"\{(\w+)\*\}", r"(?P<\1>.+)", path)
    pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", escaped))

    def declare(answer: Callable[[Call], Any]) -> Callable[[Call], Any]:
        ROUTES.append(Route(method, pattern, tuple(permissions.split("|")), level, status, answer))
        return answer

    return declare


def allowed(token: Record, permissions: tuple[str, ...], level: str) -> bool:
    """Whether a token may."""
    given = token["permissions"]
    names = [given.get("*", "none"), *(given.get(name, "none") for name in permissions)]
    names += ["read"] if "metadata" in permissions and given else []
    return max(map(LEVELS.index, names)) >= LEVELS.index(level)


def answered(call: Call, method: str, path: str) -> tuple[int, Any]:
    """The status and the answer to a request below a repository."""
    if call.here["private"] and not call.token["permissions"]:
        raise Refused(404, "Not Found")
    call.hub.look_at_branches(call.repository)
    for each in ROUTES:
        found = each.pattern.fullmatch(path)
        if found and each.method == method:
            _refuse(call.token, each)
            call.parts.update(found.groupdict())
            return each.status, each.answer(call)
    raise Refused(404, "Not Found")


def _refuse(token: Record, wanted: Route) -> None:
    if allowed(token, wanted.permissions, wanted.level):
        return
    header = "; ".join(f"{name}={wanted.level}" for name in wanted.permissions)
    kind = "integration" if token["kind"] == "installation" else "personal access token"
    raise Refused(403, f"Resource not accessible by {kind}", headers={"X-Accepted-GitHub-Permissions": header})


def person(login: str) -> Record:
    """A user as answers show one."""
    return {"login": login, "type": "Bot" if login.endswith("[bot]") else "User"}


# ---- The repository --------------------------------------------------------------------------------------------------


@route("GET", "", "metadata")
def repository(call: Call) -> Record:
    owner, _, name = call.repository.partition("/")
    shown: Record = {"id": 77, "name": name, "full_name": call.repository}
    shown["owner"] = {"login": owner, "type": call.here["owner_type"]}
    shown |= {key: call.here[key] for key in ("private", "visibility", "default_branch")}
    level = call.token["permissions"].get("*", "none")
    shown["permissions"] = {"admin": level == "admin", "push": level in ("write", "admin"), "pull": True}
    may_see = level in ("write", "admin")  # GitHub hides how pull requests are merged from readers
    return shown | (call.here["settings"] if may_see else {})


@route("PATCH", "", "administration", "write")
def change_repository(call: Call) -> Record:
    call.here["settings"].update({key: value for key, value in call.body.items() if key in call.here["settings"]})
    sent: Record = repository(call)
    return sent


@route("GET", "/collaborators/{login}/permission", "metadata")
def permission(call: Call) -> Record:
    level = call.here["collaborators"].get(call.parts["login"], "none")
    return {"permission": level, "role_name": level, "user": person(call.parts["login"])}


@route("GET", "/contents/{path*}", "contents")
def contents(call: Call) -> Record:
    ref = call.query.get("ref") or call.here["default_branch"]
    text = call.hub.git(call.repository, "cat-file", "blob", f"{ref}:{call.parts['path']}")
    if text is None:
        raise Refused(404, "Not Found")
    sha = (call.hub.git(call.repository, "rev-parse", f"{ref}:{call.parts['path']}") or "").strip()
    return {
        "path": call.parts["path"],
        "sha": sha,
        "encoding": "base64",
        "content": base64.b64encode(text.encode()).decode(),
    }


@route("GET", "/codeowners/errors", "contents")
def codeowners_errors(call: Call) -> Record:
    return {"errors": call.here["codeowners_errors"]}


@route("GET", "/git/ref/heads/{branch*}", "contents")
def reference(call: Call) -> Record:
    sha = call.hub.head(call.repository, call.parts["branch"])
    if sha is None:
        raise Refused(404, "Not Found")
    return {"ref": f"refs/heads/{call.parts['branch']}", "object": {"type": "commit", "sha": sha}}


@route("GET", "/compare/{range*}", "contents")
def compare(call: Call) -> Record:
    base, _, head = call.parts["range"].partition("...")
    if not call.hub.head(call.repository, base) or not call.hub.head(call.repository, head):
        raise Refused(404, "Not Found")
    commits = call.hub.commits(call.repository, base, head)
    behind = call.hub.commits(call.repository, head, base)
    status = ("diverged" if behind else "ahead") if commits else ("behind" if behind else "identical")
    return {
        "status": status,
        "ahead_by": len(commits),
        "total_commits": len(commits),
        "commits": commits[:250],
        "files": call.hub.files(call.repository, base, head),
    }


@route("POST", "/statuses/{sha}", "statuses", "write", 201)
def add_status(call: Call) -> Record:
    call.here["statuses"].append({"sha": call.parts["sha"], **call.body})
    return dict(call.here["statuses"][-1])


@route("POST", "/check-runs", "checks", "write", 201)
def add_check(call: Call) -> Record:
    call.here["checks"].append({"id": call.hub.number(), **call.body})
    return dict(call.here["checks"][-1])


@route("POST", "/dispatches", "contents", "write", 204)
def dispatch(call: Call) -> None:
    call.here["dispatches"].append(call.body)


@route("POST", "/actions/workflows/{file}/dispatches", "actions", "write", 204)
def dispatch_workflow(call: Call) -> None:
    call.here["dispatches"].append({"workflow": call.parts["file"], **call.body})


@route("PUT", "/actions/workflows/{file}/enable", "actions", "write", 204)
def enable(call: Call) -> None:
    call.here["workflows"][call.parts["file"]] = "active"
