"""The pages in a headless Chromium, against real servers: what a person types is what the model answers."""

from __future__ import annotations

import json
import re
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from browser import Browser, launched
from selenium.webdriver.common.keys import Keys
from servers import Server, ask, release, requests_of, serving, with_signature
from tables import orders, params
from tools import tool

from mergeline.schema import Task

if TYPE_CHECKING:
    from mergeline.stages.train import Trained

KEY = "a key of many characters"
NAMES = {
    "amount": "<script>alert('amount')</script>",
    "visits": "a.b[0] & it's ${x} 東京",
    "member": "__proto__",
    "channel": "</script><img src=x onerror=alert(1)>",
    "since": "y" * 200,
}
LONG = "a category of two hundred characters " * 6


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with launched(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module")
def server(candidate: Trained, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A binary model of all kinds of features, without the drift of earlier requests in mind."""
    root = tmp_path_factory.mktemp("binary")
    with serving(root, *release(root, candidate).options) as started:
        yield started


@pytest.fixture
def page(browser: Browser, server: Server) -> Browser:
    """The page as it comes up on a desk."""
    browser.resize(1440, "light")
    browser.open(server.url)
    return browser


# ---- Filling in and reading off --------------------------------------------------------------------------------------


def fill(page: Browser, field: str, value: str | None) -> None:
    """Put a value in a field as its control would hold it, None for what is not known."""
    element = control(page, field)
    if element.tag_name == "select":
        options = element.find_elements("tag name", "option")
        wanted = next((each for each in options if each.get_property("textContent") == (value or "not known")), None)
        (wanted or options[-1]).click()
        if wanted is None:
            page.find(f"#{element.get_property('id')}-other").send_keys(str(value))
        return
    page.run("arguments[0].value = arguments[1]", element, value or "")


def control(page: Browser, field: str) -> Any:
    """The control that a label of this name is for."""
    position = page.run("return fields.findIndex((field) => field.name === arguments[0])", field)
    assert position >= 0, f"the page has no field for {field!r}"
    return page.find(f"#f{position}")


def answer(page: Browser) -> dict[str, Any]:
    """Press the button; return the answer that stands there, read off the elements that a person sees."""
    page.run("document.getElementById('answer').replaceChildren()")
    page.find("#form button[type=submit]").click()
    page.wait_until("an answer", lambda: page.text("#answer") != "")
    assert not page.driver.find_elements("css selector", ".refused"), page.text("#answer")
    decided = page.driver.find_elements("css selector", "#decision")
    return {
        "score": float(str(page.find("#score").get_dom_attribute("value"))),
        "decision": decided[0].text if decided else None,
        "variant": page.text("#answered-by"),
    }


def told(server: Server, features: dict[str, Any]) -> dict[str, Any]:
    """What /predict says of the same features."""
    found = server.predict([features])[0]
    return {name: found[name] for name in ("score", "decision", "variant")}


def samples(asked: Trained) -> list[dict[str, Any]]:
    return [sample.row for sample in asked.signature.samples]


# ---- Predicting ------------------------------------------------------------------------------------------------------


def test_the_form_answers_each_known_sample_as_predict_does(page: Browser, server: Server, candidate: Trained) -> None:
    for number, row in enumerate(samples(candidate)):
        assert f"Known sample {number + 1} of 5" in page.text("#which")
        assert answer(page) == told(server, row)
        assert page.text("#score") == f"{float(str(page.find('#score').get_dom_attribute('value'))):.4g}"
        assert f"the threshold {candidate.signature.threshold:.4g}" in page.text("#why")
        assert uuid.UUID(page.text("#request-id")).version == 7
        assert re.fullmatch(r"[\d.,]+ ms, seen from this browser", page.text("#took"))
        page.find("#another").click()
    assert "Known sample 1 of 5" in page.text("#which")


def test_the_form_sends_what_a_person_puts_in(page: Browser, server: Server, candidate: Trained) -> None:
    """A number, a truth value, a time, a known category, one that training did not know, and a gap."""
    row = samples(candidate)[0]
    fill(page, "amount", "81.25")
    fill(page, "member", "yes" if row["member"] is False else "no")
    fill(page, "since", "2021-05-06T07:08")
    fill(page, "channel", "desk")
    fill(page, "shop", "a shop that opened yesterday")
    fill(page, "visits", None)
    page.find("#entity").send_keys("e-17")
    changed = {"amount": 81.25, "member": not row["member"], "since": "2021-05-06T07:08:00Z", "channel": "desk"}
    assert answer(page) == told(server, {**row, **changed, "shop": "a shop that opened yesterday", "visits": None})
    page.find("#answer summary").click()
    sent = json.loads(page.text("#answer pre"))["rows"][0]
    assert sent["entity_id"] == "e-17"
    assert list(sent["features"]) == [feature.name for feature in candidate.signature.features]


def test_nothing_known_is_answered_too(page: Browser, server: Server, candidate: Trained) -> None:
    page.find("#clear").click()
    assert answer(page) == told(server, dict.fromkeys(samples(candidate)[0]))


def test_the_twin_a_page_that_calls_a_field_otherwise_gets_no_answer(page: Browser) -> None:
    page.run("controls[0].name = 'amuont'")
    with pytest.raises(AssertionError, match="amuont"):
        answer(page)


def test_the_twin_a_page_that_sends_another_value_answers_otherwise(
    page: Browser, server: Server, candidate: Trained
) -> None:
    page.run("controls.find((each) => each.name === 'shop').values.reverse()")
    page.run("controls.find((each) => each.name === 'amount').exact[0] += 80")
    assert answer(page)["score"] != told(server, samples(candidate)[0])["score"]


@pytest.mark.parametrize("task", [Task.MULTICLASS, Task.REGRESSION])
def test_the_other_tasks_answer_as_predict_does(task: Task, browser: Browser, tmp_path: Path) -> None:
    from mergeline.stages.train import train

    trained = train(orders(), params(str(task)))
    with serving(tmp_path, *release(tmp_path, trained).options) as server:
        browser.open(server.url)
        assert answer(browser) == told(server, samples(trained)[0])
        said = browser.text("#answer")
        if task is Task.REGRESSION:
            assert "price, in its own unit" in said
            return
        found = server.predict(samples(trained)[:1])[0]["scores"]
        ranked = sorted(found, key=lambda name: -found[name])
        shown = [element.text.split("\n") for element in browser.driver.find_elements("css selector", "#answer li")]
        assert shown == [[name, f"{found[name]:.4g}"] for name in ranked]


# ---- Problems --------------------------------------------------------------------------------------------------------


def blamed(page: Browser) -> dict[str, str]:
    """The ids of the controls that are marked as wrong, with the sentence that describes each of them."""
    page.find("#form button[type=submit]").click()
    page.wait_until("a problem", lambda: page.driver.find_elements("css selector", "#answer.refused"))
    marked = page.driver.find_elements("css selector", "[aria-invalid=true]")
    described = {
        str(each.get_property("id")): str(each.get_dom_attribute("aria-describedby")).split() for each in marked
    }
    return {name: page.text(f"#{ids[-1]}") for name, ids in described.items()}


@pytest.mark.parametrize(
    ("field", "typed", "said"),
    [
        ("amount", "1e39", "expected float <= 3.4028234663852886e+38"),
        ("amount", "e", "expected a number, or nothing where it is not known"),
        ("shop", "x" * 300, "expected str of length <= 256"),
    ],
)
def test_a_wrong_value_has_its_problem_beside_its_field(page: Browser, field: str, typed: str, said: str) -> None:
    wanted = control(page, field)
    name = str(wanted.get_property("id"))
    if wanted.tag_name == "select":
        fill(page, field, typed)
        name += "-other"
    else:
        wanted.clear()
        wanted.send_keys(typed)
    assert blamed(page) == {name: said}
    assert page.driver.switch_to.active_element.get_property("id") == name
    page.find("#another").click()
    answer(page)
    assert not page.driver.find_elements("css selector", "[aria-invalid]")


def test_a_wrong_entity_has_its_problem_beside_it(page: Browser) -> None:
    page.run("document.getElementById('entity').value = 'e'.repeat(300)")
    assert blamed(page) == {"entity": "expected str of length <= 256"}
    assert "rows[0].entity_id" in page.text("#answer")


def test_half_a_date_is_no_date(page: Browser) -> None:
    wanted = control(page, "since")
    fill(page, "since", None)
    wanted.send_keys("05")
    assert list(blamed(page).values()) == ["expected a whole date and time, or nothing where it is not known"]


def test_a_server_that_wants_a_key_gets_it_from_the_form(browser: Browser, candidate: Trained, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    options = (*release(tmp_path, candidate).options, "--api-key-file", str(tmp_path / "key"))
    with serving(tmp_path, *options) as server:
        browser.open(server.url)
        assert list(blamed(browser)) == ["api-key"]
        browser.find("#api-key").send_keys(KEY)
        assert answer(browser)["variant"] == "champion"


# ---- Live ------------------------------------------------------------------------------------------------------------


def drift(page: Browser) -> dict[str, list[str]]:
    """The rows of the table by feature, in its order: PSI, bound, reading."""
    rows = page.run(
        "return [...document.querySelectorAll('#drifts tr')].map((row) => [row.dataset.feature,"
        " [...row.querySelectorAll('td')].map((cell) => cell.textContent).filter(Boolean)])"
    )
    return dict(rows)


def test_drift_and_latency_show_after_some_hundred_requests(
    browser: Browser, candidate: Trained, tmp_path: Path
) -> None:
    """The page keeps up by itself: it is loaded once, before the first request."""
    rows = requests_of(orders(600, seed=11), candidate.signature)[300:]
    rows = [{**row, "amount": (row["amount"] or 0) + 500} for row in rows]
    with serving(tmp_path, *release(tmp_path, candidate).options) as server:
        browser.open(server.url)
        assert set(drift(browser)) == {*rows[0], "score"}
        assert all(row[-1] == "not enough rows yet: 0 of 200" for row in drift(browser).values())
        assert browser.text("#live-p50") == "–\nhalf of the requests are faster"
        connection = server.connect()
        for row in rows:
            assert ask(connection, "/predict", {"rows": [{"features": row}]}).status == 200
        assert ask(connection, "/predict", b"{").status == 400
        browser.wait_until("300 requests", lambda: browser.text("#live-answered").startswith("300 requests"))
        browser.wait_until("drift", lambda: drift(browser)["amount"][-1] == "shifted")
        found = drift(browser)
        assert next(iter(found)) == "amount"
        sizes = [float(row[0]) for row in found.values()]
        assert sizes == sorted(sizes, reverse=True)
        status = server.ask("/status").json
        assert found["amount"][0] == f"{status['drift']['amount']['psi']:.3g}"
        assert found["noise"][-1] == "within chance"
        assert all(re.match(r"[\d.]+ ms", browser.text(f"#live-{name}")) for name in ("p50", "p95", "p99"))
        assert browser.text("#live-refused") == "1 request\n400: 1"
        assert browser.text("#live-rows") == "300 rows\nchampion: 300"
        assert browser.text("#live-dropped") == "0 rows"


def test_the_page_says_when_the_server_is_gone_and_when_it_is_back_with_another_release(
    browser: Browser, candidate: Trained, tmp_path: Path
) -> None:
    other = with_signature(candidate, threshold=0.9)
    with serving(tmp_path, *release(tmp_path, candidate).options) as server:
        browser.open(server.url)
        port = str(server.port)
        assert browser.text("#trouble") == ""
        server.stop()
        browser.wait_until("word of it", lambda: "does not answer" in browser.text("#trouble"))
    with serving(tmp_path, *release(tmp_path, other, "other").options, "--port", port):
        browser.wait_until("word of it", lambda: "another release" in browser.text("#trouble"))


def test_a_page_that_nobody_sees_asks_for_nothing(page: Browser) -> None:
    assert page.run("return timer !== null")
    turn = "Object.defineProperty(document, 'hidden', { value: arguments[0], configurable: true });"
    notice = "document.dispatchEvent(new Event('visibilitychange'));"
    page.run(turn + notice, True)
    page.wait_until("a pause", lambda: page.run("return timer === null"))
    page.run(turn + notice, False)
    page.wait_until("going on", lambda: page.run("return timer !== null"))


# ---- Nothing else, for everybody -------------------------------------------------------------------------------------


def test_a_visit_leaves_no_word_in_the_console_and_asks_nobody_else(page: Browser, server: Server) -> None:
    answer(page)
    page.run("return poll()")
    for path in ("/docs", "/"):
        page.driver.get(server.url + path)
    assert page.console() == []
    asked = page.asked_for()
    assert {f"{server.url}/", f"{server.url}/status", f"{server.url}/predict", f"{server.url}/docs"} <= set(asked)
    assert [url for url in asked if not url.startswith((f"{server.url}/", "data:"))] == []


def test_the_twin_a_script_that_asks_somebody_else_is_refused_and_seen(page: Browser) -> None:
    page.run("fetch('http://localhost:9/').catch(() => null)")
    page.wait_until("word of it", lambda: any("Content Security Policy" in line for line in page.console()))


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Trained]]:
    """A model of forty features whose names are markup, a category of 200 characters among 300 others."""
    from mergeline.stages.train import train

    table = orders().rename(columns=NAMES)
    table["shop"] = [LONG if number % 9 == 0 else f"s{number % 300:03}" for number in range(len(table))]
    more = [f"more {number}" for number in range(33)]
    generator = np.random.default_rng(1)
    table = table.assign(**{name: generator.normal(size=len(table)).astype(np.float32) for name in more})
    data = {
        "numeric": [NAMES["amount"], NAMES["visits"], NAMES["member"], NAMES["since"], "noise", *more],
        "categorical": [NAMES["channel"], "shop"],
    }
    settings = {"preprocessing": {"min_category_rows": 1}}
    trained = train(table, params(data=data, train=settings))
    root = tmp_path_factory.mktemp("odd")
    with serving(root, *release(root, trained).options) as started:
        yield started, trained


def test_names_that_are_markup_are_text_and_are_sent_as_they_are(browser: Browser, odd: tuple[Server, Trained]) -> None:
    server, trained = odd
    browser.resize(1440, "light")
    browser.open(server.url)
    labels = [each.text.rpartition(" ")[0] for each in browser.driver.find_elements("css selector", ".fields label")]
    for name in (NAMES["amount"], NAMES["channel"]):
        assert any(name in label for label in labels), name
    assert answer(browser) == told(server, samples(trained)[0])
    fill(browser, NAMES["member"], None)
    fill(browser, NAMES["visits"], "3")
    changed = {NAMES["member"]: None, NAMES["visits"]: 3}
    assert answer(browser) == told(server, {**samples(trained)[0], **changed})
    assert NAMES["amount"] in drift(browser)
    assert browser.console() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("path", ["/", "/docs"])
def test_no_page_is_wider_than_its_window(
    path: str, width: int, scheme: str, browser: Browser, odd: tuple[Server, Trained]
) -> None:
    server, _ = odd
    browser.resize(width, scheme)
    browser.open(server.url + path)
    browser.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    if path == "/":
        answer(browser)
    assert browser.run("return innerWidth") == width
    assert browser.overflow() == 0
    ground = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground))) > 380) is (scheme == "light")


def test_the_twin_what_is_too_wide_is_seen(page: Browser) -> None:
    page.resize(390, "light")
    page.run("document.querySelector('h1').style.width = '500px'")
    assert page.overflow() > 0


def test_a_keyboard_alone_reaches_every_control_in_order_and_predicts(page: Browser, candidate: Trained) -> None:
    reached, outlines = [], set()
    for _ in range(60):
        page.driver.switch_to.active_element.send_keys(Keys.TAB)
        element = page.driver.switch_to.active_element
        reached.append(str(element.get_property("id")))
        outlines.add(element.value_of_css_property("outline-style"))
        if reached[-1] == "clear":
            break
    fields = [f"f{number}" for number in range(len(candidate.signature.features))]
    assert list(dict.fromkeys(name for name in reached if name)) == [*fields, "entity", "another", "clear"]
    assert outlines == {"solid"}
    page.find("#f0").send_keys(Keys.ENTER)
    page.wait_until("an answer", lambda: page.driver.find_elements("css selector", "#score"))


def test_without_scripts_the_release_and_the_way_to_the_rest_are_there(browser: Browser, server: Server) -> None:
    browser.let_scripts_run(allowed=False)
    try:
        browser.open(server.url)
        seen = browser.text("body")
    finally:
        browser.let_scripts_run(allowed=True)
    for fact in ("bought", "hist_gradient_boosting", "The form needs JavaScript", "/status has them as JSON"):
        assert fact in seen, fact


def test_the_command_of_the_reference_works_against_this_server(browser: Browser, server: Server) -> None:
    tool("curl", "bash")
    browser.open(f"{server.url}/docs")
    for name in ("predict", "status"):
        command = browser.text(f"#{name}-command")
        assert server.url in command
        done = subprocess.run(["bash", "-c", command], capture_output=True, check=True)
        assert set(json.loads(done.stdout)) >= ({"predictions"} if name == "predict" else {"release", "drift"})
