"""What is set up on GitHub: variables, secrets, environments, rules."""

from __future__ import annotations

from github_routes import Call, Listed, Refused, allowed, route
from github_state import Record

PLAN = "Upgrade to GitHub Pro or make this repository public to enable this feature."


# ---- Settings --------------------------------------------------------------------------------------------------------


def _named(values: dict[str, str]) -> list[Record]:
    return [{"name": name, "value": value} for name, value in sorted(values.items())]


def _environment(call: Call) -> Record:
    found: Record | None = call.here["environments"].get(call.parts["environment"])
    if found is None:
        raise Refused(404, "Not Found")
    return found


@route("GET", "/actions/variables", "actions_variables")
def variables(call: Call) -> Listed:
    return Listed(_named(call.here["variables"]), "variables")


@route("POST", "/actions/variables", "actions_variables", "write", 201)
def add_variable(call: Call) -> Record:
    if call.body["name"] in call.here["variables"]:
        raise Refused(409, "Already exists - Variable already exists")
    call.here["variables"][call.body["name"]] = call.body["value"]
    return {}


@route("PATCH", "/actions/variables/{name}", "actions_variables", "write", 204)
def change_variable(call: Call) -> None:
    call.here["variables"][call.parts["name"]] = call.body["value"]


@route("GET", "/actions/organization-variables", "actions_variables")
def organization_variables(call: Call) -> Listed:
    return Listed(_named(call.here["organization_variables"]), "variables")


@route("GET", "/actions/secrets", "secrets")
def secrets(call: Call) -> Listed:
    return Listed([{"name": name} for name in call.here["secrets"]], "secrets")


@route("GET", "/actions/organization-secrets", "secrets")
def organization_secrets(call: Call) -> Listed:
    return Listed([{"name": name} for name in call.here["organization_secrets"]], "secrets")


@route("DELETE", "/actions/secrets/{name}", "secrets", "write", 204)
def remove_secret(call: Call) -> None:
    call.here["secrets"].remove(call.parts["name"])


@route("PUT", "/actions/secrets/{name}", "secrets", "write", 201)
def set_secret(call: Call) -> None:
    call.here["secrets"] = sorted({*call.here["secrets"], call.parts["name"]})


@route("GET", "/environments", "actions")
def environments(call: Call) -> Listed:
    return Listed([_shown(name, each) for name, each in sorted(call.here["environments"].items())], "environments")


@route("GET", "/environments/{environment}", "actions")
def environment(call: Call) -> Record:
    return _shown(call.parts["environment"], _environment(call))


def _shown(name: str, kept: Record) -> Record:
    rules = [{"id": 1, "type": "branch_policy"}] if kept.get("deployment_branch_policy") else []
    rules += [{"id": 2, "type": "required_reviewers", "reviewers": kept["reviewers"]}] if kept.get("reviewers") else []
    policy = kept.get("deployment_branch_policy")
    return {"id": 5, "name": name, "protection_rules": rules, "deployment_branch_policy": policy}


@route("PUT", "/environments/{environment}", "administration", "write")
def set_environment(call: Call) -> Record:
    if not call.hub.may_protect(call.repository):
        raise Refused(422, "Fail to create protected rule, please ensure billing plan include protected branch gate.")
    if "reviewers" in call.body and call.here["private"] and call.hub.plan(call.repository.split("/")[0]) == "team":
        why = "Please ensure the billing plan supports the required reviewers protection rule."
        raise Refused(422, f"Failed to create the environment protection rule. {why}")
    call.here["environments"].setdefault(call.parts["environment"], {"variables": {}, "secrets": [], "branches": []})
    _environment(call).update(call.body)
    made: Record = environment(call)
    return made


@route("GET", "/environments/{environment}/deployment-branch-policies", "actions")
def branch_policies(call: Call) -> Listed:
    return Listed([{"name": name} for name in _environment(call).get("branches", [])], "branch_policies")


@route("POST", "/environments/{environment}/deployment-branch-policies", "administration", "write")
def add_branch_policy(call: Call) -> Record:
    _environment(call).setdefault("branches", []).append(call.body["name"])
    return {"name": call.body["name"]}


@route("GET", "/environments/{environment}/variables", "environments")
def environment_variables(call: Call) -> Listed:
    return Listed(_named(_environment(call).get("variables", {})), "variables")


@route("PUT", "/environments/{environment}/secrets/{name}", "environments", "write", 201)
def set_environment_secret(call: Call) -> None:
    kept = _environment(call)
    kept["secrets"] = sorted({*kept.get("secrets", []), call.parts["name"]})


@route("GET", "/environments/{environment}/secrets", "environments")
def environment_secrets(call: Call) -> Listed:
    return Listed([{"name": name} for name in _environment(call).get("secrets", [])], "secrets")


@route("GET", "/actions/permissions/workflow", "administration")
def workflow_permissions(call: Call) -> Record:
    return dict(call.here["workflow_permissions"])


@route("PUT", "/actions/permissions/workflow", "administration", "write", 204)
def set_workflow_permissions(call: Call) -> None:
    call.here["workflow_permissions"].update(call.body)


# ---- Rules -----------------------------------------------------------------------------------------------------------


def _with_plan(call: Call) -> None:
    if not call.hub.may_protect(call.repository):
        raise Refused(403, PLAN)


@route("GET", "/rulesets", "metadata")
def rulesets(call: Call) -> Listed:
    _with_plan(call)
    kept = ("id", "name", "target", "enforcement", "source", "source_type")
    return Listed([{key: each[key] for key in kept if key in each} for each in call.here["rulesets"]])


@route("POST", "/rulesets", "administration", "write", 201)
def add_ruleset(call: Call) -> Record:
    _with_plan(call)
    return call.hub.ruleset(call.repository, call.body)


def _ruleset(call: Call) -> Record:
    _with_plan(call)
    found: Record | None = next((each for each in call.here["rulesets"] if str(each["id"]) == call.parts["id"]), None)
    if found is None:
        raise Refused(404, "Not Found")
    return found


@route("GET", "/rulesets/{id}", "metadata")
def ruleset(call: Call) -> Record:
    hidden = () if allowed(call.token, ("administration",), "write") else ("bypass_actors",)
    return {key: value for key, value in _ruleset(call).items() if key not in hidden}


@route("PUT", "/rulesets/{id}", "administration", "write")
def set_ruleset(call: Call) -> Record:
    _ruleset(call).update(call.body)
    return _ruleset(call)


@route("GET", "/rules/branches/{branch*}", "metadata")
def rules(call: Call) -> Listed:
    _with_plan(call)
    return Listed(list(call.hub.rules(call.repository, call.parts["branch"])))


@route("GET", "/branches/{branch*}/protection", "administration")
def protection(call: Call) -> Record:
    _with_plan(call)
    if call.here["protection"] is None:
        raise Refused(404, "Branch not protected")
    return dict(call.here["protection"])


@route("GET", "/branches/{branch*}", "contents")
def branch(call: Call) -> Record:
    classic, bound = call.here["protection"] is not None, any(call.hub.rules(call.repository, call.parts["branch"]))
    return {"name": call.parts["branch"], "protected": classic or bound, "protection": {"enabled": classic}}
