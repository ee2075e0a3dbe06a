"""The command line: parse, call, write. Here alone errors are caught and become one line and an exit code."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from mergeline import __version__
from mergeline.errors import MergelineError

INTERRUPTED = 130
# The modules of `mergeline.commands` and the verbs that each declares: a command imports its own, `--help` all.
VERBS = {
    "pipeline_verbs": (
        *("init", "ingest", "pull", "remote", "champion", "repro", "status", "validate", "train", "evaluate"),
        *("compare", "report", "record", "gate", "resync", "track", "tune"),
    ),
    "releases": ("propose", "rollback", "verify", "retire", "sync-registry"),
    "history": ("releases", "lineage", "audit", "dora"),
    "publishing": ("site",),
    "canary": ("canary",),
    "smoke": ("smoke",),
    "github": ("post", "pull-request", "doctor"),
    "cloud": ("setup-github", "cloud"),
    "training_job": ("training-job",),
    "drift": ("drift",),
    "decide_verbs": ("decide", "heartbeat"),
    "serve": ("serve", "fetch", "sign"),
    "monitoring": ("experiment", "labels"),
    "performance": ("performance",),
    "collect": ("collect",),
}
# what this repository holds is its owner's: no library reports on its use
NO_TELEMETRY = {
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "ORT_DISABLE_TELEMETRY": "1",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 good, else the error's own (see `mergeline.errors`)."""
    words = sys.argv[1:] if arguments is None else arguments
    parsed = parser(words).parse_args(words)
    os.environ.update(NO_TELEMETRY)
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.INFO, force=True)
    for chatty in (
        "great_expectations",
        "great_expectations.data_context",
        "mlflow",
        "alembic",
        "onnxscript",
        "onnx_ir",
        "torch.onnx",
        "botocore",
        "optuna",
    ):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        text = parsed.run(parsed)
    except MergelineError as err:
        if parsed.debug:
            raise
        print(f"mergeline: {err}", file=sys.stderr)
        return err.exit_code
    except KeyboardInterrupt:
        print("mergeline: interrupted", file=sys.stderr)
        return INTERRUPTED
    return _printed(text) if text else 0


def _printed(text: str) -> int:
    """Print, also to a reader such as `head` that has read enough."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what Python flushes at its end goes nowhere
    return 0


def parser(words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return the parser of the verb that the words of a command line name; of all verbs where they name none."""
    top = argparse.ArgumentParser(
        prog="mergeline", description="A model that lives in Git: train, judge, deploy, watch."
    )
    top.add_argument("--version", action="version", version=f"mergeline {__version__}")
    top.add_argument("--root", type=Path, default=Path(), help="the repository (default: the current folder)")
    top.add_argument("--debug", action="store_true", help="show the traceback of an error")
    verbs = top.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def verb(name: str, run: Callable[[argparse.Namespace], str | None], text: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    asked = _verb(words)
    modules = [module for module, names in VERBS.items() if asked in names] or VERBS
    for module in modules:
        import_module(f"mergeline.commands.{module}").add_verbs(verb)
    return top


def _verb(words: Sequence[str]) -> str | None:
    """The word that stands where a verb has to."""
    left = iter(words)
    for word in left:
        if word == "--root":
            next(left, None)
        elif word != "--debug" and not word.startswith("--root="):
            return word
    return None
