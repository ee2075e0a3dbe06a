"""The queries of a canary, computed here and by Prometheus itself from the same series."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tools import tool

from mergeline.canary.evaluation import evaluate, increase
from mergeline.canary.promql import QueryError, parse_query, seconds_of, windows_of
from mergeline.canary.series import History, Sample
from mergeline.canary.template import CANDIDATE, HASH_LABEL, STABLE, TEMPLATE, read_template
from mergeline.serve.tally import BUCKETS_S

ROOT = Path(__file__).parents[1]
EVERY_S = 15
READINGS = 25
NOW_S = 307  # no reading lies on a window's end, where versions of Prometheus differ
TOLERANCE = 1e-9

Series = dict[str, dict[str, list[float | None]]]  # by target, then by the series as text; None: not there


# ---- Series ----------------------------------------------------------------------------------------------------------


def counter(generator: np.random.Generator, rate: float, restarts: bool = False) -> list[float | None]:
    """A counter that grows by chance, and begins again in the middle where its process does."""
    steps = generator.poisson(rate, READINGS).astype(float)
    whole = np.cumsum(steps)
    if restarts:
        whole[12:] -= whole[12]
    return [float(value) for value in whole]


def server(generator: np.random.Generator, target: str, rate: float, errors: float, late: int = 0) -> dict[str, Any]:
    """The series of a server that answers `rate` requests between two readings; its errors begin with `late`."""

    def named(name: str, **labels: str) -> str:
        inside = ",".join(f'{key}="{value}"' for key, value in {**labels, HASH_LABEL: target}.items())
        return f"{name}{{{inside}}}"

    answered = counter(generator, rate * (1 - errors), restarts=late > 0)
    failed = [None if position < late else value for position, value in enumerate(counter(generator, rate * errors))]
    refused = counter(generator, rate * 0.1)
    shares = generator.dirichlet(np.ones(len(BUCKETS_S) + 1))
    buckets = np.cumsum([counter(generator, rate * share) for share in shares], axis=0)
    return {
        named("mergeline_requests_total", route="predict", status="200"): answered,
        named("mergeline_requests_total", route="predict", status="500"): failed,
        named("mergeline_requests_total", route="predict", status="422"): refused,
        named("mergeline_requests_total", route="metrics", status="200"): counter(generator, 1),
        **{
            named("mergeline_request_seconds_bucket", route="predict", le=str(bound)): counts
            for bound, counts in zip([*BUCKETS_S, "+Inf"], buckets.tolist(), strict=True)
        },
        named("mergeline_drift_psi", feature="score"): generator.random(READINGS).tolist(),
        named("mergeline_drift_psi", feature="amount"): (generator.random(READINGS) + 1).tolist(),
        named("mergeline_drift_bound", feature="score"): (generator.random(READINGS) / 10).tolist(),
    }


def case(seed: int, rate: float = 40, errors: float = 0.03, late: int = 0, candidate: float | None = None) -> Series:
    generator = np.random.default_rng(seed)
    return {
        STABLE: server(generator, STABLE, rate, 0.01),
        CANDIDATE: server(generator, CANDIDATE, rate / 4 if candidate is None else candidate, errors, late),
    }


def drift(hash_of: str, *pods: tuple[float, float]) -> dict[str, list[float | None]]:
    """The index of the score and its bound, for each pod."""
    return {
        f'mergeline_drift_{name}{{feature="score",pod="{number}",{HASH_LABEL}="{hash_of}"}}': [value] * READINGS
        for number, pod in enumerate(pods)
        for name, value in zip(("psi", "bound"), pod, strict=True)
    }


def failing_pods(before: float | None) -> Series:
    """Ten candidate pods, one of whose 12 requests in five minutes is a 500; what that series was before it."""
    own: dict[str, list[float | None]] = {}
    for pod in range(10):
        labels = f'route="predict",pod="{pod}",{HASH_LABEL}="{CANDIDATE}"'
        answered = [float(12 * reading // 21) for reading in range(READINGS)]
        own[f'mergeline_requests_total{{{labels},status="200"}}'] = list(answered)
        failed = [1.0 if reading >= 3 + pod else before for reading in range(READINGS)]
        own[f'mergeline_requests_total{{{labels},status="500"}}'] = failed
    return {STABLE: {}, CANDIDATE: own}


def taking(stable_s: float, candidate_s: float) -> Series:
    """Two servers that answer ten requests between two readings, each of which takes so long."""
    series: Series = {}
    for name, seconds in ((STABLE, stable_s), (CANDIDATE, candidate_s)):
        grown: list[float | None] = [10.0 * reading for reading in range(READINGS)]
        labels = f'route="predict",{HASH_LABEL}="{name}"'
        series[name] = {f'mergeline_requests_total{{{labels},status="200"}}': grown} | {
            f'mergeline_request_seconds_bucket{{{labels},le="{bound}"}}': grown
            if seconds <= bound
            else [0.0] * READINGS
            for bound in BUCKETS_S
        }
        series[name][f'mergeline_request_seconds_bucket{{{labels},le="+Inf"}}'] = grown
    return series


def ended(series: Series, at: int) -> Series:
    """The same, in which the candidate does not answer from a reading on."""
    gone = {name: [*values[:at], *[None] * (READINGS - at)] for name, values in series[CANDIDATE].items()}
    return {**series, CANDIDATE: gone}


def without(series: Series, target: str, name: str) -> Series:
    """The same without a metric of one target."""
    return {**series, target: {key: values for key, values in series[target].items() if not key.startswith(name)}}


def with_value(series: Series, target: str, name: str, value: float) -> Series:
    """The same with a gauge that stands."""
    return {
        **series,
        target: {key: [value] * READINGS if key.startswith(name) else values for key, values in series[target].items()},
    }


CASES: dict[str, Series] = {
    "both answer": case(1),
    "the candidate restarts and its errors begin late": case(2, errors=0.3, late=9),
    "every answer of the candidate is an error": case(3, errors=1.0),
    "the candidate has no traffic": case(4, candidate=0),
    "the candidate has too little traffic": case(5, candidate=0.2),
    "the candidate has ended": ended(case(6), 14),
    "the stable server has no metrics": {**case(7), STABLE: {}},
    "there is nothing at all": {STABLE: {}, CANDIDATE: {}},
    "there is no drift yet": without(case(8), CANDIDATE, "mergeline_drift"),
    "every pod fails once": failing_pods(before=0.0),
    "every pod fails once and its series begins with that": failing_pods(before=None),
    "both are slow": taking(1.5, 6),
    "both are as slow": taking(1.5, 1.4),
    "the candidate is slower than any bucket": taking(20, 60),
    "a pod that drifted beside a young one": {
        STABLE: drift(STABLE, (0.005, 0.0078)),
        CANDIDATE: drift(CANDIDATE, (0.25, 0.0078), (0.06, 0.158)),
    },
    "a candidate that drifted beside a young stable pod": {
        STABLE: drift(STABLE, (0.005, 0.0078), (0.06, 0.158)),
        CANDIDATE: drift(CANDIDATE, (0.16, 0.0078)),
    },
    "both drifted": {STABLE: drift(STABLE, (1.45, 0.0078)), CANDIDATE: drift(CANDIDATE, (1.5, 0.0078))},
    "the drift is no number": with_value(case(9), CANDIDATE, "mergeline_drift_psi", math.nan),
}

OTHERS = (
    'count(mergeline_drift_psi{feature!="nothing"})',
    f'avg by ({HASH_LABEL}) (mergeline_drift_psi{{{HASH_LABEL}="stable"}})',
    'min(mergeline_drift_psi{feature=~"sc.*"}) * -2 + 1',
    'clamp_max(max(mergeline_drift_psi), 0.5) and vector(1) > 0 or vector(7)',
    "sum(rate(mergeline_requests_total[2m])) - 1 - 2 * 3 / 4",
    'sum(increase(mergeline_requests_total{status=~"4..|5..",route!~"m.*"}[3m30s])) < 1e9',
    f'max(mergeline_drift_psi{{{HASH_LABEL}="stable"}} or mergeline_drift_bound{{{HASH_LABEL}="candidate"}})',
    'sum(mergeline_drift_psi) / (sum(mergeline_drift_psi) - sum(mergeline_drift_psi))',
    '- sum(mergeline_drift_bound)',
)  # fmt: skip


def history_of(series: Series) -> History:
    history = History(keep_s=3600)
    for position in range(READINGS):
        for target, own in series.items():
            found = [sample(name, values[position]) for name, values in own.items()]
            history.take(position * EVERY_S, target, [each for each in found if each is not None])
    return history


def sample(name: str, value: float | None) -> Sample | None:
    if value is None:
        return None
    metric, _, inside = name.partition("{")
    labels = [part.split("=", 1) for part in inside.rstrip("}").split(",")]
    return Sample(metric, frozenset((key, text.strip('"')) for key, text in labels), value)


# ---- Prometheus ------------------------------------------------------------------------------------------------------


def notation(values: Sequence[float | None]) -> str:
    """Values as promtool reads them; a series that ends is marked, as a target that does not answer is."""
    texts = []
    for position, value in enumerate(values):
        was_there = position > 0 and values[position - 1] is not None
        texts.append(repr(float(value)).replace("nan", "NaN") if value is not None else "stale" if was_there else "_")
    return " ".join(texts)


def agrees(query: str, values: Sequence[float]) -> dict[str, Any]:
    """A test of promtool that holds where Prometheus computes these values for a query, in the tolerance."""
    at = f"{NOW_S}s"
    if not values:
        return {"expr": query, "eval_time": at, "exp_samples": []}
    (value,) = values
    one = [{"labels": "{}", "value": 1}]
    if math.isnan(value):
        return {"expr": f"sum(({query}) != bool ({query}))", "eval_time": at, "exp_samples": one}
    if math.isinf(value):
        return {"expr": f"sum(({query}) == bool {'-' if value < 0 else ''}Inf)", "eval_time": at, "exp_samples": one}
    apart = f"sum(abs(({query}) - ({value!r})) <= bool {TOLERANCE * max(1.0, abs(value))!r})"
    return {"expr": apart, "eval_time": at, "exp_samples": one}


def promtool(
    folder: Path, expected: Mapping[str, Sequence[tuple[str, Sequence[float]]]]
) -> subprocess.CompletedProcess[str]:
    """Run the values of every case's queries against Prometheus."""
    (program,) = tool("promtool")
    (folder / "rules.yaml").write_text("groups: []\n", encoding="utf-8")
    tests = [
        {
            "interval": f"{EVERY_S}s",
            "input_series": [
                {"series": name, "values": notation(values)}
                for own in CASES[name_of_case].values()
                for name, values in own.items()
            ],
            "promql_expr_test": [agrees(query, values) for query, values in found],
        }
        for name_of_case, found in expected.items()
    ]
    path = folder / "tests.yaml"
    path.write_text(json.dumps({"rule_files": ["rules.yaml"], "tests": tests}), encoding="utf-8")
    return subprocess.run([program, "test", "rules", path], capture_output=True, text=True, check=False, timeout=60)


def computed() -> dict[str, list[tuple[str, tuple[float, ...]]]]:
    """What is computed here for every case: the template's queries, and others of the same language."""
    queries = [*(metric.text for metric in read_template(ROOT / TEMPLATE).metrics), *OTHERS]
    histories = {name: history_of(series) for name, series in CASES.items()}
    return {
        name: [(query, evaluate(parse_query(query), history, NOW_S)) for query in queries]
        for name, history in histories.items()
    }


def test_the_queries_of_the_template_have_the_values_that_prometheus_computes(tmp_path: Path) -> None:
    found = computed()
    known = [value for values in found.values() for _, (value, *_) in ((q, v) for q, v in values if v)]
    assert len(known) > 60
    assert any(map(math.isnan, known))
    assert sum(not values for each in found.values() for _, values in each) > 15
    done = promtool(tmp_path, found)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "change", [lambda values: tuple(value + 1e-6 for value in values) or (0.0,), lambda values: ()]
)
def test_the_twin_prometheus_notices_a_millionth_and_a_value_that_is_missing(change: Any, tmp_path: Path) -> None:
    (query, values), *_ = computed()["both answer"]
    assert values
    done = promtool(tmp_path, {"both answer": [(query, change(values))]})
    assert done.returncode != 0


# ---- What the values say ---------------------------------------------------------------------------------------------


def value_of(metric: str, series: Series) -> tuple[float, ...]:
    query = next(each.query for each in read_template(ROOT / TEMPLATE).metrics if each.name == metric)
    return evaluate(query, history_of(series), NOW_S)


def test_the_success_rate_is_the_share_of_requests_without_an_error_of_the_candidate() -> None:
    assert value_of("success-rate", CASES["both answer"])[0] == pytest.approx(0.97, abs=0.03)
    assert value_of("success-rate", CASES["every answer of the candidate is an error"])[0] < 0.2  # 422 is none


def test_failures_count_from_the_first_where_their_series_was_there_before_it() -> None:
    (rate,) = value_of("success-rate", CASES["every pod fails once"])
    assert rate == pytest.approx(11 / 12, abs=0.01)
    # what no rate sees: that of a status which a server shows only once it was answered
    assert value_of("success-rate", CASES["every pod fails once and its series begins with that"]) == (1.0,)


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("both are slow", 3, 6),
        ("the candidate is slower than any bucket", 1000, 3000),
        ("both are as slow", 0.5, 2),
    ],
)
def test_latency_is_told_apart_where_the_stable_server_is_slow_itself(name: str, least: float, most: float) -> None:
    (times,) = value_of("latency", CASES[name])
    assert least < times < most


def test_the_latency_that_never_passes_is_that_beyond_the_last_bucket() -> None:
    (text,) = [metric.text for metric in read_template(ROOT / TEMPLATE).metrics if metric.name == "latency"]
    assert f"< {BUCKETS_S[-1]:g}\n" in text


@pytest.mark.parametrize(
    ("name", "drifted"),
    [
        ("a pod that drifted beside a young one", 0.25 - 0.0078),
        ("a candidate that drifted beside a young stable pod", 0.16 - 0.0078),
        ("both drifted", 0.05),
    ],
)
def test_the_drift_of_a_pod_is_held_against_its_own_bound(name: str, drifted: float) -> None:
    assert value_of("score-drift", CASES[name]) == pytest.approx((drifted,))


@pytest.mark.parametrize("name", ["the candidate has no traffic", "the candidate has too little traffic"])
def test_without_enough_traffic_there_is_no_value(name: str) -> None:
    metrics = ("success-rate", "refusals", "latency")
    assert [value_of(metric, CASES[name]) for metric in metrics] == [(), (), ()]
    assert all(value_of(metric, CASES["both answer"]) for metric in metrics)  # the twin


def test_windows_shrink_with_the_scale() -> None:
    history = History(keep_s=100)
    for second in range(11):
        history.take(second, STABLE, [Sample("c", frozenset(), float(second * second))])
    query = parse_query("increase(c[5m])")
    assert evaluate(query, history, 10.0, scale=4 / 300) == (68.0,)
    assert evaluate(query, history, 10.0, scale=2.5 / 300) == (45.0,)


def test_a_series_that_its_target_does_not_show_any_more_has_no_value() -> None:
    history = History(keep_s=100)
    history.take(0, STABLE, [Sample("g", frozenset(), 1.0)])
    assert evaluate(parse_query("g"), history, 1.0) == (1.0,)
    history.take(2, STABLE, [])
    assert evaluate(parse_query("g"), history, 3.0) == ()
    assert evaluate(parse_query("g"), history, 1.0) == (1.0,)


def test_old_values_are_forgotten() -> None:
    history = History(keep_s=10)
    for second in range(30):
        history.take(second, STABLE, [Sample("c", frozenset(), 1.0)])
    assert evaluate(parse_query("count(rate(c[1m]))"), history, 5.0) == ()
    assert evaluate(parse_query("count(rate(c[1m]))"), history, 29.0) == (1.0,)


def test_one_value_alone_has_no_rate() -> None:
    assert increase([(0.0, 3.0), (1.0, 4.0)], -0.2, 1.0) == pytest.approx(1.2)
    history = History(keep_s=10)
    history.take(0, STABLE, [Sample("c", frozenset(), 1.0)])
    assert evaluate(parse_query("rate(c[1m])"), history, 1.0) == ()


# ---- What is not read ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("irate(c[5m])", "irate() is not read here"),
        ("rate(c)", "rate() takes a window as argument 1, found a vector"),
        ("c[5m]", "found a window of values"),
        ("c[5m] + 1", "found a window of values"),
        ("rate(c[5m]) offset 5m", "expected end, found 'offset'"),
        ("c offset 5m", "offset is not read here"),
        ("sum without (le) (c)", "without (...) is not read here"),
        ("a / on (x) b", "/ on is not read here"),
        ("sum(c", "expected ), found 'the end'"),
        ("c{x='y'}", 'cannot read "\'y\'}"'),
        ('c{x=~"("}', "is no regular expression"),
        ("1 and c", "vector(0) is one"),
        ("sum(1)", "sum takes series"),
        ("", "expected a metric, a function or a number, found 'the end'"),
        ("c[5x]", "expected duration, found"),
    ],
)  # fmt: skip
def test_what_is_no_query_or_more_than_is_read_here_is_refused(query: str, said: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse_query(query)
    assert said in str(caught.value)


def test_series_that_would_meet_twice_are_refused_when_they_do() -> None:
    history = History(keep_s=10)
    history.take(0, STABLE, [Sample("a", frozenset({("x", text)}), 1.0) for text in "yz"])
    history.take(0, CANDIDATE, [Sample("a", frozenset({("x", "y")}), 1.0)])
    with pytest.raises(QueryError, match="aggregate them first"):
        evaluate(parse_query("a / a"), history, 1.0)
    assert evaluate(parse_query("sum(a) / sum(a)"), history, 1.0) == (1.0,)


def test_windows_and_durations_are_read_as_seconds() -> None:
    assert windows_of(parse_query("sum(rate(a[5m])) / clamp_min(sum(rate(b[1h30m])), 1)")) == (300.0, 5400.0)
    with pytest.raises(QueryError):
        seconds_of("5")
