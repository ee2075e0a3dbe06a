"""What the tests of the engine have done in its workers: a module of its own, which a worker imports quickly."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mergeline.errors import DataError


def from_where(part: int) -> tuple[int, int]:
    time.sleep(0.05)
    return part, os.getpid()


def refused(part: int) -> int:
    if part == 3:
        raise DataError("part 3: expected rows, found none; restore it")
    return part


def refused_or_waiting(part: int) -> int:
    """As one process of several does that waits for another, which has failed."""
    if refused(part) == 1:
        time.sleep(3600)
    return part


def divided_by(part: int) -> float:
    return 1 / part


def killed_once(flag: str) -> str:
    """Ends its own process where there is no such file yet."""
    if not Path(flag).exists():
        Path(flag).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return flag


def killed_always(part: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def variables(names: Sequence[str]) -> list[str | None]:
    return [os.environ.get(name) for name in names]


def planted(plant: Callable[[], None], function: Callable[[Any], Any], part: Any) -> Any:
    """In a worker, whose module is as it was afterwards."""
    from mergeline.models import torch_training

    before = dict(vars(torch_training))
    plant()
    try:
        return function(part)
    finally:
        vars(torch_training).update(before)


def keep_gradients_apart() -> None:
    from mergeline.models import torch_training

    torch_training._add_gradients = lambda network, exchange: None


def weigh_each_part_as_the_whole() -> None:
    from mergeline.models import torch_training

    torch_training._rows_of = lambda lesson, step: 125
