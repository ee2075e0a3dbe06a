"""The throw-away clone that the demo plays in: its bare origin, its commands, its servers."""

from __future__ import annotations

import datetime as dt
import json
import os
import shlex
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from sample.demo.interruption import held_back
from sample.demo.plan import OF_THIS_PYTHON, Programs
from sample.demo.process import end, free_port, kill

from mergeline.errors import VerificationError
from mergeline.layout import PRODUCTION, STAGING
from mergeline.params_file import edited

LONGEST_START_S = 60.0
LONGEST_RUN_S = 600.0
POLL_S = 0.05
SHOWN_LINES = 12
PERSON = {"GIT_AUTHOR_NAME": "Demo", "GIT_AUTHOR_EMAIL": "demo@example.org"}
COMMITTER = {"GIT_COMMITTER_NAME": "Demo", "GIT_COMMITTER_EMAIL": "demo@example.org"}
# what a user has set up for a repository of their own is none of this one's
LEFT_OUT = ("AWS_", "DVC", "GIT_", "MERGELINE_", "MLFLOW_")


@dataclass(frozen=True, slots=True)
class Done:
    """A command: what it said on stdout and on stderr, `seconds` by the clock until its end.

    A server has no exit code yet, and the seconds are those until it was ready.
    """

    command: str
    code: int | None
    out: str
    err: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Server:
    """A model server that is ready."""

    url: str
    process: subprocess.Popen[bytes]

    def get(self, path: str) -> Any:
        """Return the JSON that a path answers."""
        with urllib.request.urlopen(f"{self.url}{path}", timeout=10) as answer:  # noqa: S310  of this machine
            return json.load(answer)

    @property
    def model_sha256(self) -> str:
        """The model that answers."""
        return str(self.get("/readyz")["model_sha256"])

    def stop(self) -> int:
        """End it as Kubernetes would; return its exit code."""
        return end(self.process)


@dataclass(slots=True)
class Place:
    """A clone with a bare origin beside it, both under `folder`; what runs in it finds nothing of the user's own.

    `act` is the name of the act that plays, which every failure carries. `commands` are those that have run, in order;
    `launched` are the processes that run beside them. All are in process groups of their own: Ctrl-C reaches the demo
    alone, which ends them with all that they have started.
    Commits are of `today`, where a past year is played; with `since`, a second of the monotonic clock, time goes on
    from there. What was made elsewhere lies in a DVC remote where `shared`. `forks` is the folder of a `mergeline` and
    a `dvc` that are forked from a process with its imports behind it.
    """

    folder: Path
    act: str = ""
    commands: list[Done] = field(default_factory=list)
    today: dt.datetime | None = None
    since: float | None = None
    shared: bool = False
    forks: Path | None = None
    launched: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def go_to(self, moment: dt.datetime) -> None:
        """Let it be this moment now; from here on time passes as it does."""
        self.today, self.since = moment, time.monotonic()

    @property
    def now(self) -> dt.datetime:
        """The moment of a commit that is made now, to the second."""
        if self.today is None:
            return dt.datetime.now(dt.UTC).replace(microsecond=0)
        passed = 0.0 if self.since is None else time.monotonic() - self.since
        return (self.today + dt.timedelta(seconds=passed)).replace(microsecond=0)

    @property
    def root(self) -> Path:
        """The checkout."""
        return self.folder / "clone"

    @property
    def origin(self) -> Path:
        """The bare repository that it pushes to."""
        return self.folder / "origin.git"

    @property
    def log(self) -> Path:
        """The prediction log of production."""
        return self.root / ".mergeline" / "log"

    def expect(self, held: bool, what: str) -> None:
        """Let the demo fail, with the act's name, where something is not as it has to be."""
        if not held:
            raise VerificationError(
                f"demo: {self.act}: expected {what}; read the commands in {self.folder / 'said.log'}"
            )

    # ---- Commands --------------------------------------------------------------------------------------------------

    def run(self, *arguments: str, code: int | tuple[int, ...] = 0) -> Done:
        """Run `mergeline` in the clone, by the clone's own code; it has to end with `code`, or one of them."""
        forked = self.forks and arguments[0] != "serve"
        program = [str(self.forks / "mergeline")] if self.forks and forked else [sys.executable, "-m", "mergeline"]
        return self._done([*program, *arguments], "mergeline " + " ".join(arguments), code)

    def tool(self, *command: str, code: int = 0) -> Done:
        """Run git or dvc in the clone; it has to end with `code`."""
        return self._done(list(command), " ".join(command), code)

    def git(self, *arguments: str) -> str:
        """Run Git in the clone and return what it says."""
        return self.tool("git", *arguments).out.strip()

    def _done(self, command: list[str], name: str, code: int | tuple[int, ...]) -> Done:
        allowed = (code,) if isinstance(code, int) else code
        began = time.monotonic()
        (ended,) = self.start_and_wait(name, command)
        done = Done(name, ended.returncode, ended.stdout, ended.stderr, time.monotonic() - began)
        self.tell(done)
        if done.code not in allowed:
            last = " | ".join((done.err or done.out).strip().splitlines()[-SHOWN_LINES:])
            codes = " or ".join(map(str, allowed))
            raise VerificationError(
                f"demo: {self.act}: expected exit code {codes} of `{name}`, found {done.code} ({last});"
                f" read {self.folder / 'said.log'}"
            )
        return done

    def tell(self, done: Done) -> None:
        """Add a command to those that have run, and to the file that a person reads."""
        self.commands.append(done)
        with (self.folder / "said.log").open("a", encoding="utf-8") as said:
            said.write(f"$ {done.command}\n{done.out}{done.err}{ending(done)}\n\n")

    def start_and_wait(self, name: str, *commands: list[str]) -> list[subprocess.CompletedProcess[str]]:
        """Run commands side by side in the clone, to their ends; `VerificationError` has the name where one runs on."""
        processes: list[subprocess.Popen[bytes]] = []
        longest_s = LONGEST_RUN_S * len(commands)
        ends = time.monotonic() + longest_s
        try:
            for command in commands:
                with held_back():
                    processes.append(self._begin(command, subprocess.PIPE, subprocess.PIPE))
            said = [each.communicate(timeout=max(0.0, ends - time.monotonic())) for each in processes]
        except BaseException as err:  # time is over, or somebody ends the demo: no stage goes on without it
            for process in processes:
                kill(process)
                process.communicate()
            if isinstance(err, subprocess.TimeoutExpired):
                raise VerificationError(
                    f"demo: {self.act}: expected `{name}` to end within {longest_s:.0f} s, and it runs on"
                ) from err
            raise
        return [
            subprocess.CompletedProcess(command, process.returncode, *(each.decode(errors="replace") for each in pair))
            for command, process, pair in zip(commands, processes, said, strict=True)
        ]

    def _begin(self, command: list[str], out: int | IO[bytes], err: int | IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            cwd=self.root,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            process_group=0,
        )

    @property
    def programs(self) -> Programs:
        """What a shell calls, by the code that PYTHONPATH names."""
        if self.forks is None:
            return OF_THIS_PYTHON
        return Programs(*(shlex.quote(str(self.forks / name)) for name in ("mergeline", "dvc")))

    def environment(self) -> dict[str, str]:
        """The environment of what runs here."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(LEFT_OUT)}
        tools = os.pathsep.join(map(str, (*([self.forks] if self.forks else ()), Path(sys.executable).parent)))
        forked = {"MERGELINE_WARM": str(self.forks / "socket")} if self.forks else {}
        own = {
            "HOME": str(self.folder / "home"),
            "PATH": f"{tools}{os.pathsep}{kept.get('PATH', os.defpath)}",
            "PYTHONPATH": str(self.root / "src"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_SYSTEM": os.devnull,
            "GIT_TERMINAL_PROMPT": "0",
            "OMP_WAIT_POLICY": "PASSIVE",  # a fit beside servers takes ten times as long where its threads spin
        }
        dates = ("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE")
        dated = {} if self.today is None else dict.fromkeys(dates, self.now.isoformat())
        return {**kept, **own, **forked, **PERSON, **COMMITTER, **dated}

    # ---- Pull requests ---------------------------------------------------------------------------------------------

    def branch(self, name: str) -> None:
        """Begin a pull request's branch at what main is now."""
        self.git("checkout", "-q", "-f", "main")
        self.git("checkout", "-q", "-B", name)

    def commit(self, message: str) -> None:
        """Commit everything that Git does not ignore."""
        self.git("add", "--all")
        self.git("commit", "-q", "-m", message)

    def merge(self, branch: str, message: str) -> str:
        """Merge a branch into main as a pull request does, squashed; push it; return the commit."""
        self.git("checkout", "-q", "-f", "main")
        self.git("merge", "-q", "--squash", branch)
        self.git("commit", "-q", "-m", message)
        self.git("push", "-q", "origin", "main")
        if self.git("diff", "--name-only", "HEAD~1", "--", "data.dvc", "dvc.lock"):  # not where a release alone moves
            self.data()
        return self.git("rev-parse", "--short", "HEAD")

    def data(self) -> None:
        """Have what the checkout's files of DVC name."""
        self.tool("dvc", "pull" if self.shared else "checkout", "--quiet", "--force")

    def change_params(self, changes: Mapping[str, Any]) -> None:
        """Set dotted keys of params.yaml."""
        path = self.root / "params.yaml"
        keyed = {tuple(dotted.split(".")): value for dotted, value in changes.items()}
        path.write_text(edited(path.read_text(encoding="utf-8"), keyed), encoding="utf-8")

    def record(self, name: str) -> Any:
        """Return a record of the stages, as `reports/comparison.json`."""
        return json.loads((self.root / name).read_text(encoding="utf-8"))

    def released(self, environment: str) -> str:
        """The SHA-256 of the model that an environment's file names."""
        from mergeline.release.manifests import parse_release

        path = {"staging": STAGING, "production": PRODUCTION}[environment]
        return parse_release((self.root / path).read_text(encoding="utf-8")).model_sha256 or ""

    # ---- Servers ---------------------------------------------------------------------------------------------------

    @contextmanager
    def serving(self, *arguments: str) -> Iterator[Server]:
        """Start a server, wait until it is ready, end it in the end."""
        server = self.start(*arguments)
        try:
            yield server
        finally:
            if server.process.poll() is None:
                server.stop()

    def start(self, *arguments: str) -> Server:
        """Start a server on a free port and wait until it is ready."""
        port, began = free_port(), time.monotonic()
        command = ("serve", "--port", str(port), "--wait-seconds", "0", *arguments)
        process = self.launch(command, "servers.log")
        server = Server(f"http://127.0.0.1:{port}", process)
        while time.monotonic() - began < LONGEST_START_S and process.poll() is None:
            try:
                with urllib.request.urlopen(f"{server.url}/readyz", timeout=5):  # noqa: S310  of this machine
                    self.tell(Done(f"mergeline {' '.join(command)}", None, "", "", time.monotonic() - began))
                    return server
            except OSError:
                time.sleep(POLL_S)
        code = process.poll()
        if code is None:
            server.stop()
        raise VerificationError(
            f"demo: {self.act}: expected a server that gets ready, found {'none' if code is None else f'exit {code}'};"
            f" read {self.folder / 'servers.log'}"
        )

    def beside(self, command: list[str], out: int) -> subprocess.Popen[bytes]:
        """Start a program and let it run."""
        with held_back():
            process = self._begin(command, out, subprocess.DEVNULL)
            self.launched.append(process)
        return process

    def launch(self, arguments: Sequence[str], log: str) -> subprocess.Popen[bytes]:
        """Start `mergeline` in the clone and let it run; what it says goes to the file `log`."""
        command = [sys.executable, "-m", "mergeline", *arguments]
        with (self.folder / log).open("ab") as said, held_back():
            process = self._begin(command, said, said)
            self.launched.append(process)
        return process

    def end(self) -> None:
        """End whatever still runs here."""
        for process in self.launched:
            if process.poll() is None:
                end(process)


def ending(done: Done) -> str:
    """How a command ended, or that it is ready.

    >>> ending(Done("git push", 0, "", "", 1.23))
    'exit code 0, 1.2 s'
    """
    said = "ready" if done.code is None else f"exit code {done.code}"
    return f"{said}, {done.seconds:.1f} s"
