"""What was known of a model when it was let through: the records of the commit that brought its receipt."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mergeline.release.receipt import Receipt
from mergeline.report.escape import clean

LONGEST_SENTENCE = 2000
MOST_METRICS = 200  # a record has ten or twenty; one that has more is no record of ours


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on a model: its word and sentence, the primary metric, how many gates came out how, which failed."""

    verdict: str
    sentence: str
    primary: str | None
    gates: Mapping[str, int]
    failed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """A receipt, the commit of the branch that brought it, and the records of that commit.

    `params_sha256` is of params.yaml; `judgement` is None where there is no verdict on this very model.
    """

    commit: str
    receipt: Receipt
    params_sha256: str | None
    metrics: Mapping[str, float]
    judgement: Judgement | None

    @property
    def headline(self) -> tuple[str, float] | None:
        """The primary metric, or the first one where no record says which is; None without metrics."""
        primary = self.judgement.primary if self.judgement else None
        name = primary if primary in self.metrics else next(iter(self.metrics), None)
        return None if name is None else (name, self.metrics[name])


def parse_metrics(content: bytes | None) -> dict[str, float]:
    """Return the finite numbers of a metrics.json; a record that cannot be read has none."""
    record = parsed(content)
    numbers = {
        name: float(value)
        for name, value in record.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and _is_finite(value)
    }
    return dict(list(numbers.items())[:MOST_METRICS])


def parse_judgement(content: bytes | None, model_sha256: str) -> Judgement | None:
    """Return the verdict of a comparison.json; None where it is on another model, or cannot be read."""
    record = parsed(content)
    candidate = record.get("candidate")
    if not isinstance(candidate, dict) or candidate.get("sha256") != model_sha256:
        return None
    found = record.get("gates")
    gates = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    primary = record.get("primary")
    return Judgement(
        verdict=clean(record.get("verdict", ""), 40),
        sentence=clean(record.get("sentence", ""), LONGEST_SENTENCE),
        primary=primary if isinstance(primary, str) else None,
        gates=dict(Counter(clean(each.get("outcome", ""), 40) for each in gates)),
        failed=tuple(clean(each.get("name", ""), 40) for each in gates if each.get("outcome") == "failed"),
    )


def parsed(content: bytes | None) -> dict[str, Any]:
    """Return a record; an empty one where there is none that can be read."""
    try:
        record = json.loads(content or b"{}")
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False
