"""The act of what must not be merged: each pull request is blocked by the gate that is there for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sample.demo.act import Act, Fact, Link
from sample.demo.place import Place

from mergeline.commands.settings import load_params
from mergeline.layout import DATA

if TYPE_CHECKING:
    from sample.demo.acts import Story


def refused(story: Story) -> Act:
    """A leaked feature, a worse model and loosened gates: each blocked by the gate that is there for it."""
    place = story.place
    for branch, title, plant, _ in REFUSED:
        place.branch(branch)
        plant(place)
        place.commit(title)
        story.way.propose(branch)
        place.git("checkout", "-q", "-f", "main")
        place.data()
    facts: list[Fact] = []
    links: list[Link] = []
    for (branch, title, _, gate), found in zip(REFUSED, story.way.refuse([each[0] for each in REFUSED]), strict=True):
        place.expect(gate in found.gates, f"the gate `{gate}` to refuse `{title}`, found {sorted(found.gates)}")
        facts.append(Fact(title, f"red: {', '.join(sorted(found.gates))}"))
        links += story.keep(f"the report of “{title}”", found.page, f"report-{branch}.html")
    place.git("checkout", "-q", "-f", "main")
    place.data()
    return Act(
        4,
        "Three pull requests that must not be merged",
        (
            "One adds a feature that knows the answer. One makes the model worse. One makes it worse and loosens the"
            " gates, too; the base branch's gates judge it all the same."
        ),
        tuple(facts),
        tuple(links),
        story.way.how,
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
    _worse(place)
    place.change_params({"gates.floors": {}, "gates.improvement.margin": 0.5})


# a branch, its title, what is planted, the gate that is there for it
REFUSED: tuple[tuple[str, str, Callable[[Place], None], str], ...] = (
    ("leaked-feature", "A feature that knows the answer", _leak, "leakage"),
    ("worse-model", "A smaller model", _worse, "improvement"),
    ("looser-gates", "A smaller model, and looser gates", _loosened, "improvement"),
)
