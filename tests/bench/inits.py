"""Who is compared, and how each is started: as PID 1 of a PID namespace of its own, as in a container."""

import contextlib
import ctypes
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from bench.common import BrokenError, wait_for
from bench.report import TINI
from support import processes

CLONE_NEWPID = 0x20000000
PYTHON_FLAGS = ("-I", "-S", "-B", "-X", "utf8")
"""The second start's (pyinit/init/start.py)."""


@dataclass(frozen=True)
class Init:
    """One way to start a program. `command` stands before the program; None: it is not installed here."""

    name: str
    command: tuple[str, ...] | None
    version: str = ""

    def runs(self, *program: str) -> list[str]:
        assert self.command is not None
        return [*self.command, *program]


DIRECT = Init("direct", ())
TINI_STATIC, DUMB_INIT, CATATONIT = "tini-static", "dumb-init", "catatonit"
PEERS = (TINI, TINI_STATIC, DUMB_INIT, CATATONIT)
NATIVE, ENGINE, LAUNCHER = "pyinit", "pyinit, python3 -I -S", "pyinit, launcher"
PYTHON = (ENGINE, LAUNCHER)


def find() -> list[Init]:
    """Every init in the order of the tables, absent ones included."""
    peers = [
        Init(name, (path, "--") if path else None, _version(path)) for name in PEERS for path in [shutil.which(name)]
    ]
    spec = importlib.util.find_spec("pyinit")
    if spec is None or spec.origin is None:
        raise BrokenError("pyinit is not installed in this environment: ./tests/run bench installs it first")
    main = Path(spec.origin).parent / "init" / "__main__.py"
    native, launcher = (_ours(name) for name in ("PYINIT_NATIVE", "PYINIT_LAUNCHER"))
    if shutil.which("unshare") is None:
        raise BrokenError("there is no unshare here: install util-linux")
    version = _version(launcher)
    return [
        *peers,
        Init(NATIVE, (native, "--"), version),
        Init(ENGINE, (sys.executable, *PYTHON_FLAGS, str(main), "--"), version),
        Init(LAUNCHER, (launcher, "--"), version),
    ]


def _ours(variable: str) -> str:
    """The native executable or the launcher, as ./tests/run names them."""
    path = os.environ.get(variable) or str(Path(sysconfig.get_path("scripts")) / "pyinit")
    if not os.access(path, os.X_OK):
        raise BrokenError(f"{variable}: {path} is not there or not executable; ./tests/run bench sets it")
    return path


def _version(path: str | None) -> str:
    """The first number that `--version` prints: `tini version 0.19.0`, `dumb-init v1.2.5`, `tini version 0.1.7_catatonit`."""
    if path is None:
        return ""
    result = subprocess.run(
        [path, "--version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    words = [word for word in result.stdout.replace("_", " ").split() if word.lstrip("v")[:1].isdigit()]
    return words[0].lstrip("v") if words else ""


# --- one start, timed ---


@contextlib.contextmanager
def next_child_is_pid_1() -> Iterator[None]:
    """Within this, the next child is the first process of a new PID namespace. OSError where that is not allowed.

    unshare(2) moves only children to be; setns(2) back to our own namespace makes the next unshare possible, and threads.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/self/ns/pid").open("rb") as ours:
        if libc.unshare(CLONE_NEWPID) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "unshare(CLONE_NEWPID)")
        try:
            yield
        finally:
            if libc.setns(ours.fileno(), CLONE_NEWPID) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "setns(CLONE_NEWPID)")


# --- one that stays ---


class Running:
    """An init that runs a program, until the end of the `with`. `pid` is the init's, or the program's own for `direct`."""

    def __init__(self, init: Init, *program: str) -> None:
        self.init = init
        # a user who is not root gets a user namespace first, where the machine allows it
        rootless = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        command = ["unshare", *rootless, "--pid", "--fork", "--mount-proc", "--kill-child", *init.runs(*program)]
        self._unshare = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
        )
        self.pid = 0

    def __enter__(self) -> Self:
        try:
            self.expect(b"ready\n")  # every program here says so once it can be measured
            children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children").read_text("ascii").split()
            self.pid = int(children[0])
            wait_for(self._is_asleep, f"{self.init.name} to fall asleep")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)  # and with PID 1 everybody in its namespace
        else:
            self._unshare.kill()
        self._unshare.wait()
        for stream in (self.to_program, self.from_program, self._unshare.stderr):
            if stream is not None:
                stream.close()

    @property
    def to_program(self) -> IO[bytes]:
        assert self._unshare.stdin is not None
        return self._unshare.stdin

    @property
    def from_program(self) -> IO[bytes]:
        assert self._unshare.stdout is not None
        return self._unshare.stdout

    def expect(self, words: bytes) -> None:
        """Read one line from the program: these words."""
        got = self.from_program.readline()
        if got != words:
            assert self._unshare.stderr is not None
            self._unshare.kill()
            said = self._unshare.stderr.read().decode("utf-8", "replace").strip()
            raise BrokenError(
                f"under {self.init.name}: expected {words!r} from the program, got {got!r}; stderr: {said or '(empty)'}"
            )

    def _is_asleep(self) -> bool:
        """Sleeping, and it stayed so: it has not been awake between two looks."""
        before = self.switches()
        time.sleep(0.05)
        return before == self.switches() and self.stat()[0] == "S"

    # --- what /proc says of the init ---

    def stat(self) -> list[str]:
        """/proc/PID/stat from the state on (proc_pid_stat(5))."""
        return processes.stat(self.pid)

    def switches(self) -> int:
        """How often its threads have gone to sleep of their own accord: as often as they were woken."""
        total = 0
        for status in Path(f"/proc/{self.pid}/task").glob("*/status"):
            for line in status.read_text("utf-8", "replace").splitlines():
                if line.startswith("voluntary_ctxt_switches:"):
                    total += int(line.split()[1])
        return total

    def memory(self) -> dict[str, int]:
        """/proc/PID/smaps_rollup, in kB."""
        return processes.memory(self.pid)

    def cpu(self) -> int:
        """Time on the CPU so far, in nanoseconds."""
        return processes.cpu(self.pid)

    def zombies(self) -> int:
        """Its children that have ended and that it has not reaped."""
        count = 0
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    state, parent = processes.stat(int(entry.name))[:2]
                    count += state == "Z" and int(parent) == self.pid
        return count

    def has_no_zombies(self) -> bool:
        return self.zombies() == 0
