"""Canaries on live traffic, and a stored model that somebody has tampered with."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

from sample.demo.act import Fact
from sample.demo.place import Done
from sample.demo.process import free_port, kill
from sample.demo.traffic import Clients

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping

    import pandas as pd
    from sample.demo.acts import Story
    from sample.demo.place import Place, Server

INTERVAL_S = 1.0
A_SECOND = 150.0  # so that a step of 5 % has the 20 requests that a measurement needs within its window
PATIENCE_S = 60.0
LONGEST_S = 180.0
# what a measurement of the AnalysisTemplate is, in words
MEASURED: Mapping[str, Callable[[float], str]] = {
    "success-rate": lambda value: f"{100 * value:.1f} % of its requests answered",
    "refusals": lambda value: f"{100 * value:.1f} percentage points more refused than by the stable server",
    "latency": lambda value: f"95th percentile {value:.1f} times that of the stable server",
    "score-drift": lambda value: f"scores moved by a PSI of {value:.2f} beyond chance",
}


def canary(story: Story, rows: pd.DataFrame) -> tuple[Fact, ...]:
    """Move live traffic from production to staging's model; it has to come to an end at 100 %."""
    place = story.place
    with place.serving("--environment", "staging", "--log", "none") as candidate:
        code, record, clients = _moved(story, candidate, rows, lambda: None)
        place.expect(code == 0, f"a canary that ends with 0, found {code}")
    place.expect(record["outcome"] == "promoted", f"a canary that promotes, found {record['outcome']}")
    place.expect(clients.failed == 0, f"no request that fails during the canary, found {clients.failed}")
    steps = ", ".join(f"{step['share']:g}" for step in record["steps"])
    return (
        Fact("canary", f"{steps} and then 100 % of live traffic, promoted"),
        Fact("clients during it", asked(clients)),
    )


def failing_canary(story: Story, rows: pd.DataFrame) -> tuple[Fact, ...]:
    """Kill the candidate in the middle; the traffic has to go back, and no client may notice."""
    place = story.place
    with place.serving("--environment", "staging", "--log", "none") as candidate:
        killer = threading.Timer(4.0, candidate.process.kill)
        code, record, clients = _moved(story, candidate, rows, killer.start)
        killer.cancel()
    place.expect(code == 5, f"a canary that ends with 5, found {code}")
    place.expect(record["outcome"] == "rolled back", f"a canary that goes back, found {record['outcome']}")
    place.expect(clients.failed == 0, f"no request that fails while the candidate dies, found {clients.failed}")
    place.expect(story.running().process.poll() is None, "the stable server to go on")
    return (
        Fact("candidate killed in its canary", f"rolled back at {went_back(record)}"),
        Fact("clients during it", asked(clients)),
    )


def asked(clients: Clients) -> str:
    """What clients got."""
    return f"{clients.answered:,} requests answered, {clients.failed:,} failed"


def went_back(record: Mapping[str, Any]) -> str:
    """The share at which a canary went back, and what was measured there last, with its unit."""
    step, metric = record["steps"][-1], str(record["metric"])
    values = [value for each in step["measurements"] if each["metric"] == metric for value in each["values"]]
    said = MEASURED[metric](float(values[-1])) if values and metric in MEASURED else record["said"]
    return f"{step['share']:g} % of the traffic: {metric}, {said}"


def tampered(story: Story) -> tuple[Fact, ...]:
    """Flip one byte of the stored model; a fresh server has to refuse it with 6, and to serve the right bytes again."""
    place = story.place
    sha256 = place.released("production")
    store = place.root / story.settings.release.store
    stored = [path for path in store.rglob("*") if path.is_file()]
    model = next((path for path in stored if _holds_onnx(place, path, sha256)), None)
    place.expect(model is not None, f"the model {sha256[:12]} of production in the store")
    assert model is not None  # noqa: S101  just asked
    right = model.read_bytes()
    mode = model.stat().st_mode
    wrong = bytearray(right)
    wrong[len(wrong) // 2] ^= 1
    model.chmod(0o644)
    model.write_bytes(bytes(wrong))
    folder = place.folder / "fetched"
    try:
        done = place.run(
            "serve", "--environment", "production", "--folder", str(folder), "--port", "0", "--log", "none", code=6
        )
    finally:
        model.write_bytes(right)
        model.chmod(mode)
    place.expect("the store holds other bytes" in done.err, "an error that says what is wrong with the store")
    return (
        Fact("one byte of the stored model changed", f"refused, exit code {done.code}: the store holds other bytes"),
    )


def _holds_onnx(place: Place, path: Any, sha256: str) -> bool:
    import hashlib

    signature = json.loads((place.root / "models/candidate/signature.json").read_text(encoding="utf-8"))
    return bool(hashlib.sha256(path.read_bytes()).hexdigest() == signature["onnx_sha256"] and sha256)


def _moved(
    story: Story, candidate: Server, rows: pd.DataFrame, begun: Callable[[], None]
) -> tuple[int, dict[str, Any], Clients]:
    """Run a canary while clients ask; return its exit code, its record, and what the clients got."""
    place, port = story.place, free_port()
    record = place.folder / "canary.json"
    record.unlink(missing_ok=True)
    command = (
        *("canary", "--stable", story.running().url, "--candidate", candidate.url, "--port", str(port)),
        *("--interval", str(INTERVAL_S), "--patience", str(PATIENCE_S), "--record", str(record), "--stay"),
    )
    began = time.monotonic()
    process = place.launch(command, "canaries.log")
    try:
        _listening(place, process, port)
        with Clients(f"http://127.0.0.1:{port}", rows, story.settings, A_SECOND) as clients:
            begun()
            ends = time.monotonic() + LONGEST_S
            while not record.exists() and process.poll() is None and time.monotonic() < ends:
                time.sleep(0.1)
        process.terminate()
        code = process.wait(20)
    finally:
        if process.poll() is None:
            kill(process)
            process.wait()
    place.tell(Done(f"mergeline {' '.join(command)}", code, "", "", time.monotonic() - began))
    place.expect(record.exists(), f"a canary that comes to a decision; read {place.folder / 'canaries.log'}")
    return code, json.loads(record.read_text(encoding="utf-8")), clients


def _listening(place: Place, process: subprocess.Popen[bytes], port: int) -> None:
    import socket

    ends = time.monotonic() + LONGEST_S
    while time.monotonic() < ends and process.poll() is None:
        with socket.socket() as asked:
            if asked.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    place.expect(False, f"a canary that listens; read {place.folder / 'canaries.log'}")
