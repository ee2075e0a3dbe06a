"""terraform/ as files: its form, its settings, its lock, and what Checkov finds. Nothing is applied here."""

from __future__ import annotations

import datetime as dt
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from repositories import TEMPLATE
from terraform_runs import CONFIGURATION, begin, copy, environment, has_all, needed, run, shared_folder
from tools import unavailable

CHECKOV = TEMPLATE / ".mergeline/checkov/bin/checkov"
FILES = sorted([*CONFIGURATION.glob("*.tf"), *CONFIGURATION.glob("bootstrap/*.tf")])
SKIP = re.compile(r"#\s*checkov:skip=(\S+?):(.*)")


@pytest.fixture(scope="module", autouse=True)
def begun(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> None:
    """What test_terraform_applied.py waits for is made meanwhile."""
    if has_all():
        begin(shared_folder(tmp_path_factory, worker_id))


@pytest.fixture(scope="module")
def initialised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that is set up, and asks nobody."""
    needed()
    place = copy(tmp_path_factory.mktemp("terraform") / "terraform")
    done = run(place, environment(place.parent / "home"), "init")
    assert done.code == 0, done.said
    return place


def test_every_file_has_the_canonical_form_and_the_twin_has_not(tmp_path: Path) -> None:
    needed()
    env = environment(tmp_path / "home")
    assert run(CONFIGURATION, env, "fmt", "-check", "-recursive").said == ""
    (tmp_path / "bad.tf").write_text("locals {\n  a=1\n}\n")
    assert run(tmp_path, env, "fmt", "-check").code != 0


def test_it_is_valid_and_the_lock_names_what_was_installed(initialised: Path) -> None:
    done = run(initialised, environment(initialised.parent / "home"), "validate")
    assert (done.code, "Success" in done.said) == (0, True), done.said
    for lock in (initialised / ".terraform.lock.hcl", CONFIGURATION / "bootstrap/.terraform.lock.hcl"):
        assert lock.read_text() == (CONFIGURATION / ".terraform.lock.hcl").read_text()


def test_the_twin_what_names_nothing_is_not_valid(tmp_path: Path) -> None:
    needed()
    (tmp_path / "bad.tf").write_text('output "bad" {\n  value = var.none\n}\n')
    done = run(tmp_path, environment(tmp_path / "home"), "validate")
    assert (done.code, "Reference to undeclared input variable" in done.said) == (1, True), done.said


def test_profiles_are_what_they_say_and_bad_settings_are_refused(initialised: Path) -> None:
    # A team commits its settings, and they change nothing here: each run of a test brings its own.
    shutil.copy(CONFIGURATION / "terraform.tfvars.example", initialised / "terraform.tfvars")
    done = run(initialised, environment(initialised.parent / "home"), "test")
    assert done.code == 0, done.said
    assert "Success! 12 passed, 0 failed." in done.said


def test_the_provider_is_one_release_from_the_public_registry_with_the_hashes_of_every_platform() -> None:
    lock = (CONFIGURATION / ".terraform.lock.hcl").read_text()
    version = re.findall(r'^  version     = "([\d.]+)"$', lock, re.MULTILINE)
    assert re.findall(r'^provider "(.+)"', lock, re.MULTILINE) == ["registry.terraform.io/hashicorp/aws"]
    for path in (CONFIGURATION / "terraform.tf", CONFIGURATION / "bootstrap/main.tf"):
        pinned = re.findall(r'source  = "hashicorp/aws"\n\s+version = "(.+)"', path.read_text())
        assert pinned == version, path
    # h1 is of an unpacked package, by platform; zh is of every archive of the release, as the registry signs it
    assert len(re.findall(r'"h1:[\w+/=]{44}"', lock)) == 2
    assert len(set(re.findall(r'"zh:[0-9a-f]{64}"', lock))) == 15


def test_the_example_of_the_settings_has_the_variables_that_are_there(initialised: Path) -> None:
    text = (CONFIGURATION / "terraform.tfvars.example").read_text()
    assert [
        line for line in text.splitlines() if "secret" not in line and re.search("(?i)password|token|key", line)
    ] == []
    named = set(re.findall(r"^(\w+)\s+=", text, re.MULTILINE))
    declared = set(re.findall(r'^variable "(\w+)"', (CONFIGURATION / "variables.tf").read_text(), re.MULTILINE))
    assert named <= declared
    assert declared - named == {"sagemaker"}


# ---- The version of EKS ----------------------------------------------------------------------------------------------


def version_to_raise(variables: str, docs: str, today: dt.date) -> str | None:
    """The default version of EKS where its standard support ends within a month, by the day that the docs have."""
    [version] = re.findall(r'version\s+= optional\(string, "([\d.]+)"\)', variables)
    [day] = re.findall(rf"^EKS {re.escape(version)}, the default, .* until (\d{{4}}-\d\d-\d\d);", docs, re.MULTILINE)
    return version if dt.date.fromisoformat(day) - today < dt.timedelta(days=30) else None


def test_the_default_version_of_eks_is_in_standard_support_for_another_month_and_the_twin_is_not() -> None:
    variables, docs = ((TEMPLATE / each).read_text() for each in ("terraform/variables.tf", "docs/cloud.md"))
    found = version_to_raise(variables, docs, dt.datetime.now(dt.UTC).date())
    assert found is None, f"EKS {found} leaves standard support: raise the default in variables.tf, see docs/cloud.md"
    last = dt.date(2030, 1, 31)
    planted = 'version = optional(string, "1.99")', f"EKS 1.99, the default, is there until {last};\n"
    assert version_to_raise(*planted, last - dt.timedelta(days=29)) == "1.99"
    assert version_to_raise(*planted, last - dt.timedelta(days=31)) is None


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_is_short_and_every_check_that_it_skips_has_its_reason(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= 220
    for line in lines:
        skipped = SKIP.search(line)
        assert "checkov:skip" not in line or (skipped and skipped[2].strip()), line


# ---- Checkov ---------------------------------------------------------------------------------------------------------


def checkov(place: Path, home: Path) -> dict[str, Any]:
    """The findings of Checkov on a folder; it asks nobody."""
    if not CHECKOV.exists():
        unavailable("needs Checkov, which `make checkov` installs")
    command = [str(CHECKOV), "-d", str(place), "--framework", "terraform", "--skip-download", "--compact", "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(home))
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_checkov_finds_nothing_and_reads_every_file_and_the_twin_is_found(tmp_path: Path) -> None:
    place = tmp_path / "terraform"
    shutil.copytree(CONFIGURATION, place, ignore=shutil.ignore_patterns(".terraform", "*.tfstate*"))
    planted = 'resource "aws_s3_bucket_public_access_block" "bad" {\n  bucket = "bad"\n}\n'
    (place / "planted.tf").write_text(planted)
    found = checkov(place, tmp_path / "home")
    failed = {(each["file_path"], each["check_id"]) for each in found["results"]["failed_checks"]}
    assert {name for name, _ in failed} == {"/planted.tf"}
    assert ("/planted.tf", "CKV_AWS_53") in failed
    assert found["results"]["parsing_errors"] == []
    assert found["summary"]["passed"] > 100


@pytest.mark.parametrize(("ci", "word", "other"), [("", "skipped", "failed"), ("true", "failed", "skipped")])
def test_without_terraform_its_tests_are_skipped_with_the_reason_and_in_ci_they_fail(
    ci: str, word: str, other: str, tmp_path: Path
) -> None:
    env = {**environment(tmp_path / "home"), "PATH": "", "CI": ci}
    command = [sys.executable, "-m", "pytest", "-rfs", "-p", "no:cacheprovider", "-k", "canonical or is_valid"]
    done = subprocess.run(
        [*command, str(Path(__file__))], cwd=TEMPLATE, env=env, capture_output=True, text=True, check=False
    )
    summary = done.stdout.splitlines()[-1]
    assert (done.returncode != 0) is (word == "failed"), done.stdout
    assert f" {word}" in f" {summary}"
    assert f" {other}" not in summary
    assert "needs terraform, which `.ci/packages` installs" in done.stdout
