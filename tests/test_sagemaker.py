"""SageMaker: the server starts as SageMaker starts it, and answers what SageMaker asks as it answers everybody."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from repositories import TEMPLATE
from servers import JSON, Released, Server, is_ready, release, serving

from mergeline.cli import parser
from mergeline.commands.serve import VARIABLES, settings_of

if TYPE_CHECKING:
    from mergeline.serve.settings import Settings
    from mergeline.stages.train import Trained

KEY = "a key of sixteen characters"
MODEL, RECEIPT = "b" * 64, "c" * 64
PORT = 8080  # where SageMaker asks
SIGKILL_AFTER_S = 30.0  # what SageMaker leaves a container after SIGTERM


@pytest.fixture(scope="module")
def released(candidate: Trained, tmp_path_factory: pytest.TempPathFactory) -> Released:
    return release(tmp_path_factory.mktemp("sagemaker"), candidate)


@pytest.fixture(scope="module")
def server(released: Released) -> Iterator[Server]:
    with serving(released.root, *released.options, "--log", "none", "--wait-seconds", "2") as running:
        yield running


@pytest.fixture
def row(released: Released) -> dict[str, Any]:
    return dict(released.signature.samples[0].row)


def body(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"rows": [{"features": row} for row in rows]}


def test_ping_is_readyz(server: Server) -> None:
    ping, ready = server.ask("/ping"), server.ask("/readyz")
    assert (ping.status, ping.json, ping.media_type) == (200, ready.json, ready.media_type)
    assert server.ask("/ping", method="HEAD").status == 200
    assert server.ask("/ping", method="POST").headers["allow"] == "GET, HEAD"


def test_invocations_scores_as_predict_does(server: Server, row: dict[str, Any]) -> None:
    invoked = server.ask("/invocations", body(row, row)).predictions
    predicted = server.ask("/predict", body(row, row)).predictions
    for each in (*invoked, *predicted):
        del each["request_id"]
    assert invoked == predicted
    assert server.ask("/invocations", method="GET").headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        pytest.param({"amount": "much"}, "rows[0].features.amount", id="another type"),
        pytest.param({"amout": 1.0}, "rows[0].features.amout", id="a misspelt feature"),
    ],
)
def test_a_bad_row_gets_422_with_its_field(
    server: Server, row: dict[str, Any], change: dict[str, Any], field: str
) -> None:
    refused = server.ask("/invocations", body({**row, **change}))
    assert (refused.status, refused.json["field"]) == (422, field)
    assert refused.json["detail"] == server.ask("/predict", body({**row, **change})).json["detail"]


@pytest.mark.parametrize(
    ("sent", "headers", "status"),
    [
        pytest.param(b"1,2,3", {"Content-Type": "text/csv"}, 415, id="the CSV that SageMaker's own models take"),
        pytest.param(b"{", JSON, 400, id="no JSON"),
    ],
)
def test_another_body_is_refused(server: Server, sent: bytes, headers: dict[str, str], status: int) -> None:
    assert server.ask("/invocations", sent, headers=headers).status == status


def test_what_is_invoked_is_counted_as_a_prediction(server: Server, row: dict[str, Any]) -> None:
    counted = {"route": "predict", "status": "200"}
    before = server.metric("mergeline_requests_total", **counted)
    server.ask("/invocations", body(row))
    assert server.metric("mergeline_requests_total", **counted) == before + 1


def test_a_key_guards_invocations_and_not_ping(released: Released, row: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    options = *released.options, "--log", "none", "--api-key-file", str(tmp_path / "key")
    with serving(released.root, *options) as server:
        assert server.ask("/ping").status == 200
        assert server.ask("/invocations", body(row)).status == 401  # no way around the key
        assert server.ask("/invocations", body(row), headers=JSON | {"X-API-Key": KEY}).status == 200


def test_a_server_that_ends_is_not_ready_by_ping_and_answers_on(released: Released, row: dict[str, Any]) -> None:
    with serving(released.root, *released.options, "--log", "none", "--wait-seconds", "1.5") as server:
        server.signal(signal.SIGTERM)
        server.wait_until("not ready", lambda: not is_ready(server))
        assert server.ask("/ping").status == 503
        assert server.ask("/invocations", body(row)).status == 200
        assert server.ended() == 0


# ---- How SageMaker starts it -----------------------------------------------------------------------------------------


def image() -> tuple[list[str], dict[str, str]]:
    """The entrypoint of the server's image, and the variables that it sets."""
    last = (TEMPLATE / "Dockerfile").read_text(encoding="utf-8").rpartition("\nFROM ")[2]
    entrypoint = re.search(r"^ENTRYPOINT (.*)$", last, re.MULTILINE)
    assert entrypoint
    return json.loads(entrypoint[1]), dict(re.findall(r"\b(MERGELINE_\w+)=(\S+)", last))


def endpoint() -> dict[str, str]:
    """The variables that terraform/sagemaker.tf gives the container; what Terraform would fill in is made up here."""
    text = (TEMPLATE / "terraform" / "sagemaker.tf").read_text(encoding="utf-8")
    block = re.search(r"environment = \{\n(.*?)\n +\}", text, re.DOTALL)
    assert block
    filled = {"AWS_DEFAULT_REGION": "eu-central-1", "MERGELINE_STORE": "s3://acme-models"}
    filled |= {"MERGELINE_MODEL": MODEL, "MERGELINE_RECEIPT": RECEIPT}
    named = re.findall(r"^ +(\w+) += (.*?)(?: #.*)?$", block[1], re.MULTILINE)
    return {name: filled[name] if re.search(r"\bvar\.|\$\{", value) else value.strip('"') for name, value in named}


def started(root: Path, environment: dict[str, str]) -> Settings:
    """What `docker run IMAGE serve` starts with these variables."""
    entrypoint, _ = image()
    command, *arguments = [*entrypoint, "serve"]
    assert command == "mergeline"
    return settings_of(root, parser().parse_args(arguments), environment)


def test_it_starts_as_sagemaker_starts_it_and_listens_where_sagemaker_asks(tmp_path: Path) -> None:
    settings = started(tmp_path, image()[1] | endpoint())
    assert (settings.host, settings.port) == ("0.0.0.0", PORT)
    assert (settings.wanted.model_sha256, settings.wanted.receipt_sha256) == (MODEL, RECEIPT)
    assert settings.wanted.store == "s3://acme-models"
    assert settings.log_url is None  # its role may write to no bucket
    assert settings.api_key_file is None  # no caller of an endpoint can send the key
    assert not settings.folder.is_relative_to("/opt/ml")  # which is SageMaker's own
    ending = settings.ending
    assert ending.wait_s + ending.drain_s + ending.flush_s < SIGKILL_AFTER_S


def test_the_twin_without_the_image_s_address_nobody_outside_reaches_it(tmp_path: Path) -> None:
    _, variables = image()
    assert variables.pop("MERGELINE_HOST")
    assert started(tmp_path, variables | endpoint()).host == "127.0.0.1"


def test_every_variable_of_the_endpoint_is_one_that_the_server_reads() -> None:
    own = {name.removeprefix("MERGELINE_").lower() for name in endpoint() if name.startswith("MERGELINE_")}
    assert own <= VARIABLES.keys()
    assert endpoint().keys() - {f"MERGELINE_{name.upper()}" for name in own} == {"AWS_DEFAULT_REGION"}
