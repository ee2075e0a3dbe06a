"""The command line imports the module of the verb that is asked for, and says all verbs where none is."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from mergeline import commands
from mergeline.cli import VERBS, parser

FOLDER = Path(next(iter(commands.__path__)))
ALL = {verb for verbs in VERBS.values() for verb in verbs}


def declared(module: str) -> tuple[str, ...]:
    """The verbs that a module declares."""
    found = []

    def verb(name: str, _run: Callable[[argparse.Namespace], str | None], _text: str) -> argparse.ArgumentParser:
        found.append(name)
        return argparse.ArgumentParser()

    import_module(f"mergeline.commands.{module}").add_verbs(verb)
    return tuple(found)


def verbs_of(*words: str) -> set[str]:
    """The verbs that the parser of a command line has."""
    actions = parser(words)._actions  # argparse shows its subparsers nowhere else
    choices = next(each.choices for each in actions if isinstance(each, argparse._SubParsersAction))
    return set(choices or ())


@pytest.mark.parametrize("module", VERBS)
def test_the_table_names_the_verbs_that_a_module_declares(module: str) -> None:
    assert set(declared(module)) == set(VERBS[module])


def test_every_module_that_declares_verbs_is_in_the_table() -> None:
    declaring = {path.stem for path in FOLDER.glob("*.py") if "def add_verbs(" in path.read_text(encoding="utf-8")}
    assert declaring == set(VERBS)


@pytest.mark.parametrize(
    "words",
    [("drift", "--since", "gate"), ("--root", "gate", "drift"), ("--debug", "--root=gate", "drift", "--help")],
)
def test_a_command_imports_its_own_module_alone(words: tuple[str, ...]) -> None:
    assert verbs_of(*words) == {"drift"}


@pytest.mark.parametrize("words", [(), ("--help", "drift"), ("--version",), ("drfit", "gate"), ("--root",)])
def test_where_no_verb_stands_first_all_of_them_are_there_to_be_named(words: tuple[str, ...]) -> None:
    assert verbs_of(*words) == ALL


def test_a_new_process_has_not_loaded_the_others() -> None:
    program = (
        "import sys; from mergeline.cli import parser; parser({}); print('mergeline.commands.canary' in sys.modules)"
    )
    found = [
        subprocess.run([sys.executable, "-c", program.format(words)], capture_output=True, text=True, check=True).stdout
        for words in ("['drift']", "")
    ]
    assert [each.strip() for each in found] == ["False", "True"]
