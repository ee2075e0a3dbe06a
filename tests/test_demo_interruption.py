"""The demo that is ended from outside: one line, the shell's exit code of the signal, and nothing of it runs on."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import played
import psutil
import pytest
from repositories import TEMPLATE
from sample.demo import play as playing
from sample.demo.act import Act
from sample.demo.acts import Story
from sample.demo.interruption import SIGNALS, Interruption, held_back, interruptible
from sample.demo.place import Server
from sample.demo.runner import Run
from sample.demo.runner import played as played_by_the_runner

ENDS_S = 10.0  # far longer than it takes, far shorter than what must not run on
# a background that the tests may run in ignores Ctrl-C, a terminal does not
FROM_A_TERMINAL = """\
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("sample.demo", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(autouse=True)
def heeded() -> Iterator[None]:
    """Every signal is heeded, as where a terminal has started the tests."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in SIGNALS}
    yield
    for number, does in before.items():
        signal.signal(number, does)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small template, which nothing changes."""
    return played.small_template(tmp_path_factory.mktemp("interruption") / "template")


class Held:
    """A pipe that everything holds open that a shell starts behind `exec 9>PATH`."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self._reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def is_let_go(self) -> bool:
        """Whether nothing holds it any more."""
        ready, _, _ = select.select([self._reading], [], [], ENDS_S)
        return bool(ready) and os.read(self._reading, 1) == b""


def test_a_command_that_is_interrupted_ends_with_all_that_it_has_started(template: Path, tmp_path: Path) -> None:
    held = Held(tmp_path / "held")
    script = f"exec 9>{held.path}; sleep 600 & kill -TERM $PPID; wait"

    def interrupted(story: Story) -> Act:
        story.place.tool("sh", "-c", script)
        raise AssertionError("an act that goes on")

    with pytest.raises(Interruption, match="interrupted by SIGTERM") as found, interruptible():
        playing.play(template, tmp_path / "demo", lambda line: None, (("act 1, one", interrupted),))
    assert found.value.exit_code == 128 + signal.SIGTERM
    assert held.is_let_go()


def test_runs_of_a_workflow_that_are_interrupted_end_with_all_that_their_jobs_have_started(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(tmp_path / "held")
    node = tmp_path / "bin" / "node"
    node.parent.mkdir()
    asked = '[ "$1" = --version ] && exec echo v20.0.0'
    node.write_text(f"#!/bin/sh\n{asked}\nexec 9>{held.path}; sleep 600 & kill -TERM $PPID; wait\n")
    node.chmod(0o755)
    monkeypatch.setenv("PATH", f"{node.parent}:{os.environ['PATH']}")

    def interrupted(story: Story) -> Act:
        folder = story.place.folder / "runs"
        runs = [Run("retrain.yml", "pull_request", {}, "c0ffee", folder / name, {}) for name in ("1", "2")]
        played_by_the_runner(story.place, tmp_path, runs, story.place.programs, "http://127.0.0.1:9")
        raise AssertionError("an act that goes on")

    with pytest.raises(Interruption, match="SIGTERM"), interruptible():
        playing.play(template, tmp_path / "demo", lambda line: None, (("act 1, one", interrupted),))
    assert held.is_let_go()


def test_twin_what_runs_on_holds_the_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ENDS_S", 0.1)
    held = Held(tmp_path / "held")
    with subprocess.Popen(["sh", "-c", f"exec 9>{held.path}; echo; exec cat"], stdin=-1, stdout=-1) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert not held.is_let_go()
        process.kill()


def test_servers_end_where_the_demo_is_interrupted(template: Path, tmp_path: Path) -> None:
    processes: list[subprocess.Popen[bytes]] = []

    def interrupted(story: Story) -> Act:
        for _ in range(2):  # that of production, and one that is not ready yet
            with (story.place.folder / "servers.log").open("ab") as said:
                process = subprocess.Popen(["sleep", "600"], stdout=said, process_group=0)
            story.place.launched.append(process)
            processes.append(process)
        story.production = Server("http://127.0.0.1:1", processes[0])
        os.kill(os.getpid(), signal.SIGHUP)
        raise AssertionError("an act that goes on")

    with pytest.raises(Interruption, match="SIGHUP"), interruptible():
        playing.play(template, tmp_path / "demo", lambda line: None, (("act 1, one", interrupted),))
    assert [process.returncode for process in processes] == [-signal.SIGTERM] * 2


def test_what_cleans_up_is_not_cut_short_by_a_second_signal() -> None:
    cleaned = []
    with pytest.raises(Interruption, match="SIGINT"), interruptible():
        try:
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
            cleaned.append("all")
    assert cleaned == ["all"]


def test_a_process_is_known_before_a_signal_that_comes_while_it_starts() -> None:
    known = []
    with pytest.raises(Interruption, match="SIGTERM"), interruptible(), held_back():
        os.kill(os.getpid(), signal.SIGTERM)
        known.append("process")
    assert known == ["process"]


def test_what_the_caller_ignores_stays_ignored_and_all_is_as_before_in_the_end() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with interruptible():
        os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGTERM) is not signal.default_int_handler
    does = [signal.getsignal(number) for number in SIGNALS]
    assert does == [signal.default_int_handler, signal.default_int_handler, signal.SIG_IGN]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "kill"])
def test_the_command_ends_with_one_line_and_the_shells_exit_code(number: signal.Signals, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with subprocess.Popen(
        [sys.executable, "-c", FROM_A_TERMINAL, "--folder", str(folder)],
        cwd=TEMPLATE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert next(line for line in process.stdout if line.startswith("act 1"))
        process.send_signal(number)
        _, said = process.communicate()
    assert process.returncode == 128 + number
    assert said == f"demo: interrupted by {number.name}; nothing that it has started runs on\n"
    assert [each for each in psutil.process_iter(["cwd"]) if str(each.info["cwd"]).startswith(str(folder))] == []
