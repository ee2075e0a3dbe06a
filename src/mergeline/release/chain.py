"""From the commit to the server that answers: each link of a release compared with the next one."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from mergeline import git
from mergeline.errors import ConfigurationError, ServiceError, VerificationError
from mergeline.layout import COMPARISON, EVALUATION, LOCK, OVERLAYS, RECEIPT, STAGING
from mergeline.release.manifests import (
    CONTAINER,
    DEPLOYMENT,
    MODEL_ANNOTATION,
    NO_RELEASE,
    RECEIPT_ANNOTATION,
    STORE_ANNOTATION,
    Release,
    parse_release,
)
from mergeline.release.receipt import Receipt
from mergeline.release.records import deployments, receipt_of, retirements
from mergeline.release.retirement import Phase

SIGNING_KEY = "signing.pub"
TIMEOUT_S = 10.0
RENDER_TIMEOUT_S = 60.0
_SERVED = re.compile(r'^mergeline_model_info\{(?=[^}]*variant="champion")[^}]*sha256="([0-9a-f]{64})"', re.MULTILINE)


class State(StrEnum):
    """Whether two ends of a link are the same."""

    HELD = "held"
    BROKEN = "BROKEN"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Link:
    """One comparison of the chain, and what it found; one that was skipped says why, and proves nothing."""

    name: str
    state: State
    said: str


@dataclass(frozen=True, slots=True)
class Chain:
    """What a release is verified by: the repository and its commit, the environment, the server's address or None.

    `variables` are those of the process, for the registry's login.
    """

    root: Path
    commit: str
    environment: str
    url: str | None
    ask_registry: bool
    variables: Mapping[str, str]

    @property
    def path(self) -> Path:
        """The release file."""
        return OVERLAYS / self.environment / "release.yaml"

    def links(self) -> Iterator[Link]:
        """Yield the links in the order in which a release comes about; a broken one ends those that need it.

        Raises `ConfigurationError` where there is no release, `ServiceError` where something outside does not answer.
        """
        content = git.read(self.root, self.commit, self.path)
        try:
            release = NO_RELEASE if content is None else parse_release(content.decode("utf-8", "replace"))
        except VerificationError as err:
            yield Link("manifest", State.BROKEN, str(err))
            return
        if not release.is_release:
            raise ConfigurationError(f"{self.path}: no release yet, there is nothing to verify and nothing to deploy")
        yield self._link("commit", lambda: self._committed(content))
        receipt, recorded = receipt_of(self.root, self.commit, release)
        if receipt is None or recorded is None:
            short = str(release.receipt_sha256)[:12]
            yield Link(
                "receipt", State.BROKEN, f"no commit of this branch brought the receipt {short}; see the release"
            )
        else:
            yield self._link("receipt", lambda: self._receipt(release, receipt, recorded))
            yield self._link("dvc.lock", lambda: self._lock(release, receipt, recorded))
        yield self._link("environment", lambda: self._reviewed(release, recorded))
        yield self._link("retirement", lambda: self._going(release))
        yield self._link("store", lambda: self._stored(release, receipt))
        yield self._link("signature", lambda: self._signed(release))
        yield self._link("image", lambda: self._image(release))
        yield self._link("manifest", lambda: self._rendered(release))
        yield self._link("server", lambda: self._live(release))

    def _link(self, name: str, check: Callable[[], str | None]) -> Link:
        """A link by its check, which returns what holds, or raises what does not, or that it was skipped."""
        try:
            return Link(name, State.HELD, str(check()))
        except _Skipped as err:
            return Link(name, State.SKIPPED, str(err))
        except VerificationError as err:
            return Link(name, State.BROKEN, str(err))

    # ---- In Git ----------------------------------------------------------------------------------------------------

    def _committed(self, content: bytes | None) -> str:
        here = self.root / self.path
        if not here.is_file() or here.read_bytes() != content:
            raise VerificationError(f"{self.path} is not as commit {self.commit[:12]} has it; commit it or restore it")
        return f"{self.path} is as commit {self.commit[:12]} has it"

    def _receipt(self, release: Release, receipt: Receipt, recorded: str) -> str:
        if receipt.model.sha256 != release.model_sha256:
            raise VerificationError(
                f"the receipt is that of model {receipt.model.sha256[:12]}, the release names"
                f" {str(release.model_sha256)[:12]}; record the release anew"
            )
        evaluation = git.read(self.root, recorded, EVALUATION)
        if hashlib.sha256(evaluation or b"").hexdigest() != receipt.evaluation_sha256:
            raise VerificationError(f"{EVALUATION} at {recorded[:12]} is not what the receipt names; record it anew")
        return f"commit {recorded[:12]} brought the receipt of model {receipt.model.sha256[:12]} and its evaluation"

    def _lock(self, release: Release, receipt: Receipt, recorded: str) -> str:
        newest = git.read(self.root, self.commit, RECEIPT)
        is_newest = newest is not None and hashlib.sha256(newest).hexdigest() == release.receipt_sha256
        for commit in dict.fromkeys((recorded, self.commit if is_newest else recorded)):
            found = hashlib.sha256(git.read(self.root, commit, LOCK) or b"").hexdigest()
            if found != receipt.dvc_lock_sha256:
                raise VerificationError(
                    f"{LOCK} at {commit[:12]} is {found[:12]}, the receipt says {receipt.dvc_lock_sha256[:12]}; a"
                    " result that never ran was merged: `mergeline repro` and `mergeline record` on a branch"
                )
        return f"{LOCK} at {recorded[:12]} is the receipt's"

    def _reviewed(self, release: Release, recorded: str | None) -> str:
        """What made the release fit for its environment: a verdict for staging, staging for production."""
        staged = deployments(self.root, self.commit, STAGING)
        if self.environment == STAGING.parent.name:
            comparison = json.loads((git.read(self.root, recorded, COMPARISON) if recorded else None) or b"{}")
            if comparison.get("verdict") != "promote":
                raise VerificationError(f"no verdict promoted it: {comparison.get('sentence', 'there is no record')}")
            return "its verdict was promote"
        if all(each.release != release for each in staged):
            raise VerificationError(
                f"{self.environment} serves a release that staging never served; promote from there"
            )
        return "staging served it first"

    def _going(self, release: Release) -> str:
        going = next(
            (each for each in retirements(self.root, self.commit) if each.model_sha256 == release.model_sha256), None
        )
        if going is None:
            return "nobody has asked for the end of this model"
        if going.phase is Phase.RETIRED:
            raise VerificationError(f"model {going.model_sha256[:12]} is retired since {going.on}; serve another one")
        return f"{going.phase}: it goes on {going.on}"

    # ---- In the stores ---------------------------------------------------------------------------------------------

    def _stored(self, release: Release, receipt: Receipt | None) -> str:
        from mergeline.release.store import open_store

        store = open_store(str(release.store), self.root)
        model = store.verify_model(str(release.model_sha256))
        for sha256 in (release.receipt_sha256, receipt.evaluation_sha256 if receipt else None):
            if sha256 is not None:
                store.verify(sha256)
        size = sum(file.size or 0 for file in model.files)
        return f"{store.url} holds model {model.sha256[:12]}, {len(model.files)} files, {size} bytes, each its own"

    def _signed(self, release: Release) -> str:
        from mergeline.release.signing import fingerprint, read_public_key, require_signature
        from mergeline.release.store import open_store

        key = self.root / OVERLAYS / self.environment / SIGNING_KEY
        if not key.exists():
            raise _Skipped(f"{key.relative_to(self.root)}: there is no key, so that no signature is asked for")
        store = open_store(str(release.store), self.root)
        public = read_public_key(key)
        require_signature(store, store.verify_model(str(release.model_sha256)), public)
        return f"signed by the key {fingerprint(public)[:12]}"

    def _image(self, release: Release) -> str:
        from mergeline.release.registry import verify_image

        if release.image is None:
            raise _Skipped("no image yet: the server runs as a process")
        if not self.ask_registry:
            raise _Skipped(f"{release.image}: the registry is not asked; --registry asks it")
        verify_image(release.image, self.variables)
        return f"the registry holds {release.image}"

    # ---- What runs -------------------------------------------------------------------------------------------------

    def _rendered(self, release: Release) -> str:
        overlay = self.root / self.path.parent
        if not (overlay / "kustomization.yaml").exists():
            raise _Skipped(f"{overlay.relative_to(self.root)}: no kustomization.yaml, nothing is deployed from here")
        pod = _pod(render(overlay))
        annotations = pod["metadata"].get("annotations", {})
        expected = {
            MODEL_ANNOTATION: release.model_sha256,
            STORE_ANNOTATION: release.store,
            RECEIPT_ANNOTATION: release.receipt_sha256,
        }
        for name, value in expected.items():
            if annotations.get(name) != value:
                raise VerificationError(f"the manifests render {name} as {annotations.get(name)!r}, expected {value!r}")
        spec = pod["spec"]
        images = {each["image"] for each in [*spec["containers"], *spec.get("initContainers", [])]}
        if release.image is not None and images != {release.image}:
            raise VerificationError(f"the manifests render {', '.join(sorted(images))}, expected {release.image} alone")
        return f"{self.environment}'s manifests render this model, store, receipt and image"

    def _live(self, release: Release) -> str:
        if self.url is None:
            raise _Skipped("no address given; --url asks the server")
        served = served_by(self.url)
        if served != release.model_sha256:
            raise VerificationError(
                f"{self.url} serves model {served[:12]}, expected {str(release.model_sha256)[:12]}; see the rollout"
            )
        return f"{self.url} serves model {served[:12]}"


class _Skipped(Exception):
    """A link that cannot be compared here, and why."""


def served_by(url: str) -> str:
    """Return the SHA-256 of the model that a server's champion is; `ServiceError` where it does not say."""
    address = f"{url.rstrip('/')}/metrics"
    if not address.startswith(("http://", "https://")):
        raise ConfigurationError(f"--url: expected http:// or https://, found {url!r}")
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer:  # noqa: S310 - checked above
            text = answer.read().decode("utf-8", "replace")
    except (OSError, ValueError) as err:
        raise ServiceError(f"{url}: the server does not answer ({err}); see whether it runs") from err
    found = _SERVED.search(text)
    if found is None:
        raise ServiceError(f"{url}: no server of this kind; its metrics name no model")
    return found[1]


def render(overlay: Path) -> list[dict[str, Any]]:
    """Return the objects that an overlay renders to; `_Skipped` without kubectl, `VerificationError` where it fails."""
    from ruamel.yaml import YAML

    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise _Skipped("kubectl is not installed, so that the manifests are not rendered")
    done = subprocess.run(
        [kubectl, "kustomize", str(overlay)], capture_output=True, text=True, check=False, timeout=RENDER_TIMEOUT_S
    )
    if done.returncode:
        raise VerificationError(f"{overlay}: kustomize does not render it ({' '.join(done.stderr.split())[:300]})")
    return [each for each in YAML(typ="safe").load_all(done.stdout) if each]


def _pod(objects: list[dict[str, Any]]) -> dict[str, Any]:
    """The pod template of the server's Deployment."""
    for each in objects:
        if each["kind"] == "Deployment" and each["metadata"]["name"] == DEPLOYMENT:
            template: dict[str, Any] = each["spec"]["template"]
            if any(container["name"] == CONTAINER for container in template["spec"]["containers"]):
                return template
    raise VerificationError(f"the manifests render no Deployment {DEPLOYMENT} with a container {CONTAINER}")
