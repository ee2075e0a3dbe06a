"""What every workflow has to be, as questions to its parsed YAML and to its text: each yields what is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

Workflow = Mapping[Any, Any]

OWN = "needs.look.outputs.own == 'true'"  # the branch is this repository's, and a person's
DEFAULT_BRANCH = "${{ github.event.repository.default_branch }}"
DANGEROUS = ("pull_request_target", "workflow_run", "issue_comment", "discussion_comment")
WRITES = {"contents", "pull-requests", "issues", "packages", "actions", "checks", "statuses", "deployments"}
# no key of a cloud among them
SECRETS = {"MERGELINE_APP_KEY", "MLFLOW_TRACKING_PASSWORD", "STAGING_API_KEY", "MERGELINE_WEBHOOK"}
KEYS = re.compile(
    r"AKIA[0-9A-Z]{16}|AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN)|aws-(access-key|secret)|BEGIN .*KEY"
)
SKIPS = re.compile(r"\[(skip ci|ci skip|no ci|skip actions|actions skip)\]|--skip-ci|skip-checks: *true", re.IGNORECASE)
# A push-started workflow changes the repository by these alone: each makes a branch of its own, or a tag.
PUSHERS = re.compile(
    r"^(\.venv/bin/mergeline (propose production|rollback|retire --due|decide act|pull-request [a-z/]+)"
    r'|\.ci/tag-release|\.venv/bin/python \.ci/propose_image\.py "\$IMAGE")$'
)


def triggers(workflow: Workflow) -> Mapping[str, Any]:
    """What starts a workflow; YAML 1.1 reads the key `on` as true."""
    found = workflow.get("on", workflow.get(True))
    if isinstance(found, str):
        return {found: None}
    return dict.fromkeys(found) if isinstance(found, list) else dict(found)


def steps(job: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(job.get("steps", []))


def may_write(job: Mapping[str, Any]) -> bool:
    """Whether the job's token can change something on GitHub."""
    granted = job.get("permissions")
    return granted is None or isinstance(granted, str) or any(granted.get(name) == "write" for name in WRITES)


def runs_a_branch(workflow: Workflow) -> bool:
    """Whether the code of a pull request can start it."""
    return bool({"pull_request", "merge_group"} & set(triggers(workflow)))


def pull_request_code(workflow: Workflow) -> Iterator[str]:
    """S3: a job whose token can write, or that reads a secret, runs the default branch's code and no other."""
    if not runs_a_branch(workflow):
        return
    for name, job in workflow["jobs"].items():
        text = str(job)
        if not may_write(job):
            if "secrets." in text or "PUSH_TOKEN" in text or "github.token" in text:
                yield f"{name}: hands a token to a job that may run the branch's code"
            continue
        for checkout in _checkouts(job):
            given = checkout.get("with", {})
            if "path" not in given and given.get("ref") != DEFAULT_BRANCH:
                yield f"{name}: has a token that can write, and {given.get('ref', 'the branch')} where it runs"
        folders = [each["with"]["path"] for each in _checkouts(job) if "path" in each.get("with", {})]
        yield from (f"{name}: runs what lies in {folder}/" for folder in folders if _runs_in(job, folder))


def _checkouts(job: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [each for each in steps(job) if str(each.get("uses", "")).startswith("actions/checkout@")]


def _runs_in(job: Mapping[str, Any], folder: str) -> bool:
    for step in steps(job):
        if str(step.get("working-directory", "")).startswith(folder) or str(step.get("uses", "")).startswith(
            f"./{folder}"
        ):
            return True
        lines = str(step.get("run", "")).splitlines()
        if any(re.search(rf"(^|[\s\"'=;(]){folder}/|(cd|pushd|make -C) {folder}\b", line) for line in lines):
            return True
    return False


def least_privilege(workflow: Workflow, text: str) -> Iterator[str]:
    """S4: nothing by default, each grant with its reason, a time limit, a queue, no expression in a script."""
    if workflow.get("permissions") != {}:
        yield "permissions: expected {} for the whole workflow"
    if "concurrency" not in workflow:
        yield "concurrency: missing"
    for name, job in workflow["jobs"].items():
        if not isinstance(job.get("permissions"), dict):
            yield f"{name}: permissions: expected its own, one by one"
        if "timeout-minutes" not in job:
            yield f"{name}: timeout-minutes: missing"
        for step in steps(job):
            yield from (f"{name}: {step.get('name')}: {wrong}" for wrong in _of_a_step(step))
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(r"\s+[a-z-]+: (read|write)\b", line) and not re.search(r" # \S|permission-", line):
            yield f"line {number}: a grant without its reason"


def _of_a_step(step: Mapping[str, Any]) -> Iterator[str]:
    script = str(step.get("run", ""))
    if "name" not in step:
        yield f"a step without a name: {step.get('uses', script)}"
    if "${{" in script:
        yield "an expression in a script; hand it over by env"
    if len(script.splitlines()) > 3:
        yield "a script of more than three lines"
    is_checkout = str(step.get("uses", "")).startswith("actions/checkout@")
    if is_checkout and step.get("with", {}).get("persist-credentials") is not False:
        yield "leaves its token in the checkout"


def pins(text: str, known: Mapping[str, str]) -> Iterator[str]:
    """S4: every action at a commit that is known, with its version beside it."""
    for number, line in enumerate(text.splitlines(), 1):
        used = re.match(r"\s*(?:- )?uses: (\S+)(.*)", line)
        if used is None or used[1].startswith("./"):
            continue
        name, _, commit = used[1].partition("@")
        if not re.fullmatch(r"[0-9a-f]{40}", commit):
            yield f"line {number}: {name} is not pinned by its commit"
        elif known.get(f"{name}@{commit}") != used[2].strip().removeprefix("# "):
            yield f"line {number}: {name} is not pinned as elsewhere, with its version in a comment"


def forks(workflow: Workflow) -> Iterator[str]:
    """S5: no trigger that hands credentials to a fork; every environment, identity and secret is for own branches."""
    for trigger in DANGEROUS:
        if trigger in triggers(workflow):
            yield f"on: {trigger} runs a fork's event with our credentials"
    if not runs_a_branch(workflow):
        return
    for name, job in workflow["jobs"].items():
        has_identity = (job.get("permissions") or {}).get("id-token") == "write"
        if not (has_identity or "environment" in job or "secrets." in str(job)) or OWN in str(job.get("if", "")):
            continue
        if OWN not in str(job.get("environment", OWN)):
            yield f"{name}: its environment is a fork's, too"
        for step in steps(job):
            takes = "aws-actions/configure-aws-credentials" in str(step.get("uses", "")) or "secrets." in str(step)
            if takes and OWN not in str(step.get("if", "")):
                yield f"{name}: {step.get('name')}: takes credentials on a fork"
        if OWN not in str(job["runs-on"]) and "vars." in str(job["runs-on"]):
            yield f"{name}: runs a fork on a runner of our own"


def loops(workflow: Workflow, text: str) -> Iterator[str]:
    """R7: what a workflow pushes cannot start it again, and nothing pushes to the default branch."""
    if SKIPS.search(text):
        yield "a skip token: the required check would wait for ever"
    started = triggers(workflow)
    if "push" in started and (started["push"] or {}).get("branches") != ["main"]:
        yield "on: push: expected the default branch alone"
    for name, job in workflow["jobs"].items():
        if not may_write(job) or (job.get("permissions") or {}).get("contents") != "write":
            continue
        for step in steps(job):
            where = f"{name}: {step.get('name')}"
            pushes = "PUSH_TOKEN" in step.get("env", {})
            if "git push" in str(step.get("run", "")) or " push " in str(step.get("run", "")):
                target = '"HEAD:refs/heads/$BRANCH"'
                head = step.get("env", {}).get("BRANCH") == "${{ github.event.pull_request.head.ref }}"
                if "push" in started or target not in step["run"] or not head:
                    yield f"{where}: pushes to something other than the pull request's branch"
            elif pushes and not PUSHERS.match(step.get("run", "").strip()):
                yield f"{where}: pushes by a command that is not known to leave the default branch alone"


def leaks(text: str) -> Iterator[str]:
    """S1 and S12: no key of a cloud, no other secret than those that are listed, no plot to a stranger."""
    yield from (f"a key: {found[0][:24]}" for found in KEYS.finditer(text))
    for found in re.finditer(r"secrets\.(\w+)", text):
        if found[1] not in SECRETS:
            yield f"the secret {found[1]} is not one of {sorted(SECRETS)}"
    for line in re.findall(r"^\s*(?:run: )?(cml .*)$", text, re.MULTILINE):
        if "--publish=false" not in line:
            yield f"{line}: uploads what it finds to a public server"
    if re.search(r"\bcml \w", text) and "ITERATIVE_DO_NOT_TRACK" not in text:
        yield "cml: reports on its use"
