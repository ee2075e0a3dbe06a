"""The limit: reads a body and answers as many bytes as the server does, with as many headers; nothing else.

Usage: BYTES='{"/1": 250, "/100": 24000}' noop.py PORT
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import uvicorn

BODIES = {path: b" " * size for path, size in json.loads(os.environ["BYTES"]).items()}


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    body = BODIES.get(scope["path"], b"")
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", b"00000000-0000-7000-8000-000000000000"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    uvicorn.run(
        app,
        port=int(sys.argv[1]),
        http="httptools",
        loop="uvloop",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        backlog=2048,
        timeout_keep_alive=75,
    )
