"""The model store: what goes in comes out, byte for byte, or nothing does; in a folder and on S3 alike."""

from __future__ import annotations

import hashlib
import http.client
import random
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mergeline.errors import ConfigurationError, MergelineError, ServiceError, VerificationError
from mergeline.release import store as store_module
from mergeline.release.model import format_list
from mergeline.release.shelf import Content
from mergeline.release.store import Store, model_of, open_store

MOTO_TRIES = 3  # it may close a part that it is asked for while the same one comes again, and say 500
BUCKET = "models"
PART = 5 << 20  # the least that S3 takes
LARGE = random.Random(7).randbytes(3 * PART + 1000)
ABSENT = "0" * 64


# ---- A wire between the client and S3 that counts and breaks ---------------------------------------------------------


@dataclass
class Wire:
    """A proxy before a server; `broken` may answer a request itself, with a status and a body, or cut it (None).

    Headers named in `dropped` do not arrive.
    """

    behind: tuple[str, int]
    seen: list[str] = field(default_factory=list)
    broken: Callable[[str, bytes], tuple[int, bytes] | None] | None = None
    dropped: tuple[str, ...] = ()
    url: str = ""

    def count(self, pattern: str) -> int:
        return sum(re.search(pattern, each) is not None for each in self.seen)


class Handler(BaseHTTPRequestHandler):
    """What a wire does with one connection; `wire` is set in a subclass."""

    protocol_version = "HTTP/1.1"
    wire: Wire

    def forward(self) -> None:
        body = self.body()
        line = f"{self.command} {self.path} {self.headers.get('Range', '')}".strip()
        self.wire.seen.append(line)
        answer = self.wire.broken(line, body) if self.wire.broken else (0, b"")
        if answer is None:
            self.close_connection = True
        elif answer[0]:
            self.answer(answer[0], [], answer[1])
        else:
            self.pass_on(body)

    def body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while length := int(self.rfile.readline().split(b";")[0], 16):
            pieces.append(self.rfile.read(length))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def pass_on(self, body: bytes) -> None:
        left_out = ("transfer-encoding", "content-length", "expect", *self.wire.dropped)
        headers = {key: value for key, value in self.headers.items() if key.lower() not in left_out}
        for _ in range(MOTO_TRIES):
            connection = http.client.HTTPConnection(*self.wire.behind, timeout=30)
            connection.request(self.command, self.path, body, {**headers, "Content-Length": str(len(body))})
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            if answer.status != HTTPStatus.INTERNAL_SERVER_ERROR:
                break
        self.answer(answer.status, answer.getheaders(), content)

    def answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        kept = {key.lower(): value for key, value in headers}
        for key in kept.keys() - {"transfer-encoding", "connection"}:
            self.send_header(key, kept[key])
        if "content-length" not in kept:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = forward  # noqa: N815  the names that http.server calls

    def log_message(self, *args: Any) -> None:
        pass


def refusal(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>planted</Message></Error>".encode()


@pytest.fixture(scope="module")
def moto() -> Iterator[tuple[str, int]]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield server.get_host_and_port()
    server.stop()


@pytest.fixture
def wire(moto: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """S3 by way of a wire, in the environment as boto3 reads it, with one bucket."""
    import boto3

    wire = Wire(moto)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Wired", (Handler,), {"wire": wire}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    wire.url = f"http://127.0.0.1:{server.server_port}"
    for name, value in {
        "AWS_ENDPOINT_URL": wire.url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "very-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    yield wire
    server.shutdown()
    server.server_close()


@dataclass
class Place:
    """A store and a way behind its back."""

    store: Store
    write: Callable[[str, bytes], None]
    keys: Callable[[], list[str]]


def folder_place(root: Path) -> Place:
    def write(key: str, content: bytes) -> None:
        path = root / "store/sha256" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(content)

    def keys() -> list[str]:
        return sorted(path.name for path in (root / "store").glob("sha256/*"))

    return Place(open_store("store", root, part_bytes=PART), write, keys)


def s3_place(root: Path) -> Place:
    import boto3

    client, prefix = boto3.client("s3"), f"{root.name}/deep"

    def write(key: str, content: bytes) -> None:
        client.put_object(Bucket=BUCKET, Key=f"{prefix}/sha256/{key}", Body=content)

    def keys() -> list[str]:
        found = client.list_objects_v2(Bucket=BUCKET, Prefix=f"{prefix}/sha256/").get("Contents", [])
        return sorted(each["Key"].rpartition("/")[2] for each in found)

    return Place(open_store(f"s3://{BUCKET}/{prefix}/", root, part_bytes=PART), write, keys)


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        return folder_place(tmp_path)
    request.getfixturevalue("wire")
    return s3_place(tmp_path)


@pytest.fixture
def cloud(wire: Wire, tmp_path: Path) -> Place:
    return s3_place(tmp_path)


def file_with(root: Path, content: bytes, name: str = "file") -> Path:
    path = root / name
    path.write_bytes(content)
    return path


def model_folder(root: Path, large: bytes = b"weights") -> Path:
    folder = root / "made"
    folder.mkdir()
    for name, content in {"model.onnx": large, "signature.json": b"{}", "copy.json": b"{}", "empty": b""}.items():
        (folder / name).write_bytes(content)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def one_line(kind: type[MergelineError], words: str) -> Any:
    return pytest.raises(kind, match=rf"\A[^\n]*{words}[^\n]*\Z")


def left_beside(path: Path) -> list[str]:
    return sorted(each.name for each in path.parent.glob(".mergeline-*"))


# ---- What goes in comes out ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"weights", LARGE], ids=["empty", "small", "in parts"])
def test_a_file_comes_out_as_it_went_in(place: Place, tmp_path: Path, content: bytes) -> None:
    key = place.store.put(file_with(tmp_path, content))
    assert key == sha256(content)
    place.store.verify(key)
    place.store.get(key, tmp_path / "out/file")
    assert contents(tmp_path / "out") == {"file": content}


def test_a_model_comes_out_as_it_went_in_and_its_hash_is_that_of_its_list(place: Place, tmp_path: Path) -> None:
    made = model_folder(tmp_path, LARGE)
    model = place.store.put_model(made)
    assert model == model_of(made)
    assert sorted({model.sha256, *(file.sha256 for file in model.files)}) == place.keys()
    assert place.store.verify_model(model.sha256) == model
    assert place.store.get_model(model.sha256, tmp_path / "out/model") == model
    assert contents(tmp_path / "out/model") == contents(made)
    assert left_beside(tmp_path / "out/model") == []


def test_putting_the_same_again_changes_nothing(place: Place, tmp_path: Path) -> None:
    made = model_folder(tmp_path)
    first = place.store.put_model(made)
    before = place.keys()
    assert place.store.put_model(made) == first
    assert place.keys() == before


def test_two_puts_at_the_same_moment_both_succeed(place: Place, tmp_path: Path) -> None:
    made, together = model_folder(tmp_path, LARGE), threading.Barrier(2)

    def put(_: int) -> str:
        together.wait()
        return place.store.put_model(made).sha256

    with ThreadPoolExecutor(2) as pool:
        assert set(pool.map(put, range(2))) == {model_of(made).sha256}
    place.store.verify_model(model_of(made).sha256)


def test_two_gets_at_the_same_moment_both_succeed(place: Place, tmp_path: Path) -> None:
    model, together = place.store.put_model(model_folder(tmp_path)), threading.Barrier(2)

    def get(number: int) -> None:
        together.wait()
        place.store.get_model(model.sha256, tmp_path / f"out/{number}")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(get, range(2)))
    assert [model_of(tmp_path / f"out/{number}") for number in range(2)] == [model, model]
    assert left_beside(tmp_path / "out/model") == []


def test_a_folder_that_holds_the_model_is_left_alone_and_another_model_is_replaced(
    place: Place, tmp_path: Path
) -> None:
    model, out = place.store.put_model(model_folder(tmp_path)), tmp_path / "out"
    place.store.get_model(model.sha256, out)
    before = out.stat().st_ino
    place.store.get_model(model.sha256, out)
    assert out.stat().st_ino == before
    (out / "model.onnx").write_bytes(b"another")
    place.store.get_model(model.sha256, out)
    assert model_of(out) == model


def test_a_folder_of_other_things_is_not_replaced(place: Place, tmp_path: Path) -> None:
    model, home = place.store.put_model(model_folder(tmp_path)), tmp_path / "home"
    (home / "photographs").mkdir(parents=True)
    with one_line(ConfigurationError, "holds more than the files of a model"):
        place.store.get_model(model.sha256, home)
    assert (home / "photographs").is_dir()


# ---- Planted failures ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Forged(Content):
    """Bytes on their way to a key that is not theirs, past every check on this side."""

    def parts(self) -> Iterator[bytes]:
        content = self.file.read_bytes()
        for start in range(0, len(content), self.part_bytes):
            yield content[start : start + self.part_bytes]


def forged(root: Path, content: bytes) -> Forged:
    other = content[:-1] + bytes([content[-1] ^ 1])
    return Forged(file_with(root, other, "forged"), sha256(content), len(content), PART)


@pytest.mark.parametrize("content", [b"weights", LARGE], ids=["small", "in parts"])
def test_s6_a_second_put_with_other_bytes_is_refused_and_the_first_bytes_stay(
    place: Place, tmp_path: Path, content: bytes
) -> None:
    key = place.store.put(file_with(tmp_path, content))
    assert place.store.shelf.create(forged(tmp_path, content)) is False
    place.store.verify(key)


@pytest.mark.parametrize("content", [b"weights", LARGE], ids=["small", "in parts"])
def test_s6_twin_without_the_condition_the_second_put_lands(
    cloud: Place, wire: Wire, tmp_path: Path, content: bytes
) -> None:
    key = cloud.store.put(file_with(tmp_path, content))
    wire.dropped = ("if-none-match", "x-amz-checksum-sha256")
    assert cloud.store.shelf.create(forged(tmp_path, content)) is True
    with one_line(VerificationError, "holds other bytes"):
        cloud.store.verify(key)


@pytest.mark.parametrize("planted", [b"weightz", b"longer than that"], ids=["same size", "another size"])
def test_s6_a_squatted_key_is_an_alarm(place: Place, tmp_path: Path, planted: bytes) -> None:
    place.write(sha256(b"weights"), planted)
    with one_line(VerificationError, "holds other bytes under sha256/.*somebody replaced or squatted them"):
        place.store.put(file_with(tmp_path, b"weights"))


@pytest.mark.parametrize(
    "tamper",
    [
        pytest.param(lambda content: bytes([content[0] ^ 1]) + content[1:], id="a flipped bit in the first part"),
        pytest.param(lambda content: content[:-1] + bytes([content[-1] ^ 1]), id="a flipped bit in the last part"),
        pytest.param(lambda content: content[:-5], id="cut short"),
        pytest.param(lambda content: content + b"more", id="longer"),
        pytest.param(lambda content: b"", id="empty"),
    ],
)
def test_r1_bytes_that_were_tampered_with_in_the_store_never_come_out(
    place: Place, tmp_path: Path, tamper: Callable[[bytes], bytes]
) -> None:
    model = place.store.put_model(model_folder(tmp_path, LARGE))
    place.write(sha256(LARGE), tamper(LARGE))
    for ask in (
        lambda: place.store.verify(sha256(LARGE)),
        lambda: place.store.get(sha256(LARGE), tmp_path / "out/file"),
        lambda: place.store.verify_model(model.sha256),
        lambda: place.store.get_model(model.sha256, tmp_path / "out/model"),
    ):
        with one_line(VerificationError, "holds other bytes"):
            ask()
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


def test_r1_a_tampered_list_is_refused(place: Place, tmp_path: Path) -> None:
    model = place.store.put_model(model_folder(tmp_path))
    evil = place.store.put(file_with(tmp_path, b"evil"))
    listed = format_list(model.files).replace(sha256(b"weights"), evil)
    place.write(model.sha256, listed.encode())
    with one_line(VerificationError, "holds other bytes"):
        place.store.get_model(model.sha256, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_not_there_is_named(place: Place, tmp_path: Path) -> None:
    for ask in (
        lambda: place.store.verify(ABSENT),
        lambda: place.store.get(ABSENT, tmp_path / "out/file"),
        lambda: place.store.get_model(ABSENT, tmp_path / "out/model"),
    ):
        with one_line(VerificationError, f"the store does not hold sha256/{ABSENT}"):
            ask()
    assert not (tmp_path / "out").exists()


def test_a_model_that_lacks_a_file_is_not_given_in_part(place: Place, tmp_path: Path) -> None:
    made = model_folder(tmp_path)
    listed = file_with(tmp_path, format_list(model_of(made).files).encode(), "list")
    place.store.put(made / "model.onnx")
    key = place.store.put(listed)
    with one_line(VerificationError, "does not hold"):
        place.store.get_model(key, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"weights", b"\xff\xfe", b"\0" * (2 << 20)], ids=["text", "bytes", "large"])
def test_a_file_is_not_taken_for_a_model(place: Place, tmp_path: Path, content: bytes) -> None:
    key = place.store.put(file_with(tmp_path, content))
    with pytest.raises(VerificationError):
        place.store.verify_model(key)


@pytest.mark.parametrize("key", ["", "model", "A" * 64, "../" + "a" * 61, "a" * 64 + "\n"])
def test_only_a_hash_is_a_key(place: Place, tmp_path: Path, key: str) -> None:
    with one_line(VerificationError, "is no SHA-256"):
        place.store.get(key, tmp_path / "out")


@pytest.mark.parametrize("content", [b"weights", LARGE], ids=["small", "in parts"])
def test_a_file_that_changes_while_it_is_put_does_not_land_under_a_wrong_key(
    place: Place, tmp_path: Path, content: bytes
) -> None:
    changed = file_with(tmp_path, content[:-1] + bytes([content[-1] ^ 1]))
    with one_line(VerificationError, "changed while it was put"):
        place.store.shelf.create(Content(changed, sha256(content), len(content), PART))
    assert place.keys() == []


def test_the_list_is_put_last(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A put that fails at any file leaves no list, and so no model that lacks a file."""
    made, put = model_folder(tmp_path), Store._put

    def fail(store: Store, path: Path, file: Any) -> None:
        if file.name == "signature.json":
            raise ServiceError("planted")
        put(store, path, file)

    monkeypatch.setattr(store_module.Store, "_put", fail)
    with one_line(ServiceError, "planted"):
        place.store.put_model(made)
    keys = place.keys()
    assert model_of(made).sha256 not in keys


def test_a_get_that_was_killed_leaves_no_half_of_a_model(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = model_folder(tmp_path, LARGE)
    model, read, asked = place.store.put_model(made), type(place.store.shelf).read, []

    def killed(shelf: Any, key: str, start: int, length: int) -> bytes:
        if key == sha256(LARGE):
            asked.append(start)
            if start == PART:
                raise KeyboardInterrupt
        return read(shelf, key, start, length)

    monkeypatch.setattr(type(place.store.shelf), "read", killed)
    with pytest.raises(KeyboardInterrupt):
        place.store.get_model(model.sha256, tmp_path / "out/model")
    assert not (tmp_path / "out/model").exists()
    monkeypatch.undo()
    place.store.get_model(model.sha256, tmp_path / "out/model")
    assert model_of(tmp_path / "out/model") == model
    assert left_beside(tmp_path / "out/model") == []


# ---- A folder --------------------------------------------------------------------------------------------------------


def test_a_file_in_the_folder_store_is_read_only_and_nothing_lies_beside_it(tmp_path: Path) -> None:
    key = open_store("store", tmp_path).put(file_with(tmp_path, b"weights"))
    assert [(path.name, path.stat().st_mode & 0o777) for path in tmp_path.glob("store/sha256/*")] == [(key, 0o444)]


@pytest.mark.parametrize("link", ["key", "keys"])
def test_no_link_leads_out_of_the_folder_store(tmp_path: Path, link: str) -> None:
    secret = file_with(tmp_path, b"secret")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / sha256(b"secret")).write_bytes(b"secret")
    (tmp_path / "store").mkdir()
    if link == "keys":
        (tmp_path / "store/sha256").symlink_to(outside)
    else:
        (tmp_path / "store/sha256").mkdir()
        (tmp_path / "store/sha256" / sha256(b"secret")).symlink_to(secret)
    store = open_store("store", tmp_path)
    for ask in (
        lambda: store.verify(sha256(b"secret")),
        lambda: store.get(sha256(b"secret"), tmp_path / "out"),
        lambda: store.put(secret),
    ):
        with one_line(VerificationError, "a link or no plain file"):
            ask()
    assert not (tmp_path / "out").exists()


def test_a_store_is_named_in_four_ways_and_keeps_its_name(tmp_path: Path) -> None:
    key = open_store("a store", tmp_path).put(file_with(tmp_path, b"weights"))
    address = (tmp_path / "a store").as_uri()
    for url in ("a store", str(tmp_path / "a store"), address):
        store = open_store(url, tmp_path)
        store.verify(key)
        assert store.url == url
    assert open_store("s3://models/a//", tmp_path).url == "s3://models/a"


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            " ",
            "gs://bucket",
            "https://host/store",
            "s3:/bucket",
            "s3://",
            "s3://UPPER",
            "s3://key:secret@bucket/x",
        ),
        *("s3://bucket/../x", "s3://bucket/x?y", "file://host/x", "file://", "C:\\store", "a\0b"),
    ],
)
def test_any_other_address_is_refused_and_its_account_is_not_shown(tmp_path: Path, url: str) -> None:
    with one_line(ConfigurationError, "release.store") as err:
        open_store(url, tmp_path)
    assert "secret" not in str(err.value)


def test_a_folder_that_cannot_be_written_is_a_service_that_failed(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"a file where the folder should be")
    with pytest.raises(MergelineError, match="store"):
        open_store("store", tmp_path).put(file_with(tmp_path, b"weights"))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with one_line(ConfigurationError, "nowhere: No such file"):
        open_store("store", tmp_path).put(tmp_path / "nowhere")


def hasty(store: Store) -> Store:
    """The same store on S3, without pauses."""
    shelf: Any = store.shelf
    return replace(store, shelf=replace(shelf, backoff_s=0.0))


# ---- S3 --------------------------------------------------------------------------------------------------------------


def test_an_upload_that_came_second_is_removed(cloud: Place, tmp_path: Path) -> None:
    import boto3

    cloud.store.put(file_with(tmp_path, LARGE))
    cloud.store.shelf.create(forged(tmp_path, LARGE))
    uploads = boto3.client("s3").list_multipart_uploads(Bucket=BUCKET, Prefix=f"{tmp_path.name}/").get("Uploads", [])
    assert uploads == []


def test_an_interrupted_get_fetches_only_the_parts_that_it_lacks(cloud: Place, wire: Wire, tmp_path: Path) -> None:
    key, out = cloud.store.put(file_with(tmp_path, LARGE)), tmp_path / "out"
    lonely = open_store(cloud.store.url, tmp_path, part_bytes=PART, workers=1)
    wire.broken = lambda line, body: (500, b"") if f"bytes={2 * PART}-" in line else (0, b"")
    with one_line(ServiceError, "GetObject"):
        lonely.get(key, out)
    assert not out.exists()
    wire.broken, wire.seen = None, []
    lonely.get(key, out)
    assert out.read_bytes() == LARGE
    assert wire.count("^GET .* bytes=") == 2, "four parts, of which two had arrived"
    assert left_beside(out) == []


def test_what_is_left_of_an_interrupted_get_is_not_trusted(cloud: Place, wire: Wire, tmp_path: Path) -> None:
    key, out = cloud.store.put(file_with(tmp_path, LARGE)), tmp_path / "out"
    lonely = open_store(cloud.store.url, tmp_path, part_bytes=PART, workers=1)
    wire.broken = lambda line, body: (500, b"") if f"bytes={2 * PART}-" in line else (0, b"")
    with pytest.raises(ServiceError):
        lonely.get(key, out)
    (partial,) = tmp_path.glob(".mergeline-*/*.partial")
    with partial.open("r+b") as file:
        file.write(b"planted")
    wire.broken, wire.seen = None, []
    lonely.get(key, out)
    assert out.read_bytes() == LARGE
    assert wire.count("^GET .* bytes=") == 2 + 4, "the rest, and then all of it once anew"


def test_a_body_that_breaks_off_is_asked_for_again(cloud: Place, wire: Wire, tmp_path: Path) -> None:
    key, cut = cloud.store.put(file_with(tmp_path, LARGE)), list[str]()

    def cut_once(line: str, body: bytes) -> tuple[int, bytes] | None:
        if f"bytes={PART}-" in line and not cut:
            cut.append(line)
            return None
        return 0, b""

    wire.broken = cut_once
    cloud.store.get(key, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == LARGE
    assert len(cut) == 1


def test_an_interrupted_put_uploads_only_the_parts_that_it_lacks(cloud: Place, wire: Wire, tmp_path: Path) -> None:
    lonely = open_store(cloud.store.url, tmp_path, part_bytes=PART, workers=1)
    large = file_with(tmp_path, LARGE)
    wire.broken = lambda line, body: (500, b"") if "partNumber=3" in line else (0, b"")
    with one_line(ServiceError, "UploadPart"):
        lonely.put(large)
    assert cloud.keys() == []
    wire.broken, wire.seen = None, []
    key = lonely.put(large)
    assert wire.count("^PUT .*partNumber=") == 2, "four parts, of which two had arrived"
    assert wire.count(r"^POST .*uploads") == 0, "no second upload was begun"
    lonely.verify(key)


def test_parts_of_other_bytes_are_not_built_upon(cloud: Place, wire: Wire, tmp_path: Path) -> None:
    """Somebody who may write uploads has begun one for this key, with other bytes in it."""
    import boto3

    client, key = boto3.client("s3"), sha256(LARGE)
    named = {"Bucket": BUCKET, "Key": f"{tmp_path.name}/deep/sha256/{key}"}
    upload = client.create_multipart_upload(**named)["UploadId"]
    client.upload_part(**named, UploadId=upload, PartNumber=1, Body=b"x" * PART)
    client.upload_part(**named, UploadId=upload, PartNumber=5, Body=b"x" * PART)
    assert cloud.store.put(file_with(tmp_path, LARGE)) == key
    cloud.store.verify(key)


@pytest.mark.parametrize(
    ("content", "request_line"), [(b"weights", "^PUT "), (LARGE, "^POST .*uploadId=")], ids=["whole", "in parts"]
)
def test_a_write_that_collides_is_tried_again(
    cloud: Place, wire: Wire, tmp_path: Path, content: bytes, request_line: str
) -> None:
    collided: list[str] = []

    def collide(line: str, body: bytes) -> tuple[int, bytes]:
        if re.search(request_line, line) and len(collided) < 2:
            collided.append(line)
            return 409, refusal("ConditionalRequestConflict")
        return 0, b""

    wire.broken = collide
    cloud.store.verify(hasty(cloud.store).put(file_with(tmp_path, content)))
    assert len(collided) == 2


def test_a_write_that_collides_for_ever_is_given_up(cloud: Place, wire: Wire, tmp_path: Path) -> None:
    wire.broken = lambda line, body: (
        (409, refusal("ConditionalRequestConflict")) if line.startswith("PUT") else (0, b"")
    )
    with one_line(ServiceError, "other writes came in between"):
        hasty(cloud.store).put(file_with(tmp_path, b"weights"))


def test_files_of_a_model_are_fetched_in_parts_that_are_hashed_whole(cloud: Place, wire: Wire, tmp_path: Path) -> None:
    model = cloud.store.put_model(model_folder(tmp_path, LARGE))
    wire.seen = []
    cloud.store.get_model(model.sha256, tmp_path / "out")
    assert wire.count("^GET .* bytes=") == 1 + 4 + 2, "the list, four parts, two small files; the empty one needs none"


def test_r1_a_byte_that_flips_on_the_way_is_refused(cloud: Place, wire: Wire, tmp_path: Path) -> None:
    key = cloud.store.put(file_with(tmp_path, b"weights"))
    wire.broken = lambda line, body: (206, b"weightz") if " bytes=" in line else (0, b"")
    with one_line(VerificationError, "holds other bytes"):
        cloud.store.get(key, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("status", [403, 500, 503])
def test_a_refusal_and_a_server_in_trouble_are_services_that_failed(
    cloud: Place, wire: Wire, tmp_path: Path, status: int
) -> None:
    key = cloud.store.put(file_with(tmp_path, b"weights"))
    wire.broken = lambda line, body: (status, refusal("AccessDenied"))
    for ask in (
        lambda: cloud.store.get(key, tmp_path / "out"),
        lambda: cloud.store.verify(key),
        lambda: cloud.store.put(file_with(tmp_path, b"others")),
    ):
        with one_line(ServiceError, "was refused") as err:
            ask()
        assert "very-secret" not in str(err.value)


def test_a_server_that_is_down_is_a_service_that_failed(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://account:very-secret@127.0.0.1:9")
    with one_line(ServiceError, "Could not connect") as err:
        open_store(f"s3://{BUCKET}", Path()).verify(ABSENT)
    assert "very-secret" not in str(err.value)


def test_a_bucket_that_is_not_there_is_not_taken_for_a_missing_key(wire: Wire) -> None:
    with one_line(ServiceError, "NoSuchBucket"):
        open_store("s3://nowhere", Path()).verify(ABSENT)


def test_without_credentials_the_service_is_said_to_have_failed(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with one_line(ServiceError, "credentials"):
        open_store(f"s3://{BUCKET}", tmp_path).verify(ABSENT)


def test_an_endpoint_that_is_no_address_is_a_setting_that_is_wrong(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "not an address")
    with one_line(ConfigurationError, "AWS_ENDPOINT_URL"):
        open_store(f"s3://{BUCKET}", Path())


# ---- Signatures ------------------------------------------------------------------------------------------------------


def test_s6_a_signature_is_kept_under_its_model_and_signer_and_not_replaced(place: Place) -> None:
    model, one, other = "a" * 64, "b" * 64, "c" * 64
    assert place.store.attached(model, one) is None
    assert place.store.attach(model, one, b"first")
    assert not place.store.attach(model, one, b"second")
    assert place.store.attach(model, other, b"another's")
    assert [place.store.attached(model, signer) for signer in (one, other)] == [b"first", b"another's"]


def test_a_signature_is_no_file_of_a_model(place: Place) -> None:
    place.store.attach("a" * 64, "b" * 64, b"signature")
    assert place.keys() == []
    with pytest.raises(VerificationError, match="does not hold"):
        place.store.verify("a" * 64)


def test_a_bucket_that_is_not_there_keeps_no_signature_and_says_so(cloud: Place, tmp_path: Path) -> None:
    nowhere = open_store("s3://no-such-bucket/x", tmp_path)
    with pytest.raises(ServiceError, match="PutObject was refused"):
        nowhere.attach("a" * 64, "b" * 64, b"signature")
