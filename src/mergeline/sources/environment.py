"""References to the environment, written ${NAME}, so that no secret stands in a versioned file."""

from __future__ import annotations

import re
from collections.abc import Mapping

from mergeline.errors import ConfigurationError

REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def resolved(text: str, environment: Mapping[str, str], where: str) -> str:
    """Return the text with each ${NAME} replaced by its value; `where` is the dotted key for the message.

    An empty value counts as missing: a workflow hands an unset secret over as the empty string.
    Raises ConfigurationError, which names the variable and never a value.

    >>> resolved("Bearer ${TOKEN}", {"TOKEN": "abc"}, "sources.orders.headers.Authorization")
    'Bearer abc'
    """

    def value(match: re.Match[str]) -> str:
        found = environment.get(match[1], "")
        if not found:
            raise ConfigurationError(
                f"{where}: expected the environment variable {match[1]} to hold a value, found none; set it"
            )
        return found

    return REFERENCE.sub(value, text)


def secrets(text: str, environment: Mapping[str, str]) -> frozenset[str]:
    """Return the values that the references of a text stand for."""
    return frozenset(value for name in REFERENCE.findall(text) if (value := environment.get(name)))
