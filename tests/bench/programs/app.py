"""One page, for servers of WSGI and of ASGI."""

import os
from collections.abc import Awaitable, Callable
from typing import Any

ANSWER = f"{os.getpid()}\n".encode()
LENGTH = str(len(ANSWER))


def wsgi(_environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], object]) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", LENGTH)])
    return [ANSWER]


async def asgi(
    scope: dict[str, Any],
    _receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    assert scope["type"] == "http"  # what a server says of its start is for others
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", LENGTH.encode())]})
    await send({"type": "http.response.body", "body": ANSWER})
