"""Alerts: told once and closed once, routed as written by the real Alertmanager, drawn from metrics that are there."""

from __future__ import annotations

import datetime as dt
import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from kube_manifests import K8S, copy_to, one, render, rendered, switch_on
from servers import release, serving
from test_kubernetes import objections
from tools import tool

from mergeline.errors import DataError
from mergeline.heartbeat import exposition
from mergeline.monitor.alerts import (
    Alert,
    Message,
    Severity,
    after,
    alerts_of,
    as_record,
    kept_of,
    messages,
    parse_standing,
    payload,
)
from mergeline.monitor.decide import (
    Canary,
    Errors,
    Evidence,
    Heartbeat,
    Labels,
    Model,
    Performance,
    Request,
    Retraining,
    Traffic,
    decide,
)
from mergeline.params.decide import DecideParams

if TYPE_CHECKING:
    from mergeline.stages.train import Trained

NOW = dt.datetime(2013, 9, 30, tzinfo=dt.UTC)
RAIN = Alert("rain", Severity.WARNING, "It rains", "since noon")
STORM = replace(RAIN, severity=Severity.CRITICAL)
SNOW = Alert("snow", Severity.INFO, "It snows", "a little")


# ---- Messages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("standing", "now", "told"),
    [
        ([], [RAIN], [Message(RAIN, resolved=False)]),
        ([RAIN], [RAIN], []),
        ([RAIN], [replace(RAIN, text="since one o'clock")], []),
        ([RAIN], [STORM], [Message(STORM, resolved=False)]),
        ([STORM], [RAIN], []),
        ([RAIN], [], [Message(RAIN, resolved=True)]),
        ([RAIN], [SNOW], [Message(SNOW, resolved=False), Message(RAIN, resolved=True)]),
        ([], [], []),
    ],
)
def test_a_matter_is_told_when_it_begins_gets_worse_and_is_over(
    standing: list[Alert], now: list[Alert], told: list[Message]
) -> None:
    assert list(messages({each.key: each for each in standing}, now)) == told


def test_what_was_told_stands_and_what_was_not_is_told_again() -> None:
    standing: dict[str, Alert] = {}
    first, second = messages(standing, [RAIN, SNOW])
    standing = after(standing, first)
    assert messages(standing, [RAIN, SNOW]) == (second,)
    standing = after(standing, second)
    assert messages(standing, [RAIN, SNOW]) == ()
    (gone,) = messages(standing, [SNOW])
    assert after(standing, gone) == {"snow": SNOW}
    assert parse_standing(json.loads(json.dumps(as_record(standing))), "x") == standing


@pytest.mark.parametrize("planted", [{}, {"schema_version": 2}, {"schema_version": 1, "standing": {"a": {}}}, []])
def test_a_record_of_alerts_that_is_none_is_refused(planted: Any) -> None:
    with pytest.raises(DataError, match=r"^alerts/standing\.json: "):
        parse_standing(planted, "alerts/standing.json")


def test_a_message_calls_nobody_and_links_to_nothing_but_the_run() -> None:
    evil = replace(RAIN, title="<!channel> *x*", text="<https://evil.example|here> & more\nnext")
    text = payload(Message(evil, resolved=False), "https://github.com/o/r/actions/runs/1")["text"]
    assert re.findall(r"<[^>]*>", text) == ["<https://github.com/o/r/actions/runs/1|The run>"]
    assert text.count("*") == 2
    assert payload(Message(RAIN, resolved=True)) == {"text": "*[resolved] It rains*"}


def test_each_decision_and_each_alert_of_a_rule_has_a_key_of_its_own() -> None:
    model = Model("a" * 64, NOW - dt.timedelta(days=1), NOW, True)
    silent = Heartbeat(NOW - dt.timedelta(days=9))
    failing = Evidence(NOW, traffic=Traffic(1000, 500), errors=Errors(1000, 500), model=model, heartbeat=silent)
    found = {each.key: each.severity for each in alerts_of(decide(failing, DecideParams()))}
    assert found == {
        "decision: roll back": Severity.CRITICAL,
        "rule: predictions fail": Severity.WARNING,
        "rule: runs were missed": Severity.WARNING,
    }
    asked = decide(Evidence(NOW, request=Request("now")), DecideParams())
    assert [each.key for each in alerts_of(asked)] == ["decision: retrain"]
    assert alerts_of(decide(Evidence(NOW), DecideParams())) == ()


@pytest.mark.parametrize(
    ("change", "over"),
    [
        ({"retraining": Retraining(False, None, NOW - dt.timedelta(days=1))}, False),  # the cool-down
        ({"canary": Canary(True)}, False),
        ({"errors": Errors(1000, 500), "model": Model("a" * 64, NOW, NOW, True)}, False),  # another one decides
        ({"performance": Performance("holds", None, True, 0.99)}, True),
    ],
)
def test_a_matter_that_has_to_wait_is_not_told_to_be_over(change: dict[str, Any], *, over: bool) -> None:
    bad = Evidence(NOW, performance=Performance("degraded", None, True, 0.99), labels=Labels(5000, False, NOW))
    decided = decide(bad, DecideParams())
    standing = {each.key: each for each in alerts_of(decided)}
    assert (list(standing), kept_of(decided)) == (["decision: retrain"], frozenset())
    now = decide(replace(bad, **change), DecideParams())
    told = messages(standing, alerts_of(now), kept_of(now))
    assert ("decision: retrain" in [each.alert.key for each in told if each.resolved]) is over
    assert "decision: retrain" not in [each.alert.key for each in messages({}, alerts_of(now), kept_of(now))]


# ---- Alertmanager ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def notified(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The AlertmanagerConfig of production with notifications switched on as its first lines say."""
    overlay = copy_to(tmp_path_factory.mktemp("notified")) / "overlays/production"
    switch_on(overlay, ["monitoring"])
    file = overlay / "kustomization.yaml"
    line = "  - ../../components/monitoring\n"
    file.write_text(file.read_text().replace(line, line + line.replace("monitoring\n", "monitoring/notifications\n")))
    found: dict[str, Any] = one(render(overlay), "AlertmanagerConfig")
    return found


def snake(value: Any) -> Any:
    """Keys as Alertmanager writes them."""
    if isinstance(value, list):
        return [snake(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {re.sub(r"([A-Z]+)", lambda found: f"_{found[1].lower()}", key): snake(each) for key, each in value.items()}


def matcher(raw: dict[str, str]) -> str:
    return f'{raw["name"]}{raw["match_type"]}"{raw["value"]}"'


def configuration(custom: dict[str, Any]) -> dict[str, Any]:
    """What Prometheus Operator makes of it, for Alertmanager: matchers as text, the Secret's value filled in."""
    made: dict[str, Any] = snake(custom["spec"])
    for route in [made["route"], *made["route"]["routes"]]:
        if "matchers" in route:
            route["matchers"] = [matcher(each) for each in route["matchers"]]
    for rule in made["inhibit_rules"]:
        for side in ("source", "target"):
            rule[f"{side}_matchers"] = [matcher(each) for each in rule.pop(f"{side}_match")]
    for receiver in made["receivers"]:
        for slack in receiver["slack_configs"]:
            slack["api_url"] = f"https://chat.example/{slack['api_url']['key']}"
    return made


def amtool(folder: Path, made: dict[str, Any], *arguments: str) -> subprocess.CompletedProcess[str]:
    [program] = tool("amtool")
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(made))
    words = [each.replace("FILE", str(folder / "alertmanager.yml")) for each in arguments]
    return subprocess.run([str(program), *words], capture_output=True, text=True, check=False)


def test_alertmanager_itself_takes_the_configuration(notified: dict[str, Any], tmp_path: Path) -> None:
    done = amtool(tmp_path, configuration(notified), "check-config", "FILE")
    assert done.returncode == 0, done.stderr
    assert list(objections(notified)) == []


@pytest.mark.parametrize(
    ("plant", "refused_by"),
    [("receiver", "amtool"), ("matchType", "schema"), ("sendResolve", "schema")],
)
def test_the_twin_a_configuration_that_is_none_is_refused(
    notified: dict[str, Any], tmp_path: Path, plant: str, refused_by: str
) -> None:
    broken = json.loads(json.dumps(notified))
    if plant == "receiver":
        broken["spec"]["route"]["receiver"] = "nobody"
        assert amtool(tmp_path, configuration(broken), "check-config", "FILE").returncode != 0
    elif plant == "matchType":
        broken["spec"]["route"]["routes"][0]["matchers"][0]["matchType"] = "=="
    else:
        broken["spec"]["receivers"][0]["slackConfigs"][0]["sendResolve"] = True
    assert bool(list(objections(broken))) is (refused_by == "schema")


def test_every_alarm_is_routed_to_the_chat(notified: dict[str, Any], tmp_path: Path) -> None:
    rules = one(rendered("production", ["monitoring"]), "PrometheusRule")["spec"]["groups"]
    severities = {rule["labels"]["severity"] for group in rules for rule in group["rules"]}
    assert severities == {"critical", "warning", "info"}
    for severity in severities:
        labels = ["alertname=MergelineErrorsFast", "namespace=mergeline-production", f"severity={severity}"]
        done = amtool(
            tmp_path, configuration(notified), "config", "routes", "test", "--config.file=FILE",
            "--verify.receivers=chat", *labels,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr


def test_what_inhibits_is_an_alarm_that_is_there_and_every_message_says_when_it_is_over(
    notified: dict[str, Any],
) -> None:
    rules = one(rendered("production", ["monitoring"]), "PrometheusRule")["spec"]["groups"]
    known = {rule["alert"] for group in rules for rule in group["rules"]}
    for rule in notified["spec"]["inhibitRules"]:
        assert set(rule["sourceMatch"][0]["value"].split("|")) <= known
        assert all(re.fullmatch(rule["targetMatch"][1]["value"], each) for each in known)
        assert rule["equal"] == ["namespace"]
    for receiver in notified["spec"]["receivers"]:
        for slack in receiver["slackConfigs"]:
            assert slack["sendResolved"] is True
            assert slack["apiURL"] == {"name": "mergeline-alerts", "key": "webhook"}  # a Secret's, in no file of ours


# ---- Dashboards ------------------------------------------------------------------------------------------------------


def dashboards() -> dict[str, dict[str, Any]]:
    """Each dashboard that Grafana's sidecar loads, by its file."""
    loaded = one(rendered("production", ["monitoring"]), "ConfigMap", "mergeline-dashboard")["data"]
    return {name: json.loads(text) for name, text in loaded.items()}


def queries(dashboard: dict[str, Any]) -> list[str]:
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return [*asked, *(each["query"] for each in dashboard["templating"]["list"])]


@pytest.fixture(scope="module")
def shown(candidate: Trained, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a real server's `/metrics` says after it has answered, and what a heartbeat says."""
    made = release(tmp_path_factory.mktemp("shown"), candidate)
    log = ("--log", str(made.root / "log"))
    with serving(made.root, *made.options, *log) as server:
        row = dict(made.signature.samples[0].row)
        assert server.ask("/predict", {"rows": [{"features": row}] * 3}).status == 200
        return str(server.ask("/metrics").body.decode()) + exposition(None)


def unknown(expression: str, text: str) -> set[str]:
    """The metrics of a query of which the text has no line that says what they are."""
    declared = set(re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE))
    named = set(re.findall(r"\bmergeline_\w+", expression))
    return {
        name for name in named if name not in declared and re.sub(r"_(bucket|count|sum)$", "", name) not in declared
    }


def test_every_query_of_every_dashboard_names_what_a_running_server_shows(shown: str) -> None:
    found = {name: set().union(*(unknown(each, shown) for each in queries(it))) for name, it in dashboards().items()}
    assert found == {"mergeline.json": set(), "mergeline-model.json": set()}
    assert unknown("sum(mergeline_drift)", shown) == {"mergeline_drift"}


def test_the_dashboards_are_told_apart_and_no_panel_lies_on_another() -> None:
    found = dashboards()
    assert len({each["uid"] for each in found.values()}) == len(found) == 2
    for dashboard in found.values():
        cells = [
            (x, y)
            for place in (panel["gridPos"] for panel in dashboard["panels"])
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        ]
        assert len(cells) == len(set(cells))
        assert max(x for x, _ in cells) < 24
        assert all("$namespace" in target["expr"] for panel in dashboard["panels"] for target in panel["targets"])


def test_prometheus_can_parse_every_query(tmp_path: Path) -> None:
    [program] = tool("promtool")

    def checked(expressions: list[str]) -> int:
        rules = [{"record": f"r:{number}", "expr": each} for number, each in enumerate(expressions)]
        (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": rules}]}))
        command = [str(program), "check", "rules", str(tmp_path / "rules.yaml")]
        return subprocess.run(command, capture_output=True, check=False).returncode

    asked = [
        target["expr"] for each in dashboards().values() for panel in each["panels"] for target in panel["targets"]
    ]
    assert len(asked) > 15
    assert checked(asked) == 0
    assert checked([*asked, "sum(by (x) mergeline_ready"]) != 0


def test_the_documentation_has_a_line_for_every_alarm_and_every_rule() -> None:
    page = (K8S.parent / "docs/operating.md").read_text(encoding="utf-8")
    groups = one(rendered("production", ["monitoring"]), "PrometheusRule")["spec"]["groups"]
    for name in [rule["alert"] for group in groups for rule in group["rules"]]:
        assert f"`{name}`" in page, name
    decide_page = (K8S.parent / "docs/decide.md").read_text(encoding="utf-8")
    for rule in DecideParams().rules:
        assert f"| {rule.name} |" in decide_page, rule.name
