"""A message to a chat by its incoming webhook, whose address is a secret and is never shown."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from mergeline.errors import ConfigurationError, ServiceError
from mergeline.report.escape import clean

VARIABLE = "MERGELINE_WEBHOOK"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
TRIES = 3
TIMEOUT_S = 10.0
TOO_MANY, BROKEN = 429, 500


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A webhook answers where it is; elsewhere nothing is told."""

    def redirect_request(self, *_: Any) -> None:
        return None


def address_of(environment: Mapping[str, str]) -> str | None:
    """Return the webhook's address, None where there is none; raise `ConfigurationError` for one that cannot be."""
    url = environment.get(VARIABLE, "").strip()
    if not url:
        return None
    parts = urlsplit(url)
    safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    if not safe or not parts.hostname or any(sign.isspace() for sign in url):
        raise ConfigurationError(f"{VARIABLE}: expected https://HOST/..., found another address; copy it anew")
    return url


def send(
    url: str, message: Mapping[str, Any], sleep: Callable[[float], None] = time.sleep, pause_s: float = 1.0
) -> None:
    """Post a message as JSON; raise `ServiceError` where it was not taken.

    A limit, a fault of the server and silence are tried again; a message may then come twice, and is not lost.
    """
    opener = urllib.request.build_opener(_NoRedirect)
    body = json.dumps(message).encode()
    why = "no answer"
    for attempt in range(TRIES):
        if attempt:
            sleep(pause_s * 2 ** (attempt - 1))
        request = urllib.request.Request(  # noqa: S310 - https, or this machine: see address_of
            url, body, {"Content-Type": "application/json; charset=utf-8"}, method="POST"
        )
        try:
            with opener.open(request, timeout=TIMEOUT_S):
                return
        except urllib.error.HTTPError as err:
            with err:
                why = (
                    f"answers {err.code} ({clean(err.read(300).decode('utf-8', 'replace'), 100) or 'no reason given'})"
                )
            if err.code != TOO_MANY and err.code < BROKEN:
                break
        except urllib.error.URLError as err:
            why = f"no connection ({clean(err.reason, 100)})"
        except (OSError, http.client.HTTPException) as err:
            why = f"no whole answer ({type(err).__name__})"
    raise ServiceError(f"{VARIABLE}: the webhook of {urlsplit(url).hostname} {why}; see whether it still exists")
