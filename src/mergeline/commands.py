"""The verbs of the command line: each reads, calls one pure function, and writes."""

from __future__ import annotations

import datetime as dt
import difflib
import gc
import logging
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mergeline import files, params, pipeline, table
from mergeline.errors import ConfigurationError, ServiceError
from mergeline.files import LOCAL_STATE
from mergeline.params_file import edited
from mergeline.progress import steps

if TYPE_CHECKING:
    from mergeline.init import Wishes
    from mergeline.params import Params
    from mergeline.stages.evaluate import Evaluation

logger = logging.getLogger(__name__)

DATA = pipeline.DATA
CANDIDATE = Path("models/candidate")
REPORTS = Path("reports")
VALIDATION = REPORTS / "validation.json"
METRICS = REPORTS / "metrics.json"
EVALUATION = REPORTS / "evaluation.json"
TRAINING = CANDIDATE / "training.json"
FOLDERS = (CANDIDATE, REPORTS / "validate", REPORTS / "evaluate")


def load_params(root: Path) -> Params:
    """Return the settings of the repository at `root`."""
    return params.load(root / params.PARAMS_FILE)


def recover(root: Path) -> None:
    """Finish what a killed stage left half replaced."""
    for folder in FOLDERS:
        files.recover_folder(root / folder, root / LOCAL_STATE)


def validate(root: Path) -> None:
    """Check the table; write the record and the pages, then fail on a blocking expectation."""
    with _uncollected():
        import great_expectations  # noqa: F401  # else it is imported when the first partition is checked

        from mergeline.stages.validate import validate as check

    settings = load_params(root)
    loaders = {path.stem: partial(table.read_partition, path) for path in table.partitions(root / DATA)}
    with steps("validate", sys.stderr) as show:
        found = check(loaders, settings, show)
    with files.replaced_folder(root / REPORTS / "validate", root / LOCAL_STATE) as folder:
        for name, page in found.pages.items():
            files.write_text(folder / name, page)
    files.write_json(root / VALIDATION, found.as_dict())
    found.raise_if_blocked(str(VALIDATION))


def train(root: Path) -> None:
    """Make the candidate; write it whole or not at all, and leave it for MLflow."""
    from mergeline import git, tracking
    from mergeline.models.scorer import MODEL_FILE, SIGNATURE_FILE
    from mergeline.stages.train import train as make

    settings = load_params(root)
    with steps("train", sys.stderr) as show:
        trained = make(table.read_table(root / DATA, settings.data.columns), settings, show)
    with files.replaced_folder(root / CANDIDATE, root / LOCAL_STATE) as folder:
        files.write_bytes(folder / MODEL_FILE, trained.model)
        files.write_text(folder / SIGNATURE_FILE, trained.signature.to_json())
        files.write_json(folder / TRAINING.name, trained.record.as_dict())
        trained.reference.to_parquet(folder / "reference.parquet", index=False, compression="zstd")
    lineage = tracking.Lineage(
        git_commit=git.head_commit(root) or "none",
        data_md5=pipeline.data_md5(root),
        model_sha256=tracking.model_sha256(trained.model),
    )
    tracking.leave(root, trained, root / CANDIDATE, lineage)


def evaluate(root: Path) -> None:
    """Measure the candidate on the holdout; write the records, the tables for plots, and the model card."""
    from mergeline import tracking
    from mergeline.models.scorer import MODEL_FILE, Scorer
    from mergeline.report.card import model_card
    from mergeline.stages.evaluate import evaluate as measure

    settings = load_params(root)
    scorer = Scorer.load(root / CANDIDATE)
    training = files.read_json(root / TRAINING, "mergeline train")
    if training["holdout"] != settings.data.holdout.model_dump():
        raise ConfigurationError(
            "data.holdout: the candidate was trained with another one; `mergeline repro` trains anew"
        )
    columns = (*settings.data.columns, *settings.evaluate.slices)
    with steps("evaluate", sys.stderr) as show:
        measured = measure(table.read_table(root / DATA, tuple(dict.fromkeys(columns))), scorer, settings, show)
    validation = files.read_json(root / VALIDATION, "mergeline validate")
    with files.replaced_folder(root / REPORTS / "evaluate", root / LOCAL_STATE) as folder:
        _write_tables(measured, folder)
        card = model_card(settings, scorer.signature, training, measured.as_dict(), validation)
        files.write_text(folder / "model_card.md", card)
    files.write_json(root / EVALUATION, measured.as_dict())
    files.write_json(root / METRICS, measured.headline())
    sha256 = tracking.model_sha256((root / CANDIDATE / MODEL_FILE).read_bytes())
    tracking.leave_metrics(root, sha256, measured.headline())


def repro(root: Path, *, force: bool, pull: bool, environment: Mapping[str, str]) -> str:
    """Run what is out of date, tell MLflow, and return the summary; a tracking server that is down is a warning."""
    from mergeline.report.summary import summary

    load_params(root)
    table.partitions(root / DATA)
    recover(root)
    ran = pipeline.reproduce(root, force=force, pull=pull)
    try:
        track(root, environment)
    except ServiceError as err:
        logger.warning("warning: %s", err)
    validation = files.read_json(root / VALIDATION, "mergeline validate")
    training = files.read_json(root / TRAINING, "mergeline train")
    return summary(ran, validation, training, files.read_json(root / EVALUATION, "mergeline evaluate"))


def track(root: Path, environment: Mapping[str, str]) -> int:
    """Log to MLflow what it has not been told yet; return the number of candidates."""
    from mergeline import tracking

    return tracking.upload(root, environment)


def status(root: Path) -> dict[str, Any]:
    """Return the stages that are out of date, and the metrics and parameters that differ from the last commit."""
    load_params(root)
    return asdict(pipeline.freshness(root))


def ingest(root: Path, *, as_of: dt.date, replace: bool, environment: Mapping[str, str]) -> dict[str, Any]:
    """Read the declared sources, write their partitions into `data/`, and note them in `data.dvc` and `data.as_of`."""
    from mergeline import sources

    settings = load_params(root)
    if settings.sources is None:
        raise ConfigurationError(f"{params.PARAMS_FILE}: sources: missing; declare where the rows come from")
    joined = sources.read_joined(settings.sources, root, environment)
    parts = sources.partition(joined, settings.data.time, settings.data.id)
    record = sources.write_partitions(parts, root / DATA, replace)
    pipeline.track_data(root)
    if settings.data.as_of not in (None, as_of):
        path = root / params.PARAMS_FILE
        files.write_text(path, edited(path.read_text(encoding="utf-8"), {("data", "as_of"): as_of}))
    return asdict(record)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Let the block import, and spare what it brings all searches for garbage.

    Great Expectations makes hundreds of thousands of objects that stay; searching them again and again was a third of
    the stage's time.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _write_tables(measured: Evaluation, folder: Path) -> None:
    """The predictions as Parquet, each curve as the CSV that `dvc plots` draws."""
    import pandas as pd

    measured.predictions.to_parquet(folder / "predictions.parquet", index=False, compression="zstd")
    bins = [
        {
            "predicted": each.mean_prediction,
            "observed": each.observed.estimate,
            "low": each.observed.low,
            "high": each.observed.high,
            "rows": each.rows,
        }
        for each in measured.calibration
    ]
    curves: dict[str, list[dict[str, Any]]] = {
        "roc": [asdict(point) for point in measured.roc],
        "precision_recall": [asdict(point) for point in measured.precision_recall],
        "calibration": bins,
        "importance": [asdict(each) for each in measured.importance],
    }
    if measured.confusion:
        curves["confusion"] = [
            {"actual": actual, "predicted": predicted, "rows": count}
            for actual, counts in zip(measured.confusion.classes, measured.confusion.counts, strict=True)
            for predicted, count in zip(measured.confusion.classes, counts, strict=True)
        ]
    for name, rows in curves.items():
        if rows:
            files.write_text(folder / f"{name}.csv", pd.DataFrame(rows).to_csv(index=False))


def init(root: Path, path: Path, wishes: Wishes, *, force: bool) -> str:
    """Write `params.yaml`, `data/` and `data.dvc` for a table, all or none; return what was guessed of it."""
    from mergeline import sources
    from mergeline.init import guess, params_text, read, summary

    _refuse_init(root, path, force=force)
    rows = read(path)
    guessed = guess(rows, wishes)
    text = params_text(guessed)
    parts = sources.partition(rows, guessed.params.data.time, guessed.params.data.id)
    with _all_or_none(root):
        sources.write_partitions(parts, root / DATA, replace=False)
        pipeline.track_data(root)
        files.write_text(root / params.PARAMS_FILE, text)
    return summary(guessed, len(rows), tuple(parts))


def _refuse_init(root: Path, path: Path, *, force: bool) -> None:
    """Whether this is a place to write to: the template's repository, with nothing in the way."""
    if not ((root / ".dvc").is_dir() and (root / "dvc.yaml").is_file()):
        raise ConfigurationError(f"init: expected dvc.yaml and .dvc/ in {root.resolve()}; clone the template first")
    files.recover_folder(root / DATA, root / LOCAL_STATE)
    if path.resolve().is_relative_to((root / DATA).resolve()):
        raise ConfigurationError(f"init: {path} lies in {DATA}/, which is written anew; move it to another folder")
    held = (root / DATA).exists() and any((root / DATA).iterdir())
    standing = [name for name in (params.PARAMS_FILE, str(pipeline.DATA_FILE)) if (root / name).exists()]
    standing += [f"{DATA}/"] * held
    if standing and not force:
        raise ConfigurationError(f"init: {', '.join(standing)} would be overwritten; `--force` does it")


@contextmanager
def _all_or_none(root: Path) -> Iterator[None]:
    """Let the block make `data/`, `data.dvc` and `params.yaml` anew; where it fails, the old ones come back."""
    texts = {name: root / name for name in (params.PARAMS_FILE, str(pipeline.DATA_FILE))}
    before = {name: path.read_bytes() for name, path in texts.items() if path.exists()}
    data, aside = root / DATA, root / LOCAL_STATE / f"{DATA}.old"  # `files.recover_folder` finds it there
    aside.parent.mkdir(exist_ok=True)
    shutil.rmtree(aside, ignore_errors=True)
    if data.exists():
        data.replace(aside)
    try:
        yield
    except BaseException:
        shutil.rmtree(data, ignore_errors=True)
        if aside.exists():
            aside.replace(data)
        for name, path in texts.items():
            if name in before:
                files.write_bytes(path, before[name])
            else:
                path.unlink(missing_ok=True)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def tune(root: Path, *, write: bool, environment: Mapping[str, str]) -> str:
    """Search for better settings of the chosen family; return what was found, and the change to `params.yaml`."""
    from mergeline import git
    from mergeline import tune as tuning

    settings = load_params(root)
    rows = table.read_table(root / DATA, settings.data.columns)
    with steps("tune", sys.stderr) as show:
        found = tuning.search(rows, settings, show)
    tags = {"mergeline.git_commit": git.head_commit(root) or "none", "mergeline.data_md5": pipeline.data_md5(root)}
    try:
        tuning.log(found, root, environment, tags)
    except ServiceError as err:
        logger.warning("warning: %s", err)
    changes = found.changes()
    if not changes:
        return found.summary()
    path = root / params.PARAMS_FILE
    old = path.read_bytes().decode("utf-8")  # read as text, it would lose its line ends
    new = edited(old, changes)
    if write:
        files.write_text(path, new)
    done = "written; `mergeline repro` trains with it" if write else "`mergeline tune --write` makes this change"
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), params.PARAMS_FILE, "proposed", lineterm="")
    return "\n".join([found.summary(), "", *lines, "", done])
