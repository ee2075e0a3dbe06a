"""A decision as the record that is kept, and back."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, get_args, get_type_hints

from mergeline.errors import DataError
from mergeline.monitor.decide.decision import Beside, Considered, Decision, Outcome
from mergeline.monitor.decide.evidence import Evidence
from mergeline.monitor.decide.statement import sentence
from mergeline.params.decide import Action, Trigger

SCHEMA_VERSION = 1


def as_record(decision: Decision) -> dict[str, Any]:
    """Return the record: what was decided, why, each rule with what became of it, and the figures.

    It holds no other time than those of the evidence: the same evidence gives the same bytes.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "at": _text(decision.evidence.at),
        "decision": str(decision.action),
        "sentence": sentence(decision),
        "rule": decision.rule,
        "why": list(decision.why),
        "beside": [_plain(asdict(each)) for each in decision.beside],
        "considered": [_plain(asdict(each)) for each in decision.considered],
        "facts": dict(decision.facts),
        "evidence": _plain(asdict(decision.evidence)),
    }


def key_of(at: dt.datetime) -> str:
    """Return where the log keeps the record of a moment.

    >>> key_of(dt.datetime(2013, 9, 2, tzinfo=dt.UTC))
    'decisions/date=2013-09-02/20130902T000000Z.json'
    """
    return f"decisions/{at:date=%Y-%m-%d}/{at:%Y%m%dT%H%M%SZ}.json"


def parse_record(raw: Any, where: str) -> Decision:
    """Return the decision of a record; raise `DataError` for one that is none, or that a later version wrote."""
    try:
        if raw["schema_version"] != SCHEMA_VERSION:
            raise DataError(f"{where}: expected schema_version {SCHEMA_VERSION}, found {raw['schema_version']!r}")
        return Decision(
            action=Action(raw["decision"]),
            rule=raw["rule"],
            why=tuple(raw["why"]),
            beside=tuple(_beside(each) for each in raw["beside"]),
            considered=tuple(
                Considered(
                    each["rule"],
                    Trigger(each["trigger"]),
                    Action(each["action"]),
                    Outcome(each["outcome"]),
                    each["why"],
                )
                for each in raw["considered"]
            ),
            facts=dict(raw["facts"]),
            evidence=_evidence(raw["evidence"]),
        )
    except (KeyError, TypeError, ValueError) as err:
        raise DataError(f"{where}: no record of a decision ({err}); `mergeline decide` writes one") from err


def _beside(raw: Mapping[str, Any]) -> Beside:
    replicas = raw["replicas"]
    bounds = (int(replicas[0]), int(replicas[1])) if replicas else None
    return Beside(raw["rule"], Action(raw["action"]), raw["why"], raw["share"], bounds)


def _evidence(raw: Mapping[str, Any]) -> Evidence:
    """The evidence; what a record from before something was looked at does not name is not known."""
    known = [each.name for each in fields(Evidence) if each.name in raw]
    return Evidence(**{name: _read(raw[name], _hint(Evidence, name)) for name in known})


def _read(raw: Any, hint: Any) -> Any:
    """A value of the type that a field of the evidence has."""
    kinds = get_args(hint) or (hint,)
    if raw is None:
        return None
    if dt.datetime in kinds:
        return dt.datetime.fromisoformat(raw)
    kind = kinds[0]
    if isinstance(raw, dict):
        known = [each.name for each in fields(kind) if each.name in raw]
        return kind(**{name: _read(raw[name], _hint(kind, name)) for name in known})
    return tuple(raw) if isinstance(raw, list) else raw


def _hint(kind: Any, name: str) -> Any:
    return get_type_hints(kind)[name]


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, dt.datetime):
        return _text(value)
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, str) else value


def _text(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat()
