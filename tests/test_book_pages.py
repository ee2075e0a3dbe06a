"""The pages of README.md and docs/: their links lead somewhere, and their commands exist."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import shlex
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from citations import FENCE, links, resolved
from mergeline.cli import parser

ROOT = Path(__file__).resolve().parents[1]
TEXTS = {"README.md": (ROOT / "README.md").read_text(encoding="utf-8")} | {
    f"docs/{file.name}": file.read_text(encoding="utf-8") for file in sorted((ROOT / "docs").glob("*.md"))
}

# ---- Links -----------------------------------------------------------------------------------------------------------


def anchors(markdown: str) -> set[str]:
    """The fragments that GitHub gives to a page's headings."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", FENCE.sub("", markdown), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        kept = "".join(each for each in text if each in " -_" or unicodedata.category(each)[0] in "LN")
        name, number = kept.strip().replace(" ", "-"), 0
        while name in found:
            number += 1
            name = f"{kept.strip().replace(' ', '-')}-{number}"
        found.add(name)
    return found


def broken(page: str, markdown: str) -> list[str]:
    """The links of a page that lead nowhere in this repository."""
    wrong = []
    for target in links(markdown):
        path = resolved(page, target) if not target.startswith("#") else page
        if path is None:
            continue
        fragment = target.partition("#")[2]
        if path != page and (path.startswith("..") or not (ROOT / path).exists()):
            wrong.append(f"{page}: {target}: no such file")
        elif fragment and path.endswith(".md"):
            text = markdown if path == page else (ROOT / path).read_text(encoding="utf-8")
            if fragment not in anchors(text):
                wrong.append(f"{page}: {target}: no such heading")
    return wrong


@pytest.mark.parametrize("page", TEXTS)
def test_every_link_and_anchor_of_a_page_leads_to_something_that_is_there(page: str) -> None:
    assert broken(page, TEXTS[page]) == []


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        ("[x](verdict.md)", []),
        ("[x](verdict.md#the-gates)", []),
        ("[x](#here)\n\n## Here", []),
        ("[x](../src/mergeline/paired.py)", []),
        ("`[x](gone.md)`\n\n```\n[x](gone.md)\n```\n", []),
        ("[x](https://example.org/gone)", []),
        ("[x](gone.md)", ["docs/planted.md: gone.md: no such file"]),
        ("[x](verdict.md#gone)", ["docs/planted.md: verdict.md#gone: no such heading"]),
        ("[x](#gone)", ["docs/planted.md: #gone: no such heading"]),
        ("[x](../../etc/passwd)", ["docs/planted.md: ../../etc/passwd: no such file"]),
    ],
)
def test_a_broken_link_is_found_and_no_other(planted: str, found: list[str]) -> None:
    assert broken("docs/planted.md", planted) == found


# ---- Commands --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Command:
    """The words of a command; one in a block is to be typed as it stands, one in a sentence may be named in part."""

    words: tuple[str, ...]
    in_block: bool


def commands(markdown: str) -> Iterator[Command]:
    """Each `mergeline ...` and `make ...` of a page: those of its fenced blocks, then those of its sentences."""
    blocks = (each[0].partition("\n")[2].rpartition("\n")[0] for each in FENCE.finditer(markdown))
    for line in (line for block in blocks for line in block.replace("\\\n", " ").splitlines()):
        yield from (Command(words, in_block=True) for words in _words(line))
    for span in re.findall(r"(?<!`)`((?:mergeline|make) [^`]+)`(?!`)", FENCE.sub("", markdown)):
        yield from (Command(words, in_block=False) for words in _words(" ".join(span.split())))


def _words(line: str) -> Iterator[tuple[str, ...]]:
    """The words of each command of a line, without comments, and without where its output goes."""
    for part in re.split(r"\|\||&&|[|;&]", re.sub(r"\s\d?>+&?\s*\S+", "", re.sub(r"(^|\s)#.*", "", line))):
        found = re.search(r"(?:^|[\s(])(?:\S*/bin/)?(?P<words>(?:mergeline|make)(?:\s.*)?)$", part.rstrip())
        words = shlex.split(found["words"]) if found else []
        if len(words) > 1 and words[1] not in ("ends", "COMMAND"):
            yield tuple(words)


def complaint(command: Command) -> str | None:
    """What the parser of the commands, or the Makefile, has against a command; None where it takes it."""
    program, *rest = command.words
    if program == "make":
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
        wrong = [each for each in rest if "=" not in each and each not in targets]
        return f"no target {', '.join(wrong)}" if wrong else None
    asked, said = parser(), io.StringIO()
    if not command.in_block:
        forgive(asked)
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            asked.parse_args([each for each in rest if each not in ("...", "COMMAND")])
    except SystemExit as ended:
        return said.getvalue().strip().splitlines()[-1] if ended.code else None
    return None


def forgive(asked: argparse.ArgumentParser) -> None:
    """Let a parser ask for nothing that is left out."""
    for group in asked._mutually_exclusive_groups:
        group.required = False
    for action in asked._actions:
        action.required = False
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                forgive(each)


@pytest.mark.parametrize("page", TEXTS)
def test_every_command_of_a_page_is_one_that_the_parser_takes(page: str) -> None:
    wrong = {" ".join(each.words): complaint(each) for each in commands(TEXTS[page])}
    assert {command: said for command, said in wrong.items() if said} == {}


def test_the_pages_have_commands_of_both_kinds() -> None:
    found = [each.words for text in TEXTS.values() for each in commands(text)]
    assert len({words[1] for words in found if words[0] == "mergeline"}) > 30
    assert {"make repro", "make demo", "make docs", "make test"} <= {" ".join(words) for words in found}


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        ("```\nmergeline retrain\n```", "invalid choice: 'retrain'"),
        ("```\n.venv/bin/mergeline repro --fast\n```", "unrecognized arguments: --fast"),
        ("```bash\nTOKEN=x mergeline decide shout\n```", "invalid choice: 'shout'"),
        ("```\nmergeline init table.csv\n```", "required: --target"),
        ("```\nmergeline gate && mergeline rolback\n```", "invalid choice: 'rolback'"),
        (
            "```\nmergeline serve --port eighty \\\n  --log none   # a comment --with-this\n```",
            "invalid _port value: 'eighty'",
        ),
        ("a sentence with `mergeline verify --env production --loud` in it", "unrecognized arguments: --loud"),
        ("```\nmake believe\n```", "no target believe"),
        ("`make sure`", "no target sure"),
    ],
)
def test_a_made_up_verb_option_or_target_is_found(planted: str, said: str) -> None:
    assert [complaint(each) for each in commands(planted) if said in (complaint(each) or "")], planted


def test_a_command_that_is_right_is_taken_wherever_it_stands() -> None:
    block = (
        "```\nTOKEN=$(gh auth token) mergeline doctor --json | tee x 2>&1\nmake lock LOCK_ARGS=--upgrade  # x\n```\n"
    )
    sentence = (
        "`mergeline remote` wants an address, `mergeline COMMAND --help` anything, `mergeline sign --kms K` less.\n"
    )
    found = list(commands(block + sentence))
    assert [each.words[:2] for each in found] == [
        ("mergeline", "doctor"),
        ("make", "lock"),
        ("mergeline", "remote"),
        ("mergeline", "sign"),
    ]
    assert [complaint(each) for each in found] == [None] * 4
    (typed,) = commands("```\nmergeline remote\n```")
    assert "required: url" in str(complaint(typed))
