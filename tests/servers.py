"""Released models and real servers for tests: `python -m mergeline serve` as a process, asked over HTTP."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client.parser import text_string_to_metric_families

from mergeline import files
from mergeline.release.manifests import Release, format_release
from mergeline.release.receipt import Receipt, format_receipt
from mergeline.release.store import open_store
from mergeline.schema import MODEL_FILE, SIGNATURE_FILE, KnownSample, Signature, Task

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from mergeline.stages.train import Trained

PLANTED = Path(__file__).with_name("planted_server.py")
STORE = "store"
PATIENCE_S = 60.0  # after which what a test waits for counts as never happening
JSON = {"Content-Type": "application/json"}
PROBLEM = "application/problem+json"
INSIDE = ("Traceback", 'File "', "site-packages", "/mergeline/", ".py", "Error:", "0x7f")  # what no answer may show


# ---- Releases --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Released:
    """A model in the folder store of `root`, and the release file that names it."""

    root: Path
    sha256: str
    file: Path
    signature: Signature

    @property
    def options(self) -> tuple[str, ...]:
        """The options that name it."""
        return "--release", str(self.file)

    def key(self, name: str) -> Path:
        """Where the store keeps the bytes of one of the model's files, or the model's list."""
        store = open_store(STORE, self.root)
        model = store.verify_model(self.sha256)
        sha256 = self.sha256 if name == "list" else next(file.sha256 for file in model.files if file.name == name)
        return self.root / STORE / "sha256" / sha256


def write_model(folder: Path, trained: Trained) -> None:
    """Write what `mergeline train` writes."""
    folder.mkdir(parents=True)
    (folder / MODEL_FILE).write_bytes(trained.model)
    files.write_text(folder / SIGNATURE_FILE, trained.signature.to_json())
    files.write_json(folder / "training.json", trained.record.as_dict())
    files.write_text(folder / "profile.json", trained.profile.to_json())
    trained.reference.to_parquet(folder / "reference.parquet", index=False, compression="zstd")


def release(root: Path, trained: Trained, name: str = "release") -> Released:
    """Release a trained model from the store of `root`."""
    write_model(root / f"{name}.model", trained)
    return release_folder(root, root / f"{name}.model", trained.signature, name)


def release_folder(
    root: Path, folder: Path, signature: Signature, name: str = "release", contract: int | None = None
) -> Released:
    """Put whatever is in a folder into the store of `root`, with a receipt that fits, and release it."""
    store = open_store(STORE, root)
    model = store.put_model(folder)
    evaluation = root / f"{name}.evaluation.json"
    files.write_json(evaluation, {"rows": 120, "first_time": None, "last_time": None, "metrics": {}})
    receipt = Receipt(
        model=model,
        dvc_lock_sha256="d" * 64,
        data={"data": "none"},
        training_commit="c" * 40,
        evaluation_sha256=store.put(evaluation),
        champion_sha256=None,
    )
    if contract is not None:
        receipt = replace(receipt, serving_contract=contract)
    file = root / f"{name}.receipt.json"
    files.write_text(file, format_receipt(receipt))
    path = root / f"{name}.yaml"
    path.write_text(format_release(Release(model.sha256, STORE, store.put(file), None)), encoding="utf-8")
    return Released(root, model.sha256, path, signature)


def with_signature(trained: Trained, **changes: Any) -> Trained:
    """The same model, whose signature says something else."""
    return replace(trained, signature=replace(trained.signature, **changes))


def with_other_scores(trained: Trained) -> Trained:
    """The same model, of which a known sample is recorded with scores that it does not have."""
    first, *others = trained.signature.samples
    wrong = KnownSample(first.row, tuple(score + 0.001 for score in first.scores))
    return with_signature(trained, samples=(wrong, *others))


def requests_of(table: pd.DataFrame, signature: Signature) -> list[dict[str, Any]]:
    """The rows of a table as a client would send their features."""
    import pandas as pd

    def plain(value: Any) -> Any:
        if pd.isna(value):
            return None
        if isinstance(value, pd.Timestamp):
            return value.isoformat()
        return value.item() if hasattr(value, "item") else value

    names = [feature.name for feature in signature.features]
    return [dict(zip(names, map(plain, row), strict=True)) for row in table[names].itertuples(index=False, name=None)]


def answered(scores: Any, task: Task) -> Any:
    """The one score a row that a server answers, of all that a model gives."""
    return scores[:, 1] if task is Task.BINARY else scores.max(axis=1)


# ---- Requests --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def media_type(self) -> str:
        return self.headers["content-type"]

    @property
    def predictions(self) -> list[dict[str, Any]]:
        """The predictions of an answer that must be good."""
        assert self.status == 200, self.body
        found: list[dict[str, Any]] = self.json["predictions"]
        return found


def reply_of(answer: http.client.HTTPResponse) -> Reply:
    """Read an answer to its end."""
    body = answer.read()
    return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, body)


def ask(
    connection: http.client.HTTPConnection,
    path: str,
    body: Any = None,
    method: str | None = None,
    headers: Mapping[str, str] = JSON,
) -> Reply:
    """Ask on a connection that stays open; a body that is no bytes is sent as JSON."""
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    connection.request(method or ("GET" if body is None else "POST"), path, body, dict(headers))
    return reply_of(connection.getresponse())


def sent(server: Server, *pieces: bytes, method: str = "POST") -> Reply:
    """Send bytes as they are on a connection of their own; what the server does not want to read any more is not sent.

    Raises `OSError` or `http.client.HTTPException` where no answer comes.
    """
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for piece in pieces:
                connection.sendall(piece)
        answer = http.client.HTTPResponse(connection, method=method)
        answer.begin()
        return reply_of(answer)


def head(path: str, *lines: str, method: str = "POST") -> bytes:
    """The head of a request whose body is JSON."""
    return "\r\n".join(
        [f"{method} {path} HTTP/1.1", "Host: test", "Content-Type: application/json", *lines, "", ""]
    ).encode()


def leaks(body: bytes) -> list[str]:
    """What an answer shows of the inside of the server."""
    text = body.decode(errors="replace")
    return [each for each in INSIDE if each in text]


# ---- Servers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Server:
    """A process that serves, and the file that its stderr goes to."""

    process: subprocess.Popen[bytes]
    root: Path
    stderr: Path

    @property
    def said(self) -> str:
        """All that it wrote so far."""
        return self.stderr.read_text(encoding="utf-8")

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Its log; every line is JSON."""
        return [json.loads(line) for line in self.said.splitlines()]

    def told(self, message: str) -> list[dict[str, Any]]:
        """The lines of its log with this message."""
        whole = self.said.rpartition("\n")[0].splitlines()  # the last line may still be on its way
        lines = [json.loads(line) for line in whole if line.startswith("{")]
        return [line for line in lines if line["message"] == message]

    @property
    def port(self) -> int:
        """The port that it chose, as its log says; among its first lines, of many thousands perhaps."""
        with self.stderr.open(encoding="utf-8") as lines:
            url = next(json.loads(line)["url"] for line in lines if '"listening"' in line)
        return int(url.rpartition(":")[2])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self) -> http.client.HTTPConnection:
        """A new connection, which stays open from request to request."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)

    def ask(self, path: str, body: Any = None, method: str | None = None, headers: Mapping[str, str] = JSON) -> Reply:
        """Ask on a connection of its own."""
        connection = self.connect()
        try:
            return ask(connection, path, body, method, headers)
        finally:
            connection.close()

    def predict(self, rows: Sequence[Mapping[str, Any]], **beside: Any) -> list[dict[str, Any]]:
        """The predictions for some rows' features; `beside` holds an event_time or entity_id of all of them."""
        return self.ask("/predict", {"rows": [{"features": row, **beside} for row in rows]}).predictions

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that carry the labels."""
        return sum(
            sample.value
            for family in text_string_to_metric_families(self.ask("/metrics").body.decode())
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def wait_until(self, what: str, happens: Callable[[], bool]) -> None:
        """Return once `happens()` is true; a server that ends meanwhile, or takes too long, fails the test."""
        waited = time.monotonic() + PATIENCE_S
        while not happens():
            assert self.process.poll() is None, f"{what}: the server ended with {self.process.poll()}\n{self.said}"
            assert time.monotonic() < waited, f"{what}: not after {PATIENCE_S} s\n{self.said}"
            time.sleep(0.02)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def ended(self) -> int:
        """The exit code, once the process is over."""
        return self.process.wait(PATIENCE_S)

    def stop(self) -> int:
        """End it as Kubernetes does; return its exit code."""
        self.signal(signal.SIGTERM)
        return self.ended()

    def log(self) -> pa.Table:
        """All rows of its prediction log."""
        return logged(self.root / ".mergeline/log", "predictions")


def logged(folder: Path, part: str) -> pa.Table:
    """All rows of the files below a log's folder, in the order of their names."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    paths = sorted(path for path in (folder / part).rglob("*.parquet") if not path.name.startswith("."))
    tables = [pq.read_table(io.BytesIO(path.read_bytes())) for path in paths]
    return pa.concat_tables(tables, promote_options="default") if tables else pa.table({"request_id": pa.array([])})


def ids_in(table: pa.Table) -> Counter[str]:
    """How often each request id stands in a log."""
    return Counter(table["request_id"].to_pylist())


def environment(**more: str) -> dict[str, str]:
    """This machine's, without settings that a server would read, and with one thread."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MERGELINE_", "AWS_"))}
    return {**kept, "OMP_NUM_THREADS": "1", **more}


def command(root: Path, *arguments: str, plant: Sequence[str] = ()) -> list[str]:
    """The command line of `mergeline`, or of one in which something is planted."""
    program = [str(PLANTED), ",".join(plant)] if plant else ["-m", "mergeline"]
    return [sys.executable, *program, "--root", str(root), *arguments]


def run(root: Path, *arguments: str, plant: Sequence[str] = (), **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command that has to end by itself."""
    return subprocess.run(
        command(root, *arguments, plant=plant),
        env=environment(**more),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )


@contextmanager
def started(root: Path, *options: str, plant: Sequence[str] = (), **more: str) -> Iterator[Server]:
    """A server on a free port, as soon as its process runs; what is left of it in the end is killed."""
    stderr = root / f"stderr.{time.monotonic_ns()}"
    line = command(root, "serve", "--port", "0", *options, plant=plant)
    with stderr.open("wb") as file:
        process = subprocess.Popen(line, env=environment(**more), stdout=subprocess.DEVNULL, stderr=file)
    try:
        yield Server(process, root, stderr)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def serving(root: Path, *options: str, plant: Sequence[str] = (), **more: str) -> Iterator[Server]:
    """A server that is ready; SIGTERM ends it at once, where no other wait is among the options."""
    waits = () if "--wait-seconds" in options else ("--wait-seconds", "0")
    with started(root, *options, *waits, plant=plant, **more) as server:
        workers = int(options[options.index("--workers") + 1]) if "--workers" in options else 1
        server.wait_until("ready", lambda: len(server.told("ready")) >= workers)
        server.wait_until("answers", lambda: is_ready(server))
        yield server


def is_ready(server: Server) -> bool:
    """Whether /readyz says so."""
    try:
        return server.ask("/readyz").status == 200
    except OSError:
        return False
