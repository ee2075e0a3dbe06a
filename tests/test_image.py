"""The server's image: built and run as in a cluster, as nobody, on a read-only root, with nothing to train with."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from promoted import PRODUCTION, Promoted
from tools import root, tool

import prune_image
from check_lock import read_pins
from mergeline.layout import CANDIDATE
from mergeline.release.receipt import SERVING_CONTRACT
from mergeline.schema import Signature

ROOT = Path(__file__).parents[1]
STAND_IN = "localhost/python-stand-in"
LARGEST_BYTES = 270_000_000  # of the layers above the base
NOBODY = 10001
OWN_FOLDERS = {"log", "model", "opt", "opt/mergeline", "srv"}
GRACE_S = 30  # what Kubernetes gives before it kills
HARDENED = ["--network", "none", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
LIMITS = ["--no-healthcheck", "--memory", "512m", "--pids-limit", "256", "--tmpfs", "/tmp"]

# Nothing of these can be asked from outside, as the container has no network but its own loopback.
ASK = """
import json, sys, urllib.error, urllib.request
path, body = sys.argv[1:]
headers = {"content-type": "application/json"}
asked = urllib.request.Request("http://127.0.0.1:8080" + path, body.encode() or None, headers)
try:
    with urllib.request.urlopen(asked, timeout=10) as answer:
        print(json.dumps([answer.status, answer.read().decode()]))
except urllib.error.HTTPError as err:
    print(json.dumps([err.code, err.read().decode()]))
except OSError as err:
    print(json.dumps([0, str(err)]))
"""


@dataclass(frozen=True, slots=True)
class Image:
    """A built image and the folder of its storage."""

    id: str
    folder: Path
    program: Path

    def podman(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run podman on the storage of the build."""
        storage = {
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
        }
        command = [str(self.program), *arguments]
        return subprocess.run(command, env=os.environ | storage, capture_output=True, text=True, check=False)

    def inspected(self, what: str, name: str | None = None) -> Any:
        """What podman knows of the image."""
        done = self.podman("image", "inspect", "--format", f"{{{{json {what}}}}}", name or self.id)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def tree(self, name: str | None = None) -> dict[str, tuple[int, ...]]:
        """Every path of the image, with its owner, mode and, of a file, size and time."""
        done = self.podman("image", "mount", name or self.id)
        assert done.returncode == 0, done.stderr
        top = Path(done.stdout.strip())
        try:
            found = {path.relative_to(top).as_posix(): path.lstat() for path in top.rglob("*")}
        finally:
            self.podman("image", "unmount", name or self.id)
        return {
            path: (
                *(fact.st_uid, fact.st_gid, fact.st_mode),
                *(() if stat.S_ISDIR(fact.st_mode) else (fact.st_size, int(fact.st_mtime))),
            )
            for path, fact in found.items()
        }

    def python(self, code: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Run Python code in a hardened container of its own."""
        return self.podman("run", "--rm", *HARDENED, *LIMITS, *options, "--entrypoint", "python", self.id, "-c", code)


@dataclass(frozen=True, slots=True)
class Container:
    """A container in which a server runs, and the folders that are mounted there."""

    image: Image
    id: str
    mounted: Path

    def shell(self, command: str) -> subprocess.CompletedProcess[str]:
        return self.image.podman("exec", self.id, "sh", "-c", command)

    def ask(self, path: str, body: str = "") -> tuple[int, str]:
        """Return status and body of an answer; status 0 where nobody answers."""
        done = self.image.podman("exec", self.id, "python", "-c", ASK, path, body)
        if done.returncode != 0:
            return 0, done.stderr
        status, text = json.loads(done.stdout)
        return status, text

    def state(self, what: str) -> str:
        return self.image.podman("inspect", "--format", f"{{{{.State.{what}}}}}", self.id).stdout.strip()

    def logs(self) -> str:
        done = self.image.podman("logs", self.id)
        return done.stdout + done.stderr

    def wait_until_ready(self) -> None:
        """Return once it is ready; a minute is more than it may ever need."""
        for _ in range(300):
            if self.ask("/readyz")[0] == 200:
                return
            assert self.state("Running") == "true", self.logs()
            time.sleep(0.2)
        pytest.fail(self.logs())


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Image:
    """The image, built once for all workers on a stand-in of its base; with what is cached that takes seconds."""
    root()
    tool("buildah", "runc", "debootstrap", "flock")
    [podman] = tool("podman")
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mergeline/image"
    shared = tmp_path_factory.getbasetemp() if worker_id == "master" else tmp_path_factory.getbasetemp().parent
    with FileLock(shared / "image.lock"):
        built = shared / "image.id"
        if not built.exists():
            environment = os.environ | {"PYTHON": sys.executable, "PATH": f"{os.environ['PATH']}{os.pathsep}/usr/sbin"}
            command = [ROOT / ".ci/image", folder]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            built.write_text(done.stdout.split()[-1])
    return Image(built.read_text(), folder, podman)


@pytest.fixture
def release(in_production: Promoted, tmp_path: Path) -> Path:
    """A folder with what is mounted into a container: a release and its store, and two folders to write to."""
    mounted = tmp_path / "mounted"
    shutil.copytree(in_production.root / ".mergeline/store", mounted / "store")
    shutil.copy(in_production.root / PRODUCTION, mounted / "release.yaml")
    for path in [mounted, *mounted.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    for name in ("model", "log"):
        (mounted / name).mkdir()
        (mounted / name).chmod(0o777)  # as Kubernetes makes an emptyDir
    return mounted


def start(image: Image, mounted: Path) -> Container:
    """Start a container with the image's own command."""
    volumes = [
        *("--volume", f"{mounted / 'store'}:/srv/.mergeline/store:ro"),
        *("--volume", f"{mounted / 'release.yaml'}:/srv/k8s/overlays/production/release.yaml:ro"),
        *("--volume", f"{mounted / 'model'}:/model"),
        *("--volume", f"{mounted / 'log'}:/log"),
    ]
    done = image.podman("run", "--detach", *HARDENED, *LIMITS, *volumes, image.id)
    assert done.returncode == 0, done.stderr
    return Container(image, done.stdout.strip(), mounted)


@pytest.fixture
def server(image: Image, release: Path) -> Iterator[Container]:
    """A server that is ready."""
    container = start(image, release)
    try:
        container.wait_until_ready()
        yield container
    finally:
        image.podman("rm", "--force", "--time", "0", container.id)


# ---- What it is ----------------------------------------------------------------------------------------------------


def test_the_layers_above_the_base_are_small(image: Image) -> None:
    base = image.inspected(".RootFS.Layers", STAND_IN)
    layers = image.inspected(".RootFS.Layers")
    assert layers[: len(base)] == base
    above = image.inspected(".Size") - image.inspected(".Size", STAND_IN)
    assert 100_000_000 < above <= LARGEST_BYTES


def test_the_image_says_which_contract_it_serves(image: Image) -> None:
    labels = image.inspected(".Labels")
    assert labels["dev.mergeline.serving-contract"] == str(SERVING_CONTRACT)
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_nothing_of_the_machine_that_built_it_is_in_the_image(image: Image) -> None:
    base = image.tree(STAND_IN)

    def new(tree: Mapping[str, tuple[int, ...]]) -> set[str]:
        found = {path for path, facts in tree.items() if facts != base.get(path)}
        return {path for path in found if not path.startswith(("opt/mergeline/", "opt/package/"))}

    built = image.tree()
    assert new(built) <= OWN_FOLDERS
    assert {built[name][0] for name in ("log", "model")} == {NOBODY}
    # what a run in a stage leaves of what was mounted for it
    assert "etc/pip.conf" in new(image.tree("localhost/mergeline:package"))


def test_no_training_library_is_in_the_image(image: Image) -> None:
    names = ["boto3", "dvc", "great_expectations", "mlflow", "onnx", "pandas", "pip", "pydantic", "scipy", "setuptools"]
    names += ["sklearn", "torch", "numpy", "onnxruntime"]
    done = image.python(f"import importlib.util as found; print([name for name in {names} if found.find_spec(name)])")
    assert done.stdout.strip() == "['numpy', 'onnxruntime']", done.stderr


def test_the_image_has_the_locked_versions(image: Image) -> None:
    done = image.python(
        "import importlib.metadata as meta, json; print(json.dumps({d.name: d.version for d in meta.distributions()}))"
    )
    installed = {name.lower().replace("_", "-").replace(".", "-"): at for name, at in json.loads(done.stdout).items()}
    pins = {pin.name: pin.version for pin in read_pins((ROOT / "requirements/serve.lock").read_text())}
    assert pins.pop("setuptools")
    assert installed.pop("mergeline")
    assert installed == pins


def test_what_was_pruned_is_not_missed(image: Image) -> None:
    """Every library finds those that it is linked against, and every module of the server can be imported."""
    libraries = "find /opt/mergeline -name '*.so*' -exec ldd {} + 2>&1"
    done = image.podman("run", "--rm", *HARDENED, *LIMITS, "--entrypoint", "sh", image.id, "-c", libraries)
    assert "libarrow.so" in done.stdout
    assert [line for line in done.stdout.splitlines() if "not found" in line] == []
    done = image.python(
        "import importlib, pkgutil, mergeline.serve as serve\n"
        "import httptools, pyarrow.dataset, pyarrow.parquet, uvicorn, uvloop\n"
        "from botocore.session import Session\n"
        "from cryptography.hazmat.primitives.asymmetric import ed25519\n"
        "for found in pkgutil.walk_packages(serve.__path__, 'mergeline.serve.'): importlib.import_module(found.name)\n"
        "for name in ('s3', 'sts', 'sso', 'sso-oidc'): Session().create_client(name, region_name='eu-west-1')"
    )
    assert done.returncode == 0, done.stderr


def test_the_bytecode_is_there_and_not_compared_with_its_source(image: Image) -> None:
    done = image.python(
        "import pathlib, mergeline\n"
        "made = [path.read_bytes()[4] for path in pathlib.Path('/opt/mergeline/lib').rglob('*.pyc')]\n"
        "print(len(made) > 500, set(made), pathlib.Path(mergeline.__cached__).exists())"
    )
    assert done.stdout.split() == ["True", "{1}", "True"], done.stderr


# ---- How it runs ---------------------------------------------------------------------------------------------------


def test_it_answers_and_logs(server: Container, in_production: Promoted) -> None:
    signature = Signature.from_json((in_production.root / CANDIDATE / "signature.json").read_text())
    [*samples] = signature.samples
    status, text = server.ask("/predict", json.dumps({"rows": [{"features": sample.row} for sample in samples]}))
    assert status == 200, text
    scores = [prediction["score"] for prediction in json.loads(text)["predictions"]]
    assert scores == pytest.approx([sample.scores[-1] for sample in samples], abs=1e-5)
    assert server.ask("/predict", json.dumps({"rows": [{"features": {}}]}))[0] == 422
    stop(server)
    assert list((server.mounted / "log/predictions").rglob("*.parquet"))


def test_the_server_is_nobody_and_has_no_capability(server: Container) -> None:
    assert server.shell("id -u; id -g").stdout.split() == [str(NOBODY), str(NOBODY)]
    lines = server.shell("cat /proc/1/status").stdout.splitlines()
    status = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    assert status["Uid"] == [str(NOBODY)] * 4
    assert status["CapEff"] == status["CapBnd"] == ["0" * 16]
    assert status["NoNewPrivs"] == ["1"]


def test_it_can_write_to_nothing_but_what_is_mounted(server: Container) -> None:
    for folder in ("/", "/srv", "/opt/mergeline", "/etc"):
        assert server.shell(f"touch {folder}/planted").returncode != 0, folder
    for folder in ("/tmp", "/model", "/log"):
        assert server.shell(f"touch {folder}/planted").returncode == 0, folder


def test_without_a_read_only_root_it_can_write_to_its_own_folders_alone(image: Image) -> None:
    looking = "find / -xdev -writable -not -type l -not -path '/proc/*' -not -path '/dev/*'"
    done = image.podman("run", "--rm", "--network", "none", *LIMITS, "--entrypoint", "sh", image.id, "-c", looking)
    found = {path for path in done.stdout.split() if not path.startswith(("/var/tmp", "/run", "/tmp", "/var/lock"))}
    assert found == {"/log", "/model"}


def test_sigterm_ends_it_well_within_its_grace(server: Container) -> None:
    assert stop(server) == 0


def stop(container: Container) -> int:
    """Stop a container as Kubernetes does, and return its exit code; 137 where it had to be killed."""
    done = container.image.podman("stop", "--time", str(GRACE_S), container.id)
    assert done.returncode == 0, done.stderr
    return int(container.state("ExitCode"))


def test_its_health_check_passes_where_it_is_ready(server: Container) -> None:
    assert server.image.podman("exec", server.id, *health_check(server.image)).returncode == 0


def test_its_health_check_fails_where_nobody_answers(image: Image) -> None:
    command, *arguments = health_check(image)
    done = image.podman("run", "--rm", *HARDENED, *LIMITS, "--entrypoint", command, image.id, *arguments)
    assert done.returncode == 1
    assert "Connection refused" in done.stderr


def health_check(image: Image) -> list[str]:
    """The words of the image's health check."""
    kind, *command = map(str, image.inspected(".HealthCheck.Test"))
    assert kind == "CMD"
    return command


def test_r1_r10_other_bytes_are_never_served(image: Image, release: Path) -> None:
    largest = max((release / "store").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    container = start(image, release)
    try:
        statuses = set()
        while container.state("Running") == "true":
            statuses.add(container.ask("/readyz")[0])
        assert int(container.state("ExitCode")) == 6
        assert 200 not in statuses
        assert largest.name in container.logs()
        assert "Traceback" not in container.logs()
    finally:
        image.podman("rm", "--force", "--time", "0", container.id)


# ---- What builds it ------------------------------------------------------------------------------------------------


def test_what_is_removed_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packages = environment(tmp_path)
    assert prune_image.main(tmp_path) == 0
    assert capsys.readouterr().out == "prune_image: removed 0 MB\n"
    left = {path.relative_to(packages).as_posix() for path in packages.rglob("*") if path.is_file()}
    assert left == {f"botocore/data/{name}" for name in ("endpoints.json", *(f"{s}/s.json" for s in SERVICES))}
    assert [path.name for path in (tmp_path / "bin").iterdir()] == ["python3"]


def test_a_pattern_that_matches_nothing_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packages = environment(tmp_path)
    shutil.rmtree(packages / "numpy/f2py")
    shutil.rmtree(packages / "botocore/data/sts")
    assert prune_image.main(tmp_path) == 1
    assert capsys.readouterr().err.splitlines() == [
        "prune_image: numpy/f2py: matches nothing; see what has taken its place",
        "prune_image: botocore/data/sts: matches nothing; see what has taken its place",
    ]


SERVICES = sorted(prune_image.SERVICES)


def environment(root: Path) -> Path:
    """An environment with a file for every pattern, and return its site-packages."""
    packages = root / "lib/python3.11/site-packages"
    names = [pattern.replace("**", "numpy").replace("*", "1") for pattern in prune_image.NEVER_RUN]
    names += [f"botocore/data/{service}/s.json" for service in [*SERVICES, "ec2"]] + ["botocore/data/endpoints.json"]
    for path in [*(packages / name for name in names), root / "bin/python3", root / "bin/f2py"]:
        folder = path.suffix == "" and path.parent.name != "bin"
        (path if folder else path.parent).mkdir(parents=True, exist_ok=True)
        if not folder:
            path.write_text("")
    return packages


def test_a_build_reads_only_what_is_listed() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert rules[0] == "*"
    listed = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    copied = [line.split()[1:-1] for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("COPY ")]
    assert {name for names in copied for name in names if not names[0].startswith("--from=")} == listed


@pytest.mark.parametrize(
    ("user", "continuous", "code"),
    [pytest.param(1000, "true", 1, id="fails CI"), pytest.param(1000, "", 0, id="is said on a laptop")],
)
def test_packages_that_cannot_be_installed_are_named(user: int, continuous: str, code: int, tmp_path: Path) -> None:
    done = packages(tmp_path, user=user, CI=continuous)
    assert done.returncode == code
    assert "packages: missing here: " in done.stderr
    assert "buildah" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_root_installs_what_is_missing_and_no_more(tmp_path: Path) -> None:
    wanted = dict(re.findall(r"^  ([\w-]+):([\w-]+)$", (ROOT / ".ci/packages").read_text(), re.MULTILINE))
    assert wanted.pop("chromedriver") == "chromium-driver"
    for name in wanted:
        program(tmp_path / name, "exit 1")
    program(tmp_path / "apt-get", f'echo "$@" >> {tmp_path}/asked')
    assert packages(tmp_path, user=0).returncode == 0
    asked = (tmp_path / "asked").read_text().splitlines()
    assert [line.split()[0] for line in asked] == ["update", "install"]
    assert [word for word in asked[1].split() if not word.startswith("-")] == ["install", "chromium-driver"]


def test_packages_that_apt_cannot_install_are_an_error(tmp_path: Path) -> None:
    program(tmp_path / "apt-get", "echo E: nothing there >&2; exit 100")
    done = packages(tmp_path, user=0)
    assert done.returncode == 1
    assert done.stderr.splitlines()[1] == "E: nothing there"


def packages(folder: Path, user: int, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run .ci/packages as a user to whom nothing is there but a few programs of the system and those in a folder."""
    program(folder / "id", f"echo {user}")
    for name in ("mktemp", "rm", "tail"):
        (folder / name).symlink_to(str(shutil.which(name)))
    clean = {"PATH": str(folder), "HOME": str(folder)} | environment
    command = [str(shutil.which("bash")), str(ROOT / ".ci/packages")]
    return subprocess.run(command, env=clean, capture_output=True, text=True, check=False)


def program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_a_missing_tool_skips_a_test_and_fails_it_in_ci() -> None:
    with pytest.raises(pytest.skip.Exception, match="needs no-such-tool, which"):
        tool("sh", "no-such-tool", environment={"CI": ""})
    with pytest.raises(pytest.fail.Exception, match="with CI=true this test has to run"):
        tool("no-such-tool", environment={"CI": "true"})
    assert tool("sh", environment={"CI": "true"})
