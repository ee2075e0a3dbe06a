"""Promise R17: a killed stage leaves the last good outputs or the new ones, never half; the next run ends well."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest
from repositories import Repository, fingerprint
from warm.client import KILLED

OUTPUTS = {
    "validate": ("reports/validate", "reports/validation.json"),
    "train": ("models/candidate",),
    "evaluate": ("reports/evaluate", "reports/evaluation.json", "reports/metrics.json"),
    "compare": ("reports/compare", "reports/comparison.json"),
}
# a setting that changes what the stage writes
CHANGES: dict[str, dict[str, Any]] = {
    "validate": {"validate.examples": 3, "validate.max_age_days": 30},
    "train": {"train.seed": 99},
    "evaluate": {"evaluate.confidence": 0.9},
    "compare": {"evaluate.confidence": 0.9},
}


def fingerprints(repository: Repository, stage: str) -> dict[str, str | None]:
    return {name: fingerprint(repository.root / name) for name in OUTPUTS[stage]}


@pytest.mark.parametrize("stage", OUTPUTS)
def test_r17_a_killed_stage_leaves_old_or_new_outputs_and_the_next_run_ends_well(
    ran: Repository, tmp_path: Path, stage: str, request: pytest.FixtureRequest
) -> None:
    kills = request.config.getoption("--kills")
    finished = ran.copy_to(tmp_path / "finished")
    finished.change_params(CHANGES[stage])
    finished.run("--help")  # from here on commands are forked, and no import counts
    before, started = fingerprints(finished, stage), time.monotonic()
    assert finished.run(stage).returncode == 0
    duration, after = time.monotonic() - started, fingerprints(finished, stage)
    assert after != before, "the change must show in the outputs"

    repository = ran.copy_to(tmp_path / "killed")
    repository.change_params(CHANGES[stage])
    moments = random.Random(17)
    codes = []
    for kill in range(kills):
        process = repository.start(stage)
        # once as soon as it runs; from half-way on it writes
        time.sleep(duration * (0 if kill == 0 else moments.uniform(0.5, 1.0)))
        codes.append(process.kill())
        found = fingerprints(repository, stage)
        for name in OUTPUTS[stage]:
            assert found[name] in (before[name], after[name]), f"{name} is neither the old nor the new one"
    assert KILLED in codes
    assert repository.run(stage).returncode == 0
    assert fingerprints(repository, stage) == after


def test_r17_a_killed_repro_is_finished_by_the_next(ran: Repository, tmp_path: Path) -> None:
    finished = ran.copy_to(tmp_path / "finished")
    finished.change_params(CHANGES["train"])
    finished.run("--help")
    started = time.monotonic()
    assert finished.run("repro").returncode == 0
    duration = time.monotonic() - started
    repository = ran.copy_to(tmp_path / "killed")
    repository.change_params(CHANGES["train"])
    codes = []
    for moment in (0.2, 0.6):
        process = repository.start("repro")
        time.sleep(duration * moment)
        codes.append(process.kill())
    assert KILLED in codes
    done = repository.run("repro")
    assert done.returncode == 0, done.stderr
    for stage in OUTPUTS:
        assert fingerprints(repository, stage) == fingerprints(finished, stage)


def test_r17_a_stage_killed_by_a_signal_gives_the_shells_exit_code(ran: Repository, tmp_path: Path) -> None:
    repository = ran.copy_to(tmp_path / "repository")
    pipeline = repository.root / "dvc.yaml"
    pipeline.write_text(pipeline.read_text().replace("cmd: mergeline train", "cmd: kill -9 $$"))
    assert repository.run("repro").returncode == 137
