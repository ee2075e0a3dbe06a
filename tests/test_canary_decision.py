"""What a canary concludes from values: the conditions of the AnalysisTemplate, and the limits that it sets."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from mergeline.canary.conditions import ConditionError, parse_condition
from mergeline.canary.decision import Decision, Measurement, Phase, Verdict, assess, decide, judge
from mergeline.canary.template import TEMPLATE, Metric, Template, read_template
from mergeline.errors import ConfigurationError

PATH = Path(__file__).parents[1] / TEMPLATE
NAMES = ("success-rate", "refusals", "latency", "score-drift")
GOOD = {"success-rate": 0.999, "refusals": 0.0, "latency": 1.0, "score-drift": 0.0}
BAD = {"success-rate": 0.9, "refusals": 0.2, "latency": 2.5, "score-drift": 0.3}
NAN = math.nan


@functools.cache
def read_once() -> Template:
    return read_template(PATH)


@pytest.fixture(scope="module")
def template() -> Template:
    return read_once()


def metric_of(template: Template, name: str) -> Metric:
    return next(each for each in template.metrics if each.name == name)


# ---- Conditions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "phase"),
    [((), Phase.INCONCLUSIVE), ((NAN,), Phase.INCONCLUSIVE), ((0.94,), Phase.FAILED), ((0.96,), Phase.SUCCESSFUL)],
)
def test_r16_no_data_and_nan_are_inconclusive_and_values_pass_or_fail_by_the_template(
    values: tuple[float, ...], phase: Phase, template: Template
) -> None:
    assert judge(metric_of(template, "success-rate"), values) is phase


@pytest.mark.parametrize(
    "planted",
    [
        {"successCondition": "!any(result, {# < 0.95})"},  # holds for no data and for NaN
        {"successCondition": "len(result) == 0 || all(result, {# >= 0.95})"},
        {"failureCondition": "!all(result, {# >= 0.95})"},  # NaN fails
        {"successCondition": "len(result) > 0 && all(result, {# >= 0.97})"},
    ],
)
def test_r16_the_twin_a_template_that_says_otherwise_is_noticed(planted: dict[str, str], tmp_path: Path) -> None:
    metric = metric_of(changed(tmp_path, lambda metrics: metrics[0].update(planted)), "success-rate")
    expected = [Phase.INCONCLUSIVE, Phase.INCONCLUSIVE, Phase.FAILED, Phase.SUCCESSFUL]
    assert [judge(metric, values) for values in ((), (NAN,), (0.94,), (0.96,))] != expected


@pytest.mark.parametrize("name", NAMES)
def test_r16_no_metric_passes_or_fails_without_data(name: str, template: Template) -> None:
    metric = metric_of(template, name)
    found = [judge(metric, values) for values in ((), (NAN,), (GOOD[name],), (BAD[name],), (GOOD[name], NAN))]
    assert found == [*[Phase.INCONCLUSIVE] * 2, Phase.SUCCESSFUL, Phase.FAILED, Phase.INCONCLUSIVE]


@given(value=st.floats(allow_nan=False))
@pytest.mark.parametrize("name", NAMES)
def test_every_number_passes_or_fails(name: str, value: float) -> None:
    assert judge(metric_of(read_once(), name), (value,)) is not Phase.INCONCLUSIVE


@pytest.mark.parametrize(
    ("text", "values", "holds"),
    [
        ("len(result) > 0 && result[0] < 2", (1.0,), True),
        ("len(result) > 0 && result[0] < 2", (), False),
        ("len(result) == 0 || isNaN(result[0])", (), True),
        ("isNaN(result[0]) || isInf(result[0])", (math.inf,), True),
        ("!isNaN(result[0]) && !(result[0] >= 1)", (0.5,), True),
        ("result[1] > -1.5", (0.0, -1.0), True),
        ("none(result, # > 1)", (1.0, 2.0), False),
        ("any(result, {# != 1 && !isNaN(#)})", (1.0, NAN), False),
        ("all(result, {# > 5})", (), True),
        ("result[0] == 1 || result[0] == 2 && len(result) > 1", (1.0,), True),
    ],
)
def test_conditions_are_read_as_the_controller_reads_them(text: str, values: tuple[float, ...], holds: bool) -> None:
    assert parse_condition(text).holds(values) is holds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("result >= 0.95", "expected [, found '>='"),
        ("len(result)", "expected a comparison, found a number"),
        ("# > 1", "# stands for a value within all, any, none alone"),
        ("default(result, 0) > 1", "default is not read here"),
        ("result[0] && true", "found a number"),
        ("result[0] > 1 > 0", "expected end"),
        ("(result[0] > 1) > 0", "found a question"),
        ("all(result, #)", "found a number"),
        ("all(results, # > 1)", "all takes the result"),
        ("result[0] ~ 1", "cannot read '~'"),
        ("", "expected name"),
    ],
)
def test_what_is_no_condition_or_more_than_is_read_here_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConditionError) as caught:
        parse_condition(text)
    assert said in str(caught.value)


def test_a_condition_that_asks_for_a_value_that_is_not_there_is_an_error_and_no_pass(template: Template) -> None:
    metric = replace(template.metrics[0], success=parse_condition("result[0] >= 0.95"))
    with pytest.raises(ConfigurationError, match=r"ask for len\(result\) > 0 first"):
        judge(metric, ())


# ---- Decisions -------------------------------------------------------------------------------------------------------

S, F, N = Phase.SUCCESSFUL, Phase.FAILED, Phase.INCONCLUSIVE


@pytest.mark.parametrize(
    ("phases", "found"),
    [
        ([], Phase.RUNNING),
        ([S, S, S, S], Phase.RUNNING),
        ([S, S, S, S, S], S),
        ([N, N, S, S, S], S),
        ([N, N, S, N], N),
        ([S, F, S, S, S], S),
        ([S, F, F], F),
        ([N, N, F, F], F),
        ([N, N, N, F, F], F),
    ],
)
def test_limits_are_counted_as_the_controller_counts_them(
    phases: list[Phase], found: Phase, template: Template
) -> None:
    assert assess(metric_of(template, "latency"), phases) is found


def measured(template: Template, others: dict[str, list[Phase]] | None = None) -> list[Measurement]:
    """Five good measurements of every metric but the named ones."""
    phases = {metric.name: [S] * 5 for metric in template.metrics} | (others or {})
    return [Measurement(name, (), phase) for name, each in phases.items() for phase in each]


@pytest.mark.parametrize(
    ("others", "verdict"),
    [
        ({}, Verdict(Decision.PROMOTE)),
        ({"latency": [S] * 4}, Verdict(Decision.CONTINUE)),
        ({"latency": []}, Verdict(Decision.CONTINUE)),
        ({"score-drift": [N] * 3}, Verdict(Decision.PAUSE, "score-drift")),
        ({"success-rate": [F]}, Verdict(Decision.ROLL_BACK, "success-rate")),
        ({"latency": [F, F], "success-rate": []}, Verdict(Decision.ROLL_BACK, "latency")),
        ({"refusals": [F, F], "score-drift": [N] * 3}, Verdict(Decision.ROLL_BACK, "refusals")),
    ],
)
def test_a_step_is_left_when_all_metrics_passed_and_taken_back_when_one_failed(
    others: dict[str, list[Phase]], verdict: Verdict, template: Template
) -> None:
    assert decide(template, measured(template, others)) == verdict


@given(phases=st.lists(st.sampled_from([N, F]), max_size=12), name=st.sampled_from(NAMES))
def test_r16_a_metric_without_one_measurement_that_passed_never_lets_a_step_pass(
    phases: list[Phase], name: str
) -> None:
    template = read_once()
    assert decide(template, measured(template, {name: phases})).decision is not Decision.PROMOTE


# ---- The manifest ----------------------------------------------------------------------------------------------------


def changed(place: Path, change: Callable[[list[dict[str, Any]]], Any]) -> Template:
    """The template with other metrics."""
    yaml = YAML(typ="safe")
    document = yaml.load(PATH.read_text(encoding="utf-8"))
    change(document["spec"]["metrics"])
    with (place / "template.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(document, file)
    return read_template(place / "template.yaml")


def query(metric: dict[str, Any], text: str) -> None:
    metric["provider"]["prometheus"]["query"] = text


def test_the_manifest_names_the_four_metrics_and_asks_for_both_hashes(template: Template) -> None:
    assert tuple(metric.name for metric in template.metrics) == NAMES
    document = YAML(typ="safe").load(PATH.read_text(encoding="utf-8"))
    required = [each["name"] for each in document["spec"]["args"] if "value" not in each]
    assert required == ["stable-hash", "canary-hash"]
    assert all("candidate" in metric.text for metric in template.metrics)
    assert all("stable" in metric.text for metric in template.metrics if metric.name != "success-rate")
    assert (template.interval_s, template.longest_window_s) == (60.0, 300.0)


def test_no_condition_reads_a_value_by_its_position() -> None:
    """The controller calls `result[` an error where there is no data, and an error is not inconclusive."""
    metrics = YAML(typ="safe").load(PATH.read_text(encoding="utf-8"))["spec"]["metrics"]
    conditions = [metric[key] for metric in metrics for key in ("successCondition", "failureCondition")]
    assert len(conditions) == 8
    assert not [text for text in conditions if "result[" in text]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda metrics: metrics.clear(), "spec.metrics: expected a list of metrics, found none"),
        (lambda metrics: metrics[0].pop("failureCondition"), "(success-rate): expected"),
        (lambda metrics: metrics[0].update(dryRun=True), "found dryRun, which is not read here"),
        (lambda metrics: metrics[1].update(inconclusiveLimit=4), "it would pass without a measurement that did"),
        (lambda metrics: metrics[1].update(count="many"), "count: expected a whole number from 1 on, found 'many'"),
        (lambda metrics: metrics[1].update(interval="often"), "interval: expected a duration like 5m or 30s"),
        (lambda metrics: metrics[2].update(provider={"web": {}}), "expected provider.prometheus.query"),
        (lambda metrics: metrics[2].update(successCondition="result"), "(latency): successCondition: expected ["),
        (lambda metrics: query(metrics[3], "deriv(x[5m])"), "(score-drift): query: deriv() is not read here"),
        (lambda metrics: query(metrics[3], "x{a='{{args.nothing}}'}"), "args.nothing: no value"),
    ],
)
def test_what_cannot_be_read_is_one_error_that_names_the_metric(
    change: Callable[[list[dict[str, Any]]], Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        changed(tmp_path, change)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["a: [", "kind: Deployment\n", "", "- 1\n"])
def test_a_file_without_the_template_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "other.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError):
        read_template(path)
    with pytest.raises(ConfigurationError):
        read_template(tmp_path / "nowhere.yaml")
