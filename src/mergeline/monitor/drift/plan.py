"""What of the log is to be counted: windows, a release, and the files that hold rows of them."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from mergeline.monitor.drift.logfile import Facts
from mergeline.monitor.windows import OLDEST_REQUEST_US, Window, microseconds
from mergeline.schema import Feature

CLOCKS_APART_US = 300_000_000  # servers' clocks may differ from ours by five minutes


@dataclass(frozen=True, slots=True)
class Plan:
    """What is counted: the rows of one release's champion in `windows`, which lie end to end.

    now_us: when the check runs. ahead_us, behind_us: how far after and before the moment of the request the time of its
    event may lie.
    late_after_us: the latest moment of a request that earlier checks read; None: there was none. sample_rows: rows of a
    window that are kept for the classifier. new: the files that earlier checks did not know; None: it is not known.
    """

    model_sha256: str
    features: tuple[Feature, ...]
    windows: tuple[Window, ...]
    now_us: int
    ahead_us: int
    late_after_us: int | None = None
    sample_rows: int = 0
    behind_us: int = OLDEST_REQUEST_US
    new: frozenset[str] | None = None

    @property
    def start_us(self) -> int:
        """When the first window begins."""
        return microseconds(self.windows[0].start)

    @property
    def end_us(self) -> int:
        """When the last window ends."""
        return microseconds(self.windows[-1].end)


@dataclass(frozen=True, slots=True)
class Work:
    """A file to count, and the files before it that some of its rows may stand in, too."""

    key: str
    suspects: tuple[str, ...] = ()


def work(facts: Iterable[Facts], plan: Plan) -> list[Work]:
    """Return the files that hold rows which count, in the order given, each with those that it may be a copy of.

    Copies of files, and files that were put together of others, begin or end at the same microsecond as what they were
    made of. Request ids are compared between such files, and between them and those that lie in their time, so that
    memory is bounded by the few files that look alike. A new file is compared with those that earlier checks knew.
    """
    there = [each for each in facts if each.rows]
    kept = [each for each in there if not _passed_over(each, plan)]
    new = plan.new or frozenset()
    suspects: dict[str, list[str]] = {each.key: [] for each in kept}
    place = {each.key: (each.key in new, at) for at, each in enumerate(there)}
    for first, second in _alike(kept if new.isdisjoint(suspects) else there):
        earlier, later = sorted((first, second), key=place.__getitem__)
        if later in suspects and (earlier in suspects or later in new):
            suspects[later].append(earlier)
    return [Work(key, tuple(sorted(names, key=place.__getitem__))) for key, names in suspects.items()]


def _alike(files: Sequence[Facts]) -> Iterator[tuple[str, str]]:
    """Pairs of files that overlap in time, where one of them begins or ends with the same request as another file."""
    told = sorted((each for each in files if each.moments), key=lambda each: each.moments or (0, 0))
    ends = Counts(end for each in told if each.moments for end in enumerate(each.moments))
    marked = {each.key for each in told if each.moments and any(ends[end] > 1 for end in enumerate(each.moments))}
    open_: list[Facts] = []
    for each in told:
        first, _ = each.moments or (0, 0)
        open_ = [other for other in open_ if other.moments and other.moments[1] >= first]
        yield from ((each.key, other.key) for other in open_ if each.key in marked or other.key in marked)
        open_.append(each)


def _passed_over(each: Facts, plan: Plan) -> bool:
    """Whether the footer alone says that no row counts, late ones and those of clocks that go wrong included."""
    if each.moments is None or each.events is None:
        return False
    right = each.moments[1] <= plan.now_us + CLOCKS_APART_US and each.events[1] <= each.moments[0] + plan.ahead_us
    over = each.events[1] < plan.start_us and not _has_something_to_say(each, plan)
    return right and (over or each.events[0] >= plan.end_us)


def _has_something_to_say(each: Facts, plan: Plan) -> bool:
    """Whether a file of earlier times may hold rows that no check has counted apart yet."""
    if plan.new is not None:
        return each.key in plan.new
    first, last = each.moments or (0, 0)
    if plan.late_after_us is not None:
        return last > plan.late_after_us
    return first < plan.now_us - OLDEST_REQUEST_US or (each.events or (0, 0))[0] < last - plan.behind_us
