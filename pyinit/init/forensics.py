"""Who is still here, and why: everything that pyinit reads in /proc and in the cgroup file system.

Nothing here signals anybody, and nothing here may fail: a file that is gone or unreadable means that the process is gone, or
that the answer is less precise. Rejected: /proc/PID/task/TID/children (may miss children while others exit, proc(5), and gVisor
lacks it); waiting for a process to be "really" stuck (one look at the moment of the decision is what the user can act on).
"""

import posix

from pyinit.init import signals
from pyinit.init.options import show

TYPE_CHECKING = False  # of typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Final

PROC = "/proc"
SHELLS = (b"sh", b"bash", b"dash", b"ash", b"ksh", b"mksh", b"zsh", b"busybox")
INTERPRETERS = (*SHELLS, b"python", b"node", b"ruby", b"perl", b"php", b"java")


class Process:
    """One line of /proc/PID/stat (proc_pid_stat(5)). `start` is in clock ticks since boot: with the pid it names a process for good."""

    __slots__ = ("name", "parent", "pgrp", "pid", "session", "start", "state", "threads")

    def __init__(
        self, pid: int, name: bytes, state: str, parent: int, pgrp: int, session: int, threads: int, start: int
    ) -> None:
        self.pid: Final = pid
        self.name: Final = name
        self.state: Final = state
        self.parent: Final = parent
        self.pgrp: Final = pgrp
        self.session: Final = session
        self.threads: Final = threads
        self.start: Final = start

    @property
    def identity(self) -> "tuple[int, int]":
        """What no other process will ever share."""
        return self.pid, self.start

    @property
    def is_dead(self) -> bool:
        """A zombie. One whose first thread has ended while others run is none, though /proc calls it Z."""
        return self.state in "ZX" and self.threads <= 1


def read(path: str, limit: int = 1 << 20) -> bytes:
    """A file's content, at most `limit` bytes; empty where it cannot be read."""
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_NONBLOCK | posix.O_CLOEXEC)  # should it be a FIFO after all
    except OSError:
        return b""
    try:
        chunks = []
        while limit > 0 and (chunk := posix.read(fd, min(limit, 65536))):
            chunks.append(chunk)
            limit -= len(chunk)
        return b"".join(chunks)
    except OSError:
        return b""
    finally:
        posix.close(fd)


def process(pid: int) -> Process | None:
    """The process with this pid, None if there is none."""
    stat = read(f"{PROC}/{pid}/stat", 4096)
    # the name may hold spaces and parentheses; what follows the last ) does not
    opening, closing = stat.find(b"("), stat.rfind(b")")
    fields = stat[closing + 2 :].split()
    if opening < 0 or len(fields) < 20:
        return None
    return Process(
        pid,
        stat[opening + 1 : closing],
        fields[0].decode(),
        int(fields[1]),
        int(fields[2]),
        int(fields[3]),
        int(fields[17]),
        int(fields[19]),
    )


def is_readable() -> bool:
    """Whether /proc shows our own PID namespace: a /proc of another one would name the wrong processes."""
    try:
        return posix.readlink(f"{PROC}/self") == str(posix.getpid())
    except OSError:
        return False


def processes() -> "dict[int, Process]":
    """Every process that /proc shows."""
    try:
        names = posix.listdir(PROC)
    except OSError:
        return {}
    found = (process(int(name)) for name in names if name.isdigit())
    return {p.pid: p for p in found if p is not None}


def descendants(of: int, table: "Mapping[int, Process]") -> "list[Process]":
    """The living descendants of a process, parents before children. Zombies are nobody's to ask, but their name is kept in `table`."""
    children: dict[int, list[Process]] = {}
    for p in table.values():
        children.setdefault(p.parent, []).append(p)
    found: list[Process] = []
    queue = [of]
    for parent in queue:
        for p in children.get(parent, ()):
            queue.append(p.pid)
            if not p.is_dead:
                found.append(p)
    return found


def has_shell_above() -> bool:
    """Whether someone could continue us after a stop: our session has a process group above ours (a job-control shell's).

    POSIX calls a group without one orphaned; a stop would then be for good.
    """
    group, session, pid = posix.getpgrp(), posix.getsid(0), posix.getppid()
    while pid > 0:
        above = process(pid)
        if above is None or above.session != session:
            return False
        if above.pgrp != group:
            return True
        pid = above.parent
    return False


# --- why did it not stop? ---


def status(pid: int, thread: int = 0) -> "dict[str, str]":
    """/proc/PID/status, or that of one thread, as a mapping."""
    path = f"{PROC}/{pid}/task/{thread}/status" if thread else f"{PROC}/{pid}/status"
    pairs = (line.partition(":") for line in read(path, 16384).decode("utf-8", "backslashreplace").split("\n"))
    return {key: value.strip() for key, _, value in pairs}


def _mask(fields: "Mapping[str, str]", key: str) -> int:
    return int(fields.get(key, "0") or "0", 16)


def _threads(pid: int) -> "list[int]":
    try:
        return [int(name) for name in posix.listdir(f"{PROC}/{pid}/task")[:64]]
    except OSError:
        return []


def _waits_in(pid: int, thread: int, *functions: bytes) -> bool:
    """Whether a thread sleeps in one of these kernel functions (/proc/PID/wchan; needs ptrace rights, which PID 1 has)."""
    where = read(f"{PROC}/{pid}/task/{thread}/wchan", 128)
    return any(function in where for function in functions)


def why(p: Process, signal: int, table: "Mapping[int, Process]") -> str:
    """Why a process is still here after `signal`, as far as /proc shows it, in a few words."""
    if p.is_dead:
        return f"zombie that its parent {p.parent} does not reap"
    fields = status(p.pid)
    name = signals.name_of(signal)
    pending = signals.in_mask(signal, _mask(fields, "SigPnd") | _mask(fields, "ShdPnd"))
    state = fields.get("State", p.state)[:1]
    if state == "D":
        where = read(f"{PROC}/{p.pid}/wchan", 128).decode("ascii", "replace").strip("0")
        return f"in uninterruptible sleep{' in ' + where if where else ''}"
    if state in ("T", "t"):
        tracer = fields.get("TracerPid", "0")
        return f"stopped by its tracer {tracer}" if tracer != "0" else "stopped"
    if signals.in_mask(signal, _mask(fields, "SigIgn")):
        return f"ignores {name}"
    handled = signals.in_mask(signal, _mask(fields, "SigCgt"))
    if handled and p.name in SHELLS:
        waited = [c.pid for c in table.values() if c.parent == p.pid and not c.is_dead]
        if waited:
            return f"shell waiting for {', '.join(map(str, waited[:4]))}"
    threads = _threads(p.pid)
    # while it waits, a thread's blocked mask lacks what it waits for; the other threads block it (sigwait(3))
    blocked = [signals.in_mask(signal, _mask(status(p.pid, t), "SigBlk")) for t in threads]
    for thread, blocks in zip(threads, blocked, strict=True):
        if not blocks and not handled and _waits_in(p.pid, thread, b"sigtimedwait"):
            return f"waits for signals in sigwait and has not ended{_pending(pending, name)}"
    if blocked and all(blocked):
        return f"blocks {name}{_pending(pending, name)}"
    if handled:
        return f"has a handler for {name} and is still running{_pending(pending, name)}"
    inside = fields.get("NSpid", "").split()
    if inside and inside[-1] == "1" and len(inside) > len(status(posix.getpid()).get("NSpid", "").split()):
        return f"is PID 1 of its own namespace and has no handler for {name}"
    return f"has not acted on {name} yet{_pending(pending, name)}"


def _pending(pending: bool, name: str) -> str:
    """The end of a reason: whether the signal has not even been taken."""
    return f", {name} still pending" if pending else ""


def uid(pid: int) -> str:
    """The real user ID that a process runs as, `?` where it cannot be seen."""
    return (status(pid).get("Uid", "").split() or ["?"])[0]


def command(pid: int) -> "list[bytes]":
    """A process's command line; empty for a kernel thread or a zombie."""
    line = read(f"{PROC}/{pid}/cmdline", 4096)
    return line.removesuffix(b"\0").split(b"\0") if line else []


def label(p: Process) -> str:
    """A name that a person knows the process by: `nginx`, or `python3 worker.py` for what an interpreter runs."""
    if p.name.startswith(INTERPRETERS):
        for word in command(p.pid)[1:]:
            if not word.startswith(b"-"):
                script = word.rpartition(b"/")[2]
                return (
                    show(p.name) if b" " in word or b"\n" in word or not script else show(p.name + b" " + script[:40])
                )
            if word == b"-c":
                break
    return show(p.name)


class Look:
    """What was seen of a process at one moment, before anything was done to it."""

    __slots__ = ("command", "name", "process", "why")

    def __init__(self, p: Process, reason: str) -> None:
        self.process: Final = p
        self.name: Final = label(p)
        self.command: Final = [show(word) for word in command(p.pid)]
        self.why: Final = reason

    def __str__(self) -> str:
        """`12 worker (ignores SIGTERM)`."""
        return f"{self.process.pid} {self.name} ({self.why})"

    def fields(self) -> "dict[str, str | int | list[str]]":
        """The same for a JSON line."""
        p = self.process
        return {"pid": p.pid, "name": self.name, "command": self.command, "state": p.state, "why": self.why}


# --- out of memory ---


def oom_kills(root: str = "/sys/fs/cgroup", membership: str = "/proc/self/cgroup") -> int | None:
    """How many processes of our memory cgroup the kernel has killed; None where that cannot be read.

    cgroup v2: `oom_kill` in memory.events (cgroup-v2.rst); v1: `oom_kill` in memory.oom_control (since Linux 4.13). In a container
    the mount usually shows our own cgroup as its root, while /proc/self/cgroup may still name the host's path: both are tried.
    """
    for line in read(membership).decode("utf-8", "backslashreplace").split("\n"):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            files: Iterable[str] = (f"{root}{path}/memory.events", f"{root}/memory.events")
        elif "memory" in controllers.split(","):
            base = f"{root}/memory"
            files = (f"{base}{path}/memory.oom_control", f"{base}/memory.oom_control")
        else:
            continue
        for file in files:
            for entry in read(file).split(b"\n"):
                key, _, count = entry.partition(b" ")
                if key == b"oom_kill" and count.isdigit():
                    return int(count)
    return None
