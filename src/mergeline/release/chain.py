"""From the commit to the server that answers: each link of a release compared with the next one."""

from __future__ import annotations

import hashlib
import http.client
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from mergeline import git
from mergeline.errors import ConfigurationError, DataError, ServiceError, VerificationError
from mergeline.layout import COMPARISON, EVALUATION, LOCK, OVERLAYS, RECEIPT, STAGING
from mergeline.release.evidence import parse_judgement
from mergeline.release.manifests import NO_RELEASE, Release, parse_release
from mergeline.release.pods import refuse_other
from mergeline.release.receipt import Receipt
from mergeline.release.records import deployments, receipt_of, retirements
from mergeline.release.retirement import Phase

SIGNING_KEY = "signing.pub"
TIMEOUT_S = 10.0
RENDER_TIMEOUT_S = 60.0
LARGEST_METRICS_BYTES = 16 << 20
_INFO = re.compile(r"^mergeline_model_info\{([^}\n]*)\} (\d+(?:\.\d+)?)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"\n]*)"')


class State(StrEnum):
    """Whether two ends of a link are the same."""

    HELD = "held"
    BROKEN = "BROKEN"
    SKIPPED = "skipped"
    UNKNOWN = "unknown"  # somebody who had to be asked did not answer


@dataclass(frozen=True, slots=True)
class Link:
    """One comparison of the chain, and what it found; one that was skipped says why, and proves nothing."""

    name: str
    state: State
    said: str
    exit_code: int = 0  # of one that is unknown


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

        Raises `ConfigurationError` where there is no release.
        """
        content = git.read(self.root, self.commit, self.path)
        try:
            release = NO_RELEASE if content is None else parse_release(content.decode("utf-8", "replace"))
        except VerificationError as err:
            yield Link("manifest", State.BROKEN, str(err))
            return
        if not release.is_release:
            raise ConfigurationError(f"{self.path}: no release yet, there is nothing to verify and nothing to deploy")
        yield self._link("commit", self._committed)
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
        except (ConfigurationError, DataError, ServiceError) as err:
            return Link(name, State.UNKNOWN, str(err), err.exit_code)

    # ---- In Git ----------------------------------------------------------------------------------------------------

    def _committed(self) -> str:
        own = "k8s"
        changed = [each for each in git.changed_files(self.root) if each.startswith(f"{own}/")]
        changed += git.untracked(self.root, [own])
        if changed:
            raise VerificationError(f"{changed[0]} is not as commit {self.commit[:12]} has it; commit it or restore it")
        return f"the manifests are as commit {self.commit[:12]} has them"

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
        """What made the release fit for its environment: a verdict on its model, and for production staging before."""
        content = git.read(self.root, recorded, COMPARISON) if recorded else None
        judgement = parse_judgement(content, str(release.model_sha256))
        if judgement is None or judgement.verdict != "promote":
            found = "there is none on this model" if judgement is None else f"it was {judgement.verdict}"
            raise VerificationError(f"no verdict promoted model {str(release.model_sha256)[:12]}: {found}; retrain")
        if self.environment == STAGING.parent.name:
            return "its verdict was promote"
        place = {each.sha: number for number, each in enumerate(git.commits(self.root, self.commit))}
        staged, served = (
            [place[each.commit] for each in deployments(self.root, self.commit, path) if each.release == release]
            for path in (STAGING, self.path)
        )
        if not staged or not served or staged[0] > served[-1]:
            raise VerificationError(
                f"{self.environment} serves what staging never served before; promote it from there"
            )
        return "its verdict was promote, and staging served it first"

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

    @property
    def _key(self) -> bytes | None:
        """The public key that the overlay holds at this commit."""
        return git.read(self.root, self.commit, OVERLAYS / self.environment / SIGNING_KEY)

    def _signed(self, release: Release) -> str:
        from mergeline.release.signing import fingerprint, parse_public_key, require_signature
        from mergeline.release.store import open_store

        name = f"{OVERLAYS / self.environment / SIGNING_KEY}"
        if self._key is None:
            raise _Skipped(f"{name}: there is no key, so that no signature is asked for")
        store = open_store(str(release.store), self.root)
        public = parse_public_key(name, self._key)
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
        refuse_other(render(overlay), release, signed=self._key is not None)
        return f"{self.environment}'s manifests render this release, and its pods read it"

    def _live(self, release: Release) -> str:
        if self.url is None:
            raise _Skipped("no address given; --url asks the server")
        served = models_of(self.url)
        own = served.get("champion", "none")
        if own != release.model_sha256:
            raise VerificationError(
                f"{self.url} serves model {own[:12]}, expected {str(release.model_sha256)[:12]}; see the rollout"
            )
        others = "".join(f", beside {name} {sha256[:12]}" for name, sha256 in served.items() if name != "champion")
        return f"{self.url} serves model {own[:12]}{others}"


class _Skipped(Exception):
    """A link that cannot be compared here, and why."""


def served_by(url: str) -> str:
    """Return the SHA-256 of the model that a server's champion is; `ServiceError` where it does not say."""
    return models_of(url)["champion"]


def models_of(url: str) -> dict[str, str]:
    """Return the SHA-256 of each model that a server serves, by its variant; there is one champion.

    Raises `ConfigurationError` for what is no address, `ServiceError` where no server of this kind answers.
    """
    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(f"--url: expected http:// or https://, found {url!r}")
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/metrics", timeout=TIMEOUT_S) as answer:  # noqa: S310 - checked above
            text = answer.read(LARGEST_METRICS_BYTES).decode("utf-8", "replace")
    except http.client.InvalidURL as err:
        raise ConfigurationError(f"--url: {url!r} is no address ({err})") from err
    except (OSError, ValueError, http.client.HTTPException) as err:
        raise ServiceError(f"{url}: the server does not answer ({err!r:.200}); see whether it runs") from err
    found: dict[str, str] = {}
    for labels, value in _INFO.findall(text):
        named = dict(_LABEL.findall(labels))
        if float(value) != 1 or named.get("variant") in found:
            raise ServiceError(f"{url}: its metrics name several models in one place; see who answers there")
        found[named.get("variant", "")] = named.get("sha256", "")
    if "champion" not in found:
        raise ServiceError(f"{url}: no server of this kind; its metrics name no model")
    return found


def render(overlay: Path) -> list[dict[str, Any]]:
    """Return the objects that an overlay renders to; `_Skipped` without kubectl, `VerificationError` where it fails."""
    from ruamel.yaml import YAML

    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise _Skipped("kubectl is not installed, so that the manifests are not rendered")
    command = [kubectl, "kustomize", str(overlay)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=RENDER_TIMEOUT_S)
    except subprocess.TimeoutExpired as err:
        raise ServiceError(f"{overlay}: kustomize takes more than {RENDER_TIMEOUT_S:g} s; see what it fetches") from err
    if done.returncode:
        raise VerificationError(f"{overlay}: kustomize does not render it ({' '.join(done.stderr.split())[:300]})")
    return [each for each in YAML(typ="safe").load_all(done.stdout) if each]
