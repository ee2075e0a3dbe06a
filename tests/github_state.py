"""What a GitHub holds, as plain JSON: accounts, tokens, repositories and what was said in them.

A repository may name a bare Git repository; its branches and commits are then the real ones, so that a push changes
what the API says, as it does on GitHub.
"""

from __future__ import annotations

import copy
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Record = dict[str, Any]

# What a repository from a template starts with.
FRESH: Record = {
    "private": False,
    "visibility": "public",
    "owner_type": "Organization",
    "default_branch": "main",
    "git": None,
    "settings": {
        "allow_merge_commit": True,
        "allow_rebase_merge": True,
        "allow_squash_merge": True,
        "allow_auto_merge": False,
        "delete_branch_on_merge": False,
        "squash_merge_commit_title": "COMMIT_OR_PR_TITLE",
        "squash_merge_commit_message": "COMMIT_MESSAGES",
    },
    "issues": [],
    "comments": [],
    "commit_comments": [],
    "labels": [],
    "variables": {},
    "organization_variables": {},
    "secrets": [],
    "organization_secrets": [],
    "environments": {},
    "rulesets": [],
    "protection": None,
    "collaborators": {},
    "codeowners_errors": [],
    "workflow_permissions": {"default_workflow_permissions": "read", "can_approve_pull_request_reviews": False},
    "workflows": {},
    "dispatches": [],
    "checks": [],
    "statuses": [],
}
# What `permissions:` of a job gives GITHUB_TOKEN, by the names that GitHub's headers have.
ACTIONS = {"metadata": "read", "contents": "read"}
EVERYTHING = {"*": "admin"}
LEVELS = ("none", "read", "write", "admin")


def token(login: str, permissions: Record | None = None, kind: str = "installation") -> Record:
    """A token: whom it speaks for, what it may, and its kind: installation, fine-grained or classic."""
    return {"login": login, "kind": kind, "permissions": permissions if permissions is not None else EVERYTHING}


class Hub:
    """All that the server knows; `save` keeps it where it came from."""

    def __init__(self, state: Record | None = None, path: Path | None = None) -> None:
        self.path = path
        self.state: Record = {
            "next_id": 1001,
            "tokens": {},
            "plans": {},
            "faults": [],
            "rate": None,
            "repositories": {},
        }
        self.state |= copy.deepcopy(state or {})
        for name, given in self.state["repositories"].items():
            self.state["repositories"][name] = _whole(given)

    @classmethod
    def load(cls, path: Path) -> Hub:
        """What a file holds; an empty hub where there is none."""
        return cls(json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}, path)

    def save(self) -> None:
        if self.path:
            beside = self.path.with_name(f".{self.path.name}.new")
            beside.write_text(json.dumps(self.state, indent=1), encoding="utf-8")
            beside.replace(self.path)

    def add(self, name: str, **more: Any) -> Record:
        """A repository, as a template leaves it but for `more`."""
        self.state["repositories"][name] = _whole(more)
        return self.repository(name)

    def repository(self, name: str) -> Record:
        """A repository by owner/name, in any case, as GitHub has it."""
        known: Record = self.state["repositories"]
        return next(known[each] for each in known if each.lower() == name.lower())

    def number(self) -> int:
        """The next id."""
        self.state["next_id"] += 1
        return int(self.state["next_id"])

    def plan(self, owner: str) -> str:
        return str(self.state["plans"].get(owner, "free"))

    def may_protect(self, name: str) -> bool:
        """Whether this plan has protected branches and rulesets for this repository."""
        return not self.repository(name)["private"] or self.plan(name.partition("/")[0]) != "free"

    # ---- Git -------------------------------------------------------------------------------------------------------

    def head(self, name: str, branch: str) -> str | None:
        """The commit of a branch, None where there is no such branch."""
        found = self.git(name, "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}")
        return found.strip() if found else None

    def commits(self, name: str, base: str, head: str) -> list[Record]:
        """The commits that a branch has and its base has not, the oldest first."""
        said = self.git(name, "log", "-z", "--reverse", "--format=%H%x1f%P%x1f%B", f"{base}..{head}") or ""
        rows = (row.split("\x1f") for row in said.split("\0") if row.strip())
        return [
            {
                "sha": sha.strip(),
                "parents": [{"sha": parent} for parent in parents.split()],
                "commit": {"message": text.strip()},
            }
            for sha, parents, text in rows
        ]

    def files(self, name: str, base: str, head: str) -> list[Record]:
        """The files that a branch changed since it left its base."""
        said = self.git(name, "diff", "--raw", "--no-renames", "--no-abbrev", "-z", f"{base}...{head}") or ""
        words = said.split("\0")
        states = {"A": "added", "D": "removed", "M": "modified", "T": "changed"}
        return [
            {"filename": path, "sha": raw.split()[3], "status": states[raw.split()[4]]}
            for raw, path in zip(words[::2], words[1::2], strict=False)
        ]

    def git(self, name: str, *arguments: str) -> str | None:
        """What Git says of the repository behind this one; None where it fails or there is none."""
        place = self.repository(name)["git"]
        if place is None:
            return None
        ran = subprocess.run(["git", "-C", place, *arguments], capture_output=True, check=False)
        return ran.stdout.decode("utf-8", "replace") if ran.returncode == 0 else None

    # ---- Issues and pull requests ----------------------------------------------------------------------------------

    def issue(self, name: str, title: str, login: str, **more: Any) -> Record:
        """A new issue; with `pull`, a pull request."""
        known = self.repository(name)["issues"]
        made: Record = {"number": 1 + max((each["number"] for each in known), default=0), "id": self.number()}
        made |= {"title": title, "body": None, "state": "open", "labels": [], "user": login, "pull": None, **more}
        known.append(made)
        return made

    def pull(self, name: str, head: str, login: str, **more: Any) -> Record:
        """A new pull request from a branch of this repository, or of the one that `from_repository` names."""
        start = {"head": head, "base": self.repository(name)["default_branch"], "from": name, "draft": False}
        start |= {"sha": self.head(name, head), "merged": False}
        pull = start | {key: more.pop(key) for key in ("base", "from", "draft", "sha", "merged") if key in more}
        return self.issue(name, more.pop("title", head), login, pull=pull, **more)

    def comment(self, name: str, issue: int, login: str, body: str) -> Record:
        """A new comment."""
        made = {"id": self.number(), "issue": issue, "user": login, "body": body}
        self.repository(name)["comments"].append(made)
        return made

    def look_at_branches(self, name: str) -> None:
        """Let open pull requests follow their branches; one whose branch is gone is closed, as GitHub does it."""
        repository = self.repository(name)
        for each in repository["issues"] if repository["git"] else []:
            if each["pull"] and each["state"] == "open" and each["pull"]["from"] == name:
                sha = self.head(name, each["pull"]["head"])
                each["pull"]["sha"] = sha or each["pull"]["sha"]
                each["state"] = "open" if sha else "closed"

    # ---- Rules -----------------------------------------------------------------------------------------------------

    def rules(self, name: str, branch: str) -> Iterator[Record]:
        """The rules that bind a branch, each with the ruleset that it comes from."""
        repository = self.repository(name)
        for ruleset in repository["rulesets"]:
            if ruleset.get("enforcement", "active") == "active" and _binds(ruleset, branch, repository):
                origin = {"ruleset_source_type": ruleset["source_type"], "ruleset_source": ruleset["source"]}
                yield from ({**rule, **origin, "ruleset_id": ruleset["id"]} for rule in ruleset["rules"])

    def ruleset(self, name: str, given: Record) -> Record:
        """A ruleset as GitHub keeps it."""
        rest = {"bypass_actors": [], "conditions": {}, "target": "branch", "enforcement": "active"}
        made = {"id": self.number(), "source_type": "Repository", "source": name, **rest, **given}
        self.repository(name)["rulesets"].append(made)
        return made


def _binds(ruleset: Record, branch: str, repository: Record) -> bool:
    names = ruleset.get("conditions", {}).get("ref_name", {"include": ["~DEFAULT_BRANCH"], "exclude": []})
    whole = f"refs/heads/{branch}"

    def named(pattern: str) -> bool:
        if pattern == "~DEFAULT_BRANCH":
            return branch == str(repository["default_branch"])
        return pattern == "~ALL" or re.fullmatch(re.escape(pattern).replace(r"\*", "[^/]*"), whole) is not None

    return any(map(named, names["include"])) and not any(map(named, names.get("exclude", [])))


def _whole(given: Record) -> Record:
    """A repository with everything that was not said."""
    whole = copy.deepcopy(FRESH) | copy.deepcopy(given)
    whole["settings"] = FRESH["settings"] | given.get("settings", {})
    if "private" in given and "visibility" not in given:
        whole["visibility"] = "private" if given["private"] else "public"
    return whole
