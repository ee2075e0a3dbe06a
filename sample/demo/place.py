"""The throw-away clone that the demo plays in: its bare origin, its commands, its servers."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mergeline.commands.settings import load_params
from mergeline.errors import ConfigurationError, VerificationError
from mergeline.layout import PRODUCTION, STAGING
from mergeline.params_file import edited

LONGEST_START_S = 60.0
LONGEST_END_S = 20.0
LONGEST_RUN_S = 600.0
POLL_S = 0.05
SHOWN_LINES = 12
PERSON = {"GIT_AUTHOR_NAME": "Demo", "GIT_AUTHOR_EMAIL": "demo@example.org"}
COMMITTER = {"GIT_COMMITTER_NAME": "Demo", "GIT_COMMITTER_EMAIL": "demo@example.org"}
# what a user has set up for a repository of their own is none of this one's
LEFT_OUT = ("AWS_", "DVC", "GIT_", "MERGELINE_", "MLFLOW_")


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended: `seconds` by the clock, what it said on stdout and on stderr."""

    command: str
    code: int
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
        self.process.terminate()
        try:
            return self.process.wait(LONGEST_END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@dataclass(slots=True)
class Place:
    """A clone with a bare origin beside it, both under `folder`; what runs in it finds nothing of the user's own.

    `act` is the name of the act that plays, which every failure carries. `commands` are those that have run, in order.
    Commits are of `today`, where a past year is played; with `since`, a second of the monotonic clock, time goes on
    from there.
    """

    folder: Path
    act: str = ""
    commands: list[Done] = field(default_factory=list)
    today: dt.datetime | None = None
    since: float | None = None

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
        return self._done([sys.executable, "-m", "mergeline", *arguments], "mergeline " + " ".join(arguments), code)

    def tool(self, *command: str, code: int = 0) -> Done:
        """Run git or dvc in the clone; it has to end with `code`."""
        return self._done(list(command), " ".join(command), code)

    def git(self, *arguments: str) -> str:
        """Run Git in the clone and return what it says."""
        return self.tool("git", *arguments).out.strip()

    def _done(self, command: list[str], name: str, code: int | tuple[int, ...]) -> Done:
        allowed = (code,) if isinstance(code, int) else code
        began = time.monotonic()
        try:
            ended = self.start_and_wait(command)
        except subprocess.TimeoutExpired as err:
            raise VerificationError(
                f"demo: {self.act}: expected `{name}` to end within {LONGEST_RUN_S:.0f} s, and it runs on"
            ) from err
        done = Done(name, ended.returncode, ended.stdout, ended.stderr, time.monotonic() - began)
        self.commands.append(done)
        with (self.folder / "said.log").open("a", encoding="utf-8") as said:
            said.write(f"$ {name}\n{done.out}{done.err}exit code {done.code}, {done.seconds:.1f} s\n\n")
        if done.code not in allowed:
            last = " | ".join((done.err or done.out).strip().splitlines()[-SHOWN_LINES:])
            codes = " or ".join(map(str, allowed))
            raise VerificationError(
                f"demo: {self.act}: expected exit code {codes} of `{name}`, found {done.code} ({last});"
                f" read {self.folder / 'said.log'}"
            )
        return done

    def start_and_wait(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        """Run a command in the clone to its end; raise `subprocess.TimeoutExpired` where it does not come."""
        return subprocess.run(
            command,
            cwd=self.root,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST_RUN_S,
        )

    def environment(self) -> dict[str, str]:
        """The environment of what runs here."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(LEFT_OUT)}
        tools = str(Path(sys.executable).parent)
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
        return {**kept, **own, **PERSON, **COMMITTER, **dated}

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
        self.tool("dvc", "checkout", "--quiet", "--force")
        return self.git("rev-parse", "--short", "HEAD")

    def promote(self, message: str) -> str:
        """Propose to production what staging serves, and merge the proposal; return the commit."""
        self.run("propose", "production")
        self.git("fetch", "-q", "origin")
        return self.merge("origin/promote/production", message)

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
        port = free_port()
        command = [sys.executable, "-m", "mergeline", "serve", "--port", str(port), "--wait-seconds", "0", *arguments]
        with (self.folder / "servers.log").open("ab") as said:
            process = subprocess.Popen(command, cwd=self.root, env=self.environment(), stdout=said, stderr=said)
        server = Server(f"http://127.0.0.1:{port}", process)
        ends = time.monotonic() + LONGEST_START_S
        while time.monotonic() < ends and process.poll() is None:
            try:
                with urllib.request.urlopen(f"{server.url}/readyz", timeout=5):  # noqa: S310  of this machine
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


def make_place(template: Path, folder: Path, every: int = 1, kind: type[Place] = Place) -> Place:
    """Make a repository of the last commit of `template` in `folder`, which is made anew, with a bare origin.

    Its history begins here, as that of a repository made by "Use this template" does. Of the sample's rows it keeps
    one in `every`. Raises `ConfigurationError` where `template` is no Git repository with a commit.
    """
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "home").mkdir(parents=True)
    place = kind(folder, "set-up")
    try:
        made = subprocess.run(
            ["git", "clone", "-q", "--depth", "1", template.resolve().as_uri(), str(place.root)],
            env=place.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as err:
        raise ConfigurationError("demo: git is not installed; the whole loop goes through it") from err
    if made.returncode or not any(place.root.glob("*")):
        raise ConfigurationError(
            f"demo: expected a Git repository with a commit in {template.resolve()}, found none"
            f" ({' '.join(made.stderr.split())[-200:]}); clone the template, or `git init` and commit"
        )
    shutil.rmtree(place.root / ".git")
    place.git("init", "-q", "-b", "main")
    if every > 1:
        _thin(place, every)
    place.git("add", "--all", "--force")
    place.git("commit", "-q", "-m", "The template")
    place.git("init", "-q", "--bare", "-b", "main", str(place.origin))
    place.git("remote", "add", "origin", str(place.origin))
    place.git("push", "-q", "--set-upstream", "origin", "main")
    place.git("remote", "set-head", "origin", "main")
    place.commands.clear()
    return place


def _thin(place: Place, every: int) -> None:
    """Keep one row in `every` of each month, and ask for as many rows fewer."""
    import pandas as pd

    for file in sorted((place.root / "sample").glob("*.parquet")):
        pd.read_parquet(file).iloc[::every].reset_index(drop=True).to_parquet(file, index=False)
    place.change_params({"validate.min_rows": load_params(place.root).validation.min_rows // every})


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
