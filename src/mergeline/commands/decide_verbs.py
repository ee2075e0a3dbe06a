"""The verbs `decide` and `heartbeat` as the command line has them: what they take, and what they call."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mergeline.commands.logplace import LOG_HELP
from mergeline.commands.performance import now_option

if TYPE_CHECKING:
    from mergeline.commands.verb import Verb


def add_verbs(verb: Verb) -> None:
    """Declare the verbs."""
    text = "say what follows from drift, labels, errors and age; propose it, and tell it"
    _decide_options(verb("decide", _decide, text))
    text = "say whether the scheduled check still runs (exit code 5: it does not)"
    _heartbeat_options(verb("heartbeat", _heartbeat, text))


def _decide_options(added: argparse.ArgumentParser) -> None:
    text = "what to do with the decision that was made: push its branch, keep its issue, tell the webhook"
    added.add_argument("step", nargs="?", choices=["act", "issue", "notify"], help=text)
    added.add_argument("--log", metavar="URL", help=LOG_HELP)
    now_option(added)
    added.add_argument("--request", metavar="REASON", help="a person asks for a retraining, and says why")
    added.add_argument("--remote", default="origin", metavar="NAME", help="where branches are pushed (default: origin)")
    added.add_argument("--strict", action="store_true", help="notify: exit with 7 where the webhook takes no message")
    added.add_argument("--json", action="store_true", help="print the record as JSON")


def _heartbeat_options(added: argparse.ArgumentParser) -> None:
    added.add_argument("--beat", action="store_true", help="a run has ended well: keep the moment")
    added.add_argument("--log", metavar="URL", help=LOG_HELP)
    now_option(added)
    added.add_argument("--notify", action="store_true", help="tell the webhook, too")
    added.add_argument("--prometheus", action="store_true", help="print it as Prometheus reads it, and exit with 0")


def _decide(parsed: argparse.Namespace) -> str:
    from mergeline.commands import decide

    return decide.decide_verb(parsed)


def _heartbeat(parsed: argparse.Namespace) -> str:
    from mergeline.commands import decide

    return decide.heartbeat_verb(parsed)
