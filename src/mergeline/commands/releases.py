"""The verbs of releases as the command line has them: what they take, and what they call."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

Verb = Callable[[str, Callable[[argparse.Namespace], str | None], str], argparse.ArgumentParser]


def add_verbs(verb: Verb) -> None:
    """Declare the verbs; `verb` takes a name, what it calls and a sentence, and returns its parser."""
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
    verb("sync-registry", _sync_registry, "make MLflow's registry say what Git says: versions, tags, aliases")


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


def _sync_registry(parsed: argparse.Namespace) -> str:
    from mergeline.commands import promotion

    return promotion.sync_registry(parsed.root, os.environ)
