"""The book: it builds without a warning, loads nothing from elsewhere, and every link in it leads to a page."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from browser import launched
from test_lock import faults, lock
from tools import unavailable

if TYPE_CHECKING:
    from browser import Browser

ROOT = Path(__file__).resolve().parents[1]
MKDOCS = ROOT / ".mergeline/docs/bin/mkdocs"
LOADING = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "embed": "src",
}
RELS = {"stylesheet", "icon", "preload", "prefetch", "preconnect", "dns-prefetch", "modulepreload", "manifest"}

# ---- The book --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built book, as `make docs` builds it: with a warning it is no book."""
    return built(ROOT / "mkdocs.yml", tmp_path_factory.mktemp("book"))


def built(settings: Path, folder: Path, *, fails: bool = False) -> Path:
    if not MKDOCS.exists():
        unavailable("needs MkDocs, which `make docs` installs")
    command = [str(MKDOCS), "build", "--config-file", str(settings), "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert bool(done.returncode) is fails, done.stdout + done.stderr
    return folder


class Page(HTMLParser):
    """What a page loads when it is opened, and where it leads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.leads: list[str] = []
        self.classes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.classes.update(given.get("class", "").split())
        if tag == "link" and RELS & set(given.get("rel", "").split()):
            self.loads.append(given.get("href", ""))
        if tag in LOADING and LOADING[tag] in given:
            self.loads.append(given[LOADING[tag]])
        if tag == "a" and given.get("href"):
            self.leads.append(given["href"])


def foreign(page: Page, style: str = "") -> list[str]:
    """What is loaded from another host, by the page itself or by its styles; diagrams would load their own."""
    urls = [
        *page.loads,
        *re.findall(r"url\(\s*[\"']?([^\"')]+)", style),
        *re.findall(r"@import\s+[\"']([^\"']+)", style),
    ]
    found = [each for each in urls if not each.startswith("data:") and urlsplit(each).netloc]
    return [*found, *(["mermaid"] if "mermaid" in page.classes else [])]


def test_the_book_builds_and_nothing_in_it_is_loaded_from_another_host(book: Path) -> None:
    pages = {file: Page(file.read_text(encoding="utf-8")) for file in book.rglob("*.html")}
    assert {"index.html", "operating.html", "security.html"} <= {file.name for file in pages}
    assert {file.name: foreign(page) for file, page in pages.items() if foreign(page)} == {}
    styles = {file.name: foreign(Page(""), file.read_text(encoding="utf-8")) for file in book.rglob("*.css")}
    assert styles
    assert not any(styles.values())


@pytest.mark.parametrize(
    ("html", "style"),
    [
        ('<link rel="stylesheet" href="https://fonts.example/css?family=x">', ""),
        ('<link rel="preconnect" href="//fonts.example">', ""),
        ('<script src="https://cdn.example/a.js"></script>', ""),
        ('<img src="//cdn.example/a.png">', ""),
        ('<pre class="mermaid"><code>graph</code></pre>', ""),
        ("", "@font-face { src: url('https://fonts.example/a.woff2') }"),
        ("", '@import "https://fonts.example/a.css";'),
    ],
)
def test_what_is_loaded_from_another_host_is_found(html: str, style: str) -> None:
    assert foreign(Page(html), style)
    assert not foreign(Page('<a href="https://example.org">a link is no load</a><img src="a.png">'), "a { color: red }")


def test_what_the_pages_cite_is_in_the_book_and_every_link_in_it_leads_to_a_page(book: Path) -> None:
    assert (book / "sources/src/mergeline/paired.py.html").exists()
    assert "def difference" in re.sub(r"<[^>]+>", "", (book / "sources/src/mergeline/paired.py.html").read_text())
    for file in book.rglob("*.html"):
        if file.name == "404.html":  # it is shown at any address, and begins at the root
            continue
        for target in Page(file.read_text(encoding="utf-8")).leads:
            parts = urlsplit(target)
            if not parts.netloc and parts.path and parts.scheme not in ("mailto", "javascript"):
                assert (file.parent / unquote(parts.path)).exists(), f"{file.relative_to(book)}: {target}"


@pytest.mark.parametrize(
    ("planted", "fails"),
    [
        ("[x](verdict.md#the-gates)", False),
        ("[x](gone.md)", True),
        ("[x](verdict.md#gone)", True),
        ("[x](../src/gone.py)", True),
    ],
)
def test_a_book_with_a_broken_link_does_not_build(planted: str, fails: bool, tmp_path: Path) -> None:
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text(f"# Start\n\n{planted}\n")
    (tmp_path / "docs/verdict.md").write_text("# The verdict\n\n## The gates\n")
    settings |= {"nav": ["index.md", "verdict.md"], "hooks": [str(ROOT / ".ci/citations.py")], "theme": "mkdocs"}
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(settings))
    built(tmp_path / "mkdocs.yml", tmp_path / "book", fails=fails)


def test_the_lock_of_the_book_holds_exact_pins_with_hashes_and_no_address() -> None:
    assert faults(lock("docs")) == []
    assert "mkdocs==" in lock("docs")


def test_every_page_of_docs_is_in_the_navigation_once() -> None:
    named = re.findall(r"([a-z-]+\.md)\b", (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("nav:")[1])
    assert sorted(named) == sorted(file.name for file in (ROOT / "docs").glob("*.md"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with launched(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def address(book: Path) -> Iterator[str]:
    """Where the book is served."""
    handler = partial(Quiet, directory=str(book))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    """A server of files that keeps no log."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_browser_asks_nobody_else_and_no_page_is_wider_than_its_window_by_day_or_night(
    address: str, browser: Browser
) -> None:
    grounds = {}
    for width, scheme in ((390, "light"), (390, "dark"), (1440, "light"), (1440, "dark")):
        browser.resize(width, scheme)
        for page in ("index.html", "operating.html", "security.html", "architecture.html", "cost.html"):
            browser.open(f"{address}{page}")
            asked = browser.asked_for()
            assert f"{address}book.css" in asked
            assert [each for each in asked if not each.startswith((address, "data:", "blob:"))] == []
            assert browser.console() == []
            assert browser.overflow() <= 0, (page, width)
        grounds[scheme] = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert grounds["light"] != grounds["dark"]
