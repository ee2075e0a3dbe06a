"""A real image registry on this machine, for one test."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools import tool

PATIENCE_S = 30.0
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True, slots=True)
class Registry:
    """Its address and the folder that it keeps everything in."""

    host: str
    folder: Path

    def push(self, name: str, content: bytes) -> str:
        """Push an image of one layer; return it by its digest."""
        layer, config = self._blob(name, content), self._blob(name, b"{}")
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}
        body = json.dumps(manifest).encode()
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        self._ask("PUT", f"/v2/{name}/manifests/{digest}", body, MANIFEST)
        return f"{self.host}/{name}@{digest}"

    def manifest(self, image: str) -> Path:
        """The file that holds the manifest of an image."""
        digest = image.rpartition(":")[2]
        return self.folder / "docker/registry/v2/blobs/sha256" / digest[:2] / digest / "data"

    def _blob(self, name: str, content: bytes) -> dict[str, object]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        place = self._ask("POST", f"/v2/{name}/blobs/uploads/", b"", "application/octet-stream")
        sign = "&" if "?" in place else "?"
        self._ask("PUT", f"{place}{sign}digest={digest}", content, "application/octet-stream")
        return {"mediaType": "application/octet-stream", "digest": digest, "size": len(content)}

    def _ask(self, method: str, place: str, body: bytes, kind: str) -> str:
        url = place if place.startswith("http") else f"http://{self.host}{place}"
        request = urllib.request.Request(url, body, {"Content-Type": kind}, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return str(answer.headers.get("Location", ""))


@contextmanager
def registry(folder: Path, htpasswd: str = "") -> Iterator[Registry]:
    """A registry that is ready; with the line of an htpasswd file it asks for a login."""
    (program,) = tool("docker-registry")
    folder.mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        host = f"127.0.0.1:{free.getsockname()[1]}"
    settings = {
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": host},
    }
    if htpasswd:
        (folder / "htpasswd").write_text(htpasswd)
        settings["auth"] = {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}
    (folder / "config.yml").write_text(json.dumps(settings))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", folder / "config.yml"], stdout=log, stderr=log)
    try:
        until = time.monotonic() + PATIENCE_S
        while not _answers(host):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < until, (folder / "log").read_text()
            time.sleep(0.02)
        yield Registry(host, folder / "data")
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def _answers(host: str) -> bool:
    try:
        urllib.request.urlopen(f"http://{host}/v2/", timeout=1).close()
    except urllib.error.HTTPError as err:
        return err.code == 401
    except OSError:
        return False
    return True
