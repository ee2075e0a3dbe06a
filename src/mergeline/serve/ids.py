"""Names of requests and rows: UUID version 7, which sort by the time at which they were made."""

from __future__ import annotations

import random
import time

LAST_BYTES = [f"{byte:02x}" for byte in range(256)]


class Ids:
    """Makes UUIDs of version 7 (RFC 9562, section 5.7): milliseconds since 1970, then random bits, then a counter.

    The counter takes the lowest 32 bits, so that two ids of one process never meet, even within a millisecond; the
    other 42 random bits are drawn anew for each millisecond.
    """

    def __init__(self, generator: random.Random | None = None) -> None:
        self._random = generator or random.SystemRandom()
        self._count = self._random.getrandbits(31)
        self._millisecond = -1
        self._prefix = ""

    def next(self) -> str:
        """Return a new id as text.

        >>> first, second = Ids().next(), Ids().next()
        >>> len(first), first[14], first[19] in "89ab", first != second
        (36, '7', True, True)
        """
        now = time.time_ns() // 1_000_000
        if now != self._millisecond:
            bits = self._random.getrandbits(42)
            self._millisecond = now
            head = f"{now:012x}"
            self._prefix = (
                f"{head[:8]}-{head[8:]}-7{bits >> 30:03x}-{0x8000 | (bits >> 16 & 0x3FFF):04x}-{bits & 0xFFFF:04x}"
            )
        self._count = (self._count + 1) & 0xFFFFFFFF
        return f"{self._prefix}{self._count:08x}"

    def many(self, count: int) -> list[str]:
        """Return so many new ids of one millisecond, for the rows of one request.

        >>> len(set(Ids().many(1000)))
        1000
        """
        if not count:
            return []
        self.next()
        start, prefix = self._count, self._prefix
        self._count = (start + count - 1) & 0xFFFFFFFF
        ids: list[str] = []
        for block in range(start >> 8, (start + count + 0xFF) >> 8):  # those that differ in the last byte alone
            first, end = start - (block << 8), start + count - (block << 8)
            ids += map(f"{prefix}{block & 0xFFFFFF:06x}".__add__, LAST_BYTES[max(first, 0) : end])
        return ids
