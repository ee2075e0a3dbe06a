"""One comment on a pull request, and the summary of the run: what `mergeline post` sees to, over real HTTP."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import servers
from github_api import GitHub, served
from github_state import ACTIONS, Hub, token
from hypothesis import given
from hypothesis import strategies as st

from mergeline.errors import ConfigurationError, DataError, MergelineError
from mergeline.github.client import Patience
from mergeline.github.comment import LARGEST_CHARACTERS, Comment, body_of, decided, is_marked, mark, watermark
from mergeline.github.excerpt import excerpt
from mergeline.github.posting import LARGEST_SUMMARY_BYTES, append_summary, post

HERE = "octo/model"
BOT = "github-actions[bot]"
WRITER = {**ACTIONS, "pull_requests": "write"}
QUICK = Patience(tries=2, backoff_s=0, timeout_s=5, longest_wait_s=1)
REPORT = Path("reports/report.md")


@dataclass(frozen=True, slots=True)
class Job:
    """A job of a workflow on a pull request: a checkout, an environment, a GitHub."""

    root: Path
    github: GitHub
    environment: dict[str, str]

    def write(self, report: str) -> None:
        (self.root / REPORT).parent.mkdir(exist_ok=True)
        (self.root / REPORT).write_text(report)

    def post(self, number: int | None = None, title: str = "report") -> str:
        return post(self.root, REPORT, number, title, self.environment, QUICK)

    def bodies(self) -> list[str]:
        return [each["body"] for each in self.github.hub.repository(HERE)["comments"]]

    def summary(self) -> str:
        path = Path(self.environment["GITHUB_STEP_SUMMARY"])
        return path.read_text() if path.exists() else ""

    def come_from(self, repository: str) -> None:
        event = {"pull_request": {"number": 1, "head": {"repo": {"full_name": repository}}}}
        event["pull_request"]["base"] = {"repo": {"full_name": HERE}}
        Path(self.environment["GITHUB_EVENT_PATH"]).write_text(json.dumps(event))


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    hub = Hub(
        {"tokens": {"ghs_job": token(BOT, WRITER), "ghs_reader": token(BOT, ACTIONS | {"pull_requests": "read"})}}
    )
    hub.add(HERE)
    hub.pull(HERE, "better", "ada", sha="1" * 40)
    with served(hub) as github:
        names = {"API_URL": github.url, "REPOSITORY": HERE, "TOKEN": "ghs_job", "RUN_ID": "7"}
        names |= {"EVENT_PATH": str(tmp_path / "event.json"), "STEP_SUMMARY": str(tmp_path / "summary.md")}
        names["SERVER_URL"] = "https://github.com"
        made = Job(tmp_path, github, {f"GITHUB_{name}": value for name, value in names.items()})
        made.come_from(HERE)
        made.write("# The verdict\n\nbetter\n")
        yield made


# ---- One comment -----------------------------------------------------------------------------------------------------


def test_the_first_run_creates_the_comment_later_ones_patch_it_and_an_equal_one_writes_nothing(job: Job) -> None:
    assert job.post() == "added to the summary; pull request #1: the comment 'report' is created"
    assert job.bodies() == [f"<!-- mergeline: report -->\n# The verdict\n\nbetter\n\n{watermark('report')}"]
    assert "stands as it is" in job.post()
    job.write("# The verdict\n\nworse\n")
    assert "brought up to date" in job.post()
    assert job.bodies() == [f"<!-- mergeline: report -->\n# The verdict\n\nworse\n\n{watermark('report')}"]
    comments = f"/repos/{HERE}/issues"
    number = job.github.hub.repository(HERE)["comments"][0]["id"]
    assert job.github.writes() == [("POST", f"{comments}/1/comments"), ("PATCH", f"{comments}/comments/{number}")]


def test_the_comment_is_found_behind_hundreds_of_others(job: Job) -> None:
    for number in range(130):
        job.github.hub.comment(HERE, 1, "ada", f"talk {number}")
    job.post()
    for number in range(130):
        job.github.hub.comment(HERE, 1, "ada", f"more {number}")
    job.write("other")
    job.post()
    assert sum("mergeline" in body for body in job.bodies()) == 1


def test_the_twin_a_look_at_the_first_page_alone_would_make_a_second_comment(job: Job) -> None:
    for number in range(130):
        job.github.hub.comment(HERE, 1, "ada", f"talk {number}")
    job.post()
    job.github.hub.state["faults"].append({"path": "1/comments", "method": "GET", "times": 9, "headers": {"Link": ""}})
    job.write("other")
    job.post()
    assert sum("mergeline" in body for body in job.bodies()) == 2


def test_a_comment_with_the_mark_that_somebody_else_wrote_is_left_alone(job: Job) -> None:
    forged = job.github.hub.comment(HERE, 1, "eve", f"{mark('report')}\nAll gates passed")
    quoted = job.github.hub.comment(HERE, 1, BOT, f"> {mark('report')}\nwhat is this?")
    assert "created" in job.post()
    assert "stands" in job.post()
    assert (forged["body"], quoted["body"]) == (
        f"{mark('report')}\nAll gates passed",
        f"> {mark('report')}\nwhat is this?",
    )
    assert len(job.bodies()) == 3


def test_two_titles_are_two_comments(job: Job) -> None:
    job.post(title="report")
    job.post(title="drift: June")
    job.post(title="report")
    assert len(job.bodies()) == 2


def test_of_the_duplicates_of_a_race_the_oldest_stays_and_nobody_elses_goes(job: Job) -> None:
    first = job.github.hub.comment(HERE, 1, BOT, f"{mark('report')}\none")
    other = job.github.hub.comment(HERE, 1, "eve", f"{mark('report')}\nmine")
    job.github.hub.comment(HERE, 1, BOT, f"{mark('report')}\ntwo")
    assert "brought up to date, 1 of an earlier race removed" in job.post()
    assert [each["id"] for each in job.github.hub.repository(HERE)["comments"]] == [first["id"], other["id"]]


@pytest.mark.parametrize("fault", [{"drop": "after"}, {"status": 502}])
def test_a_creation_whose_answer_is_lost_leaves_one_comment(job: Job, fault: dict[str, object]) -> None:
    job.github.hub.state["faults"].append({"path": "comments", "method": "POST", "times": 1, **fault})
    job.post()
    assert len(job.bodies()) == 1


def test_a_comment_that_is_taken_away_under_the_hand_is_made_anew(job: Job) -> None:
    job.post()
    job.write("other")
    job.github.fail("issues/comments", 404, method="PATCH")
    job.github.hub.repository(HERE)["comments"][0]["body"] = f"{mark('report')}\nold"
    assert "brought up to date" in job.post()


def test_line_ends_that_an_edit_in_the_browser_changes_are_no_difference() -> None:
    there = Comment(1, BOT, True, "a\r\nb\r\n")
    assert decided([there], BOT, "a\nb\n").patch is None
    assert decided([there], BOT, "a\nc\n").patch == 1
    assert decided([there], "github-actions", "a\nb").create is False  # as GraphQL may name an app
    assert decided([Comment(1, BOT, False, "a")], "github-actions", "a").create is True


@pytest.mark.parametrize("title", ["", "a --> b", "x" * 101, "-a", "a\nb", "<b>", "a--b"])
def test_a_title_that_could_end_its_mark_is_refused_before_anything_is_written(job: Job, title: str) -> None:
    with pytest.raises(ConfigurationError, match="--title"):
        job.post(title=title)
    assert job.summary() == ""
    assert job.github.told == []


# ---- Beside CML ------------------------------------------------------------------------------------------------------


def of_cml(title: str, sha: str = "1f" * 20, report: str = "# The verdict\n\nolder") -> str:
    """A comment as `cml comment update --watermark-title=TITLE` leaves it."""
    return f'{report}\n\n![](https://cml.dev/watermark.png#{sha} "CML watermark {title}")'


def cml_finds(body: str, title: str) -> bool:
    """Whether CML 0.20.6 takes a comment for its own: by this pattern anywhere in it, whatever the commit."""
    return (
        re.search(rf'!\[\]\(https://cml\.dev/watermark\.png#[0-9a-fA-F]+ "CML watermark {title}"\)', body) is not None
    )


@pytest.mark.parametrize("before", [0, 40])
def test_a_comment_that_cml_made_is_taken_over_on_any_page_and_cml_finds_it_again(job: Job, before: int) -> None:
    for number in range(before):
        job.github.hub.comment(HERE, 1, "ada", f"talk {number}")
    theirs = job.github.hub.comment(HERE, 1, BOT, of_cml("report"))
    assert "brought up to date" in job.post()
    assert len(job.bodies()) == before + 1
    assert theirs["body"].startswith(f"{mark('report')}\n# The verdict\n\nbetter\n")
    assert cml_finds(theirs["body"], "report")
    theirs["body"] = of_cml("report")  # as CML patches it
    assert "brought up to date" in job.post()
    assert len(job.bodies()) == before + 1


def test_what_cml_made_anew_at_each_run_because_it_reads_one_page_is_one_comment_again(job: Job) -> None:
    job.post()
    for sha in ("a" * 40, "b" * 40):
        job.github.hub.comment(HERE, 1, BOT, of_cml("report", sha))
    assert "2 of an earlier race removed" in job.post()
    assert len(job.bodies()) == 1


@pytest.mark.parametrize(
    ("login", "body"),
    [
        pytest.param("eve", of_cml("report"), id="somebody else's"),
        pytest.param(BOT, of_cml("drift"), id="another title"),
        pytest.param(BOT, of_cml("report of June"), id="a title that only begins like it"),
        pytest.param(BOT, f"{of_cml('report')}\nwhat is this?", id="one that goes on behind the mark"),
        pytest.param(BOT, "see " + of_cml("report", report="").strip(), id="one that mentions the mark"),
        pytest.param(BOT, of_cml("report").replace("cml.dev", "cmlxdev"), id="another picture"),
    ],
)
def test_twin_a_comment_that_is_not_cmls_own_of_this_title_is_left_alone(job: Job, login: str, body: str) -> None:
    there = job.github.hub.comment(HERE, 1, login, body)
    assert "is created" in job.post()
    assert there["body"] == body


def test_the_mark_of_cml_is_hidden_and_no_picture_is_asked_for() -> None:
    assert re.sub(r"<!--.*?-->", "", body_of("report", "x\n", "REST"), flags=re.DOTALL).strip() == "x"
    assert is_marked(Comment(1, BOT, True, of_cml(r"model\_report")), "model_report")  # as CML writes it


# ---- Too long --------------------------------------------------------------------------------------------------------


def test_a_report_that_is_too_long_is_cut_at_a_line_and_says_where_the_rest_is(job: Job) -> None:
    job.write("".join(f"line {number} of many\n" for number in range(5000)))
    job.post()
    body = job.bodies()[0]
    assert LARGEST_CHARACTERS - 300 < len(body) <= LARGEST_CHARACTERS
    *_, last, _, rest, _, end = body.splitlines()
    assert last.endswith("of many")
    assert "[the run](https://github.com/octo/model/actions/runs/7)" in rest
    assert end == watermark("report")
    assert job.summary().endswith("line 4999 of many\n")


def test_the_twin_github_takes_no_longer_one(job: Job) -> None:
    job.github.hub.comment(HERE, 1, BOT, "x")
    with pytest.raises(MergelineError, match=r"422, Validation Failed: body is too long"):
        from mergeline.github.comment import put
        from mergeline.github.run import Run

        put(Run.of(job.environment).client(QUICK), HERE, 1, "report", "x" * (LARGEST_CHARACTERS + 1))


def test_what_a_cut_leaves_open_is_closed() -> None:
    text = "<details><summary>all</summary>\n\n```text\n" + "row\n" * 100 + "```\n</details>\nend\n"
    cut = excerpt(text, 200, "REST")
    assert cut.endswith("row\n```\n</details>\n\nREST\n")
    assert excerpt(text, len(text), "REST") == text
    assert excerpt("x" * 300, 200, "REST") == "\nREST\n"


@given(
    st.lists(
        st.sampled_from(["a\n", "```\n", "~~~~ x\n", "<details>\n", "</details>\n", "<table><tr>\n", "é\n"]),
        max_size=60,
    )
)
def test_a_cut_never_exceeds_its_limit_and_ends_outside_of_every_block(lines: list[str]) -> None:
    text = "".join(lines)
    cut = excerpt(text, 80, "REST")
    assert len(cut) <= max(80, len(text) if len(text) <= 80 else 0)
    if len(text) > 80:
        assert cut.endswith("\nREST\n")
        assert excerpt(cut + "b" * 1000 + "\n", len(cut) + 20, "END") in (f"{cut}\nEND\n", f"{cut.rstrip()}\n\nEND\n")


# ---- The summary -----------------------------------------------------------------------------------------------------


def test_a_summary_has_room_for_one_mebibyte_and_is_never_pushed_over_it(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    assert append_summary(None, "x", "REST") == ""
    assert append_summary(path, "first", "REST") == "added to the summary"
    assert append_summary(path, "first", "REST") == "the summary has it already"
    append_summary(path, "é" * 100 + "\n" + f"{'ü' * 50}\n" * 20_000, "REST")
    assert path.read_text().startswith("first\né")
    assert path.read_text().endswith("REST\n")
    assert LARGEST_SUMMARY_BYTES - 200 <= path.stat().st_size <= LARGEST_SUMMARY_BYTES
    assert append_summary(path, "more\n" * 200, "REST " * 100) == ""
    with pytest.raises(ConfigurationError, match="GITHUB_STEP_SUMMARY"):
        append_summary(tmp_path / "none" / "summary.md", "x", "REST")


@pytest.mark.parametrize("status", [403, 404, 422, 500, 503])
def test_the_summary_holds_the_report_whatever_becomes_of_the_comment(job: Job, status: int) -> None:
    job.github.fail("comments", status, times=9)
    with pytest.raises(MergelineError) as told:
        job.post()
    assert told.value.exit_code == (7 if status >= 500 else 2)
    assert job.summary() == "# The verdict\n\nbetter\n"


def test_a_fork_ends_well_with_the_summary_alone(job: Job) -> None:
    job.come_from("eve/model")
    job.environment["GITHUB_TOKEN"] = "ghs_reader"
    assert job.post().startswith("added to the summary; no comment: GitHub gives a fork's run")
    assert job.bodies() == []


def test_the_twins_own_branches_need_the_permission_and_a_fork_without_a_summary_loses_its_report(job: Job) -> None:
    job.environment["GITHUB_TOKEN"] = "ghs_reader"
    with pytest.raises(ConfigurationError, match="the token needs issues=write or pull_requests=write"):
        job.post()
    job.come_from("eve/model")
    del job.environment["GITHUB_STEP_SUMMARY"]
    with pytest.raises(ConfigurationError, match="403"):
        job.post()


def test_a_run_that_no_pull_request_started_has_a_summary_and_no_comment(job: Job) -> None:
    Path(job.environment["GITHUB_EVENT_PATH"]).write_text('{"ref": "refs/heads/main"}')
    assert job.post() == "added to the summary; no pull request started this run, so there is no comment"
    assert job.github.told == []
    assert "created" in job.post(1)
    del job.environment["GITHUB_STEP_SUMMARY"]
    with pytest.raises(ConfigurationError, match="--pull-request"):
        job.post()


def test_a_report_that_is_missing_or_empty_is_a_fault_of_data(job: Job) -> None:
    job.write(" \n")
    with pytest.raises(DataError, match="empty"):
        job.post()
    (job.root / REPORT).unlink()
    with pytest.raises(DataError, match="mergeline report"):
        job.post()


def test_s12_nothing_but_the_api_is_asked_and_only_for_comments(job: Job) -> None:
    job.post()
    job.post()
    assert {each.host for each in job.github.told} == {job.github.url.removeprefix("http://")}
    assert {each.path for each in job.github.told} == {f"/repos/{HERE}/issues/1/comments", "/graphql"}


def test_the_body_is_the_report_word_for_word() -> None:
    assert body_of("a", "| x |\n", "REST") == f"<!-- mergeline: a -->\n| x |\n\n{watermark('a')}"


# ---- As a user -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "change", "code", "said"),
    [
        ([], {}, 0, "the comment 'report' is created"),
        (["--pull-request", "9"], {}, 2, "404"),
        (["--pull-request", "0"], {}, 2, "--pull-request"),
        ([], {"GITHUB_TOKEN": "gone"}, 2, "401"),
        ([], {"GITHUB_TOKEN": ""}, 2, "GITHUB_TOKEN: not set"),
        ([], {"GITHUB_API_URL": "http://example.org"}, 2, "GITHUB_API_URL"),
        (["--report", "none.md"], {}, 3, "none.md: no such record"),
    ],
)
def test_from_the_command_line_each_end_has_its_code_and_one_line(
    job: Job, options: list[str], change: dict[str, str], code: int, said: str
) -> None:
    ran = servers.run(job.root, "post", *options, **(job.environment | change))
    assert ran.returncode == code, ran.stderr
    assert said in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr
