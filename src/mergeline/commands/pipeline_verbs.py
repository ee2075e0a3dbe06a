"""The verbs that make a model, judge it and record it, as the command line has them: what they take, what they call."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mergeline.commands.logplace import LOG_HELP

if TYPE_CHECKING:
    from mergeline.commands.verb import Verb


def add_verbs(verb: Verb) -> None:
    """Declare the verbs."""
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
    _week(added)
    _base(verb("record", _record, "commit the results of this branch, and the release that follows from them"))
    added = verb("gate", _gate, "say whether this branch may be merged (exit code 4: no)")
    _base(added)
    again = added.add_mutually_exclusive_group()
    again.add_argument("--rerun", action="store_true", help="run evaluate and compare once more, and compare records")
    again.add_argument("--only-rerun", action="store_true", help="ask nothing but that")
    _base(verb("resync", _resync, "merge the base branch; take its generated files, run again, record"))
    verb("track", _track, "tell MLflow what it has not been told yet")
    added = verb("tune", _tune, "search the settings of the family, and propose the best as a change of params.yaml")
    added.add_argument("--write", action="store_true", help="make the change")


def _base(added: argparse.ArgumentParser) -> None:
    text = "the branch to be merged into (default: origin's default branch)"
    added.add_argument("--base", metavar="BRANCH", help=text)


def _week(added: argparse.ArgumentParser) -> None:
    text = "the report of the week of DAY (default: the last week that is over), under .mergeline/weekly/"
    added.add_argument("--week", nargs="?", const=_last_week(), type=dt.date.fromisoformat, metavar="DAY", help=text)
    added.add_argument("--log", metavar="URL", help=f"of --week: {LOG_HELP}")
    added.add_argument("--json", action="store_true", help="of --week: print it as JSON")


def _last_week() -> dt.date:
    return dt.datetime.now(dt.UTC).date() - dt.timedelta(days=7)


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
