"""What is not, byte for byte and score for score, what was reviewed is never served, and never executed."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import pickle
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from servers import (
    STORE,
    Released,
    command,
    environment,
    release,
    release_folder,
    run,
    serving,
    started,
    with_other_scores,
    with_signature,
    write_model,
)

from mergeline.release import fetch as release_fetch
from mergeline.release import signing
from mergeline.release.manifests import parse_release
from mergeline.release.model import format_list
from mergeline.release.receipt import SERVING_CONTRACT
from mergeline.release.signers import KeyFile
from mergeline.release.store import open_store
from mergeline.schema import MODEL_FILE, SIGNATURE_FILE, KnownSample

if TYPE_CHECKING:
    from mergeline.stages.train import Trained

FILES = ("list", MODEL_FILE, SIGNATURE_FILE)


@dataclass(frozen=True, slots=True)
class Canary:
    """What writes a file when it is unpickled."""

    path: Path

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.path}",)

    @property
    def pickle(self) -> bytes:
        return pickle.dumps(self)

    @property
    def sang(self) -> bool:
        return self.path.exists()


@pytest.fixture
def canary(tmp_path: Path) -> Canary:
    return Canary(tmp_path / "canary")


@pytest.fixture(scope="module")
def honest(candidate: Trained, tmp_path_factory: pytest.TempPathFactory) -> Released:
    return release(tmp_path_factory.mktemp("honest"), candidate)


@pytest.fixture
def released(honest: Released, tmp_path: Path) -> Released:
    """A copy of the honest release for one test."""
    root = tmp_path / "repository"
    shutil.copytree(honest.root, root, ignore=shutil.ignore_patterns("stderr.*", ".mergeline"))
    return Released(root, honest.sha256, root / honest.file.name, honest.signature)


def overwrite(path: Path, content: bytes) -> None:
    """Put other bytes in a file that is read-only."""
    path.chmod(0o644)
    path.write_bytes(content)


def never_ready(released: Released, *options: str, code: int = 6, loaded: bool = False) -> str:
    """The reason of a server that ends with a code: its last line, and beside lines of its log its only one.

    Unless bytes were `loaded`, which is right where all hashes are, not even the means to do it were imported.
    """
    named = (*released.options, "--log", "none", *options)
    line = command(released.root, "serve", "--port", "0", *named)
    traced = [line[0], "-X", "importtime", *line[1:]]
    done = subprocess.run(traced, env=environment(), capture_output=True, text=True, check=False, timeout=60)
    said = [each for each in done.stderr.splitlines() if not each.startswith("import time:")]
    assert done.returncode == code, said
    *talk, reason = said
    messages = [json.loads(line)["message"] for line in talk]
    assert not {"listening", "ready"} & set(messages)
    assert reason.startswith("mergeline: ")
    assert ("onnxruntime.capi" in done.stderr) == loaded
    return reason


def serves(released: Released, *options: str) -> None:
    """The server becomes ready and answers a known sample as it was recorded."""
    with serving(released.root, *released.options, "--log", "none", *options) as server:
        assert server.ask("/readyz").json["model_sha256"] == released.sha256
        sample = released.signature.samples[0]
        assert server.predict([sample.row])[0]["score"] == pytest.approx(sample.scores[1], abs=1e-5)


# ---- In the store ----------------------------------------------------------------------------------------------------


def flipped(content: bytes, canary: Canary) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def truncated(content: bytes, canary: Canary) -> bytes:
    return content[:-1]


def emptied(content: bytes, canary: Canary) -> bytes:
    return b""


def prolonged(content: bytes, canary: Canary) -> bytes:
    return content + b"\n"


def pickled(content: bytes, canary: Canary) -> bytes:
    return canary.pickle


Tampering = Callable[[bytes, Canary], bytes]
TAMPERINGS: list[tuple[str, Tampering]] = [
    *[(name, tamper) for name in FILES for tamper in (flipped, truncated, pickled)],
    (MODEL_FILE, emptied),
    (MODEL_FILE, prolonged),
]


def test_r1_the_bytes_reviewed_are_the_bytes_served(released: Released) -> None:
    serves(released)


@pytest.mark.parametrize(("name", "tamper"), TAMPERINGS)
def test_r1_s8_other_bytes_in_the_store_are_never_served_or_loaded(
    name: str, tamper: Tampering, released: Released, canary: Canary
) -> None:
    path = released.key(name)
    overwrite(path, tamper(path.read_bytes(), canary))
    assert STORE in never_ready(released)
    assert not canary.sang


@pytest.mark.parametrize("name", FILES)
def test_r1_bytes_that_are_missing_in_the_store_are_not_made_up(name: str, released: Released) -> None:
    released.key(name).unlink()
    assert "the store does not hold" in never_ready(released)


def test_s8_the_canary_would_sing(canary: Canary) -> None:
    """The twin: whoever unpickles these bytes executes them."""
    pickle.loads(canary.pickle)
    assert canary.sang


# ---- In the folder that was fetched ----------------------------------------------------------------------------------


def fetched(released: Released) -> Path:
    """A folder that `mergeline fetch` has filled, as an init container does."""
    folder = released.root / "there"
    release_fetch.fetch(release_fetch.wanted_of(released.file, None), released.root, folder)
    return folder


def test_a_fetched_folder_is_served_without_the_store(released: Released) -> None:
    folder = released.root / "there"
    done = run(released.root, "fetch", *released.options, "--folder", str(folder))
    assert done.returncode == 0, done.stderr
    assert f"model {released.sha256}" in done.stdout
    shutil.rmtree(released.root / STORE)
    serves(released, "--folder", str(folder))


@pytest.mark.parametrize(("name", "tamper"), [each for each in TAMPERINGS if each[0] != "list"])
def test_r1_s8_other_bytes_in_the_fetched_folder_are_never_served_or_loaded(
    name: str, tamper: Tampering, released: Released, canary: Canary
) -> None:
    folder = fetched(released)
    shutil.rmtree(released.root / STORE)
    path = folder / "model" / name
    overwrite(path, tamper(path.read_bytes(), canary))
    never_ready(released, "--folder", str(folder))
    assert not canary.sang


def test_r1_with_the_store_at_hand_the_folder_is_made_right_again(released: Released, canary: Canary) -> None:
    folder = fetched(released)
    overwrite(folder / "model" / MODEL_FILE, canary.pickle)
    serves(released, "--folder", str(folder))
    assert hashlib.sha256((folder / "model" / MODEL_FILE).read_bytes()).hexdigest() == released.key(MODEL_FILE).name
    assert not canary.sang


@pytest.mark.parametrize("name", ["more.pkl", ".hidden"])
def test_s8_a_file_more_in_the_fetched_folder_is_not_overlooked(name: str, released: Released, canary: Canary) -> None:
    folder = fetched(released)
    shutil.rmtree(released.root / STORE)
    (folder / "model" / name).write_bytes(canary.pickle)
    never_ready(released, "--folder", str(folder))
    assert not canary.sang


def test_r1_a_link_in_the_fetched_folder_is_not_followed(released: Released) -> None:
    folder = fetched(released)
    shutil.rmtree(released.root / STORE)
    path = folder / "model" / MODEL_FILE
    path.rename(released.root / "elsewhere")
    path.symlink_to(released.root / "elsewhere")
    never_ready(released, "--folder", str(folder))


# ---- Records that do not fit -----------------------------------------------------------------------------------------


def with_receipt(released: Released, sha256: str) -> Released:
    """The release with another receipt."""
    text = released.file.read_text()
    named = parse_release(text).receipt_sha256
    assert named is not None
    released.file.write_text(text.replace(named, sha256))
    return released


def receipt_of(released: Released) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((released.root / "release.receipt.json").read_text())
    return found


def put(released: Released, text: str) -> str:
    path = released.root / "record.json"
    path.write_text(text)
    return open_store(STORE, released.root).put(path)


def test_r1_a_receipt_of_another_model_is_refused(released: Released, candidate: Trained) -> None:
    other = release(released.root, with_signature(candidate, threshold=0.7), "other")
    sha256 = parse_release(other.file.read_text()).receipt_sha256
    assert sha256 is not None
    said = never_ready(with_receipt(released, sha256))
    assert f"that of model {other.sha256}, the release names {released.sha256}" in said


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{}", "[" * 100_000, "\0", '{"model": 1}'],
    ids=["nothing", "null", "a list", "no key", "deeply nested", "a NUL", "another shape"],
)
def test_r1_a_receipt_that_is_none_is_refused(text: str, released: Released) -> None:
    assert "models/manifest.json" in never_ready(with_receipt(released, put(released, text)))


def test_r1_a_receipt_that_is_no_text_is_refused(released: Released, canary: Canary) -> None:
    path = released.root / "record"
    path.write_bytes(canary.pickle)
    never_ready(with_receipt(released, open_store(STORE, released.root).put(path)))
    assert not canary.sang


def test_r1_a_receipt_that_the_store_does_not_hold_is_refused(released: Released) -> None:
    assert "the store does not hold" in never_ready(with_receipt(released, "e" * 64))


def test_r1_the_evaluation_that_the_receipt_names_has_to_be_there(released: Released) -> None:
    record = receipt_of(released) | {"evaluation_sha256": "f" * 64}
    said = never_ready(with_receipt(released, put(released, json.dumps(record))))
    assert "the store does not hold" in said


def test_an_evaluation_that_is_no_json_is_refused(released: Released) -> None:
    record = receipt_of(released) | {"evaluation_sha256": put(released, "no JSON")}
    never_ready(with_receipt(released, put(released, json.dumps(record))), loaded=True)


def test_r10_a_model_of_a_newer_contract_waits_for_its_server(candidate: Trained, tmp_path: Path) -> None:
    write_model(tmp_path / "model", candidate)
    newer = release_folder(tmp_path, tmp_path / "model", candidate.signature, contract=SERVING_CONTRACT + 1)
    assert "the server lands first" in never_ready(newer)


# ---- Models whose hashes are right -----------------------------------------------------------------------------------


def released_with(root: Path, trained: Trained, changes: Mapping[str, bytes | None]) -> Released:
    """A release of a model's folder in which files were replaced, or taken away, before it was put into the store."""
    folder = root / "model"
    write_model(folder, trained)
    for name, content in changes.items():
        if content is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(content)
    return release_folder(root, folder, trained.signature)


def test_r10_a_model_that_scores_other_than_was_recorded_is_never_ready(candidate: Trained, tmp_path: Path) -> None:
    wrong = release(tmp_path, with_other_scores(candidate))
    said = never_ready(wrong, loaded=True)
    assert f"{MODEL_FILE}: a known sample scores 0.001 off what training recorded" in said


def test_s8_a_pickle_that_was_released_as_a_model_is_not_executed(
    candidate: Trained, tmp_path: Path, canary: Canary
) -> None:
    """Its hashes are right, so that ONNX Runtime gets to see it: which reads no pickle."""
    signature = replace(candidate.signature, onnx_sha256=hashlib.sha256(canary.pickle).hexdigest())
    changes = {MODEL_FILE: canary.pickle, SIGNATURE_FILE: signature.to_json().encode()}
    assert "expected a model that ONNX Runtime runs" in never_ready(
        released_with(tmp_path, candidate, changes), loaded=True
    )
    assert not canary.sang


@pytest.mark.parametrize("name", [SIGNATURE_FILE, "training.json", "profile.json"])
def test_s8_a_pickle_that_was_released_as_a_record_is_not_executed(
    name: str, candidate: Trained, tmp_path: Path, canary: Canary
) -> None:
    wrong = released_with(tmp_path, candidate, {name: canary.pickle})
    assert f"mergeline: {name}: " in never_ready(wrong, loaded=name != SIGNATURE_FILE)
    assert not canary.sang


@pytest.mark.parametrize("name", [MODEL_FILE, SIGNATURE_FILE])
def test_a_model_without_one_of_its_files_is_refused(name: str, candidate: Trained, tmp_path: Path) -> None:
    assert f"holds no {name}" in never_ready(released_with(tmp_path, candidate, {name: None}))


def test_a_signature_of_other_model_bytes_is_refused(candidate: Trained, tmp_path: Path) -> None:
    wrong = release(tmp_path, with_signature(candidate, onnx_sha256="a" * 64))
    assert f"{SIGNATURE_FILE}: is that of {'a' * 64}" in never_ready(wrong)


def test_r10_a_model_without_a_known_sample_proves_nothing(candidate: Trained, tmp_path: Path) -> None:
    assert "holds no known sample" in never_ready(release(tmp_path, with_signature(candidate, samples=())), loaded=True)


def sample_with(trained: Trained, **changes: Any) -> tuple[KnownSample, ...]:
    first, *others = trained.signature.samples
    return replace(first, **changes), *others


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda made: {"samples": sample_with(made, row={})}, id="a sample without features"),
        pytest.param(lambda made: {"samples": sample_with(made, scores=(0.5,))}, id="a sample with one score"),
        pytest.param(lambda made: {"samples": sample_with(made, scores=(0.2, 0.3, 0.5))}, id="a sample with three"),
        pytest.param(
            lambda made: {"samples": tuple(replace(each, scores=(0.2, 0.3, 0.5)) for each in made.signature.samples)},
            id="samples with three scores",
        ),
        pytest.param(lambda made: {"classes": ("0", "1", "2")}, id="a class that the model does not score"),
        pytest.param(lambda made: {"features": made.signature.features[:-1]}, id="a feature too few"),
        pytest.param(lambda made: {"features": made.signature.features[:1] * 7}, id="one feature seven times"),
    ],
)
def test_r10_a_signature_that_does_not_fit_its_model_is_refused(
    change: Callable[[Any], dict[str, Any]], candidate: Trained, tmp_path: Path
) -> None:
    never_ready(release(tmp_path, with_signature(candidate, **change(candidate))), loaded=True)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (SIGNATURE_FILE, b"[]"),
        (SIGNATURE_FILE, b'"text"'),
        (SIGNATURE_FILE, b"[" * 100_000),
        (SIGNATURE_FILE, b'{"task": "binary", "target": "y", "features": 3}'),
        ("profile.json", b"[]"),
        ("profile.json", b"{}"),
        ("profile.json", b'{"rows": "many"}'),
        ("training.json", b"{"),
    ],
)
def test_r10_a_record_of_another_shape_is_refused(
    name: str, content: bytes, candidate: Trained, tmp_path: Path
) -> None:
    said = never_ready(released_with(tmp_path, candidate, {name: content}), loaded=name != SIGNATURE_FILE)
    assert f"mergeline: {name}: " in said


def test_r10_a_training_record_that_is_a_list_does_not_break_the_page(candidate: Trained, tmp_path: Path) -> None:
    never_ready(released_with(tmp_path, candidate, {"training.json": b"[]"}), loaded=True)


def test_r10_a_challenger_that_was_tampered_with_keeps_the_champion_from_starting_too(
    released: Released, candidate: Trained
) -> None:
    """What was asked for is both; a rollout stops here, and the running pods serve on."""
    other = release(released.root, with_signature(candidate, threshold=0.7), "other")
    overwrite(other.key(SIGNATURE_FILE), b"not the signature")
    options = ("--challenger", str(other.file), "--shadow")
    never_ready(released, *options, loaded=True)


def test_r10_several_workers_end_as_one_does(released: Released) -> None:
    overwrite(released.key(MODEL_FILE), b"not the model")
    never_ready(released, "--workers", "2")


def test_r10_a_server_that_is_never_ready_opens_no_port(released: Released) -> None:
    overwrite(released.key(MODEL_FILE), b"not the model")
    with started(released.root, *released.options) as server:
        assert server.ended() == 6
        assert not server.told("listening")


# ---- Signatures ------------------------------------------------------------------------------------------------------


def openssl(*arguments: str | Path, given: bytes = b"") -> bytes:
    done = subprocess.run(["openssl", *map(str, arguments)], input=given, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@dataclass(frozen=True, slots=True)
class Keys:
    """A key pair, made as the documentation says."""

    private: Path
    public: Path

    @property
    def signer(self) -> str:
        """The SHA-256 of the public key, under which its signatures lie."""
        return hashlib.sha256(openssl("ec", "-pubin", "-in", self.public, "-outform", "DER")).hexdigest()


def make_keys(folder: Path, name: str) -> Keys:
    keys = Keys(folder / f"{name}.pem", folder / f"{name}.pub")
    drawn = openssl("ecparam", "-genkey", "-name", "prime256v1", "-noout")
    keys.private.write_bytes(openssl("pkcs8", "-topk8", "-nocrypt", given=drawn))
    keys.public.write_bytes(openssl("ec", "-in", keys.private, "-pubout"))
    return keys


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("keys"), "owner")


@pytest.fixture(scope="module")
def others_keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("keys"), "other")


def signed(released: Released, keys: Keys) -> None:
    """Sign without a process."""
    store, key = open_store(STORE, released.root), signing.read_private_key(keys.private, None)
    assert store.attach(released.sha256, keys.signer, signing.sign(store.verify_model(released.sha256), KeyFile(key)))


def sign(released: Released, keys: Keys, **more: str) -> str:
    done = run(released.root, "sign", *released.options, "--private-key", str(keys.private), **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fetch(released: Released, keys: Keys, **more: str) -> subprocess.CompletedProcess[str]:
    named = (*released.options, "--folder", str(released.root / "there"), "--key", str(keys.public))
    return run(released.root, "fetch", *named, **more)


def refused(released: Released, keys: Keys) -> str:
    """What `fetch` says of a signature that it does not take."""
    done = fetch(released, keys)
    assert (done.returncode, done.stdout) == (6, "")
    assert done.stderr.count("\n") == 1
    return done.stderr


def place(released: Released, keys: Keys) -> Path:
    """Where the store keeps a signature."""
    return released.root / STORE / "signatures" / f"{released.sha256}.{keys.signer}"


def test_s10_a_model_that_its_owner_signed_is_fetched_and_served(released: Released, keys: Keys) -> None:
    assert f"signed by the key {keys.signer}" in sign(released, keys)
    done = fetch(released, keys)
    assert done.returncode == 0, done.stderr
    assert "signature verified" in done.stdout
    serves(released, "--key", str(keys.public))


def test_s10_a_model_that_nobody_signed_is_refused(released: Released, keys: Keys) -> None:
    said = refused(released, keys)
    assert "has no signature by the key" in said
    assert never_ready(released, "--key", str(keys.public)) == said.strip()  # nor does a server take it


def test_s10_a_model_that_somebody_else_signed_is_refused(released: Released, keys: Keys, others_keys: Keys) -> None:
    signed(released, others_keys)
    assert "has no signature by the key" in refused(released, keys)


def test_s10_a_signature_of_somebody_else_under_the_owners_name_is_refused(
    released: Released, keys: Keys, others_keys: Keys
) -> None:
    signed(released, others_keys)
    place(released, others_keys).rename(place(released, keys))
    assert "is not one of these bytes" in refused(released, keys)


def test_s10_a_signature_of_other_bytes_is_refused(released: Released, keys: Keys, candidate: Trained) -> None:
    other = release(released.root, with_signature(candidate, threshold=0.7), "other")
    signed(other, keys)
    shutil.copy(place(other, keys), place(released, keys))
    assert "is not one of these bytes" in refused(released, keys)


@pytest.mark.parametrize(
    "content",
    [b"", b"not base64!", b"AAAA", b"\xff" * 70, b"MEQC" + b"A" * 5_000],
    ids=["nothing", "no base64", "no DER", "bytes", "endless"],
)
def test_s10_what_is_no_signature_is_refused(content: bytes, released: Released, keys: Keys) -> None:
    signed(released, keys)
    overwrite(place(released, keys), content)
    assert "is not one of these bytes" in refused(released, keys)


def test_s10_a_signature_does_not_speak_for_bytes_that_were_changed(released: Released, keys: Keys) -> None:
    signed(released, keys)
    overwrite(released.key(MODEL_FILE), b"not the model")
    refused(released, keys)


def test_signing_twice_changes_nothing(released: Released, keys: Keys) -> None:
    sign(released, keys)
    before = place(released, keys).read_bytes()
    assert "was signed already" in sign(released, keys)
    assert place(released, keys).read_bytes() == before
    assert fetch(released, keys).returncode == 0


def test_s10_what_was_tampered_with_is_not_signed(released: Released, keys: Keys) -> None:
    overwrite(released.key(MODEL_FILE), b"not the model")
    done = run(released.root, "sign", *released.options, "--private-key", str(keys.private))
    assert done.returncode == 6
    assert not place(released, keys).exists()


def list_of(released: Released) -> bytes:
    """What is signed: what `sha256sum *` prints in the model's folder."""
    folder = released.root / "release.model"
    names = sorted(path.name for path in folder.iterdir())
    done = subprocess.run(["sha256sum", *names], cwd=folder, capture_output=True, check=True)
    assert done.stdout == format_list(open_store(STORE, released.root).verify_model(released.sha256).files).encode()
    return done.stdout


@pytest.mark.parametrize("lines", [False, True], ids=["in one line", "in lines"])
def test_s10_a_signature_that_openssl_made_is_accepted(lines: bool, released: Released, keys: Keys) -> None:
    """`openssl base64` breaks its lines where it is not told otherwise."""
    made = openssl("dgst", "-sha256", "-sign", keys.private, given=list_of(released))
    path = place(released, keys)
    path.parent.mkdir()
    path.write_bytes(openssl("base64", *([] if lines else ["-A"]), given=made))
    done = fetch(released, keys)
    assert done.returncode == 0, done.stderr


def test_s10_openssl_accepts_our_signature(released: Released, keys: Keys, others_keys: Keys, tmp_path: Path) -> None:
    sign(released, keys)
    made = tmp_path / "signature"
    made.write_bytes(base64.b64decode(place(released, keys).read_bytes()))
    verify = ("dgst", "-sha256", "-signature", made, "-verify")
    assert b"Verified OK" in openssl(*verify, keys.public, given=list_of(released))
    for public, given in ((others_keys.public, list_of(released)), (keys.public, list_of(released) + b"\n")):
        done = subprocess.run(
            ["openssl", *map(str, verify), str(public)], input=given, capture_output=True, check=False
        )
        assert done.returncode != 0


def test_a_private_key_may_have_a_password(released: Released, keys: Keys, tmp_path: Path) -> None:
    locked = tmp_path / "locked.pem"
    locked.write_bytes(openssl("pkcs8", "-topk8", "-in", keys.private, "-passout", "pass:a password"))
    with_password = Keys(locked, keys.public)
    assert "signed by" in sign(released, with_password, MERGELINE_KEY_PASSWORD="a password")
    for password in ({}, {"MERGELINE_KEY_PASSWORD": "wrong"}):
        done = run(released.root, "sign", *released.options, "--private-key", str(locked), **password)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1


def test_only_a_key_on_p256_is_one(released: Released, keys: Keys, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    other.write_bytes(openssl("ecparam", "-genkey", "-name", "secp384r1", "-noout"))
    for path in (other, keys.public, tmp_path / "nowhere", released.file):
        done = run(released.root, "sign", *released.options, "--private-key", str(path))
        assert done.returncode == 2, done.stderr
        assert done.stderr.count("\n") == 1
        named = (*released.options, "--key", str(path if path != keys.public else keys.private))
        done = run(released.root, "fetch", *named)
        assert done.returncode == 2, done.stderr
        assert done.stderr.count("\n") == 1


# ---- On S3 -----------------------------------------------------------------------------------------------------------

ACCOUNT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "very-secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_MAX_ATTEMPTS": "1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.fixture
def cloud(released: Released, monkeypatch: pytest.MonkeyPatch) -> Iterator[Released]:
    """The release in a bucket, with the account in the environment of this process."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in (ACCOUNT | {"AWS_ENDPOINT_URL": f"http://{host}:{port}"}).items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="models")
    url = f"s3://models/{released.root.parent.name}"  # of each test its own: all servers of a process share their bytes
    store = open_store(url, released.root)
    for path in (released.root / STORE / "sha256").iterdir():
        store.put(path)
    released.file.write_text(released.file.read_text().replace(f'"{STORE}"', f'"{url}"'))
    yield released
    server.stop()


def prefix_of(cloud: Released) -> str:
    """The place of the store in the bucket."""
    url = parse_release(cloud.file.read_text()).store
    assert url is not None
    return url.removeprefix("s3://models/")


def account() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("AWS_")}


def test_s10_a_signed_model_is_fetched_from_s3_and_its_signature_is_not_replaced(
    cloud: Released, keys: Keys, others_keys: Keys
) -> None:
    import boto3

    done = fetch(cloud, keys, **account())
    assert done.returncode == 6, done.stderr
    assert "signed by the key" in sign(cloud, keys, **account())
    done = fetch(cloud, keys, **account())
    assert done.returncode == 0, done.stderr
    prefix = prefix_of(cloud)
    store = open_store(f"s3://models/{prefix}", cloud.root)
    before = store.attached(cloud.sha256, keys.signer)
    assert store.attach(cloud.sha256, keys.signer, b"forged") is False
    assert "was signed already" in sign(cloud, keys, **account())
    assert store.attached(cloud.sha256, keys.signer) == before
    assert fetch(cloud, others_keys, **account()).returncode == 6
    client = boto3.client("s3")
    [found] = client.list_objects_v2(Bucket="models", Prefix=f"{prefix}/signatures/")["Contents"]
    assert found["Key"] == f"{prefix}/signatures/{cloud.sha256}.{keys.signer}"
    client.put_object(Bucket="models", Key=found["Key"], Body=b"forged")
    assert fetch(cloud, keys, **account()).returncode == 6


def test_r1_other_bytes_on_s3_are_never_served(cloud: Released, keys: Keys) -> None:
    import boto3

    key = f"{prefix_of(cloud)}/sha256/{cloud.key(MODEL_FILE).name}"
    client = boto3.client("s3")
    content = client.get_object(Bucket="models", Key=key)["Body"].read()
    named = (*cloud.options, "--folder", str(cloud.root / "there"))
    assert run(cloud.root, "fetch", *named, **account()).returncode == 0
    client.put_object(Bucket="models", Key=key, Body=content[:-1] + bytes([content[-1] ^ 1]))
    shutil.rmtree(cloud.root / "there")
    done = run(cloud.root, "serve", "--port", "0", *named, "--log", "none", **account())
    assert done.returncode == 6
    assert done.stderr.count("\n") == 1
    assert "very-secret" not in done.stderr


def test_a_store_that_does_not_answer_is_a_service_that_failed(cloud: Released) -> None:
    elsewhere = account() | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    done = run(cloud.root, "serve", "--port", "0", *cloud.options, "--log", "none", **elsewhere)
    assert done.returncode == 7
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
