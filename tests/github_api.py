"""A small GitHub on loopback: the REST API as far as this repository uses it, and a record of all that it is told.

    python tests/github_api.py --port 8080 --state state.json --record wire.jsonl

It answers with GitHub's words, statuses, headers and pages, below `/` and below `/api/v3`; tokens have permissions,
plans have limits. The state is a JSON file (see `github_state`), written after every change. The state's `faults` make
answers fail: `{"method": "POST", "path": "comments$", "status": 502, "times": 1}`, with `headers`, `message`,
`delay_s`, or `drop`: "before" or "after" the request was carried out. A rehearsal looks in and
steers by `GET` and `PUT /_state`, `GET /_requests` and `POST /_faults`, which no permission guards.
"""

from __future__ import annotations

import argparse
import json
import re
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

sys.path.insert(0, str(Path(__file__).parent))  # as a program it finds its own modules

import github_settings  # noqa: F401 - declares its routes
import github_talk  # noqa: F401 - declares its routes
from github_routes import Call, Listed, Refused, answered, person
from github_state import Hub, Record

WRITES = ("POST", "PATCH", "PUT", "DELETE")
NOBODY: Record = {"login": "", "kind": "none", "permissions": {}}


@dataclass(frozen=True, slots=True)
class Told:
    """A request as it came, by a token's login and not its text, and the status of its answer; 0 for none."""

    method: str
    path: str
    query: dict[str, str]
    login: str
    body: Any
    status: int
    host: str


@dataclass(slots=True)
class GitHub:
    """The server: where it is, what it holds, what it was told."""

    hub: Hub
    url: str = ""
    told: list[Told] = field(default_factory=list)
    record: Path | None = None
    lock: Any = field(default_factory=threading.RLock)

    def writes(self) -> list[tuple[str, str]]:
        """What was told that changes something: method and path."""
        return [(each.method, each.path) for each in self.told if each.method in WRITES and each.path != "/graphql"]

    def fail(self, path: str, status: int = 0, *, method: str = "", times: int = 1, **more: Any) -> None:
        """Let the next requests of a method to a path fail."""
        fault = {"path": path, "status": status, "method": method, "times": times, **more}
        self.hub.state["faults"].append(fault)

    def tell(self, told: Told) -> None:
        with self.lock:
            self.told.append(told)
            if self.record:
                with self.record.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(told)) + "\n")


@contextmanager
def served(hub: Hub, port: int = 0, record: Path | None = None, tls: ssl.SSLContext | None = None) -> Iterator[GitHub]:
    """Serve a hub on a port of loopback, a free one by default."""
    github = GitHub(hub, record=record)

    class Handler(_Handler):
        pass

    Handler.github = github
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    github.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield github
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    github: GitHub

    def log_message(self, *args: Any) -> None:
        """Say nothing: `GitHub.told` has it all."""

    def do(self) -> None:
        address = urlsplit(self.path)
        path = re.sub(r"^/api(/v3)?(?=/)", "", unquote(address.path))
        query = dict(parse_qsl(address.query, keep_blank_values=True))
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = _parsed(raw)
        if path.startswith("/_"):
            self._reply(*self._steer(path, body))
            return
        who = self._who()
        fault = self._fault(path)
        time.sleep(fault.get("delay_s", 0))
        status, answer = 0, None
        headers: dict[str, str] = {}
        if fault.get("drop") != "before":
            status, answer, headers = self._answer(fault, who, path, query, body)
        headers |= fault.get("headers", {})
        dropped = "drop" in fault
        self.github.tell(
            Told(self.command, path, query, (who or NOBODY)["login"], body, status, self.headers.get("Host", ""))
        )
        if dropped:
            self.close_connection = True
            return
        self._reply(status, answer, headers)

    do_GET = do  # noqa: N815
    do_POST = do  # noqa: N815
    do_PATCH = do  # noqa: N815
    do_PUT = do  # noqa: N815
    do_DELETE = do  # noqa: N815

    def _who(self) -> Record | None:
        """Whom the token speaks for; nobody without one, None with one that is unknown."""
        kind, _, text = self.headers.get("Authorization", "").partition(" ")
        if not text:
            return NOBODY
        found: Record | None = self.github.hub.state["tokens"].get(text) if kind in ("Bearer", "token") else None
        return found

    def _fault(self, path: str) -> Record:
        with self.github.lock:
            for each in self.github.hub.state["faults"]:
                if each.get("method") in ("", None, self.command) and re.search(each["path"], path) and each["times"]:
                    each["times"] -= 1
                    return dict(each)
        return {}

    def _answer(
        self, fault: Record, who: Record | None, path: str, query: dict[str, str], body: Any
    ) -> tuple[int, Any, dict[str, str]]:
        headers: dict[str, str] = {}
        try:
            who = _known(fault, who)
            headers |= self._rate(who)
            with self.github.lock:
                status, answer = self._routed(who, path, query, body)
                if self.command in WRITES:
                    self.github.hub.save()
            if isinstance(answer, Listed):
                answer, links = self._page(answer, path, query)
                headers |= links
        except Refused as err:
            more = dict(err.more)
            headers |= more.pop("headers", {})
            status, answer = err.status, {"message": str(err), "status": str(err.status), **more}
        return status, answer, headers

    def _routed(self, who: Record, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        below = re.fullmatch(r"/repos/([^/]+/[^/]+)(/.*)?", path)
        if below:
            known = {name.lower(): name for name in self.github.hub.state["repositories"]}
            if below[1].lower() not in known:
                raise Refused(404, "Not Found")
            given = body if isinstance(body, dict) else {}
            call = Call(self.github.hub, self.github.url, who, known[below[1].lower()], {}, query, given)
            return answered(call, self.command, below[2] or "")
        if path == "/graphql" and self.command == "POST":
            return 200, {"data": {"viewer": {"login": who["login"]}}}
        if path == "/user":
            if who["kind"] == "installation":
                raise Refused(403, "Resource not accessible by integration")
            return 200, person(who["login"]) | {"plan": {"name": self.github.hub.plan(who["login"])}}
        named = re.fullmatch(r"/(users|orgs)/([^/]+)", path)
        if named:
            plan = {"plan": {"name": self.github.hub.plan(named[2])}} if who["permissions"].get("*") == "admin" else {}
            return 200, person(named[2]) | {"id": 7} | (plan if named[1] == "orgs" else {})
        raise Refused(404, "Not Found")

    def _rate(self, who: Record) -> dict[str, str]:
        """The headers of the rate limit; the request after the last one is refused."""
        rate = self.github.hub.state["rate"] or {"remaining": 5000, "reset": int(time.time()) + 3600}
        remaining = rate["remaining"]
        headers = {"X-RateLimit-Remaining": str(max(0, remaining - 1)), "X-RateLimit-Reset": str(rate["reset"])}
        if who["kind"] == "classic":
            headers["X-OAuth-Scopes"] = who.get("scopes", "repo")
        if remaining <= 0:
            raise Refused(403, f"API rate limit exceeded for {who['login']}.", headers=headers)
        rate["remaining"] = remaining - 1
        return headers

    def _page(self, listed: Listed, path: str, query: dict[str, str]) -> tuple[Any, dict[str, str]]:
        size = min(100, max(1, int(query.get("per_page", 30))))
        page = max(1, int(query.get("page", 1)))
        last = max(1, -(-len(listed.items) // size))
        rest = {key: value for key, value in query.items() if key != "page"}
        places = {"prev": page - 1, "next": page + 1, "last": last, "first": 1}
        wanted = [
            name
            for name in places
            if (name in ("prev", "first") and page > 1) or (name in ("next", "last") and page < last)
        ]
        links = ", ".join(
            f'<{self.github.url}{urlsplit(self.path).path}?{urlencode(rest | {"page": places[name]})}>; rel="{name}"'
            for name in wanted
        )
        items = listed.items[size * (page - 1) : size * page]
        answer = {"total_count": len(listed.items), listed.key: items} if listed.key else items
        return answer, {"Link": links} if links else {}

    def _steer(self, path: str, body: Any) -> tuple[int, Any]:
        with self.github.lock:
            hub = self.github.hub
            if path == "/_state" and self.command == "PUT":
                self.github.hub = Hub(body, hub.path)
                self.github.hub.save()
            elif path == "/_faults" and self.command == "POST":
                hub.state["faults"].append({"times": 1, **body})
            elif path == "/_requests":
                return 200, [asdict(each) for each in self.github.told]
            return 200, self.github.hub.state

    def _reply(self, status: int, answer: Any, headers: dict[str, str] | None = None) -> None:
        content = b"" if answer is None or status == 204 else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json; charset=utf-8", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _known(fault: Record, who: Record | None) -> Record:
    if fault.get("status"):
        raise Refused(fault["status"], fault.get("message", "made to fail"))
    if who is None:
        raise Refused(401, "Bad credentials")
    return who


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw) if raw else None
    except ValueError:
        return None


def main() -> None:
    """Serve a file of state until the process is ended; the address is the first line on stdout."""
    parser = argparse.ArgumentParser(description="A small GitHub on loopback.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--state", type=Path, required=True, help="a JSON file, read at the start, kept up to date")
    parser.add_argument("--record", type=Path, help="a file of JSON lines, one for each request")
    parser.add_argument("--cert", type=Path, help="serve https with this certificate")
    parser.add_argument("--key", type=Path)
    given = parser.parse_args()
    tls = None
    if given.cert:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(given.cert, given.key)
    with served(Hub.load(given.state), given.port, given.record, tls) as github:
        sys.stdout.write(f"{github.url}\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main()
