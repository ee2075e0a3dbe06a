"""One sticky comment on a pull request: found by a hidden mark, created once, patched from then on."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mergeline.errors import ConfigurationError
from mergeline.github.client import NOT_FOUND, Client, Refused, Unanswered
from mergeline.github.excerpt import excerpt

LARGEST_CHARACTERS = 65_536  # what GitHub takes as the body of a comment
LOOKS = 3  # at the comments that are there, where an answer was lost
CML = "https://cml.dev/watermark.png"  # the picture at the end of CML's comments, by which it knows them
_TITLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _./:-]{0,99}")


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment that is there; `bot` for an author that is an app."""

    id: int
    login: str
    bot: bool
    body: str


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be done: create, or patch one comment, or neither; and which of one's own to take away."""

    create: bool
    patch: int | None
    remove: tuple[int, ...]


def mark(title: str) -> str:
    """Return the hidden first line, by which a later run knows the comment.

    >>> mark("model report")
    '<!-- mergeline: model report -->'
    """
    if _TITLE.fullmatch(title) is None or "--" in title:
        raise ConfigurationError(
            f"--title: expected letters, digits, blanks and _ . / : -, at most 100, found {title!r}"
        )
    return f"<!-- mergeline: {title} -->"


def watermark(title: str) -> str:
    """Return the last line, by which `cml comment update --watermark-title` knows the comment.

    It is hidden, so that no reader asks for the picture; CML looks at the text alone.

    >>> watermark("drift")
    '<!-- ![](https://cml.dev/watermark.png#0 "CML watermark drift") -->'
    """
    return f'<!-- ![]({CML}#0 "{_cml_title(title)}") -->'


def body_of(title: str, report: str, rest: str) -> str:
    """Return the body of the comment; a report that is too long ends with where the rest is."""
    first, last = f"{mark(title)}\n", f"\n\n{watermark(title)}"
    return first + excerpt(report, LARGEST_CHARACTERS - len(first) - len(last), rest).rstrip() + last


def is_marked(comment: Comment, title: str) -> bool:
    """Whether a comment begins with the mark, or ends with that of CML; one that quotes them does not."""
    return comment.body.lstrip().startswith(mark(title)) or _is_of_cml(comment.body, title)


def decided(marked: Iterable[Comment], login: str, body: str) -> Change:
    """Return what makes the oldest comment of this login the only one, and its body this one.

    Comments of others are not counted, marked or not. Of several, which a race of two runs leaves, the oldest stays.
    """
    own = sorted((each for each in marked if _same(each, login)), key=lambda each: each.id)
    if not own:
        return Change(create=True, patch=None, remove=())
    patch = None if _plain(own[0].body) == _plain(body) else own[0].id
    return Change(create=False, patch=patch, remove=tuple(each.id for each in own[1:]))


def put(client: Client, repository: str, number: int, title: str, body: str) -> str:
    """See to it that the pull request has this one comment; return what was done.

    Where the answer to a creation was lost, the comments are looked at again before another one is made.
    """
    for look in range(1, LOOKS + 1):
        marked = [each for each in _comments(client, repository, number) if is_marked(each, title)]
        change = decided(marked, client.login() if marked else "", body)
        try:
            return _done(client, repository, number, change, body)
        except Unanswered as err:
            if not err.lost or look == LOOKS:
                raise
        except Refused as err:  # taken away between the look and the patch
            if change.patch is None or err.status != NOT_FOUND or look == LOOKS:
                raise
    raise AssertionError("no look")


def _done(client: Client, repository: str, number: int, change: Change, body: str) -> str:
    comments = f"/repos/{repository}/issues"
    said = "stands as it is"
    if change.create:
        client.ask("POST", f"{comments}/{number}/comments", {"body": body})
        said = "is created"
    elif change.patch is not None:
        client.ask("PATCH", f"{comments}/comments/{change.patch}", {"body": body})
        said = "is brought up to date"
    for each in change.remove:
        try:
            client.ask("DELETE", f"{comments}/comments/{each}")
        except Refused as err:
            if err.status != NOT_FOUND:
                raise
    return said + (f", {len(change.remove)} of an earlier race removed" if change.remove else "")


def _comments(client: Client, repository: str, number: int) -> Iterable[Comment]:
    for each in client.pages(f"/repos/{repository}/issues/{number}/comments"):
        yield _comment(each)


def _comment(told: dict[str, Any]) -> Comment:
    user = told.get("user") or {}  # nobody's, where the account is gone
    return Comment(int(told["id"]), str(user.get("login", "")), user.get("type") == "Bot", str(told.get("body") or ""))


def _is_of_cml(body: str, title: str) -> bool:
    """Whether CML made it, of whatever commit, with this title."""
    line = rf'!\[\]\({re.escape(CML)}#[0-9a-fA-F]+ "{re.escape(_cml_title(title))}"\)\s*$'
    return re.search(rf"(^|\n){line}", body) is not None


def _cml_title(title: str) -> str:
    """As CML writes it, of the signs that a title may have."""
    return f"CML watermark {title}".replace("_", r"\_")


def _same(comment: Comment, login: str) -> bool:
    """GraphQL may leave out the `[bot]` that REST has behind an app's name."""
    return bool(login) and (comment.login == login or (comment.bot and comment.login == f"{login}[bot]"))


def _plain(body: str) -> str:
    """Without what GitHub may change: line ends, and blanks at the end."""
    return body.replace("\r\n", "\n").rstrip()
