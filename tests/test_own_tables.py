"""Your own table: the page, read from its first command to its last, on two tables that are not the flights.

What the page calls `customers.csv`, `churned` and `signed_up` is the file, the target and the time of the table that it
is read with; of a table without a time the line that names it is left out, as the page says. The port is a free one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from promoted import STAGING, Promoted
from repositories import TEMPLATE
from warm import start as warm

from mergeline.release.manifests import parse_release

PAGE = TEMPLATE / "docs" / "your-own-table.md"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PATIENCE_S = 60.0
NOT_COPIED = ("tests/", "benchmarks/", "sample/", "terraform/")  # no command of the page reads them
LAUNCHER = """\
#!/bin/sh
case "$1" in serve) exec {python} -m mergeline "$@";; *) exec {warm}/mergeline "$@";; esac
"""


@dataclass(frozen=True, slots=True)
class Table:
    """A table, and what of it stands for what the page names."""

    name: str
    target: str
    time: str | None
    make: Callable[[], pd.DataFrame]


def biopsies() -> pd.DataFrame:
    """569 biopsies: two classes, no time; an id of letters, gaps, texts with a comma and an accent, an empty column."""
    from sklearn.datasets import load_breast_cancer

    generator = np.random.default_rng(1)
    loaded = load_breast_cancer(as_frame=True)
    table = pd.DataFrame(loaded.data)
    table.insert(0, "patient_id", [f"P-{number:04}" for number in generator.permutation(len(table))])
    table["texture"] = pd.cut(table["mean texture"], [0, 15, 20, 99], labels=["fine", "medium", "coarse"]).astype(
        object
    )
    table["ward"] = generator.choice(["North wing", "South wing, 2nd floor", "Día"], len(table))
    for name in ("mean area", "worst texture", "texture"):
        table.loc[generator.random(len(table)) < 0.06, name] = np.nan
    table["note"] = ""
    table["diagnosis"] = np.where(loaded.target == 0, "malignant", "benign")
    return table


def visits() -> pd.DataFrame:
    """442 visits in no order: a number to predict, a day, an id of numbers, gaps, a text of two values."""
    from sklearn.datasets import load_diabetes

    generator = np.random.default_rng(2)
    loaded = load_diabetes(as_frame=True, scaled=False)
    table = pd.DataFrame(loaded.data)
    days = pd.Timestamp("2021-03-01") + pd.to_timedelta(np.sort(generator.integers(0, 365, len(table))), unit="D")
    table.insert(0, "visit_id", np.arange(len(table)) + 5001)
    table.insert(1, "visited", days.strftime("%Y-%m-%d"))
    table["sex"] = np.where(table["sex"] == 1, "f", "m")
    for name in ("bmi", "s6", "sex"):
        table.loc[generator.random(len(table)) < 0.06, name] = np.nan
    table["progression"] = loaded.target
    return table.sample(frac=1, random_state=3)


BIOPSIES = Table("biopsies.csv", "diagnosis", None, biopsies)
VISITS = Table("visits.csv", "progression", "visited", visits)


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass(slots=True)
class Reader:
    """Somebody who follows the page in a clone, with a table of their own beside it."""

    here: Promoted
    table: Table
    port: int = field(default_factory=free_port)

    @classmethod
    def sits_down(cls, place: Path, table: Table, without: tuple[str, ...] = NOT_COPIED) -> Reader:
        """Clone the working tree, with an origin beside it and the environment that `make setup` makes."""
        here = Promoted(place / "repository")
        listed = ["git", "-C", str(TEMPLATE), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split("\0")
        for name in filter(None, names):
            if not name.startswith(without) and (TEMPLATE / name).is_file():
                (here.root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(TEMPLATE / name, here.root / name)
        launcher = here.root / ".venv" / "bin" / "mergeline"
        launcher.parent.mkdir(parents=True)
        launcher.write_text(LAUNCHER.format(python=sys.executable, warm=warm._started()))
        launcher.chmod(0o755)
        for command in ("init -q -b main", "config user.name A-person", "config user.email person@example.org"):
            here.git(*command.split())
        here.commit("The template")
        here.git("init", "-q", "--bare", "-b", "main", str(here.origin))
        here.git("remote", "add", "origin", str(here.origin))
        here.git("push", "-q", "-u", "origin", "main")
        table.make().to_csv(place / table.name, index=False)
        return cls(here, table)

    @property
    def csv(self) -> Path:
        return self.here.root.parent / self.table.name

    def mapped(self, text: str) -> str:
        """What the page says, of this reader's table."""
        if self.table.time is None:
            text = re.sub(r"^.*signed_up.*\n", "", text, flags=re.MULTILINE)
        words = {"customers.csv": self.table.name, "churned": self.table.target, "signed_up": self.table.time or ""}
        for word, own in words.items():
            text = re.sub(rf"\b{re.escape(word)}", own, text)
        return text.replace("127.0.0.1:8080", f"127.0.0.1:{self.port}")

    def environment(self) -> dict[str, str]:
        """That of a shell in the clone."""
        place = warm._started()
        own = {"MERGELINE_PORT": str(self.port), "MERGELINE_WAIT_SECONDS": "0"}
        return warm._environment(place, self.here.environment(**own))

    def types(self, block: str) -> str:
        """Run the commands of a block; a command that fails ends the test with what it said."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.mapped(block)],
            cwd=self.here.root,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{self.mapped(block)}{done.stdout}{done.stderr}exit code {done.returncode}"
        return done.stdout

    @contextmanager
    def serving(self, block: str) -> Iterator[str]:
        """Leave the command of a block running, as in a terminal of its own."""
        command = ["bash", "-c", f"exec {self.mapped(block).strip()}"]
        with (self.here.root.parent / "server.log").open("wb") as log:
            process = subprocess.Popen(command, cwd=self.here.root, env=self.environment(), stderr=log)
        try:
            url = f"http://127.0.0.1:{self.port}"
            wait_until_ready(url, process)
            yield url
        finally:
            process.terminate()
            process.wait(PATIENCE_S)

    def record(self, name: str) -> Any:
        """A record of the stages."""
        return json.loads((self.here.root / name).read_text(encoding="utf-8"))


def wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    """Return when a server is ready; one that has ended, or takes too long, fails the test."""
    ends = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends and process.poll() is None:
        with suppress(OSError), urllib.request.urlopen(f"{url}/readyz", timeout=5):
            return
        time.sleep(0.05)
    pytest.fail(f"no server at {url}: exit code {process.poll()}")


def post(url: str, body: Any) -> Any:
    """The answer to a JSON body."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def blocks(language: str) -> list[str]:
    """The page's fenced blocks of a language, in order."""
    return [text for found, text in FENCE.findall(PAGE.read_text(encoding="utf-8")) if found == language]


def test_every_command_of_the_page_is_in_a_block_that_is_run() -> None:
    verbs = [re.findall(r"mergeline (\w+)", block) for block in blocks("bash")]
    assert verbs == [["init", "repro"], ["record", "gate"], ["serve"], ["smoke"], ["ingest", "repro"], ["tune"]]
    assert {found for found, _ in FENCE.findall(PAGE.read_text(encoding="utf-8"))} == {"bash", "yaml"}


@pytest.mark.parametrize("table", [pytest.param(BIOPSIES, id="binary"), pytest.param(VISITS, id="regression")])
def test_the_page_leads_from_a_csv_file_to_a_served_model(tmp_path: Path, table: Table) -> None:
    first_report, pull_request, serve, smoke, new_rows, tune = blocks("bash")
    reader = Reader.sits_down(tmp_path, table)
    root = reader.here.root

    assert "verdict  better" in reader.types(first_report)
    assert table.target in (root / "reports" / "report.html").read_text(encoding="utf-8")
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    assert params["data"].get("time") == table.time
    commit = reader.here.git("rev-parse", "HEAD").strip()
    assert reader.record("models/manifest.json")["training_commit"] == commit

    gate = reader.types(pull_request)
    assert "REFUSED" not in gate
    released = parse_release(reader.here.git("show", f"origin/our-table:{STAGING}"))
    assert released.model_sha256 == reader.record("models/manifest.json")["model"]["sha256"]
    assert not reader.here.git("ls-files", "*.csv").strip()  # nobody's rows are in Git

    with reader.serving(serve) as url:
        assert reader.types(smoke).count("passed") == 6
        with urllib.request.urlopen(f"{url}/openapi.json", timeout=10) as answer:
            asked = json.load(answer)["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
        (predicted,) = post(f"{url}/predict", asked["examples"]["one row"]["value"])["predictions"]
        assert predicted["model_sha256"] == released.model_sha256

    declared = next(block for block in blocks("yaml") if "customers.csv" in block)
    with (root / "params.yaml").open("a", encoding="utf-8") as file:
        file.write(f"\n{reader.mapped(declared)}\ntune: {{trials: 1, folds: 2}}\n")
    if table.time is not None:
        grow(reader.csv, table.time)
    reader.types(new_rows)
    assert (root / "data" / "2022-04.parquet").exists() == (table.time is not None)

    assert "train" in reader.types(tune)


def grow(csv: Path, time: str) -> None:
    """Add the rows of another month."""
    table = pd.read_csv(csv)
    more = table.head(30).assign(visit_id=np.arange(9001, 9031))
    more[time] = "2022-04-11"
    pd.concat([table, more]).to_csv(csv, index=False)


def test_a_command_that_fails_fails_the_reading_of_the_page(tmp_path: Path) -> None:
    reader = Reader.sits_down(tmp_path, BIOPSIES)
    with pytest.raises(AssertionError, match="no column 'churn' in the table"):
        reader.types(blocks("bash")[0].replace("churned", "churn"))
    with pytest.raises(AssertionError, match="would be overwritten; `--force` does it"):
        reader.types(".venv/bin/mergeline init ../customers.csv --target churned")


# ---- The tests of the template, in a repository with another table ---------------------------------------------------

OF_THE_SAMPLE = (
    "tests/test_flights.py::test_the_committed_records_are_those_that_the_committed_inputs_give",
    "tests/test_flights.py::test_the_samples_files_say_what_the_template_says_as_long_as_its_table_is_the_sample",
    "tests/test_flights.py::test_settings_that_part_from_the_samples_are_found_and_those_of_another_table_are_not",
    "tests/test_flights_verdict.py::test_the_settings_are_the_samples_own_but_for_the_size_of_the_model",
    "tests/test_flights.py::test_a_checkout_with_another_table_and_a_release_is_laid_out_as_the_template_ships_it",
)


def ran_there(root: Path, tests: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run tests of a clone as continuous integration does, where a test that is skipped for want of a tool fails."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "CI": "true", "PYTHONPATH": str(root / "src")}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


def test_the_tests_of_the_template_are_of_the_sample_whatever_table_the_repository_has(tmp_path: Path) -> None:
    reader = Reader.sits_down(tmp_path, VISITS, without=("benchmarks/", "terraform/"))
    root = reader.here.root
    reader.types(blocks("bash")[0].partition(".venv/bin/mergeline repro")[0])  # a branch, the table, a commit
    own = reader.mapped("churned")
    assert yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))["data"]["target"] == own
    done = ran_there(root, OF_THE_SAMPLE)
    assert "4 passed, 1 skipped" in done.stdout, done.stdout
    shutil.copy(root / "params.yaml", root / "sample/params.yaml")  # the twin: tests that run on a team's own settings
    assert ran_there(root, OF_THE_SAMPLE[2:3]).returncode == 1
