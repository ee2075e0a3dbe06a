"""`mergeline` with something planted in its server: `python planted_candidate.py PLANT[,PLANT...] ARGUMENT...`."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from mergeline.cli import main

if TYPE_CHECKING:
    from servers import Released, Server


def quick() -> None:
    """Drift is counted anew for every reading, so that a test need not wait for it."""
    patch("mergeline.serve.status.DRIFT_EVERY_S", 0.05).start()


def erring() -> None:
    """Every second prediction fails."""
    from mergeline.serve.predict import Predictor

    predict, count = Predictor.predict, itertools.count()

    async def errs(self: Predictor, body: bytes, request_id: str) -> Any:
        if next(count) % 2:
            raise RuntimeError("planted")
        return await predict(self, body, request_id)

    patch.object(Predictor, "predict", errs).start()


def slow() -> None:
    """Every prediction takes a tenth of a second longer."""
    from mergeline.serve.predict import Predictor

    predict = Predictor.predict

    async def waits(self: Predictor, body: bytes, request_id: str) -> Any:
        await asyncio.sleep(0.1)
        return await predict(self, body, request_id)

    patch.object(Predictor, "predict", waits).start()


def refusing() -> None:
    """Every prediction is refused, as of a model that asks for other features."""
    from mergeline.serve.predict import Predictor
    from mergeline.serve.problems import Problem

    async def refuses(self: Predictor, body: bytes, request_id: str) -> Any:
        raise Problem(422, "rows[0].features.planted: missing", "rows[0].features.planted")

    patch.object(Predictor, "predict", refuses).start()


def moved_scores() -> None:
    """Every score lies near one end; what is proven before the server is ready does not go this way."""
    from mergeline.serve.variants import Variant

    score = Variant.score

    def moves(self: Variant, rows: Any) -> Any:
        found = score(self, rows) * 0.1
        found[:, 0] += 0.9
        return found

    patch.object(Variant, "score", moves).start()


def never_ready() -> None:
    """The process answers, and is not ready."""
    from mergeline.serve.lifecycle import Lifecycle

    patch.object(Lifecycle, "is_ready", property(lambda self: False, lambda self, value: None), create=True).start()


def accepting() -> None:
    """A body that cannot be read fails, in the place of being refused."""
    from mergeline.serve.rows import RequestModel

    decode = RequestModel.decode

    def fails(self: RequestModel, body: bytes) -> Any:
        if b"NaN" in body:
            raise RuntimeError("planted")
        return decode(self, body)

    patch.object(RequestModel, "decode", fails).start()


def nameless() -> None:
    """An answer does not say which variant it came from."""
    from mergeline.serve.predict import Predictor
    from mergeline.serve.problems import Answer

    predict = Predictor.predict

    async def hides(self: Predictor, body: bytes, request_id: str) -> Any:
        answer = await predict(self, body, request_id)
        return Answer(answer.body.replace(b'"variant":"champion"', b'"variant":""'))

    patch.object(Predictor, "predict", hides).start()


PLANTS: dict[str, Callable[[], None]] = {
    "quick": quick,
    "erring": erring,
    "slow": slow,
    "refusing": refusing,
    "moved-scores": moved_scores,
    "never-ready": never_ready,
    "accepting": accepting,
    "nameless": nameless,
}


@contextmanager
def planted(released: Released, *options: str, plant: Sequence[str], ready: bool = True) -> Iterator[Server]:
    """A server of a release in which something of this file is planted; `ready`: as soon as it is that."""
    from servers import serving, started

    start = serving if ready else started
    with (
        patch("servers.PLANTED", Path(__file__)),
        start(released.root, *released.options, "--log", "none", *options, plant=plant) as server,
    ):
        server.wait_until("listens", lambda: bool(server.told("listening")))
        yield server


if __name__ == "__main__":
    for name in sys.argv[1].split(","):
        PLANTS[name]()
    sys.exit(main(sys.argv[2:]))
