"""`models/champion.json`: what a pull request is compared with, and by whose policy. `compare` depends on it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from mergeline.errors import ConfigurationError, VerificationError
from mergeline.params.gates import GateParams
from mergeline.params.reading import parse_gates, unknown_keys, without


class Without(StrEnum):
    """Why a baseline stands in for the champion."""

    NO_BASE = "no base branch"
    NO_RELEASE = "no release"
    OTHER_PROBLEM = "other problem"


REASONS = {
    Without.NO_BASE: "there is no base branch to compare with",
    Without.NO_RELEASE: "no model is in production yet",
    Without.OTHER_PROBLEM: "this is another problem than the base branch's (task, target or primary metric changed)",
}

POLICIES = ("base", "branch")  # whose gates judge


@dataclass(frozen=True, slots=True)
class Served:
    """The model that production serves, on the base branch: its SHA-256 and the store that holds its bytes."""

    model_sha256: str
    store: str


@dataclass(frozen=True, slots=True)
class BaseModel:
    """The model that the base branch has recorded; its signature names the model's bytes, so it says what is scored."""

    model_sha256: str
    signature_sha256: str


@dataclass(frozen=True, slots=True)
class Champion:
    """What to compare with: a served model, or a reason why there is none; the policy and the slices that it names.

    `policy` is `base` where the base branch's gates judge, `branch` where there is no champion to defend.
    `slices` and `holdout` (as in params.yaml) are those of that branch too; no holdout where none has to be kept.
    """

    served: Served | None
    without: Without | None
    base: BaseModel | None
    policy: str
    gates: GateParams
    slices: tuple[str, ...]
    holdout: dict[str, Any] | None = None

    @property
    def reason(self) -> str | None:
        """Why there is no champion, in a sentence's words; None where there is one."""
        return None if self.without is None else REASONS[self.without]

    def to_json(self) -> str:
        """Return the text of the file; `from_json` reads it back to an equal record."""
        record = {
            "champion": asdict(self.served) if self.served else None,
            "without": self.without,
            "base": asdict(self.base) if self.base else None,
            "policy": self.policy,
            "slices": list(self.slices),
            "holdout": self.holdout,
            "gates": self.gates.model_dump(mode="json"),
        }
        return json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str = "models/champion.json") -> Champion:
        """Return the record that `to_json` wrote; raise `VerificationError` for anything else.

        A policy may lack what has a default: one of older code reads as it was meant.
        """
        try:
            raw: dict[str, Any] = json.loads(text)
            found = cls(
                served=None if raw["champion"] is None else Served(**raw["champion"]),
                without=None if raw["without"] is None else Without(raw["without"]),
                base=None if raw["base"] is None else BaseModel(**raw["base"]),
                policy=raw["policy"],
                gates=parse_gates({**raw["gates"]}, where),
                slices=tuple(raw["slices"]),
                holdout=raw["holdout"],
            )
            _refuse_others(found, raw)
        except (ValueError, KeyError, TypeError, AttributeError, ConfigurationError) as err:
            raise VerificationError(f"{where}: not as `mergeline champion` writes it ({err!r}); write it anew") from err
        return found


def parse_newer(text: str) -> tuple[Champion, tuple[str, ...]]:
    """Return a record that a newer code may have written, and the settings of its gates that this code does not know.

    They are left out: the base branch's policy, which the record is held against, cannot have them. Everything else
    has to be as `Champion.from_json` asks for it.
    """
    try:
        return Champion.from_json(text), ()
    except VerificationError:
        try:
            raw = json.loads(text)
            unknown = unknown_keys(raw["gates"], GateParams)
        except (ValueError, KeyError, TypeError):
            unknown = ()
        if not unknown:
            raise
        known = Champion.from_json(json.dumps({**raw, "gates": without(raw["gates"], unknown)}))
        return known, tuple(".".join(map(str, place)) for place in unknown)


def _refuse_others(found: Champion, raw: dict[str, Any]) -> None:
    """Raise `ValueError` for what reads as a record and is none that `to_json` writes."""
    unknown = sorted(raw.keys() - {"champion", "without", "base", "policy", "slices", "holdout", "gates"})
    if unknown:
        raise ValueError(f"unknown keys {', '.join(unknown)}")
    if (found.served is None) == (found.without is None):
        raise ValueError("expected a champion or a reason why there is none")
    if found.policy not in POLICIES:
        raise ValueError(f"expected a policy of {' or '.join(POLICIES)}, found {found.policy!r}")
    parts = [asdict(each).values() for each in (found.served, found.base) if each is not None]
    texts = [text for values in (*parts, found.slices) for text in values]
    if not (raw["holdout"] is None or isinstance(raw["holdout"], dict)):
        raise TypeError("expected the base's holdout as a mapping or nothing")
    if not isinstance(raw["slices"], list) or not all(isinstance(text, str) for text in texts):
        raise ValueError("expected text as ids, store and slices")
