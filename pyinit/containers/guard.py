"""Removes what a session has made when its process is gone and has not done so: killed, or ended in the middle by somebody else.

A process of its own, whose stdin is a pipe that only the guarded process holds; that ends with it, however it ends. It is not in its
session, so that Ctrl-C does not reach it, and it hears no signal that is meant to end it.

Rejected: handlers for SIGTERM and SIGINT (they belong to the program that we are loaded into, SIGKILL has none, and what waits in a
system call for its container's end does not come to them in time).
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

AGAIN = 0.5
"""Seconds until it is looked once more whether anything is left: the engine may still be making what it was asked for last."""


class Guard:
    """Guards a session of this process. A context manager, around the session: at its end nothing is left, and the guard goes; but where
    the end was interrupted, by Ctrl-C or a SystemExit, it takes over.
    """

    def __init__(self, session: str) -> None:
        # -P: modules in the current folder have no business here
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, session],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        whole = kind is None or issubclass(kind, Exception)
        if whole:
            self._process.kill()
        if self._process.stdin is not None:
            self._process.stdin.close()
        if whole:
            self._process.wait()


def main(session: str) -> None:
    """Waits for the end of stdin, then removes what is left of the session."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    from pyinit.containers.engine import Engine  # noqa: PLC0415 - most guards never need it

    with Engine() as engine:
        while engine.remove_session(session):
            time.sleep(AGAIN)


if __name__ == "__main__":
    main(sys.argv[1])
