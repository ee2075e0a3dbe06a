"""A week's report: every figure beside one that was counted by hand, on a log as the server writes it."""

from __future__ import annotations

import datetime as dt
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from planted_log import OTHER, PlantedLog

from mergeline.cli import main
from mergeline.errors import ConfigurationError
from mergeline.monitor import weekly
from mergeline.monitor.decide import Evidence, Performance, as_record, decide
from mergeline.monitor.decide.record import key_of
from mergeline.monitor.performance.record import State
from mergeline.monitor.windows import Window
from mergeline.params import parse
from mergeline.params.decide import DecideParams
from mergeline.params.weekly import BusinessMetric, Prices

MONDAY = dt.datetime(2013, 9, 2, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
WEEK = Window(MONDAY, MONDAY + 7 * DAY)
PARAMS = """\
data:
  task: binary
  target: late
  id: id
  time: at
  numeric: [distance]
  categorical: [origin]
  holdout: {share: 0.2}
weekly:
  prices: {currency: EUR, servers: 2, server_hour: 0.05, a_week: 3.2}
  metrics:
    - {name: late, of: share, where: {label: true}}
    - {name: late from JFK, of: count, where: {label: "true", origin: JFK}}
    - {name: far, of: mean, column: distance, where: {distance: ">= 140"}, unit: miles}
    - {name: all the way, of: sum, column: distance, among: {origin: [EWR, JFK]}}
    - {name: sure, of: share, where: {score: "> 0.9"}, among: {decision: "false"}}
"""


@pytest.fixture
def week(tmp_path: Path) -> Path:
    """Three days of a week: 100 rows an even distance apart, 20 failures, a shadow; labels of the first day alone."""
    (tmp_path / "params.yaml").write_text(PARAMS)
    log = PlantedLog.at(tmp_path / ".mergeline" / "log")
    first = log.predict(MONDAY, 100)
    log.predict(MONDAY + DAY, 50, failed=20)
    log.predict(MONDAY + DAY, 50, model=OTHER, variant="shadow")
    log.predict(MONDAY + 6 * DAY, 50, model=OTHER)
    log.predict(MONDAY - DAY, 30)
    log.predict(MONDAY + 7 * DAY, 30)
    log.label(first, MONDAY + 2 * DAY, [number < 25 for number in range(100)])
    log.drift(WEEK, "distance", weighted=0.4, sustained=True)
    log.drift(Window(WEEK.end, WEEK.end + 7 * DAY), "origin")
    log.performance(WEEK, State.DEGRADED, measured=0.70)
    made = decide(Evidence(WEEK.end, performance=Performance("degraded", None, True)), DecideParams())
    log.store.put(key_of(WEEK.end), json.dumps(as_record(made)).encode())
    log.store.put("collect/2013-08.json", json.dumps({"partition": "2013-08", "reasons": {"no label": 7}}).encode())
    return tmp_path


def told(root: Path, capsys: pytest.CaptureFixture[str], day: str = "2013-09-04") -> dict[str, Any]:
    assert main(["--root", str(root), "report", "--week", day, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_every_figure_of_the_week_is_what_a_person_counts(week: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(week, capsys)
    assert (found["name"], found["window"]) == ("2013-W36", WEEK.as_dict())
    assert [(each["rows"], each["failed"]) for each in found["days"]] == [
        (100, 0), (50, 20), (0, 0), (0, 0), (0, 0), (0, 0), (50, 0),
    ]  # fmt: skip
    sides = {(each["variant"], each["model_sha256"][:1]): each for each in found["sides"]}
    assert {name: (each["rows"], each["failed"]) for name, each in sides.items()} == {
        ("champion", "a"): (150, 20), ("champion", "b"): (50, 0), ("shadow", "b"): (50, 0),
    }  # fmt: skip
    assert (sides["champion", "a"]["p50_ms"], sides["champion", "a"]["p99_ms"]) == (5.5, 10.0)
    assert found["labelled"] == 100
    assert found["cost"] == {"currency": "EUR", "whole": 20.0, "per_thousand": 100.0}
    figures = {each["name"]: (each["value"], each["rows"]) for each in found["figures"]}
    assert figures == {
        "late": (0.25, 100), "late from JFK": (12.0, 12), "far": (144.5, 30), "all the way": (180 * 124.5 - 300, 180),
        "sure": (0.0, 180),
    }  # fmt: skip
    assert [(each["outcome"], each["sustained"]) for each in found["drift"]] == [("drift", True)]
    assert [(each["state"], each["measured"]) for each in found["performance"]] == [("degraded", 0.70)]
    assert found["quality"]["held_up"] == {"no label": 7}
    assert [each["decision"] for each in found["decisions"]] == ["ask for labels"]
    assert found["recommendations"][0].startswith("Get labels. Feed what turned out")


def test_requests_that_asked_ahead_are_of_the_week_that_they_ask_about(
    week: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = PlantedLog.at(week / ".mergeline" / "log")
    log.predict(MONDAY - 5 * DAY, 70, about=MONDAY + 3 * DAY, name="ahead")
    log.predict(MONDAY + 3 * DAY, 40, about=MONDAY - DAY, name="back")
    found = told(week, capsys)
    assert [each["rows"] for each in found["days"]] == [100, 50, 0, 70, 0, 0, 50]


def test_a_label_of_a_time_to_come_is_not_known_yet(week: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = PlantedLog.at(week / ".mergeline" / "log")
    new = log.predict(MONDAY + 3 * DAY, 100, name="new")
    log.label(new, MONDAY + 4 * DAY, [False] * 100)
    log.label(new[:60], dt.datetime(2099, 1, 1, tzinfo=dt.UTC), [True] * 60)
    figures = {each["name"]: (each["value"], each["rows"]) for each in told(week, capsys)["figures"]}
    assert figures["late"] == (25 / 200, 200)


def test_another_week_has_other_figures_and_says_that_nothing_was_decided(
    week: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(week, capsys, "2013-08-31")
    assert sum(each["rows"] for each in found["days"]) == 30
    assert found["drift"] == found["performance"] == found["decisions"] == []
    assert found["recommendations"][0].startswith("No decision was made this week")


def test_a_week_without_a_prediction_is_whole(week: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(week, capsys, "2012-01-01")
    assert (len(found["days"]), found["sides"], found["cost"]["per_thousand"]) == (7, [], None)
    assert {each["value"] for each in found["figures"]} == {0.0, None}


class Page(HTMLParser):
    """What a page loads and runs."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not {"src", "onload"} & {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_page_and_the_markdown_say_the_same_and_load_nothing(
    week: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--root", str(week), "report", "--week", "2013-09-08"]) == 0
    written = capsys.readouterr().out.strip().split(", ")
    assert written == [f".mergeline/weekly/2013-W36.{kind}" for kind in ("md", "html", "json")]
    text, made = ((week / name).read_text() for name in written[:2])
    assert text.startswith("# Week 2013-W36, 2013-09-02 to 2013-09-08\n")
    assert "| 2013-09-03 | 50 | 20 |" in text
    assert "20.00 EUR for the week, 100.0000 EUR for 1,000 predictions" in text
    read = Page()
    read.feed(made)
    assert "script" not in read.tags
    assert {"2013-09-03", "late from JFK", "144.5 miles"} <= set(read.texts)
    assert main(["--root", str(week), "report", "--week", "2013-09-08"]) == 0
    assert (week / written[1]).read_text() == made


def test_what_a_person_names_cannot_break_the_page() -> None:
    evil = weekly.Figure("<script>@all | x", "", 1.0, 1)
    quality = weekly.Quality(0, 0, 0, None, {}, ("<b>: rule",))
    days = (weekly.Day("2013-09-02", 1, 0),)
    made = weekly.Weekly("2013-W36", WEEK, days, (), 0, None, (evil,), (), (), quality, (), ("see @all",))
    from mergeline.monitor.weekly_page import html, markdown

    assert "<script>" not in html(made)
    assert "@all" not in markdown(made)
    assert "<b>" not in html(made)
    assert "<b>" not in markdown(made)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [(["--week", "soon"], 2, "invalid"), (["--week", "2013-09-04", "--log", "s3:/x"], 2, "log")],
)
def test_what_cannot_be_is_refused(
    week: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str
) -> None:
    try:
        found = main(["--root", str(week), "report", *arguments])
    except SystemExit as err:
        found = int(err.code or 0)
    assert (found, said in capsys.readouterr().err) == (code, True)


@pytest.mark.parametrize("key", ["decisions/date=2013-09-04/x.json", "collect/2013-09.json", "drift/x.json"])
def test_a_damaged_record_is_refused_by_its_place(week: Path, capsys: pytest.CaptureFixture[str], key: str) -> None:
    PlantedLog.at(week / ".mergeline" / "log").store.put(key, b"{")
    assert main(["--root", str(week), "report", "--week", "2013-09-04"]) == 3
    assert key in capsys.readouterr().err


# ---- Metrics as people declare them ----------------------------------------------------------------------------------


def declared(**metric: Any) -> BusinessMetric:
    text = {"data": {"task": "binary", "target": "late", "id": "i", "numeric": ["distance"], "holdout": {"share": 0.2}},
            "weekly": {"metrics": [{"name": "m", **metric}]}}  # fmt: skip
    return parse(text).weekly.metrics[0]


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        pytest.param({"of": "avg"}, "expected one of count, sum, mean, share", id="kind"),
        pytest.param({"of": "mena", "column": "distance"}, "did you mean 'mean'?", id="a slip"),
        pytest.param({"of": "sum"}, "expected column with sum and mean", id="no column"),
        pytest.param({"of": "count", "column": "score"}, "expected column with sum and mean", id="a column too many"),
        pytest.param({"of": "share"}, "without it a share is always 1", id="share of all"),
        pytest.param({"of": "count", "where": {"distence": ">3"}}, "'distence' is no feature of data", id="column"),
        pytest.param({"of": "count", "where": {"distance": "> x"}}, 'such as ">= 3"', id="no number"),
        pytest.param({"of": "count", "where": {"distance": "> 3, < 2"}}, "never holds", id="never"),
        pytest.param({"of": "count", "where": {"distance": 3}}, "expected a text, a list of texts", id="a bare number"),
        pytest.param({"of": "count", "where": {"distance": "__import__('os')"}, "by": 1}, "unknown key", id="key"),
    ],
)  # fmt: skip
def test_a_metric_that_cannot_be_meant_is_refused(metric: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        declared(**metric)
    assert said in str(caught.value)


def test_two_metrics_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="'m' is the name of two"):
        parse(
            {"data": {"task": "binary", "target": "late", "id": "i", "numeric": ["x"], "holdout": {"share": 0.2}},
             "weekly": {"metrics": [{"name": "m", "of": "count"}] * 2}}
        )  # fmt: skip


ROWS = pd.DataFrame(
    {
        "variant": ["champion"] * 5 + ["shadow"],
        "status": [200] * 4 + [500, 200],
        "label": ["true", "false", None, "true", "true", "true"],
        "score": [0.9, 0.2, 0.9, None, None, 0.9],
        "feature_distance": [1.0, 2.0, 3.0, None, 5.0, 6.0],
    }
)


@pytest.mark.parametrize(
    ("metric", "value", "rows"),
    [
        ({"of": "count"}, 4.0, 4),
        ({"of": "count", "where": {"label": True}}, 2.0, 2),
        ({"of": "share", "where": {"label": "true"}}, 2 / 3, 3),
        ({"of": "share", "where": {"score": "> 0.5"}, "among": {"label": "true"}}, 1.0, 1),
        ({"of": "sum", "column": "distance"}, 6.0, 3),
        ({"of": "mean", "column": "distance", "where": {"distance": "> 1"}}, 2.5, 2),
        ({"of": "mean", "column": "distance", "where": {"label": "no such"}}, None, 0),
    ],
)
def test_a_missing_value_passes_no_test_and_shadows_and_failures_are_no_answers(
    metric: dict[str, Any], value: float | None, rows: int
) -> None:
    assert weekly.figure(declared(**metric), ROWS) == weekly.Figure("m", "", value, rows)


def test_what_has_no_price_costs_nothing_that_could_be_said() -> None:
    assert weekly.cost(Prices(), 1000) is None
    assert weekly.cost(Prices(servers=1, server_hour=0.1), 0) == weekly.Cost("USD", 16.8, None)


@pytest.mark.parametrize(
    ("day", "name", "start"),
    [("2013-09-02", "2013-W36", "2013-09-02"), ("2013-09-08", "2013-W36", "2013-09-02"),
     ("2012-12-31", "2013-W01", "2012-12-31"), ("2021-01-03", "2020-W53", "2020-12-28")],
)  # fmt: skip
def test_weeks_are_those_of_iso_8601(day: str, name: str, start: str) -> None:
    found = weekly.week_of(dt.date.fromisoformat(day))
    assert (found[0], f"{found[1].start:%Y-%m-%d}") == (name, start)
