"""The verb `gate` as a person calls it: what it asks alone with --only-rerun, and what it then does not ask."""

from __future__ import annotations

import json

from promoted import PRODUCTION, Promoted

from mergeline.layout import METRICS
from mergeline.release.manifests import NO_RELEASE, format_release

AGAIN = {"validate again", "evaluate again", "compare again"}


def asked(said: str) -> set[str]:
    """The names of the findings."""
    return {line.split(None, 1)[1].partition(":")[0] for line in said.splitlines() if line.startswith(("held", "REFU"))}


def test_r3_the_forced_run_alone_says_whether_it_agrees_and_nothing_of_the_champion(reviewed: Promoted) -> None:
    def withdraw(here: Promoted) -> None:
        (here.root / PRODUCTION).write_text(format_release(NO_RELEASE))

    reviewed.on_main(withdraw, "Withdrawn")
    reviewed.git("checkout", "-q", "better")
    assert reviewed.run("gate").returncode == 4  # the champion has moved
    done = reviewed.run("gate", "--only-rerun")
    assert done.returncode == 0, done.stderr
    assert asked(done.stdout) == AGAIN


def test_r3_twin_the_forced_run_alone_refuses_a_figure_that_does_not_come_out_again(reviewed: Promoted) -> None:
    path = reviewed.root / METRICS
    figures = json.loads(path.read_text())
    name = next(name for name, value in figures.items() if isinstance(value, float))
    path.write_text(json.dumps(figures | {name: figures[name] + 2e-6}))
    done = reviewed.run("gate", "--only-rerun")
    assert done.returncode == 4
    assert asked(done.stderr) == AGAIN
    assert f"REFUSED  evaluate again: {METRICS} is not what `evaluate` gives: {name}: " in done.stderr
    assert "evaluate again does not hold" in done.stderr


def test_both_ways_of_asking_again_at_once_are_a_wrong_command(reviewed: Promoted) -> None:
    done = reviewed.run("gate", "--rerun", "--only-rerun")
    assert (done.returncode, "not allowed with argument" in done.stderr) == (2, True)
