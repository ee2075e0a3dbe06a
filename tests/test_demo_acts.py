"""The demo from a fresh clone with an empty home: every act holds, and a break that is planted in one fails by name."""

from __future__ import annotations

import html
import json
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
from sample.demo.plan import REPOSITORY
from sample.demo.verbs import Verbs
from sample.demo.watch import LIVE_MONTHS

from mergeline.errors import MergelineError

WITH_NODE = shutil.which("npm") is not None  # else the demo is played by the verbs, here as anywhere
BY_THE_LINES = "by the workflows' own run: lines"
OF_WORKFLOWS = (1, 2, 3, 4, 6)  # acts that go through a workflow
# breaks that are played by the verbs, as on a machine without Node, and the workflows whose verbs they come through
BY_VERBS = {1: {"retrain.yml", "promote.yml"}, 2: {"drift.yml"}, 4: {"retrain.yml"}}


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Played:
    """The demo, played once for all workers, by the workflows' own lines where Node is here; nothing changes it."""
    shared = tmp_path_factory.getbasetemp() if worker_id == "master" else tmp_path_factory.getbasetemp().parent
    folder = shared / "demo"
    kind = played.NodePlace if WITH_NODE else played.WarmPlace
    with FileLock(shared / "demo.lock"):
        return played.read(folder) if (folder / "played.json").exists() else played.play_all(folder, kind)


def logged(demo: Played) -> str:
    """Every command of a demo, as its log has them."""
    return (demo.folder / "demo" / "said.log").read_text(encoding="utf-8")


# ---- What is shown ---------------------------------------------------------------------------------------------------


def test_every_act_holds_from_a_fresh_clone_with_an_empty_home_and_without_kubectl(demo: Played) -> None:
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
    assert {name: "leakage" in value or "improvement" in value for name, value in facts[4].items()} == {
        "A feature that knows the answer": True, "A smaller model": True, "A smaller model, and looser gates": True,
    }  # fmt: skip
    assert {value.partition(":")[0] for value in facts[4].values()} == {"red"}
    assert "exit code 6" in facts[5]["one byte of the stored model changed"]
    rolled_back = r"rolled back at [\d.]+ % of the traffic: success-rate, [\d.]+ % of its requests answered"
    assert re.fullmatch(rolled_back, facts[5]["candidate killed in its canary"])
    for number in (3, 5):
        assert re.fullmatch(r"[\d,]+ requests answered, 0 failed", facts[number]["clients during it"])
    assert facts[7]["changes that failed"] == "1 of 2 deployments"


@pytest.mark.skipif(not WITH_NODE, reason="Node is not here")
def test_the_acts_go_through_the_workflows_own_lines_where_node_is_here_and_each_says_whether_it_did(
    demo: Played,
) -> None:
    said = {each["number"]: each["played"] for each in demo.acts}
    assert {number for number, how in said.items() if how == BY_THE_LINES} == set(OF_WORKFLOWS)
    assert said[5] == said[7] == "by the verbs: no workflow has a part in it"
    assert not any(line.startswith("set-up: ") and "Node" in line for line in demo.said)
    lines = [line for line in demo.said if re.match(r"act \d, .*: ", line)]
    page = demo.page.read_text(encoding="utf-8")
    for number, how in said.items():
        assert f"({how}; " in lines[number - 1]
        assert page.count(f"Played {html.escape(how)}. ") == list(said.values()).count(how)
    jobs = re.findall(r"^\$ (\w+\.yml), job ([\w-]+): \d+ steps\nexit code (\d), ", logged(demo), re.MULTILINE)
    assert {(workflow, job) for workflow, job, _ in jobs} == {
        *(("retrain.yml", job) for job in ("look", "train", "report", "record", "evaluate-again", "gate")),
        *(("drift.yml", job) for job in ("look", "watch", "issue", "collect", "propose")),
        *(("promote.yml", job) for job in ("look", "verify", "smoke", "propose", "retire", "tag")),
    }
    # the first run of a model that is recorded waits for the run of that commit; that of three is red, too
    assert [job for _, job, code in jobs if code != "0"] == ["gate"] * (2 + 3 + 3)


def test_what_the_workflows_have_said_on_the_way_is_one_issue_and_a_pull_request_for_each_branch(demo: Played) -> None:
    if not WITH_NODE:
        pytest.skip("Node is not here")
    hub = json.loads((demo.folder / "demo" / "github.json").read_text(encoding="utf-8"))["repositories"][REPOSITORY]
    pulls = [(each["pull"]["head"], each["state"]) for each in hub["issues"] if each["pull"]]
    assert pulls == [
        ("first-model", "closed"), ("promote/production", "closed"), ("retrain/auto", "closed"),
        ("promote/production", "closed"), ("leaked-feature", "open"), ("worse-model", "open"),
        ("looser-gates", "open"), ("revert-promotion", "closed"),
    ]  # fmt: skip
    assert [each["labels"] for each in hub["issues"] if not each["pull"]] == [["monitoring"]]
    of_each = [each["issue"] for each in hub["comments"] if "better by" in each["body"]]
    assert len(of_each) == len(set(of_each)) >= 2


def test_servers_and_canaries_stand_among_the_commands(demo: Played) -> None:
    assert len(re.findall(r"^\$ mergeline canary .*--stay$", logged(demo), re.MULTILINE)) == 2
    assert len(re.findall(r"^\$ mergeline serve .*\n.*ready, ", logged(demo), re.MULTILINE)) >= 6


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


def a_proposal_of_other_bytes(story: Story) -> None:
    """The clone's code proposes to production another model than the one that staging serves."""
    file = story.place.root / "src/mergeline/commands/promotion.py"
    text = file.read_text()
    other = 'staged.replace(release.model_sha256.encode(), b"0" * 64)'
    planted = text.replace("{PRODUCTION: staged, ", f"{{PRODUCTION: {other}, ")
    assert planted != text
    file.write_text(planted)
    story.place.commit("Propose something else")
    story.place.git("push", "-q", "origin", "main")


def no_labels(story: Story) -> None:
    for month in LIVE_MONTHS:
        file = story.place.root / "sample" / f"{month}.parquet"
        pd.read_parquet(file).assign(late=None).to_parquet(file, index=False)
    story.place.commit("Take the labels away")


def rows_that_are_gone(story: Story) -> None:
    """The branch names what is in no cache and in no remote any more."""
    place = story.place
    place.git("checkout", "-q", "-f", "-B", "lost", "origin/retrain/auto")
    file = place.root / "data.dvc"
    file.write_text(re.sub(r"md5: \w{4}", "md5: 0000", file.read_text()))
    place.commit("Name other rows")
    place.git("push", "-q", "--force", "origin", "HEAD:retrain/auto")
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


def a_commit_on_top_of_the_promotion(story: Story) -> None:
    """What is reverted then is a line of a person's: production would go on with the model to be taken back."""
    place = story.place
    place.git("checkout", "-q", "-f", "main")
    release = place.root / "k8s/overlays/production/release.yaml"
    release.write_text(f"# Served by us.\n{release.read_text()}")
    place.commit("Say who serves it")
    place.git("push", "-q", "origin", "main")
    story.way = Verbs(place)  # in no time


def a_server_of_another_model(story: Story) -> None:
    story.end()
    story.production = story.place.start("--environment", "staging", "--log", "none")


GONE = "expected success of the job `train`, found failure at `The data`" if WITH_NODE else "`dvc checkout"
BREAKS: dict[int, tuple[Callable[[Story], None], str]] = {
    1: (a_proposal_of_other_bytes, "expected the reviewed model in production's release file"),
    2: (no_labels, "a decision to retrain, found ask for labels"),
    3: (rows_that_are_gone, GONE),
    4: (a_base_that_asks_nothing_of_leaks, "the gate `leakage` to refuse"),
    5: (a_refusal_that_does_not_say_why, "expected exit code 6 of `mergeline serve"),
    6: (a_commit_on_top_of_the_promotion, "expected the first model .* at the server, not "),
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
        if number in BY_VERBS:
            story.way = Verbs(story.place, "Node is not here")
        played.act(story, number, plant)
    if number in BY_VERBS:
        verbs = demo_order.told((tmp_path / "demo" / "said.log").read_text(encoding="utf-8"))
        assert demo_order.out_of_order(verbs) == []
        assert {workflow for workflow, _ in demo_order.plays(verbs)} == BY_VERBS[number]


def test_the_twin_of_the_order_verbs_that_are_not_in_that_of_their_workflow_are_seen() -> None:
    assert demo_order.out_of_order(["repro", "gate", "record", "smoke"]) == ["retrain.yml: repro gate record"]
    assert demo_order.out_of_order(["drift", "decide", "performance"]) == ["drift.yml: drift decide performance"]
    assert demo_order.out_of_order(["propose", "smoke"]) == []  # a play that begins anew


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
