"""The verbs of releases as the command line has them: what they take, and what they call."""

from __future__ import annotations

import argparse
import datetime as dt
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mergeline.commands.verb import Verb


def add_verbs(verb: Verb) -> None:
    """Declare the verbs."""
    added = verb("propose", _propose, "push the branch that gives production what staging serves")
    added.add_argument("environment", choices=["production"], help="where to")
    _remote(added)
    added = verb("rollback", _rollback, "push the branch that takes production back to an earlier release")
    text = "the beginning of its model's SHA-256 or of the commit that promoted it (default: the last good one)"
    added.add_argument("--to", metavar="RELEASE", help=text)
    _remote(added)
    added = verb("verify", _verify, "compare every link from the commit to the server (exit code 6: one is broken)")
    added.add_argument("--environment", choices=["staging", "production"], default="production")
    added.add_argument("--url", help="the address of a running server, to be asked what it serves")
    added.add_argument("--registry", action="store_true", help="ask the registry for the image, too")
    added = verb("retire", _retire, "announce the end of a model, or propose the phases that are due")
    what = added.add_mutually_exclusive_group(required=True)
    what.add_argument("release", nargs="?", metavar="RELEASE", help="the beginning of its model's SHA-256")
    what.add_argument("--due", action="store_true", help="propose every phase whose day has come")
    added.add_argument("--on", type=dt.date.fromisoformat, metavar="DAY", help="the day on which it is gone")
    text = "the day that counts as today (default: today, UTC)"
    added.add_argument("--as-of", type=dt.date.fromisoformat, metavar="DAY", help=text)
    _remote(added)
    added = verb("sync-registry", _sync_registry, "make MLflow's registry say what Git says: versions, tags, aliases")
    text = "the branch to read, as this clone has it (default: origin's default branch, else HEAD)"
    added.add_argument("--ref", metavar="BRANCH", help=text)


def _remote(added: argparse.ArgumentParser) -> None:
    added.add_argument("--remote", default="origin", metavar="NAME", help="where branches go (default: origin)")


def _propose(parsed: argparse.Namespace) -> str:
    from mergeline.commands import promotion

    return promotion.propose_production(parsed.root, parsed.remote)


def _rollback(parsed: argparse.Namespace) -> str:
    from mergeline.commands import promotion

    return promotion.rollback(parsed.root, parsed.remote, parsed.to)


def _verify(parsed: argparse.Namespace) -> str:
    from mergeline.commands import verify

    return verify.verify(
        parsed.root, parsed.environment, parsed.url, ask_registry=parsed.registry, variables=os.environ
    )


def _retire(parsed: argparse.Namespace) -> str:
    from mergeline.commands import retirement
    from mergeline.errors import ConfigurationError

    today = parsed.as_of or dt.datetime.now(dt.UTC).date()
    if parsed.due:
        return retirement.bring_forward(parsed.root, parsed.remote, today)
    if parsed.on is None:
        raise ConfigurationError("retire: expected --on DAY, the day on which the model is gone")
    return retirement.announce(parsed.root, parsed.remote, parsed.release, parsed.on, today)


def _sync_registry(parsed: argparse.Namespace) -> str:
    from mergeline.commands import promotion

    return promotion.sync_registry(parsed.root, parsed.ref, os.environ)
