"""The command line: parse, call, write. Here alone errors are caught and become one line and an exit code."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from mergeline import __version__
from mergeline.commands import (
    canary,
    decide_verbs,
    drift,
    github,
    history,
    monitoring,
    publishing,
    releases,
    smoke,
    training_job,
)
from mergeline.commands import cloud as clouding
from mergeline.commands import collect as collecting
from mergeline.commands import performance as performing
from mergeline.commands import serve as serving
from mergeline.errors import MergelineError

INTERRUPTED = 130
# what this repository holds is its owner's: no library reports on its use
NO_TELEMETRY = {
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "ORT_DISABLE_TELEMETRY": "1",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 good, else the error's own (see `mergeline.errors`)."""
    parsed = parser().parse_args(arguments)
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


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
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

    added = verb("init", _init, "write params.yaml, data/ and data.dvc for a table of your own")
    added.add_argument("table", type=Path, help="a CSV or Parquet file")
    added.add_argument("--target", required=True, metavar="COLUMN", help="the column to predict")
    added.add_argument(
        "--task", choices=["binary", "multiclass", "regression"], help="default: guessed from the target"
    )
    added.add_argument("--time", metavar="COLUMN", help="the column that orders the rows (default: guessed)")
    added.add_argument("--id", metavar="COLUMN", help="the column that names a row (default: guessed)")
    added.add_argument("--force", action="store_true", help="replace the params.yaml and data/ that are there")
    added = verb("ingest", _ingest, "read the sources of params.yaml into new partitions of data/")
    added.add_argument("--replace", action="store_true", help="let other rows take the place of a partition's")
    text = "the day that freshness is judged against (default: today, UTC)"
    added.add_argument("--as-of", type=dt.date.fromisoformat, metavar="DAY", help=text)
    verb("pull", _pull, "put data/ in place, from the DVC remote or the sample")
    added = verb("remote", _remote, "make URL (a folder or s3://...) the DVC remote, with verification")
    added.add_argument("url")
    added = verb(
        "champion", _champion, "name what is compared with: the model that production serves, on the base branch"
    )
    _base(added)
    added = verb("repro", _repro, "name the champion, run the stages that are out of date, write receipt and report")
    _base(added)
    added.add_argument("--force", action="store_true", help="run all stages")
    added.add_argument("--pull", action="store_true", help="take what is missing from the remote")
    added.add_argument("--no-track", action="store_true", help="leave MLflow for a later `mergeline track`")
    verb("status", _status, "say what is out of date, and what metrics and parameters changed since the last commit")
    verb("validate", _stage("validate"), "the stage: check the table")
    verb("train", _stage("train"), "the stage: make the candidate")
    verb("evaluate", _stage("evaluate"), "the stage: measure the candidate on the holdout")
    verb("compare", _stage("compare"), "the stage: judge the candidate against the champion")
    added = verb("report", _report, "write reports/report.md and reports/report.html from the records, or a week's")
    _base(added)
    decide_verbs.week_options(added)
    _base(verb("record", _record, "commit the results of this branch, and the release that follows from them"))
    added = verb("gate", _gate, "say whether this branch may be merged (exit code 4: no)")
    _base(added)
    again = added.add_mutually_exclusive_group()
    again.add_argument("--rerun", action="store_true", help="run evaluate and compare once more, and compare records")
    again.add_argument("--only-rerun", action="store_true", help="ask nothing but that")
    _base(verb("resync", _resync, "merge the base branch; take its generated files, run again, record"))
    releases.add_verbs(verb)
    history.add_verbs(verb)
    publishing.add_verbs(verb)
    canary.add_verbs(verb)
    smoke.add_verbs(verb)
    github.add_verbs(verb)
    clouding.add_verbs(verb)
    training_job.add_verbs(verb)
    drift.add_verbs(verb)
    decide_verbs.add_verbs(verb)
    verb("track", _track, "tell MLflow what it has not been told yet")
    added = verb("tune", _tune, "search the settings of the family, and propose the best as a change of params.yaml")
    added.add_argument("--write", action="store_true", help="make the change")
    serving.serve_options(verb("serve", _serve, "answer predictions with the release of an environment"))
    serving.fetch_options(verb("fetch", _fetch, "put a release's bytes in place and verify them, as a server does"))
    serving.sign_options(verb("sign", _sign, "sign the model of a release, so that production may fetch it"))
    monitoring.experiment_options(
        verb("experiment", _experiment, "say whether a challenger and the champion differ, by the log and its labels")
    )
    monitoring.labels_options(verb("labels", _labels, "feed the log with what turned out"))
    text = "say what the models that run are worth by the labels that came (exit code 5: worse than at the release)"
    performing.options(verb("performance", _performance, text))
    text = "make the next partition of data/ from the log and the labels that came for it"
    collecting.options(verb("collect", _collect, text))
    return top


def _base(added: argparse.ArgumentParser) -> None:
    text = "the branch to be merged into (default: origin's default branch)"
    added.add_argument("--base", metavar="BRANCH", help=text)


def _stage(name: str) -> Callable[[argparse.Namespace], None]:
    def call(parsed: argparse.Namespace) -> None:
        from mergeline.commands import repro, stages

        repro.recover(parsed.root)
        run: Callable[[Path], None] = getattr(stages, name)
        run(parsed.root)

    return call


def _init(parsed: argparse.Namespace) -> str:
    from mergeline.commands import data
    from mergeline.init import Wishes

    wishes = Wishes(parsed.target, parsed.task, parsed.time, parsed.id)
    return data.init(parsed.root, parsed.table, wishes, force=parsed.force)


def _ingest(parsed: argparse.Namespace) -> str:
    from mergeline.commands import data

    as_of = parsed.as_of or dt.datetime.now(dt.UTC).date()
    return json.dumps(data.ingest(parsed.root, as_of=as_of, replace=parsed.replace, environment=os.environ))


def _pull(parsed: argparse.Namespace) -> str:
    from mergeline import pipeline

    return f"data/ from {pipeline.put_data_in_place(parsed.root)}"


def _remote(parsed: argparse.Namespace) -> None:
    from mergeline import pipeline

    pipeline.set_remote(parsed.root, parsed.url)


def _repro(parsed: argparse.Namespace) -> str:
    from mergeline.commands import repro

    return repro.repro(
        parsed.root,
        base=parsed.base,
        force=parsed.force,
        pull=parsed.pull,
        tracking=not parsed.no_track,
        environment=os.environ,
    )


def _champion(parsed: argparse.Namespace) -> str:
    from mergeline.commands import repro

    return repro.champion(parsed.root, parsed.base)


def _report(parsed: argparse.Namespace) -> str:
    from mergeline.commands import report

    if parsed.week is not None:
        return report.week(parsed.root, parsed.log, parsed.week, as_json=parsed.json, environment=os.environ)
    return report.report(parsed.root, parsed.base)


def _record(parsed: argparse.Namespace) -> str:
    from mergeline.commands import record

    return record.record(parsed.root, parsed.base)


def _gate(parsed: argparse.Namespace) -> str:
    from mergeline.commands import gate

    return gate.gate(parsed.root, parsed.base, os.environ, rerun=parsed.rerun, alone=parsed.only_rerun)


def _resync(parsed: argparse.Namespace) -> str:
    from mergeline.commands import record

    return record.resync(parsed.root, parsed.base, os.environ)


def _status(parsed: argparse.Namespace) -> str:
    from mergeline.commands import repro

    return json.dumps(repro.status(parsed.root), indent=2, default=str)


def _track(parsed: argparse.Namespace) -> str:
    from mergeline.commands import repro

    return f"{repro.track(parsed.root, os.environ)} candidates logged"


def _tune(parsed: argparse.Namespace) -> str:
    from mergeline.commands import tune

    return tune.tune(parsed.root, write=parsed.write, environment=os.environ)


def _serve(parsed: argparse.Namespace) -> None:
    serving.serve(parsed.root, parsed, os.environ)


def _fetch(parsed: argparse.Namespace) -> str:
    return serving.fetch_release(parsed.root, parsed, os.environ)


def _sign(parsed: argparse.Namespace) -> str:
    return serving.sign(parsed.root, parsed, os.environ)


def _experiment(parsed: argparse.Namespace) -> str:
    return monitoring.experiment(
        parsed.root, parsed.log, monitoring.wishes_of(parsed), as_json=parsed.json, environment=os.environ
    )


def _labels(parsed: argparse.Namespace) -> str:
    return monitoring.add_labels(
        parsed.root, parsed.file, parsed.log, environment=os.environ, now=dt.datetime.now(dt.UTC)
    )


def _performance(parsed: argparse.Namespace) -> str:
    run = performing.performance(
        parsed.root,
        parsed.log,
        now=parsed.now or dt.datetime.now(dt.UTC),
        environment=os.environ,
        since=parsed.since,
        ref=parsed.ref,
        output=parsed.output,
    )
    if run.failure is not None:
        _printed(run.text(as_json=parsed.json))
        raise run.failure
    return run.text(as_json=parsed.json)


def _collect(parsed: argparse.Namespace) -> str:
    now = parsed.now or dt.datetime.now(dt.UTC)
    return collecting.collect(parsed.root, parsed.log, now=now, as_of=parsed.as_of, environment=os.environ).text()
