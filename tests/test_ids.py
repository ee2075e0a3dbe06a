"""ids: names that follow each other, one by one or many at a time, and never meet."""

from __future__ import annotations

import random

import pytest

from mergeline.serve.ids import Ids

TAKEN = (1, 0, 99, 255, 256, 257, 1_000)


class Fixed(random.Random):
    """Draws what a test says in place of the counter's start, then random bits."""

    def __init__(self, start: int) -> None:
        super().__init__(7)
        self._start: int | None = start

    def getrandbits(self, k: int) -> int:
        """The start, once."""
        start, self._start = self._start, None
        return super().getrandbits(k) if start is None else start


@pytest.mark.parametrize("start", [0, 5, 254, 255, 2**31 - 1, 2**32 - 200, 2**32 - 1])
def test_many_ids_count_on_from_the_last_one_and_from_the_highest_to_zero(start: int) -> None:
    ids = Ids(Fixed(start))
    made = [ids.next(), *(name for count in TAKEN for name in ids.many(count)), ids.next()]
    assert len(set(made)) == len(made) == sum(TAKEN) + 2
    assert {len(name) for name in made} == {36}
    assert [int(name[-8:], 16) for name in made] == [(start + 1 + at) % 2**32 for at in range(len(made))]


def test_many_ids_are_of_one_millisecond() -> None:
    assert len({name[:28] for name in Ids().many(1_000)}) == 1
