"""`mergeline verify` on a release that is really served: it holds, and each planted break is named by its link."""

from __future__ import annotations

import datetime as dt
import hashlib
import http.server
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from promoted import PRODUCTION, STAGING, Promoted
from registry import Registry, registry
from repositories import TEMPLATE
from servers import Server, serving
from test_fetch import key_files
from tools import tool

from mergeline.release.manifests import Release, format_release, parse_release
from mergeline.release.retirement import Phase, Retirement, format_retirements

STORE = ".mergeline/store"
RECEIPT = "models/manifest.json"


@dataclass(frozen=True, slots=True)
class Running:
    """A checkout whose production is served, its registry, and its signing key."""

    here: Promoted
    registry: Registry
    server: Server

    @property
    def release(self) -> Release:
        return parse_release((self.here.root / PRODUCTION).read_text())

    def verify(self, *options: str, code: int = 0) -> str:
        """All that `mergeline verify` says; it must end with this code."""
        command = ["verify", "--registry", "--url", self.server.url, *options]
        done = self.here.run(*command)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def broken(self, *options: str) -> str:
        """The link that is named by the error, which is the last line."""
        last = self.verify(*options, code=6).splitlines()[-1]
        assert last.startswith("mergeline: verify: production: "), last
        return last.split(": ")[3]


def signing(overlay: str) -> str:
    """The overlay with what it has in comments for signatures."""
    head, generator, tail = overlay.partition("# configMapGenerator:\n")
    lines = tail.splitlines(keepends=True)
    own = [line.removeprefix("# ") for line in lines if line.startswith("#   ")]
    rest = [line for line in lines if not line.startswith("#   ")]
    switched = head.replace("# - ../../components/signed", "- ../../components/signed")
    return "".join([switched, generator.removeprefix("# "), *own, *rest])


@pytest.fixture(scope="module")
def made(in_production: Promoted, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Production as it should be: image, manifests, signature and server, made once."""
    tool("kubectl")
    place = tmp_path_factory.mktemp("chain")
    here = in_production.copy_to(place / "promoted")
    with registry(place / "registry") as images:
        image = images.push("team/server", b"the server")
        release = parse_release((here.root / PRODUCTION).read_text())
        text = format_release(Release(release.model_sha256, release.store, release.receipt_sha256, image))
        private, public = key_files(place, "team")
        shutil.copytree(TEMPLATE / "k8s", here.root / "k8s", dirs_exist_ok=True)
        for path in (STAGING, PRODUCTION):
            (here.root / path).write_text(text)
        (here.root / PRODUCTION).with_name("signing.pub").write_bytes(public.read_bytes())
        overlay = (here.root / PRODUCTION).with_name("kustomization.yaml")
        overlay.write_text(signing(overlay.read_text()))
        here.commit("The first server's image, and the team's key")
        here.git("push", "-q", "origin", "main")
        done = here.run("sign", "--private-key", str(private))
        assert done.returncode == 0, done.stderr
        with serving(here.root, "--environment", "production", "--log", "none") as server:
            yield Running(here, images, server)


@pytest.fixture
def running(made: Running, tmp_path: Path) -> Running:
    """A copy of the checkout, whose server and registry go on."""
    return Running(made.here.copy_to(tmp_path / "copy"), made.registry, made.server)


def object_of(running: Running, sha256: str) -> Path:
    return running.here.root / STORE / "sha256" / sha256


def model_file(running: Running) -> Path:
    """Where the store keeps the model's graph."""
    files = json.loads((running.here.root / RECEIPT).read_text())["model"]["files"]
    return object_of(running, files["model.onnx"]["sha256"])


# ---- Whole -----------------------------------------------------------------------------------------------------------


def test_a_release_that_is_served_holds_link_by_link(running: Running) -> None:
    lines = running.verify().splitlines()
    assert [line.split(":")[0].split() for line in lines] == [
        ["held", name]
        for name in (
            *("commit", "receipt", "dvc.lock", "environment", "retirement", "store"),
            *("signature", "image", "manifest", "server"),
        )
    ]


def test_what_cannot_be_compared_here_is_called_skipped_and_not_held(running: Running) -> None:
    (running.here.root / PRODUCTION).with_name("kustomization.yaml").unlink()
    (running.here.root / PRODUCTION).with_name("signing.pub").unlink()
    running.here.commit("Neither key nor overlay")
    done = running.here.run("verify")
    assert done.returncode == 0, done.stderr
    states = {line.split(":")[0].split()[1]: line.split()[0] for line in done.stdout.splitlines()}
    assert {name for name, state in states.items() if state == "skipped"} == {
        "signature",
        "image",
        "manifest",
        "server",
    }


def test_staging_is_verified_by_its_verdict(running: Running) -> None:
    said = running.verify("--environment", "staging")
    assert "held     environment: its verdict was promote" in said
    assert "skipped  signature" in said


# ---- Nine breaks -----------------------------------------------------------------------------------------------------


def other_lock(running: Running) -> None:
    """A merge brought a dvc.lock that never ran."""
    lock = running.here.root / "dvc.lock"
    lock.write_text(lock.read_text() + "\n")
    running.here.commit("A merge without a word")


def other_receipt(running: Running) -> None:
    """The release names a receipt that no commit brought."""
    was = str(running.release.receipt_sha256)
    for path in (STAGING, PRODUCTION):
        file = running.here.root / path
        file.write_text(file.read_text().replace(was, "a" * 64))
    running.here.commit("Another receipt")


def retired_model(running: Running) -> None:
    """The model that production serves was to be gone by today."""
    gone = Retirement(str(running.release.model_sha256), dt.date(2020, 1, 1), Phase.RETIRED)
    (running.here.root / "k8s/retirements.yaml").write_text(format_retirements([gone]))
    running.here.commit("Retired")


def other_bytes(running: Running) -> None:
    file = model_file(running)
    file.chmod(0o644)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def no_bytes(running: Running) -> None:
    model_file(running).unlink()


def no_receipt_in_the_store(running: Running) -> None:
    object_of(running, str(running.release.receipt_sha256)).unlink()


def other_digest(running: Running) -> None:
    """Both environments name an image that nobody pushed."""
    for path in (STAGING, PRODUCTION):
        file = running.here.root / path
        file.write_text(file.read_text().replace(str(running.release.image)[-64:], "b" * 64))
    running.here.commit("Another image")


def other_manifest(running: Running) -> None:
    """A later patch of the overlay serves another model than the release file says."""
    annotation = "/spec/template/metadata/annotations/mergeline.dev~1model-sha256"
    patch = f"[{{op: replace, path: {annotation}, value: {'c' * 64}}}]"
    file = (running.here.root / PRODUCTION).with_name("kustomization.yaml")
    own = "  - path: release.yaml\n"
    file.write_text(file.read_text().replace(own, f"{own}  - {{target: {{kind: Deployment}}, patch: '{patch}'}}\n"))
    running.here.commit("A patch")


def no_manifest(running: Running) -> None:
    """The overlay no longer renders."""
    (running.here.root / PRODUCTION).with_name("kustomization.yaml").write_text("resources: [nowhere.yaml]\n")
    running.here.commit("A slip")


def other_environment(running: Running) -> None:
    """Production got an image that staging never ran."""
    image = running.registry.push("team/server", b"another server")
    file = running.here.root / PRODUCTION
    file.write_text(file.read_text().replace(str(running.release.image), image))
    running.here.commit("Straight to production")


def no_signature(running: Running) -> None:
    for file in (running.here.root / STORE / "signatures").iterdir():
        file.unlink()


def other_key(running: Running) -> None:
    """The overlay asks for the signature of somebody else."""
    _, public = key_files(running.here.root.parent, "other")
    (running.here.root / PRODUCTION).with_name("signing.pub").write_bytes(public.read_bytes())
    running.here.commit("Another key")


def patched(running: Running, patch: str) -> None:
    """A later patch of production's overlay."""
    file = (running.here.root / PRODUCTION).with_name("kustomization.yaml")
    own = "  - path: release.yaml\n"
    file.write_text(file.read_text().replace(own, f"{own}  - path: other.yaml\n"))
    file.with_name("other.yaml").write_text(patch)
    running.here.commit("A patch")


KIND = "apiVersion: apps/v1\nkind: Deployment\n"
DEPLOYMENT = f"{KIND}metadata: {{name: mergeline}}\nspec: {{template: {{spec: {{containers: ["


def pods_read_another_model(running: Running) -> None:
    """The annotation is the release's, and the pod's variable is not."""
    variable = f"{{name: MERGELINE_MODEL, value: {'c' * 64}, valueFrom: null}}"
    patched(running, f"{DEPLOYMENT}{{name: server, env: [{variable}]}}]}}}}}}\n")


def pods_run_another_command(running: Running) -> None:
    patched(running, f"{DEPLOYMENT}{{name: server, args: [serve, --model, {'c' * 64}]}}]}}}}}}\n")


def another_pod_beside(running: Running) -> None:
    file = (running.here.root / PRODUCTION).with_name("kustomization.yaml")
    file.write_text(file.read_text().replace("  - ../../base\n", "  - ../../base\n  - other.yaml\n"))
    labels = "{app.kubernetes.io/name: mergeline, app.kubernetes.io/component: server}"
    template = f"{{metadata: {{labels: {labels}}}, spec: {{containers: []}}}}"
    text = f"{KIND}metadata: {{name: other}}\nspec: {{selector: {{matchLabels: {labels}}}, template: {template}}}\n"
    file.with_name("other.yaml").write_text(text)
    running.here.commit("Another one")


def nobody_asks_for_the_signature(running: Running) -> None:
    """The key lies there, and the component that makes pods ask for it is off."""
    file = (running.here.root / PRODUCTION).with_name("kustomization.yaml")
    file.write_text(file.read_text().replace("  - ../../components/signed", "  # - ../../components/signed"))
    running.here.commit("Off")


def verdict_on_another_model(running: Running) -> None:
    file = running.here.root / "reports/comparison.json"
    record = json.loads(file.read_text())
    record["candidate"]["sha256"] = "e" * 64
    file.write_text(json.dumps(record))
    anew(running)


def rejected(running: Running) -> None:
    """A model that no verdict promoted went straight into both files."""
    file = running.here.root / "reports/comparison.json"
    file.write_text(file.read_text().replace('"verdict": "promote"', '"verdict": "reject"'))
    anew(running)


def anew(running: Running) -> None:
    """Another receipt of the same model, which both environments name."""
    receipt = running.here.root / RECEIPT
    receipt.write_text(receipt.read_text() + "\n")
    was, now = str(running.release.receipt_sha256), hashlib.sha256(receipt.read_bytes()).hexdigest()
    for path in (STAGING, PRODUCTION):
        file = running.here.root / path
        file.write_text(file.read_text().replace(was, now))
    shutil.copy(receipt, object_of(running, now))
    running.here.commit("By hand")


def not_committed(running: Running) -> None:
    file = running.here.root / PRODUCTION
    file.write_text(file.read_text() + "# by hand\n")


@pytest.mark.parametrize(
    ("plant", "link"),
    [
        pytest.param(not_committed, "commit", id="not committed"),
        pytest.param(other_receipt, "receipt", id="receipt"),
        pytest.param(other_lock, "dvc.lock", id="dvc.lock"),
        pytest.param(other_environment, "environment", id="other environment"),
        pytest.param(verdict_on_another_model, "environment", id="verdict on another model"),
        pytest.param(rejected, "environment", id="rejected"),
        pytest.param(pods_read_another_model, "manifest", id="variable"),
        pytest.param(pods_run_another_command, "manifest", id="command"),
        pytest.param(another_pod_beside, "manifest", id="another pod"),
        pytest.param(nobody_asks_for_the_signature, "manifest", id="key that nobody asks for"),
        pytest.param(retired_model, "retirement", id="retired"),
        pytest.param(other_bytes, "store", id="store bytes"),
        pytest.param(no_bytes, "store", id="missing object"),
        pytest.param(no_receipt_in_the_store, "store", id="missing receipt"),
        pytest.param(no_signature, "signature", id="signature"),
        pytest.param(other_key, "signature", id="other key"),
        pytest.param(other_digest, "image", id="digest"),
        pytest.param(other_manifest, "manifest", id="manifest"),
        pytest.param(no_manifest, "manifest", id="no manifest"),
    ],
)
def test_a_break_is_named_by_its_link(plant: Callable[[Running], None], link: str, running: Running) -> None:
    plant(running)
    assert running.broken() == link


def test_r1_a_server_of_another_model_is_named(running: Running, in_review: Promoted, tmp_path: Path) -> None:
    other = in_review.copy_to(tmp_path / "other")
    with serving(other.root, "--environment", "staging", "--log", "none") as server:
        assert Running(running.here, running.registry, server).broken() == "server"


def test_a_release_that_is_none_is_a_matter_of_configuration(running: Running) -> None:
    from mergeline.release.manifests import NO_RELEASE

    (running.here.root / PRODUCTION).write_text(format_release(NO_RELEASE))
    running.here.commit("Withdrawn")
    assert "there is nothing to verify and nothing to deploy" in running.verify(code=2)


def test_a_break_goes_before_a_server_that_does_not_answer(running: Running) -> None:
    other_bytes(running)
    done = running.here.run("verify", "--url", "http://127.0.0.1:9")
    assert done.returncode == 6, done.stderr
    assert "BROKEN   store" in done.stderr
    assert "unknown  server" in done.stderr


@pytest.mark.parametrize(
    "lines",
    [
        '{sha256="%s",variant="champion"} 0.0',
        '{sha256="%s",variant="champion"} 1.0\n{sha256="b",variant="champion"} 1.0',
        "",
    ],
    ids=["not served", "two champions", "none"],
)
def test_metrics_that_do_not_name_one_champion_prove_nothing(lines: str, running: Running) -> None:
    text = "".join(f"mergeline_model_info{line}\n" for line in lines.splitlines())
    page = text.replace("%s", str(running.release.model_sha256)).encode()

    class Nonsense(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Nonsense) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = running.here.run("verify", "--url", f"http://127.0.0.1:{server.server_address[1]}")
        server.shutdown()
    assert done.returncode == 7, done.stderr


def test_something_that_does_not_answer_is_no_break(running: Running) -> None:
    done = running.here.run("verify", "--url", "http://127.0.0.1:9")
    assert done.returncode == 7, done.stderr
    assert "the server does not answer" in done.stderr


def test_without_kubectl_the_manifests_are_skipped(running: Running, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/git").symlink_to(tool("git")[0])
    done = running.here.run("verify", PATH=str(tmp_path / "bin"))
    assert done.returncode == 0, done.stderr
    assert "skipped  manifest: kubectl is not installed" in done.stdout
