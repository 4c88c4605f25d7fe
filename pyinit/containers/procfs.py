"""What /proc and a pidfd tell about a process. All functions raise OSError (ProcessLookupError, FileNotFoundError) once it is gone."""

from __future__ import annotations

import fcntl
import os
import struct
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

PIDFD_GET_INFO = 0xC040FF0B
"""_IOWR(0xFF, 11, 64 bytes): linux/pidfd.h, struct pidfd_info as of Linux 6.15."""
PIDFD_INFO_EXIT = 1 << 3
_INFO_EXIT_CODE = 60

INITIAL_NAMESPACE = 0xEFFFFFFC
"""Inode of the initial PID namespace: PROC_PID_INIT_INO, linux/nsfs.h."""

_ENDING = 0x4 | 0x400
"""PF_EXITING, PF_SIGNALED: linux/sched.h."""

_TICKS = os.sysconf("SC_CLK_TCK")


class Stat(NamedTuple):
    """From /proc/PID/stat. `born` is in seconds of CLOCK_MONOTONIC, to the kernel's tick (10 ms)."""

    name: str
    parent: int
    born: float


def _read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8", errors="backslashreplace")


def stat(pid: int) -> Stat:
    """Name, parent and time of birth."""
    # the name stands in parentheses and may itself hold spaces and parentheses: count from the last one
    head, _, tail = _read(f"/proc/{pid}/stat").rpartition(")")
    fields = tail.split()
    since_boot = int(fields[19]) / _TICKS
    suspended = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
    return Stat(head.partition("(")[2], int(fields[1]), round(since_boot - suspended, 2))


def start_ticks(pid: int) -> int:
    """When it was born, in the kernel's ticks since boot: with its PID, it names a process for ever."""
    return int(_read(f"/proc/{pid}/stat").rpartition(")")[2].split()[19])


def numbers(pid: int) -> list[int]:
    """The process's PIDs, from /proc's namespace inwards (NSpid): the last is what it calls itself."""
    for line in _read(f"/proc/{pid}/status").splitlines():
        if line.startswith("NSpid:"):
            return [int(word) for word in line.split()[1:]]
    raise ProcessLookupError(f"process {pid} has no NSpid in /proc/{pid}/status: is this Linux 4.1 or later?")


def process_of(thread: int) -> int:
    """The PID of a thread's process."""
    return _number(thread, "Tgid")


def tracer_of(thread: int) -> int:
    """The thread that traces it; 0: none."""
    return _number(thread, "TracerPid")


def _number(thread: int, name: str) -> int:
    for line in _read(f"/proc/{thread}/status").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise ProcessLookupError(f"thread {thread} has no {name} in /proc/{thread}/status")


def is_dying(pid: int) -> bool:
    """Whether it is dead, ends, or has a SIGKILL on its way."""
    state, *fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    if state in "ZX" or int(fields[5]) & _ENDING:
        return True
    lines = dict(line.partition(":")[::2] for line in _read(f"/proc/{pid}/status").splitlines())
    return any(int(lines[name], 16) >> 8 & 1 for name in ("SigPnd", "ShdPnd"))


class Status(NamedTuple):
    """From /proc/PID/status. `numbers` as `numbers()` says; masks of signals as there, signal 1 in bit 0."""

    state: str
    numbers: tuple[int, ...]
    blocked: int
    ignored: int
    caught: int


def status(pid: int) -> Status:
    """State (a letter, as in proc(5)), PIDs, and what it does about signals."""
    fields = dict(line.partition(":")[::2] for line in _read(f"/proc/{pid}/status").splitlines())
    return Status(
        fields["State"].split()[0],
        tuple(int(word) for word in fields.get("NSpid", str(pid)).split()),
        *(int(fields.get(name, "0"), 16) for name in ("SigBlk", "SigIgn", "SigCgt")),
    )


def cpu(pid: int) -> float:
    """Seconds of CPU time that it has used, and its children that were reaped, to the kernel's tick (10 ms)."""
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / _TICKS


def listening(pid: int) -> list[int]:
    """The TCP ports, IPv4 and IPv6, on which somebody listens in its network namespace."""
    ports = set()
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in _read(f"/proc/{pid}/net/{name}").splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A":  # TCP_LISTEN
                    ports.add(int(fields[1].rpartition(":")[2], 16))
    return sorted(ports)


def command(pid: int) -> str:
    """The command line, joined by spaces, at most 200 characters; empty for a zombie."""
    return _read(f"/proc/{pid}/cmdline").replace("\0", " ").strip()[:200]


def namespace(pid: int) -> int:
    """The inode of its PID namespace; still there for a zombie that is not reaped."""
    return Path(f"/proc/{pid}/ns/pid").stat().st_ino


def threads(pid: int) -> list[int]:
    """Its thread IDs, the process's own first."""
    return sorted((int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir()), key=lambda tid: (tid != pid, tid))


def members(target_namespace: int) -> list[int]:
    """Everybody in a PID namespace and in the namespaces nested in it, parents before children, as far as /proc shows it."""
    parent_of: dict[int, int] = {}
    inside: set[int] = set()
    for pid in _all_pids():
        with suppress(OSError):
            parent_of[pid] = stat(pid).parent
            if namespace(pid) == target_namespace:
                inside.add(pid)
    found = list(inside)
    # whoever lives in a nested namespace descends from a member
    children: dict[int, list[int]] = {}
    for pid, parent in parent_of.items():
        children.setdefault(parent, []).append(pid)
    for pid in found:
        more = [child for child in children.get(pid, ()) if child not in inside]
        inside.update(more)
        found.extend(more)
    return found


def _all_pids() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


@cache
def tells_status() -> bool:
    """Whether this kernel tells the wait status of somebody else's process at all (Linux >= 6.15; for root or not)."""
    pidfd = os.pidfd_open(os.getpid())
    try:
        _info(pidfd)
    except OSError:
        return False
    finally:
        os.close(pidfd)
    return True


def exit_status(pidfd: int) -> int | None:
    """The wait status of a process that has been reaped, child or not; None where the kernel does not tell (see `tells_status`)."""
    try:
        info = _info(pidfd)
    except OSError:
        return None
    (mask,) = struct.unpack_from("=Q", info)
    if not mask & PIDFD_INFO_EXIT:
        return None
    (status,) = struct.unpack_from("=i", info, _INFO_EXIT_CODE)
    return int(status)


def _info(pidfd: int) -> bytearray:
    info = bytearray(64)
    struct.pack_into("=Q", info, 0, PIDFD_INFO_EXIT)
    fcntl.ioctl(pidfd, PIDFD_GET_INFO, info)
    return info
