"""One run of an init without a container: straight on this machine, or as PID 1 of a PID namespace of its own.

Output goes to files, so that no test has to read while it waits; whatever a run started is gone when its test is over.
"""

import os
import re
import signal as signals
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, TypeVar

from support import processes
from support.waiting import NeverCameError, until

T = TypeVar("T")

HOST, NAMESPACE = "host", "namespace"
PID_NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "--")

PRELUDE = """\
import os, signal, sys, time

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def block(*numbers):
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers or signal.valid_signals())

def record(until, name="", but=()):
    "Print the number of each signal that arrives, up to and with `until`. All signals must be blocked."
    while True:
        number = signal.sigwait(signal.valid_signals() - set(but))
        say(f"{name}{int(number)}")
        if number == until:
            return

def daemon(body):
    "Run body in a process of its own session whose parent has gone."
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            body()
            os._exit(0)
        os._exit(0)
    os.wait()

"""


def python(code: str) -> list[str]:
    """A guest in Python: `say`, `block`, `record` and `daemon` are there, as are os, signal, sys and time."""
    return [sys.executable, "-I", "-S", "-c", PRELUDE + code]


def shell(code: str) -> list[str]:
    """A guest in sh."""
    return ["sh", "-c", code]


def number(signal: str | int) -> int:
    """The number of `TERM`, or of 34."""
    return signal if isinstance(signal, int) else int(signals.Signals["SIG" + signal])


class Run:
    """A running init. Its processes carry a mark in their environment, by which `close` finds and kills all of them."""

    def __init__(
        self,
        command: Sequence[str | bytes],
        *,
        where: str = HOST,
        env: Mapping[str, str] | Mapping[bytes, bytes] | None = None,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        stdout: int | IO[bytes] | None = None,
        stderr: int | IO[bytes] | None = None,
        cwd: str | Path | None = None,
        pass_fds: Sequence[int] = (),
        prepare: Callable[[], None] | None = None,
        wrapper: Sequence[str] = (),
    ) -> None:
        self.where = where
        self.mark = b"TEST_RUN=" + uuid.uuid4().hex.encode()
        self._out = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (closed by `close`)
        self._err = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (as above)
        given = os.environ if env is None else env
        environ = {os.fsencode(key): os.fsencode(value) for key, value in given.items()}
        key, _, value = self.mark.partition(b"=")
        environ[key] = value
        self.command = [*wrapper, *(PID_NAMESPACE if where == NAMESPACE else ()), *command]
        try:
            self.process = subprocess.Popen(
                self.command,
                stdin=stdin,
                stdout=self._out if stdout is None else stdout,
                stderr=self._err if stderr is None else stderr,
                env=environ,
                cwd=cwd,
                pass_fds=pass_fds,
                preexec_fn=prepare,  # noqa: PLW1509 (the test process has one thread)
                start_new_session=True,
            )
        except OSError:
            self._out.close()
            self._err.close()
            raise
        self._pid = 0 if where == NAMESPACE else self.process.pid

    # --- what it says ---

    @property
    def out(self) -> str:
        """What has come on stdout so far."""
        return _content(self._out)

    @property
    def err(self) -> str:
        """What has come on stderr so far."""
        return _content(self._err)

    @property
    def raw(self) -> bytes:
        """What has come on stdout so far, undecoded."""
        return os.pread(self._out.fileno(), 1 << 24, 0)

    @property
    def lines(self) -> list[str]:
        """The lines on stdout."""
        return self.out.splitlines()

    @property
    def report(self) -> list[str]:
        """The init's own lines on stderr."""
        return [line for line in self.err.splitlines() if line.startswith(("pyinit: ", "{"))]

    def wait_out(self, text: str, timeout: float = 20.0) -> None:
        """Wait until stdout has a line that is `text`, or begins with it and a space."""
        self._wait(lambda: any(line == text or line.startswith(text + " ") for line in self.lines), text, timeout)

    def wait_err(self, pattern: str, timeout: float = 20.0) -> re.Match[str]:
        """Wait until stderr matches a regular expression."""
        found = self._wait(lambda: re.search(pattern, self.err), pattern, timeout)
        assert found is not None
        return found

    def ready(self) -> "Run":
        """Wait for the guest's `ready`."""
        self.wait_out("ready")
        return self

    def value(self, name: str) -> int:
        """The number after `name` in the guest's output."""
        self.wait_out(name)
        return next(int(line.split()[1]) for line in self.lines if line.startswith(name + " "))

    def _wait(self, condition: Callable[[], T], what: str, timeout: float) -> T:
        def look() -> T:
            ended = self.process.poll() is not None  # asked first: what it wrote last is then there
            found = condition()
            if not found and ended:
                raise NeverCameError(f"it ended with status {self.process.returncode} before {what!r}\n{self}")
            return found

        return until(look, timeout, repr(what))

    # --- what it is ---

    @property
    def pid(self) -> int:
        """The init's PID, as this machine numbers it."""
        if not self._pid:
            self._pid = until(lambda: processes.children(self.process.pid), 10, "the namespace's PID 1")[0]
        return self._pid

    @property
    def program(self) -> int:
        """The program's PID on this machine: the init's oldest child."""
        return until(lambda: processes.children(self.pid), 10, "the program")[0]

    def outer(self, inner: int) -> int:
        """The PID on this machine of a descendant that calls itself `inner`."""
        return next(pid for pid in processes.descendants(self.pid) if processes.inner_pid(pid) == inner)

    def armed(self) -> "Run":
        """Wait until the init is in its one blocking call: the program is started and the directory is /."""
        until(
            # compared as files: seen from a chroot, or from another mount namespace, the name of "/" is another one
            lambda: (
                Path(f"/proc/{self.pid}/cwd").samefile(f"/proc/{self.pid}/root") and processes.state(self.pid) == "S"
            ),
            10,
            "the init's sleep",
        )
        return self

    # --- what is done to it ---

    def send(self, *signals: str | int) -> "Run":
        """Signals to the init, in this order."""
        for signal in signals:
            os.kill(self.pid, number(signal))
        return self

    def wait(self, timeout: float = 30.0) -> int:
        """Wait for its end: the exit status, negative when a signal ended it."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise NeverCameError(f"waited {timeout:g} s for the end of\n{self}") from None

    def __str__(self) -> str:
        """All that helps to understand a failure."""
        shown = " ".join(
            part.decode("utf-8", "backslashreplace") if isinstance(part, bytes) else part for part in self.command
        )
        parts = [
            f"run: {shown.replace(PRELUDE, '')}",
            f"status: {self.process.poll()}",
            f"stdout:\n{self.out}",
            f"stderr:\n{self.err}",
        ]
        if self.left:
            parts.append(f"processes:\n{processes.table(self.left)}")
        return "\n".join(parts)

    @property
    def left(self) -> list[int]:
        """The processes of this run that have not ended."""
        return [pid for pid in processes.marked(self.mark) if processes.is_alive(pid)]

    def close(self) -> None:
        """Kill whatever is left, however often it forks."""
        quiet = 0

        def nobody() -> bool:
            """At two looks: a process in the middle of an exec has no environment to be known by."""
            nonlocal quiet
            left = self.left
            for pid in left:
                try:
                    os.kill(pid, signals.SIGKILL)
                except ProcessLookupError:
                    continue
            quiet = 0 if left else quiet + 1
            return quiet == 2

        try:
            self.process.kill()
            self.process.wait()
            until(nobody, 10, "the end of a run's processes")
        finally:
            self._out.close()
            self._err.close()


def _content(file: IO[bytes]) -> str:
    """The whole file, without moving the position that the run's processes share with us."""
    return os.pread(file.fileno(), 1 << 24, 0).decode("utf-8", "backslashreplace")
