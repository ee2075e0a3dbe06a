"""A headless Chromium for tests: what a page says, what it asks for, what its console holds, how wide it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait
from tools import tool

PATIENCE_S = 30.0  # after which what a test waits for counts as never happening
QUIET = (
    *("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-first-run", "--disable-default-apps"),
)


@dataclass(frozen=True, slots=True)
class Browser:
    """One window of it."""

    driver: webdriver.Chrome

    def open(self, url: str) -> None:
        """Load a page; what the console and the network held before is forgotten."""
        self.driver.get("about:blank")
        self.console()
        self.asked_for()
        self.driver.get(url)

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        """The text of an element as it is laid out; read in one step, since a live page goes on changing."""
        return str(self.run("return document.querySelector(arguments[0]).innerText.trim()", selector))

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script returns that runs in the page."""
        return self.driver.execute_script(script, *arguments)

    def wait_until(self, what: str, happens: Any) -> None:
        """Return once `happens()` is true; a page that takes too long fails the test."""
        WebDriverWait(self.driver, PATIENCE_S, poll_frequency=0.05).until(
            lambda _: happens(), f"{what}: never happened"
        )

    def console(self) -> list[str]:
        """What the console got since it was asked last: errors of scripts, of the policy and of the network."""
        return [str(entry["message"]) for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]

    def asked_for(self) -> list[str]:
        """The addresses that were asked for since this was asked last, refused ones as well."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]  # type: ignore[no-untyped-call]
        return [each["params"]["request"]["url"] for each in messages if each["method"] == "Network.requestWillBeSent"]

    def resize(self, width: int, scheme: str) -> None:
        """Be a phone or a desk, by day or by night."""
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)

    def overflow(self) -> int:
        """How many pixels the page is wider than its window; a phone's innerWidth would grow with the page."""
        return int(self.run("const root = document.documentElement; return root.scrollWidth - root.clientWidth"))

    def let_scripts_run(self, *, allowed: bool) -> None:
        """Let a page's own scripts run from its next load on, or not."""
        self.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not allowed})


@contextmanager
def launched(folder: Path) -> Iterator[Browser]:
    """A browser with a profile of its own in `folder`; where there is none, the test ends as `tool` says."""
    chromium, driver = tool("chromium", "chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = str(chromium)
    for argument in (*QUIET, f"--user-data-dir={folder}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(driver)))
    try:
        yield Browser(started)
    finally:
        started.quit()
