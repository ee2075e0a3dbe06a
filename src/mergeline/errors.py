"""The ways in which a command can fail, each with the exit code that a workflow reads.

MergelineError
├── ConfigurationError   2   params.yaml, dvc.yaml or the command line
├── DataError            3   a table, a row, a blocking expectation
├── GateRefused          4   the branch may not be merged as it is
├── DegradationFound     5   a model that runs, and does worse than it may
├── VerificationError    6   bytes or scores that are not what they must be
└── ServiceError         7   a database, a web server, a remote, a subprocess
"""

from __future__ import annotations

from typing import ClassVar


class MergelineError(Exception):
    """A failure that a user can act on; its text is one line: where, expected, found, what to do."""

    exit_code: ClassVar[int] = 1


class ConfigurationError(MergelineError):
    """A setting is missing, unknown or of the wrong kind."""

    exit_code = 2


class DataError(MergelineError):
    """The data cannot be used as they are."""

    exit_code = 3


class GateRefused(MergelineError):
    """A branch that may not be merged, with the questions that it does not answer."""

    exit_code = 4


class DegradationFound(MergelineError):
    """A model does worse than it may: in a canary, or since it was promoted."""

    exit_code = 5


class VerificationError(MergelineError):
    """Something is not, byte for byte or score for score, what it has to be."""

    exit_code = 6


class ServiceError(MergelineError):
    """Something outside this process did not answer as it should."""

    exit_code = 7
