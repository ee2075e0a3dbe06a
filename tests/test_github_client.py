"""Asking GitHub: which faults are tried again, which are said at once, and that nobody else hears the token."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from github_api import GitHub, served
from github_state import EVERYTHING, Hub, token

from mergeline.errors import ConfigurationError, MergelineError, ServiceError
from mergeline.github.client import Client, Patience, Refused, Unanswered
from mergeline.github.run import Run

HERE = "octo/model"
COMMENTS = f"/repos/{HERE}/issues/1/comments"
QUICK = Patience(tries=3, backoff_s=1, timeout_s=2, longest_wait_s=60)


@pytest.fixture
def github() -> Iterator[GitHub]:
    hub = Hub(
        {"tokens": {"secret-token": token("ada", EVERYTHING, "classic"), "reader": token("bot", {"issues": "read"})}}
    )
    hub.add(HERE)
    hub.issue(HERE, "A change", "ada")
    with served(hub) as server:
        yield server


def client(github: GitHub, text: str = "secret-token", waits: list[float] | None = None) -> Client:
    return Client(github.url, text, QUICK, (waits if waits is not None else []).append)


@contextmanager
def listening(location: str = "") -> Iterator[tuple[str, list[str]]]:
    """Another host, which keeps what it hears; with `location` it sends everybody on."""
    heard: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(f"{self.path} {self.headers.get('Authorization', '')}")
            self.send_response(302 if location else 200)
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", heard
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# ---- Pages -----------------------------------------------------------------------------------------------------------


def test_all_pages_of_a_list_are_read(github: GitHub) -> None:
    for number in range(205):
        github.hub.comment(HERE, 1, "ada", str(number))
    assert [each["body"] for each in client(github).pages(COMMENTS)] == [str(number) for number in range(205)]
    assert [each.query.get("page", "1") for each in github.told] == ["1", "2", "3"]


def test_a_list_inside_of_an_object_is_read_too(github: GitHub) -> None:
    github.hub.repository(HERE)["variables"] = {f"V{number}": "1" for number in range(120)}
    assert len(list(client(github).pages(f"/repos/{HERE}/actions/variables", "variables"))) == 120


def test_what_is_no_list_is_said_to_be_none(github: GitHub) -> None:
    with pytest.raises(Unanswered, match="expected a list"):
        list(client(github).pages(f"/repos/{HERE}"))


# ---- Faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_server_that_fails_once_is_asked_again(github: GitHub, status: int) -> None:
    waits: list[float] = []
    github.fail("comments", status, times=2)
    assert client(github, waits=waits).get(COMMENTS) == []
    assert waits == [1, 2]


def test_the_twin_a_server_that_goes_on_failing_is_given_up(github: GitHub) -> None:
    github.fail("comments", 503, times=9)
    with pytest.raises(ServiceError, match=r"GET /repos/octo/model/issues/1/comments: GitHub answers 503"):
        client(github).get(COMMENTS)
    assert len(github.told) == QUICK.tries


@pytest.mark.parametrize("fault", [{"status": 502}, {"drop": "after"}, {"drop": "before"}])
def test_a_creation_whose_answer_is_lost_is_not_sent_twice(github: GitHub, fault: dict[str, object]) -> None:
    github.hub.state["faults"].append({"path": "comments", "method": "POST", "times": 9, **fault})
    with pytest.raises(Unanswered) as told:
        client(github).ask("POST", COMMENTS, {"body": "once"})
    assert told.value.lost
    assert len(github.writes()) == 1


def test_a_change_whose_answer_is_lost_is_sent_again(github: GitHub) -> None:
    made = github.hub.comment(HERE, 1, "ada", "old")
    github.fail("comments", method="PATCH", drop="after")
    client(github).ask("PATCH", f"/repos/{HERE}/issues/comments/{made['id']}", {"body": "new"})
    assert made["body"] == "new"
    assert len(github.writes()) == 2


@pytest.mark.parametrize(
    ("status", "headers", "message", "wait"),
    [
        (429, {}, "Too many", 1),
        (403, {"Retry-After": "7"}, "You have exceeded a secondary rate limit.", 7),
        (403, {}, "You have exceeded a secondary rate limit. Please wait.", 1),
        (429, {"Retry-After": "0"}, "", 0),
    ],
)
def test_a_limit_is_waited_for_as_it_says_and_a_creation_too(
    github: GitHub, status: int, headers: dict[str, str], message: str, wait: float
) -> None:
    waits: list[float] = []
    github.fail("comments", status, headers=headers, message=message)
    client(github, waits=waits).ask("POST", COMMENTS, {"body": "once"})
    assert waits == [wait]
    assert len(github.hub.repository(HERE)["comments"]) == 1


def test_a_limit_that_asks_for_too_long_a_pause_is_said_at_once(github: GitHub) -> None:
    waits: list[float] = []
    github.hub.state["rate"] = {"remaining": 0, "reset": int(time.time()) + 1800}
    with pytest.raises(ServiceError, match=r"rate limit is reached .*pause of 1\d\d\d s"):
        client(github, waits=waits).get(COMMENTS)
    assert waits == []


def test_the_twin_a_missing_permission_is_no_limit(github: GitHub) -> None:
    with pytest.raises(
        Refused, match=r"403, Resource not accessible by integration; the token needs issues=write or pull"
    ):
        client(github, "reader").ask("POST", COMMENTS, {"body": "x"})
    assert len(github.told) == 1


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        ("old-token", COMMENTS, "401, the token is not valid any more"),
        ("secret-token", "/repos/octo/other", "404, there is no such thing, or the token may not see it"),
    ],
)
def test_a_no_is_said_at_once_with_what_to_do(github: GitHub, text: str, path: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as told:
        client(github, text).get(path)
    assert text not in str(told.value)
    assert len(github.told) == 1


def test_a_server_that_is_not_there_and_one_that_is_silent_are_services_that_failed(github: GitHub) -> None:
    with pytest.raises(ServiceError, match="no connection"):
        Client("http://127.0.0.1:9", "t", QUICK, list[float]().append).get("/user")
    github.fail("comments", times=3, delay_s=0.3)
    hasty = Client(github.url, "secret-token", Patience(tries=2, timeout_s=0.1), list[float]().append)
    with pytest.raises(ServiceError, match="no whole answer"):
        hasty.get(COMMENTS)


# ---- One host --------------------------------------------------------------------------------------------------------


def test_s12_a_redirect_to_another_host_is_refused_and_hears_nothing(github: GitHub) -> None:
    with listening() as (other, heard):
        github.fail("comments", 302, headers={"Location": f"{other}/steal"})
        with pytest.raises(ServiceError, match="leads to another host"):
            client(github).get(COMMENTS)
    assert heard == []


def test_s12_a_next_page_on_another_host_is_refused_and_hears_nothing(github: GitHub) -> None:
    github.hub.comment(HERE, 1, "ada", "one")
    with listening() as (other, heard):
        link = f'<{other}/page2>; rel="next"'
        github.hub.state["faults"].append({"path": "comments", "times": 1, "headers": {"Link": link}})
        with pytest.raises(ServiceError, match="leads to another host"):
            list(client(github).pages(COMMENTS))
    assert heard == []


def test_the_twin_that_host_would_hear_what_is_sent() -> None:
    with listening() as (other, heard):
        assert Client(other, "told", QUICK).get("/page") == []
    assert heard == ["/page Bearer told"]


def test_a_redirect_on_the_same_host_is_followed_for_a_repository_that_was_renamed(github: GitHub) -> None:
    github.fail("comments", 301, headers={"Location": f"/repos/{HERE.upper()}/issues/1"})
    assert client(github).get(COMMENTS)["title"] == "A change"
    github.fail("comments", 301, method="POST", headers={"Location": COMMENTS})
    with pytest.raises(ServiceError, match="a write is redirected"):
        client(github).ask("POST", COMMENTS, {"body": "x"})
    with listening("/again") as (other, heard), pytest.raises(ServiceError, match="in a circle"):
        Client(other, "t", QUICK).get("/again")
    assert len(heard) == 3


@pytest.mark.parametrize(
    "api",
    ["http://api.example.org", "ftp://127.0.0.1", "https://user:pw@host", "https://", "file:///etc", "api.github.com"],
)
def test_an_address_that_would_show_the_token_is_refused(api: str) -> None:
    with pytest.raises(ConfigurationError, match="GITHUB_API_URL"):
        Client(api, "t")


def test_a_token_that_cannot_be_sent_is_refused_unseen() -> None:
    with pytest.raises(ConfigurationError) as told:
        Client("https://api.github.com", "se\ncret")
    assert "cret" not in str(told.value)


def test_whom_a_token_speaks_for_is_asked_where_it_can_be_known(github: GitHub) -> None:
    github.hub.state["tokens"] |= {"ghs_1": token("github-actions[bot]"), "odd": token("app[bot]")}
    assert client(github).login() == "ada"
    assert client(github, "ghs_1").login() == "github-actions[bot]"
    assert client(github, "odd").login() == "app[bot]"
    assert [each.path for each in github.told] == ["/user", "/graphql", "/user", "/graphql"]


# ---- The environment -------------------------------------------------------------------------------------------------


def run_of(tmp_path: Path, event: object = None, **variables: str) -> Run:
    if event is not None:
        path = tmp_path / "event.json"
        path.write_text(event if isinstance(event, str) else json.dumps(event))
        variables["GITHUB_EVENT_PATH"] = str(path)
    return Run.of(variables)


def pull_event(head: object, login: str = "ada") -> dict[str, object]:
    return {
        "pull_request": {"number": 5, "head": {"repo": head}, "base": {"repo": {"full_name": HERE}}},
        "sender": {"login": login},
    }


@pytest.mark.parametrize(
    ("event", "number", "read_only"),
    [
        (pull_event({"full_name": HERE}), 5, False),
        (pull_event({"full_name": "eve/model"}), 5, True),
        (pull_event(None), 5, True),
        (pull_event({"full_name": HERE}, "dependabot[bot]"), 5, True),
        ({"issue": {"number": 8, "pull_request": {}}}, None, False),
        ({"issue": {"number": 8, "pull_request": {"url": "x"}}}, 8, False),
        ({"issue": {"number": 8}}, None, False),
        ({"ref": "refs/heads/main"}, None, False),
        ([], None, False),
        (None, None, False),
    ],
    ids=["own", "fork", "fork gone", "dependabot", "issue", "comment", "no pull", "push", "no object", "laptop"],
)
def test_an_event_says_the_pull_request_and_what_its_token_may(
    tmp_path: Path, event: object, number: int | None, read_only: bool
) -> None:
    run = run_of(tmp_path, event)
    assert (run.pull_request, run.read_only) == (number, read_only)


def test_what_the_environment_says_wrong_is_named(tmp_path: Path) -> None:
    for given in ({"GITHUB_REPOSITORY": "no-slash"}, {"GITHUB_EVENT_PATH": str(tmp_path / "none.json")}):
        with pytest.raises(ConfigurationError, match=next(iter(given))):
            Run.of(given)
    with pytest.raises(ConfigurationError, match="GITHUB_EVENT_PATH"):
        run_of(tmp_path, "{half")
    with pytest.raises(ConfigurationError, match="GITHUB_TOKEN"):
        run_of(tmp_path).client()
    with pytest.raises(ConfigurationError, match="GITHUB_REPOSITORY"):
        run_of(tmp_path).named()


# ---- The small GitHub itself -----------------------------------------------------------------------------------------


def test_the_small_github_runs_as_a_program_and_keeps_its_state_and_its_record(tmp_path: Path) -> None:
    state, record = tmp_path / "state.json", tmp_path / "wire.jsonl"
    hub = Hub({"tokens": {"t": token("ada", EVERYTHING, "classic")}}, state)
    hub.add(HERE)
    hub.issue(HERE, "A change", "ada")
    hub.save()
    program = [
        sys.executable,
        str(Path(__file__).parent / "github_api.py"),
        "--state",
        str(state),
        "--record",
        str(record),
    ]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = process.stdout.readline().strip() if process.stdout else ""
            Client(f"{url}/api/v3", "t", QUICK).ask("POST", COMMENTS, {"body": "hello"})
            with pytest.raises(MergelineError):
                Client(url, "other", QUICK).get("/user")
            with urllib.request.urlopen(f"{url}/_requests") as answer:
                assert [each["status"] for each in json.load(answer)] == [201, 401]
        finally:
            process.terminate()
    assert Hub.load(state).repository(HERE)["comments"][0]["body"] == "hello"
    assert [json.loads(line)["login"] for line in record.read_text().splitlines()] == ["ada", ""]
    assert "Bearer" not in record.read_text()
