"""The demo from a fresh clone with an empty home: every act holds, and a break that is planted in one fails by name."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import axe
import demo_order
import pandas as pd
import played
import pytest
from browser import Browser, launched
from demo_july import July
from filelock import FileLock
from played import Played
from sample.demo import play as playing
from sample.demo.acts import Story
from sample.demo.watch import LIVE_MONTHS

from mergeline.errors import MergelineError


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Played:
    """The demo, played once for all workers; nothing changes it."""
    shared = tmp_path_factory.getbasetemp() if worker_id == "master" else tmp_path_factory.getbasetemp().parent
    folder = shared / "demo"
    with FileLock(shared / "demo.lock"):
        return played.read(folder) if (folder / "played.json").exists() else played.play_all(folder)


# ---- What is shown ---------------------------------------------------------------------------------------------------


def test_every_act_holds_from_a_fresh_clone_with_an_empty_home_and_neither_node_nor_kubectl(demo: Played) -> None:
    assert [each["number"] for each in demo.acts] == list(range(1, 8))
    assert any("kubectl is not here" in line for line in demo.said)
    begun = [line for line in demo.said if line.endswith(" ...")]
    assert begun == [f"{name} ..." for name, _ in playing.PARTS]
    assert "manifest" in demo.acts[6]["facts"]["from the commit to the server"]  # left out, and said


def test_the_acts_show_what_the_demo_is_there_for(demo: Played) -> None:
    facts = {each["number"]: each["facts"] for each in demo.acts}
    drifted = next(value for name, value in facts[2].items() if name.startswith("drifted"))
    assert re.match(r"\w+ \d+ %, \w+ \d+ %", drifted)  # columns by name, each with its effect
    assert re.search(r"ROC AUC 0\.\d+ \(95 % 0\.\d+ to 0\.\d+\)", facts[2]["does worse by late labels"])
    low = re.search(r"\(95 % ([+-]\d\.\d+) to", facts[3]["over the running model"])
    assert low is not None
    assert float(low[1]) > 0
    assert facts[3]["canary"].startswith("5, 25, 50 and then 100 %")
    assert {value.partition(":")[0] for value in facts[4].values()} == {"red"}
    assert "exit code 6" in facts[5]["one byte of the stored model changed"]
    rolled_back = r"rolled back at [\d.]+ % of the traffic: success-rate, [\d.]+ % of its requests answered"
    assert re.fullmatch(rolled_back, facts[5]["candidate killed in its canary"])
    for number in (3, 5):
        assert re.fullmatch(r"[\d,]+ requests answered, 0 failed", facts[number]["clients during it"])
    assert facts[7]["changes that failed"] == "1 of 2 deployments"


def test_the_verbs_are_those_of_the_workflows_in_their_order_and_the_twin_is_seen(demo: Played) -> None:
    log = (demo.folder / "demo" / "said.log").read_text(encoding="utf-8")
    played = demo_order.told(log)
    assert demo_order.out_of_order(played) == []
    assert {workflow for workflow, _ in demo_order.plays(played)} == {"retrain.yml", "drift.yml", "promote.yml"}
    judged_first = ["repro", "gate", "record", *played]
    assert len(re.findall(r"^\$ mergeline canary .*--stay$", log, re.MULTILINE)) == 2
    assert len(re.findall(r"^\$ mergeline serve .*\n.*ready, ", log, re.MULTILINE)) >= 6
    decided_first = [*played, "drift", "decide", "performance"]
    assert demo_order.out_of_order(judged_first) == ["retrain.yml: repro gate record"]
    assert demo_order.out_of_order(decided_first) == ["drift.yml: drift decide performance"]


def test_commits_carry_the_days_of_the_flights_and_durations_those_of_the_clock(demo: Played) -> None:
    page = demo.page.read_text(encoding="utf-8")
    timeline = page[page.index('id="timeline"') : page.index('id="reports"')]
    days = re.findall(r'scope="row">(\d{4}-\d\d)-\d\d \d\d:\d\d<', timeline)
    assert days
    assert set(days) <= {"2013-04", "2013-05", "2013-06", "2013-07"}
    seconds = float(demo.acts[6]["facts"]["time to restore, median"].partition(" ")[0])
    assert 0 < seconds < 3600


# ---- The canary's clients --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def july(demo: Played, tmp_path_factory: pytest.TempPathFactory) -> July:
    return July.of(demo.kept(4) / "clone", tmp_path_factory.mktemp("july"))


@pytest.mark.parametrize("share", [0.05, 0.25, 0.5])
def test_no_reading_of_a_canary_says_that_the_scores_of_july_have_drifted(share: float, july: July) -> None:
    for key in july.keys:
        readings = july.readings(july.asked, key, share)
        assert len(readings) > 200
        assert max(readings) <= july.limit


def test_the_twin_in_the_order_of_time_readings_do(july: July) -> None:
    assert any(max(july.readings(july.in_time, key, 0.05)) > july.limit for key in july.keys)
    assert any(max(july.readings(july.in_time, key, 0.25)) > july.limit for key in july.keys)


# ---- What is planted -------------------------------------------------------------------------------------------------


def a_month_cut_short(story: Story) -> None:
    file = story.place.root / "sample/2013-03.parquet"
    file.write_bytes(file.read_bytes()[:5000])
    story.place.commit("Cut a month short")


def no_labels(story: Story) -> None:
    for month in LIVE_MONTHS:
        file = story.place.root / "sample" / f"{month}.parquet"
        pd.read_parquet(file).assign(late=None).to_parquet(file, index=False)
    story.place.commit("Take the labels away")


def rows_that_are_gone(story: Story) -> None:
    """What was collected is in no cache any more."""
    place = story.place
    place.git("checkout", "-q", "-f", "-B", "retrain/auto", "origin/retrain/auto")
    named = re.findall(r"md5: (\S+)", (place.root / "data.dvc").read_text())
    shutil.rmtree(place.root / "data")
    (place.root / ".dvc/cache/files/md5" / named[0][:2] / named[0][2:]).unlink()
    place.git("checkout", "-q", "-f", "main")


def a_base_that_asks_nothing_of_leaks(story: Story) -> None:
    place = story.place
    place.git("checkout", "-q", "-f", "main")
    place.change_params({"gates.leakage": {"max_explained": 1.0, "max_gain": 1.0}})
    place.commit("Ask nothing of leaks")
    place.git("push", "-q", "origin", "main")


def a_refusal_that_does_not_say_why(story: Story) -> None:
    """The clone's code ends with another exit code where bytes are not those that were reviewed."""
    file = story.place.root / "src/mergeline/errors.py"
    text = file.read_text()
    planted = text.replace("exit_code = 6", "exit_code = 1")
    assert planted != text
    file.write_text(planted)


def old_bytes_that_are_gone(story: Story) -> None:
    """The store has lost the model of before, and so has the folder that servers start from."""
    (story.place.root / ".mergeline/store/sha256" / story.models["first"]).unlink()
    shutil.rmtree(story.place.root / ".mergeline/releases", ignore_errors=True)


def a_server_of_another_model(story: Story) -> None:
    story.end()
    story.production = story.place.start("--environment", "staging", "--log", "none")


BREAKS: dict[int, tuple[Callable[[Story], None], str]] = {
    1: (a_month_cut_short, "`mergeline repro --no-track`, found 3"),
    2: (no_labels, "a decision to retrain, found ask for labels"),
    3: (rows_that_are_gone, "expected exit code 0 of `dvc checkout"),
    4: (a_base_that_asks_nothing_of_leaks, "the gate `leakage` to refuse"),
    5: (a_refusal_that_does_not_say_why, "expected exit code 6 of `mergeline serve"),
    6: (old_bytes_that_are_gone, "expected a server that gets ready, found exit"),
    7: (a_server_of_another_model, "`mergeline verify .* found 6"),
}


@pytest.mark.parametrize("number", BREAKS)
def test_a_planted_break_fails_the_demo_with_the_name_of_its_act(number: int, demo: Played, tmp_path: Path) -> None:
    plant, said = BREAKS[number]
    name = re.escape(playing.PARTS[number - 1][0])
    with (
        played.beginning(demo, number, tmp_path / "demo") as story,
        pytest.raises(MergelineError, match=f"^demo: {name}: .*{said}"),
    ):
        played.act(story, number, plant)


def test_twin_an_act_that_is_played_again_without_a_break_holds(demo: Played, tmp_path: Path) -> None:
    with played.beginning(demo, 7, tmp_path / "demo") as story:
        assert played.act(story, 7).number == 7


# ---- The page --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with launched(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_the_page_of_the_demo_is_whole_on_a_phone_and_a_desk_by_day_and_by_night(
    width: int, scheme: str, demo: Played, browser: Browser
) -> None:
    browser.resize(width, scheme)
    browser.open(demo.page.as_uri())
    assert browser.overflow() == 0
    assert axe.grave(browser) == []
    assert browser.console() == []


def test_every_link_of_the_page_leads_somewhere(demo: Played) -> None:
    page = demo.page.read_text(encoding="utf-8")
    links = re.findall(r'href="([^"]+)"', page)
    assert len(links) > 15
    for link in links:
        if link.startswith("#"):
            assert f'id="{link[1:]}"' in page, link
        else:
            assert (demo.page.parent / link).is_file(), link
