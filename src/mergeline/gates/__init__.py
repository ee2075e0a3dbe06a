"""The gates that a candidate passes on its way to production, one module each, in the order of the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from mergeline.gates.behaviour import behaviour
from mergeline.gates.calibration import calibration
from mergeline.gates.comparable import comparable
from mergeline.gates.evidence import Evidence
from mergeline.gates.fairness import fairness
from mergeline.gates.floors import floors
from mergeline.gates.gate import Gate
from mergeline.gates.improvement import improvement
from mergeline.gates.latency import latency
from mergeline.gates.leakage import leakage
from mergeline.gates.parity import parity
from mergeline.gates.size import size
from mergeline.gates.slices import slices

if TYPE_CHECKING:
    from mergeline.params.gates import GateParams

GATES: Final[Mapping[str, Callable[[Evidence, GateParams], Gate]]] = MappingProxyType(
    {
        "comparable": comparable,
        "improvement": improvement,
        "floors": floors,
        "slices": slices,
        "calibration": calibration,
        "latency": latency,
        "size": size,
        "parity": parity,
        "behaviour": behaviour,
        "leakage": leakage,
        "fairness": fairness,
    }
)
