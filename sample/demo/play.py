"""The play: act after act in a throw-away clone, a progress line for each, and a page that grows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from sample.demo.act import Act
from sample.demo.acts import Part, Story, broken, first_pull_request, proven, refused, retrained, reverted
from sample.demo.page import write_page
from sample.demo.place import make_place
from sample.demo.watch import watched

PAGE = "index.html"
# title as it stands in a failure, the act, the seconds that it takes on two cores
PARTS: tuple[tuple[str, Part], ...] = (
    ("act 1, the first pull request", first_pull_request),
    ("act 2, live traffic and its watch", watched),
    ("act 3, the retraining and its canary", retrained),
    ("act 4, three that must not be merged", refused),
    ("act 5, tampering and a failing canary", broken),
    ("act 6, the way back", reverted),
    ("act 7, the proof", proven),
)


def play(
    template: Path, folder: Path, say: Callable[[str], None], parts: Sequence[tuple[str, Part]] = PARTS
) -> tuple[Act, ...]:
    """Play all acts, write the page after each, and return what they have shown.

    `template` is the repository, whose last commit is played with; `folder` is made anew. Raises `VerificationError`
    with the act's name where something is not as it has to be.
    """
    story = Story(make_place(template, folder))
    shown: list[Act] = []
    try:
        for name, part in parts:
            story.place.act = name
            say(f"{name} ...")
            began, ran = time.monotonic(), len(story.place.commands)
            act = part(story)
            act = replace(act, seconds=time.monotonic() - began, commands=len(story.place.commands) - ran)
            shown.append(act)
            write_page(folder / PAGE, story.place, shown, of=len(parts))
            say(f"{name}: {'; '.join(f'{each.name} {each.value}' for each in act.facts[:3])} ({act.seconds:.0f} s)")
    finally:
        story.end()
    return tuple(shown)
