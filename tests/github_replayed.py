"""A GitHub that says what was recorded: whole replies by path, from github_replies/PLAN.json, and nothing else.

The bodies are as GitHub's description of its REST API (the OpenAPI file of api.github.com) has them, field by field.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

REPLIES = Path(__file__).parent / "github_replies"
REPOSITORY = "octo-org/models"


@dataclass(slots=True)
class Replayed:
    """The server: its address, which replies it gave, and what it was asked for that nobody recorded."""

    url: str = ""
    asked: set[str] = field(default_factory=set)
    unknown: list[str] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """What leads a command here, as an administrator with a fine-grained token."""
        return {"GITHUB_API_URL": self.url, "GITHUB_REPOSITORY": REPOSITORY, "GITHUB_TOKEN": "github_pat_recorded"}


def recorded(plan: str) -> dict[str, dict[str, Any]]:
    """The replies of a plan: by path, a status and a body."""
    found: dict[str, dict[str, Any]] = json.loads((REPLIES / f"{plan}.json").read_text(encoding="utf-8"))
    return found


@contextmanager
def replayed(replies: Mapping[str, Mapping[str, Any]]) -> Iterator[Replayed]:
    """Answer reading requests with these replies; whatever else is asked gets 404 and is noted."""
    state = Replayed()

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            reply = replies.get(path)
            if reply is None:
                state.unknown.append(path)
                reply = {"status": 404, "body": {"message": "Not Found", "status": "404"}}
            else:
                state.asked.add(path)
            body = json.dumps(reply["body"]).encode()
            self.send_response(reply["status"])
            for name, value in HEADERS.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        state.url = f"http://127.0.0.1:{server.server_port}"
        yield state
        server.shutdown()


HEADERS = {
    "Content-Type": "application/json; charset=utf-8",
    "X-GitHub-Media-Type": "github.v3; format=json",
    "X-GitHub-Request-Id": "0F1A:2B3C4D:5E6F70:8192A3:6728F0B1",
    "X-RateLimit-Limit": "5000",
    "X-RateLimit-Remaining": "4990",
    "X-RateLimit-Reset": "4102444800",
    "X-RateLimit-Resource": "core",
}
