"""The place of the logs: whole files under keys, in a folder and on S3 alike."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mergeline.errors import ConfigurationError, ServiceError
from mergeline.logstore import LogStore, open_log

BUCKET = "logs"
KEY = "predictions/date=2024-05-01/hour=07/b.parquet"
EARLIER = "predictions/date=2024-05-01/hour=06/a.parquet"


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(moto: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket in the environment as botocore reads it."""
    import boto3

    for name, value in {
        "AWS_ENDPOINT_URL": moto,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "very-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    return BUCKET


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> LogStore:
    if request.param == "folder":
        return open_log("log", tmp_path)
    request.getfixturevalue("bucket")
    return open_log(f"s3://{BUCKET}/{tmp_path.name}/deep/", tmp_path)


# ---- Both ------------------------------------------------------------------------------------------------------------


def test_what_was_put_is_read_and_listed_in_order(store: LogStore) -> None:
    for key in (KEY, EARLIER, "labels/date=2024-05-01/c.parquet"):
        store.put(key, key.encode())
    assert store.read(KEY) == KEY.encode()
    assert store.keys("") == ["labels/date=2024-05-01/c.parquet", EARLIER, KEY]
    assert store.keys("predictions/") == [EARLIER, KEY]


def test_a_prefix_may_end_within_a_name(store: LogStore) -> None:
    store.put(KEY, b"")
    store.put(EARLIER, b"")
    assert store.keys("predictions/date=2024-05-01/hour=0") == [EARLIER, KEY]
    assert store.keys("predictions/date=2024-05-01/hour=07") == [KEY]
    assert store.keys("predictions/date=2024-06") == []


def test_a_key_that_is_put_again_is_replaced_and_listed_once(store: LogStore) -> None:
    store.put(KEY, b"first")
    store.put(KEY, b"second")
    assert (store.keys(""), store.read(KEY)) == ([KEY], b"second")


def test_a_log_that_nothing_was_put_into_has_no_keys(store: LogStore) -> None:
    assert store.keys("predictions/") == []


def test_names_that_begin_with_a_dot_are_no_keys(store: LogStore) -> None:
    for key in (KEY, "predictions/.half.parquet", ".hidden/a.parquet"):
        store.put(key, b"")
    assert store.keys("") == [KEY]


def test_a_key_that_is_not_there_is_a_service_that_failed(store: LogStore) -> None:
    with pytest.raises(ServiceError, match=r"NoSuchKey|No such file"):
        store.read(KEY)


# ---- Folder ----------------------------------------------------------------------------------------------------------


def test_a_put_that_breaks_off_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_log("log", tmp_path)
    store.put(KEY, b"old")

    def refuse(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(ServiceError, match="No space left"):
        store.put(KEY, b"new")
    assert store.read(KEY) == b"old"
    assert [path.name for path in (tmp_path / "log").rglob("*") if path.is_file()] == ["b.parquet"]


def test_a_folder_that_is_a_file_is_a_service_that_failed(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("")
    store = open_log("log", tmp_path)
    with pytest.raises(ServiceError):
        store.put(KEY, b"")
    with pytest.raises(ServiceError):
        store.keys("")


@pytest.mark.parametrize("form", ["log", "{root}/log", "file://{root}/log", "file://localhost{root}/log"])
def test_a_folder_is_relative_absolute_or_a_file_address(tmp_path: Path, form: str) -> None:
    open_log(form.format(root=tmp_path), tmp_path).put(KEY, b"here")
    assert (tmp_path / "log" / KEY).read_bytes() == b"here"


@pytest.mark.parametrize(
    "url",
    ["", " ", "gs://logs", "https://logs/x", "file://elsewhere/log", "s3://", "s3://Capital/x", "s3://logs/../x"],
)
def test_any_other_address_is_a_setting_that_is_wrong(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^log: "):
        open_log(url, tmp_path)


# ---- S3 --------------------------------------------------------------------------------------------------------------


def test_all_pages_of_a_long_list_are_read(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "2")
    store = open_log(f"s3://{bucket}/{tmp_path.name}", tmp_path)
    keys = [f"labels/date=2024-05-01/{number}.parquet" for number in range(5)]
    for key in keys:
        store.put(key, b"")
    assert store.keys("labels/") == keys


def test_the_neighbour_of_a_prefix_is_not_listed(bucket: str, tmp_path: Path) -> None:
    open_log(f"s3://{bucket}/{tmp_path.name}-b", tmp_path).put(KEY, b"")
    assert open_log(f"s3://{bucket}/{tmp_path.name}", tmp_path).keys("") == []


def test_a_bucket_that_is_not_there_is_a_service_that_failed(bucket: str, tmp_path: Path) -> None:
    store = open_log("s3://nowhere", tmp_path)
    for ask in (lambda: store.put(KEY, b""), lambda: store.keys(""), lambda: store.read(KEY)):
        with pytest.raises(ServiceError, match="NoSuchBucket") as caught:
            ask()
        assert "\n" not in str(caught.value)


def test_a_server_that_is_down_is_a_service_that_failed_and_its_account_is_not_told(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://account:very-secret@127.0.0.1:9")
    with pytest.raises(ServiceError, match="Could not connect") as caught:
        open_log(f"s3://{bucket}", tmp_path).put(KEY, b"")
    assert "very-secret" not in str(caught.value)
