"""AWS by botocore: one client a service, and errors of one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from mergeline.errors import ServiceError

T = TypeVar("T")
ABSENT = ("NotFound", "NoSuch", "404", "ResourceNotFound", "NotFoundError", "RepositoryNotFound")


@dataclass(frozen=True, slots=True)
class Aws:
    """An account and a region, as the environment has them."""

    region: str

    def client(self, service: str) -> Any:
        """Return the client of a service; raise `ServiceError` where AWS cannot be set up."""
        from botocore.session import Session

        with answering(service):
            return Session().create_client(service, region_name=self.region)


@contextmanager
def answering(where: str) -> Iterator[None]:
    """Turn what botocore raises into a `ServiceError`."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as err:
        code = err.response.get("Error", {}).get("Code", "no code")
        raise ServiceError(
            f"{where}: {err.operation_name} was refused ({code}); expected an account that may do it"
        ) from err
    except BotoCoreError as err:
        text = " ".join(str(err).split())
        raise ServiceError(f"{where}: {text}; see to the AWS settings of this environment") from err


def unless_absent(ask: Callable[[], T]) -> T | None:
    """Return the answer, None where what is asked about is not there."""
    from botocore.exceptions import ClientError

    try:
        return ask()
    except ClientError as err:
        code = str(err.response.get("Error", {}).get("Code", ""))
        if any(each in code for each in ABSENT):
            return None
        raise
