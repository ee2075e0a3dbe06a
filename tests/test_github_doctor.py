"""What `mergeline doctor` says of a repository on each plan, and that the commands that it prints mend it."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import servers
from github_api import GitHub, served
from github_replayed import recorded, replayed
from github_state import ACTIONS, EVERYTHING, Hub, token
from repositories import DVC_CONFIG, SAMPLE_PARAMS, TEMPLATE

from mergeline.errors import ConfigurationError
from mergeline.github.client import Client, Patience
from mergeline.github.codeowners import WATCHED, owners, parse, placeholders, uncovered
from mergeline.github.doctor import doctor
from mergeline.github.reading import repository_of
from mergeline.github.ruleset import FILE
from mergeline.github.settings import PARTS, REGION, Setting

HERE = "octo/model"
QUICK = Patience(tries=1, backoff_s=0, timeout_s=5)
OWNED = (TEMPLATE / ".github/CODEOWNERS").read_text(encoding="utf-8").replace("@OWNER/ml-platform", "@octo/ml")
ROLE = "arn:aws:iam::123456789012:role/train"
UPGRADE = "Upgrade to GitHub Pro or make this repository public to enable this feature."
REFUSED = {"status": 403, "body": {"message": UPGRADE, "status": "403"}}
KEYS = {"total_count": 1, "secrets": [{"name": "AWS_SECRET_ACCESS_KEY"}]}
# Who may see a repository, and what its owner pays for.
PLANS: dict[str, dict[str, Any]] = {
    "private free": {"plan": "free", "private": True},
    "private team": {"plan": "team", "private": True},
    "public": {"plan": "free", "private": False},
    "enterprise": {"plan": "enterprise", "private": True},
}


@pytest.fixture
def github() -> Iterator[GitHub]:
    tokens = {"github_pat_admin": token("ada", EVERYTHING, "fine-grained"), "ghs_job": token("bot[bot]", ACTIONS)}
    tokens["ghp_1"] = token("ada", EVERYTHING, "classic")
    hub = Hub({"tokens": tokens})
    hub.add(HERE)
    with served(hub) as server:
        yield server


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / ".github").mkdir()
    (tmp_path / ".github/CODEOWNERS").write_text(OWNED)
    return tmp_path


def environment(github: GitHub, who: str = "github_pat_admin") -> dict[str, str]:
    return {"GITHUB_API_URL": github.url, "GITHUB_REPOSITORY": HERE, "GITHUB_TOKEN": who}


def findings(github: GitHub, root: Path, who: str = "github_pat_admin") -> dict[str, dict[str, Any]]:
    """The findings by name; nothing may have been written."""
    before = len(github.writes())
    text, broken = doctor(root, environment(github, who), as_json=True, patience=QUICK)
    assert len(github.writes()) == before
    found = {each["name"]: each for each in json.loads(text)["findings"]}
    assert set(broken) == {name for name, each in found.items() if each["state"] == "broken"}
    return found


def states(found: dict[str, dict[str, Any]], state: str) -> set[str]:
    return {name for name, each in found.items() if each["state"] == state}


def here(github: GitHub) -> dict[str, Any]:
    return github.hub.repository(HERE)


def use(github: GitHub, plan: str) -> None:
    """Let the repository be of a plan."""
    given = PLANS[plan]
    github.hub.state["plans"]["octo"] = given["plan"]
    here(github).update(private=given["private"], visibility="private" if given["private"] else "public")


def protect(github: GitHub, **review: Any) -> dict[str, Any]:
    """The wanted ruleset, with other parameters for reviews, and the settings for merging."""
    ruleset = github.hub.ruleset(HERE, json.loads((TEMPLATE / FILE).read_text()))
    next(each for each in ruleset["rules"] if each["type"] == "pull_request")["parameters"].update(review)
    here(github)["settings"].update(squash_merge_commit_title="PR_TITLE", squash_merge_commit_message="PR_BODY")
    return ruleset


# ---- Plans -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", PLANS)
def test_a_fresh_copy_has_nothing_broken_on_any_plan(github: GitHub, root: Path, plan: str) -> None:
    use(github, plan)
    found = findings(github, root)
    assert states(found, "broken") == set()
    plans = {"private free", "private team"}
    assert {part.name for part in PARTS} - ({"attesting"} if plan in plans else set()) <= states(found, "off")
    assert states(found, "unknown") == set()


CANNOT = {
    "private-free": {
        "protected branches": ["R3", "R4", "R9"],
        "code owners": [],
        "environments": ["S2", "S11"],
        "attestations": [],
    },
    "private-team": {"required reviewers of environments": [], "attestations": []},
    "public": {},
    "enterprise": {},
}  # fmt: skip


@pytest.mark.parametrize("plan", CANNOT)
def test_s14_by_recorded_replies_of_github_the_promises_that_a_plan_cannot_keep_are_named(
    plan: str, root: Path
) -> None:
    """Whole bodies in the shapes of GitHub's own description of its API; each is asked for, and nothing else is."""
    with replayed(recorded(plan)) as github:
        text, broken = doctor(root, github.environment, as_json=True, patience=QUICK)
        assert (github.asked, github.unknown) == (set(recorded(plan)), [])
    found = {each["name"]: each for each in json.loads(text)["findings"]}
    assert broken == ()
    assert {name: found[name]["promises"] for name in states(found, "cannot")} == CANNOT[plan]
    assert states(found, "unknown") == set()
    assert ({"rules", "releasing", "environment release"} <= states(found, "ok")) == (plan != "private-free")
    assert ("attesting" in states(found, "ok")) == (plan in ("public", "enterprise"))


@pytest.mark.parametrize(
    ("plan", "change", "lost"),
    [
        ("enterprise", {"/rules/branches/main": REFUSED}, {"R3", "R4", "R9", "S2", "S11"}),
        ("public", {"/rules/branches/main": {"status": 200, "body": []}}, {"R3", "R4", "R9"}),
        ("private-team", {"/environments": {"status": 200, "body": {"total_count": 0, "environments": []}}}, {"S2"}),
        ("public", {"/actions/secrets": {"status": 200, "body": KEYS}}, {"S1"}),
    ],
    ids=["rules are refused", "no rules", "no environment", "a key that lasts"],
)
def test_s14_twin_another_reply_and_the_promise_is_not_kept(
    plan: str, change: dict[str, Any], lost: set[str], root: Path
) -> None:
    replies = recorded(plan)
    replies |= {f"/repos/octo-org/models{path}": reply for path, reply in change.items()}
    if "/rules/branches/main" in change:
        replies["/orgs/octo-org"] = {"status": 404, "body": {"message": "Not Found"}}
    with replayed(replies) as github:
        text, _ = doctor(root, github.environment, as_json=True, patience=QUICK)
    assert {each for finding in json.loads(text)["findings"] for each in finding["promises"]} == lost


def test_s14_the_plan_is_seen_by_what_github_refuses_where_its_name_is_hidden(github: GitHub, root: Path) -> None:
    use(github, "private free")
    github.hub.state["tokens"]["ghs_job"]["permissions"] = {**ACTIONS, "actions_variables": "read"}
    assert findings(github, root, "ghs_job")["plan"] == {
        "name": "plan",
        "state": "ok",
        "said": "private, plan Free",
        "mend": [],
        "promises": [],
    }
    github.hub.state["plans"]["octo"] = "enterprise"
    hidden = findings(github, root, "ghs_job")["plan"]
    assert (hidden["state"], "may not see" in hidden["said"]) == ("unknown", True)


def test_a_private_repository_of_a_person_has_the_plan_of_that_person(github: GitHub, root: Path) -> None:
    use(github, "private team")
    here(github)["owner_type"] = "User"
    github.hub.state["tokens"]["github_pat_admin"]["login"] = "octo"
    assert findings(github, root)["plan"]["said"] == "private, plan Team or Pro"


# ---- The default branch ----------------------------------------------------------------------------------------------


def test_a_branch_without_rules_is_off_and_says_which_promises_that_costs(github: GitHub, root: Path) -> None:
    rules = findings(github, root)["rules"]
    assert (rules["state"], rules["promises"]) == ("off", ["R3", "R4", "R9"])


def test_the_wanted_ruleset_is_whole(github: GitHub, root: Path) -> None:
    protect(github)
    found = findings(github, root)
    assert states(found, "broken") == set()
    assert {"rules", "merging", "CODEOWNERS"} <= states(found, "ok")


def without(kind: str) -> Any:
    def change(ruleset: dict[str, Any]) -> None:
        ruleset["rules"] = [each for each in ruleset["rules"] if each["type"] != kind]

    return change


def parameter(kind: str, **values: Any) -> Any:
    def change(ruleset: dict[str, Any]) -> None:
        next(each for each in ruleset["rules"] if each["type"] == kind)["parameters"].update(values)

    return change


REVIEW, CHECKS = "pull_request", "required_status_checks"


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        (without(CHECKS), {"required check", "up to date"}),
        (parameter(CHECKS, required_status_checks=[{"context": "lint"}]), {"required check"}),
        (parameter(CHECKS, required_status_checks=[{"context": "gate"}]), {"required check"}),
        (parameter(CHECKS, required_status_checks=[{"context": "gate", "integration_id": 4711}]), {"required check"}),
        (parameter(CHECKS, strict_required_status_checks_policy=False), {"up to date"}),
        (without(REVIEW), {"pull requests", "code owners", "stale reviews", "merging"}),
        (parameter(REVIEW, require_code_owner_review=False), {"code owners"}),
        (parameter(REVIEW, dismiss_stale_reviews_on_push=False), {"stale reviews"}),
        (parameter(REVIEW, allowed_merge_methods=["squash", "rebase"]), {"merging"}),
        (without("non_fast_forward"), {"force pushes"}),
        (without("deletion"), {"deletion"}),
        (lambda each: each.update(bypass_actors=[{"actor_id": 5, "actor_type": "RepositoryRole"}]), {"bypass"}),
    ],
    ids=[
        "no checks",
        "other check",
        "any app",
        "another app",
        "behind",
        "pushes",
        "owners",
        "stale",
        "rebase",
        "force",
        "delete",
        "bypass",
    ],
)
def test_r9_a_ruleset_with_a_hole_is_broken_and_its_command_closes_the_hole(
    github: GitHub, root: Path, change: Any, broken: set[str]
) -> None:
    change(protect(github))
    found = findings(github, root)
    assert states(found, "broken") == broken
    for name in broken:
        carry_out(github, root, found[name]["mend"])
    assert states(findings(github, root), "broken") == set()


def test_a_ruleset_that_does_not_bind_the_default_branch_does_not_count(github: GitHub, root: Path) -> None:
    ruleset = protect(github)
    ruleset["conditions"]["ref_name"]["include"] = ["refs/heads/release/*"]
    assert findings(github, root)["rules"]["state"] == "off"
    ruleset["conditions"]["ref_name"]["include"] = ["~DEFAULT_BRANCH"]
    ruleset["enforcement"] = "evaluate"
    assert findings(github, root)["rules"]["state"] == "off"


def test_classic_protection_counts_as_well(github: GitHub, root: Path) -> None:
    here(github)["settings"].update(allow_merge_commit=False, allow_rebase_merge=False)
    here(github)["settings"].update(squash_merge_commit_title="PR_TITLE", squash_merge_commit_message="PR_BODY")
    protection: dict[str, Any] = {
        "required_status_checks": {
            "strict": True,
            "contexts": ["gate"],
            "checks": [{"context": "gate", "app_id": 15368}],
        },
        "required_pull_request_reviews": {"dismiss_stale_reviews": True, "require_code_owner_reviews": True},
        "enforce_admins": {"enabled": True},
        "allow_force_pushes": {"enabled": False},
        "allow_deletions": {"enabled": False},
    }
    here(github)["protection"] = protection
    assert states(findings(github, root), "broken") == set()
    protection["enforce_admins"]["enabled"] = False
    protection["required_status_checks"].update(contexts=[], checks=[])
    assert states(findings(github, root), "broken") == {"required check", "bypass"}


@pytest.mark.parametrize(
    ("checks", "said"),
    [
        ({"checks": [{"context": "gate", "app_id": None}]}, "any app, and whoever may write, can set the check 'gate'"),
        ({"checks": [{"context": "gate", "app_id": -1}]}, "any app, and whoever may write, can set the check 'gate'"),
        ({"contexts": ["gate"]}, "any app, and whoever may write, can set the check 'gate'"),
        ({"checks": [{"context": "gate", "app_id": 4711}]}, "the check 'gate' is awaited from app 4711"),
    ],
    ids=["null", "minus one", "by its name alone", "another app"],
)
def test_r9_a_check_that_another_than_github_actions_can_set_is_broken(
    github: GitHub, root: Path, checks: dict[str, Any], said: str
) -> None:
    here(github)["protection"] = {"required_status_checks": {"strict": True, **checks}}
    assert said in findings(github, root)["required check"]["said"]
    protect(github)  # a ruleset that asks for GitHub Actions as well: the strictest holds, and both have to be met
    assert ("required check" in findings(github, root)) == ("4711" in said)


def test_merge_settings_alone_are_off_and_beside_rules_broken(github: GitHub, root: Path) -> None:
    assert findings(github, root)["merging"]["state"] == "off"
    protect(github)
    here(github)["settings"]["squash_merge_commit_message"] = "COMMIT_MESSAGES"
    found = findings(github, root)["merging"]
    assert found["state"] == "broken"
    assert "PR_TITLE and COMMIT_MESSAGES" in found["said"]


# ---- Parts -----------------------------------------------------------------------------------------------------------


def test_a_part_that_is_half_configured_is_broken_and_says_what_is_missing(github: GitHub, root: Path) -> None:
    here(github)["variables"]["AWS_TRAIN_ROLE"] = ROLE
    found = findings(github, root)
    assert states(found, "broken") == {"training", "environment train"}
    assert found["training"]["said"] == "the variable AWS_REGION is missing"
    assert found["training"]["mend"] == ["gh variable set AWS_REGION --body eu-central-1"]
    assert found["environment train"]["mend"] == [f"gh api -X PUT repos/{HERE}/environments/train"]


def test_a_region_alone_switches_nothing_on(github: GitHub, root: Path) -> None:
    here(github)["variables"]["AWS_REGION"] = "eu-central-1"
    assert states(findings(github, root), "broken") == set()


@pytest.mark.parametrize("place", ["variables", "organization_variables"])
def test_a_variable_counts_where_a_job_can_be_chosen_by_it(github: GitHub, root: Path, place: str) -> None:
    here(github)["environments"]["train"] = {}
    here(github)[place].update({"AWS_REGION": "eu-central-1", "AWS_TRAIN_ROLE": ROLE})
    assert {"training", "environment train"} <= states(findings(github, root), "ok")


def test_the_twin_a_variable_of_the_environment_comes_too_late(github: GitHub, root: Path) -> None:
    here(github)["environments"]["train"] = {"variables": {"AWS_REGION": "eu-central-1", "AWS_TRAIN_ROLE": ROLE}}
    assert findings(github, root)["training"]["state"] == "off"


@pytest.mark.parametrize(
    ("value", "state"),
    [
        (ROLE, "ok"),
        ("arn:aws-us-gov:iam::123456789012:role/a/b", "ok"),
        ("train", "broken"),
        ("arn:aws:iam::1:role/x", "broken"),
    ],
)
def test_a_value_that_can_be_no_role_is_broken(github: GitHub, root: Path, value: str, state: str) -> None:
    here(github)["environments"]["train"] = {}
    here(github)["variables"].update({"AWS_REGION": "eu-central-1", "AWS_TRAIN_ROLE": value})
    assert findings(github, root)["training"]["state"] == state


@pytest.mark.parametrize(
    ("kept", "state"),
    [
        (None, "broken"),
        ({}, "broken"),
        ({"deployment_branch_policy": {"protected_branches": True, "custom_branch_policies": False}}, "ok"),
        (
            {
                "deployment_branch_policy": {"protected_branches": False, "custom_branch_policies": True},
                "branches": ["main"],
            },
            "ok",
        ),
        (
            {
                "deployment_branch_policy": {"protected_branches": False, "custom_branch_policies": True},
                "branches": ["*"],
            },
            "broken",
        ),
    ],
    ids=["missing", "any branch", "protected", "main", "all by pattern"],
)
def test_s2_an_environment_that_signs_is_for_the_default_branch_alone(
    github: GitHub, root: Path, kept: dict[str, Any] | None, state: str
) -> None:
    here(github)["variables"].update({"AWS_REGION": "eu-central-1", "AWS_RELEASE_ROLE": ROLE})
    here(github)["environments"] = {} if kept is None else {"release": kept}
    assert findings(github, root)["environment release"]["state"] == state


@pytest.mark.parametrize("place", ["repository", "bot", "train"])
def test_an_app_needs_its_key_as_a_secret_of_its_jobs(github: GitHub, root: Path, place: str) -> None:
    here(github)["variables"]["MERGELINE_APP_ID"] = "4711"
    here(github)["environments"] = {"bot": {}, "train": {}}
    missing = findings(github, root)["bot"]
    assert missing["said"] == "the secret MERGELINE_APP_KEY is missing"
    assert missing["mend"] == ["gh secret set MERGELINE_APP_KEY --env bot < app.pem"]
    holder = here(github) if place == "repository" else here(github)["environments"][place]
    holder["secrets"] = ["MERGELINE_APP_KEY"]
    found = findings(github, root)
    assert found["bot"]["state"] == ("broken" if place == "train" else "ok")
    assert ("pull requests of workflows" in found) == (place == "train")


def test_attestations_that_the_plan_does_not_have_are_broken(github: GitHub, root: Path) -> None:
    here(github)["variables"]["MERGELINE_ATTEST"] = "true"
    assert findings(github, root)["attesting"]["state"] == "ok"
    use(github, "private team")
    found = findings(github, root)["attesting"]
    assert (found["state"], found["mend"]) == ("broken", ["gh variable delete MERGELINE_ATTEST"])


def test_s1_a_cloud_key_that_lasts_is_broken(github: GitHub, root: Path) -> None:
    here(github)["secrets"].append("AWS_SECRET_ACCESS_KEY")
    found = findings(github, root)
    assert found["cloud keys"]["mend"] == ["gh secret delete AWS_SECRET_ACCESS_KEY"]
    assert states(found, "broken") == {"cloud keys"}


def test_every_example_of_the_table_is_a_value_that_fits() -> None:
    settings = {each for part in PARTS for each in (*part.own, *part.shared) if not each.secret}
    assert [each.name for each in settings if not each.fits(each.example)] == []
    assert not REGION.fits("Frankfurt")
    assert len({each.name for each in settings}) == len(settings)
    assert Setting("X", "y").fits(" ") is False


def names() -> set[str]:
    return {each.name for part in PARTS for each in (*part.own, *part.shared)}


def test_the_table_is_what_the_documentation_says() -> None:
    text = (TEMPLATE / "docs/github.md").read_text(encoding="utf-8")
    table = text[text.index("### Parts") : text.index("### Rules")]
    listed = set(re.findall(r"`([A-Z_]+)`", table))
    assert listed == names()
    environments = {name for part in PARTS for name in part.environments}
    assert environments <= set(re.findall(r"`([a-z]+)`", table))


def read_by(workflows: dict[str, str]) -> set[str]:
    """The variables and secrets that workflows read, but for the token that each run has."""
    return {name for text in workflows.values() for name in re.findall(r"\b(?:vars|secrets)\.(\w+)", text)} - {
        "GITHUB_TOKEN"
    }


def environments_in(workflows: dict[str, str]) -> set[str]:
    lines = [line for text in workflows.values() for line in re.findall(r"^ +environment: (.+)$", text, re.MULTILINE)]
    return {name for line in lines for name in re.findall(r"^(\w+)$|&& '(\w+)'", line) for name in name if name}


def workflows() -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in (TEMPLATE / ".github/workflows").glob("*.yml")}


def test_the_table_is_what_the_workflows_read() -> None:
    assert read_by(workflows()) == names()
    assert environments_in(workflows()) == {name for part in PARTS for name in part.environments}


def test_the_twin_a_workflow_with_a_name_of_its_own_is_found() -> None:
    planted = workflows() | {"new.yml": "jobs:\n  a:\n    environment: other\n    env: {KEY: '${{ secrets.OWN }}'}\n"}
    assert read_by(planted) - names() == {"OWN"}
    assert "other" in environments_in(planted)


# ---- What lies in the checkout ---------------------------------------------------------------------------------------


def record_in(root: Path, store: str, remote: str) -> None:
    """Let the checkout name a model store and a DVC remote."""
    shutil.copy(SAMPLE_PARAMS, root / "params.yaml")
    with (root / "params.yaml").open("a", encoding="utf-8") as file:
        file.write(f"\nrelease:\n  store: {store}\n")
    (root / ".dvc").mkdir(exist_ok=True)
    (root / ".dvc/config").write_text(DVC_CONFIG.replace("../.mergeline/remote", remote), encoding="utf-8")


@pytest.mark.parametrize(
    ("store", "remote", "said"),
    [
        ("s3://b/models", "s3://b/dvc", []),
        (".mergeline/store", "s3://b/dvc", ["the model store is .mergeline/store, a folder that no other machine has"]),
        ("s3://b/models", "../.mergeline/remote", ["the DVC remote is ../.mergeline/remote, a folder"]),
        (".mergeline/store", "../x", ["the model store is .mergeline/store", "the DVC remote is ../x"]),
        ("/mnt/store", "s3://b/dvc", ["the model store is /mnt/store, a folder that no other machine has"]),
    ],
)
def test_recording_into_a_folder_that_no_other_machine_has_is_broken(
    github: GitHub, root: Path, store: str, remote: str, said: list[str]
) -> None:
    record_in(root, store, remote)
    assert findings(github, root)["recording"]["state"] == "off"
    here(github)["variables"]["MERGELINE_RECORD"] = "true"
    found = findings(github, root)["recording"]
    assert found["state"] == ("broken" if said else "ok")
    assert len(found["mend"]) == len(said)
    assert [each for each in said if each not in found["said"]] == []


def test_a_disk_that_ones_own_runners_share_is_reached_by_all_of_them_alone(github: GitHub, root: Path) -> None:
    record_in(root, "/mnt/store", "/mnt/dvc")
    here(github)["variables"] |= {"MERGELINE_RECORD": "true", "TRAIN_RUNNER": "ours"}
    assert findings(github, root)["recording"]["state"] == "broken"  # the twin: main's jobs run elsewhere
    here(github)["variables"]["MAIN_RUNNER"] = "main"
    assert findings(github, root)["recording"]["state"] == "ok"


def test_the_template_itself_records_into_folders_and_the_printed_line_names_a_store(
    github: GitHub, root: Path
) -> None:
    record_in(root, "x", "s3://b/dvc")
    shutil.copy(SAMPLE_PARAMS, root / "params.yaml")
    here(github)["variables"]["MERGELINE_RECORD"] = "true"
    for _ in range(2):  # once where there is no section, once where there is one
        (line,) = findings(github, root)["recording"]["mend"]
        subprocess.run(line.replace("BUCKET", "b"), shell=True, cwd=root, check=True)
        assert findings(github, root)["recording"]["state"] == "ok"
        text = (root / "params.yaml").read_text()
        (root / "params.yaml").write_text(text.replace("s3://b/models", ".mergeline/store"))


def test_a_remote_that_is_not_named_is_broken(github: GitHub, root: Path) -> None:
    (root / ".dvc").mkdir()
    (root / ".dvc/config").write_text("[core]\n    analytics = false\n")
    here(github)["variables"]["MERGELINE_RECORD"] = "true"
    found = findings(github, root)["recording"]
    assert (found["state"], found["mend"]) == ("broken", ["mergeline remote s3://BUCKET/dvc"])


def test_workflows_that_wait_for_another_branch_than_the_default_one_are_broken(github: GitHub, root: Path) -> None:
    shutil.copytree(TEMPLATE / ".github/workflows", root / ".github/workflows")
    assert "branches of the workflows" not in findings(github, root)
    github.hub.repository(HERE)["default_branch"] = "master"
    found = findings(github, root)["branches of the workflows"]
    assert found["state"] == "broken"
    assert "promote.yml" in found["said"]
    assert "start on main alone, the default branch is master" in found["said"]
    assert found["mend"] == [f"gh api -X POST repos/{HERE}/branches/master/rename -f new_name=main"]
    for path in (root / ".github/workflows").glob("*.yml"):
        path.write_text(path.read_text().replace("branches: [main]", "branches: [master]"))
    assert "branches of the workflows" not in findings(github, root)


@pytest.mark.parametrize("name", ["STAGING_URL", "MLFLOW_TRACKING_URI"])
def test_s2_an_environment_that_a_part_uses_alone_is_asked_for(github: GitHub, root: Path, name: str) -> None:
    here(github)["variables"][name] = "https://example.org"
    found = findings(github, root)
    assert states(found, "broken") == {"environment release"}
    carry_out(github, root, found["environment release"]["mend"])
    assert findings(github, root)["environment release"]["said"] == "is there, for main alone"


# ---- The commands ----------------------------------------------------------------------------------------------------


def carry_out(github: GitHub, root: Path, commands: list[str]) -> None:
    """Do what `gh` and the shell would do."""
    client = Client(github.url, "github_pat_admin", QUICK)
    for line in commands:
        words = shlex.split(line.partition("  # ")[0])
        if words[:3] == ["gh", "variable", "set"]:
            client.ask("POST", f"/repos/{HERE}/actions/variables", {"name": words[3], "value": words[5]})
        elif words[:2] == ["gh", "secret"]:
            place = f"environments/{words[5]}" if "--env" in words else "actions"
            client.ask({"set": "PUT", "delete": "DELETE"}[words[2]], f"/repos/{HERE}/{place}/secrets/{words[3]}")
        elif "--input" in words:
            assert words[:3] == ["gh", "api", "-X"]
            client.ask(words[3], f"/{words[4]}", json.loads((TEMPLATE / words[6]).read_text()))
        elif words[:2] == ["gh", "api"]:
            client.ask(words[3], f"/{words[4]}", fields(words[5:]))
        else:
            subprocess.run(line.replace("@TEAM-OR-PERSON", "@octo/ml"), shell=True, cwd=root, check=True)


def fields(words: list[str]) -> dict[str, Any]:
    """The body that `gh api` makes of -f and -F."""
    body: dict[str, Any] = {}
    for flag, pair in zip(words[::2], words[1::2], strict=True):
        name, _, text = pair.partition("=")
        value = {"true": True, "false": False}.get(text, text) if flag == "-F" else text
        outer, _, inner = name.rstrip("]").partition("[")
        if inner:
            body.setdefault(outer, {})[inner] = value
        else:
            body[outer] = value
    return body


@pytest.mark.parametrize("plan", ["private team", "public", "enterprise"])
def test_the_commands_as_they_are_printed_switch_everything_on(github: GitHub, root: Path, plan: str) -> None:
    use(github, plan)
    (root / ".github/CODEOWNERS").write_text(OWNED.replace("octo", "OWNER"))
    for name in [name for name, each in findings(github, root).items() if each["state"] == "off"]:
        again = findings(github, root).get(name, {"mend": []})  # a variable that two parts share is set once
        carry_out(github, root, again["mend"])
    found = findings(github, root)
    assert states(found, "off") | states(found, "broken") | states(found, "unknown") == set()
    assert {part.name for part in PARTS} - {"attesting"} <= states(found, "ok")


# ---- CODEOWNERS ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "path", "owned"),
    [
        ("* @a", "any/where.txt", ("@a",)),
        ("* @a\n/docs/ @b", "docs/x/y.md", ("@b",)),
        ("* @a\ndocs/ @b", "src/docs/y.md", ("@b",)),
        ("* @a\n/docs/ @b", "src/docs/y.md", ("@a",)),
        ("docs/* @a", "docs/x.md", ("@a",)),
        ("docs/* @a", "docs/x/y.md", ()),
        ("*.yaml @a", "k8s/base/x.yaml", ("@a",)),
        ("**/logs @a", "a/b/logs/c.txt", ("@a",)),
        ("/k8s/** @a # why", "k8s/a/b", ("@a",)),
        ("/k8s/ @a @b\n/k8s/base/", "k8s/base/x", ()),
        ("dvc.yaml @a", "sub/dvc.yaml", ("@a",)),
        ("/dvc.yaml @a", "sub/dvc.yaml", ()),
        ("# * @a", "x", ()),
        ("a\\ b @a", "a b", ("@a",)),
        ("* @OWNER/ml-platform", "x", ()),
        ("/k8s/overlays/*/release.yaml @a", "k8s/overlays/production/release.yaml", ("@a",)),
    ],
)
def test_the_last_line_that_matches_names_the_owners(text: str, path: str, owned: tuple[str, ...]) -> None:
    assert owners(parse(text), path) == owned


@pytest.mark.parametrize(
    ("text", "open_paths"),
    [
        (OWNED, ()),
        (OWNED + "/.github/workflows/ \n", (".github/**",)),
        (OWNED.replace("/dvc.yaml", "/dvc.yml"), ("dvc.yaml",)),
        (
            "/k8s/overlays/production/release.yaml @a\n* @a\n/k8s/overlays/production/*\n",
            ("k8s/overlays/production/**",),
        ),
        ("* @a", ()),
        ("", tuple(WATCHED)),
    ],
)
def test_what_decides_and_deploys_has_to_have_owners(text: str, open_paths: tuple[str, ...]) -> None:
    assert uncovered(parse(text)) == open_paths


def test_code_owners_are_off_without_rules_and_broken_beside_them(github: GitHub, root: Path) -> None:
    (root / ".github/CODEOWNERS").write_text("/.github/ @octo/ml\n")
    assert findings(github, root)["CODEOWNERS"]["state"] == "off"
    protect(github)
    found = findings(github, root)["CODEOWNERS"]
    others = ", ".join(each for each in WATCHED if each != ".github/**")
    assert (found["state"], found["said"]) == ("broken", f"nobody owns {others}")
    carry_out(github, root, found["mend"])
    assert findings(github, root)["CODEOWNERS"]["state"] == "ok"
    here(github)["codeowners_errors"] = [{"line": 3, "kind": "Unknown owner"}]
    assert "line 3: Unknown owner" in findings(github, root)["CODEOWNERS"]["said"]
    (root / ".github/CODEOWNERS").unlink()
    assert findings(github, root)["CODEOWNERS"]["said"].startswith("there is none")


def test_the_templates_own_file_covers_all_of_it_once_its_owner_is_somebody() -> None:
    text = (TEMPLATE / ".github/CODEOWNERS").read_text(encoding="utf-8")
    assert uncovered(parse(text.replace("@OWNER/", "@octo/"))) == ()
    assert "@OWNER/ml-platform" in placeholders(parse("* @OWNER/ml-platform"))


@pytest.mark.parametrize("line", [line for line in OWNED.splitlines() if line.startswith("/")])
def test_twin_a_line_that_is_taken_out_of_the_templates_file_is_missed(line: str) -> None:
    (missed,) = uncovered(parse(OWNED.replace(line, "")))
    assert line.startswith(f"/{missed.removesuffix('**')}")


# ---- What cannot be seen ---------------------------------------------------------------------------------------------


def test_what_a_workflows_token_may_not_see_is_unknown_and_no_failure(github: GitHub, root: Path) -> None:
    ruleset = protect(github)
    found = findings(github, root, "ghs_job")
    assert states(found, "broken") == set()
    assert {"token", "training", "bot", "bypass", "merging"} <= states(found, "unknown")
    assert "variables (Resource not accessible by integration)" in found["token"]["said"]
    without(CHECKS)(ruleset)  # rules are to be seen by everybody
    assert "required check" in states(findings(github, root, "ghs_job"), "broken")
    here(github)["protection"] = {"enforce_admins": {"enabled": True}}  # may demand it, and is hidden
    assert "required check" in states(findings(github, root, "ghs_job"), "unknown")
    here(github)["rulesets"].clear()
    assert "rules" in states(findings(github, root, "ghs_job"), "unknown")


def test_a_classic_token_shows_its_scopes(github: GitHub, root: Path) -> None:
    assert "a classic personal token with the scopes repo" in findings(github, root, "ghp_1")["token"]["said"]


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://github.com/octo/model.git", "octo/model"),
        ("git@github.com:octo/model.git", "octo/model"),
        ("ssh://git@ghe.example.org:22/octo/model", "octo/model"),
        ("https://user@ghe.example.org/octo/model/", "octo/model"),
        ("https://git.example.org/group/part/model", None),
        ("/srv/origin.git", None),
        ("../octo/model", None),
        (None, None),
    ],
)
def test_the_repository_is_the_origins(tmp_path: Path, url: str | None, name: str | None) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    if url:
        subprocess.run(["git", "-C", str(tmp_path), "remote", "add", "origin", url], check=True)
    if name:
        assert repository_of(tmp_path) == name
    else:
        with pytest.raises(ConfigurationError, match="GITHUB_REPOSITORY"):
            repository_of(tmp_path)


# ---- As a user -------------------------------------------------------------------------------------------------------


def test_from_the_command_line_broken_is_exit_code_2_and_the_findings_are_on_stdout(github: GitHub, root: Path) -> None:
    ran = servers.run(root, "doctor", **environment(github))
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("octo/model, default branch main\n")
    here(github)["secrets"].append("AWS_ACCESS_KEY_ID")
    ran = servers.run(root, "doctor", "--json", **environment(github))
    assert ran.returncode == 2
    assert ran.stderr == "mergeline: doctor: broken: cloud keys; see above for what mends it\n"
    assert json.loads(ran.stdout)["findings"][-1]["name"] == "cloud keys"
    ran = servers.run(root, "doctor", **environment(github, "gone"))
    assert (ran.returncode, "401" in ran.stderr, len(ran.stderr.splitlines())) == (2, True, 1)
    ran = servers.run(root, "doctor", **{**environment(github), "GITHUB_TOKEN": "", "GH_TOKEN": ""})
    assert (ran.returncode, "GITHUB_TOKEN: not set" in ran.stderr) == (2, True)
