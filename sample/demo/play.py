"""The play: act after act in a throw-away clone, a progress line for each, and a page that grows."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from sample.demo.act import Act
from sample.demo.acts import Part, Story, broken, first_pull_request, proven, retrained, reverted
from sample.demo.clone import make_place
from sample.demo.page import write_page
from sample.demo.place import Place
from sample.demo.refused import refused
from sample.demo.runner import Unavailable, installed
from sample.demo.verbs import Verbs
from sample.demo.watch import watched
from sample.demo.workflows import Workflows

from mergeline.errors import MergelineError, VerificationError

PAGE = "index.html"
TEMPLATE = Path(__file__).parents[2]  # the runner's place: it is no part of the clone that is played in
# title as it stands in a failure, the act
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
    template: Path,
    folder: Path,
    say: Callable[[str], None],
    parts: Sequence[tuple[str, Part]] = PARTS,
    every: int = 1,
    kind: type[Place] = Place,
) -> tuple[Act, ...]:
    """Play all acts, write the page after each, and return what they have shown.

    `template` is the repository, whose last commit is played with; `folder` is made anew; of the flights one in `every`
    is taken; `kind` runs the commands. `say` hears where the page is when it is first written, and once more where the
    play breaks off. Raises an error with the act's name where something is not as it has to be. However it ends, what
    it has started ends with it.
    """
    for line in set_up():
        say(line)
    story = begun(make_place(template, folder, every, kind), say)
    shown: list[Act] = []
    try:
        for name, part in parts:
            say(f"{name} ...")
            began, ran = time.monotonic(), len(story.place.commands)
            act = played(story, name, part)
            act = replace(act, seconds=time.monotonic() - began, commands=len(story.place.commands) - ran)
            shown.append(act)
            write_page(folder / PAGE, story.place, shown, of=len(parts))
            say(told(name, act))
            if len(shown) == 1:
                say(f"see {folder / PAGE}, which grows with every act")
    except BaseException:
        if shown:
            say(f"see {folder / PAGE} for the acts that held")
        raise
    finally:
        story.end()
        story.place.end()
    return tuple(shown)


def told(name: str, act: Act) -> str:
    """The line of an act that has held."""
    facts = "; ".join(f"{each.name} {each.value}" for each in act.facts[:3])
    return f"{name}: {facts} ({f'{act.played}; ' if act.played else ''}{act.seconds:.0f} s)"


def begun(place: Place, say: Callable[[str], None]) -> Story:
    """The story before its first act: played by the workflows' own lines where their runner is here, else by verbs."""
    try:
        way: Verbs | Workflows = Workflows(place, installed(TEMPLATE))
    except Unavailable as err:
        say(f"set-up: {err}: the workflows' verbs are played in their order, in place of their run: lines")
        way = Verbs(place, str(err))
    return Story(place, way)


def played(story: Story, name: str, part: Part) -> Act:
    """Play one act; whatever it cannot go on with is an error that carries its name."""
    story.place.act = name
    begin = f"demo: {name}: "
    try:
        return part(story)
    except MergelineError as err:
        raise err if str(err).startswith(begin) else type(err)(f"{begin}{err}") from err
    except (OSError, LookupError, ValueError, StopIteration) as err:  # an answer or a record of another shape
        raise VerificationError(
            f"{begin}{type(err).__name__}: {err}; read the commands in {story.place.folder / 'said.log'}"
        ) from err


def set_up() -> Iterator[str]:
    """Say what is not here and what follows from it; nothing of it is needed."""
    if shutil.which("kubectl") is None:
        yield "set-up: kubectl is not here: `verify` leaves out the link of the rendered manifests"
