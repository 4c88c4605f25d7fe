"""A program on a terminal of its own: `docker run -it`, or anything else that wants to be typed at."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from support.waiting import NeverCameError


class Terminal:
    """Starts `command` as leader of a session whose controlling terminal is ours to type into and to read from."""

    def __init__(self, command: Sequence[str], rows: int = 24, columns: int = 120) -> None:
        self.command = list(command)
        self._read = b""
        self._seen = 0
        self._ours, theirs = pty.openpty()
        try:
            self.resize(rows, columns)
            # TIOCSCTTY after setsid makes it the controlling terminal; Python offers no other way without a fork of our own
            self.process = subprocess.Popen(
                ["setsid", "--ctty", "--wait", *command],
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                close_fds=True,
                env={**os.environ, "TERM": "xterm"},  # a service has none, and less asks about it
            )
        except BaseException:
            os.close(self._ours)
            raise
        finally:
            os.close(theirs)

    @property
    def output(self) -> str:
        """All that was read so far."""
        return self._read.decode("utf-8", "backslashreplace")

    def send(self, text: str) -> None:
        r"""Type. Ctrl-C is \x03, Ctrl-Z is \x1a, Ctrl-D is \x04, and a line ends with \r."""
        os.write(self._ours, text.encode())

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def expect(self, text: str, timeout: float = 15.0) -> str:
        """Read until `text` appears after what the last `expect` found, and return what came before it."""
        wanted = text.encode()
        deadline = time.monotonic() + timeout
        while True:
            at = self._read.find(wanted, self._seen)
            if at >= 0:
                before = self._read[self._seen : at]
                self._seen = at + len(wanted)
                return before.decode("utf-8", "backslashreplace")
            left = deadline - time.monotonic()
            if left <= 0:
                raise NeverCameError(f"waited {timeout:g} s for {text!r} on the terminal; all of it:\n{self.output}")
            if not self._take(left):
                raise NeverCameError(f"the terminal was closed before {text!r} appeared; all of it:\n{self.output}")

    def wait(self, timeout: float = 30.0) -> int:
        """Wait for the program's end, reading on (a full terminal would block it), and return its exit status."""
        deadline = time.monotonic() + timeout
        while self.process.poll() is None:
            if time.monotonic() >= deadline:
                raise NeverCameError(
                    f"waited {timeout:g} s for the end of {self.command}; the terminal:\n{self.output}"
                )
            if not self._take(0.05):
                return self.process.wait(max(0.0, deadline - time.monotonic()))
        while self._take(0):
            pass
        return self.process.returncode

    def _take(self, timeout: float) -> bool:
        """Read what is there, waiting for it at most `timeout`. False: nobody holds the other side any more."""
        ready, _, _ = select.select([self._ours], [], [], timeout)
        if not ready:
            return timeout > 0
        try:
            piece = os.read(self._ours, 65536)
        except OSError:  # EIO: the last one closed the terminal
            return False
        self._read += piece
        return bool(piece)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._ours)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class OpenTerminal(Protocol):
    """The fixture `terminal`: `docker run -it OPTIONS IMAGE COMMAND`."""

    def __call__(
        self, command: Sequence[str], *, entrypoint: Sequence[str] = ..., options: Sequence[str] = ...
    ) -> Terminal: ...
