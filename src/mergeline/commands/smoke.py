"""The verb `smoke`: whether a server that was just deployed does what its release promises."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from mergeline.commands.serve import PREFIX, release_options, wanted_release
from mergeline.errors import ConfigurationError, VerificationError
from mergeline.report.escape import clean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mergeline.commands.verb import Verb
    from mergeline.release.smoke import Check, Expected

REQUESTS = 50
LATENCY_MS = 500.0
KEY, KEY_FILE = f"{PREFIX}API_KEY", f"{PREFIX}API_KEY_FILE"  # the file's is the server's own variable

logger = logging.getLogger(__name__)


def add_verbs(verb: Verb) -> None:
    """Declare the verbs."""
    added = verb("smoke", _smoke, "ask a server whether it does what its release promises (exit code 6: it does not)")
    added.add_argument("url", help="the address of the server")
    release_options(added)
    text = f"the file that holds the server's API key (default: {KEY_FILE}, else the key in {KEY}, if any)"
    added.add_argument("--api-key-file", type=Path, metavar="FILE", help=text)
    text = f"the longest that 95 of 100 requests of one row may take (default: {LATENCY_MS:g})"
    added.add_argument("--latency-ms", type=_above_zero, default=LATENCY_MS, metavar="MS", help=text)
    text = f"how many requests latency is measured by (default: {REQUESTS})"
    added.add_argument("--requests", type=_count, default=REQUESTS, metavar="N", help=text)
    added.add_argument("--json", action="store_true", help="the checks as JSON")


def _smoke(parsed: argparse.Namespace) -> str:
    from mergeline.release.smoke import Client, Wishes, smoke

    client = Client(parsed.url, _key(parsed.api_key_file, os.environ))
    checks = list(smoke(client, _expected(parsed), Wishes(parsed.requests, parsed.latency_ms)))
    text = json.dumps([asdict(check) for check in checks], indent=2) if parsed.json else _lines(checks)
    last = checks[-1]
    if last.passed:
        return text
    if parsed.json:
        sys.stdout.write(f"{text}\n")
    else:
        logger.info(text)
    raise VerificationError(f"smoke: {last.name}: {clean(last.said, 2000)}")


def _lines(checks: list[Check]) -> str:
    return "\n".join(
        f"{'passed' if check.passed else 'FAILED'}  {check.name}: {clean(check.said, 2000)}" for check in checks
    )


def _expected(parsed: argparse.Namespace) -> Expected:
    """The model and its signature, from bytes that the store gave and that were hashed."""
    from mergeline.release.fetch import fetch, local_folder
    from mergeline.release.smoke import Expected
    from mergeline.schema import SIGNATURE_FILE, Signature

    _, wanted = wanted_release(parsed.root, parsed)
    fetched = fetch(wanted, parsed.root, local_folder(parsed.root, wanted.model_sha256))
    try:
        signature = Signature.from_json(fetched.content[SIGNATURE_FILE].decode())
    except (ValueError, KeyError, TypeError) as err:
        raise VerificationError(f"{SIGNATURE_FILE}: cannot be read ({err!r}); train the model anew") from err
    return Expected(wanted.model_sha256, signature)


def _key(path: Path | None, environment: Mapping[str, str]) -> str | None:
    """The key in a file, as a server is given it; else the one in the environment, where a workflow has its secrets."""
    named = path or environment.get(KEY_FILE)
    if named:
        from mergeline.serve.requests import ApiKey

        ApiKey(Path(named))  # refuses what is no key
        return Path(named).read_bytes().removeprefix(b"\xef\xbb\xbf").strip().decode("latin-1")
    key = os.fsencode(environment.get(KEY, "")).strip()
    if any(byte < 32 or byte == 127 for byte in key):
        raise ConfigurationError(f"{KEY}: expected an API key on one line; no client could send this one")
    return key.decode("latin-1") or None


def _above_zero(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, found {text}")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, found {text}")
    return value
