"""From what the monitors found to one decision with its reasons."""

from mergeline.monitor.decide.decision import Considered, Decision, Outcome, decide
from mergeline.monitor.decide.evidence import (
    Canary,
    Drift,
    Errors,
    Evidence,
    Heartbeat,
    Labels,
    Model,
    Partition,
    Performance,
    Request,
    Retraining,
    Traffic,
)
from mergeline.monitor.decide.record import as_record, parse_record
from mergeline.monitor.decide.statement import markdown, sentence

__all__ = [
    "Canary",
    "Considered",
    "Decision",
    "Drift",
    "Errors",
    "Evidence",
    "Heartbeat",
    "Labels",
    "Model",
    "Outcome",
    "Partition",
    "Performance",
    "Request",
    "Retraining",
    "Traffic",
    "as_record",
    "decide",
    "markdown",
    "parse_record",
    "sentence",
]
