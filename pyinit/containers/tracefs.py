"""The kernel's tracepoints for births, names, ends and signals, in two tracefs instances of our own.

An instance has its own buffer, clock and switches, so nothing that anybody else traces is touched, and the traced processes do not
notice. One shows all that the followed threads and their descendants do (set_event_pid with event-fork), so that a busy machine
costs nothing and pushes nothing out of the buffer; the other shows what outsiders do to anybody: their signals, and the children that
they put into a namespace.

Two tracepoints are not the obvious ones: task_newtask instead of sched_process_fork, because it tells threads from processes
(clone_flags); task_rename instead of sched_process_exec, because it also sees prctl(PR_SET_NAME), and because a path of any length
and content does not belong in a line that is parsed.

Tracepoints number processes as the initial PID namespace does. An observer that lives in another one (a CI job in a container) can
find out who is who: writing a process's own oom_score_adj back to it changes nothing and fires oom_score_adj_update with its number.

Source: Documentation/trace/ftrace.rst; include/trace/events/{task,sched,signal,oom}.h.
"""

from __future__ import annotations

import ctypes
import os
import re
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pyinit.containers.events import (
    Born,
    Event,
    Exited,
    Lost,
    Marked,
    Renamed,
    Signalled,
    Touched,
    UnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

MEMBER_EVENTS = (
    "task/task_newtask",
    "task/task_rename",
    "sched/sched_process_exit",
    "signal/signal_generate",
    "oom/oom_score_adj_update",
)
OUTSIDER_EVENTS = {
    # SIGCHLD comes from children alone; it is most of what is sent on a busy machine
    "signal/signal_generate": "sig != 17",
    # CLONE_PARENT: how runc and crun put a process into a container
    "task/task_newtask": "clone_flags & 0x8000",
}
BUFFER_KB = 512
"""For each CPU: some 7,000 events between two reads."""

CLONE_THREAD = 0x10000
SI_KERNEL = 128
"""`code` of a signal that the kernel sent of its own accord (asm-generic/siginfo.h)."""

_MNT_DETACH = 2
_PREFIX = "pyinit-observer-"
_LONGEST_EVENT = 1024
_LEFT_AFTER = 60.0
"""Seconds of age from which an instance whose maker is not there is a leftover."""


# `fields` are matched from the right: names may hold anything, even what looks like the next field
_LINE = re.compile(
    r"\s*(?P<name>.*)-(?P<thread>\d+)\s+\[\d+\]\s+(?:\S+\s+)?(?P<time>\d+\.\d+): (?P<event>\w+): (?P<fields>.*)",
    re.DOTALL,
)
_LOST = re.compile(r"CPU:\d+ \[LOST (\d+) EVENTS\]")
_NEWTASK = re.compile(r"pid=(\d+) comm=(.*) clone_flags=([0-9a-f]+) oom_score_adj=-?\d+", re.DOTALL)
_RENAME = re.compile(r"(?:pid=(\d+) )?oldcomm=(.*) newcomm=(.*) oom_score_adj=-?\d+", re.DOTALL)
_EXIT = re.compile(r"comm=(.*) pid=(\d+) prio=\d+(?: group_dead=\w+)?", re.DOTALL)
_SIGNAL = re.compile(r"sig=(\d+) errno=-?\d+ code=(-?\d+) comm=(.*) pid=(\d+) grp=\d+ res=(\d+)", re.DOTALL)
_OOM = re.compile(r"pid=(\d+) comm=(.*) oom_score_adj=-?\d+", re.DOTALL)


def parse(text: str) -> Event | None:
    """One line of trace_pipe as an event; None for anything else."""
    if lost := _LOST.match(text):
        return Lost(int(lost[1]))
    if not (line := _LINE.fullmatch(text)):
        return None
    time, thread, fields = float(line["time"]), int(line["thread"]), line["fields"]
    match line["event"]:
        case "task_newtask" if found := _NEWTASK.fullmatch(fields):
            return Born(time, thread, int(found[1]), found[2], bool(int(found[3], 16) & CLONE_THREAD))
        case "task_rename" if found := _RENAME.fullmatch(fields):
            return Renamed(time, int(found[1] or thread), found[3])
        case "sched_process_exit" if found := _EXIT.fullmatch(fields):
            return Exited(time, int(found[2]))
        case "signal_generate" if found := _SIGNAL.fullmatch(fields):
            return Signalled(time, thread, line["name"], int(found[4]), int(found[1]), int(found[2]), int(found[5]))
        case "oom_score_adj_update" if found := _OOM.fullmatch(fields):
            return Touched(time, thread, int(found[1]))
        case "tracing_mark_write":
            return Marked(time, thread, fields)
    return None


class Tracing:
    """Both instances. Nothing is shown before `start`; then each of `files` polls readable when there is something to `read`."""

    def __init__(self) -> None:
        """Raises `UnavailableError` where this kernel or this user cannot have it."""
        prefix = f"{_PREFIX}{os.getpid()}-{id(self):x}"
        try:
            with ExitStack() as undo:
                folder = _open_instances()
                undo.callback(os.close, folder)
                _remove_leftovers(folder)
                self._members = _Instance(folder, f"{prefix}-members")
                undo.callback(self._members.close)
                self._members.put("options/event-fork", "1")
                self._outsiders = _Instance(folder, f"{prefix}-outsiders")
                undo.callback(self._outsiders.close)
                self._undo = undo.pop_all()
        except OSError as error:
            raise UnavailableError(f"no tracepoints ({error.strerror or error}): they need root and tracefs") from error

    @property
    def files(self) -> tuple[int, int]:
        """What to poll."""
        return self._members.pipe, self._outsiders.pipe

    def start(self, number: int) -> None:
        """Shows events from now on; `number`, the caller's own thread, is the first to be followed (see `mark`)."""
        self.follow([number])
        for event in MEMBER_EVENTS:
            self._members.put(f"events/{event}/enable", "1")
        for event, condition in OUTSIDER_EVENTS.items():
            self._outsiders.put(f"events/{event}/filter", condition)
            self._outsiders.put(f"events/{event}/enable", "1")

    def follow(self, numbers: Iterable[int]) -> None:
        """Shows what these threads do, and all that they will give birth to. Who is gone already does no harm."""
        for number in numbers:
            self._members.put("set_event_pid", str(number))

    def mark(self, text: str) -> None:
        """Writes a line that comes back as `Marked`, after everything that happened before."""
        self._members.put("trace_marker", text)

    def read(self) -> list[tuple[Event, bool]]:
        """What has happened since the last call, in the order of time, and whether a followed thread did it.

        What a followed thread did to another may come a second time, as if an outsider had done it.
        """
        # outsiders first: whoever they turn out to be is then known from what is read second
        events = [(event, False) for event in self._outsiders.read()]
        events += [(event, True) for event in self._members.read()]
        return sorted(events, key=lambda pair: pair[0].time)

    def close(self) -> None:
        """Removes the instances. May be called twice."""
        self._undo.close()


class _Instance:
    """One instance of tracefs, empty at first. Raises OSError."""

    def __init__(self, folder: int, name: str) -> None:
        self._folder = folder
        self._name = name
        self._unread = ""
        self._directory = self.pipe = -1
        os.mkdir(name, dir_fd=folder)
        try:
            self._directory = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
            self.put("buffer_size_kb", str(BUFFER_KB))
            self.put("trace_clock", "mono")
            self.put("options/irq-info", "0")
            # older kernels (before 6.1) have no such file, and wake a reader of trace_pipe at once anyway
            with suppress(FileNotFoundError):
                self.put("buffer_percent", "0")
            self.pipe = os.open("trace_pipe", os.O_RDONLY | os.O_NONBLOCK, dir_fd=self._directory)
        except OSError:
            self.close()
            raise

    def put(self, name: str, text: str) -> None:
        """Writes to one of its files."""
        file = os.open(name, os.O_WRONLY, dir_fd=self._directory)
        try:
            os.write(file, text.encode())
        finally:
            os.close(file)

    def read(self) -> list[Event]:
        """What is new in trace_pipe."""
        events: list[Event] = []
        while True:
            try:
                data = os.read(self.pipe, 65536)
            except BlockingIOError:
                return events
            if not data:
                return events
            events += self._split(data.decode("utf-8", "backslashreplace"))

    def _split(self, text: str) -> list[Event]:
        events: list[Event] = []
        *lines, self._unread = (self._unread + text).split("\n")
        start = ""
        for line in lines:
            event = parse(start + line)
            if event is not None:
                events.append(event)
                start = ""
            elif len(start) + len(line) < _LONGEST_EVENT:
                start += line + "\n"  # a name that holds a newline: the event goes on in the next line
            else:
                events.append(Lost(1))
                start = ""
        self._unread = start + self._unread
        return events

    def close(self) -> None:
        for file in (self.pipe, self._directory):
            if file >= 0:
                os.close(file)
        os.rmdir(self._name, dir_fd=self._folder)


def _open_instances() -> int:
    """The directory of tracefs in which instances are made, mounted for a moment where it is not mounted already."""
    flags = os.O_RDONLY | os.O_DIRECTORY
    with suppress(FileNotFoundError):
        return os.open("/sys/kernel/tracing/instances", flags)
    libc = ctypes.CDLL(None, use_errno=True)
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as place:
        if libc.mount(b"tracefs", place.encode(), b"tracefs", 0, None):
            raise OSError(ctypes.get_errno(), "cannot mount tracefs: " + os.strerror(ctypes.get_errno()))
        try:
            return os.open(f"{place}/instances", flags)
        finally:
            # the open directory keeps the file system; nobody else sees a mount, and none is left if we are killed
            libc.umount2(place.encode(), _MNT_DETACH)


def _remove_leftovers(instances: int) -> None:
    """Instances of observers that were killed: their names say whose they were; one that is still read is busy.

    One that was just made may not be read yet, and its maker may live in a PID namespace that is not to be seen from here.
    """
    for name in os.listdir(instances):
        pid = name.removeprefix(_PREFIX).partition("-")[0]
        if name.startswith(_PREFIX) and not Path(f"/proc/{pid}").exists():
            with suppress(OSError):
                if time.time() - os.stat(name, dir_fd=instances).st_mtime > _LEFT_AFTER:
                    os.rmdir(name, dir_fd=instances)
