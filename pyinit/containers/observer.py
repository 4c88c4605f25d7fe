"""Watches a PID namespace from outside until its PID 1 is gone: every process, every end, every signal.

Three sources, best first:

- `trace`, tracepoints (`tracefs`): births, names, ends and signals with their senders, also of processes that live for less than
  a look at /proc. They alone tell a kill by PID 1 from the kernel's own when PID 1 leaves: pidfds and timing look the same. The kernel's
  own kill is a SIGKILL with code SI_KERNEL sent by PID 1 after its exit began (zap_pid_ns_processes).
- `cn_proc`, the process connector (`connector`): births, names, ends and wait statuses, but no signals, and only in the host's network
  namespace and the initial PID namespace.
- `pidfd`: a pidfd for each process tells when it died and, once it is reaped, its wait status (Linux >= 6.15), whoever's child it was.
  Who is there is looked up in /proc every 20 ms: a third of what happens in a stop lives for less than that.

The account says what could not be seen, and why a better source was not to be had.

`ptrace` (`tracer`) is a fourth, for who asks for it: it works wherever tracing is allowed, also in a nested PID namespace, and tells
whether a SIGKILL came before PID 1 left. It was rejected as a default because it disturbs, so what it sees is not quite how the target
stops when nobody looks: each birth, exec, signal and end waits for us; a signal that is ignored interrupts a traced process; a traced
PID 1 is not protected from signals by the kernel as it otherwise is, but by us. And it sees less of signals than it seems: who takes
them by sigwait or from a signalfd, as inits do, has nothing delivered.

The others do nothing to the target: it is neither stopped, signalled nor traced, and its namespaces are not entered. Memory is bounded:
ended processes beyond `limit` are forgotten, oldest first, and of each process at most 400 signals are kept.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import struct
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pyinit.containers import procfs
from pyinit.containers.account import Account, Fate, Process, Sender, Signal
from pyinit.containers.connector import Connector
from pyinit.containers.events import (
    Born,
    Delivered,
    Event,
    Exited,
    Leaving,
    Lost,
    Marked,
    Renamed,
    Signalled,
    Touched,
    UnavailableError,
)
from pyinit.containers.tracefs import SI_KERNEL, Tracing
from pyinit.containers.tracer import NUMBER_KEPT, Tracer
from pyinit.init import signals
from pyinit.init.options import show

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

EXEC_WITHIN = 0.02
"""Seconds after a new name until the new command line is surely there: in an exec it comes second."""

LOOK_EVERY = 0.02
"""Seconds between two looks at /proc where nobody tells of births."""

SLOW_LOOK_EVERY = 1.0
"""The same where somebody does: for those whom somebody put in from outside otherwise than runc does."""

LAST_WORDS_WITHIN = 1.0
"""Seconds after PID 1's end in which the process connector may still tell of ends: it does so after the kernel has told the parent."""

BORN_WITHIN = 0.05
"""Seconds by which two births of one number are the same: /proc rounds to 10 ms."""

READY_WITHIN = 5.0
"""Seconds that the tracepoints may take to show that they work."""

SOURCES = ("trace", "cn_proc", "pidfd")
"""Those that disturb nobody, best first."""

UNSEEN = {
    "cn_proc": "signals and their senders",
    "pidfd": "signals and their senders, and processes that lived for less than 20 ms",
    "ptrace": "signals taken by sigwait or a signalfd, who sent a SIGKILL, and how it would have stopped untraced",
}
"""What each of the others does not tell."""

TRACED_EVERY = 0.002
"""Seconds between two looks at those who are traced and may be standing still."""

DROPPED = (signals.CHLD, signals.CONT, signals.number_of("URG"), signals.number_of("WINCH"))
"""Whose default action is none."""

_SIGNALS_KEPT = 200
_FATES = {0: Fate.DELIVERED, 1: Fate.IGNORED, 2: Fate.PENDING, 3: Fate.LOST, 4: Fate.DELIVERED}
"""enum of include/trace/events/signal.h; 4 (LOSE_INFO) arrives, only its siginfo is lost."""


class _Tracked:
    """A process while it is watched. `number` and `threads` are trace numbers (without tracepoints: PIDs)."""

    def __init__(self, number: int, born: float, name: str, parent: int | None) -> None:
        self.number = number
        self.born = born
        self.name = name
        self.parent = parent
        self.pid: int | None = None
        self.inside: int | None = None
        self.command = ""
        self.ended: float | None = None
        self.status: int | None = None
        self.told: int | None = None
        """The status of the thread that ended last, where the source tells."""
        self.pidfd = -1
        self.threads: set[int] = set()
        self.children_ended: deque[Signal] = deque(maxlen=_SIGNALS_KEPT)
        self.signals: deque[Signal] = deque(maxlen=_SIGNALS_KEPT)

    def snapshot(self) -> Process:
        received = sorted([*self.children_ended, *self.signals], key=lambda signal: signal.time)
        return Process(
            show(self.name),  # a program may call itself anything, terminal sequences included
            show(self.command),
            self.pid,
            self.inside,
            self.parent,
            self.born,
            self.ended,
            self.status,
            tuple(received),
        )


class Observer:
    """Watches the PID namespace whose PID 1 is process `pid` (as this process numbers it).

    Use as a context manager: inside the block it is watching, and the first look is complete. `source`: the one to use, of SOURCES, or
    `ptrace`; without it the first of SOURCES that there is. `limit` is how many ended processes are remembered.

    Raises ProcessLookupError where there is no such process, ValueError where it is no PID 1, PermissionError for lack of rights
    (root is needed to read other users' processes); on entry also UnavailableError where `source` is not to be had.
    """

    def __init__(self, pid: int, *, source: str | None = None, limit: int = 10_000) -> None:
        if source not in (None, "ptrace", *SOURCES):
            raise ValueError(f"there is no source {source!r}: there are {', '.join(SOURCES)} and ptrace")
        try:
            numbers = procfs.numbers(pid)
            self._namespace = procfs.namespace(pid)
        except FileNotFoundError as error:
            raise ProcessLookupError(f"there is no process {pid}") from error
        if numbers[-1] != 1:
            raise ValueError(f"process {pid} is not the PID 1 of a namespace: it calls itself {numbers[-1]}")
        self._pid = pid
        self._depth = len(numbers) - 1
        self._limit = limit
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self._over = threading.Event()
        self._complete = False
        self._failure: BaseException | None = None
        self._blind: list[str] = []
        self._lost = 0
        self._forgotten = 0
        self._no_status = False
        self._no_pidfd = False

        self._processes: list[_Tracked] = []
        self._by_number: dict[int, _Tracked] = {}
        """By trace number, threads included; without tracepoints by PID."""
        self._by_pid: dict[int, _Tracked] = {}
        """Those that have a PID of ours and are not known to be reaped."""
        self._by_pidfd: dict[int, _Tracked] = {}
        self._init = _Tracked(0, 0.0, "", None)
        self._init_exits: deque[int] = deque(maxlen=64)
        """The threads of PID 1 whose exit began last: who of them sends a SIGKILL is the kernel clearing the namespace."""
        self._wanted = SOURCES if source is None else (source,)
        self._source = ""
        self._tracing: Tracing | None = None
        self._connector: Connector | None = None
        self._tracer: Tracer | None = None
        self._same_numbers = procfs.namespace(os.getpid()) == procfs.INITIAL_NAMESPACE
        """Whether tracepoints number processes as we do."""
        self._own_number = -1
        """The watching thread's trace number."""
        self._touched: deque[tuple[int, int]] = deque()
        """(PID, TID) whose trace numbers are on their way, in order."""
        self._renames: deque[tuple[float, _Tracked]] = deque()
        """Whose command line to read once more, and when."""
        self._next_look = 0.0
        self._mark = ""
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="observer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            self.close()
            raise self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def wait(self, timeout: float) -> bool:
        """Until PID 1 and all others are dead and reaped and the account is complete; False when `timeout` seconds were not enough.

        Raises RuntimeError when the observer itself failed meanwhile.
        """
        self._over.wait(timeout)
        if self._failure is not None:
            raise RuntimeError("the observer failed; its account ends there") from self._failure
        return self._complete

    def look(self) -> None:
        """Takes in whoever is there now: without it, where nobody tells of births, one born 20 ms ago may not be known yet."""
        with self._lock:
            if self._source == "pidfd" and not self._over.is_set():
                self._look()

    def account(self) -> Account:
        """What has been seen so far. Complete after `wait` said so; valid after `close`."""
        with self._lock:
            processes = tuple(
                tracked.snapshot()
                for tracked in sorted(self._processes, key=lambda tracked: (tracked.born, tracked.inside or 0))
            )
            blind = list(self._blind)
            if self._lost:
                blind.append(
                    f"{self._lost} events or more that the buffer had no room for: births, ends and what else they told"
                )
            if self._forgotten:
                blind.append(
                    f"{self._forgotten} processes that ended longest ago: no more than {self._limit} are remembered"
                )
            if self._no_pidfd:
                blind.append("how some ended: no file descriptors were left for pidfds (raise RLIMIT_NOFILE)")
            if self._no_status:
                blind.append("wait statuses of some: the kernel tells them of reaped processes since Linux 6.15")
            return Account(self._source, processes, tuple(blind), lost=self._lost)

    def close(self) -> None:
        """Ends watching and removes all that was set up. May be called twice."""
        if self._thread.is_alive():
            self._stopping = True
            os.eventfd_write(self._wake, 1)
            self._thread.join()
        if self._wake >= 0:
            os.close(self._wake)
            self._wake = -1
        if self._tracing is not None:
            self._tracing.close()
        if self._connector is not None:
            self._connector.close()

    # --- the thread ---

    def _run(self) -> None:
        poll = select.epoll()
        try:
            with self._lock:
                poll.register(self._wake, select.EPOLLIN)
                self._poll = poll
                self._begin()
            self._ready.set()
            while not self._stopping and not self._complete:
                self._turn()
            if self._complete:
                # without a pidfd nobody said when; but none outlives PID 1
                for tracked in self._processes:
                    tracked.ended = tracked.ended or self._init.ended
        except BaseException as error:  # noqa: BLE001 - raised again in __enter__ or wait
            self._failure = error
        finally:
            for pidfd in list(self._by_pidfd):
                os.close(pidfd)
            self._by_pidfd.clear()
            poll.close()
            self._ready.set()
            self._over.set()

    def _begin(self) -> None:
        refusals = self._open_source()
        if self._tracing is not None:
            self._follow_all(self._tracing)
        elif self._connector is not None:
            # it has told of births since before this look: whoever is born during it is not missed
            self._poll.register(self._connector.files[0], select.EPOLLIN)
            self._look()
            self._apply(self._read())
        elif self._tracer is not None:
            known = -1
            while known < len(self._by_number):
                known = len(self._by_number)
                self._look(threads=True)
                self._apply(self._read())
        else:
            self._look()
        if self._source != "trace":
            unseen = UNSEEN[self._source]
            self._blind.append(f"{unseen}: {'; '.join(refusals) or f'only the source {self._source} was asked for'}")
        if self._pid not in self._by_pid:
            raise ProcessLookupError(f"process {self._pid} ended before it could be watched")

    def _open_source(self) -> list[str]:
        """Takes the first source that is to be had; why those before it are not. Raises UnavailableError when none is."""
        refusals: list[str] = []
        for name in self._wanted:
            try:
                if name == "trace":
                    self._tracing = Tracing()
                    self._learn_own_number(self._tracing)
                elif name == "cn_proc":
                    self._connector = Connector()
                elif name == "ptrace":
                    self._tracer = Tracer()
            except UnavailableError as reason:
                refusals.append(str(reason))
                if self._tracing is not None:
                    self._tracing.close()
                    self._tracing = None
                continue
            self._source = name
            return refusals
        raise UnavailableError("; ".join(refusals))

    def _read(self) -> Iterable[tuple[Event, bool]]:
        """What the source tells, and whether a member is known to have done it."""
        if self._tracing is not None:
            return self._tracing.read()
        source = self._connector or self._tracer
        return ((event, False) for event in source.read()) if source is not None else ()

    def _learn_own_number(self, tracing: Tracing) -> None:
        """Proves that the tracepoints work, and shows how they number this thread."""
        tracing.mark("begin")
        deadline = time.monotonic() + READY_WITHIN
        while time.monotonic() < deadline:
            for event, _ in tracing.read():
                if isinstance(event, Marked) and event.text.strip() == "begin":
                    self._own_number = event.thread
                    if not self._same_numbers:
                        _drop_sys_resource()
                    return
            select.select(tracing.files, [], [], 0.01)
        raise UnavailableError(f"tracefs showed nothing for {READY_WITHIN:.0f} s")

    def _follow_all(self, tracing: Tracing) -> None:
        """Looks until a look finds no thread that is not followed yet: from then on none is born unseen."""
        if not self._same_numbers:
            self._blind.append(
                "short-lived processes put in from outside (this observer has a PID namespace of its own)"
            )
        tracing.start(self._own_number)
        for file in tracing.files:
            self._poll.register(file, select.EPOLLIN)
        deadline = time.monotonic() + READY_WITHIN
        known = -1
        while known < len(self._by_number) and time.monotonic() < deadline:
            known = len(self._by_number)
            self._look(threads=True)
            self._apply(tracing.read())
            while self._touched and time.monotonic() < deadline:
                self._poll.poll(0.01)
                self._apply(tracing.read())

    def _turn(self) -> None:
        often = self._source == "pidfd" or self._renames or self._init.ended is not None
        wait = LOOK_EVERY if often else max(0.0, self._next_look - time.monotonic())
        ready = self._poll.poll(wait if self._tracer is None else TRACED_EVERY)  # who is traced wakes nobody
        with self._lock:
            if self._source == "pidfd" or time.monotonic() >= self._next_look:
                self._look()
            self._apply(self._read())
            while self._renames and self._renames[0][0] <= time.monotonic():
                self._read_command(self._renames.popleft()[1])
            for file, happened in ready:
                if file in self._by_pidfd:
                    self._pidfd_spoke(file, happened)
            self._forget()
            self._finish()

    def _finish(self) -> None:
        """Complete when PID 1 is gone, hence all others, and everything that the source has to say about it has been read."""
        if self._by_pidfd or self._init.ended is None:
            return
        if self._tracing is None:
            over = self._connector is None or time.monotonic() > self._init.ended + LAST_WORDS_WITHIN
            silent = [one for one in self._processes if one.ended is None or one.status is None]
            self._complete = over or not silent
            if self._complete and self._connector is not None and silent:
                self._blind.append(f"how {len(silent)} ended: the process connector did not tell of it")
        elif not self._mark:  # `_apply` completes when it comes back
            self._mark = "end"
            self._tracing.mark(self._mark)

    def _forget(self) -> None:
        surplus = len(self._processes) - self._limit
        if surplus <= 0:
            return
        ended = [
            tracked
            for tracked in self._processes
            if tracked.ended is not None and tracked.pidfd < 0 and tracked is not self._init
        ]
        ended.sort(key=lambda tracked: tracked.ended or 0)
        # a tenth at a time: sorting for each single one would be quadratic
        gone = set(ended[: surplus + self._limit // 10])
        self._processes = [tracked for tracked in self._processes if tracked not in gone]
        self._by_number = {number: tracked for number, tracked in self._by_number.items() if tracked not in gone}
        self._forgotten += len(gone)

    # --- /proc and pidfds ---

    def _look(self, *, threads: bool = False) -> None:
        """Everybody in the namespace who has no pidfd yet gets one.

        Where nobody tells of them, also new names; with `threads`, all threads are followed.
        """
        self._next_look = time.monotonic() + SLOW_LOOK_EVERY
        for pid in procfs.members(self._namespace):
            with suppress(OSError):
                known = self._by_pid.get(pid)
                if known is None or threads:
                    self._follow(pid)
                elif self._source == "pidfd" and known.ended is None:
                    known.name = procfs.stat(pid).name
                    known.command = procfs.command(pid) or known.command  # a zombie has none

    def _follow(self, pid: int) -> None:
        """A member that was not born before our eyes, and its threads."""
        if self._tracing is not None and not self._same_numbers:
            self._ask_numbers(pid)
            return
        tracked = self._meet(pid, pid)
        if self._source == "pidfd":
            return
        new = [tid for tid in procfs.threads(pid) if tid not in tracked.threads]
        if self._tracing is not None:
            self._tracing.follow(new)
        for tid in new:
            if self._tracer is None or self._seize(self._tracer, tid):
                self._add_thread(tracked, tid)

    def _seize(self, tracer: Tracer, thread: int) -> bool:
        """Whether it is traced now. That somebody cannot be is an error for those who are there first, and later a gap."""
        try:
            tracer.follow(thread)
        except ProcessLookupError:
            return False
        except UnavailableError as reason:
            if not self._ready.is_set():
                raise
            self._blind.append(f"what one did that was put in from outside: {reason}")
        return True

    def _ask_numbers(self, pid: int) -> None:
        """Writes each thread's oom_score_adj back to it; `Touched` brings its trace number."""
        for tid in procfs.threads(pid):
            path = Path(f"/proc/{pid}/task/{tid}/oom_score_adj")
            with path.open("r+", encoding="ascii") as file:
                value = file.read()
                self._touched.append((pid, tid))
                try:
                    file.seek(0)
                    file.write(value)
                    file.flush()
                except OSError:
                    self._touched.pop()
                    raise

    def _meet(self, number: int, pid: int) -> _Tracked:
        """Process `pid`, whose trace number is `number`, is a member: known from its birth, or met just now."""
        tracked = self._by_number.get(number)
        if tracked is None:
            seen = procfs.stat(pid)
            tracked = _Tracked(number, seen.born, seen.name, seen.parent)
            self._by_number[number] = tracked
            self._processes.append(tracked)
        if tracked.pidfd >= 0 or tracked.ended is not None:
            return tracked
        tracked.pid = pid
        if pid == self._pid:
            self._init = tracked
        self._open(tracked, pid)
        with suppress(OSError):
            tracked.inside = procfs.numbers(pid)[self._depth]
            tracked.command = procfs.command(pid)
        return tracked

    def _open(self, tracked: _Tracked, pid: int) -> None:
        try:
            tracked.pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            self._no_pidfd = True
            return
        self._by_pid[pid] = tracked
        self._by_pidfd[tracked.pidfd] = tracked
        self._poll.register(tracked.pidfd, select.EPOLLIN)

    def _add_thread(self, tracked: _Tracked, number: int) -> None:
        tracked.threads.add(number)
        self._by_number[number] = tracked

    def _pidfd_spoke(self, pidfd: int, happened: int) -> None:
        """POLLIN: dead. POLLHUP: reaped, and only now the status is there (before, it reads 0)."""
        tracked = self._by_pidfd[pidfd]
        if tracked.ended is None:
            tracked.ended = time.monotonic()
        if happened & select.EPOLLHUP or not procfs.tells_status():
            status = procfs.exit_status(pidfd)
            tracked.status = tracked.told if status is None else status
            self._no_status |= tracked.status is None and self._connector is None
            self._poll.unregister(pidfd)
            os.close(pidfd)
            del self._by_pidfd[pidfd]
            tracked.pidfd = -1
            if tracked.pid is not None:
                self._by_pid.pop(tracked.pid, None)
        else:
            self._poll.modify(pidfd, 0)  # POLLHUP comes unasked; POLLIN would come for ever

    # --- what the source tells ---

    def _apply(self, events: Iterable[tuple[Event, bool]]) -> None:
        for event, by_member in events:
            match event:
                case Born():
                    self._born(event, by_member=by_member)
                case Renamed():
                    self._renamed(event)
                case Exited():
                    self._exited(event)
                case Signalled():
                    # of a member's signals there are two copies
                    if by_member or self._member(event.thread, event.time) is None:
                        self._signalled(event)
                case Delivered():
                    self._delivered(event)
                case Leaving():
                    self._leaving(event)
                case Touched():
                    self._numbered(event)
                case Marked():
                    if self._mark and event.thread == self._own_number and event.text.strip() == self._mark:
                        self._complete = True
                case Lost():
                    self._lost += event.events
                    self._next_look = 0.0

    def _member(self, number: int, when: float) -> _Tracked | None:
        """Whose thread that is; somebody who ended a while ago is somebody else by now."""
        tracked = self._by_number.get(number)
        if tracked is None or (tracked.ended is not None and when > tracked.ended + NUMBER_KEPT):
            return None
        return tracked

    def _born(self, event: Born, *, by_member: bool) -> None:
        known = self._by_number.get(event.child)
        if known is not None and not event.is_thread:
            if abs(known.born - event.time) < BORN_WITHIN or (
                self._tracer is not None and self._member(event.child, event.time) is not None
            ):
                return  # a look was faster, or this is the second copy
            del self._by_number[event.child]  # whoever had that number is gone
        parent = self._member(event.thread, event.time)
        if parent is None:
            if not by_member:
                self._born_outside(event)
            return
        if event.is_thread:
            self._add_thread(parent, event.child)
            return
        tracked = _Tracked(event.child, event.time, event.name or parent.name, parent.pid)
        self._processes.append(tracked)
        self._add_thread(tracked, event.child)
        if self._same_numbers:
            self._meet(event.child, event.child)
        else:
            self._next_look = 0.0

    def _born_outside(self, event: Born) -> None:
        """A child of somebody outside may still be one of ours: that is what `docker exec` does."""
        if not self._same_numbers:
            self._next_look = 0.0
            return
        with suppress(OSError):
            if procfs.namespace(event.child) == self._namespace:
                self._follow(event.child)

    def _renamed(self, event: Renamed) -> None:
        tracked = self._by_number.get(event.thread)
        if tracked is None:
            return
        if event.thread == tracked.number:
            tracked.name = event.name or self._name(tracked)
            self._read_command(tracked)
            self._renames.append((time.monotonic() + EXEC_WITHIN, tracked))
        if event.thread not in tracked.threads:
            # exec by a thread that was not the first: the others are gone, and it has taken over the first one's number
            tracked.threads = {event.thread}
            tracked.ended = None

    def _name(self, tracked: _Tracked) -> str:
        """The connector tells of an exec without the new name."""
        with suppress(OSError):
            return procfs.stat(tracked.number).name
        return tracked.name

    def _read_command(self, tracked: _Tracked) -> None:
        with suppress(OSError):
            if tracked.pidfd >= 0 and tracked.pid is not None:
                tracked.command = procfs.command(tracked.pid) or tracked.command

    def _exited(self, event: Exited) -> None:
        tracked = self._member(event.thread, event.time)
        if tracked is None:
            return
        tracked.threads.discard(event.thread)
        tracked.told = event.status
        if tracked is self._init:
            self._init_exits.append(event.thread)
        if not tracked.threads:
            tracked.ended = event.time
        elif event.thread != tracked.number:
            self._by_number.pop(event.thread)
        if tracked.ended is not None and tracked.status is None:
            tracked.status = tracked.told

    def _signalled(self, event: Signalled) -> None:
        receiver = self._by_number.get(event.receiver)
        if receiver is None:
            return
        sender, pid, name = self._sender(event)
        received = Signal(event.time, event.number, _FATES.get(event.result, Fate.LOST), sender, pid, name)
        (receiver.children_ended if event.number == signals.CHLD else receiver.signals).append(received)

    def _sender(self, event: Signalled) -> tuple[Sender, int | None, str]:
        if event.thread in self._init_exits and event.code == SI_KERNEL and event.number == signals.KILL:
            return Sender.NAMESPACE_END, None, "kernel"
        if event.code == SI_KERNEL:
            return Sender.KERNEL, None, "kernel"
        tracked = self._member(event.thread, event.time)
        if tracked is None:
            return Sender.OUTSIDE, event.thread if self._same_numbers else None, event.thread_name
        return (Sender.INIT if tracked is self._init else Sender.MEMBER), tracked.pid, tracked.name

    def _delivered(self, event: Delivered) -> None:
        receiver = self._by_number.get(event.thread)
        if receiver is None:
            return
        fate = Fate.DELIVERED
        with suppress(OSError):
            now, bit = procfs.status(event.thread), 1 << event.number - 1
            drops = receiver is self._init or event.number in DROPPED
            if now.ignored & bit or (drops and not now.caught & bit):
                fate = Fate.IGNORED
        if event.code > 0 and event.number != signals.CHLD:
            sender, other = Sender.KERNEL, None
        elif not event.sender:
            sender, other = Sender.OUTSIDE, None
        else:
            sender = Sender.INIT if event.sender == 1 else Sender.MEMBER
            other = next((one for one in reversed(self._processes) if one.inside == event.sender), None)
        name = other.name if other else sender.value
        received = Signal(event.time, event.number, fate, sender, other.pid if other else None, name)
        (receiver.children_ended if event.number == signals.CHLD else receiver.signals).append(received)

    def _leaving(self, event: Leaving) -> None:
        """Once PID 1 is about to go, with its last thread: whoever lives now is killed by the kernel."""
        if self._by_number.get(event.thread) is not self._init:
            return
        self._init_exits.append(event.thread)
        if not self._init.threads <= set(self._init_exits):
            return
        for one in self._processes:
            with suppress(OSError):
                if one is self._init or one.ended is not None or one.pid is None or procfs.is_dying(one.pid):
                    continue
                kill = Signal(event.time, signals.KILL, Fate.DELIVERED, Sender.NAMESPACE_END, None, "kernel")
                one.signals.append(kill)

    def _numbered(self, event: Touched) -> None:
        """The answer to `_ask_number`. Its first thread stands for the process; the others follow it."""
        if event.thread != self._own_number or not self._touched:
            return
        pid, tid = self._touched.popleft()
        if self._tracing is not None:
            self._tracing.follow([event.touched])
        with suppress(OSError):
            tracked = self._meet(event.touched, pid) if pid == tid else self._by_pid.get(pid)
            if tracked is not None:
                self._add_thread(tracked, event.touched)


def _drop_sys_resource() -> None:
    """Takes CAP_SYS_RESOURCE from this thread: with it, writing oom_score_adj would also move the floor under it."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = struct.pack("=Ii", 0x20080522, 0)
    data = ctypes.create_string_buffer(24)
    if libc.capget(header, data):
        return
    effective, *others = struct.unpack("=6I", data.raw)
    libc.capset(header, struct.pack("=6I", effective & ~(1 << 24), *others))
