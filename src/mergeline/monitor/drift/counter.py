"""Counting files of the log: windows by time, releases and sampling rates apart, rows that stand there twice once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mergeline.monitor.drift import column, logfile
from mergeline.monitor.drift.column import Values
from mergeline.monitor.drift.logfile import Facts, LogFile
from mergeline.monitor.drift.plan import CLOCKS_APART_US, Plan, Work
from mergeline.monitor.drift.tally import Counted, Span
from mergeline.monitor.drift.windowtally import Rows, WindowTally
from mergeline.monitor.windows import OLDEST_REQUEST_US, OUTSIDE, microseconds, placed, too_early
from mergeline.schema import SCORE, Feature, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

CHAMPION = "champion"
NO_MOMENTS: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
DENSE = 3  # windows whose histograms are kept as arrays while files are read; of others the sketches


def count(files: Sequence[Work], open_file: Callable[[str], Any], plan: Plan, threads: int = 1) -> Counted:
    """Return what files of the log count to; `open_file` gives a path or a buffer for a key.

    One row group a thread is in memory at a time. Counts of parts of the files `merge` into that of all of them.
    """
    threads = min(threads, len(files))
    if threads <= 1:
        return _count(files, open_file, plan)
    with ThreadPoolExecutor(threads, thread_name_prefix="log-counter") as pool:
        parts = pool.map(lambda at: _count(files[at::threads], open_file, plan), range(threads))
        return reduce(Counted.merge, parts)


def _count(files: Iterable[Work], open_file: Callable[[str], Any], plan: Plan) -> Counted:
    counter = Counter(plan)
    for each in files:
        counter.add(each, open_file)
    return counter.counted()


class Counter:
    """What has been counted so far."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._categories = [each.name for each in plan.features if each.kind is Kind.CATEGORY]
        self._dense: dict[tuple[int, float], WindowTally] = {}
        self._counted = Counted()
        self._is_new: bool | None = None  # of the file that is read; None: not known

    def add(self, each: Work, open_file: Callable[[str], Any]) -> None:
        """Count a file."""
        with logfile.opened(each.key, open_file(each.key), self._categories) as file:
            known = _known_ids(file, each.suspects, open_file) if each.suspects else None
            columns = self._columns(file)
            self._is_new = None if self._plan.new is None else each.key in self._plan.new
            for group in file.groups():
                self._group(file, group, columns, known)

    def counted(self) -> Counted:
        """Return the counts."""
        for key in list(self._dense):
            self._thin(key)
        return self._counted

    def _columns(self, file: LogFile) -> _Columns:
        """The features that can be read as what they are, and what is otherwise."""
        found, there = [], file.features
        known = {each.name for each in self._plan.features}
        changes = [f"{name}: a column that the release does not know" for name in there - known]
        for feature in self._plan.features:
            if feature.name not in there:
                changes.append(f"{feature.name}: expected a {feature.kind}, found no column")
                continue
            kind = file.schema.field(f"{logfile.FEATURE_PREFIX}{feature.name}").type
            if column.is_kind(kind, feature.kind):
                found.append(feature)
            else:
                changes.append(f"{feature.name}: expected a {feature.kind}, found {kind}")
        return _Columns(tuple(found), tuple(changes))

    def _group(self, file: LogFile, group: int, columns: _Columns, known: NDArray[np.uint64] | None) -> None:
        rows = None
        inside = self._whole(file, group) if known is None else None
        if inside is None:
            rows = _RowsOf(file, group)
            inside = self._inside(rows, known, file, group)
        if not inside:
            return
        self._note(changes=frozenset((window, change) for window, _, _ in inside for change in columns.changes))
        score, ts = (rows.score, rows.ts) if rows else self._score(file, group)
        for _, dense, chosen in inside:
            if self._plan.sample_rows:
                dense.choose(ts, score, chosen)
            dense.score(score, chosen)
        names = {f"{logfile.FEATURE_PREFIX}{each.name}": each for each in columns.features}
        for name, chunks in file.read(group, list(names)):
            feature = names[name]
            values = logfile.one(chunks, column.texts if feature.kind is Kind.CATEGORY else column.numbers)
            for _, dense, chosen in inside:
                dense.add(feature, values, chosen)
        for _, dense, _ in inside:
            dense.end()
        self._forget()

    def _whole(self, file: LogFile, group: int) -> list[tuple[int, WindowTally, Rows]] | None:
        """The window of a row group whose footer tells that all its rows are ours and of one window; else None."""
        plan, moments = self._plan, file.span(group, logfile.TS)
        events = file.span(group, logfile.EVENT_TIME) if file.has_event_times else moments
        rate, version = (file.constant(group, name) for name in (logfile.RATE, logfile.VERSION))
        if moments is None or events is None or rate is None or version is None:
            return None
        if (file.constant(group, logfile.VARIANT), file.constant(group, logfile.MODEL)) != (
            CHAMPION,
            plan.model_sha256,
        ):
            return None
        if moments[1] > plan.now_us + CLOCKS_APART_US or events[1] > moments[0] + plan.ahead_us:
            return None
        if events[0] < moments[1] - plan.behind_us or moments[0] < plan.now_us - OLDEST_REQUEST_US:
            return None
        window = self._window_of(*events)
        if window is None:
            return None
        file.checked_version(version)
        self._note(until_us=moments[1])
        return [(window, self._of(window, float(rate)), None)]

    def _score(self, file: LogFile, group: int) -> tuple[Values, NDArray[np.int64]]:
        """The scores of a row group and, where a sample is wanted, the moments of its requests."""
        names = [SCORE, *([logfile.TS] if self._plan.sample_rows else [])]
        found = dict(file.read(group, names))
        ts = logfile.one(found[logfile.TS], column.moments).filled(0) if logfile.TS in found else NO_MOMENTS
        return logfile.one(found[SCORE], column.numbers), ts

    def _inside(
        self, rows: _RowsOf, known: NDArray[np.uint64] | None, file: LogFile, group: int
    ) -> list[tuple[int, WindowTally, Rows]]:
        """The rows that belong to a window, by window and sampling rate; all others are counted apart."""
        plan = self._plan
        place, late = self._placed(rows)
        if known is not None:
            again = np.isin(logfile.request_hashes(file, group), known)
            self._note(duplicates=_by_place(place[again]))
            place, late = np.where(again, OUTSIDE, place), late & ~again
        self._note(late=int(np.count_nonzero(late)))
        champion = rows.is_text(rows.variant, CHAMPION)
        ours = rows.is_text(rows.model, plan.model_sha256)
        if not champion.all():
            self._note(challengers=_by_place(place[~champion]))
        self._note_others(rows, place, champion & ~ours)
        mine = np.where(champion & ours, place, OUTSIDE)
        return [(window, self._of(window, rate), chosen) for window, rate, chosen in _parted(mine, rows.rate)]

    def _window_of(self, low: int, high: int) -> int | None:
        """The position of the window that holds both of two times; None where none does."""
        for position, window in enumerate(self._plan.windows):
            if microseconds(window.start) <= low and high < microseconds(window.end):
                return position
        return None

    def _placed(self, rows: _RowsOf) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """The window of each row, OUTSIDE of those in none and of those whose clocks go wrong; and which are late."""
        plan = self._plan
        ahead = (rows.ts > plan.now_us + CLOCKS_APART_US) | (rows.time > rows.ts + plan.ahead_us)
        behind = too_early(rows.time, rows.ts, plan.now_us, plan.behind_us) & ~ahead
        wrong = ahead | behind
        late = (rows.time < plan.start_us) & ~wrong & self._may_be_late(rows)
        right = rows.ts[~wrong] if wrong.any() else rows.ts
        until = int(right.max()) if len(right) else None
        self._note(ahead=int(np.count_nonzero(ahead)), behind=int(np.count_nonzero(behind)))
        self._note(until_us=until)
        window = self._window_of(int(rows.time.min()), int(rows.time.max()))
        place = placed(rows.time, plan.windows) if window is None else np.full(len(rows.time), window, dtype=np.intp)
        return np.where(wrong, OUTSIDE, place) if wrong.any() else place, late

    def _may_be_late(self, rows: _RowsOf) -> NDArray[np.bool_]:
        """Which rows no earlier check can have seen: those of a new file; else those that were asked for since."""
        if self._is_new is None and self._plan.late_after_us is not None:
            since: NDArray[np.bool_] = rows.ts > self._plan.late_after_us
            return since
        return np.full(len(rows.ts), bool(self._is_new))

    def _note_others(self, rows: _RowsOf, place: NDArray[np.intp], others: NDArray[np.bool_]) -> None:
        if not others.any():
            return
        models = rows.model
        for at, text in enumerate(models.texts):
            of_model = others & (models.values == at)
            for window in _by_place(place[of_model]):
                times = rows.time[of_model & (place == window)]
                span = Span(len(times), int(times.min()), int(times.max()))
                self._note(others={(window, text): span})

    def _note(self, **more: Any) -> None:
        if any(value not in (0, None, frozenset(), {}) for value in more.values()):
            self._counted = self._counted.merge(Counted(**more))

    def _of(self, window: int, rate: float) -> WindowTally:
        key = (window, rate)
        found = self._dense.pop(key, None) or WindowTally(self._plan)
        self._dense[key] = found  # the one that was used last stands last
        return found

    def _forget(self) -> None:
        for key in list(self._dense)[:-DENSE]:
            self._thin(key)

    def _thin(self, key: tuple[int, float]) -> None:
        """Keep of a window's histograms what is not zero."""
        self._counted = self._counted.merge(Counted(tallies={key: self._dense.pop(key).tally()}))


@dataclass(frozen=True, slots=True)
class _Columns:
    """The features that a file holds as what they are, and what it holds otherwise."""

    features: tuple[Feature, ...]
    changes: tuple[str, ...]


def earliest(facts: Iterable[Facts], open_file: Callable[[str], Any], now_us: int, behind_us: int) -> int | None:
    """Return the first time of a row whose clocks go right; None where no footer tells one.

    Only a file whose footer tells of one that goes wrong is opened, and of its columns those of the times are read.
    """
    found: int | None = None
    for each in sorted((each for each in facts if each.events), key=lambda each: each.events or (0, 0)):
        first, _ = each.events or (0, 0)
        if found is not None and first >= found:
            return found
        is_right = each.moments is not None and first >= each.moments[1] - behind_us
        if not is_right or (each.moments is not None and each.moments[0] < now_us - OLDEST_REQUEST_US):
            right = _right_times(each.key, open_file, now_us, behind_us)
            if not len(right):
                continue
            first = int(right.min())
        found = first if found is None else min(found, first)
    return found


def _right_times(key: str, open_file: Callable[[str], Any], now_us: int, behind_us: int) -> NDArray[np.int64]:
    found = [NO_MOMENTS]
    with logfile.opened(key, open_file(key)) as file:
        for group in file.groups():
            read = {
                name: logfile.one(chunks, column.moments)
                for name, chunks in file.read(group, [logfile.TS, *([logfile.EVENT_TIME] * file.has_event_times)])
            }
            ts = read[logfile.TS].filled(0)
            time = read[logfile.EVENT_TIME].filled(ts) if logfile.EVENT_TIME in read else ts
            found.append(time[~too_early(time, ts, now_us, behind_us)])
    return np.concatenate(found)


class _RowsOf:
    """What says where the rows of a row group belong."""

    def __init__(self, file: LogFile, group: int) -> None:
        names = [*(name for name in logfile.NEEDED if name != logfile.REQUEST_ID)]
        if file.has_event_times:
            names.append(logfile.EVENT_TIME)
        read = {
            **dict.fromkeys((logfile.VERSION, SCORE, logfile.RATE), column.numbers),
            **dict.fromkeys((logfile.TS, logfile.EVENT_TIME), column.moments),
            **dict.fromkeys((logfile.MODEL, logfile.VARIANT), column.texts),
        }
        found: Mapping[str, Values] = {
            name: logfile.one(chunks, read[name]) for name, chunks in file.read(group, names)
        }
        file.checked_version(found[logfile.VERSION])
        self.ts: NDArray[np.int64] = found[logfile.TS].filled(0)
        events = found.get(logfile.EVENT_TIME)
        self.time: NDArray[np.int64] = self.ts if events is None else events.filled(self.ts)
        self.model, self.variant = found[logfile.MODEL], found[logfile.VARIANT]
        self.rate, self.score = found[logfile.RATE], found[SCORE]

    @staticmethod
    def is_text(found: Values, wanted: str) -> NDArray[np.bool_]:
        """Return where [n] a column has the wanted text."""
        place = found.texts.index(wanted) if wanted in found.texts else -1
        same: NDArray[np.bool_] = found.values == place
        return same if found.known is None else same & (found.known != 0)


def _known_ids(file: LogFile, suspects: Sequence[str], open_file: Callable[[str], Any]) -> NDArray[np.uint64] | None:
    """The hashes of what the suspects hold of the file's variants; None where they hold nothing of them."""
    variants, found = file.variants(), []
    for key in suspects:
        with logfile.opened(key, open_file(key)) as other:
            if variants & other.variants():
                found += [logfile.request_hashes(other, group) for group in other.groups()]
    return np.concatenate(found) if found else None


def _by_place(place: NDArray[np.intp]) -> dict[int, int]:
    """How many rows each window has."""
    kept, counts = np.unique(place[place != OUTSIDE], return_counts=True)
    return dict(zip(kept.tolist(), counts.tolist(), strict=True))


def _parted(place: NDArray[np.intp], rate: Values) -> Iterator[tuple[int, float, Rows]]:
    """The rows of each window and sampling rate."""
    rates = rate.filled(1.0)
    if not len(place):
        return
    if (place == place[0]).all() and (rates == rates[0]).all():
        if place[0] != OUTSIDE:
            yield int(place[0]), float(rates[0]), None
        return
    for window in np.unique(place[place != OUTSIDE]).tolist():
        inside = place == window
        for each in np.unique(rates[inside]).tolist():
            yield window, each, np.flatnonzero(inside & (rates == each))
