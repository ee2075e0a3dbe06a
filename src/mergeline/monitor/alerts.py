"""Alerts to a chat: each matter told once when it begins and once when it is over, whatever happens in between."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from mergeline.errors import DataError
from mergeline.monitor.decide.decision import Decision, Outcome
from mergeline.monitor.decide.statement import SAYS
from mergeline.params.decide import Action
from mergeline.report.escape import clean

VERSION = 1
LONGEST = 2_000


class Severity(StrEnum):
    """How much haste there is, least first."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0, 1 or 2."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True)
class Alert:
    """A matter by its key, which stays the same as long as it is the same matter."""

    key: str
    severity: Severity
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Message:
    """What is to be told of an alert: that it began, that it got worse, or that it is over."""

    alert: Alert
    resolved: bool


Standing = Mapping[str, Alert]


def alerts_of(decision: Decision) -> tuple[Alert, ...]:
    """Return what a decision is worth telling: what is to be done, and what its rules alert to."""
    found = []
    if decision.action is not Action.WAIT:
        severity = Severity.CRITICAL if decision.action is Action.ROLL_BACK else Severity.WARNING
        found.append(Alert(_key(decision.action), severity, SAYS[decision.action], "; ".join(decision.why)))
    found += [Alert(f"rule: {each.rule}", Severity.WARNING, each.rule, each.why) for each in decision.beside]
    return tuple(found)


def kept_of(decision: Decision) -> frozenset[str]:
    """Return the keys of matters that are not over though they are not decided: their rules hold, and have to wait."""
    waits = (Outcome.HELD_BACK, Outcome.FORESTALLED)
    return frozenset(_key(each.action) for each in decision.considered if each.outcome in waits)


def _key(action: Action) -> str:
    return f"decision: {action}"


def messages(standing: Standing, alerts: Iterable[Alert], kept: Collection[str] = ()) -> tuple[Message, ...]:
    """Return what has to be told: new matters, those that got worse, then those that are over.

    Those that are `kept` are neither: they stand where they stood, and begin nowhere.
    """
    now = {each.key: each for each in alerts}
    told = [
        Message(each, resolved=False)
        for key, each in now.items()
        if key not in standing or each.severity.rank > standing[key].severity.rank
    ]
    over = [each for key, each in standing.items() if key not in now and key not in kept]
    return (*told, *(Message(each, resolved=True) for each in over))


def after(standing: Standing, message: Message) -> dict[str, Alert]:
    """Return what stands once a message was taken."""
    rest = {key: each for key, each in standing.items() if key != message.alert.key}
    return rest if message.resolved else {**rest, message.alert.key: message.alert}


def payload(message: Message, page: str | None = None) -> dict[str, Any]:
    """Return the JSON that Slack's incoming webhooks, and those of Mattermost and Rocket.Chat, take."""
    alert = message.alert
    head = f"[resolved] {alert.title}" if message.resolved else f"[{alert.severity}] {alert.title}"
    lines = [f"*{_safe(head)}*", *([] if message.resolved else [_safe(alert.text)])]
    if page:
        lines.append(f"<{page}|The run>")
    return {"text": "\n".join(lines)}


def as_record(standing: Standing) -> dict[str, Any]:
    """Return what stands as it is kept."""
    shown = {
        key: {"severity": str(each.severity), "title": each.title, "text": each.text} for key, each in standing.items()
    }
    return {"schema_version": VERSION, "standing": dict(sorted(shown.items()))}


def parse_standing(raw: Any, where: str) -> dict[str, Alert]:
    """Return what stood; raise `DataError` for a record that is none."""
    try:
        if raw["schema_version"] != VERSION:
            raise DataError(f"{where}: expected schema_version {VERSION}, found {raw['schema_version']!r}")
        return {
            key: Alert(key, Severity(each["severity"]), str(each["title"]), str(each["text"]))
            for key, each in raw["standing"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        raise DataError(f"{where}: no record of alerts ({err}); remove it, every alert is then told again") from err


def _safe(text: str) -> str:
    """Text in which Slack finds no link, no mention and no channel to call."""
    return clean(text, LONGEST).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("*", "\u2217")
