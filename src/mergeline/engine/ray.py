"""The engine Ray: tasks on a cluster that is there, or on workers that are started on this machine."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from mergeline.errors import ConfigurationError, MergelineError, ServiceError

if TYPE_CHECKING:
    from mergeline.params.engine import EngineParams

Part = TypeVar("Part")
Found = TypeVar("Found")

AHEAD = 2  # parts a worker that are under way or done and not yet taken
RETRIES = 3  # of a part whose worker was killed
STORE_BYTES = 200 * 2**20  # shared memory of a cluster on this machine; what does not fit goes to its folder
ANSWER_S = 5.0  # for a cluster's port to open
PLACED_S = 600.0  # for workers to be free, or to be started by a cluster that grows
ADDRESS_VARIABLE = "RAY_ADDRESS"
# Nothing is reported; what fails is said once, by the command; a part that takes too much memory is not tried for ever.
VARIABLES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",
    "RAY_task_oom_retries": str(RETRIES),
}
# Ray's folder holds sockets, whose paths have at most 107 characters: a folder of the user's may be too deep.
FOLDERS = "/tmp"  # noqa: S108 -- mkdtemp makes one in it that only the user can read


@dataclass(frozen=True, slots=True)
class _Raised:
    """An error of the project's own on its way back."""

    error: MergelineError


class Ray:
    """Workers of Ray, met or started when the first part comes."""

    def __init__(self, settings: EngineParams, environment: Mapping[str, str]) -> None:
        self._settings = settings
        self._address = environment.get(ADDRESS_VARIABLE) or settings.address
        self._library: Any = None
        self._folder: str | None = None
        self._joined = False  # by this engine; a process is in one cluster at a time

    @property
    def workers(self) -> int:
        """How many parts are under way at once."""
        return self._settings.workers

    @property
    def gang(self) -> RayGang:
        """Several workers at once."""
        return RayGang(self)

    def map(self, function: Callable[[Part], Found], parts: Iterable[Part]) -> Iterator[Found]:
        """Yield what the function returns for each part, in their order."""
        ray = self.library()
        call = ray.remote(_call).options(num_cpus=1, max_retries=RETRIES)
        everywhere = ray.put(function)
        under_way: deque[Any] = deque()
        # After an error what is under way ends by itself, unheard: `ray.cancel` now and then ends this process instead,
        # where an answer comes at the same moment (seen with 2.60).
        for part in parts:
            if len(under_way) == self.workers * AHEAD:
                yield self.taken(under_way.popleft())
            under_way.append(call.remote(everywhere, part))
        while under_way:
            yield self.taken(under_way.popleft())

    def taken(self, reference: Any) -> Any:
        """Return what a worker found; raise what it raised, and ServiceError where it was killed again and again."""
        errors = self.library().exceptions
        try:
            found = self.library().get(reference)
        except (errors.WorkerCrashedError, errors.OutOfMemoryError, errors.NodeDiedError) as err:
            raise _LostError(
                f"engine: a worker of Ray was lost {RETRIES + 1} times ({_first_line(err)}); see its memory"
            ) from err
        except errors.RayError as err:
            cause = getattr(err, "cause", err)
            if isinstance(cause, errors.RayError):
                raise ServiceError(
                    f"engine: a worker of Ray took no part ({_first_line(cause)}); it needs this package and its pins"
                ) from err
            raise cause from err
        if isinstance(found, _Raised):
            raise found.error
        return found

    def library(self) -> Any:
        """Return Ray, connected."""
        if self._library is None:
            self._library = self._connected()
        return self._library

    def close(self) -> None:
        """Leave the cluster; end it where it was started here."""
        if self._library is not None and self._joined:
            self._library.shutdown()
        self._library = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _connected(self) -> Any:
        if self._address:
            _check_answers(self._address)
        else:
            os.environ.setdefault("RAY_AUTH_MODE", "token")
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else Ray keeps one in the home folder
        os.environ.update(VARIABLES)  # Ray and the processes that it starts read them there, and nowhere else
        try:
            import ray
        except ModuleNotFoundError as err:
            raise ConfigurationError(
                f"engine.name: ray needs {err.name}, which is not installed: `make dev`, or the extra `ray`"
            ) from err
        if ray.is_initialized():
            return ray
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if self._address:
            options["address"] = self._address
        else:
            self._folder = tempfile.mkdtemp(prefix="mergeline-", dir=FOLDERS)
            options |= {"address": "local", "num_cpus": self.workers, "num_gpus": 0, "include_dashboard": False}
            options |= {"object_store_memory": STORE_BYTES, "_temp_dir": self._folder}
        # What the nodes say of a lost worker would go to stdout, which is data. There is no public switch.
        ray._private.worker._worker_logs_enabled = False  # noqa: SLF001
        self._joined = True
        try:
            ray.init(**options)
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as err:
            self.close()
            raise ServiceError(
                f"engine: Ray at {self._address or 'this machine'}: expected to join it, found: {_first_line(err)}"
            ) from err
        return ray


class RayGang:
    """Several workers of Ray that run at once."""

    def __init__(self, engine: Ray) -> None:
        self._engine = engine

    @property
    def host(self) -> str:
        """The address at which the workers reach this process."""
        found: str = self._engine.library().util.get_node_ip_address()
        return found

    def run(self, function: Callable[[Part], Found], parts: Callable[[], Sequence[Part]]) -> list[Found]:
        """Return what the function returns for each part, each in a process of its own, all at once.

        Where one of them is lost the others end, and all begin anew with what `parts` then gives.
        """
        ray = self._engine.library()
        for _ in range(RETRIES):
            with self._places(chosen := parts()) as places:
                call = ray.remote(_call)
                under_way = [
                    call.options(num_cpus=1, max_retries=0, scheduling_strategy=place).remote(function, part)
                    for place, part in zip(places, chosen, strict=True)
                ]
                with contextlib.suppress(_LostError):
                    return self._all(under_way)
        raise ServiceError(f"engine: a worker of Ray was lost in {RETRIES} attempts; see its memory")

    def _all(self, under_way: list[Any]) -> list[Any]:
        """The answers in their order; whichever fails first is heard first, as the others would wait for it."""
        waiting = list(under_way)
        while waiting:
            [first], waiting = self._engine.library().wait(waiting)
            self._engine.taken(first)
        return [self._engine.taken(each) for each in under_way]

    @contextlib.contextmanager
    def _places(self, parts: Sequence[Any]) -> Iterator[list[Any]]:
        """Room for all at once; given back at the end, when what still runs in it is ended."""
        from ray.util.placement_group import placement_group, remove_placement_group
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        group = placement_group([{"CPU": 1}] * len(parts), strategy="SPREAD")
        try:
            if not group.wait(PLACED_S):
                raise ServiceError(
                    f"engine: expected {len(parts)} free workers at once, waited {PLACED_S:.0f} s; see the cluster"
                )
            yield [
                PlacementGroupSchedulingStrategy(placement_group=group, placement_group_bundle_index=number)
                for number in range(len(parts))
            ]
        finally:
            remove_placement_group(group)


class _LostError(ServiceError):
    """A worker was killed."""


def _call(function: Callable[[Part], Found], part: Part) -> Found | _Raised:
    """Run in a worker."""
    try:
        return function(part)
    except MergelineError as err:
        return _Raised(err)


def _check_answers(address: str) -> None:
    """Raise ServiceError where no one listens: Ray itself would go on asking for a minute."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), ANSWER_S).close()
    except (OSError, ValueError, OverflowError) as err:
        raise ServiceError(
            f"engine: expected a cluster of Ray at {address}, found none ({err}); see engine.address and"
            f" {ADDRESS_VARIABLE}"
        ) from err


def _first_line(err: BaseException) -> str:
    return (str(err).strip() or type(err).__name__).splitlines()[0]
