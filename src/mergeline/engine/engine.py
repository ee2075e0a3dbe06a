"""What every engine does, and the one that is always there: a loop in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from mergeline.models.family import Gang
    from mergeline.params.engine import EngineParams

Part = TypeVar("Part")
Found = TypeVar("Found")

PARTS_A_WORKER = 4  # so that a worker with a slow part does not keep the others waiting


class Engine(Protocol):
    """Runs a function on parts of the work.

    The function and the parts travel to other processes: functions of a module, records, no open files. An error of the
    project's own is raised here as it was raised there.
    """

    @property
    def workers(self) -> int:
        """How many parts are under way at once."""
        ...

    @property
    def gang(self) -> Gang | None:
        """Several processes at once that talk to each other; None of an engine that is one process."""
        ...

    def map(self, function: Callable[[Part], Found], parts: Iterable[Part]) -> Iterator[Found]:
        """Yield what the function returns for each part, in their order; few of them are in memory at once."""
        ...


class Local:
    """One part after another, in this process."""

    workers = 1
    gang: Gang | None = None

    def map(self, function: Callable[[Part], Found], parts: Iterable[Part]) -> Iterator[Found]:
        """Yield what the function returns for each part."""
        return map(function, parts)


@contextmanager
def running(settings: EngineParams, environment: Mapping[str, str]) -> Iterator[Engine]:
    """Give the engine that `settings` name. A cluster is met, or started, by the first part, and left at the end."""
    if settings.name == "local":
        yield Local()
        return
    from mergeline.engine.ray import Ray

    engine = Ray(settings, environment)
    try:
        yield engine
    finally:
        engine.close()


def divided(items: Sequence[Part], engine: Engine) -> list[Sequence[Part]]:
    """Return the items in parts that lie end to end: one for an engine of one worker, else some for each worker.

    >>> divided("abc", Local())
    ['abc']
    """
    count = 1 if engine.workers == 1 else min(len(items), engine.workers * PARTS_A_WORKER)
    ends = [len(items) * number // max(1, count) for number in range(count + 1)]
    return [items[start:end] for start, end in pairwise(ends)]
