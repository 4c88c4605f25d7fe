"""What /proc shows of everybody in a container at one moment, and how it bears on signals. Reads, and does nothing else to anybody.

A thread that waits in sigwait has what it waits for taken out of its blocked mask by the kernel, for as long as it waits. So the set
itself is looked up: the system call's first argument points to it (/proc/PID/task/TID/syscall, /proc/PID/mem). Of a signalfd the set
stands in /proc/PID/fdinfo. Rejected: looking at programs' code or at their open files for more; stopping them for a quiet picture.
"""

from __future__ import annotations

import os
import struct
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyinit.containers import procfs
from pyinit.init import signals
from pyinit.init.options import show

if TYPE_CHECKING:
    from collections.abc import Mapping

WORDS = 64
"""So many words of a command line are kept, of 400 letters each."""

THREADS = 256
DESCRIPTORS = 4096
"""So many of each are looked at."""

OURS = ("PYINIT_", "TINI_KILL_PROCESS_GROUP=", "KUBERNETES_SERVICE_HOST=")
"""How variables begin that say what an init does. Others are nobody's business: passwords are among them."""


@dataclass(frozen=True)
class Thread:
    """One thread. `waits_for`: the signals that it waits for in sigwait, as a mask; None where it is not in sigwait."""

    blocked: int
    where: str
    """The kernel's function that it sleeps in; empty where that is not known."""
    waits_for: int | None = None


@dataclass(frozen=True)
class Facts:
    """One process. `pid` and `parent` as the observer numbers them; `inside`, `group` and `session` as the container does."""

    pid: int
    inside: int
    parent: int
    group: int
    session: int
    name: str
    words: tuple[str, ...]
    """The command line."""
    program: str
    """The name of its executable; empty where it could not be read."""
    state: str
    age: float
    """Seconds since its birth."""
    tracer: int
    is_first: bool
    """Whether it is the PID 1 of its own namespace: a container's, or one nested in it."""
    ignored: int
    caught: int
    threads: tuple[Thread, ...]
    signalfds: tuple[int, ...] = ()
    """The sets of its signalfds, as masks."""
    unread: bool = False
    """What threads wait for and what descriptors are could not be read."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Of the variables that it was started with, those that are OURS."""

    @property
    def is_zombie(self) -> bool:
        """Whether it is dead and not reaped. One whose first thread has ended while others run is none, though /proc says Z."""
        return self.state in "ZX" and len(self.threads) <= 1

    def blocks(self, number: int) -> bool:
        """Whether no thread would let it in; who waits for it in sigwait lets it in."""
        return all(signals.in_mask(number, thread.blocked) for thread in self.threads)

    def fetches(self, number: int) -> bool:
        """Whether it is waited for: in sigwait, or, blocked, by a signalfd."""
        if any(thread.waits_for is not None and signals.in_mask(number, thread.waits_for) for thread in self.threads):
            return True
        return self.blocks(number) and any(signals.in_mask(number, mask) for mask in self.signalfds)

    def is_in(self, function: str) -> bool:
        """Whether its first thread sleeps in a function of the kernel's whose name has that in it."""
        return bool(self.threads) and function in self.threads[0].where

    def as_json(self) -> dict[str, Any]:
        """In types that `json` knows; `of_json` reads it."""
        return {
            **self.__dict__,
            "threads": [[thread.blocked, thread.where, thread.waits_for] for thread in self.threads],
        }

    @classmethod
    def of_json(cls, found: Mapping[str, Any]) -> Facts:
        """What `as_json` wrote."""
        listed = {key: tuple(found[key]) for key in ("words", "signalfds")}
        return cls(**{**found, **listed, "threads": tuple(Thread(*one) for one in found["threads"])})


def read(pid: int) -> list[Facts]:
    """Everybody in the PID namespace whose PID 1 that is, parents before children, as procfs.members has them.

    Raises what `Observer` raises of it: ProcessLookupError, ValueError, PermissionError.
    """
    try:
        numbers = procfs.numbers(pid)
        namespace = procfs.namespace(pid)
    except FileNotFoundError as error:
        raise ProcessLookupError(f"there is no process {pid}") from error
    if numbers[-1] != 1:
        raise ValueError(f"process {pid} is not the PID 1 of a namespace: it calls itself {numbers[-1]}")
    found = []
    now = time.monotonic()
    for member in procfs.members(namespace):
        with suppress(OSError):  # it has ended meanwhile
            found.append(_facts(member, len(numbers) - 1, now))
    return found


def _facts(pid: int, depth: int, now: float) -> Facts:
    """`depth`: how deep the container's namespace lies."""
    seen = procfs.stat(pid)
    fields = _fields(f"/proc/{pid}/status")
    inner = fields["NSpid"].split()
    threads, unread = _threads(pid)
    return Facts(
        pid,
        int(inner[min(depth, len(inner) - 1)]),
        seen.parent,
        _numbered(fields, "NSpgid", depth),
        _numbered(fields, "NSsid", depth),
        show(seen.name),
        tuple(show(word[:400]) for word in _list(pid, "cmdline")[:WORDS]),
        _link(f"/proc/{pid}/exe").rpartition("/")[2],
        fields["State"].split()[0],
        now - seen.born,
        int(fields["TracerPid"]),
        inner[-1] == "1",
        int(fields["SigIgn"], 16),
        int(fields["SigCgt"], 16),
        threads,
        _signalfds(pid),
        unread,
        dict(word.partition("=")[::2] for word in _list(pid, "environ") if word.startswith(OURS)),
    )


def _fields(path: str) -> dict[str, str]:
    lines = Path(path).read_text(encoding="utf-8", errors="backslashreplace").splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _numbered(fields: Mapping[str, str], key: str, depth: int) -> int:
    words = fields[key].split()
    return int(words[min(depth, len(words) - 1)])


def _list(pid: int, name: str) -> list[str]:
    with suppress(OSError):
        text = Path(f"/proc/{pid}/{name}").read_bytes().decode("utf-8", "backslashreplace")
        return text.removesuffix("\0").split("\0") if text else []
    return []


def _link(path: str) -> str:
    with suppress(OSError):
        return str(Path(path).readlink()).removesuffix(" (deleted)")
    return ""


def _threads(pid: int) -> tuple[tuple[Thread, ...], bool]:
    """Its threads, the first first; and whether something about them could not be read."""
    found, unread = [], False
    for thread in procfs.threads(pid)[:THREADS]:
        try:
            blocked = int(_fields(f"/proc/{pid}/task/{thread}/status")["SigBlk"], 16)
        except (OSError, KeyError):
            continue
        where, call = "", ""
        try:
            call = Path(f"/proc/{pid}/task/{thread}/syscall").read_text(encoding="ascii")
            where = Path(f"/proc/{pid}/task/{thread}/wchan").read_text(encoding="ascii")
        except PermissionError:
            unread = True
        except OSError:
            pass
        waits_for = _set_at(pid, call) if "sigtimedwait" in where else None
        unread = unread or ("sigtimedwait" in where and waits_for is None)
        found.append(Thread(blocked, where if where != "0" else "", waits_for))
    return tuple(found), unread


def _set_at(pid: int, call: str) -> int | None:
    """The set of signals that a system call's first argument points to."""
    with (
        suppress(OSError, ValueError, IndexError, struct.error),
        Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory,
    ):
        memory.seek(int(call.split()[1], 16))
        return int(struct.unpack("=Q", memory.read(8))[0])
    return None


def _signalfds(pid: int) -> tuple[int, ...]:
    found = []
    with suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd")[:DESCRIPTORS]:  # noqa: PTH208 - thousands of names, and no paths are wanted
            if "signalfd" in _link(f"/proc/{pid}/fd/{name}"):
                with suppress(OSError, KeyError):
                    found.append(int(_fields(f"/proc/{pid}/fdinfo/{name}")["sigmask"], 16))
    return tuple(found)
