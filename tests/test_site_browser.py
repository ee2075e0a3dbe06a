"""The site in a headless Chromium: on a phone and a desk, by day and by night, by keyboard, by axe."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import axe
import pytest
from browser import Browser, launched
from planted_log import PlantedLog
from promoted import Promoted
from selenium.webdriver.common.keys import Keys
from test_site import fill, made

MARKS = "circle, line, path, rect"
EMPTY = """
return [...document.querySelectorAll('svg')].filter(each => {
  const box = each.getBoundingClientRect();
  const drawn = [...each.querySelectorAll(arguments[0])].filter(mark => !mark.classList.contains('grid'));
  return each.checkVisibility() && (box.height < 40 || box.width < 40 || drawn.length < 3);
}).map(each => each.getAttribute('aria-label'));
"""
FOCUSED = "const at = document.activeElement; return at === document.body ? '' : at.outerHTML.slice(0, 80)"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with launched(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module")
def site(in_production: Promoted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of a repository with a model in production and five weeks in its log."""
    here = in_production.copy_to(tmp_path_factory.mktemp("site") / "repository")
    fill(PlantedLog.at(here.root / ".mergeline" / "log"))
    made(here.root)
    return here.root / ".mergeline/site/index.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_the_page_is_whole_on_a_phone_and_a_desk_by_day_and_by_night(
    width: int, scheme: str, site: Path, browser: Browser
) -> None:
    browser.resize(width, scheme)
    browser.open(site.as_uri())
    browser.run("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert browser.overflow() == 0
    assert browser.run(EMPTY, MARKS) == []
    assert axe.grave(browser) == []
    assert browser.console() == []
    assert browser.asked_for() == [site.as_uri()]


def test_everything_that_can_be_used_is_reached_by_tab_in_its_order_and_seen(site: Path, browser: Browser) -> None:
    browser.resize(1440, "light")
    browser.open(site.as_uri())
    usable = "a[href], summary, [tabindex='0']"
    wanted = browser.run(
        "return [...document.querySelectorAll(arguments[0])].filter(each => each.checkVisibility())"
        ".map(each => each.outerHTML.slice(0, 80))",
        usable,
    )
    reached = []
    for _ in wanted:
        browser.driver.switch_to.active_element.send_keys(Keys.TAB)
        reached.append(browser.run(FOCUSED))
        outline = browser.run("return getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", reached[-1]
    assert reached == wanted
    assert "skip" in reached[0]


# ---- Twins: a page with a planted defect ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("planted", "rule"),
    [
        ('<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=" width="40" height="40">', "image-alt"),
        ('<p style="color: #bbb; background: #fff">Hardly to be read</p>', "color-contrast"),
        ('<a href="drift.html"></a>', "link-name"),
        ('<div style="overflow: auto; height: 20px"><p>a</p><p>b</p><p>c</p></div>', "scrollable-region-focusable"),
    ],
)
def test_twin_a_planted_defect_is_found(planted: str, rule: str, site: Path, browser: Browser, tmp_path: Path) -> None:
    spoilt = tmp_path / "index.html"
    spoilt.write_text(site.read_text(encoding="utf-8").replace("</main>", f"{planted}</main>"), encoding="utf-8")
    browser.resize(1440, "light")
    browser.open(spoilt.as_uri())
    assert [each.partition(" ")[0] for each in axe.grave(browser)] == [rule]


def test_twin_what_is_too_wide_and_what_is_empty_is_found(site: Path, browser: Browser, tmp_path: Path) -> None:
    planted = '<div style="width: 2000px">wide</div><svg viewBox="0 0 336 100" role="img" aria-label="nothing"></svg>'
    spoilt = tmp_path / "index.html"
    spoilt.write_text(site.read_text(encoding="utf-8").replace("</main>", f"{planted}</main>"), encoding="utf-8")
    browser.resize(390, "light")
    browser.open(spoilt.as_uri())
    assert browser.overflow() > 0
    assert browser.run(EMPTY, MARKS) == ["nothing"]
