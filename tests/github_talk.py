"""What is said on GitHub: issues, comments, labels, pull requests."""

from __future__ import annotations

from github_routes import Call, Listed, Refused, person, route
from github_state import Record

LARGEST_BODY = 65_536


# ---- Issues, comments, labels ----------------------------------------------------------------------------------------


def text_of(call: Call) -> str:
    """The body of what is written; GitHub takes so many characters of it."""
    text = str(call.body.get("body") or "")
    if len(text) > LARGEST_BODY:
        why = f"body is too long (maximum is {LARGEST_BODY} characters)"
        raise Refused(422, "Validation Failed", errors=[{"resource": "IssueComment", "field": "data", "message": why}])
    return text


def shown_issue(call: Call, issue: Record) -> Record:
    kept = {key: issue[key] for key in ("id", "number", "title", "body", "state")}
    kept |= {"user": person(issue["user"]), "labels": [{"name": name} for name in issue["labels"]]}
    kept["html_url"] = f"{call.url}/{call.repository}/{'pull' if issue['pull'] else 'issues'}/{issue['number']}"
    return kept | ({"pull_request": {"html_url": kept["html_url"]}} if issue["pull"] else {})


def shown_comment(call: Call, comment: Record) -> Record:
    url = f"{call.url}/{call.repository}/issues/{comment['issue']}#issuecomment-{comment['id']}"
    return {"id": comment["id"], "user": person(comment["user"]), "body": comment["body"], "html_url": url}


@route("GET", "/issues", "issues")
def issues(call: Call) -> Listed:
    state, labels = call.query.get("state", "open"), [each for each in call.query.get("labels", "").split(",") if each]
    kept = [each for each in call.here["issues"] if state in ("all", each["state"])]
    kept = [each for each in kept if set(labels) <= set(each["labels"])]
    return Listed([shown_issue(call, each) for each in reversed(kept)])


@route("POST", "/issues", "issues", "write", 201)
def add_issue(call: Call) -> Record:
    labels = list(call.body.get("labels", []))
    made = call.hub.issue(call.repository, call.body["title"], call.login, body=text_of(call), labels=labels)
    return shown_issue(call, made)


@route("GET", "/issues/{number}", "issues|pull_requests")
def issue(call: Call) -> Record:
    return shown_issue(call, call.found())


@route("PATCH", "/issues/{number}", "issues|pull_requests", "write")
def change_issue(call: Call) -> Record:
    text_of(call)
    call.found().update({key: call.body[key] for key in ("title", "body", "state", "labels") if key in call.body})
    return shown_issue(call, call.found())


@route("GET", "/issues/{number}/comments", "issues|pull_requests")
def comments(call: Call) -> Listed:
    number = call.found()["number"]
    return Listed([shown_comment(call, each) for each in call.here["comments"] if each["issue"] == number])


@route("POST", "/issues/{number}/comments", "issues|pull_requests", "write", 201)
def add_comment(call: Call) -> Record:
    number = call.found()["number"]
    return shown_comment(call, call.hub.comment(call.repository, number, call.login, text_of(call)))


def _comment(call: Call) -> Record:
    wanted = int(call.parts["id"])
    found: Record | None = next((each for each in call.here["comments"] if each["id"] == wanted), None)
    if found is None:
        raise Refused(404, "Not Found")
    return found


@route("GET", "/issues/comments/{id}", "issues|pull_requests")
def comment(call: Call) -> Record:
    return shown_comment(call, _comment(call))


@route("PATCH", "/issues/comments/{id}", "issues|pull_requests", "write")
def change_comment(call: Call) -> Record:
    _comment(call)["body"] = text_of(call)
    return shown_comment(call, _comment(call))


@route("DELETE", "/issues/comments/{id}", "issues|pull_requests", "write", 204)
def remove_comment(call: Call) -> None:
    call.here["comments"].remove(_comment(call))


@route("GET", "/issues/{number}/labels", "issues|pull_requests")
def labels_of(call: Call) -> Listed:
    return Listed([{"name": name} for name in call.found()["labels"]])


@route("POST", "/issues/{number}/labels", "issues|pull_requests", "write")
def add_labels(call: Call) -> list[Record]:
    has = call.found()["labels"]
    has += [name for name in call.body["labels"] if name not in has]
    call.here["labels"] += [name for name in has if name not in call.here["labels"]]
    return [{"name": name} for name in has]


@route("DELETE", "/issues/{number}/labels/{label}", "issues|pull_requests", "write")
def remove_label(call: Call) -> list[Record]:
    has = call.found()["labels"]
    if call.parts["label"] not in has:
        raise Refused(404, "Label does not exist")
    has.remove(call.parts["label"])
    return [{"name": name} for name in has]


@route("GET", "/labels", "issues|pull_requests")
def labels(call: Call) -> Listed:
    return Listed([{"name": name} for name in call.here["labels"]])


@route("POST", "/labels", "issues|pull_requests", "write", 201)
def add_label(call: Call) -> Record:
    if call.body["name"] in call.here["labels"]:
        raise Refused(422, "Validation Failed", errors=[{"resource": "Label", "code": "already_exists"}])
    call.here["labels"].append(call.body["name"])
    return {"name": call.body["name"]}


# ---- Pull requests ---------------------------------------------------------------------------------------------------


def shown_pull(call: Call, issue: Record) -> Record:
    pull = issue["pull"]
    owner = pull["from"].partition("/")[0]
    head = {"ref": pull["head"], "sha": pull["sha"], "label": f"{owner}:{pull['head']}"}
    shown = shown_issue(call, issue) | {"draft": pull["draft"], "node_id": f"PR_{issue['number']}"}
    shown |= {"head": head | {"repo": {"full_name": pull["from"]}}, "base": {"ref": pull["base"]}}
    return shown | {"merged_at": "2026-01-01T00:00:00Z" if pull["merged"] else None, "merged": pull["merged"]}


@route("GET", "/pulls", "pull_requests")
def pulls(call: Call) -> Listed:
    state, head, base = call.query.get("state", "open"), call.query.get("head"), call.query.get("base")
    shown = [shown_pull(call, each) for each in reversed(call.here["issues"]) if each["pull"]]
    kept = [each for each in shown if state in ("all", each["state"]) and head in (None, each["head"]["label"])]
    return Listed([each for each in kept if base in (None, each["base"]["ref"])])


@route("POST", "/pulls", "pull_requests", "write", 201)
def add_pull(call: Call) -> Record:
    if (
        call.login == "github-actions[bot]"
        and not call.here["workflow_permissions"]["can_approve_pull_request_reviews"]
    ):
        raise Refused(403, "GitHub Actions is not permitted to create or approve pull requests.")
    head, base = call.body["head"].rpartition(":")[2], call.body["base"]
    _refuse_pull(call, head, base)
    more = {"title": call.body["title"], "body": text_of(call), "draft": bool(call.body.get("draft"))}
    return shown_pull(call, call.hub.pull(call.repository, head, call.login, base=base, **more))


def _refuse_pull(call: Call, head: str, base: str) -> None:
    known = [each for each in call.here["issues"] if each["pull"] and each["state"] == "open"]
    known = [each for each in known if each["pull"]["from"] == call.repository]
    why = None
    if any(each["pull"]["head"] == head and each["pull"]["base"] == base for each in known):
        why = f"A pull request already exists for {call.repository.partition('/')[0]}:{head}."
    elif not call.hub.head(call.repository, head):
        raise Refused(
            422, "Validation Failed", errors=[{"resource": "PullRequest", "field": "head", "code": "invalid"}]
        )
    elif not call.hub.commits(call.repository, base, head):
        why = f"No commits between {base} and {head}"
    if why:
        raise Refused(422, "Validation Failed", errors=[{"resource": "PullRequest", "code": "custom", "message": why}])
    if call.body.get("draft") and not call.hub.may_protect(call.repository):
        raise Refused(422, "Draft pull requests are not supported in this repository.")


@route("GET", "/pulls/{number}", "pull_requests")
def pull(call: Call) -> Record:
    return shown_pull(call, call.found(pull=True))


@route("PATCH", "/pulls/{number}", "pull_requests", "write")
def change_pull(call: Call) -> Record:
    text_of(call)
    call.found(pull=True).update({key: call.body[key] for key in ("title", "body", "state") if key in call.body})
    return shown_pull(call, call.found())


@route("GET", "/commits/{sha}/pulls", "pull_requests")
def pulls_of_commit(call: Call) -> Listed:
    issues = [each for each in call.here["issues"] if each["pull"] and each["pull"]["sha"] == call.parts["sha"]]
    return Listed([shown_pull(call, each) for each in issues])


@route("POST", "/commits/{sha}/comments", "contents", "write", 201)
def add_commit_comment(call: Call) -> Record:
    made = {"id": call.hub.number(), "commit_id": call.parts["sha"], "user": person(call.login), "body": text_of(call)}
    call.here["commit_comments"].append(made)
    return made
