"""The book's hook for MkDocs: what the pages of docs/ cite beyond docs/ becomes pages of the book.

On GitHub a link such as `../src/mergeline/paired.py` leads to the file. In the book it leads to a page that holds the
file, so that no link needs to know where a copy of this repository lies. Which files those are follows from the links
alone, those of cited Markdown files included. `python -m mkdocs` calls `on_files` and `on_page_markdown`.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

DOCS = "docs"
SOURCES = "sources"
FENCE = re.compile(r"^(?P<fence>```+|~~~+)[^\n]*\n.*?^(?P=fence)[`~]*[ ]*$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(?P<ticks>`+)(?!`).*?(?<!`)(?P=ticks)(?!`)", re.DOTALL)
LINK = re.compile(r"(?P<before>\]\()(?P<target>[^()\s]+)(?P<after>\))")
ELSEWHERE = re.compile(r"^(?:[a-z][a-z0-9+.-]*:|//|#)", re.IGNORECASE)


def links(markdown: str) -> tuple[str, ...]:
    """Return the targets of a page's links in their order; what stands in code is none.

    >>> links("[a](x.md#y), `[b](z)`, ![c](d.png)")
    ('x.md#y', 'd.png')
    """
    return tuple(each["target"] for each in LINK.finditer(without_code(markdown)))


def without_code(markdown: str) -> str:
    """Return a page with blanks in the place of its code, so that every position stays what it was."""
    for code in (FENCE, CODE):
        markdown = code.sub(lambda found: re.sub(r"\S", " ", found[0]), markdown)
    return markdown


def resolved(page: str, target: str) -> str | None:
    """Return the path in the repository that a link of a page names; None where it leads elsewhere or into the page.

    >>> resolved("docs/verdict.md", "../src/mergeline/paired.py")
    'src/mergeline/paired.py'
    """
    path = target.partition("#")[0]
    if ELSEWHERE.match(target) or not path:
        return None
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), path))


def place_of(path: str) -> str:
    """Return where a file or folder of the repository lies among the pages of the book.

    >>> place_of("docs/verdict.md"), place_of(".github/workflows/README.md"), place_of("src/mergeline/paired.py")
    ('verdict.md', 'sources/github/workflows/README.md', 'sources/src/mergeline/paired.py.md')
    """
    if path.startswith(f"{DOCS}/"):
        return path.removeprefix(f"{DOCS}/")
    shown = "/".join(part.lstrip(".") for part in path.split("/"))  # MkDocs leaves out what begins with a dot
    return f"{SOURCES}/{shown}" if shown.endswith(".md") else f"{SOURCES}/{shown}.md"


def cited(root: Path) -> dict[str, str]:
    """Return the text of each page that the book needs beside docs/, by its path in the repository."""
    found: dict[str, str] = {}
    waiting = sorted(f"{DOCS}/{each.relative_to(root / DOCS).as_posix()}" for each in (root / DOCS).rglob("*.md"))
    while waiting:
        page = waiting.pop()
        text = found[page] if page in found else (root / page).read_text(encoding="utf-8")
        for path in filter(None, (resolved(page, each) for each in links(text))):
            if path in found or path.startswith(f"{DOCS}/") or not _is_inside(root, path):
                continue
            found[path] = shown(root / path, path)
            if path.endswith(".md"):
                waiting.append(path)
    return found


def shown(file: Path, path: str) -> str:
    """Return the page that shows a file: Markdown as it is, other text as code, a folder as the list of its files."""
    if file.is_dir():
        names = sorted(each.name for each in file.iterdir() if not each.name.startswith((".", "__")))
        return "\n".join([f"# {path}/", "", *(f"- `{name}`" for name in names), ""])
    text = file.read_text(encoding="utf-8")
    if path.endswith(".md"):
        return text
    longest = max((len(each) for each in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    head = "---\nsearch:\n  exclude: true\n---\n\n"
    return f"{head}# {path}\n\n{fence}{file.suffix.lstrip('.')}\n{text.rstrip()}\n{fence}\n"


def relinked(markdown: str, page: str, pages: frozenset[str]) -> str:
    """Return a page whose links lead to pages of the book, where the file that they name is one of `pages`."""
    plain = without_code(markdown)
    parts, at = [], 0
    for each in LINK.finditer(plain):
        path = resolved(page, each["target"])
        if path not in pages and not (path or "").startswith(f"{DOCS}/"):
            continue
        fragment = "".join(each["target"].partition("#")[1:])
        way = posixpath.relpath(place_of(str(path)), posixpath.dirname(place_of(page)) or ".")
        parts += [markdown[at : each.start("target")], way, fragment]
        at = each.end("target")
    return "".join([*parts, markdown[at:]])


def _is_inside(root: Path, path: str) -> bool:
    return not path.startswith("..") and (root / path).exists()


# ---- What MkDocs calls -----------------------------------------------------------------------------------------------


def on_files(files: Any, config: Any) -> Any:
    """Add the cited files to the pages of the book."""
    from mkdocs.structure.files import File  # type: ignore[import-not-found,unused-ignore]

    for path, text in cited(_root(config)).items():
        files.append(File.generated(config, place_of(path), content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Let the links of a page lead to pages of the book."""
    del files
    paths = cited(_root(config))
    here = {place_of(path): path for path in paths}.get(page.file.src_uri, f"{DOCS}/{page.file.src_uri}")
    return relinked(markdown, here, frozenset(paths))


def _root(config: Any) -> Path:
    return Path(config["docs_dir"]).resolve().parent
