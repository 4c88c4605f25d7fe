"""A page that takes its time, and one that does not."""

import os
import time
from collections.abc import Callable, Iterator

bind = "127.0.0.1:8080"  # this file is gunicorn's configuration too
workers = 3
graceful_timeout = 6


def app(environ: dict[str, str], start_response: Callable[[str, list[tuple[str, str]]], object]) -> Iterator[bytes]:
    """`/slow` begins at once and ends three seconds later."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield f"{os.getpid()}\n".encode()
    if environ["PATH_INFO"] == "/slow":
        time.sleep(3)
    yield b"end\n"
