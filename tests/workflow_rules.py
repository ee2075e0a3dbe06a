"""What every workflow has to be, as questions to its parsed YAML and to its text: each yields what is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

Workflow = Mapping[Any, Any]

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

# What a job may do that holds a token and stands beside files of a pull request (promise S3): these lines, as they are.
CML = "cml comment update --publish=false --watermark-title=mergeline report/report.md"
COMMANDS = {
    CML,
    'mkdir -p report && .ci/stopped "$COMMIT" > report/report.md',
    '.venv/bin/mergeline post --report report/report.md --pull-request "$NUMBER" --title mergeline',
    'git -C branch remote set-head origin "$BASE"',
    ".venv/bin/python .ci/place_results.py results branch",
    ".venv/bin/mergeline --root branch record",
    'echo "sha=$(git -C branch rev-parse HEAD)" >> "$GITHUB_OUTPUT"',
    'cat .github/workflows/not-configured.md >> "$GITHUB_STEP_SUMMARY"',
    'git -C branch push --force-with-lease="refs/heads/$BRANCH:$HEAD" origin "HEAD:refs/heads/$BRANCH"',
}
ACTIONS = {
    "./.github/actions/setup", "actions/checkout", "actions/create-github-app-token", "actions/download-artifact",
    "iterative/setup-cml",
}  # fmt: skip
SETTINGS = {
    "BASE", "BRANCH", "COMMIT", "GITHUB_TOKEN", "HEAD", "ITERATIVE_DO_NOT_TRACK", "NUMBER", "PUSH_TOKEN", "REPO_TOKEN",
    "GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL",
    "GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_0", "GIT_CONFIG_VALUE_0",
}  # fmt: skip
# Git runs what these say.
FIXED = {
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "credential.helper",
    "GIT_CONFIG_VALUE_0": '!f() { echo username=x-access-token; echo "password=$PUSH_TOKEN"; }; f',
}
BRANCH_FOLDER = "branch"
FOLDERS = {"report", "results"}  # where artifacts are unpacked


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
    for name, job in workflow["jobs"].items():
        if may_write(job):
            yield from (f"{name}: {wrong}" for wrong in _checked_out(job))
            if runs_a_branch(workflow):
                yield from (f"{name}: {wrong}" for wrong in _not_listed(job))
        elif runs_a_branch(workflow) and any(each in str(job) for each in ("secrets.", "PUSH_TOKEN", "github.token")):
            yield f"{name}: hands a token to a job that may run the branch's code"


def _checked_out(job: Mapping[str, Any]) -> Iterator[str]:
    """Where the job runs lies the default branch; another one may lie in branch/."""
    for step in steps(job):
        given = step.get("with", {})
        if not str(step.get("uses", "")).startswith("actions/checkout@"):
            continue
        if "repository" in given:
            yield f"checks out {given['repository']}"
        if given.get("path") != BRANCH_FOLDER and (given.get("ref") != DEFAULT_BRANCH or "path" in given):
            yield f"has a token that can write, and {given.get('ref', 'the branch')} where it runs"


def _not_listed(job: Mapping[str, Any]) -> Iterator[str]:
    """What a job does beside files of a pull request, with its token, is one of a list: commands, actions, settings."""
    for key in {"container", "services", "defaults", "uses"} & job.keys():
        yield f"{key}: not for a job with a token that can write"
    for step in steps(job):
        yield from (f"{line!r} is not one of COMMANDS" for line in _lines(step) if line not in COMMANDS)
        action = str(step.get("uses", "")).partition("@")[0]
        if action and action not in ACTIONS:
            yield f"{action} is not one of ACTIONS"
        for key in {"shell", "working-directory"} & step.keys():
            yield f"{key}: not for a job with a token that can write"
        if "download-artifact" in action and step.get("with", {}).get("path") not in FOLDERS:
            yield "unpacks what a branch has made over the default branch's files"
    for place in (job, *steps(job)):
        for key, given in place.get("env", {}).items():
            if key not in SETTINGS or given != FIXED.get(key, given):
                yield f"{key}={given} is not one of SETTINGS"


def _lines(step: Mapping[str, Any]) -> list[str]:
    return [line.strip() for line in str(step.get("run", "")).splitlines() if line.strip()]


def runners(workflow: Workflow) -> Iterator[str]:
    """A runner that has run a pull request's code runs nothing that holds more than the role of training."""
    for name, job in workflow["jobs"].items():
        where = str(job["runs-on"])
        if "MAIN_RUNNER" in where and runs_a_branch(workflow):
            yield f"{name}: runs a pull request's code on the runner of main"
        if "TRAIN_RUNNER" not in where:
            continue
        named = set(re.findall(r"'([a-z]+)'", str(job.get("environment", "")))) - {"true"}
        if not runs_a_branch(workflow) or may_write(job) or not named <= {"train"} or "secrets." in str(job):
            yield f"{name}: holds more than the role of training where a pull request's code has run"


def private(workflow: Workflow) -> Iterator[str]:
    """What asks the API of a cluster, which is private, runs where a runner that reaches it can be named."""
    for name, job in workflow["jobs"].items():
        asks = any("update-kubeconfig" in str(step.get("run", "")) for step in steps(job))
        if asks and "_RUNNER" not in str(job["runs-on"]):
            yield f"{name}: reaches no private cluster from {job['runs-on']}"


def signatures(workflow: Workflow) -> Iterator[str]:
    """An image is signed by a cosign that takes the command: from 3.0.4 on none does without a public log."""
    for name, job in workflow["jobs"].items():
        uses = [step for step in steps(job) if "cosign-installer@" in str(step.get("uses", ""))]
        release = "".join(str(step.get("with", {}).get("cosign-release", "")) for step in uses)
        is_asked = any("--tlog-upload=false" in line for step in steps(job) for line in _lines(step))
        if is_asked and not re.fullmatch(r"v2\.\d+\.\d+", release):
            yield f"{name}: cosign {release or 'of any version'} does not sign without a public log"


def attempts(workflow: Workflow) -> Iterator[str]:
    """What a job leaves for others it can leave again, in a second attempt of the same run, a week later."""
    for name, job in workflow["jobs"].items():
        for step in steps(job):
            given = step.get("with", {})
            if not str(step.get("uses", "")).startswith("actions/upload-artifact@"):
                continue
            if given.get("overwrite") is not True:
                yield f"{name}: {step.get('name')}: a second attempt cannot leave {given.get('name')} again"
            if given.get("retention-days", 90) < 7:
                yield f"{name}: {step.get('name')}: {given.get('name')} is gone before somebody runs it again"


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


def leaks(workflow: Workflow, text: str) -> Iterator[str]:
    """S1 and S12: no key of a cloud, no other secret than those that are listed, no plot to a stranger."""
    yield from (f"a key: {found[0][:24]}" for found in KEYS.finditer(text))
    for found in re.finditer(r"secrets\.(\w+)", text):
        if found[1] not in SECRETS:
            yield f"the secret {found[1]} is not one of {sorted(SECRETS)}"
    for name, step in _everywhere(workflow):
        asked = [line for line in _lines(step) if re.search(r"\bcml\b|@dvcorg/", line)]
        yield from (f"{name}: {line}: uploads what it finds to a public server" for line in asked if line != CML)
        if asked and step.get("env", {}).get("ITERATIVE_DO_NOT_TRACK") != "1":
            yield f"{name}: cml: reports on its use"


def _everywhere(workflow: Workflow) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every step of a workflow, or of an action."""
    for name, job in workflow.get("jobs", {"action": workflow.get("runs", {})}).items():
        yield from ((name, step) for step in steps(job))
