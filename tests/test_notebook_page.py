"""The page of the notebook: its cells, run one after the other in a small clone with a model in production."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from promoted import NOBODY, PRODUCTION, Promoted
from repositories import TEMPLATE, flights
from servers import requests_of, serving
from warm import start as warm

from mergeline.errors import ConfigurationError, VerificationError
from mergeline.layout import CANDIDATE
from mergeline.release.manifests import parse_release
from mergeline.schema import SIGNATURE_FILE, Signature

PAGE = TEMPLATE / "docs" / "notebook.md"
CELL = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ROWS, LABELS = 60, 45
NAMES = ("table", "another commit", "production", "records", "log", "trial", "for good")


def cells() -> dict[str, str]:
    """The page's cells by what they are about."""
    return dict(zip(NAMES, CELL.findall(PAGE.read_text(encoding="utf-8")), strict=True))


class Notebook:
    """A kernel: the names that the cells before have made, and what they printed."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {}
        self.printed = ""

    def run(self, cell: str) -> None:
        """Run a cell as a kernel would, in the current folder."""
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(compile(cell, PAGE.name, "exec"), self.names)
        self.printed += said.getvalue()

    def __getitem__(self, name: str) -> Any:
        return self.names[name]


@pytest.fixture
def clone(promoted: Promoted, monkeypatch: pytest.MonkeyPatch) -> Promoted:
    """A clone that has served some flights, three quarters of which have a label; it is the current folder."""
    signature = Signature.from_json((promoted.root / CANDIDATE / SIGNATURE_FILE).read_text(encoding="utf-8"))
    log = promoted.root / ".mergeline/log"
    with serving(promoted.root, "--environment", "production", "--log", str(log)) as server:
        answers = server.predict(requests_of(flights("2013-04").head(ROWS), signature))
        labels = [{"request_id": each["request_id"], "label": "true"} for each in answers[:LABELS]]
        assert server.ask("/labels", {"labels": labels}).status == 200
        server.stop()
    launcher = promoted.root / ".venv" / "bin" / "mergeline"
    launcher.parent.mkdir(parents=True)
    launcher.write_text(f'#!/bin/sh\nexec {warm._started()}/mergeline "$@"\n')
    launcher.chmod(0o755)
    environment = warm._environment(warm._started(), promoted.environment(MLFLOW_TRACKING_URI=NOBODY))
    for name in os.environ.keys() - environment.keys():
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(promoted.root)
    return promoted


def test_the_cells_run_in_order_and_show_what_the_page_says(clone: Promoted) -> None:
    notebook = Notebook()
    for cell in cells().values():
        notebook.run(cell)

    assert notebook["newest"].endswith("/2013-03.parquet")
    assert 0 < len(notebook["of_main"]) < len(notebook["table"])
    released = parse_release((clone.root / PRODUCTION).read_text()).model_sha256
    assert notebook["production"].sha256 == released
    assert notebook["scores"].shape == (5, 2)
    assert notebook["main"] == json.loads(clone.git("show", "main:reports/metrics.json"))
    assert "promote as it is better by" in notebook.printed
    assert notebook["joined"].labelled == LABELS
    assert f"{ROWS} predictions, {LABELS / ROWS:.0%} with a label" in notebook.printed
    assert notebook["trained"].signature.onnx_sha256 != notebook["production"].signature.onnx_sha256
    assert "leaves: 12" in Path("params.yaml").read_text()
    assert "leaves" in notebook["report"]


def test_what_is_tried_in_memory_writes_nothing(clone: Promoted) -> None:
    before = clone.git("status", "--porcelain")
    notebook = Notebook()
    for name in ("table", "production", "trial"):
        notebook.run(cells()[name])
    assert clone.git("status", "--porcelain") == before
    assert "roc_auc" in notebook.printed


def test_the_twins_a_misspelt_parameter_and_other_bytes_are_refused(clone: Promoted) -> None:
    notebook = Notebook()
    notebook.run(cells()["table"])
    with pytest.raises(ConfigurationError, match="leafs"):
        notebook.run(cells()["trial"].replace('["leaves"]', '["leafs"]'))
    shutil.rmtree(clone.root / ".mergeline/releases")  # what the server fetched
    for stored in (clone.root / ".mergeline/store/sha256").iterdir():
        stored.chmod(0o644)
        stored.write_bytes(stored.read_bytes()[:-1] + b"?")
    with pytest.raises(VerificationError, match="the store holds other bytes"):
        notebook.run(cells()["production"])
