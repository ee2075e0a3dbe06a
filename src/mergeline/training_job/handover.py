"""What goes to a training Job and comes back: a Git bundle there, dvc.lock and the records of a list from there.

The model itself goes by the DVC remote. dvc.lock says for which inputs it was made, so that results of other inputs are
of no use to anybody: DVC runs such a stage again.
"""

from __future__ import annotations

import json
import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mergeline import files, git, logstore, pipeline
from mergeline.address import FolderAddress, parse_address
from mergeline.errors import ConfigurationError, ServiceError, VerificationError
from mergeline.layout import LOCK, RECORDS
from mergeline.release.s3 import answering
from mergeline.training_job.manifest import JOBS

logger = logging.getLogger(__name__)

MADE_ONCE = ("validate", "train")  # what is worth a machine of its own; to judge again is quick


@dataclass(frozen=True, slots=True)
class Handover:
    """The place of one commit, which both sides reach."""

    store: logstore.LogStore
    commit: str

    @property
    def bundle(self) -> str:
        """The address of the commit as a Git bundle."""
        return f"{self.store.url}/{self._bundle}"

    @property
    def _bundle(self) -> str:
        return f"{self.commit}/branch.bundle"

    @property
    def _results(self) -> str:
        return f"{self.commit}/results.json"

    def send(self, root: Path, base: str | None) -> None:
        """Put HEAD and the base there, with their histories: what is compared with whom is read from both."""
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "bundle"
            git.do(root, "bundle", "create", "--quiet", str(made), "HEAD", *([base] if base else []))
            self.store.put(self._bundle, made.read_bytes())

    def clear(self) -> None:
        """Take the bundle away; a role that may only add leaves it to whoever keeps the place."""
        try:
            if isinstance(self.store, logstore.FolderLog):
                (self.store.path / self._bundle).unlink(missing_ok=True)
            elif isinstance(self.store, logstore.S3Log):
                with answering(self.store.url):
                    self.store.client.delete_object(Bucket=self.store.bucket, Key=self.store.prefix + self._bundle)
        except (OSError, ServiceError) as err:
            logger.warning("warning: %s stays (%s)", self.bundle, " ".join(str(err).split()))

    def leave(self, root: Path) -> None:
        """Put dvc.lock and the records there, in one file; nothing where no stage has ever run."""
        if not (root / LOCK).exists():
            return
        held = {
            path.as_posix(): (root / path).read_text(encoding="utf-8") for path in RECORDS if (root / path).exists()
        }
        content = json.dumps({"commit": self.commit, "files": held}, indent=2, sort_keys=True)
        self.store.put(self._results, content.encode())

    def take(self, root: Path) -> bool:
        """Put the records that were left for this commit in place; return whether there were any."""
        if self._results not in self.store.keys(self._results):
            return False
        for path, text in _checked(self.store.read(self._results), self.commit, self.store.url).items():
            files.write_text(root / path, text)
        return True


def open_handover(url: str, root: Path, commit: str) -> Handover:
    """Return the place of a commit below `url`; raise `ConfigurationError` for one that no pod could reach."""
    address = parse_address(url, root, JOBS)
    if isinstance(address, FolderAddress):
        if not address.path.is_absolute() or address.path.resolve().is_relative_to(root.resolve()):
            raise ConfigurationError(
                f"{JOBS}: {url} is a folder of this checkout, which no pod reaches; name s3://bucket/prefix"
                " (`mergeline remote` does it for the data), or a folder that is mounted at both ends"
            )
        return Handover(logstore.FolderLog(str(address.path), address.path), commit)
    return Handover(logstore.open_log(url, root), commit)


def beside_the_data(root: Path) -> str:
    """Return where Jobs hand over by default: `jobs` below the DVC remote."""
    with pipeline.opened(root) as repo:
        config = repo.config
        name = config["core"].get("remote")
        url = config["remote"].get(name, {}).get("url") if name else None
    if not url:
        raise ConfigurationError(f"{JOBS}: not set, and there is no DVC remote; `mergeline remote URL` makes one")
    return f"{str(url).rstrip('/')}/jobs"


def why_train(root: Path) -> str:
    """Return why a model has to be made, or the data checked; nothing where both were done for what lies here."""
    stale = pipeline.stale(root)
    return "; ".join(f"{name}: {stale[name]}" for name in MADE_ONCE if name in stale)


def pull(root: Path) -> None:
    """Put what dvc.lock names in the place of what earlier runs made here; else DVC would make it again."""
    with pipeline.opened(root) as repo:
        repo.pull(targets=list(pipeline.STAGES), force=True, allow_missing=True)


def push(root: Path) -> None:
    """Send what the stages made to the DVC remote."""
    with pipeline.opened(root) as repo:
        repo.push(run_cache=True)


def _checked(content: bytes, commit: str, where: str) -> dict[str, str]:
    """The texts by their paths: those of a list, of this commit."""
    try:
        raw: Any = json.loads(content)
        texts = {str(path): text for path, text in raw["files"].items()}
        whose = raw["commit"]
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise VerificationError(f"{where}: results of {commit}: cannot be read ({err!r}); take them away") from err
    if whose != commit:
        raise VerificationError(f"{where}: results of {commit}: are those of {whose}; take them away")
    others = sorted(texts.keys() - {path.as_posix() for path in RECORDS})
    if others or not all(isinstance(text, str) for text in texts.values()):
        raise VerificationError(f"{where}: results of {commit}: hold more than records {others}; take them away")
    return texts
