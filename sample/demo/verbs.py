"""One way to play a pull request and what follows it: the workflows' verbs in their order, in the one clone."""

from __future__ import annotations

import datetime as dt
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mergeline.errors import DegradationFound
from mergeline.files import LOCAL_STATE
from mergeline.layout import REPORT_HTML

if TYPE_CHECKING:
    from sample.demo.place import Place

REFUSED = re.compile(r"^ *REFUSED  (.*)$", re.MULTILINE)
VERDICT = re.compile(r"verdict: .*\(failed: ([^()]+)\)")
DRIFT_HTML = "drift.html"
PERFORMANCE_HTML = Path(".mergeline/performance/report.html")


@dataclass(frozen=True, slots=True)
class Judged:
    """A pull request whose gate is green: its number, and its report as a page."""

    number: int
    page: Path


@dataclass(frozen=True, slots=True)
class Refused:
    """A pull request whose gate is red: the gates that have failed, and its report as a page."""

    gates: frozenset[str]
    page: Path


@dataclass(frozen=True, slots=True)
class Checked:
    """What the checks of a schedule have left: the decision, the partitions that were collected, a page each."""

    decision: dict[str, Any]
    partitions: tuple[str, ...]
    drift: Path
    performance: Path


@dataclass(slots=True)
class Verbs:
    """The verbs themselves; `why` is the reason, as in `because WHY`. Pull requests are numbered as they come."""

    place: Place
    why: str = "it was asked for so"
    number: int = 0

    @property
    def how(self) -> str:
        """How the acts are played, for a person."""
        return f"by the same verbs, because {self.why}"

    def set_up(self) -> None:
        """Nothing: all happens in the one clone."""

    def propose(self, branch: str) -> None:
        """Nothing: the branch that is checked out is in the one clone."""

    def judge(self, branch: str) -> Judged:
        """Run what a pull request runs, in the checkout, which is of its branch; its gate has to be green."""
        place = self.place
        if self.place.git("rev-parse", "--abbrev-ref", "HEAD") != branch:
            place.git("checkout", "-q", "-f", branch)
            place.data()
        place.run("repro", "--no-track")
        place.run("record")
        gate = place.run("gate").out
        place.expect("REFUSED" not in gate and "held" in gate, "a gate on which everything holds")
        return Judged(self.next(), place.root / REPORT_HTML)

    def refuse(self, branches: Sequence[str]) -> Iterator[Refused]:
        """Run the same for branches whose gate has to be red, one after the other; the last one stays checked out."""
        return map(self._refuse, branches)

    def _refuse(self, branch: str) -> Refused:
        place = self.place
        place.git("checkout", "-q", "-f", branch)
        place.data()
        place.run("repro", "--no-track")
        place.run("record")
        said = place.run("gate", code=4).err
        page = place.root / LOCAL_STATE / f"{branch}.html"
        shutil.copy(place.root / REPORT_HTML, page)  # the next one's will lie there
        return Refused(failed(said), page)

    def turn_back(self, branch: str) -> Judged:
        """The same of a revert: a release that was live before, which asks for no run of the pipeline."""
        self.place.git("checkout", "-q", "-f", branch)
        gate = self.place.run("gate").out
        self.place.expect("REFUSED" not in gate, "a gate that lets the revert pass")
        return Judged(self.next(), self.place.root / REPORT_HTML)

    def merge(self, judged: Judged, branch: str, title: str) -> str:
        """Merge a pull request; return the commit."""
        return self.place.merge(branch, f"{title} (#{judged.number})")

    def ask_and_propose(self, url: str) -> None:
        """What follows the merge to staging: ask its server, at `url`, and propose its release to production."""
        self.place.run("smoke", url, "--environment", "staging")
        self.place.run("propose", "production")
        self.place.git("fetch", "-q", "origin")

    def promote(self, title: str) -> str:
        """Merge the proposal; return the commit."""
        return self.place.merge("origin/promote/production", f"{title} (#{self.next()})")

    def check(self, until: dt.datetime, now: dt.datetime, act: bool) -> Checked:
        """Run the checks of the schedule; with `act` also what follows where they ask for a retraining.

        Drift looks at no window that ends after `until`.
        """
        decision = check(self.place, until, now)
        partitions: Sequence[str] = ()
        if act and decision["decision"] == "retrain":
            record = json.loads(self.place.run("collect", "--all", "--now", now.isoformat()).out)
            partitions = [str(each["partition"]) for each in record["partitions"]]
            self.place.run("decide", "act")
            self.place.git("fetch", "-q", "origin")
        return Checked(decision, tuple(partitions), self.place.folder / DRIFT_HTML, self.place.root / PERFORMANCE_HTML)

    def next(self) -> int:
        """The number of a further pull request."""
        self.number += 1
        return self.number


def failed(said: str) -> frozenset[str]:
    r"""The gates that have failed, by what the verb `gate` has said; none where it refuses anything but the verdict.

    >>> sorted(failed("held  fresh: yes\nREFUSED  verdict: worse by 0.04: rejected (failed: improvement, slices)"))
    ['improvement', 'slices']
    >>> failed("REFUSED  fresh: no\nREFUSED  verdict: rejected (failed: slices)")
    frozenset()
    """
    refused = REFUSED.findall(said)
    found = VERDICT.fullmatch(refused[0]) if len(refused) == 1 else None
    return frozenset(found[1].split(", ")) if found else frozenset()


def check(place: Place, until: dt.datetime, now: dt.datetime) -> dict[str, Any]:
    """Run the three checks of the schedule, and return the decision; drift looks at no window that ends after `until`.

    A check ends with 0 or, where it has found something, with 5.
    """
    found = (0, DegradationFound.exit_code)
    page = place.folder / DRIFT_HTML
    place.run("drift", "--until", f"{until:%Y-%m-%d}", "--html", str(page), code=found)
    place.run("performance", "--now", now.isoformat(), code=found)
    place.run("decide", "--now", now.isoformat())
    decision: dict[str, Any] = place.record(".mergeline/decide/decision.json")
    return decision
