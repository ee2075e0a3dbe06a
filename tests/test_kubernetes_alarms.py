"""Every alarm fires on what it is for and is silent on what it is not; promtool runs the rules as Prometheus does."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from kube_manifests import K8S, OVERLAYS, one, rendered
from tools import tool

from mergeline.heartbeat import exposition
from mergeline.serve.drift import Gauge
from mergeline.serve.metrics import LOG, View
from mergeline.serve.tally import Tally

MINUTE = 1
HOUR = 60
DAY = 24 * HOUR
HERE = 'namespace="mergeline-production"'
ONE = f'{HERE},pod="one"'
TWO = f'{HERE},pod="two"'


@dataclass(frozen=True, slots=True)
class Case:
    """Series by name (values a minute, in promtool's notation), and whether the alarm fires at a minute."""

    alarm: str
    what: str
    series: dict[str, str]
    at: int
    fires: int = 0  # how many alarms


def requests(status: str, rate: str, labels: str = ONE) -> dict[str, str]:
    return {f'mergeline_requests_total{{{labels},route="predict",status="{status}"}}': rate}


def ready(*values: str) -> dict[str, str]:
    return {f'mergeline_ready{{{HERE},pod="{pod}"}}': value for pod, value in zip(("one", "two"), values, strict=False)}


def models(*hashes: str, variant: str = "champion") -> dict[str, str]:
    return {
        f'mergeline_model_info{{{HERE},pod="{pod}",sha256="{sha256}",variant="{variant}"}}': f"1x{DAY}"
        for pod, sha256 in enumerate(hashes)
    }


def answers(slow: str, quick: str) -> dict[str, str]:
    """A histogram of two buckets: what a tenth of a second takes, and all."""
    name = f'mergeline_request_seconds_bucket{{{ONE},route="predict",le='
    return {f'{name}"0.1"}}': quick, f'{name}"0.5"}}': slow, f'{name}"+Inf"}}': slow}


def drift(psi: str, bound: str, feature: str = "distance") -> dict[str, str]:
    return {
        f'mergeline_drift_psi{{{ONE},feature="{feature}"}}': psi,
        f'mergeline_drift_bound{{{ONE},feature="{feature}"}}': bound,
    }


def log(predictions: str, written: str) -> dict[str, str]:
    return {
        f'mergeline_predictions_total{{{ONE},variant="champion"}}': predictions,
        f"mergeline_log_written_rows_total{{{ONE}}}": written,
    }


def dropped(values: str) -> dict[str, str]:
    return {f"mergeline_log_dropped_rows_total{{{ONE}}}": values}


def checked(at_s: str, allowed_s: int = 3600) -> dict[str, str]:
    """When the scheduled check last ended well, in seconds since the start."""
    return {
        f"mergeline_check_last_success_timestamp_seconds{{{HERE}}}": at_s,
        f"mergeline_check_allowed_seconds{{{HERE}}}": f"{allowed_s}x200",
    }


CASES = [
    Case("MergelineErrorsFast", "3 of 100 fail", requests("200", "0+97x180") | requests("500", "0+3x180"), 2 * HOUR, 1),
    Case(
        "MergelineErrorsFast", "the first failures", requests("200", "0+9x180") | requests("500", "0x117 9x62"), 120, 1
    ),
    Case(
        "MergelineErrorsFast", "no series before them", requests("200", "0+9x180") | requests("500", "_x117 9x62"), 120
    ),
    Case("MergelineErrorsFast", "1 of 100 fails", requests("200", "0+99x180") | requests("500", "0+1x180"), 2 * HOUR),
    Case("MergelineErrorsFast", "failures ended", requests("200", "0+97x180") | requests("500", "0+9x90 810x90"), 120),
    Case("MergelineErrorsFast", "clients err", requests("200", "0+50x180") | requests("422", "0+50x180"), 2 * HOUR),
    Case("MergelineErrorsSlow", "1 of 100 fails", requests("200", "0+99x720") | requests("503", "0+1x720"), 420, 1),
    Case("MergelineErrorsSlow", "1 of 1,000", requests("200", "0+999x720") | requests("503", "0+1x720"), 420),
    Case("MergelineLatencyHigh", "2 of 100 slow", answers(slow="0+100x60", quick="0+98x60"), 40, 1),
    Case("MergelineLatencyHigh", "1 of 1,000 slow", answers(slow="0+1000x60", quick="0+999x60"), 40),
    Case("MergelineNoTraffic", "never asked", ready("1x200"), 40, 1),
    Case("MergelineNoTraffic", "no longer asked", ready("1x200") | requests("200", "0+1x60 60x140"), 150, 1),
    Case("MergelineNoTraffic", "asked", ready("1x200") | requests("200", "0+1x200"), 150),
    Case("MergelineNoTraffic", "nobody there", ready("0x200"), 150),
    Case("MergelineNoneReady", "both are not", ready("1x10 0x50", "0x60"), 20, 1),
    Case("MergelineNoneReady", "one is", ready("1x60", "0x60"), 20),
    Case("MergelineModelsDiffer", "for three hours", models("a", "b"), 3 * HOUR, 1),
    Case("MergelineModelsDiffer", "for an hour: a canary", models("a", "b"), HOUR),
    Case("MergelineModelsDiffer", "in two roles", models("a") | models("b", variant="shadow"), 3 * HOUR),
    Case("MergelineDrift", "an hour above", drift("0.1x10 0.4x110", "0.02x120"), 100, 1),
    Case("MergelineDrift", "half an hour above", drift("0.1x70 0.4x50", "0.02x120"), 100),
    Case("MergelineDrift", "above chance alone", drift("0.1x120", "0.02x120"), 100),
    Case("MergelineDrift", "of so few rows that it is chance", drift("0.4x120", "0.5x120"), 100),
    Case("MergelineLogDropsRows", "some were dropped", dropped("0x20 7x40"), 25, 1),
    Case("MergelineLogDropsRows", "long ago", dropped("0x5 7x55"), 50),
    Case("MergelineLogNotWritten", "scored, not written", log("0+10x60", "0+10x20 200x40"), 60, 1),
    Case("MergelineLogNotWritten", "written", log("0+10x60", "0+10x60"), 60),
    Case("MergelineLogNotWritten", "nothing to write", log("0x60", "0x60"), 60),
    Case("MergelineCheckOverdue", "not for an hour and more", checked("0x200"), 80, 1),
    Case("MergelineCheckOverdue", "once more in time", checked("0x50 3000x150"), 80),
    Case("MergelineCheckOverdue", "in a time to come", checked("90000x200"), 80, 1),
    Case("MergelineCheckOverdue", "clocks a little apart", checked("60+60x200"), 80),
    Case("MergelineCheckOverdue", "late, and again", checked("0x75 4500x125"), 85),
    Case(
        "MergelineSilent",
        "another environment is there",
        {'mergeline_ready{namespace="mergeline-staging"}': "1x60"},
        20,
        1,
    ),
    Case("MergelineSilent", "there, not ready", ready("0x60"), 20),
]


@pytest.fixture(scope="module")
def rules() -> dict[str, Any]:
    """What Prometheus Operator makes of the PrometheusRule of production."""
    found: dict[str, Any] = one(rendered("production", ["monitoring"]), "PrometheusRule")["spec"]
    return found


def promtool(folder: Path, rules: dict[str, Any], cases: list[Case]) -> subprocess.CompletedProcess[str]:
    """Run the cases; promtool compares labels and annotations in full, so that a case asks for the count of alarms."""
    [program] = tool("promtool")
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
    tests = [
        {
            "name": f"{case.alarm}: {case.what}",
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
            "promql_expr_test": [
                {
                    "expr": f'count(ALERTS{{alertname="{case.alarm}",alertstate="firing",{HERE}}}) or vector(0)',
                    "eval_time": f"{case.at}m",
                    "exp_samples": [{"labels": "{}", "value": case.fires}],
                }
            ],
        }
        for case in cases
    ]
    text = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}
    (folder / "tests.yaml").write_text(yaml.safe_dump(text))
    command = [str(program), "test", "rules", str(folder / "tests.yaml")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_alarm_fires_where_it_should_and_nowhere_else(rules: dict[str, Any], tmp_path: Path) -> None:
    done = promtool(tmp_path, rules, CASES)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout


def test_every_alarm_has_a_case_that_fires_and_one_that_does_not(rules: dict[str, Any]) -> None:
    named = [rule["alert"] for group in rules["groups"] for rule in group["rules"]]
    for fires in (True, False):
        assert {case.alarm for case in CASES if bool(case.fires) is fires} == set(named)


@pytest.mark.parametrize("alarm", sorted({case.alarm for case in CASES}))
def test_an_alarm_that_is_blind_or_always_on_is_noticed(alarm: str, rules: dict[str, Any], tmp_path: Path) -> None:
    """The twin: the cases can tell each alarm from one that never fires and from one that always does."""
    mine = [case for case in CASES if case.alarm == alarm]
    labels = f"{{{HERE}}}"
    for blind in (f"absent(up{labels}) < 1", f"absent(up{labels})"):
        planted = json.loads(json.dumps(rules))
        for group in planted["groups"]:
            for rule in group["rules"]:
                if rule["alert"] == alarm:
                    rule["expr"] = blind
                    rule.pop("for", None)
        assert promtool(tmp_path, planted, mine).returncode != 0


def test_alarms_say_how_bad_and_where(rules: dict[str, Any]) -> None:
    page = (K8S.parent / "docs/kubernetes.md").read_text()
    for group in rules["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in ("critical", "warning", "info")
            assert rule["annotations"]["summary"].startswith("{{ $labels.namespace }}: ")
            assert f"`{rule['alert']}`" in page, "docs/kubernetes.md has a line for each alarm"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_silence_is_noticed_in_the_environment_itself(overlay: str) -> None:
    groups = one(rendered(overlay, ["monitoring"]), "PrometheusRule")["spec"]["groups"]
    [silent] = [rule for group in groups for rule in group["rules"] if rule["alert"] == "MergelineSilent"]
    assert silent["expr"] == f'absent(mergeline_ready{{namespace="mergeline-{overlay}"}})'


# ---- Names -----------------------------------------------------------------------------------------------------------


def exported() -> dict[str, set[str]]:
    """The names of a server's metrics with their labels, as it exports them."""
    tally = Tally(predictions={"champion": 1}, log=dict.fromkeys([*LOG, "queued_rows"], 0))
    tally.answered("predict", 200, 0.01)
    model: Any = SimpleNamespace(sha256="0" * 64, name="champion")
    text = View(tally, [model], {"score": Gauge(0.1, 0.1, 0.2, 3, 5_000)}).text().decode() + exposition(None)
    lines = re.findall(r"^(\w+)(?:\{(.*)\})? ", text, re.MULTILINE)
    return {name: set(re.findall(r'(\w+)="', labels)) for name, labels in lines}


def unknown(expression: str) -> set[str]:
    """What an expression names that no server exports: metrics, and labels in braces."""
    names = exported()
    found = set(re.findall(r"\bmergeline_\w+", expression)) - set(names)
    scraped = {"namespace", "pod", "rollouts_pod_template_hash"}
    for name, labels in re.findall(r"(mergeline_\w+)\{([^}]*)\}", expression):
        found |= set(re.findall(r"(\w+)\s*[=!]", labels)) - names.get(name, set()) - scraped
    return found


def test_rules_and_dashboard_name_metrics_that_servers_export(rules: dict[str, Any]) -> None:
    dashboard = json.loads((K8S / "components/monitoring/dashboard.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    expressions += [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    expressions += [variable["query"] for variable in dashboard["templating"]["list"]]
    assert len(expressions) > 20
    assert set().union(*map(unknown, expressions)) == set()
    assert unknown("sum(mergeline_requests)") == {"mergeline_requests"}
    assert unknown('mergeline_requests_total{code="500"}') == {"code"}


def test_the_dashboard_is_what_grafanas_sidecar_loads() -> None:
    loaded = one(rendered("production", ["monitoring"]), "ConfigMap", "mergeline-dashboard")
    assert loaded["metadata"]["labels"]["grafana_dashboard"] == "1"
    dashboard = json.loads(loaded["data"]["mergeline.json"])
    assert dashboard["uid"] == "mergeline"
    assert {variable["name"] for variable in dashboard["templating"]["list"]} == {"datasource", "namespace"}
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, f"{panel['title']} lies on another panel"
        taken |= cells
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])
