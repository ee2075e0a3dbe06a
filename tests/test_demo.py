"""The demo: what an act asserts ends it with the act's name, and its page says what was shown, and nothing else."""

from __future__ import annotations

import datetime as dt
import re
import subprocess
from pathlib import Path
from typing import Any

import played
import pytest
from repositories import SAMPLE_PARAMS, TEMPLATE
from sample.demo import play as playing
from sample.demo.act import Act, Fact, Link
from sample.demo.acts import Story
from sample.demo.clone import make_place
from sample.demo.page import html
from sample.demo.place import Done, Place, Server
from sample.demo.rollout import MEASURED, went_back
from sample.demo.traffic import _labels, _requests, read_month

from mergeline.canary.template import TEMPLATE as ANALYSIS
from mergeline.canary.template import read_template
from mergeline.errors import ServiceError, VerificationError
from mergeline.params import load
from mergeline.release.ledger import Ledger
from mergeline.site.facts import Site


def nothing_yet() -> Site:
    """What a repository says before anything has happened."""
    return Site(dt.datetime(2013, 4, 1, tzinfo=dt.UTC), Ledger("origin/main", "c0ffee" * 6, (), {}, {}, {}))


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A small template."""
    return played.small_template(tmp_path / "template")


def held(number: int, *facts: Fact, said: str = "It held.") -> Act:
    return Act(number, f"Act {number}", said, facts)


def test_the_clone_has_an_origin_of_its_own_whose_main_is_the_last_commit(template: Path, tmp_path: Path) -> None:
    place = make_place(template, tmp_path / "demo")
    assert place.git("rev-parse", "--abbrev-ref", "HEAD") == "main"
    assert place.git("remote", "get-url", "origin") == str(place.origin)
    (place.root / "more").write_text("more")
    place.commit("Another")
    place.git("push", "-q", "origin", "main")
    assert place.git("log", "--format=%s").splitlines() == ["Another", "The template"]  # it begins here
    branches = subprocess.run(["git", "-C", str(template), "branch"], capture_output=True, text=True, check=True).stdout
    assert branches == "* work\n"  # the template knows nothing of it


def test_a_command_that_ends_otherwise_fails_with_the_name_of_the_act(template: Path, tmp_path: Path) -> None:
    place = make_place(template, tmp_path / "demo")
    place.act = "act 3, the canary"
    place.tool("git", "status")
    with pytest.raises(VerificationError, match=r"act 3, the canary: expected exit code 5 of `git status`, found 0"):
        place.tool("git", "status", code=5)
    assert "$ git status" in (place.folder / "said.log").read_text()


def test_what_does_not_hold_ends_the_play_with_the_name_of_the_act(template: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(["sleep", "60"])

    def breaks(story: Story) -> Act:
        story.production = Server("http://127.0.0.1:1", process)
        story.place.expect(False, "the retrained model at the server")
        return held(2)

    said: list[str] = []
    folder = tmp_path / "demo"
    parts = (("act 1, one", lambda story: held(1, Fact("verdict", "promote"))), ("act 2, two", breaks))
    with pytest.raises(VerificationError, match="demo: act 2, two: expected the retrained model at the server"):
        playing.play(template, folder, said.append, parts)
    assert process.poll() is not None  # no server is left behind
    assert said[0] == "act 1, one ..."
    assert said[1].startswith("act 1, one: verdict promote (")
    page = (folder / playing.PAGE).read_text()
    assert "1 of 2 acts held so far" in page  # it grew as far as the acts held
    assert "Act 2" not in page
    assert said[2:] == [
        f"see {folder / playing.PAGE}, which grows with every act",
        "act 2, two ...",
        f"see {folder / playing.PAGE} for the acts that held",
    ]


def test_before_the_first_act_holds_no_page_is_named(template: Path, tmp_path: Path) -> None:
    def breaks(story: Story) -> Act:
        raise KeyError("verdict")

    said: list[str] = []
    with pytest.raises(VerificationError):
        playing.play(template, tmp_path / "demo", said.append, (("act 1, one", breaks),))
    assert said == ["act 1, one ..."]


@pytest.mark.parametrize(
    ("broke", "kind", "code"),
    [
        (ServiceError("http://127.0.0.1:1/predict: refused"), ServiceError, 7),
        (KeyError("verdict"), VerificationError, 6),
        (StopIteration(), VerificationError, 6),
        (FileNotFoundError("reports/comparison.json"), VerificationError, 6),
    ],
    ids=["an error of a verb", "a record without a field", "nothing found", "a file that is not there"],
)
def test_whatever_breaks_in_an_act_carries_its_name_and_an_exit_code(
    broke: Exception, kind: type[Exception], code: int, template: Path, tmp_path: Path
) -> None:
    def breaks(story: Story) -> Act:
        raise broke

    with pytest.raises(kind, match=r"^demo: act 2, two: ") as found:
        playing.play(template, tmp_path / "demo", lambda line: None, (("act 2, two", breaks),))
    assert getattr(found.value, "exit_code", None) == code


def test_a_program_that_does_not_end_is_an_error(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = make_place(template, tmp_path / "demo")  # in as much time as it needs
    monkeypatch.setattr("sample.demo.place.LONGEST_RUN_S", 0.2)
    place.act = "act 5, tampering"
    with pytest.raises(VerificationError, match=r"act 5, tampering: expected `sleep 20` to end within"):
        place.tool("sleep", "20")


def test_time_goes_on_from_the_day_that_an_act_begins_on(template: Path, tmp_path: Path) -> None:
    place = make_place(template, tmp_path / "demo")
    place.go_to(dt.datetime(2013, 4, 1, tzinfo=dt.UTC))
    place.since = (place.since or 0.0) - 90
    (place.root / "more").write_text("more")
    place.commit("Another")
    assert place.git("log", "-1", "--format=%cI").startswith("2013-04-01T00:01:3")


def test_acts_that_hold_make_a_page_that_says_so(template: Path, tmp_path: Path) -> None:
    shown = playing.play(template, tmp_path / "demo", lambda line: None, (("act 1, one", lambda story: held(1)),))
    assert [act.number for act in shown] == [1]
    assert "✓ 1 of 1 acts held" in (tmp_path / "demo" / playing.PAGE).read_text()


def test_the_play_has_seven_acts_and_each_is_named_by_its_number() -> None:
    assert [name.split(",")[0] for name, _ in playing.PARTS] == [f"act {number}" for number in range(1, 8)]


def test_the_page_escapes_what_it_shows_and_loads_nothing(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.commands.append(Done("mergeline <b>", 0, "", "", 1.0))
    act = Act(
        1, "<i>First</i>", "a <script>, `in marks`", (Fact("<u>name", "<u>value"),), (Link("<a>", "report.html"),)
    )
    page = html(place, [act], 1, nothing_yet())
    assert "a &lt;script&gt;, <code>in marks</code>" in page
    for tag in ("<b>", "<i>", "<script", "<u>"):
        assert tag not in page
    assert "default-src 'none'" in page
    assert not re.search(r'(?:src|href)="(?!#|report\.html)', page)
    assert '<html lang="en">' in page


def test_the_retrainings_that_the_watch_leaves_alone_are_those_that_a_gate_refuses() -> None:
    year = (TEMPLATE / "docs" / "a-year.md").read_text(encoding="utf-8")
    followed = re.findall(r"^\| 2013-(\d\d).*\| retrain: (refused|a tie|promoted)", year, re.MULTILINE)
    assert followed[:3] == [("04", "refused"), ("06", "refused"), ("07", "promoted")]  # when April, May, June are over


@pytest.mark.parametrize(
    ("metric", "values", "said"),
    [
        ("success-rate", [0.875], "5 % of the traffic: success-rate, 87.5 % of its requests answered"),
        ("latency", [1.0, 3.21], "5 % of the traffic: latency, 95th percentile 3.2 times that of the stable server"),
        ("score-drift", [0.144], "5 % of the traffic: score-drift, scores moved by a PSI of 0.14 beyond chance"),
        ("a metric of one's own", [7], "5 % of the traffic: a metric of one's own, it failed (7)"),
        ("model", [], "5 % of the traffic: model, it failed (7)"),
    ],
    ids=["answers", "time", "drift", "of one's own", "not measured"],
)
def test_a_canary_that_went_back_says_where_with_what_and_its_unit(metric: str, values: list[Any], said: str) -> None:
    measured = [{"metric": metric, "values": [value]} for value in values]
    other = {"metric": "refusals", "values": [0.0]}
    steps = [{"share": 1.0, "measurements": []}, {"share": 5.0, "measurements": [*measured, other]}]
    assert went_back({"steps": steps, "metric": metric, "said": "it failed (7)"}) == said


def test_every_measurement_of_the_analysis_has_its_unit() -> None:
    assert {each.name for each in read_template(TEMPLATE / ANALYSIS).metrics} == set(MEASURED)


def test_a_server_and_a_canary_stand_among_the_commands(template: Path, tmp_path: Path) -> None:
    place = make_place(template, tmp_path / "demo")
    place.tell(Done("mergeline serve --port 1", None, "", "", 1.26))
    place.tell(Done("mergeline canary --stay", 5, "", "", 0.5))
    page = html(place, [held(1)], 1, nothing_yet())
    assert "$ mergeline serve --port 1 # ready, 1.3 s\n$ mergeline canary --stay # exit code 5, 0.5 s" in page
    assert "2 commands" in page
    assert "ready, 1.3 s" in (place.folder / "said.log").read_text()


def test_every_flight_is_asked_once_and_only_known_ends_become_labels() -> None:
    settings = load(SAMPLE_PARAMS)
    rows = read_month(TEMPLATE / "sample/2013-04.parquet", settings).head(450)
    rows.loc[7, "late"] = None
    requests = list(_requests(rows, settings))
    assert [len(bodies) for _, bodies in requests] == [200, 200, 50]
    first = requests[0][1][0]
    assert set(first) == {"features", "entity_id", "event_time"}
    assert set(first["features"]) == set(settings.data.features)
    assert first["features"]["wind_gust_mph"] is None
    labels = list(_labels(requests[0][0], [f"r{number}" for number in range(200)], settings))
    known = requests[0][0]["late"].notna().sum()
    assert len(labels) == known < 200
    assert "r7" not in {each["request_id"] for each in labels}
    assert labels[0]["label_ts"] > first["event_time"]
