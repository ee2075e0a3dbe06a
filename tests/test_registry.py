"""What a registry says of an image is compared with the image's own digest."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

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
        with pytest.raises(ServiceError, match="wants a login; set MERGELINE_REGISTRY_USER"):
            verify_image(image, NOBODY)
        with pytest.raises(ServiceError, match="refuses the login"):
            verify_image(image, {"MERGELINE_REGISTRY_USER": "team", "MERGELINE_REGISTRY_PASSWORD": "wrong"})
        with pytest.raises(VerificationError, match="holds no image"):
            verify_image(image, {"MERGELINE_REGISTRY_USER": "team", "MERGELINE_REGISTRY_PASSWORD": "secret"})


def test_a_registry_that_does_not_answer_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        host = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ServiceError, match="does not answer"):
        verify_image(f"{host}/team/server@sha256:{'0' * 64}", NOBODY)
