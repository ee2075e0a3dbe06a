"""The verbs that talk to GitHub as the command line has them: what they take, and what they call."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mergeline.errors import ConfigurationError
from mergeline.layout import REPORT_MARKDOWN

if TYPE_CHECKING:
    from mergeline.commands.verb import Verb


def add_verbs(verb: Verb) -> None:
    """Declare the verbs."""
    added = verb("post", _post, "put a report on the pull request, as one comment, and in the summary of the run")
    text = f"a file of Markdown (default: {REPORT_MARKDOWN})"
    added.add_argument("--report", type=Path, default=REPORT_MARKDOWN, metavar="FILE", help=text)
    text = "the pull request (default: the one that started the run)"
    added.add_argument("--pull-request", type=_number, metavar="N", help=text)
    text = "what the comment is found by again; one comment for each title (default: report)"
    added.add_argument("--title", default="report", metavar="NAME", help=text)
    added = verb("pull-request", _pull_request, "open the one pull request of a branch, or bring it up to date")
    added.add_argument("branch", metavar="BRANCH", help="a branch of the repository on GitHub")
    added.add_argument("--base", metavar="BRANCH", help="what it is to be merged into (default: the default branch)")
    added.add_argument("--draft", action="store_true", help="open it as a draft")
    added.add_argument("--label", action="append", default=[], metavar="NAME", help="a label that it has to have")
    added = verb("doctor", _doctor, "say what GitHub is set up for, and what mends the rest (exit code 2: broken)")
    added.add_argument("--json", action="store_true", help="print the findings as JSON")


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, found {text!r}")
    return int(text)


def _post(parsed: argparse.Namespace) -> str:
    from mergeline.github.posting import post

    return post(parsed.root, parsed.report, parsed.pull_request, parsed.title, os.environ)


def _pull_request(parsed: argparse.Namespace) -> str:
    from mergeline.github.pulls import pull_request

    return pull_request(parsed.branch, parsed.base, parsed.label, os.environ, draft=parsed.draft)


def _doctor(parsed: argparse.Namespace) -> str:
    from mergeline.github.doctor import doctor

    text, broken = doctor(parsed.root, os.environ, as_json=parsed.json)
    if broken:
        sys.stdout.write(f"{text}\n")  # data, also where the command fails
        raise ConfigurationError(f"doctor: broken: {', '.join(broken)}; see above for what mends it")
    return text
