"""Text from data, made harmless: a column, a category or a path may hold anything that a person or a bot typed."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable

# what Markdown, GitHub's own filters (mentions, issues, emoji, mathematics) or HTML give a meaning to
ACTIVE = {character: f"&#{ord(character)};" for character in "&<>|`*_[]\\~@#$"}
# GitHub looks for these in the finished page, outside of code: a space of no width keeps them apart
MENTION = re.compile(r"[@#](?=\w)|:(?=[^\W\d]|[+/-])|(?<!\d):(?=\d)|\bGH(?=-\d)|\bwww(?=\.)", re.IGNORECASE)
AUTOLINK = re.compile(r"\bwww\.", re.IGNORECASE)
LINE_START = re.compile(r"^(?:[-+=]|\d+(?=[.)](?:\s|$)))")
LONGER = 2  # escaped, a text may take this many times its limit before it is cut shorter
HIDDEN = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")


def clean(text: object, limit: int = 300) -> str:
    r"""Return one line of visible characters, at most `limit` of them, cut with an ellipsis.

    Controls, line breaks, characters of no width and those that turn the direction of reading are dropped or spaces.

    >>> clean("a\u200bb\n c\u202e"), clean("abcdef", 4)
    ('ab c', 'abc…')
    """
    kept = "".join(_visible(character) for character in str(text)[: 4 * limit])
    line = " ".join(kept.split())
    return line if len(line) <= limit and len(str(text)) <= 4 * limit else f"{line[: limit - 1]}…"


def _visible(character: str) -> str:
    if character.isspace():
        return " "
    return "" if unicodedata.category(character) in HIDDEN else character


def code(text: object, limit: int = 60) -> str:
    """Return `<code>` for Markdown with the text as it is: GitHub looks for no mention, issue or emoji in code.

    >>> print(code("@all | `x`"))
    <code>&#64;all &#124; &#96;x&#96;</code>
    """
    return f"<code>{_within(clean(text, limit), limit, lambda line: _harmless(line).replace(':', '&#58;'))}</code>"


def prose(text: object, limit: int = 300) -> str:
    """Return a sentence for Markdown, in which nothing is a mention, a link, an image or markup.

    >>> prose("see #12 by @all")
    'see &#35;&#8203;12 by &#64;&#8203;all'
    """
    return _within(clean(text, limit), limit, _apart)


def _within(line: str, limit: int, safe: Callable[[str], str]) -> str:
    """The line made safe, cut until that takes no more than `LONGER` times the limit."""
    while len(made := safe(line)) > LONGER * limit:
        line = clean(line, max(1, len(line) * 3 // 4))
    return made


def _apart(line: str) -> str:
    """The safe line, with a space of no width after each character that would call something by what follows it."""
    ends = [found.end() for found in MENTION.finditer(line)]
    parts = [line[start:end] for start, end in zip([0, *ends], [*ends, len(line)], strict=True)]
    return "&#8203;".join(
        [_list_safe(_harmless(part)) if number == 0 else _harmless(part) for number, part in enumerate(parts)]
    )


def _harmless(line: str) -> str:
    safe = "".join(ACTIVE.get(character, character) for character in line)
    return AUTOLINK.sub(lambda found: f"{found[0][:-1]}&#46;", safe)


def _list_safe(line: str) -> str:
    """A line that begins no list, heading or rule."""
    return LINE_START.sub(lambda found: f"{found[0]}&#8203;" if found[0][0].isdigit() else f"&#{ord(found[0])};", line)


def plain(text: object, limit: int = 24) -> str:
    """Return text for a fenced code block: one line, no fence in it."""
    return clean(text, limit).replace("`", "'").replace("~~~", "---")


def page(text: object, limit: int = 300) -> str:
    """Return text for HTML, in content and in quoted attributes alike."""
    return html.escape(clean(text, limit))
