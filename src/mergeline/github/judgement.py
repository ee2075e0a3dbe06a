"""What the facts about a repository come to: what is whole, what is off, what is broken, and what mends it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from mergeline.github.codeowners import parse, placeholders, uncovered
from mergeline.github.facts import Environment, Facts
from mergeline.github.plan import LIMITS, WITHOUT_ATTESTATIONS
from mergeline.github.ruleset import ACTIONS, CHECK, SQUASH, Rules, command
from mergeline.github.settings import ATTEST, BOT, KEYS_THAT_LAST, PARTS, RECORDING, Part, Setting

TITLE, MESSAGE = "PR_TITLE", "PR_BODY"  # trailers and "This reverts commit ..." stand in the description
UNGUARDED = ("R3", "R4", "R9")


class State(StrEnum):
    """How a thing stands; only what is broken is a failure."""

    OK = "ok"
    OFF = "off"
    BROKEN = "broken"
    CANNOT = "cannot"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing, how it stands, the commands that mend it, and the promises that are not kept as it stands."""

    name: str
    state: State
    said: str
    mend: tuple[str, ...] = ()
    promises: tuple[str, ...] = ()


def judged(facts: Facts) -> tuple[Finding, ...]:
    """Return the findings in the order in which one would set a repository up."""
    return (
        _token(facts),
        *_plan(facts),
        *_protection(facts),
        *_code_owners(facts),
        *_workflows(facts),
        *_starts(facts),
        *_parts(facts),
        *_keys(facts),
    )


# ---- Token and plan --------------------------------------------------------------------------------------------------


def _token(facts: Facts) -> Finding:
    if not facts.hidden:
        return Finding("token", State.OK, f"{facts.token}; it sees everything that is asked here")
    missing = "; ".join(f"{what} ({said})" for what, said in facts.hidden.items())
    mend = ("GITHUB_TOKEN=$(gh auth token) mergeline doctor  # as an administrator of the repository",)
    return Finding("token", State.UNKNOWN, f"{facts.token}; it does not see: {missing}", mend)


def _plan(facts: Facts) -> Iterator[Finding]:
    said = str(facts.plan) if facts.plan_seen else f"taken for {facts.plan}; the token may not see the owner's plan"
    yield Finding("plan", State.OK if facts.plan_seen else State.UNKNOWN, said)
    for limit in LIMITS[facts.plan]:
        yield Finding(limit.name, State.CANNOT, limit.said, promises=limit.promises)


# ---- The default branch ----------------------------------------------------------------------------------------------


def _protection(facts: Facts) -> Iterator[Finding]:
    if not facts.plan.protects:
        return
    if facts.rules is None:
        yield Finding("rules", State.UNKNOWN, f"the rules of {facts.branch} are not to be seen with this token")
        return
    mend = (command(facts.repository, facts.ruleset),)
    if not facts.rules.any and not facts.all_rules:
        yield Finding("rules", State.UNKNOWN, f"{facts.branch} is protected, how is not to be seen with this token")
    elif not facts.rules.any:
        said = f"nothing protects {facts.branch}; a red gate can be merged, and anybody who may write can push"
        yield Finding("rules", State.OFF, said, mend, UNGUARDED)
    else:
        missing = list(_missing(facts.rules))
        for name, said, promises in missing:
            if facts.all_rules:
                yield Finding(name, State.BROKEN, f"{facts.branch}: {said}", mend, promises)
            else:
                yield Finding(name, State.UNKNOWN, f"{facts.branch}: {said}, by the rules that this token sees")
        if not missing:
            yield Finding("rules", State.OK, f"{facts.branch} takes reviewed pull requests with a green {CHECK} alone")
        yield from _bypass(facts, facts.rules)
    yield from _merging(facts, facts.rules)


def _missing(rules: Rules) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """What rules that are there leave out: a name, a sentence, the promises that fall."""
    if not rules.pull_request:
        yield "pull requests", "can be pushed to without a pull request", ("R2", "R7")
    if not rules.gate:
        other = f"; it requires {', '.join(sorted(each.name for each in rules.checks))}" if rules.checks else ""
        yield "required check", f"the check {CHECK!r} is not required{other}", ("R4", "R9")
    elif rules.gate == {None}:
        said = f"any app, and whoever may write, can set the check {CHECK!r}; expected GitHub Actions ({ACTIONS}) alone"
        yield "required check", said, ("R4", "R9")
    elif others := sorted(each for each in rules.gate if each is not None and each != ACTIONS):
        named = ", ".join(map(str, others))
        yield "required check", f"the check {CHECK!r} is awaited from app {named}; GitHub Actions is {ACTIONS}", ()
    if not rules.up_to_date:
        yield "up to date", "a branch may be merged that is behind, with results of another code", ("R3",)
    if not rules.code_owners:
        yield "code owners", "no review of the code owners is required", ()
    if not rules.dismiss_stale:
        yield "stale reviews", "an approval outlives a further push", ()
    if not rules.no_force_push:
        yield "force pushes", "history, which says what was live, can be rewritten", ("R6",)
    if not rules.no_deletion:
        yield "deletion", "the branch can be deleted", ()


def _bypass(facts: Facts, rules: Rules) -> Iterator[Finding]:
    if rules.bypass is None:
        yield Finding("bypass", State.UNKNOWN, "who may pass by the rules is not to be seen with this token")
    elif rules.bypass:
        who = ", ".join(rules.bypass)
        mend = (command(facts.repository, facts.ruleset),)
        if "administrators" in rules.bypass:
            mend = (f"gh api -X POST repos/{facts.repository}/branches/{facts.branch}/protection/enforce_admins",)
        elif facts.ruleset is None:
            mend = (
                f"gh api repos/{facts.repository}/rulesets  # take the bypass out of each that binds {facts.branch}",
            )
        yield Finding("bypass", State.BROKEN, f"may pass by the rules of {facts.branch}: {who}", mend, UNGUARDED)


def _merging(facts: Facts, rules: Rules) -> Iterator[Finding]:
    """Squashed by title and description: no commit of a branch reaches the base unjudged."""
    if facts.merging is None:
        if "merging" not in facts.hidden:
            yield Finding("merging", State.UNKNOWN, "how pull requests are merged is shown to whom may write")
        return
    allowed = {name.split("_")[1] for name, value in facts.merging.items() if name.startswith("allow_") and value}
    if rules.methods is not None:
        allowed &= rules.methods
    wrong = [f"{name} commits may be merged" for name in sorted(allowed - {SQUASH})]
    wrong += [] if SQUASH in allowed else ["squashing is not allowed"]
    texts = (facts.merging["squash_merge_commit_title"], facts.merging["squash_merge_commit_message"])
    wrong += (
        [] if texts == (TITLE, MESSAGE) else [f"a squashed commit takes its text from {' and '.join(map(str, texts))}"]
    )
    ways = "-F allow_squash_merge=true -F allow_merge_commit=false -F allow_rebase_merge=false"
    taken = f"-f squash_merge_commit_title={TITLE} -f squash_merge_commit_message={MESSAGE}"
    mend = (f"gh api -X PATCH repos/{facts.repository} {ways} {taken}",)
    if not wrong:
        yield Finding("merging", State.OK, "pull requests are squashed, by their title and description")
        return
    yield Finding("merging", State.BROKEN if rules.any else State.OFF, "; ".join(wrong), mend)


def _code_owners(facts: Facts) -> Iterator[Finding]:
    required = facts.rules is not None and facts.rules.code_owners
    bad = State.BROKEN if required else State.OFF
    if facts.checkout.code_owners is None:
        yield Finding(
            "CODEOWNERS",
            bad,
            "there is none; nobody is asked for a review",
            ("git checkout origin -- .github/CODEOWNERS",),
        )
        return
    lines = parse(facts.checkout.code_owners)
    nobody, open_paths = placeholders(lines), uncovered(lines)
    if nobody:
        mend = tuple(f"sed -i.bak 's|{each}|@TEAM-OR-PERSON|' .github/CODEOWNERS" for each in nobody)
        yield Finding("CODEOWNERS", bad, f"names {', '.join(nobody)}, which is nobody", mend)
    elif open_paths:
        mend = tuple(f"echo '/{each} @TEAM-OR-PERSON' >> .github/CODEOWNERS" for each in open_paths)
        yield Finding("CODEOWNERS", bad, f"nobody owns {', '.join(open_paths)}", mend)
    elif facts.code_owners_errors:
        said = f"GitHub does not understand it: {', '.join(facts.code_owners_errors)}"
        mend = (f"gh api repos/{facts.repository}/codeowners/errors",)
        yield Finding("CODEOWNERS", bad, said, mend)
    else:
        yield Finding("CODEOWNERS", State.OK, "what decides and deploys has owners")


# ---- Actions ---------------------------------------------------------------------------------------------------------


def _workflows(facts: Facts) -> Iterator[Finding]:
    if facts.workflows is None:
        return
    at = f"gh api -X PUT repos/{facts.repository}/actions/permissions/workflow"
    if facts.workflows.get("default_workflow_permissions") != "read":
        said = "a workflow that asks for nothing gets a token that may write; this template's ask by name"
        yield Finding("workflow token", State.OFF, said, (f"{at} -f default_workflow_permissions=read",))
    if not facts.workflows.get("can_approve_pull_request_reviews") and not _has_bot(facts):
        said = "workflows may push branches, and open no pull request for them"
        yield Finding(
            "pull requests of workflows", State.OFF, said, (f"{at} -F can_approve_pull_request_reviews=true",)
        )


def _starts(facts: Facts) -> Iterator[Finding]:
    """Whether a push to the default branch starts what waits for one; a pattern is taken for what it may be."""
    others = {
        name: branches
        for name, branches in facts.checkout.starts.items()
        if facts.branch not in branches and not any("*" in each for each in branches)
    }
    if others:
        named, on = ", ".join(others), ", ".join(sorted({each for branches in others.values() for each in branches}))
        said = (
            f"{named} start on {on} alone, the default branch is {facts.branch}: nothing is verified, built or promoted"
        )
        mend = (
            f"gh api -X POST repos/{facts.repository}/branches/{facts.branch}/rename -f new_name={on.partition(',')[0]}"
        )
        yield Finding("branches of the workflows", State.BROKEN, said, (mend,))


def _has_bot(facts: Facts) -> bool:
    bot = next(part for part in PARTS if part.name == BOT)
    return all(_value(facts, bot, each) is not None for each in bot.own)


def _parts(facts: Facts) -> Iterator[Finding]:
    """The parts, and each environment of those that are on once."""
    told: dict[str, Finding] = {}
    for finding in (finding for part in PARTS for finding in _part(facts, part)):
        told.setdefault(finding.name, finding)
    yield from told.values()


def _part(facts: Facts, part: Part) -> Iterator[Finding]:
    unseen = [name for name, seen in (("variables", facts.variables), ("secrets", facts.secrets)) if seen is None]
    if "variables" in unseen or (unseen and any(each.secret for each in part.own)):
        yield Finding(part.name, State.UNKNOWN, f"{part.gives}; {' and '.join(unseen)} are not to be seen")
        return
    values = {each: _value(facts, part, each) for each in (*part.own, *part.shared)}
    if all(values[each] is None for each in part.own):
        if part.name != ATTEST or facts.plan not in WITHOUT_ATTESTATIONS:
            made = [line for name in part.environments for line in _make(facts, part, name)]
            missing = [_set(facts, part, each) for each, value in values.items() if value is None]
            yield Finding(part.name, State.OFF, part.gives, (*made, *missing))
        return
    wrong = list(_wrong(facts, part, values))
    said, mend = "; ".join(text for text, _ in wrong), tuple(line for _, line in wrong)
    if wrong:
        yield Finding(part.name, State.BROKEN, said, mend)
    else:
        yield Finding(part.name, State.OK, part.gives)
    for name in part.environments:
        yield from _environment(facts, part, name)


def _wrong(facts: Facts, part: Part, values: dict[Setting, str | None]) -> Iterator[tuple[str, str]]:
    for each, value in values.items():
        kind = "secret" if each.secret else "variable"
        if value is None:
            yield f"the {kind} {each.name} is missing", _set(facts, part, each)
        elif not each.secret and not each.fits(value):
            yield f"the variable {each.name} is not like {each.example}", _set(facts, part, each)
    if part.name == RECORDING:
        runners = (facts.variables or {}).keys() >= {"TRAIN_RUNNER", "MAIN_RUNNER"}
        for place in facts.checkout.places:
            why = place.out_of_reach(own_runners=runners)
            if why is not None:
                yield f"{why}, so that jobs lose what they made", place.mend
    if part.name == ATTEST and facts.plan in WITHOUT_ATTESTATIONS:
        yield f"{facts.plan} has no attestations", f"gh variable delete {part.own[0].name}"


def _value(facts: Facts, part: Part, setting: Setting) -> str | None:
    """What the workflows would read; of a secret there is only its name.

    A variable of an environment does not count: which environment a job runs in is decided before it is read.
    """
    if not setting.secret:
        return (facts.variables or {}).get(setting.name) or None
    own = [each for each in facts.environments or () if each.name in part.environments]
    secrets = (facts.secrets or frozenset()).union(*(each.secrets for each in own))
    return setting.name if setting.name in secrets else None


def _named(facts: Facts, name: str) -> Environment | None:
    return next((each for each in facts.environments or () if each.name == name), None)


def _set(facts: Facts, part: Part, setting: Setting) -> str:
    if not setting.secret:
        return f"gh variable set {setting.name} --body {setting.example}"
    where = f" --env {part.environments[0]}" if part.environments and facts.plan.protects else ""
    return f"gh secret set {setting.name}{where} < {setting.example}"


def _environment(facts: Facts, part: Part, name: str) -> Iterator[Finding]:
    """An environment of a part that is on; where there is none, GitHub makes one that any branch may use."""
    title = f"environment {name}"
    if not facts.plan.protects:
        return
    if facts.environments is None:
        yield Finding(title, State.UNKNOWN, "environments are not to be seen with this token")
        return
    found, mend = _named(facts, name), _make(facts, part, name)
    if found is None:
        yield Finding(title, State.BROKEN, f"{part.name} is on, and its environment is missing", mend, ("S2",))
    elif mend:
        yield Finding(title, State.BROKEN, f"other branches than {facts.branch} may use it", mend, ("S2",))
    else:
        yield Finding(title, State.OK, f"is there{f', for {facts.branch} alone' if part.on_base_alone else ''}")


def _make(facts: Facts, part: Part, name: str) -> tuple[str, ...]:
    """What makes an environment as it has to be; nothing where it is so."""
    if not facts.plan.protects:
        return ()
    found, at = _named(facts, name), f"repos/{facts.repository}/environments/{name}"
    if not part.on_base_alone:
        return () if found else (f"gh api -X PUT {at}",)
    if found and (found.protected or found.branches == (facts.branch,)):
        return ()
    chosen = {"protected_branches": "false", "custom_branch_policies": "true"}
    policy = " ".join(f"-F 'deployment_branch_policy[{key}]={value}'" for key, value in chosen.items())
    lines = [f"gh api -X PUT {at} {policy}"]
    if found and found.branches:
        lines.append(f"gh api {at}/deployment-branch-policies  # and delete those that are not {facts.branch}")
    if not found or facts.branch not in (found.branches or ()):
        lines.append(f"gh api -X POST {at}/deployment-branch-policies -f name={facts.branch}")
    return tuple(lines)


def _keys(facts: Facts) -> Iterator[Finding]:
    everywhere = set(facts.secrets or ()).union(*(each.secrets for each in facts.environments or ()))
    lasting = sorted(everywhere & set(KEYS_THAT_LAST))
    if lasting:
        mend = tuple(f"gh secret delete {each}" for each in lasting)
        said = f"{' and '.join(lasting)}: a cloud key that lasts; roles are assumed by OIDC"
        yield Finding("cloud keys", State.BROKEN, said, mend, ("S1",))
