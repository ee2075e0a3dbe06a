"""Progress: a line on a terminal, nothing in a log."""

from __future__ import annotations

import io

import pytest

from mergeline.progress import CLEAR, steps


class Terminal(io.StringIO):
    """A stream that a person watches."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_each_step_in_the_same_line_and_is_left_clean() -> None:
    stream = Terminal()
    with steps("train", stream) as show:
        show("fitting")
        show("exporting")
    text = stream.getvalue()
    assert text.startswith(f"{CLEAR}train: fitting (0 s){CLEAR}train: exporting (0 s)")
    assert text.endswith(CLEAR)
    assert "\n" not in text


def test_a_log_gets_no_byte() -> None:
    stream = io.StringIO()
    with steps("train", stream) as show:
        show("fitting")
    assert stream.getvalue() == ""


def test_the_line_is_cleared_when_a_step_fails() -> None:
    stream = Terminal()
    with pytest.raises(ValueError, match="no"), steps("train", stream) as show:
        show("fitting")
        raise ValueError("no")
    assert stream.getvalue().endswith(CLEAR)
