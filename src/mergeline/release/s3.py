"""S3, or a service that speaks like it, as the place of a model store: conditional writes make a key write-once."""

from __future__ import annotations

import base64
import hashlib
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from mergeline.address import BucketAddress
from mergeline.errors import ConfigurationError, ServiceError, VerificationError
from mergeline.release.shelf import KEYS, LARGEST_SIGNATURE_BYTES, SIGNATURES, Content, missing

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")
TAKEN = ("PreconditionFailed", "412")
COLLIDED = ("ConditionalRequestConflict", "409", "NoSuchUpload")  # somebody else is writing the key, or just did
ABSENT = ("NoSuchKey", "404")
CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 30  # of one read from the socket, not of a body
_ACCOUNT = re.compile(r"//[^/@\s]*@")


@dataclass(frozen=True, slots=True)
class S3:
    """The objects `prefix` + `sha256/<hash>` of a bucket.

    `workers` is the number of requests that carry bytes at once. `tries` is how often a body that breaks off and a
    write that collides with another one are tried; `backoff_s` seconds pass before the second try of a collision and
    twice as many before each further one. What botocore itself tries again is set by AWS_MAX_ATTEMPTS.
    """

    url: str
    bucket: str
    prefix: str
    client: Any
    workers: int
    tries: int = 5
    backoff_s: float = 0.1
    _slots: threading.BoundedSemaphore = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_slots", threading.BoundedSemaphore(self.workers))

    # ---- Reading ---------------------------------------------------------------------------------------------------

    def size(self, sha256: str) -> int | None:
        with answering(self.url):
            head = self._unless_absent(lambda: self.client.head_object(**self._named(sha256)))
            if head is None and not self._is_surely_absent(sha256):
                head = self.client.head_object(**self._named(sha256))
            return None if head is None else int(head["ContentLength"])

    def _is_surely_absent(self, sha256: str) -> bool:
        """A HEAD has no body that tells a missing key from a missing bucket; a GET has one."""
        answer = self._unless_absent(lambda: self.client.get_object(**self._named(sha256)))
        if answer is not None:
            answer["Body"].close()
        return answer is None

    def read(self, sha256: str, start: int, length: int) -> bytes:
        with answering(self.url), self._slots:
            body = self._unless_absent(lambda: self._body(sha256, start, length))
        if body is None:
            raise missing(self.url, sha256)
        return body

    def _body(self, sha256: str, start: int, length: int) -> bytes:
        from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError

        for tries_left in reversed(range(self.tries)):
            try:
                answer = self.client.get_object(**self._named(sha256), Range=f"bytes={start}-{start + length - 1}")
                if answer["ContentLength"] > length:
                    answer["Body"].close()
                    raise ServiceError(
                        f"{self.url}: answers more than the range that was asked for; use another service"
                    )
                return bytes(answer["Body"].read())
            except ClientError as err:
                if _code(err) == "InvalidRange":
                    return b""
                raise
            except (HTTPClientError, IncompleteReadError) as err:
                if not tries_left:
                    raise
                log.info("%s: a body broke off (%s), %d tries left", self.url, type(err).__name__, tries_left)
        raise AssertionError("the last try returns or raises")

    # ---- Writing ---------------------------------------------------------------------------------------------------

    def create(self, content: Content) -> bool:
        from botocore.exceptions import ClientError

        write = self._create_whole if content.is_one_part else self._create_in_parts
        with answering(self.url):
            for number in range(self.tries):
                if number:
                    time.sleep(self.backoff_s * 2 ** (number - 1))
                    if self.size(content.sha256) is not None:
                        return False
                try:
                    write(content)
                    return True
                except ClientError as err:
                    if _code(err) in TAKEN:
                        return False
                    if _code(err) not in COLLIDED:
                        raise
                    log.info("%s: %s collided with another write (%s)", self.url, content.sha256, _code(err))
        raise ServiceError(
            f"{self.url}: {KEYS}/{content.sha256}: other writes came in between {self.tries} times; run again later"
        )

    def attach(self, name: str, body: bytes) -> bool:
        from botocore.exceptions import ClientError

        with answering(self.url):
            try:
                self.client.put_object(**self._signature(name), Body=body, IfNoneMatch="*")
            except ClientError as err:
                if _code(err) not in TAKEN:
                    raise
                return False
        return True

    def attached(self, name: str) -> bytes | None:
        with answering(self.url):
            answer = self._unless_absent(lambda: self.client.get_object(**self._signature(name)))
            return None if answer is None else bytes(answer["Body"].read(LARGEST_SIGNATURE_BYTES))

    def _signature(self, name: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": f"{self.prefix}{SIGNATURES}/{name}"}

    def _create_whole(self, content: Content) -> None:
        body = b"".join(content.parts())
        checksum = base64.b64encode(bytes.fromhex(content.sha256)).decode()
        with self._slots:
            self.client.put_object(**self._named(content.sha256), Body=body, IfNoneMatch="*", ChecksumSHA256=checksum)

    def _create_in_parts(self, content: Content) -> None:
        """Upload in parts; an upload that was interrupted earlier goes on where it stopped."""
        from botocore.exceptions import ClientError

        named = self._named(content.sha256)
        upload = self._unfinished(named) or self.client.create_multipart_upload(**named)["UploadId"]
        named = {**named, "UploadId": upload}
        try:
            parts = self._upload(content, named)
            self.client.complete_multipart_upload(**named, MultipartUpload={"Parts": parts}, IfNoneMatch="*")
        except VerificationError:
            self._abort(named)
            raise
        except ClientError as err:
            if _code(err) in TAKEN:
                self._abort(named)
            raise

    def _unfinished(self, named: Mapping[str, str]) -> str | None:
        """The newest upload of a key that was begun and not completed."""
        pages = self.client.get_paginator("list_multipart_uploads").paginate(
            Bucket=named["Bucket"], Prefix=named["Key"]
        )
        found = [each for page in pages for each in page.get("Uploads", ()) if each["Key"] == named["Key"]]
        return max(found, key=lambda each: each["Initiated"])["UploadId"] if found else None

    def _upload(self, content: Content, named: Mapping[str, str]) -> list[dict[str, Any]]:
        """Upload the parts that are not there yet; return all of them as the completion wants them."""
        pages = self.client.get_paginator("list_parts").paginate(**named)
        there = {each["PartNumber"]: each for page in pages for each in page.get("Parts", ())}
        failed = threading.Event()

        def finished(future: Future[dict[str, Any]]) -> None:
            if future.exception() is not None:
                failed.set()
            self._slots.release()

        futures = []
        with ThreadPoolExecutor(self.workers) as pool:
            for number, body in enumerate(content.parts(), start=1):
                self._slots.acquire()  # bounds the parts in memory, over all files that are put at once
                if failed.is_set():
                    self._slots.release()
                    break
                futures.append(pool.submit(self._upload_part, named, number, body, there.get(number)))
                futures[-1].add_done_callback(finished)
        return [future.result() for future in futures]

    def _upload_part(
        self, named: Mapping[str, str], number: int, body: bytes, there: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        if there is None or not _is_of(there, body):
            there = self.client.upload_part(**named, PartNumber=number, Body=body)
        checksums = {key: there[key] for key in there if key.startswith("Checksum") and key != "ChecksumType"}
        return {"PartNumber": number, "ETag": there["ETag"], **checksums}

    def _abort(self, named: Mapping[str, str]) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self.client.abort_multipart_upload(**named)
        except (BotoCoreError, ClientError) as err:
            log.warning("%s: an upload that is of no use was not removed (%s)", self.url, type(err).__name__)

    # ---- Asking ----------------------------------------------------------------------------------------------------

    def _named(self, sha256: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": f"{self.prefix}{KEYS}/{sha256}"}

    def _unless_absent(self, ask: Callable[[], Answer]) -> Answer | None:
        from botocore.exceptions import ClientError

        try:
            return ask()
        except ClientError as err:
            if _code(err) in ABSENT:
                return None
            raise


def open_bucket(address: BucketAddress, workers: int) -> S3:
    """Return the place of an address, with the AWS account, region and endpoint of this environment.

    Raises `ServiceError` where AWS cannot be set up.
    """
    client = s3_client(address.url, workers + 4)
    return S3(address.url, address.bucket, address.prefix, client, workers)


def s3_client(url: str, connections: int) -> Any:
    """Return botocore's client of S3 with so many connections; account, region and endpoint from the environment.

    Raises `ServiceError` or `ConfigurationError`, with `url` as the place, where that cannot be set up.
    """
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session

    try:
        waits = {"connect_timeout": CONNECT_TIMEOUT_S, "read_timeout": READ_TIMEOUT_S}
        return Session().create_client("s3", config=Config(max_pool_connections=connections, **waits))
    except BotoCoreError as err:
        raise ServiceError(f"{url}: {_one_line(err)}; see to the AWS settings of this environment") from err
    except ValueError as err:
        raise ConfigurationError(f"{url}: AWS_ENDPOINT_URL is no address; expected https://host or none") from err


@contextmanager
def answering(url: str) -> Iterator[None]:
    """Turn what botocore raises in the block into a `ServiceError` of one line that holds no account."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as err:
        raise ServiceError(
            f"{url}: {err.operation_name} was refused ({_code(err)}), expected a bucket that is there and a role that"
            " may use it; see the role's policy"
        ) from err
    except BotoCoreError as err:
        raise ServiceError(f"{url}: {_one_line(err)}; see to the network and the credentials") from err


def _code(err: Any) -> str:
    return str(err.response.get("Error", {}).get("Code", "no code"))


def _one_line(err: Exception) -> str:
    return _ACCOUNT.sub("//", " ".join(str(err).split()))


def _is_of(there: Mapping[str, Any], body: bytes) -> bool:
    """Whether an uploaded part holds these bytes; with keys of its own S3 tells no MD5, and the part is sent again."""
    md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
    return int(there["Size"]) == len(body) and there["ETag"].strip('"') == md5
