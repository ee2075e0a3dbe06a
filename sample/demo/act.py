"""What an act has shown: a title, what a person would say of it, and its figures with their units."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fact:
    """One figure, as `rollback` and `1.4 s`."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Link:
    """A page beside the demo's own, by its name in the folder."""

    text: str
    file: str


@dataclass(frozen=True, slots=True)
class Act:
    """An act that has held: `played` how, `seconds` by the clock, `commands` that it ran."""

    number: int
    title: str
    said: str
    facts: tuple[Fact, ...] = ()
    links: tuple[Link, ...] = ()
    played: str = ""
    seconds: float = 0.0
    commands: int = 0
