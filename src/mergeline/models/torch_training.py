"""How the network learns: from rows that lie in one part, or in several that each bring their share of every step.

Synchronous data parallelism as in Li et al. (2020), "PyTorch Distributed: Experiences on Accelerating Data Parallel
Training": each process holds the whole network and a part of the rows, and steps by the sum of all gradients. Without
processes of their own the parts of a step come one after another, and what is learnt is the same.
"""

from __future__ import annotations

import copy
import datetime as dt
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import distributed
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # named in its __all__ by none
from torch.nn import functional

from mergeline.errors import ConfigurationError, VerificationError
from mergeline.models.family import Fitting, Gang, Rows

if TYPE_CHECKING:
    from mergeline.models.torch_mlp import Network
    from mergeline.params import TorchMlp

MEETING = dt.timedelta(minutes=5)  # for all processes to be there, and for the slowest of them in a step

Weights = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Lesson:
    """What every process is told: the network as it begins, and how many rows each part has.

    epochs: how many at most, or exactly where no part has tuning rows.
    """

    network: Network
    settings: TorchMlp
    seed: int
    epochs: int
    rows: tuple[int, ...]
    tuning_rows: int


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one worker, and its number."""

    number: int
    training: Rows
    tuning: Rows | None


@dataclass(frozen=True, slots=True)
class Learnt:
    """The best weights, of which epoch they are, and their SHA-256."""

    weights: Weights
    epoch: int
    sha256: str


class Exchange(Protocol):
    """Adds up a tensor over all processes, in place; afterwards all of them hold the same bits."""

    def __call__(self, tensor: torch.Tensor) -> None: ...


def learn(network: Network, fitting: Fitting) -> int:
    """Run the epochs, leave the best weights in `network`, return the number of the best epoch."""
    settings = fitting.params.torch_mlp
    lesson = Lesson(
        network,
        settings,
        fitting.params.seed,
        fitting.rounds or settings.epochs,
        tuple(len(fitting.training.target[at :: settings.workers]) for at in range(settings.workers)),
        0 if fitting.tuning is None else len(fitting.tuning.target),
    )
    parts = [_part(fitting, at, settings.workers) for at in range(settings.workers)]
    if fitting.gang is None or len(parts) == 1:
        learnt = learnt_from(lesson, parts, _alone, fitting.progress)
    else:
        fitting.progress(f"training in {len(parts)} processes")
        learnt = _learnt_apart(lesson, parts, fitting.gang)
    network.load_state_dict(learnt.weights)
    return learnt.epoch


def learnt_from(
    lesson: Lesson, parts: Sequence[Part], exchange: Exchange, progress: Callable[[str], None] = lambda step: None
) -> Learnt:
    """Run the epochs with the parts that this process holds; `exchange` knows of the others."""
    network, settings = lesson.network, lesson.settings
    learners = [_Learner(lesson, part) for part in parts]
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    best, best_epoch, best_weights = float("inf"), 0, copy.deepcopy(network.state_dict())
    for epoch in range(1, lesson.epochs + 1):
        network.train()
        for learner in learners:
            learner.shuffle()
        for step in range(_steps(lesson)):
            optimizer.zero_grad()
            for learner in learners:
                learner.backward(step)
            _add_gradients(network, exchange)
            optimizer.step()
        network.eval()
        if not lesson.tuning_rows:
            progress(f"epoch {epoch} of {lesson.epochs}")
            continue
        loss = _tuning_loss(lesson, parts, exchange)
        progress(f"epoch {epoch} of {lesson.epochs}, tuning loss {loss:.4f}")
        if loss < best:
            best, best_epoch, best_weights = loss, epoch, copy.deepcopy(network.state_dict())
        elif epoch - best_epoch >= settings.patience:
            break
    if not lesson.tuning_rows:
        best_epoch, best_weights = lesson.epochs, network.state_dict()
    if not best_epoch:
        raise ConfigurationError("train.torch_mlp: no epoch has a finite tuning loss; choose a lower learning_rate")
    return Learnt(best_weights, best_epoch, _sha256(best_weights))


class _Learner:
    """One part of the rows while it is learnt from, with random numbers of its own where there are several."""

    def __init__(self, lesson: Lesson, part: Part) -> None:
        self._lesson = lesson
        self._number = part.number
        self._features, self._target = _tensors(lesson.network, part.training)
        self._batches: Sequence[torch.Tensor] = ()
        self._random: torch.Tensor | None = None
        if len(lesson.rows) > 1:
            [seed] = np.random.SeedSequence([lesson.seed, part.number]).generate_state(1, np.uint64).tolist()
            self._random = torch.Generator().manual_seed(seed).get_state()

    def shuffle(self) -> None:
        """Begin an epoch."""
        self._take_random()
        self._batches = torch.split(torch.randperm(len(self._features)), _batch_rows(self._lesson))
        self._keep_random()

    def backward(self, step: int) -> None:
        """Add to the gradients what this part brings to the mean loss of all rows of a step."""
        if step >= len(self._batches):
            return
        batch, network = self._batches[step], self._lesson.network
        self._take_random()
        loss = _loss(network, self._features[batch], self._target[batch])
        torch.autograd.backward(loss * (len(batch) / _rows_of(self._lesson, step)))
        self._keep_random()

    def _take_random(self) -> None:
        if self._random is not None:
            torch.set_rng_state(self._random)

    def _keep_random(self) -> None:
        if self._random is not None:
            self._random = torch.get_rng_state()


def _part(fitting: Fitting, number: int, workers: int) -> Part:
    """Every so many rows, so that each part has old ones and new ones."""
    if workers == 1:
        return Part(0, fitting.training, fitting.tuning)
    dealt = [
        None if rows is None else Rows(np.ascontiguousarray(rows.matrix[number::workers]), rows.target[number::workers])
        for rows in (fitting.training, fitting.tuning)
    ]
    training, tuning = dealt
    if training is None or not len(training.target):
        raise ConfigurationError(f"train.torch_mlp.workers: expected at most one a row, found {workers}; choose fewer")
    return Part(number, training, tuning)


def _batch_rows(lesson: Lesson) -> int:
    """The rows of a step that one part brings."""
    return -(-lesson.settings.batch_rows // len(lesson.rows))


def _steps(lesson: Lesson) -> int:
    return -(-max(lesson.rows) // _batch_rows(lesson))


def _rows_of(lesson: Lesson, step: int) -> int:
    """The rows of a step that all parts bring."""
    size = _batch_rows(lesson)
    return sum(min(size, max(0, rows - step * size)) for rows in lesson.rows)


def _add_gradients(network: Network, exchange: Exchange) -> None:
    """Make the gradients of this process those of all."""
    if exchange is _alone:
        return
    parameters = list(network.parameters())
    flat = torch.cat([(torch.zeros_like(each) if each.grad is None else each.grad).view(-1) for each in parameters])
    exchange(flat)
    for each, gradient in zip(parameters, torch.split(flat, [each.numel() for each in parameters]), strict=True):
        each.grad = gradient.view_as(each)


def _tuning_loss(lesson: Lesson, parts: Sequence[Part], exchange: Exchange) -> float:
    """The mean loss of all tuning rows, the same bits in every process: all have to stop after the same epoch."""
    found = torch.zeros(1, dtype=torch.float64)
    for part in parts:
        if part.tuning is not None and len(part.tuning.target):
            features, target = _tensors(lesson.network, part.tuning)
            with torch.no_grad():
                found += float(_loss(lesson.network, features, target)) * (len(target) / lesson.tuning_rows)
    exchange(found)
    return float(found)


def _loss(network: Network, features: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    output = network.raw(features)  # (rows, classes)
    if network.regression:
        return functional.mse_loss(output[:, 0], ((target - network.center) / network.spread).float())
    return functional.cross_entropy(output, target)


def _tensors(network: Network, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
    kind = np.float64 if network.regression else np.int64
    return torch.from_numpy(rows.matrix), torch.from_numpy(rows.target.astype(kind))


def _sha256(weights: Weights) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _alone(tensor: torch.Tensor) -> None:
    """All parts are in this process, and what they bring is added up already."""


# ---- Several processes -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seat:
    """What one process gets: the lesson, its part, and where all of them meet."""

    lesson: Lesson
    part: Part
    host: str
    port: int


def _learnt_apart(lesson: Lesson, parts: Sequence[Part], gang: Gang) -> Learnt:
    """Learn in a process a part; raise VerificationError where they did not come to the same network."""
    meetings = []  # a meeting place is there as long as this process keeps it; each attempt has one of its own

    def seats() -> list[Seat]:
        # at all addresses of this machine: the processes may run on other ones
        meeting = TCPStore("0.0.0.0", 0, None, is_master=True, wait_for_workers=False)  # noqa: S104
        meetings.append(meeting)
        return [Seat(lesson, part, gang.host, meeting.port) for part in parts]

    found: list[Learnt] = gang.run(_take_seat, seats)
    if len({each.sha256 for each in found}) != 1:
        raise VerificationError(
            f"train.torch_mlp: expected {len(parts)} processes to learn the same network, found different ones; the"
            " machines have to have the same processors and the same torch"
        )
    return found[0]


def _take_seat(seat: Seat) -> Learnt:
    """Learn beside the others, in a process of this part's own."""
    size, number = len(seat.lesson.rows), seat.part.number
    meeting = TCPStore(seat.host, seat.port, None, is_master=False, timeout=MEETING)
    distributed.init_process_group("gloo", store=meeting, rank=number, world_size=size, timeout=MEETING)
    try:
        with torch.random.fork_rng(devices=[]):
            return learnt_from(seat.lesson, [seat.part], distributed.all_reduce)
    finally:
        distributed.destroy_process_group()
