"""What a registry says of an image is compared with the image's own digest."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from registry import Registry, registry

from mergeline.errors import ServiceError, VerificationError
from mergeline.release.registry import verify_image

NOBODY: dict[str, str] = {}
LOGIN = "team:$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n"  # bcrypt of "secret", at cost 4


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("registry") / "open") as made:
        yield made


def test_s10_an_image_that_the_registry_holds_is_verified(here: Registry) -> None:
    verify_image(here.push("team/server", b"one"), NOBODY)


def test_s10_twin_an_image_that_is_not_there_is_not(here: Registry) -> None:
    image = here.push("team/server", b"two")
    with pytest.raises(VerificationError, match=r"holds no image team/server@sha256:0000"):
        verify_image(image.rpartition(":")[0] + ":" + "0" * 64, NOBODY)


def test_s10_twin_other_bytes_under_a_digest_are_found(here: Registry) -> None:
    """The registry itself does not look: what lies under the digest is what it gives."""
    image = here.push("team/server", b"three")
    file = here.manifest(image)
    file.write_bytes(file.read_bytes().replace(b'"schemaVersion": 2', b'"schemaVersion":  2'))
    with pytest.raises((VerificationError, ServiceError), match=r"holds other bytes|answers 5"):
        verify_image(image, NOBODY)


def test_a_login_is_given_where_the_registry_asks_for_one(tmp_path: Path) -> None:
    with registry(tmp_path / "closed", LOGIN) as closed:
        image = f"{closed.host}/team/server@sha256:{'0' * 64}"
        team = {"MERGELINE_REGISTRY_USER": "team", "MERGELINE_REGISTRY_PASSWORD": "secret"}
        for nobody in (
            NOBODY,
            team,
            {**team, "MERGELINE_REGISTRY_HOST": "ghcr.io"},
        ):  # the password is for another host
            with pytest.raises(ServiceError, match="wants a login; set MERGELINE_REGISTRY_HOST"):
                verify_image(image, nobody)
        team["MERGELINE_REGISTRY_HOST"] = closed.host
        with pytest.raises(ServiceError, match="refuses the login"):
            verify_image(image, {**team, "MERGELINE_REGISTRY_PASSWORD": "wrong"})
        with pytest.raises(VerificationError, match="holds no image"):
            verify_image(image, team)


class Elsewhere(http.server.BaseHTTPRequestHandler):
    """A registry that sends clients elsewhere, cuts its answers short, or speaks no HTTP."""

    heard: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        self.heard.append(self.headers.get("Authorization"))
        if self.path.startswith("/v2/short/"):
            self.send_response(200)
            self.send_header("Content-Length", "500")
            self.end_headers()
            self.wfile.write(b"{}")
        elif self.path.startswith("/v2/junk/"):
            self.wfile.write(b"\x16\x03\x01\r\n\r\n")
        elif self.headers.get("Authorization") is None and self.path.startswith("/v2/away/"):
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic")
            self.end_headers()
        else:
            self.send_response(307)
            port = self.connection.getsockname()[1]
            self.send_header("Location", f"http://localhost:{port}/there")
            self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def elsewhere() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_login_does_not_follow_to_another_host(elsewhere: str) -> None:
    Elsewhere.heard.clear()
    login = {"HOST": elsewhere, "USER": "team", "PASSWORD": "secret"}
    with pytest.raises(ServiceError):
        verify_image(
            f"{elsewhere}/away/server@sha256:{'0' * 64}", {f"MERGELINE_REGISTRY_{k}": v for k, v in login.items()}
        )
    assert Elsewhere.heard[0] is None
    assert str(Elsewhere.heard[1]).startswith("Basic ")
    assert Elsewhere.heard[2:]
    assert set(Elsewhere.heard[2:]) == {None}


@pytest.mark.parametrize("name", ["short", "junk"])
def test_an_answer_that_is_none_is_said_and_no_attack(name: str, elsewhere: str) -> None:
    with pytest.raises(ServiceError, match=r"of 500 bytes came|does not answer"):
        verify_image(f"{elsewhere}/{name}/server@sha256:{'0' * 64}", NOBODY)


def test_a_registry_that_does_not_answer_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        host = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ServiceError, match="does not answer"):
        verify_image(f"{host}/team/server@sha256:{'0' * 64}", NOBODY)
