"""The verb `canary`: traffic moves to a candidate step by step, or back, as the AnalysisTemplate says."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mergeline.errors import ConfigurationError, DataError, DegradationFound

if TYPE_CHECKING:
    from mergeline.canary.rollout import Record, Side
    from mergeline.commands.verb import Verb

STEPS = (5.0, 25.0, 50.0, 100.0)
PATIENCE_S = 600.0
PORT = 8090


def add_verbs(verb: Verb) -> None:
    """Declare the verbs."""
    text = "move traffic to a candidate step by step, or back (exit code 5: back; 3: too little traffic to say)"
    added = verb("canary", _canary, text)
    added.add_argument("--stable", required=True, metavar="URL", help="the server that answers now")
    added.add_argument("--candidate", required=True, metavar="URL", help="the server that is to take over")
    added.add_argument("--port", type=_port, default=PORT, help=f"where clients ask (default: {PORT}; 0: any free one)")
    text = "rising shares in percent, the last 100; each is measured before the next (default: 5,25,50,100)"
    added.add_argument("--steps", type=_steps, default=STEPS, metavar="SHARES", help=text)
    text = "seconds between two measurements (default: the template's); its windows and delays shrink with it"
    added.add_argument("--interval", type=_seconds, metavar="SECONDS", help=text)
    text = f"how long a step may stay undecided before the traffic goes back (default: {PATIENCE_S:g})"
    added.add_argument("--patience", type=_seconds, default=PATIENCE_S, metavar="SECONDS", help=text)
    text = "the header that names a client and keeps it to one server, where requests have no entity_id"
    added.add_argument("--key-header", metavar="NAME", help=text)
    text = "the manifest with the conditions (default: k8s/components/canary/analysistemplates.yaml)"
    added.add_argument("--template", type=Path, metavar="FILE", help=text)
    added.add_argument("--record", type=Path, metavar="FILE", help="where the record goes (default: stdout)")
    added.add_argument("--stay", action="store_true", help="serve on after the decision, until a signal")


def _canary(parsed: argparse.Namespace) -> None:
    from mergeline.canary.rollout import Outcome, Plan, run
    from mergeline.canary.template import TEMPLATE, read_template

    template = read_template(parsed.template or parsed.root / TEMPLATE)
    plan = Plan(
        stable=_side("--stable", parsed.stable),
        candidate=_side("--candidate", parsed.candidate),
        steps=parsed.steps,
        interval_s=parsed.interval,
        patience_s=parsed.patience,
        port=parsed.port,
        key_header=parsed.key_header,
        stay=parsed.stay,
    )
    record = run(plan, template, lambda found: _keep(found, parsed.record))
    if record.outcome is Outcome.INTERRUPTED:
        raise KeyboardInterrupt
    if record.outcome is Outcome.ROLLED_BACK:
        raise DegradationFound(f"canary: {record.said}; the stable server answers everything")
    if record.outcome is Outcome.UNDECIDED:
        raise DataError(f"canary: {record.said}; send it more traffic, or wait longer with --patience")


def _keep(record: Record, path: Path | None) -> None:
    """Write the record, as soon as it is decided."""
    from mergeline import files

    if path is None:
        sys.stdout.write(json.dumps(record.as_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
        sys.stdout.flush()
        return
    try:
        files.write_json(path, record.as_dict())
    except OSError as err:
        raise ConfigurationError(f"--record {path}: {err.strerror}; the canary is {record.outcome}") from err


def _side(option: str, url: str) -> Side:
    from mergeline.canary.rollout import Side
    from mergeline.release.chain import served_by

    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(f"{option}: expected http:// or https://, found {url!r}")
    try:
        urlsplit(url).port  # noqa: B018 - says whether it is one
    except ValueError as err:
        raise ConfigurationError(f"{option}: {url!r}: {err}") from err
    return Side(url.rstrip("/"), served_by(url))


def _steps(text: str) -> tuple[float, ...]:
    try:
        shares = tuple(float(part) for part in text.split(","))
    except ValueError:
        shares = ()
    if len(shares) < 2 or shares[-1] != 100 or shares[0] <= 0 or list(shares) != sorted(set(shares)):
        raise argparse.ArgumentTypeError(f"expected rising shares, at least one below the last, 100; found {text}")
    return shares


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected seconds above 0, found {text}")
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65_535:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535, found {text}")
    return value
