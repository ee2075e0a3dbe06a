"""The acts of the demo that make, judge and promote a model; each asserts what it shows."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sample.demo.act import Act, Fact, Link
from sample.demo.place import Place, Server
from sample.demo.traffic import read_month
from sample.demo.verbs import Verbs

from mergeline.commands.settings import load_params
from mergeline.layout import DATA, RECEIPT

if TYPE_CHECKING:
    import pandas as pd
    from sample.demo.workflows import Workflows

    from mergeline.params import Params

FIRST_MONTHS = ("2013-01", "2013-02", "2013-03")
BEGINNING = dt.datetime(2013, 4, 1, 6, tzinfo=dt.UTC)


@dataclass(slots=True)
class Story:
    """What the acts hand on: the place, the way in which it is played, the server of production, the models by name."""

    place: Place
    way: Verbs | Workflows
    production: Server | None = None
    models: dict[str, str] = field(default_factory=dict)

    @property
    def settings(self) -> Params:
        """The parameters that the checkout has now."""
        return load_params(self.place.root)

    def month(self, name: str) -> pd.DataFrame:
        """The flights of a month, in the order of time."""
        return read_month(self.place.root / "sample" / f"{name}.parquet", self.settings)

    def serve(self) -> Server:
        """Let production serve what its release file names, in place of what it serves."""
        self.end()
        self.production = self.place.start(
            "--environment", "production", "--log", str(self.place.log), "--log-seconds", "1"
        )
        return self.production

    def running(self) -> Server:
        """The server of production."""
        self.place.expect(self.production is not None, "a server of production that runs")
        assert self.production is not None  # noqa: S101  just asked
        return self.production

    def end(self) -> None:
        """End the server of production, if there is one."""
        if self.production is not None and self.production.process.poll() is None:
            self.production.stop()
        self.production = None

    def keep(self, text: str, source: Path, name: str) -> tuple[Link, ...]:
        """Keep a page beside the demo's own; none where it was not made."""
        if not source.is_file():
            return ()
        shutil.copy(source, self.place.folder / name)
        return (Link(text, name),)


Part = Callable[[Story], Act]
MODEL = "model, SHA-256"
BY_HAND = "by the verbs: no workflow has a part in it"


def _promoted(commit: str) -> Fact:
    return Fact("to production", f"commit {commit}")


def put_months(place: Place, months: Sequence[str], as_of: dt.date) -> None:
    """Let `data/` hold these months of the sample, and `data.dvc` name them."""
    shutil.rmtree(place.root / DATA, ignore_errors=True)
    (place.root / DATA).mkdir()
    for month in months:
        shutil.copy(place.root / "sample" / f"{month}.parquet", place.root / DATA)
    place.change_params({"data.as_of": as_of})
    place.tool("dvc", "add", "--quiet", "data")


def receipt(place: Place) -> str:
    """The SHA-256 of the model that the checkout's receipt names."""
    return str(place.record(str(RECEIPT))["model"]["sha256"])


def verdict(place: Place) -> tuple[Fact, ...]:
    """The figures of the comparison that lies in the checkout."""
    comparison = place.record("reports/comparison.json")
    difference = comparison["difference"]
    over = "the running model" if comparison["champion"]["kind"] == "model" else "a baseline"
    return (
        Fact("verdict", str(comparison["verdict"])),
        Fact("ROC AUC on the holdout", f"{place.record('reports/metrics.json')['roc_auc']:.3f}"),
        Fact(
            f"over {over}",
            f"{difference['estimate']:+.3f} ROC AUC (95 % {difference['low']:+.3f} to {difference['high']:+.3f})",
        ),
    )


# ---- 1 ---------------------------------------------------------------------------------------------------------------


def first_pull_request(story: Story) -> Act:
    """January to March: report, gate, merge, staging, smoke test, production; the server answers."""
    place = story.place
    if place.today is None:
        place.go_to(BEGINNING)
    story.way.set_up()
    place.branch("first-model")
    put_months(place, FIRST_MONTHS, dt.date(2013, 4, 1))
    place.commit("Train on January to March")
    story.way.propose("first-model")
    judged = story.way.judge("first-model")
    facts, reviewed = verdict(place), receipt(place)
    links = story.keep("the report of the pull request", judged.page, "report-first.html")
    staged = story.way.merge(judged, "first-model", "Train on January to March")
    first = place.released("staging")
    place.expect(first == reviewed, f"the reviewed model {reviewed[:12]} in staging's release file")
    with place.serving("--environment", "staging", "--log", "none") as staging:
        story.way.ask_and_propose(staging.url)
    promoted = story.way.promote("Promote the first model to production")
    place.expect(place.released("production") == first, "the reviewed model in production's release file")
    served = story.serve().model_sha256
    place.expect(served == first, f"the reviewed model {first[:12]} at the server, not {served[:12]}")
    story.models["first"] = first
    return Act(
        1,
        "The first pull request",
        (
            "A branch names January to March as training table. The pipeline validates, trains, measures on the newest"
            " 30 days and compares with a baseline, because nothing runs yet. The gate says yes, the merge sends the"
            " model to staging, the smoke test asks it, and a one-file pull request takes the same bytes to production."
        ),
        (*facts, Fact(MODEL, first[:12]), Fact("to staging", f"commit {staged}"), _promoted(promoted)),
        links,
        story.way.how,
    )


# ---- 3 ---------------------------------------------------------------------------------------------------------------


def retrained(story: Story) -> Act:
    """The pull request of the watch: better than the running model, merged, canary, promoted."""
    from sample.demo.rollout import canary

    place = story.place
    judged = story.way.judge("retrain/auto")
    comparison = place.record("reports/comparison.json")
    place.expect(comparison["verdict"] == "promote", f"a verdict of promote, not {comparison['verdict']}")
    place.expect(
        comparison["champion"].get("sha256") == story.models["first"],
        "a comparison with the model that production runs",
    )
    place.expect(comparison["difference"]["low"] > 0, "an interval of the difference above 0")
    facts, reviewed = verdict(place), receipt(place)
    links = story.keep("the report of the pull request", judged.page, "report-retrained.html")
    story.way.merge(judged, "retrain/auto", "Retrain on January to June")
    second = place.released("staging")
    place.expect(second == reviewed, f"the reviewed model {reviewed[:12]} in staging's release file")
    place.expect(second != story.models["first"], "another model in staging")
    with place.serving("--environment", "staging", "--log", "none") as staging:
        story.way.ask_and_propose(staging.url)
    moved = canary(story, story.month("2013-07"))
    promoted = story.way.promote("Promote the retrained model to production")
    served = story.serve().model_sha256
    place.expect(served == second, f"the retrained model {second[:12]} at the server, not {served[:12]}")
    story.models["second"] = second
    return Act(
        3,
        "The retraining, and a canary",
        (
            "The pull request trains on what was logged and labelled meanwhile. Both models are judged on the same"
            " newest rows, and the interval of their difference lies above zero. Merged, it takes over live traffic at"
            " 5, 25, 50 and 100 %, each step measured before the next, and is promoted."
        ),
        (*facts, *moved, Fact(MODEL, second[:12]), _promoted(promoted)),
        links,
        story.way.how,
    )


# ---- 5 ---------------------------------------------------------------------------------------------------------------


def broken(story: Story) -> Act:
    """A stored model that was tampered with is refused; a candidate that dies in its canary goes back by itself."""
    from sample.demo.rollout import failing_canary, tampered

    facts = (*tampered(story), *failing_canary(story, story.month("2013-07")))
    return Act(
        5,
        "Tampering, and a canary that fails",
        (
            "One byte of the stored model is changed: a fresh server hashes what it fetched, refuses to load it and"
            " ends. Then a candidate is killed in the middle of its canary: its share goes back to the stable server by"
            " itself, and clients get their answers."
        ),
        facts,
        played=BY_HAND,
    )


# ---- 6 ---------------------------------------------------------------------------------------------------------------


def reverted(story: Story) -> Act:
    """`git revert` of the promotion: the old model answers again, and nothing is trained."""
    import time

    place = story.place
    first = story.models["first"]
    before = story.running().model_sha256
    place.expect(before == story.models["second"], "the retrained model at the server")
    place.git("checkout", "-q", "-f", "main")
    began = time.monotonic()
    promotion = place.git("log", "-1", "--format=%H", "--", "k8s/overlays/production/release.yaml")
    place.branch("revert-promotion")
    place.git("revert", "--no-edit", promotion)
    story.way.propose("revert-promotion")
    judged = story.way.turn_back("revert-promotion")
    commit = story.way.merge(judged, "revert-promotion", "Revert the promotion")
    gone = time.monotonic() - began
    served = story.serve().model_sha256
    took = time.monotonic() - began
    place.expect(served == first, f"the first model {first[:12]} at the server, not {served[:12]}")
    return Act(
        6,
        "The way back",
        (
            "`git revert` of the promotion is the rollback. The gate recognises a release that was live before and asks"
            " for no training; the server starts with the old bytes."
        ),
        (
            Fact("revert, gate and merge", f"{gone:.1f} s"),
            Fact("until the old model answers", f"{took:.1f} s"),
            Fact(MODEL, first[:12]),
            Fact("commit", commit),
        ),
        played=story.way.how,
    )


# ---- 7 ---------------------------------------------------------------------------------------------------------------


def proven(story: Story) -> Act:
    """Every link from the commit to the running server, the lineage, and the four keys of delivery."""
    import json

    place = story.place
    said = place.run("verify", "--environment", "production", "--url", story.running().url).out
    links = [line for line in said.splitlines() if line.strip()]
    held = [line for line in links if line.split()[0] == "held"]
    place.expect(len(held) >= 6, f"at least six links that hold, found {len(held)}")
    left_out = [line.split(":")[0].split()[-1] for line in links if line.split()[0] == "skipped"]
    skipped = f"; left out here: {', '.join(left_out)}" if left_out else ""
    lineage = json.loads(place.run("lineage").out)
    place.expect(story.models["first"] in json.dumps(lineage), "the running model in the lineage")
    dora = json.loads(place.run("dora", "--json").out)
    rate = dora["change_failure_rate"]
    keys = (
        Fact("delivered to production", f"{dora['deployment_frequency']['n']} deployments"),
        Fact("lead time, median", f"{dora['lead_time']['median_s']:,.0f} s from the commit"),
        Fact("changes that failed", f"{rate['failed']} of {rate['n']} deployments"),
        Fact("time to restore, median", f"{dora['time_to_restore']['median_s']:,.0f} s"),
    )
    return Act(
        7,
        "The proof",
        (
            "`verify` compares both ends of every link from the commit to the running server. Lineage and the four keys"
            " of delivery come from Git alone."
        ),
        (Fact("from the commit to the server", f"{len(held)} of {len(links)} links hold{skipped}"), *keys),
        played=BY_HAND,
    )
