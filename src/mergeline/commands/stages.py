"""The verbs of the stages: each reads, calls one pure function, and writes its records whole or not at all."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mergeline import files, pipeline, table
from mergeline.commands.settings import load_params
from mergeline.errors import ConfigurationError, VerificationError
from mergeline.files import LOCAL_STATE
from mergeline.layout import (
    CANDIDATE,
    CHAMPION,
    COMPARE,
    COMPARISON,
    CURVES,
    DATA,
    EVALUATION,
    METRICS,
    PROFILE,
    REFERENCE,
    REPORTS,
    TIMINGS,
    TRAINING,
    VALIDATION,
)
from mergeline.progress import steps
from mergeline.schema import MODEL_FILE, SIGNATURE_FILE

if TYPE_CHECKING:
    from mergeline.gates.evidence import Contender
    from mergeline.params import Params
    from mergeline.release.champion import Served
    from mergeline.stages.comparison import Comparison
    from mergeline.stages.evaluate import Evaluation
    from mergeline.stages.validate import Validation


def validate(root: Path) -> None:
    """Check the table; write the record and the pages, then fail on a blocking expectation."""
    found = validation(root, load_params(root))
    with files.replaced_folder(root / REPORTS / "validate", root / LOCAL_STATE) as folder:
        for name, page in found.pages.items():
            files.write_text(folder / name, page)
    files.write_json(root / VALIDATION, found.as_dict())
    found.raise_if_blocked(str(VALIDATION))


def validation(root: Path, settings: Params) -> Validation:
    """Return what the table is; write nothing."""
    with _uncollected():
        import great_expectations  # noqa: F401  # else it is imported when the first partition is checked

        from mergeline.stages.validate import validate as check

    loaders = {path.stem: partial(table.read_partition, path) for path in table.partitions(root / DATA)}
    with steps("validate", sys.stderr) as show:
        return check(loaders, settings, show)


def train(root: Path) -> None:
    """Make the candidate; write it whole or not at all, and leave it for MLflow."""
    from mergeline import git, tracking
    from mergeline.engine.engine import running
    from mergeline.release.store import model_of
    from mergeline.stages.train import train as make

    settings = load_params(root)
    with steps("train", sys.stderr) as show, running(settings.engine, os.environ) as engine:
        trained = make(table.read_table(root / DATA, settings.data.columns), settings, show, engine.gang)
    with files.replaced_folder(root / CANDIDATE, root / LOCAL_STATE) as folder:
        files.write_bytes(folder / MODEL_FILE, trained.model)
        files.write_text(folder / SIGNATURE_FILE, trained.signature.to_json())
        files.write_json(folder / TRAINING.name, trained.record.as_dict())
        files.write_text(folder / PROFILE.name, trained.profile.to_json())
        trained.reference.to_parquet(folder / "reference.parquet", index=False, compression="zstd")
    lineage = tracking.Lineage(
        git_commit=git.head_commit(root) or "none",
        data_md5=pipeline.data_md5(root),
        model_sha256=model_of(root / CANDIDATE).sha256,
    )
    tracking.leave(root, trained, root / CANDIDATE, lineage)


def evaluate(root: Path) -> None:
    """Measure the candidate on the holdout; write the records, the tables for plots, and the model card."""
    from mergeline import tracking
    from mergeline.release.store import model_of
    from mergeline.report.card import model_card
    from mergeline.schema import Signature

    settings = load_params(root)
    measured = evaluation(root, settings)
    training = files.read_json(root / TRAINING, "mergeline train")
    signature = Signature.from_json((root / CANDIDATE / SIGNATURE_FILE).read_text(encoding="utf-8"))
    validation = files.read_json(root / VALIDATION, "mergeline validate")
    with files.replaced_folder(root / REPORTS / "evaluate", root / LOCAL_STATE) as folder:
        _write_tables(measured, folder)
        card = model_card(settings, signature, training, measured.as_dict(), validation)
        files.write_text(folder / "model_card.md", card)
    files.write_json(root / EVALUATION, measured.as_dict())
    files.write_json(root / METRICS, measured.headline())
    tracking.leave_metrics(root, model_of(root / CANDIDATE).sha256, measured.headline())


def evaluation(root: Path, settings: Params) -> Evaluation:
    """Return what the candidate is on the holdout; write nothing."""
    from mergeline.models.scorer import Scorer
    from mergeline.stages.evaluate import evaluate as measure

    scorer = Scorer.load(root / CANDIDATE)
    training = files.read_json(root / TRAINING, "mergeline train")
    if training["holdout"] != settings.data.holdout.model_dump():
        raise ConfigurationError(
            "data.holdout: the candidate was trained with another one; `mergeline repro` trains anew"
        )
    columns = tuple(dict.fromkeys([*settings.data.columns, *settings.evaluate.slices]))
    with steps("evaluate", sys.stderr) as show:
        return measure(table.read_table(root / DATA, columns), scorer, settings, show)


def compare(root: Path) -> None:
    """Judge the candidate against the champion that `models/champion.json` names; write the verdict and the plots."""
    found = comparison(root, load_params(root))
    with files.replaced_folder(root / COMPARE, root / LOCAL_STATE) as folder:
        files.write_json(folder / CURVES.name, found.curves())
    files.write_json(root / COMPARISON, found.as_dict())
    # a time is in no record: see the gate `latency`
    ratio = found.latency_ratio.as_dict() if found.latency_ratio else None
    files.write_json(root / TIMINGS, {"candidate": found.candidate.sha256, "latency_ratio": ratio})


def comparison(root: Path, settings: Params) -> Comparison:
    """Return the verdict on the candidate and what it rests on; write nothing but the champion's bytes."""
    from mergeline.models.latency import scoring_ratio
    from mergeline.release.champion import Champion
    from mergeline.stages.compare import compare as contest

    standing = Champion.from_json(files.read_text(root / CHAMPION, "mergeline champion"))
    candidate = contender(root / CANDIDATE)
    champion = None
    if standing.served is not None:
        champion = _champion(root, standing.served)
    wanted = [*settings.data.columns, *settings.evaluate.slices]
    policy = [*standing.slices, *standing.gates.fairness.columns]
    features = [each.name for each in champion.signature.features] if champion else []
    held = set(table.columns(root / DATA))
    columns = dict.fromkeys([*wanted, *(name for name in (*policy, *features) if name in held)])
    with steps("compare", sys.stderr) as show:
        rows = table.read_table(root / DATA, tuple(columns))
        return contest(rows, candidate, champion, standing, settings, scoring_ratio, show)


def _champion(root: Path, served: Served) -> Contender:
    try:
        return contender(fetched(root, served.model_sha256, served.store))
    except VerificationError as err:
        raise VerificationError(f"the champion, {served.model_sha256[:12]} in {served.store}: {err}") from err


def contender(folder: Path) -> Contender:
    """Return the model in a folder, verified and loaded; raise `VerificationError` where its parts do not fit."""
    import pandas as pd

    from mergeline.gates.evidence import Contender
    from mergeline.models.scorer import Scorer
    from mergeline.release.store import model_of

    scorer = Scorer.load(folder, threads=1)
    reference = folder / REFERENCE.name
    return Contender(
        sha256=model_of(folder).sha256,
        scorer=scorer,
        training=files.read_json(folder / TRAINING.name, "mergeline train"),
        reference=pd.read_parquet(reference) if reference.exists() else None,
        bytes=(folder / MODEL_FILE).stat().st_size,
    )


def fetched(root: Path, sha256: str, store: str) -> Path:
    """Return a folder of the local state with the files of a model, each verified against its SHA-256."""
    from mergeline.release.store import open_store

    folder = root / LOCAL_STATE / "models" / sha256
    open_store(store, root).get_model(sha256, folder)
    return folder


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
