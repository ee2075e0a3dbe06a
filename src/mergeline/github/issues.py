"""One issue for one matter: opened, kept up to date, closed when the matter is over; never two."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from urllib.parse import quote

from mergeline.github.client import USUAL, Client, Patience, Unanswered
from mergeline.github.comment import LARGEST_CHARACTERS, mark
from mergeline.github.excerpt import excerpt
from mergeline.github.run import Run
from mergeline.report.escape import clean, prose

LARGEST_TITLE = 200
LOOKS = 3
CLOSED, OPEN = "closed", "open"
NOT_PLANNED = "not_planned"
OVER, TWIN = "over", "a twin"  # turns of what no longer says anything


class Step(StrEnum):
    """What there is to do about the issue."""

    OPEN = "open"
    UPDATE = "update"
    REOPEN = "reopen"
    CLOSE = "close"
    NOTHING = "nothing"
    LEFT = "left"  # a person closed exactly this as not planned
    FORGET = "forget"  # what a person closed as not planned is over: the next time is another matter


@dataclass(frozen=True, slots=True)
class Issue:
    """An issue that is there; `declined` where it was closed as not planned."""

    number: int
    title: str
    body: str
    is_open: bool
    declined: bool
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the issue should say. `matter` is what it is found by, `turn` what it says for now in a few signs.

    Another turn is told in a comment, so that those who watch the issue hear of it. `over`: it is to be closed.
    """

    matter: str
    turn: str
    title: str
    text: str
    labels: tuple[str, ...] = ()
    over: bool = False

    @property
    def body(self) -> str:
        """The text behind its hidden marks; one that is too long is cut, and says where the rest is."""
        first = f"{mark(self.matter)}\n{_turn(self.turn)}\n"
        rest = "**Cut here, the text is too long for this place. The record in the log has all of it.**"
        return first + excerpt(self.text, LARGEST_CHARACTERS - len(first), rest)


@dataclass(frozen=True, slots=True)
class Plan:
    """The step and its issue; labels that are missing, a comment where the turn changes, twins that are closed."""

    step: Step
    number: int | None = None
    labels: tuple[str, ...] = ()
    comment: str | None = None
    twins: tuple[int, ...] = ()


def planned(found: Iterable[Issue], wanted: Wanted) -> Plan:
    """Return what makes one issue say what is wanted, of those of this matter.

    The oldest that is open is the one; of several, which a race of two runs leaves, the others are closed. Where none
    is open, the newest closed one is opened again, unless a person closed it as not planned and it says the same again
    without having been over in between.
    """
    known = sorted(found, key=lambda each: each.number)
    standing = [each for each in known if each.is_open]
    twins = tuple(each.number for each in standing[1:])
    if not standing:
        return _without([each for each in known if _turn(TWIN) not in _lines(each.body)] or known, wanted)
    one = standing[0]
    if wanted.over:
        return Plan(Step.CLOSE, one.number, (), prose(f"Over: {wanted.title}", LARGEST_TITLE), twins)
    has = {label.lower() for label in one.labels}
    missing = tuple(label for label in wanted.labels if label.lower() not in has)
    turned = _turn(wanted.turn) not in _lines(one.body)
    same = not turned and _plain(one.body) == _plain(wanted.body) and one.title == _title(wanted)
    step = Step.NOTHING if same and not missing else Step.UPDATE
    return Plan(step, one.number, missing, prose(f"Now: {wanted.title}", LARGEST_TITLE) if turned else None, twins)


def _without(known: list[Issue], wanted: Wanted) -> Plan:
    """What to do where no issue is open."""
    last = known[-1] if known else None
    if wanted.over:
        said = last is not None and last.declined and _turn(OVER) not in _lines(last.body)
        return Plan(Step.FORGET, last.number) if last and said else Plan(Step.NOTHING)
    if last is None:
        return Plan(Step.OPEN, None, wanted.labels)
    if last.declined and _turn(wanted.turn) in _lines(last.body):
        return Plan(Step.LEFT, last.number)
    return Plan(Step.REOPEN, last.number, (), prose(f"Again: {wanted.title}", LARGEST_TITLE))


def put(wanted: Wanted, environment: Mapping[str, str], patience: Patience = USUAL) -> str:
    """See to it that one issue says what is wanted, or none is open; return what was done.

    Issues of others are left alone, also marked ones. Where the answer to a creation was lost, the issues are looked at
    again before another one is made.
    """
    mark(wanted.matter)  # a name that cannot be is refused before anything is asked
    run = Run.of(environment)
    client, repository = run.client(patience), run.named()
    login = client.login()
    for look in range(1, LOOKS + 1):
        plan = planned(_issues(client, repository, login, wanted.matter), wanted)
        try:
            return _done(client, repository, plan, wanted)
        except Unanswered as err:
            if not err.lost or look == LOOKS:
                raise
    raise AssertionError("no look")


def _issues(client: Client, repository: str, login: str, matter: str) -> list[Issue]:
    """The issues of this matter that this login opened; a pull request is none."""
    name = login.removesuffix("[bot]")
    query = f"state=all&creator={quote(login, safe='')}"
    found = []
    for each in client.pages(f"/repos/{repository}/issues?{query}"):
        author = str((each.get("user") or {}).get("login", ""))
        body = str(each.get("body") or "")
        if "pull_request" not in each and author.removesuffix("[bot]") == name and _lines(body)[:1] == [mark(matter)]:
            found.append(
                Issue(
                    number=int(each["number"]),
                    title=str(each["title"]),
                    body=body,
                    is_open=each["state"] == OPEN,
                    declined=each.get("state_reason") == NOT_PLANNED,
                    labels=tuple(str(label["name"]) for label in each.get("labels", [])),
                )
            )
    return found


def _done(client: Client, repository: str, plan: Plan, wanted: Wanted) -> str:
    at = f"/repos/{repository}/issues"
    text = {"title": _title(wanted), "body": wanted.body}
    number, said = plan.number, ""
    if plan.step is Step.OPEN:
        made = client.ask("POST", at, {**text, "labels": list(wanted.labels)}).json
        number, said = int(made["number"]), "opened"
    elif plan.step is Step.UPDATE:
        client.ask("PATCH", f"{at}/{number}", text)
        said = "brought up to date"
    elif plan.step is Step.REOPEN:
        client.ask("PATCH", f"{at}/{number}", {**text, "state": OPEN})
        said = "opened again"
    elif plan.step is Step.CLOSE:
        client.ask("PATCH", f"{at}/{number}", {**text, "state": CLOSED, "state_reason": "completed"})
        said = "closed"
    elif plan.step is Step.FORGET:
        declined = {"state": CLOSED, "state_reason": NOT_PLANNED}
        client.ask("PATCH", f"{at}/{number}", {"body": replace(wanted, turn=OVER).body, **declined})
        said = "stays closed, and is opened again if this comes back"
    elif plan.step is Step.LEFT:
        said = "was closed as not planned and stays closed until it says something else"
    else:
        said = "stands as it is" if number else ""
    if plan.labels and plan.step is Step.UPDATE:
        client.ask("POST", f"{at}/{number}/labels", {"labels": list(plan.labels)})
    for twin in plan.twins:
        same = replace(wanted, turn=TWIN, text=f"The same as #{number}, which two runs opened at once.\n")
        client.ask("PATCH", f"{at}/{twin}", {"body": same.body, "state": CLOSED, "state_reason": NOT_PLANNED})
    if plan.comment is not None:
        client.ask("POST", f"{at}/{number}/comments", {"body": plan.comment})
    more = f", {len(plan.twins)} of an earlier race closed" if plan.twins else ""
    return f"#{number} {said}{more}" if number else "no issue is open, and none is needed"


def _title(wanted: Wanted) -> str:
    return clean(wanted.title, LARGEST_TITLE)


def _turn(turn: str) -> str:
    return f"<!-- mergeline turn: {clean(turn, 200).replace('--', '-')} -->"


def _lines(body: str) -> list[str]:
    return [line.strip() for line in body.lstrip().splitlines()[:2]]


def _plain(body: str) -> str:
    """Without what GitHub may change: line ends, and blanks at the end."""
    return body.replace("\r\n", "\n").rstrip()
