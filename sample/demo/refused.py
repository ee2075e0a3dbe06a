"""The act of what must not be merged: each pull request is blocked by the gate that is there for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sample.demo.act import Act, Fact
from sample.demo.place import Place

from mergeline.commands.settings import load_params
from mergeline.layout import DATA

if TYPE_CHECKING:
    from sample.demo.acts import Story


def refused(story: Story) -> Act:
    """A leaked feature, a worse model and a loosened gate: each blocked by the gate that is there for it."""
    place = story.place
    place.git("checkout", "-q", "-f", "main")
    facts = []
    for name, start, title, plant, gate in REFUSED:
        place.branch(name)
        if start:  # a push to the same branch: what has run there does not run again
            place.git("reset", "-q", "--hard", start)
            place.tool("dvc", "checkout", "--quiet", "--force")
        plant(place)
        place.commit(title)
        place.run("repro", "--no-track")
        place.run("record")
        said = place.run("gate", code=4)
        failed = {
            each["name"] for each in place.record("reports/comparison.json")["gates"] if each["outcome"] == "failed"
        }
        place.expect(gate in failed, f"the gate `{gate}` to refuse `{title}`, found {sorted(failed)}")
        place.expect("gate:" in said.err, "a line that says which question does not hold")
        facts.append(Fact(title, f"red: {', '.join(sorted(failed))}"))
        place.git("checkout", "-q", "-f", "main")
        place.tool("dvc", "checkout", "--quiet", "--force")
    return Act(
        4,
        "Three pull requests that must not be merged",
        (
            "One adds a feature that knows the answer. One makes the model worse. One goes on from there and"
            " loosens the gates, too; the base branch's gates judge it all the same."
        ),
        tuple(facts),
        played=story.way.how_refused,
    )


def _leak(place: Place) -> None:
    """A feature that is known only after the landing: the delay itself, a little blurred."""
    import numpy as np
    import pandas as pd

    generator = np.random.default_rng(2013)
    for file in sorted((place.root / DATA).glob("*.parquet")):
        rows = pd.read_parquet(file)
        late = rows["late"].astype("boolean").astype("float64")
        rows["minutes_saved_in_the_air"] = (late * -30 + generator.normal(0, 4, len(rows))).astype("float64")
        rows.to_parquet(file, index=False)
    settings = load_params(place.root)
    place.change_params({"data.numeric": [*settings.data.numeric, "minutes_saved_in_the_air"]})
    place.tool("dvc", "add", "--quiet", "data")


def _worse(place: Place) -> None:
    place.change_params({"train.hist_gradient_boosting": {"iterations": 8, "learning_rate": 0.05, "leaves": 3}})


def _loosened(place: Place) -> None:
    place.change_params({"gates.floors": {}, "gates.improvement.margin": 0.5})


# a branch, the one that it goes on from or main, its title, what is planted, the gate that is there for it
REFUSED: tuple[tuple[str, str, str, Callable[[Place], None], str], ...] = (
    ("leaked-feature", "", "A feature that knows the answer", _leak, "leakage"),
    ("worse-model", "", "A smaller model", _worse, "improvement"),
    ("looser-gates", "worse-model", "A smaller model, and looser gates", _loosened, "improvement"),
)
